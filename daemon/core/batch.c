/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/batch.h"

#include "lib/base/mem.h"

/* What a renewed batch keeps of each kind of row: as much as some hundred submissions need. */
enum { KEPT_BYTES = 65536 };

static uint64_t next_id(void)
{
    static _Atomic uint64_t last;

    return ++last;
}

struct batch *batch_new(void)
{
    struct batch *b = bt_new(struct batch);

    b->id = next_id();
    return b;
}

static void free_all_but_rows(struct batch *b)
{
    for (int i = 0; i < b->n_replies; i++) {
        bt_free(b->replies[i].body);
        bt_free(b->replies[i].more);
        bt_free(b->replies[i].ask);
    }
    for (int i = 0; i < b->n_wants; i++) {
        bt_free(b->wants[i].places);
        bt_free(b->wants[i].hosts);
    }
    for (int i = 0; i < b->n_sites; i++)
        bt_free(b->sites[i].conf);
    bt_free(b->sites);
    if (b->trials)
        bt_wipe(b->trials, (size_t)b->n_trials * sizeof *b->trials);
    bt_free(b->trials);
    bt_free(b->replies);
    bt_free(b->wants);
    bt_free(b->jobs);
    bt_free(b->credentials);
}

void batch_renew(struct batch *b)
{
    struct rows rows;

    free_all_but_rows(b);
    rows_clear(&b->rows, KEPT_BYTES);
    rows = b->rows;
    *b = (struct batch){.id = next_id(), .rows = rows};
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    free_all_but_rows(b);
    rows_done(&b->rows);
    bt_free(b);
}

struct reply *batch_reply(struct batch *b, uint64_t to)
{
    BT_GROW(b->replies, b->n_replies, b->cap_replies);
    b->replies[b->n_replies] = (struct reply){.to = to, .http = 200};
    return &b->replies[b->n_replies++];
}

struct want *batch_want(struct batch *b)
{
    BT_GROW(b->wants, b->n_wants, b->cap_wants);
    b->wants[b->n_wants] = (struct want){0};
    return &b->wants[b->n_wants++];
}
