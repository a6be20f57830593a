/* place.c - when running jobs leave room in place, not only in number.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/sched/engine.h"
#include "lib/base/attr.h"

/* When one node has `acc` accelerators that the jobs on it have left. */
static int32_t node_time(const struct plan_timeline *e, uint32_t slot, uint32_t acc)
{
    uint32_t have = (uint32_t)__builtin_popcountll(fab_free(&e->fabric, slot));
    int32_t at = e->now;
    while (have < acc) {
        int32_t next = PROFILE_NEVER;
        for (uint32_t i = e->occ_head[slot]; i != PLAN_NONE; i = e->occ[i].next)
            if (e->occ[i].end > at)
                next = BT_MIN(next, e->occ[i].end);
        if (next == PROFILE_NEVER)
            return BT_MAX(e->fabric.until[slot], e->now);
        at = next;
        for (uint32_t i = e->occ_head[slot]; i != PLAN_NONE; i = e->occ[i].next)
            have += e->occ[i].end == at ? e->occ[i].acc : 0;
    }
    return at;
}

static void part_times(struct plan_timeline *e, uint32_t slot, uint32_t zone)
{
    uint32_t acc = e->fabric.zones[zone].acc;
    int32_t *at = e->part_free + (size_t)zone * e->fabric.stride;
    bool broken = e->occ_head[slot] != PLAN_NONE;
    bool whole = fab_free(&e->fabric, slot) == e->fabric.usable[slot];
    for (uint32_t k = 1; k < acc; k++)
        at[k] = BT_MIN(at[k], broken  ? node_time(e, slot, k)
                              : whole ? e->now
                                      : e->fabric.until[slot]);
}

enum { TIMED_RACKS = 1, TIMED_PARTS = 2 };

void times_clear(struct plan_timeline *e)
{
    memset(e->timed, 0, e->fabric.n_zones + 1);
}

/* Insertion: a rack has few nodes, and most of them have the same few times. */
static void sort_times(int32_t *v, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        int32_t x = v[i];
        uint32_t k = i;
        for (; k && v[k - 1] > x; k--)
            v[k] = v[k - 1];
        v[k] = x;
    }
}

static void time_racks(struct plan_timeline *e, uint32_t zone)
{
    const struct fabric *f = &e->fabric;
    const struct fab_zone *z = &f->zones[zone];
    for (uint32_t r = z->rack0; r < z->rack0 + z->n_racks; r++) {
        uint64_t whole = f->by_free[(size_t)r * f->stride + z->acc];
        int32_t *at = e->node_free + (size_t)r * FAB_RACK;
        for (uint32_t i = 0; i < f->racks[r].n; i++)
            at[i] = whole >> i & 1 ? INT32_MIN : f->until[r * FAB_RACK + i];
        sort_times(at, f->racks[r].n);
    }
    e->timed[zone] |= TIMED_RACKS;
}

static void time_parts(struct plan_timeline *e, uint32_t zone)
{
    const struct fabric *f = &e->fabric;
    const struct fab_zone *z = &f->zones[zone];
    for (uint32_t k = 0; k < f->stride; k++)
        e->part_free[zone * f->stride + k] = PROFILE_NEVER;
    for (uint32_t r = z->rack0; r < z->rack0 + z->n_racks; r++)
        for (uint32_t i = 0; i < f->racks[r].n; i++)
            part_times(e, r * FAB_RACK + i, zone);
    e->timed[zone] |= TIMED_PARTS;
}

int32_t rack_time(struct plan_timeline *e, uint32_t zone, uint32_t nodes)
{
    const struct fab_zone *z = &e->fabric.zones[zone];
    int32_t best = PROFILE_NEVER;
    if (!(e->timed[zone] & TIMED_RACKS))
        time_racks(e, zone);
    for (uint32_t r = z->rack0; r < z->rack0 + z->n_racks; r++)
        if (nodes <= e->fabric.racks[r].n)
            best = BT_MIN(best, e->node_free[(size_t)r * FAB_RACK + nodes - 1]);
    return best;
}

int32_t part_time(struct plan_timeline *e, uint32_t zone, uint32_t acc)
{
    if (!(e->timed[zone] & TIMED_PARTS))
        time_parts(e, zone);
    return e->part_free[zone * e->fabric.stride + acc];
}

int32_t place_time(struct plan_timeline *e, const struct eng_job *j, uint32_t zone)
{
    const struct fab_zone *z = &e->fabric.zones[zone];
    struct need need = eng_need(&j->ask, j->ask.min_acc, z->acc);
    int32_t at = need.below ? part_time(e, zone, need.acc) : e->now;
    return at > e->now ? at : profile_next(&e->time[zone].whole, e->now);
}

/* Whether the job is less than a node wherever it may run. */
static bool below_all(const struct plan_timeline *e, const struct eng_job *j)
{
    const struct match *m = &e->matches[j->match];
    for (uint32_t i = 0; i < m->n_zones; i++)
        if (j->ask.min_acc >= e->fabric.zones[e->match_zones[m->zone_off + i]].acc)
            return false;
    return true;
}

/* Nodes of a rack that are left alone by `by`, or have `per` accelerators by then. */
static uint32_t nodes_by(const struct plan_timeline *e, uint32_t rack, uint32_t per, int32_t by)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->fabric.racks[rack].n; i++) {
        uint32_t slot = rack * FAB_RACK + i;
        bool whole = fab_free(&e->fabric, slot) == e->fabric.usable[slot];
        n += whole || (per ? node_time(e, slot, per) : e->fabric.until[slot]) <= by;
    }
    return n;
}

bool place_by(const struct plan_timeline *e, const struct eng_job *j, int32_t by)
{
    const struct match *m = &e->matches[j->match];
    bool one_leaf = j->ask.level_required && j->ask.level >= PLAN_LEAF;
    if (j->cert.mode == RESV_BELOW && j->cert.start <= by)
        return true; /* on a node */
    if (j->cert.mode == RESV_WHOLE && !one_leaf && j->cert.start <= by && !j->ask.per_node)
        return true; /* whole nodes that are free in number are free in place */
    for (uint32_t i = 0; i < m->n_zones; i++) {
        const struct fab_zone *z = &e->fabric.zones[e->match_zones[m->zone_off + i]];
        struct need need = eng_need(&j->ask, j->ask.min_acc, z->acc);
        uint32_t n = 0;
        for (uint32_t r = z->rack0; r < z->rack0 + z->n_racks; r++) {
            n = nodes_by(e, r, need.below ? need.acc : need.per, by) + (one_leaf ? 0 : n);
            if (n >= need.nodes)
                return true;
        }
    }
    return !one_leaf && e->matches[j->match].n_zones > 1 && j->ask.min_acc > 1 &&
           !j->ask.per_node && !below_all(e, j);
}
