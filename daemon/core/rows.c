/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/rows.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
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

/* ---- memory of lists that are done, for the next batches: a batch of submissions has the same
 * kinds of rows as the one before, and is made and freed by different threads ---- */

enum { SPARES = 3, SPARE_BYTES = 65536 };

static struct {
    pthread_mutex_t lock;
    void *v[ROW_KINDS][SPARES];
    int cap[ROW_KINDS][SPARES];
    int n[ROW_KINDS];
} spare = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool list_reuse(enum row_kind kind, struct row_list *l)
{
    bool found;

    pthread_mutex_lock(&spare.lock);
    found = spare.n[kind] > 0;
    if (found) {
        int at = --spare.n[kind];

        l->v = spare.v[kind][at];
        l->cap = spare.cap[kind][at];
    }
    pthread_mutex_unlock(&spare.lock);
    return found;
}

static void list_done(enum row_kind kind, struct row_list *l)
{
    bool keep = false;

    if (l->v && (size_t)l->cap * row_shapes[kind].size <= SPARE_BYTES) {
        pthread_mutex_lock(&spare.lock);
        keep = spare.n[kind] < SPARES;
        if (keep) {
            int at = spare.n[kind]++;

            spare.v[kind][at] = l->v;
            spare.cap[kind][at] = l->cap;
        }
        pthread_mutex_unlock(&spare.lock);
    }
    if (!keep)
        bt_free(l->v);
}

/* ---- rows ---- */

void *rows_add(struct rows *rows, enum row_kind kind)
{
    struct row_list *l = &rows->list[kind];
    size_t size = row_shapes[kind].size;
    char *row;

    if (l->n == l->cap && (l->cap || !list_reuse(kind, l))) {
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

void rows_clear(struct rows *rows)
{
    for (int k = 0; k < ROW_KINDS; k++) {
        struct row_list *l = &rows->list[k];

        for (int i = 0; i < l->n; i++)
            row_free_texts((enum row_kind)k, (char *)l->v + (size_t)i * row_shapes[k].size);
        l->n = 0;
    }
    rows->n = 0;
    bt_map_done(&rows->index);
}

void rows_done(struct rows *rows)
{
    rows_clear(rows);
    for (int k = 0; k < ROW_KINDS; k++)
        list_done((enum row_kind)k, &rows->list[k]);
    *rows = (struct rows){0};
}
