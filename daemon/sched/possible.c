/* possible.c - refuses at once what the facility could never run.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>

#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

enum { FILTERED = 4 }; /* answers kept for amounts of memory and bandwidth, and stores */

struct filtered {
    struct fabric fabric; /* of the nodes that reach both, of these stores */
    uint32_t stores;
    uint16_t memory_gb, busbw_gb;
    bool made;
};

struct plan_limits {
    struct fabric fabric;
    struct plan_node *nodes; /* all of them up */
    uint32_t n_nodes, next;  /* next: which of `some` is made anew */
    int64_t now_us;
    struct filtered some[FILTERED];
};

/* The most that the zones of one class or enclave hold. */
struct most {
    uint32_t zones, in_node, in_leaf, in_pod;
    uint32_t in_site;  /* a gang on parts of nodes lies in one pod */
    uint32_t at_parts; /* of one site, if such a gang could lie in several pods */
    bool sites;        /* more than one */
};

struct plan_limits *sched_limits(const struct plan_input *in)
{
    struct plan_limits *l = bt_new(struct plan_limits);
    l->now_us = in->now_us;
    l->n_nodes = in->n_nodes;
    l->nodes = bt_new_n(struct plan_node, in->n_nodes + 1);
    for (uint32_t i = 0; i < in->n_nodes; i++) {
        l->nodes[i] = in->nodes[i];
        l->nodes[i].state = PLAN_UP;
    }
    const struct plan_input empty = {
        .now_us = in->now_us, .nodes = l->nodes, .n_nodes = in->n_nodes};
    fab_init(&l->fabric, &empty);
    return l;
}

static void forget_filtered(struct plan_limits *l)
{
    for (int i = 0; i < FILTERED; i++) {
        if (l->some[i].made)
            fab_done(&l->some[i].fabric);
        l->some[i] = (struct filtered){.made = false};
    }
}

void sched_limits_measured(struct plan_limits *l, uint32_t node, uint32_t busbw_mbs)
{
    if (!l || node >= l->n_nodes || l->nodes[node].busbw_mbs == busbw_mbs)
        return;
    l->nodes[node].busbw_mbs = busbw_mbs;
    forget_filtered(l);
}

void sched_limits_free(struct plan_limits *l)
{
    if (!l)
        return;
    forget_filtered(l);
    fab_done(&l->fabric);
    bt_free(l->nodes);
    bt_free(l);
}

static bool is_filtered(const struct plan_pending *job)
{
    return job->memory_gb || job->busbw_gb || job->stores;
}

/* The nodes that have what the job asks for, as if there were no others. */
static const struct fabric *fabric_for(struct plan_limits *l, const struct plan_pending *job)
{
    if (!is_filtered(job))
        return &l->fabric;
    for (int i = 0; i < FILTERED; i++)
        if (l->some[i].made && l->some[i].memory_gb == job->memory_gb &&
            l->some[i].busbw_gb == job->busbw_gb && l->some[i].stores == job->stores)
            return &l->some[i].fabric;
    struct filtered *f = &l->some[l->next];
    l->next = (l->next + 1) % FILTERED;
    if (f->made)
        fab_done(&f->fabric);
    *f = (struct filtered){.memory_gb = job->memory_gb,
                           .busbw_gb = job->busbw_gb,
                           .stores = job->stores,
                           .made = true};
    struct plan_node *v BT_AUTO = bt_memdup(l->nodes, (l->n_nodes + 1) * sizeof *v);
    for (uint32_t i = 0; i < l->n_nodes; i++)
        if (v[i].memory_gb < job->memory_gb || v[i].busbw_mbs < job->busbw_gb * (uint32_t)MBS ||
            !fab_holds(job->stores, v[i].store))
            v[i].usable_mask = 0;
    const struct plan_input in = {.now_us = l->now_us, .nodes = v, .n_nodes = l->n_nodes};
    fab_init(&f->fabric, &in);
    return &f->fabric;
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
    uint32_t kind = PLAN_NONE, in_kind = 0, first = PLAN_NONE;
    for (uint32_t i = 0; i < f->n_zones; i++) {
        const struct fab_zone *z = &f->zones[i];
        if (!zone_of_job(z, job))
            continue;
        bool parts = job->per_node && job->per_node < z->acc;
        in_kind = z->kind == kind ? in_kind : 0; /* a kind lies in one site */
        kind = z->kind;
        first = first == PLAN_NONE ? z->site : first;
        m.sites |= z->site != first;
        in_kind += usable(z, job, z->n_nodes);
        m.zones++;
        m.in_pod = BT_MAX(m.in_pod, usable(z, job, z->n_nodes));
        m.in_site = BT_MAX(m.in_site, parts ? usable(z, job, z->n_nodes) : in_kind);
        m.at_parts = BT_MAX(m.at_parts, in_kind);
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
                           "asks for %" PRIu32 " accelerators%s%s; the largest that it may use "
                           "has %" PRIu32,
                           job->min_acc,
                           job->memory_gb || job->busbw_gb ? " of such memory and bandwidth"
                           : !job->stores                  ? ""
                           : job->account                  ? " where its person has an account"
                                                           : " where its data sets are",
                           where, most),
                   "ask for at most %" PRIu32 " or a looser level", most);
}

/* Where its pod alone bounds it, whole nodes would do. */
static int in_parts(const struct plan_pending *job, uint32_t most, struct bt_err *err)
{
    return bt_next(err,
                   bt_fail(err, BT_ERR_IMPOSSIBLE,
                           "asks for %" PRIu32 " accelerators on parts of nodes of one pod; the "
                           "largest that it may use has %" PRIu32,
                           job->min_acc, most),
                   "ask for at most %" PRIu32 ", or for whole nodes (without --per-node)", most);
}

static int no_such_node(const struct plan_limits *l, const struct plan_pending *job,
                        struct bt_err *err)
{
    struct plan_pending any = *job;
    any.tier = 0;
    if (most_of(&l->fabric, &any).zones)
        return bt_fail(err, BT_ERR_IMPOSSIBLE, "no such node lies in an enclave of tier %d",
                       job->tier);
    any.per_node = 0;
    if (most_of(&l->fabric, &any).zones)
        return bt_fail(err, BT_ERR_IMPOSSIBLE, "no node has %" PRIu32 " accelerators",
                       job->per_node);
    if (job->accel_class == PLAN_CLASS_ANY)
        return bt_fail(err, BT_ERR_IMPOSSIBLE, "the facility has no accelerators");
    return bt_fail(err, BT_ERR_IMPOSSIBLE, "the facility has no accelerators of class %d",
                   job->accel_class);
}

/* Nodes that would do but for their memory or bandwidth: what they have. */
static int too_good(const struct plan_limits *l, const struct plan_pending *job, struct bt_err *err)
{
    uint16_t memory = 0;
    uint32_t busbw = 0, unmeasured = 0, n = 0;
    for (uint32_t i = 0; i < l->n_nodes; i++) {
        const struct plan_node *d = &l->nodes[i];
        if (!d->usable_mask || d->tier < job->tier ||
            (job->accel_class != PLAN_CLASS_ANY && job->accel_class != d->accel_class) ||
            (uint32_t)__builtin_popcountll(d->usable_mask) < job->per_node ||
            !fab_holds(job->stores, d->store))
            continue;
        n++;
        memory = BT_MAX(memory, d->memory_gb);
        if (d->memory_gb >= job->memory_gb) {
            busbw = BT_MAX(busbw, d->busbw_mbs);
            unmeasured += !d->busbw_mbs;
        }
    }
    if (memory < job->memory_gb)
        return bt_next(err,
                       bt_fail(err, BT_ERR_IMPOSSIBLE,
                               "no accelerator that it may use has %d GB of memory; the largest "
                               "has %d GB",
                               job->memory_gb, memory),
                       "ask for --memory %dG or less", memory);
    if (!busbw)
        return bt_next(err,
                       bt_fail(err, BT_ERR_IMPOSSIBLE,
                               "the bandwidth of none of the %" PRIu32 " nodes that it may use "
                               "was ever measured",
                               n),
                       "ask an operator: beamtime node measure");
    return bt_next(err,
                   bt_fail(err, BT_ERR_IMPOSSIBLE,
                           "no node that it may use was measured at %d GB/s; the fastest has "
                           "%" PRIu32 ".%" PRIu32 " GB/s, %" PRIu32 " were never measured",
                           job->busbw_gb, busbw / MBS, busbw % MBS / 100, unmeasured),
                   "ask for --min-bandwidth %" PRIu32 " or less", busbw / MBS);
}

static int lacking(struct plan_limits *l, const struct plan_pending *job, struct bt_err *err)
{
    struct plan_pending any = *job;
    any.memory_gb = any.busbw_gb = 0;
    if (most_of(fabric_for(l, &any), &any).zones)
        return too_good(l, job, err);
    if (job->account)
        return bt_next(err,
                       bt_fail(err, BT_ERR_IMPOSSIBLE,
                               "no site where its person has an account has nodes that it may use"),
                       "beamtime site list");
    return bt_next(err,
                   bt_fail(err, BT_ERR_IMPOSSIBLE,
                           "no site that holds its data sets has nodes that it may use"),
                   "beamtime dataset list");
}

int sched_limits_allow(struct plan_limits *l, const struct plan_pending *job, struct bt_err *err)
{
    int rc = check_shape(job, err);
    if (rc < 0)
        return rc;
    struct most m = most_of(&l->fabric, job);
    if (!m.zones)
        return no_such_node(l, job, err);
    if (is_filtered(job)) {
        m = most_of(fabric_for(l, job), job);
        if (!m.zones)
            return lacking(l, job, err);
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
        case PLAN_ANY:
            break;
        }
    }
    bool at_site = m.sites || (job->level_required && job->level == PLAN_SITE);
    if (job->min_acc > m.in_site && job->min_acc <= m.at_parts)
        return in_parts(job, m.in_site, err);
    return too_wide(job, at_site ? " at one site" : "", m.in_site, err);
}

int sched_possible(const struct plan_input *in, const struct plan_pending *job, struct bt_err *err)
{
    struct plan_limits *l = sched_limits(in);
    int rc = sched_limits_allow(l, job, err);
    sched_limits_free(l);
    return rc;
}
