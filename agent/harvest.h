/* harvest.h - reads what a job left under $BEAM_OUTPUT: hashes it, and opens it again for upload.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The folder belongs to a user who may be hostile, and the reader may be root. Every name is
 * opened by openat2(2) below the folder's own descriptor with RESOLVE_BENEATH, NO_SYMLINKS,
 * NO_XDEV and NO_MAGICLINKS, and only regular files owned by the job's user count: a hard link
 * to another user's file is not published. Everything else is skipped and named. */
#ifndef BT_AGENT_HARVEST_H
#define BT_AGENT_HARVEST_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/spec.h"
#include "lib/base/buf.h"
#include "lib/record/manifest.h"

enum { HARVEST_DEPTH_MAX = 64, HARVEST_NAMED_MAX = 20 };

struct harvest {
    struct manifest files; /* sorted */
    struct bt_buf skipped; /* a line each of the first HARVEST_NAMED_MAX: "PATH: why" */
    int64_t n_skipped;
    bool incomplete; /* a file that should be there could not be read, or a limit was met */
};

/* Reads everything under `output` that `spec` wants (NULL: all). A folder that is not there is an
 * empty harvest. BT_ERR_IO only when the folder itself cannot be opened. */
int harvest_take(const char *output, uid_t owner, const struct spec *spec, struct harvest *ret,
                 struct bt_err *err) BT_MUSTUSE;
void harvest_done(struct harvest *h);

/* Opens one regular file of `owner` below `output`. Returns the descriptor. BT_ERR_NOT_FOUND,
 * BT_ERR_FORBIDDEN (a link, a special file, another's file), BT_ERR_BUSY (too little memory or too
 * few descriptors for the moment). */
int harvest_open(const char *output, uid_t owner, const char *path, struct bt_err *err) BT_MUSTUSE;

#endif
