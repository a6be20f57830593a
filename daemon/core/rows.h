/* rows.h - the rows of rows.def as structs, and growing lists of each kind.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_CORE_ROWS_H
#define BT_DAEMON_CORE_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/rows.def"
#include "lib/base/map.h"
#include "lib/base/uuid.h"

#define ROW_NULL32 INT32_MIN
#define ROW_NULL64 INT64_MIN

struct row_b32 {
    uint8_t b[32];
};

#define ROW_TYPE_i32 int32_t
#define ROW_TYPE_i64 int64_t
#define ROW_TYPE_bits int64_t
#define ROW_TYPE_uuid struct bt_uuid
#define ROW_TYPE_b32 struct row_b32
#define ROW_TYPE_text char *

#define C(S, type, column) ROW_TYPE_##type column;
#define R(name, COLUMNS) \
    struct row_##name {  \
        COLUMNS(C, )     \
    };
#include "daemon/core/rows.def"
#undef R
#undef C

enum row_kind {
#define R(name, COLUMNS) ROW_KIND_##name,
#include "daemon/core/rows.def"
#undef R
    ROW_KINDS
};

enum row_type { ROW_i32, ROW_i64, ROW_bits, ROW_uuid, ROW_b32, ROW_text };

struct row_column {
    const char *name;
    enum row_type type;
    size_t offset; /* in struct row_<kind> */
};

/* What the store needs to encode and decode a kind without knowing it. */
struct row_shape {
    const char *name; /* "job_state" */
    size_t size;      /* of struct row_<kind> */
    int n_columns;
    const struct row_column *columns;
};

extern const struct row_shape row_shapes[ROW_KINDS];

/* A list of rows of one kind: `v` is struct row_<kind>[n]. */
struct row_list {
    void *v;
    int n;
    int cap;
};

/* All rows of a batch, by kind. Text is owned by the rows. */
struct rows {
    struct row_list list[ROW_KINDS];
    struct bt_map index; /* of the rows made by rows_put */
    int n;               /* over all kinds */
};

/* Appends a zeroed row of the kind and returns it: fill it at once, the pointer moves with
 * the next append. Text given to it is owned by the list from then on. */
void *rows_add(struct rows *rows, enum row_kind kind);
/* The row of this kind and key in this batch, emptied, or a new one: a statement must not meet
 * the same key twice, so the last state of a thing wins. */
void *rows_put(struct rows *rows, enum row_kind kind, const void *key, size_t n);

/* Frees texts, and the arrays that take more than `keep` bytes: the others are room for the next
 * rows. */
void rows_clear(struct rows *rows, size_t keep);
void rows_done(struct rows *rows);
void row_free_texts(enum row_kind kind, void *row);
void row_copy(enum row_kind kind, void *to, const void *row); /* with copies of its texts */

#endif
