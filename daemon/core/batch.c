/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/batch.h"

#include "lib/base/mem.h"

struct batch *batch_new(void)
{
    static _Atomic uint64_t last;
    struct batch *b = bt_new(struct batch);

    b->id = ++last;
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    rows_done(&b->rows);
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
