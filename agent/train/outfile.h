/* outfile.h - a large file written piece by piece that appears whole or not at all.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TRAIN_OUTFILE_H
#define BT_TRAIN_OUTFILE_H

#include <stddef.h>

#include "lib/base/err.h"
#include "lib/crypto/hash.h"

struct outfile {
    int fd;
    char *path, *temp;
    struct bt_sha256 sum; /* of everything written so far */
};

/* Opens a temporary file beside path. After success exactly one of commit and abandon follows. */
int outfile_open(struct outfile *f, const char *path, struct bt_err *err) BT_MUSTUSE;
int outfile_write(struct outfile *f, const void *p, size_t n, struct bt_err *err) BT_MUSTUSE;
/* fsync, rename over path, fsync of the folder; abandons on failure. */
int outfile_commit(struct outfile *f, struct bt_err *err) BT_MUSTUSE;
void outfile_abandon(struct outfile *f); /* also after a commit: then it does nothing */

/* Removes what earlier processes that were killed left half-written in dir: files named
 * NAME.<process id>.tmp. One run owns a folder; nothing else may be writing there. */
int outfile_sweep(const char *dir, struct bt_err *err) BT_MUSTUSE;

#endif
