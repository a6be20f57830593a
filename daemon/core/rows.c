/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/rows.h"

#include <assert.h>
#include <string.h>

#include "lib/base/mem.h"

#define C(S, type, column)                       \
    {                                            \
#column, ROW_##type, offsetof(S, column) \
    }                                            \
    ,
#define R(name, COLUMNS) \
    static const struct row_column name##_columns[] = {COLUMNS(C, struct row_##name)};
#include "daemon/core/rows.def"
#undef R
#undef C

#define R(name, COLUMNS) \
    {#name, sizeof(struct row_##name), (int)BT_ARRAY_LEN(name##_columns), name##_columns},
const struct row_shape row_shapes[ROW_KINDS] = {
#include "daemon/core/rows.def"
};
#undef R

/* ---- rows ---- */

void *rows_add(struct rows *rows, enum row_kind kind)
{
    struct row_list *l = &rows->list[kind];
    size_t size = row_shapes[kind].size;
    char *row;

    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->v = bt_realloc(l->v, (size_t)l->cap, size);
    }
    row = (char *)l->v + (size_t)l->n * size;
    memset(row, 0, size);
    l->n++;
    rows->n++;
    return row;
}

void *rows_put(struct rows *rows, enum row_kind kind, const void *key, size_t n)
{
    uint8_t named[64] = {(uint8_t)kind};
    uint64_t hash;
    uint32_t at;
    char *row;

    assert(n < sizeof named);
    memcpy(named + 1, key, n);
    hash = bt_map_hash(named, n + 1);
    if (!bt_map_get(&rows->index, hash, &at)) {
        bt_map_put(&rows->index, hash, (uint32_t)rows->list[kind].n);
        return rows_add(rows, kind);
    }
    row = (char *)rows->list[kind].v + (size_t)at * row_shapes[kind].size;
    row_free_texts(kind, row);
    memset(row, 0, row_shapes[kind].size);
    return row;
}

void row_copy(enum row_kind kind, void *to, const void *row)
{
    const struct row_shape *s = &row_shapes[kind];

    memcpy(to, row, s->size);
    for (int i = 0; i < s->n_columns; i++)
        if (s->columns[i].type == ROW_text) {
            char **text = (char **)(void *)((char *)to + s->columns[i].offset);

            *text = *text ? bt_strdup(*text) : NULL;
        }
}

void row_free_texts(enum row_kind kind, void *row)
{
    const struct row_shape *s = &row_shapes[kind];

    for (int i = 0; i < s->n_columns; i++)
        if (s->columns[i].type == ROW_text) {
            char **text = (char **)(void *)((char *)row + s->columns[i].offset);

            bt_free(*text);
            *text = NULL;
        }
}

void rows_clear(struct rows *rows, size_t keep)
{
    for (int k = 0; k < ROW_KINDS; k++) {
        struct row_list *l = &rows->list[k];

        for (int i = 0; i < l->n; i++)
            row_free_texts((enum row_kind)k, (char *)l->v + (size_t)i * row_shapes[k].size);
        l->n = 0;
        if ((size_t)l->cap * row_shapes[k].size > keep) {
            bt_free(l->v);
            *l = (struct row_list){0};
        }
    }
    rows->n = 0;
    bt_map_done(&rows->index);
}

void rows_done(struct rows *rows)
{
    rows_clear(rows, 0);
    *rows = (struct rows){0};
}
