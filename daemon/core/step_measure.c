/* What nodes measured of themselves: which are slower than their class, and are spared new work.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/doing.h"

/* A median of fewer nodes says little of a class. */
enum { CLASS_MIN = 3 };
#define TROUBLE "measured: "

static int by_size(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Of the measured nodes of a class that are not down; 0 when they are too few. */
static int64_t median_of(const struct core *c, uint32_t class)
{
    BT_AUTO int64_t *all = bt_new_n(int64_t, (size_t)c->n_nodes + 1);
    size_t n = 0;

    for (int32_t i = 0; i < c->n_nodes; i++) {
        const struct node *d = &c->nodes[i];

        if (d->class_word == class && d->row.busbw_mbs != ROW_NULL64 &&
            !bt_streq(d->row.state, "down"))
            all[n++] = d->row.busbw_mbs;
    }
    if (n < CLASS_MIN)
        return 0;
    qsort(all, n, sizeof *all, by_size);
    return (all[(n - 1) / 2] + all[n / 2]) / 2;
}

static bool is_slow(const struct node *n, int64_t median)
{
    return median && n->row.busbw_mbs != ROW_NULL64 && 5 * n->row.busbw_mbs < 4 * median;
}

/* What was called slow by a measurement works again by one; what people say of a node stays. */
static void judge(struct core *c, struct node *n, int64_t median)
{
    bool slow = is_slow(n, median), ours = bt_starts(n->row.reason ? n->row.reason : "", TROUBLE);
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
    judge(c, n, median_of(c, n->class_word));
}

bool node_shall_measure(const struct node *n)
{
    return n->row.measure_us != ROW_NULL64 &&
           (n->row.measured_us == ROW_NULL64 || n->row.measured_us < n->row.measure_us);
}

/* A new value moves the median, so all of the class are looked at again. */
void step_measured(struct core *c, const struct event *ev)
{
    const struct ev_measured *e = &ev->u.measured;
    struct node *n = node_find(c, e->node);
    struct bt_err err = {0};
    int64_t median;
    int rc = agent_speaks(c, ev, e->node, &err);

    if (rc == 0 && !n)
        rc = bt_fail(&err, BT_ERR_NOT_FOUND, "node %s has not registered", e->node);
    assert(n || rc < 0);
    if (rc < 0) {
        refuse(c, &err, NULL);
        return;
    }
    n->row.busbw_mbs = e->busbw_mbs;
    n->row.measured_us = c->now_us;
    EMIT(c, node, n);
    median = median_of(c, n->class_word);
    for (int32_t i = 0; i < c->n_nodes; i++)
        if (c->nodes[i].class_word == n->class_word)
            judge(c, &c->nodes[i], median);
    answer(c, 200, bt_strdup("{}"));
}

int do_measure(struct core *c, struct doing *d)
{
    struct node *n = node_find(c, d->e->node);

    if (!n)
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no node '%s'", d->e->node),
                       "beamtime node list");
    set_i64(d, &n->row.measure_us, c->now_us);
    if (d->changed)
        EMIT(c, node, n);
    return 0;
}
