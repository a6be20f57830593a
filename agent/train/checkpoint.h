/* checkpoint.h - everything a run needs to go on as if nothing had happened, in one file.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * "BTCKPT1\n", u64 little-endian size of a JSON header padded with spaces to a
 * multiple of 8, the header, then weights, first and second moments as float32, then
 * the SHA-256 of all that. Files are called step-<10 digits>.ckpt; the two
 * newest are kept. A checkpoint does not know how many ranks wrote it. */
#ifndef BT_TRAIN_CHECKPOINT_H
#define BT_TRAIN_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { CHECKPOINT_ABOUT_MAX = 2048 };

struct checkpoint_info {
    int64_t step; /* steps done */
    int64_t tokens;
    double parent_flops;
    char about[CHECKPOINT_ABOUT_MAX]; /* lines key=value that a resumed run must share */
};

/* Where a file's three arrays come from or go to, one piece at a time: part 0 weights, 1 and 2
 * moments; elements at..at+n. */
typedef int checkpoint_piece(void *arg, int part, size_t at, float *buffer, size_t n,
                             struct bt_err *err);
enum { CHECKPOINT_PIECE = 1 << 20 }; /* floats */

/* Writes dir/step-N.ckpt atomically, then removes all but the two newest. `give` fills buffer. */
int checkpoint_write(const char *dir, const struct checkpoint_info *info, size_t n_params,
                     checkpoint_piece *give, void *arg, struct bt_err *err) BT_MUSTUSE;

/* The newest checkpoint's path into *ret (bt_free), NULL when there is none. */
int checkpoint_newest(const char *dir, char **ret, struct bt_err *err) BT_MUSTUSE;

/* Checks the whole file first, then hands the pieces to `put`. BT_ERR_CORRUPT when it is damaged,
 * BT_ERR_CONFLICT when `about` differs (names the first difference). */
int checkpoint_read(const char *path, const char *about, size_t n_params,
                    struct checkpoint_info *ret, checkpoint_piece *put, void *arg,
                    struct bt_err *err) BT_MUSTUSE;

#endif
