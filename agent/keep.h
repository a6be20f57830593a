/* keep.h - large files of a job stay in the storage of their site, where a web server gives them
 * out by their digest. SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   <dir>/sha256/ab/<hex>     as beamtimed keeps blobs; whole, its bytes those of its name, durable
 *   <dir>/sha256/.<attempt>   what is being copied; begun anew when the agent was killed
 *
 * The folder may be on a file system of many nodes; whose files are equal writes equal bytes. */
#ifndef BT_AGENT_KEEP_H
#define BT_AGENT_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

struct keep {
    const char *dir; /* NULL or empty: nothing stays */
    int64_t from;    /* files of at least so many bytes */
};

bool keep_wants(const struct keep *k, int64_t bytes);

/* Copies `total` bytes of fd from its beginning; 0 also when they are there already. `attempt` is
 * a name that nobody else uses meanwhile. BT_ERR_CONFLICT: they are not the bytes of the digest;
 * BT_ERR_NOT_FOUND: no <dir>/sha256, for it is never made here (storage that is not mounted). */
int keep_file(const struct keep *k, const char *attempt, const uint8_t sha256[32], int fd,
              int64_t total, struct bt_err *err) BT_MUSTUSE;

#endif
