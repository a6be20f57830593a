/* charge.c - what running jobs and reservations take from the profiles.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

struct need eng_need(const struct plan_pending *ask, uint32_t n_acc, uint32_t zone_acc)
{
    uint32_t per = ask->per_node ? BT_MIN(ask->per_node, zone_acc) : zone_acc;
    uint32_t nodes = (n_acc + per - 1) / per;
    struct need n = {.nodes = nodes, .acc = n_acc, .slack = nodes * zone_acc - n_acc};
    n.per = per == zone_acc ? 0 : per;
    n.below = nodes == 1 && n_acc < zone_acc;
    return n;
}

/* ---- reservations ---- */

static int32_t resv_end(const struct eng_job *j, const struct resv *r)
{
    int64_t end = (int64_t)r->start + j->len;
    return (int32_t)BT_MIN(end, PROFILE_NEVER - 1);
}

static void charge_rights(struct plan_timeline *e, const struct eng_job *j, int32_t from,
                          int32_t until, int32_t acc)
{
    bool owned = j->state == JOB_RUNNING ? j->owned : j->may_own;
    if (owned)
        profile_add(&e->nations[j->ask.nation].left, from, until, acc);
    else if (e->guarded && j->ask.no_requeue)
        profile_add(&e->unguaranteed, from, until, acc);
}

static void changed(struct plan_timeline *e, uint32_t zone)
{
    e->changes++;
    e->time[zone].changes++;
}

static void charge_zone(struct plan_timeline *e, uint32_t zone, int32_t from, int32_t until,
                        int32_t nodes, int32_t acc)
{
    changed(e, zone);
    profile_add(&e->time[zone].whole, from, until, nodes);
    if (e->fabric.zones[zone].acc > 1)
        profile_add(&e->time[zone].acc, from, until, acc);
}

void resv_charge(struct plan_timeline *e, const struct eng_job *j, const struct resv *r, int sign)
{
    int32_t end = resv_end(j, r);
    int32_t acc = -sign * (int32_t)r->acc, nodes = -sign * (int32_t)r->nodes;
    switch ((enum resv_mode)r->mode) {
    case RESV_NONE:
        return;
    case RESV_WHOLE:
        charge_zone(e, r->zone, r->start, end, nodes, acc);
        break;
    case RESV_BELOW:
        charge_zone(e, r->zone, r->start, end, 0, acc);
        e->time[r->zone].n_below += (uint32_t)sign;
        break;
    case RESV_SPAN:
        for (uint32_t i = 0; i < r->n_span; i++) {
            const struct span_part *p = &r->span[i];
            int32_t part = (int32_t)(p->nodes * e->fabric.zones[p->zone].acc);
            charge_zone(e, p->zone, r->start, end, -sign * (int32_t)p->nodes, -sign * part);
        }
        break;
    }
    charge_rights(e, j, r->start, end, acc);
}

void resv_drop(struct plan_timeline *e, const struct eng_job *j, struct resv *r)
{
    resv_charge(e, j, r, -1);
    bt_free(r->span);
    *r = (struct resv){.mode = RESV_NONE};
}

/* ---- running jobs on broken nodes ---- */

/* The change of both profiles when `acc` accelerators until `end` are (sign 1) or are no longer
 * (-1) held on a node whose other occupants hold it until `others` (INT32_MIN = it has none). */
static void charge_part(struct plan_timeline *e, uint32_t slot, int32_t others, uint32_t acc,
                        int32_t end, int sign)
{
    uint32_t zone = e->fabric.racks[slot / FAB_RACK].zone;
    for (; zone != PLAN_NONE; zone = e->fabric.zones[zone].twin) {
        struct zone_time *t = &e->time[zone];
        changed(e, zone);
        profile_add(&t->acc, e->now, end, -sign * (int32_t)acc);
        profile_add(&t->whole, BT_MAX(others, e->now), end, -sign);
    }
}

static int32_t last_end(const struct plan_timeline *e, uint32_t slot)
{
    int32_t end = INT32_MIN;
    for (uint32_t i = e->occ_head[slot]; i != PLAN_NONE; i = e->occ[i].next)
        end = BT_MAX(end, e->occ[i].end);
    return end;
}

static void occupy(struct plan_timeline *e, uint32_t job, uint32_t slot, uint32_t acc, int32_t end)
{
    charge_part(e, slot, last_end(e, slot), acc, end, 1);
    uint32_t i = e->free_occ;
    if (i != PLAN_NONE) {
        e->free_occ = e->occ[i].next;
    } else {
        BT_GROW(e->occ, e->n_occ, e->cap_occ);
        i = e->n_occ++;
    }
    e->occ[i] = (struct occupant){.job = job, .next = e->occ_head[slot], .acc = acc, .end = end};
    e->occ_head[slot] = i;
}

static void vacate(struct plan_timeline *e, uint32_t job, uint32_t slot, uint64_t mask)
{
    uint32_t *at = &e->occ_head[slot];
    while (*at != PLAN_NONE && e->occ[*at].job != job)
        at = &e->occ[*at].next;
    if (*at == PLAN_NONE)
        return;
    uint32_t i = *at;
    struct occupant was = e->occ[i];
    *at = was.next;
    e->occ[i].next = e->free_occ;
    e->free_occ = i;
    int32_t others = last_end(e, slot);
    charge_part(e, slot, others, was.acc, was.end, -1);
    fab_give(&e->fabric, slot, mask, others);
}

/* ---- running jobs ---- */

/* Whole nodes of the picks, zone by zone, until the limit. */
static void charge_whole(struct plan_timeline *e, const struct eng_job *j, int sign)
{
    for (uint32_t i = 0; i < j->picks.n;) {
        uint32_t zone = e->fabric.racks[j->picks.v[i].rack].zone;
        int32_t nodes = 0;
        for (; i < j->picks.n && e->fabric.racks[j->picks.v[i].rack].zone == zone; i++)
            if (!j->picks.v[i].mask)
                nodes += __builtin_popcountll(j->picks.v[i].nodes);
        nodes *= -sign;
        for (; zone != PLAN_NONE; zone = e->fabric.zones[zone].twin)
            charge_zone(e, zone, e->now, j->limit, nodes,
                        nodes * (int32_t)e->fabric.zones[zone].acc);
    }
}

static uint32_t pick_slot(const struct fab_pick *p)
{
    return p->rack * FAB_RACK + (uint32_t)__builtin_ctzll(p->nodes);
}

/* Remembers in each whole node when it is free again. */
static void note_until(struct plan_timeline *e, const struct eng_job *j)
{
    for (uint32_t i = 0; i < j->picks.n; i++) {
        const struct fab_pick *p = &j->picks.v[i];
        for (uint64_t m = p->mask ? 0 : p->nodes; m; m &= m - 1)
            e->fabric.until[p->rack * FAB_RACK + (uint32_t)__builtin_ctzll(m)] = j->limit;
    }
}

void run_charge(struct plan_timeline *e, uint32_t job)
{
    const struct eng_job *j = &e->jobs[job];
    charge_whole(e, j, 1);
    note_until(e, j);
    for (uint32_t i = 0; i < j->picks.n; i++) {
        const struct fab_pick *p = &j->picks.v[i];
        if (p->mask)
            occupy(e, job, pick_slot(p), (uint32_t)__builtin_popcountll(p->mask), j->limit);
    }
    charge_rights(e, j, e->now, j->limit, -(int32_t)j->ask.min_acc);
}

void run_give_back(struct plan_timeline *e, uint32_t job)
{
    struct eng_job *j = &e->jobs[job];
    charge_whole(e, j, -1);
    for (uint32_t i = 0; i < j->picks.n; i++) {
        const struct fab_pick *p = &j->picks.v[i];
        if (p->mask)
            vacate(e, job, pick_slot(p), p->mask);
        else
            fab_release(&e->fabric, p, 1);
    }
    charge_rights(e, j, e->now, j->limit, (int32_t)j->ask.min_acc);
    j->picks.n = 0;
}

void run_set_limit(struct plan_timeline *e, uint32_t job, int32_t limit)
{
    struct eng_job *j = &e->jobs[job];
    charge_whole(e, j, -1);
    charge_rights(e, j, e->now, j->limit, (int32_t)j->ask.min_acc);
    j->limit = limit;
    for (uint32_t i = 0; i < j->picks.n; i++) {
        const struct fab_pick *p = &j->picks.v[i];
        if (!p->mask)
            continue;
        uint32_t slot = pick_slot(p);
        vacate(e, job, slot, p->mask);
        occupy(e, job, slot, (uint32_t)__builtin_popcountll(p->mask), limit);
        fab_take(&e->fabric, slot, p->mask, limit);
    }
    charge_whole(e, j, 1);
    note_until(e, j);
    charge_rights(e, j, e->now, j->limit, -(int32_t)j->ask.min_acc);
}

/* Nothing that is reserved lost its place by the exact charge of the job's broken nodes. */
static bool holds(const struct plan_timeline *e, const struct eng_job *j)
{
    for (uint32_t i = 0; i < j->picks.n; i++) {
        if (!j->picks.v[i].mask)
            continue;
        uint32_t zone = e->fabric.racks[j->picks.v[i].rack].zone;
        const struct zone_time *t = &e->time[fab_twin(&e->fabric, zone, j->ask.reservation)];
        if (profile_min(&t->whole, e->now, j->limit) < 0 ||
            profile_min(&t->acc, e->now, j->limit) < 0)
            return false;
    }
    return true;
}

static bool place(struct plan_timeline *e, struct eng_job *j, uint32_t n_acc, const struct resv *at)
{
    struct span_part one = {at->zone, 0};
    const struct span_part *part = at->mode == RESV_SPAN ? at->span : &one;
    uint32_t n = at->mode == RESV_SPAN ? at->n_span : 1;
    uint32_t zone_acc = e->fabric.zones[at->zone].acc;
    struct need need = eng_need(&j->ask, n_acc, zone_acc);
    one.nodes = need.nodes;
    for (uint32_t i = 0; i < n; i++) {
        bool last = i + 1 == n;
        struct fab_ask ask = {.nodes = part[i].nodes,
                              .rest = last && !need.per && need.slack ? zone_acc - need.slack : 0,
                              .per = need.per,
                              .until = e->now + j->len,
                              .one_leaf = j->ask.level >= PLAN_LEAF && j->ask.level_required};
        if (need.below)
            ask.rest = n_acc;
        if (!fab_place(&e->fabric, part[i].zone, &ask, &j->picks)) {
            fab_release(&e->fabric, j->picks.v, j->picks.n);
            j->picks.n = 0;
            return false;
        }
    }
    return true;
}

bool eng_start(struct plan_timeline *e, uint32_t job, uint32_t n_acc, const struct resv *at)
{
    struct eng_job *j = &e->jobs[job];
    uint32_t asked = j->ask.min_acc;
    if (!place(e, j, n_acc, at))
        return false;
    j->state = JOB_RUNNING;
    j->owned = j->may_own;
    j->start = j->ckpt = e->now;
    j->limit = e->now + j->len;
    j->ask.min_acc = n_acc;
    run_charge(e, job);
    if (holds(e, j)) {
        e->n_pending--;
        return true;
    }
    run_give_back(e, job);
    j->state = JOB_PENDING;
    j->ask.min_acc = asked;
    return false;
}
