/* manifest.h - the list of files that a job left behind, and its Merkle root.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One line a file, sorted by path (bytes), no path twice:
 *   SHA256-HEX SP SIZE SP PATH LF
 * The root is the RFC 6962 tree over the lines without their LF, so that one file of 100,000 is
 * proven by 17 hashes; its leaf in the ledger also names the text's own SHA-256. A path is
 * relative, UTF-8, without control characters, empty parts, "." and "..". */
#ifndef BT_RECORD_MANIFEST_H
#define BT_RECORD_MANIFEST_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ledger/tree.h"

enum {
    MANIFEST_FILES_MAX = 100000,
    MANIFEST_PATH_MAX = 1024, /* bytes, without the NUL */
    MANIFEST_TEXT_MAX = 64 * 1024 * 1024,
};

struct manifest_file {
    char *path; /* owned */
    int64_t bytes;
    uint8_t sha256[32];
};

struct manifest {
    struct manifest_file *files;
    size_t n, cap;
    int64_t bytes; /* of all files together */
};

/* A zeroed manifest is empty. */
void manifest_done(struct manifest *m);
#define MANIFEST_AUTO BT_CLEANUP(manifest_done)

/* In any order; manifest_sort ends it. BT_ERR_INVALID for a path or size that it cannot hold,
 * BT_ERR_TOO_LARGE at MANIFEST_FILES_MAX. */
int manifest_add(struct manifest *m, const char *path, int64_t bytes, const uint8_t sha256[32],
                 struct bt_err *err) BT_MUSTUSE;
/* BT_ERR_CONFLICT when a path appears twice. */
int manifest_sort(struct manifest *m, struct bt_err *err) BT_MUSTUSE;

/* Of a sorted manifest. */
void manifest_text(const struct manifest *m, struct bt_buf *to); /* appended */
void manifest_root(const struct manifest *m, struct tree_hash *ret);

/* BT_ERR_INVALID names the line unless text[n] is exactly what manifest_text writes. */
int manifest_parse(const char *text, size_t n, struct manifest *ret, struct bt_err *err) BT_MUSTUSE;

/* Index of path in a sorted manifest, or BT_ERR_NOT_FOUND. */
int manifest_find(const struct manifest *m, const char *path, struct bt_err *err) BT_MUSTUSE;

/* That one file is in the manifest with this root: tree_verify_inclusion of its line. */
int manifest_prove(const struct manifest *m, size_t index, struct tree_proof *ret,
                   struct bt_err *err) BT_MUSTUSE;
void manifest_line_hash(const struct manifest_file *f, struct tree_hash *ret);

#endif
