/* What nodes measured of themselves: which are slower than their class, and are spared new work.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/doing.h"

#define TROUBLE "measured: "

struct ladder *ladder_of(struct core *c, uint32_t class_word, enum ladder_kind kind)
{
    for (uint32_t i = 0; i < c->n_ladders; i++)
        if (c->ladders[i].class_word == class_word)
            return &c->ladders[i].of[kind];
    BT_GROW(c->ladders, c->n_ladders, c->cap_ladders);
    c->ladders[c->n_ladders] = (struct class_ladder){.class_word = class_word};
    return &c->ladders[c->n_ladders++].of[kind];
}

void measured_loaded(struct core *c)
{
    for (int32_t i = 0; i < c->n_nodes; i++)
        if (c->nodes[i].row.busbw_mbs != ROW_NULL64)
            ladder_add(ladder_of(c, c->nodes[i].class_word, LADDER_NODES),
                       c->nodes[i].row.busbw_mbs, i + 1);
    pairs_loaded(c);
    for (uint32_t i = 0; i < c->n_ladders; i++)
        for (int k = 0; k < LADDERS; k++)
            ladder_sort(&c->ladders[i].of[k]);
}

void node_classed(struct core *c, struct node *n, uint32_t class_word)
{
    if (n->row.busbw_mbs != ROW_NULL64 && n->class_word != class_word) {
        ladder_drop(ladder_of(c, n->class_word, LADDER_NODES), n->row.busbw_mbs, n->row.id);
        ladder_put(ladder_of(c, class_word, LADDER_NODES), n->row.busbw_mbs, n->row.id);
    }
    n->class_word = class_word;
}

/* What was called slow by a measurement works again by one; what people say of a node stays. */
static void judge(struct core *c, struct node *n, int64_t median)
{
    bool slow = n->row.busbw_mbs != ROW_NULL64 && is_slow(n->row.busbw_mbs, median);
    bool ours = bt_starts(n->row.reason ? n->row.reason : "", TROUBLE);
    char why[120];

    if (slow && bt_streq(n->row.state, "up")) {
        (void)snprintf(why, sizeof why, TROUBLE "%.2f GB/s, below 0.8 of its class's median %.2f",
                       (double)n->row.busbw_mbs * 1e-3, (double)median * 1e-3);
        node_set_state(c, n, "degraded", why);
        emit_event(c, "node-degraded", "facility/clock", n->row.name, NULL);
    } else if (!slow && ours && bt_streq(n->row.state, "degraded")) {
        node_set_state(c, n, "up", "-");
        emit_event(c, "node-up", "facility/clock", n->row.name, NULL);
    }
}

void node_judge(struct core *c, struct node *n)
{
    judge(c, n, ladder_median(ladder_of(c, n->class_word, LADDER_NODES), CLASS_MIN));
}

bool node_shall_measure(const struct node *n)
{
    return n->row.n_acc > 1 && n->row.measure_us != ROW_NULL64 &&
           (n->row.measured_us == ROW_NULL64 || n->row.measured_us < n->row.measure_us);
}

/* A new value moves the median: it is judged, and those that lie between the old limit and the
 * new one, who are few. */
static void take_value(struct core *c, struct node *n, int64_t mbs)
{
    struct ladder *o = ladder_of(c, n->class_word, LADDER_NODES);
    int64_t before = ladder_median(o, CLASS_MIN), after;

    if (n->row.busbw_mbs != ROW_NULL64)
        ladder_drop(o, n->row.busbw_mbs, n->row.id);
    ladder_put(o, mbs, n->row.id);
    n->row.busbw_mbs = mbs;
    n->row.measured_us = c->now_us;
    EMIT(c, node, n);
    sched_limits_measured(c->limits, (uint32_t)(n - c->nodes), node_busbw_mbs(n));
    c->plan_due = true; /* of jobs that ask for bandwidth */
    after = ladder_median(o, CLASS_MIN);
    judge(c, n, after);
    uint32_t low = ladder_slow(o, BT_MIN(before, after)),
             high = ladder_slow(o, BT_MAX(before, after));
    for (uint32_t i = low; i < high; i++)
        judge(c, &c->nodes[o->v[i].id - 1], after);
}

void step_measured(struct core *c, const struct event *ev)
{
    const struct ev_measured *e = &ev->u.measured;
    struct node *n = node_find(c, e->node);
    struct bt_err err = {0};
    int rc = agent_speaks(c, ev, e->node, &err);

    if (rc == 0 && !n)
        rc = bt_fail(&err, BT_ERR_NOT_FOUND, "node %s has not registered", e->node);
    assert(n || rc < 0);
    if (rc < 0) {
        refuse(c, &err, NULL);
        return;
    }
    take_value(c, n, e->busbw_mbs);
    answer(c, 200, bt_strdup("{}"));
}

int do_measure(struct core *c, struct doing *d)
{
    struct node *n = node_find(c, d->e->node);

    if (!n)
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no node '%s'", d->e->node),
                       "beamtime node list");
    if (bt_streq(d->e->kind, "pairs")) {
        if (!n->trials)
            return bt_fail(&d->err, BT_ERR_INVALID,
                           "the agent of node %s is not here or too old to measure with others",
                           d->e->node);
        n->pairs_asked_us = c->now_us;
        return 0;
    }
    if (n->row.n_acc < 2)
        return bt_fail(&d->err, BT_ERR_INVALID,
                       "node %s has %s: there is nothing to measure inside it", d->e->node,
                       n->row.n_acc ? "one accelerator" : "no accelerator");
    set_i64(d, &n->row.measure_us, c->now_us);
    if (d->changed)
        EMIT(c, node, n);
    return 0;
}
