/* metrics.h - the last value of each number that a run reported, as the ledger wants it (no I/O).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_METRICS_H
#define BT_AGENT_METRICS_H

#include <stddef.h>

enum { METRICS_JSON_MAX = 512, METRICS_KEYS_MAX = 16, METRICS_TAIL_BYTES = 65536 };

/* Reads JSON lines (the end of a stream; a first line that is cut is skipped with all others that
 * are no object) and writes {"loss":"1.93",…}: of each numeric member with a name of [a-z0-9_.-]
 * the last value, as a decimal without exponent, in order of first appearance, as many as fit.
 * Nested objects are left out. `out` has METRICS_JSON_MAX bytes; "{}" when there is nothing. */
void metrics_last(const char *text, size_t n, char *out);

#endif
