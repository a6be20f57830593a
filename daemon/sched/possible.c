/* possible.c - refuses at once what the facility could never run.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>

#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

struct plan_limits {
    struct fabric fabric;
};

/* The most that the zones of one class or enclave hold. */
struct most {
    uint32_t zones, acc, per_node, in_node, in_leaf, in_pod, in_kind, in_site;
};

struct plan_limits *sched_limits(const struct plan_input *in)
{
    struct plan_limits *l = bt_new(struct plan_limits);
    struct plan_node *all BT_AUTO = bt_new_n(struct plan_node, in->n_nodes + 1);
    for (uint32_t i = 0; i < in->n_nodes; i++) {
        all[i] = in->nodes[i];
        all[i].state = PLAN_UP;
    }
    const struct plan_input empty = {.now_us = in->now_us, .nodes = all, .n_nodes = in->n_nodes};
    fab_init(&l->fabric, &empty);
    return l;
}

void sched_limits_free(struct plan_limits *l)
{
    if (!l)
        return;
    fab_done(&l->fabric);
    bt_free(l);
}

static bool zone_of_job(const struct fab_zone *z, const struct plan_pending *job)
{
    return (job->accel_class == PLAN_CLASS_ANY || job->accel_class == z->accel_class) &&
           job->tier <= z->tier && job->per_node <= z->acc;
}

/* Accelerators of `nodes` nodes as the job would use them. */
static uint32_t usable(const struct fab_zone *z, const struct plan_pending *job, uint32_t nodes)
{
    return nodes * (job->per_node ? job->per_node : z->acc);
}

static struct most most_of(const struct fabric *f, const struct plan_pending *job)
{
    struct most m = {0};
    uint32_t kind = PLAN_NONE, in_kind = 0, site = PLAN_NONE, in_site = 0;
    for (uint32_t i = 0; i < f->n_zones; i++) {
        const struct fab_zone *z = &f->zones[i];
        if (!zone_of_job(z, job))
            continue;
        in_kind = z->kind == kind ? in_kind : 0;
        in_site = z->kind == kind && z->site == site ? in_site : 0;
        kind = z->kind;
        site = z->site;
        in_kind += usable(z, job, z->n_nodes);
        in_site += usable(z, job, z->n_nodes);
        m.zones++;
        m.in_kind = BT_MAX(m.in_kind, in_kind);
        m.in_site = BT_MAX(m.in_site, in_site);
        m.in_pod = BT_MAX(m.in_pod, usable(z, job, z->n_nodes));
        m.in_leaf = BT_MAX(m.in_leaf, usable(z, job, z->biggest_rack));
        m.in_node = BT_MAX(m.in_node, usable(z, job, 1));
    }
    return m;
}

static int check_shape(const struct plan_pending *job, struct bt_err *err)
{
    if (job->min_acc < 1 || (job->max_acc && job->max_acc < job->min_acc))
        return bt_fail(err, BT_ERR_INVALID, "asks for %" PRIu32 " to %" PRIu32 " accelerators",
                       job->min_acc, job->max_acc);
    if (job->walltime_s < 1 || job->walltime_s > PLAN_MAX_WALLTIME_S)
        return bt_fail(err, BT_ERR_INVALID, "a walltime of %" PRIu32 " s is not in 1..%d",
                       job->walltime_s, PLAN_MAX_WALLTIME_S);
    if (job->level > PLAN_NODE || job->tier > PLAN_MAX_TIER || job->per_node > PLAN_MAX_ACC)
        return bt_fail(err, BT_ERR_INVALID, "unknown level, tier or size of a node");
    return 0;
}

static int too_wide(const struct plan_pending *job, const char *where, uint32_t most,
                    struct bt_err *err)
{
    if (job->min_acc <= most)
        return 0;
    return bt_next(err,
                   bt_fail(err, BT_ERR_IMPOSSIBLE,
                           "asks for %" PRIu32 " accelerators%s; the largest that it may use has "
                           "%" PRIu32,
                           job->min_acc, where, most),
                   "ask for at most %" PRIu32 " or a looser level", most);
}

int sched_limits_allow(const struct plan_limits *l, const struct plan_pending *job,
                       struct bt_err *err)
{
    int rc = check_shape(job, err);
    if (rc < 0)
        return rc;
    struct most m = most_of(&l->fabric, job);
    if (!m.zones) {
        struct plan_pending any = *job;
        any.tier = 0;
        if (most_of(&l->fabric, &any).zones)
            return bt_fail(err, BT_ERR_IMPOSSIBLE, "no such node lies in an enclave of tier %d",
                           job->tier);
        any.per_node = 0;
        if (most_of(&l->fabric, &any).zones)
            return bt_fail(err, BT_ERR_IMPOSSIBLE, "no node has %" PRIu32 " accelerators",
                           job->per_node);
        return bt_fail(err, BT_ERR_IMPOSSIBLE, "the facility has no accelerators of class %d",
                       job->accel_class);
    }
    if (job->level_required) {
        switch ((enum plan_level)job->level) {
        case PLAN_NODE:
            return too_wide(job, " on one node", m.in_node, err);
        case PLAN_LEAF:
            return too_wide(job, " on one leaf", m.in_leaf, err);
        case PLAN_POD:
            return too_wide(job, " in one pod", m.in_pod, err);
        case PLAN_SITE:
            return too_wide(job, " at one site", job->per_node ? m.in_pod : m.in_site, err);
        case PLAN_ANY:
            break;
        }
    }
    return too_wide(job, "", m.in_kind, err);
}

int sched_possible(const struct plan_input *in, const struct plan_pending *job, struct bt_err *err)
{
    struct plan_limits *l = sched_limits(in);
    int rc = sched_limits_allow(l, job, err);
    sched_limits_free(l);
    return rc;
}
