/* rights.c - who comes first, and who must yield to an owner.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Order: owned jobs, then lent ones that were stopped and come back, then the others by a score in
 * fixed-point log2: how long the job holds its accelerators, times how far its nation, project and
 * person are over their shares of what is borrowed. Twice over its share weighs like twice as
 * long; short work of the frugal comes first, and nobody starves, because a promise is a latest
 * start and not a rank. */
#include <string.h>

#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

enum {
    ONE = 256,       /* log2(2) in fixed point */
    CLAMP = 4 * ONE, /* a share counts at most 16-fold */
    SCORE_BITS = 16,
};

/* log2(x) * 256 for x >= 1, linear between powers of two. */
static int32_t log2_fixed(uint64_t x)
{
    if (x <= 1)
        return 0;
    int k = 63 - __builtin_clzll(x);
    uint64_t rest = k >= 8 ? x >> (k - 8) : x << (8 - k);
    return (int32_t)(k * ONE + (int64_t)(rest & 255));
}

/* log2 of (used / sum) / (weight / weights), clamped. */
static int32_t over(int64_t used, int64_t sum, int64_t weight, int64_t weights)
{
    if (sum <= 0)
        return 0;
    int32_t x = log2_fixed((uint64_t)used + 1) + log2_fixed((uint64_t)weights) -
                log2_fixed((uint64_t)sum + 1) - log2_fixed((uint64_t)weight);
    return BT_MAX(-CLAMP, BT_MIN(x, CLAMP));
}

struct sums {
    int64_t *used, *weight;
};

static struct sums sums_new(uint32_t n)
{
    return (struct sums){bt_new_n(int64_t, n + 1), bt_new_n(int64_t, n + 1)};
}

static void sums_done(struct sums *s)
{
    bt_free(s->used);
    bt_free(s->weight);
}

static int64_t weight_of(int64_t w)
{
    return w > 0 ? w : 1;
}

static int32_t *nation_penalty(const struct plan_input *in)
{
    int32_t *p = bt_new_n(int32_t, in->n_nations + 1);
    int64_t used = 0, weights = 0;
    for (uint32_t i = 0; i < in->n_nations; i++) {
        used += in->nations[i].used;
        weights += weight_of(in->nations[i].weight);
    }
    for (uint32_t i = 0; i < in->n_nations; i++)
        p[i] = over(in->nations[i].used, used, weight_of(in->nations[i].weight), weights);
    return p;
}

/* Penalties of shares among the siblings of one parent. */
static int32_t *share_penalty(const struct plan_share *v, uint32_t n, uint32_t n_parents)
{
    int32_t *p = bt_new_n(int32_t, n + 1);
    struct sums s = sums_new(n_parents);
    for (uint32_t i = 0; i < n; i++) {
        if (v[i].parent >= n_parents)
            continue;
        s.used[v[i].parent] += v[i].used;
        s.weight[v[i].parent] += weight_of(v[i].weight);
    }
    for (uint32_t i = 0; i < n; i++)
        if (v[i].parent < n_parents)
            p[i] =
                over(v[i].used, s.used[v[i].parent], weight_of(v[i].weight), s.weight[v[i].parent]);
    sums_done(&s);
    return p;
}

static uint64_t key_of(const struct plan_timeline *e, const struct eng_job *j, int32_t penalty)
{
    uint64_t rank = j->may_own ? 0 : j->ask.front ? 1 : 2;
    if (!j->ask.resolved)
        rank = 3;
    int32_t score = log2_fixed((uint32_t)j->len) + penalty + 8 * CLAMP;
    uint64_t submit = (uint64_t)BT_MAX(j->ask.submit_us / 1000000 - e->origin_s + INT32_MAX, 0);
    if (rank == 0 || rank == 1)
        score = 0;
    return rank << 62 | (uint64_t)(uint32_t)score << (62 - SCORE_BITS) |
           (submit & ((UINT64_C(1) << 40) - 1));
}

static bool owns(const struct plan_timeline *e, const struct eng_job *j)
{
    return j->ask.owned && j->ask.nation < e->n_nations &&
           j->ask.min_acc <= e->nations[j->ask.nation].guaranteed;
}

void rights_order(struct plan_timeline *e, const struct plan_input *in)
{
    int32_t *nation = nation_penalty(in);
    int32_t *project = share_penalty(in->projects, in->n_projects, in->n_nations);
    int32_t *person = share_penalty(in->persons, in->n_persons, in->n_projects);
    if (e->cap_order < e->n_jobs) {
        e->cap_order = e->cap_jobs;
        e->order = bt_realloc(e->order, e->cap_order, sizeof *e->order);
        e->order_spare = bt_realloc(e->order_spare, e->cap_order, sizeof *e->order);
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->n_jobs; i++) {
        struct eng_job *j = &e->jobs[i];
        if (j->state != JOB_PENDING)
            continue;
        int32_t penalty = 0;
        if (j->ask.nation < in->n_nations)
            penalty += nation[j->ask.nation];
        if (j->ask.project < in->n_projects)
            penalty += project[j->ask.project] / 2;
        if (j->ask.person < in->n_persons)
            penalty += person[j->ask.person] / 4;
        e->order[n++] = (struct order){key_of(e, j, penalty), i};
    }
    order_sort(e->order, n, e->order_spare);
    bt_free(nation);
    bt_free(project);
    bt_free(person);
}

void rights_own(struct plan_timeline *e)
{
    for (uint32_t i = 0; i < e->n_jobs; i++) {
        struct eng_job *j = &e->jobs[i];
        if (j->state == JOB_PENDING)
            j->may_own = owns(e, j);
    }
}

bool rights_open(const struct plan_timeline *e, const struct eng_job *j)
{
    return profile_min(&e->nations[j->ask.nation].left, e->now, end_of(j, e->now)) >=
           (int32_t)j->ask.min_acc;
}

/* ---- reclaim ---- */

struct candidate {
    int64_t cost; /* accelerator-seconds lost */
    uint32_t zone, job;
    int32_t limit; /* before */
    bool stopped;
};

/* When the nodes of a job that is told to stop now are free again. */
static int32_t stop_at(const struct plan_timeline *e, const struct eng_job *j)
{
    return e->now + BT_MAX((int32_t)j->grace_s + (int32_t)e->turnaround_s, 1);
}

static bool may_stop(const struct plan_timeline *e, const struct eng_job *j)
{
    return j->state == JOB_RUNNING && !j->owned && !j->ask.no_requeue && !j->stopping &&
           j->picks.n && !j->started && j->limit > stop_at(e, j);
}

/* Sorted by zone, then the least lost work first; takes v. */
static struct candidate *by_cost(struct candidate *v, uint32_t n)
{
    struct order *o BT_AUTO = bt_new_n(struct order, 2 * (size_t)n + 1);
    struct candidate *sorted = bt_new_n(struct candidate, (size_t)n + 1);
    const uint64_t most = (UINT64_C(1) << 44) - 1;
    for (uint32_t i = 0; i < n; i++)
        o[i] = (struct order){(uint64_t)v[i].zone << 44 | BT_MIN((uint64_t)v[i].cost, most), i};
    order_sort(o, n, o + n);
    for (uint32_t i = 0; i < n; i++)
        sorted[i] = v[o[i].job];
    bt_free(v);
    return sorted;
}

/* Lent jobs that may be stopped, found once a pass: by zone, once in each of theirs, and all. */
struct lent {
    struct candidate *in_zone, *all; /* by zone and cost; by cost */
    uint32_t *off;                   /* [zone], of in_zone */
    uint32_t n_all;
};

static struct lent *lent_of(struct plan_timeline *e)
{
    struct lent *l = e->lent;
    uint32_t n = 0, cap = 0, cap_all = 0;
    if (l)
        return l;
    l = e->lent = bt_new(struct lent);
    l->off = bt_new_n(uint32_t, e->fabric.n_zones + 2);
    for (uint32_t i = 0; i < e->n_jobs; i++) {
        const struct eng_job *j = &e->jobs[i];
        uint32_t last = PLAN_NONE;
        if (!may_stop(e, j))
            continue;
        struct candidate c = {.cost = (int64_t)j->ask.min_acc *
                                      BT_MAX(e->now - j->ckpt, 0), /* ckpt rounds up */
                              .job = i,
                              .limit = j->limit};
        BT_GROW(l->all, l->n_all, cap_all);
        l->all[l->n_all++] = c;
        for (uint32_t k = 0; k < j->picks.n; k++) {
            c.zone = e->fabric.racks[j->picks.v[k].rack].zone;
            if (c.zone == last)
                continue;
            last = c.zone;
            BT_GROW(l->in_zone, n, cap);
            l->in_zone[n++] = c;
            l->off[c.zone + 1]++;
        }
    }
    for (uint32_t z = 0; z < e->fabric.n_zones; z++)
        l->off[z + 1] += l->off[z];
    l->in_zone = by_cost(l->in_zone, n);
    l->all = by_cost(l->all, l->n_all);
    return l;
}

void rights_done(struct plan_timeline *e)
{
    if (!e->lent)
        return;
    bt_free(e->lent->in_zone);
    bt_free(e->lent->all);
    bt_free(e->lent->off);
    bt_free(BT_TAKE(e->lent));
}

/* Those of v that may still be stopped, to `to`. */
static uint32_t still_lent(const struct plan_timeline *e, const struct candidate *v, uint32_t n,
                           struct candidate *to)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++)
        if (may_stop(e, &e->jobs[v[i].job]))
            to[k++] = v[i];
    return k;
}

static void stop(struct plan_timeline *e, struct candidate *c, bool yes)
{
    const struct eng_job *j = &e->jobs[c->job];
    c->stopped = yes;
    run_set_limit(e, c->job, yes ? stop_at(e, j) : c->limit);
}

/* The owner's start if it is at `by` or before; else PROFILE_NEVER. */
static int32_t start_by(struct plan_timeline *e, const struct eng_job *owner, int32_t by)
{
    struct resv r = {0};
    memo_clear_match(e, owner->match);
    if (!place_by(e, owner, by) || !eng_earliest(e, owner, owner->ask.min_acc, e->now, by, &r))
        return PROFILE_NEVER;
    bt_free(r.span);
    return r.start;
}

/* Stops the cheapest, twice as many each time, until the owner fits; then spares each that is not
 * needed, dearest first: what remains is minimal, none of it can be left out. Returns its cost, -1
 * if it never fits (all limits as they were). */
static int64_t choose(struct plan_timeline *e, const struct eng_job *owner, struct candidate *v,
                      uint32_t n)
{
    int32_t by = e->now;
    uint32_t k = 0;
    bool fits = false;
    for (uint32_t goal = 1; !fits && k < n; goal *= 2) {
        for (; k < BT_MIN(goal, n); k++) {
            stop(e, &v[k], true);
            by = BT_MAX(by, e->jobs[v[k].job].limit);
        }
        fits = start_by(e, owner, by) != PROFILE_NEVER;
    }
    int64_t cost = 0;
    for (uint32_t i = k; i-- > 0;) {
        stop(e, &v[i], false);
        if (!fits || start_by(e, owner, by) != PROFILE_NEVER)
            continue;
        stop(e, &v[i], true);
        cost += v[i].cost;
    }
    return fits ? cost : -1;
}

static void restore(struct plan_timeline *e, struct candidate *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (v[i].stopped)
            stop(e, &v[i], false);
}

static void announce(struct plan_timeline *e, const struct candidate *v, uint32_t n, uint32_t owner)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!v[i].stopped)
            continue;
        struct eng_job *j = &e->jobs[v[i].job];
        j->stopping = true;
        note_running(e, v[i].job);
        BT_GROW(e->victims, e->n_victims, e->cap_victims);
        e->victims[e->n_victims++] =
            (struct plan_victim){.handle = j->ask.handle,
                                 .for_handle = e->jobs[owner].ask.handle,
                                 .stop_by_us = eng_us(e, e->now + (int32_t)j->grace_s),
                                 .lost_acc_s = v[i].cost};
    }
}

/* What a zone's lent jobs would lose if they made room, the cheapest first, by number of
 * accelerators; -1 if all of them together do not. */
static int64_t estimate(const struct plan_timeline *e, const struct eng_job *owner, uint32_t zone,
                        const struct candidate *v, uint32_t n)
{
    const struct fab_zone *z = &e->fabric.zones[zone];
    uint64_t acc = 0;
    int64_t cost = 0;
    for (uint32_t k = 1; k <= z->acc; k++)
        acc += (uint64_t)z->nodes_with[k] * k;
    for (uint32_t i = 0; i < n && acc < owner->ask.min_acc; i++) {
        acc += e->jobs[v[i].job].ask.min_acc;
        cost += v[i].cost;
    }
    return acc >= owner->ask.min_acc ? cost : -1;
}

/* Zones that could make room, by what that is estimated to lose. */
static uint32_t zones_by_estimate(struct plan_timeline *e, const struct eng_job *owner,
                                  struct candidate *buf, struct order *ret)
{
    const struct match *m = &e->matches[owner->match];
    const struct lent *l = lent_of(e);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        uint32_t zone = e->match_zones[m->zone_off + i];
        uint32_t k = still_lent(e, l->in_zone + l->off[zone], l->off[zone + 1] - l->off[zone], buf);
        int64_t cost = k ? estimate(e, owner, zone, buf, k) : -1;
        if (cost >= 0)
            ret[n++] = (struct order){(uint64_t)cost, zone};
    }
    order_sort(ret, n, ret + e->fabric.n_zones);
    return n;
}

/* The zone that loses least, each looked at alone; PLAN_NONE if none by itself can do. */
static uint32_t cheapest_zone(struct plan_timeline *e, uint32_t owner, struct candidate *buf)
{
    const struct lent *l = lent_of(e);
    struct order *zones BT_AUTO = bt_new_n(struct order, 2 * (size_t)e->fabric.n_zones + 1);
    uint32_t n = zones_by_estimate(e, &e->jobs[owner], buf, zones), best_zone = PLAN_NONE;
    int64_t best = -1;
    for (uint32_t i = 0; i < n && (best < 0 || (int64_t)zones[i].key < best); i++) {
        uint32_t zone = zones[i].job;
        uint32_t k = still_lent(e, l->in_zone + l->off[zone], l->off[zone + 1] - l->off[zone], buf);
        struct eng_job alone = e->jobs[owner];
        alone.match = match_alone(e, alone.match, zone);
        int64_t cost = choose(e, &alone, buf, k);
        restore(e, buf, k);
        match_drop(e, alone.match);
        if (cost >= 0 && (best < 0 || cost < best)) {
            best = cost;
            best_zone = zone;
        }
    }
    return best_zone;
}

/* Whether it could lie over several zones, and all lent jobs together hold enough. */
static bool all_could_give(const struct plan_timeline *e, const struct eng_job *owner,
                           const struct candidate *v, uint32_t n)
{
    const struct match *m = &e->matches[owner->match];
    uint64_t acc = 0;
    if (m->n_zones < 2 || (owner->ask.level_required && owner->ask.level >= PLAN_POD))
        return false;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        const struct fab_zone *z = &e->fabric.zones[e->match_zones[m->zone_off + i]];
        acc += (uint64_t)z->whole * z->acc;
    }
    for (uint32_t i = 0; i < n; i++)
        acc += e->jobs[v[i].job].ask.min_acc;
    return acc >= owner->ask.min_acc;
}

bool rights_reclaim(struct plan_timeline *e, uint32_t owner)
{
    const struct lent *l = lent_of(e);
    const struct eng_job *j = &e->jobs[owner];
    struct candidate *v BT_AUTO = bt_new_n(struct candidate, (size_t)l->n_all + 1);
    uint32_t zone = cheapest_zone(e, owner, v), n;
    if (zone != PLAN_NONE)
        n = still_lent(e, l->in_zone + l->off[zone], l->off[zone + 1] - l->off[zone], v);
    else
        n = still_lent(e, l->all, l->n_all, v);
    memo_clear(e);
    times_clear(e);
    bool done = (zone != PLAN_NONE || all_could_give(e, j, v, n)) && choose(e, j, v, n) >= 0;
    if (done)
        announce(e, v, n, owner);
    memo_clear(e);
    times_clear(e);
    return done;
}
