/* text.h - how the command line writes times, durations, sizes and amounts, and reads amounts.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pure: no clock, no files; local time is the process's TZ. Every `out` has TEXT_MAX bytes and
 * is returned. */
#ifndef BT_CLI_TEXT_H
#define BT_CLI_TEXT_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { TEXT_MAX = 48 };

#define TEXT_MRAS_PER_HOUR INT64_C(3600000)

/* Accelerator-hours as people write them: "40h", "120kh", "1.5Mh", "2Gh", also "90s", "30m"
 * -> milli reference-accelerator-seconds, exactly (decimals that do not come out even in _mras
 * are BT_ERR_INVALID, as are negative amounts and those beyond int64). "0" needs no unit. */
int text_amount(const char *s, const char *what, int64_t *ret_mras, struct bt_err *err) BT_MUSTUSE;

char *text_hours(int64_t mras, char *out);       /* "0.07", "40.00", "80,000" accelerator-hours */
char *text_duration(int64_t seconds, char *out); /* "41 s", "12 min", "2 h 05 min", "3 d 04 h" */
/* Local time as short as it stays clear: "18:02:11" today, "Tue 03:40" within six days, else
 * "2027-01-01 03:40". */
char *text_time(int64_t us, int64_t now_us, char *out);
char *text_bytes(int64_t bytes, char *out); /* "7.9 MB" */
char *text_flops(double flops, char *out);  /* "3.1e13" */

/* Appends s without what could act on a terminal: control characters become '?'. */
void text_clean(struct bt_buf *to, const char *s);
/* Columns that a UTF-8 text takes, one a character. */
int text_width(const char *s);

#endif
