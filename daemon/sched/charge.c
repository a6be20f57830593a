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

/* Below a node: in its berth, or by number where there are none. */
static void charge_below(struct plan_timeline *e, struct resv *r, int32_t end, int sign)
{
    struct zone_time *t = &e->time[r->zone];
    for (uint32_t z = e->fabric.zones[r->zone].real; z != PLAN_NONE; z = e->fabric.zones[z].twin)
        changed(e, z); /* a berth takes a node of all of them */
    profile_add(&t->acc, r->start, end, -sign * (int32_t)r->acc);
    if (t->berths && r->berth == BERTH_NONE)
        r->berth = r->start > e->now ? berth_after(t->berths, r->start) : berth_empty(t->berths);
    if (t->berths)
        berth_add(t->berths, r->berth, r->start, end, sign * (int32_t)r->acc);
    else
        t->n_below += (uint32_t)sign;
}

void resv_charge(struct plan_timeline *e, const struct eng_job *j, struct resv *r, int sign)
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
        charge_below(e, r, end, sign);
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

/* When the last job on a broken node ends; INT32_MIN = there is none. */
static int32_t last_end(const struct plan_timeline *e, uint32_t slot)
{
    int32_t end = INT32_MIN;
    for (uint32_t i = e->occ_head[slot]; i != PLAN_NONE; i = e->occ[i].next)
        end = BT_MAX(end, e->occ[i].end);
    return end;
}

static struct berths *berths_at(const struct plan_timeline *e, uint32_t slot)
{
    return e->time[e->fabric.racks[slot / FAB_RACK].zone].berths;
}

/* Binds a node to a berth that has none. */
static void bind(struct plan_timeline *e, uint32_t slot, uint32_t berth)
{
    e->berth_of[slot] = berth;
    berth_bind(berths_at(e, slot), berth, slot);
}

static void unbind(struct plan_timeline *e, uint32_t slot)
{
    if (e->berth_of[slot] != BERTH_NONE)
        berth_bind(berths_at(e, slot), e->berth_of[slot], BERTH_NONE);
    e->berth_of[slot] = BERTH_NONE;
}

/* The change of the node's berth, and of both profiles of its zone and of each twin, when `acc`
 * accelerators until `end` are (sign 1) or are no longer (-1) held on it. */
static void charge_part(struct plan_timeline *e, uint32_t slot, uint32_t acc, int32_t end, int sign)
{
    uint32_t zone = e->fabric.racks[slot / FAB_RACK].zone, berth = e->berth_of[slot];
    struct berths *b = e->time[zone].berths;
    int32_t more = sign * (int32_t)acc;
    berth_add(b, berth, e->now, end, more);
    b->v[berth].held = (uint32_t)((int32_t)b->v[berth].held + more);
    for (; zone != PLAN_NONE; zone = e->fabric.zones[zone].twin) {
        changed(e, zone);
        profile_add(&e->time[zone].acc, e->now, end, -more);
    }
}

static void occupy(struct plan_timeline *e, uint32_t job, uint32_t slot, uint32_t acc, int32_t end)
{
    if (e->berth_of[slot] == BERTH_NONE)
        bind(e, slot, berth_empty(berths_at(e, slot)));
    charge_part(e, slot, acc, end, 1);
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

/* The node stays bound to its berth. */
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
    charge_part(e, slot, was.acc, was.end, -1);
    fab_give(&e->fabric, slot, mask, last_end(e, slot));
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
        if (!p->mask) {
            fab_release(&e->fabric, p, 1);
            continue;
        }
        uint32_t slot = pick_slot(p);
        vacate(e, job, slot, p->mask);
        if (e->occ_head[slot] == PLAN_NONE)
            unbind(e, slot);
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
        const struct fab_pick *p = &j->picks.v[i];
        uint32_t zone = e->fabric.racks[p->rack].zone;
        const struct zone_time *t = &e->time[fab_twin(&e->fabric, zone, j->ask.reservation)];
        if (profile_min(&t->whole, e->now, j->limit) < 0 ||
            !berth_holds(t->berths, e->berth_of[pick_slot(p)], e->now))
            return false;
    }
    return true;
}

/* Takes part of the node that the slot's berth is bound to, else of a free one, bound to it now. */
static bool place_below(struct plan_timeline *e, struct eng_job *j, uint32_t n_acc,
                        const struct resv *at)
{
    struct berths *b = e->time[at->zone].berths;
    uint32_t berth = at->berth == BERTH_NONE ? berth_empty(b) : at->berth;
    uint32_t slot = b->v[berth].slot;
    if (slot == BERTH_NONE) {
        slot = fab_whole(&e->fabric, at->zone);
        if (slot == PLAN_NONE)
            return false;
        bind(e, slot, berth);
    }
    uint64_t mask = fab_free(&e->fabric, slot), rest = mask;
    if ((uint32_t)__builtin_popcountll(mask) < n_acc)
        return false;
    for (uint32_t i = 0; i < n_acc; i++)
        rest &= rest - 1;
    fab_take(&e->fabric, slot, mask & ~rest, e->now + j->len);
    fab_picks_add(&j->picks, slot / FAB_RACK, UINT64_C(1) << (slot % FAB_RACK), mask & ~rest);
    return true;
}

/* `whole`: no node that others are on, as the slot was counted. */
static bool place(struct plan_timeline *e, struct eng_job *j, uint32_t n_acc, const struct resv *at,
                  bool whole)
{
    if (at->mode == RESV_BELOW)
        return place_below(e, j, n_acc, at);
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
                              .one_leaf = j->ask.level >= PLAN_LEAF && j->ask.level_required,
                              .whole = whole || !need.per};
        if (!fab_place(&e->fabric, part[i].zone, &ask, &j->picks)) {
            fab_release(&e->fabric, j->picks.v, j->picks.n);
            j->picks.n = 0;
            return false;
        }
    }
    return true;
}

static bool run_at(struct plan_timeline *e, uint32_t job, uint32_t n_acc, const struct resv *at,
                   bool whole)
{
    struct eng_job *j = &e->jobs[job];
    uint32_t asked = j->ask.min_acc;
    if (!place(e, j, n_acc, at, whole))
        return false;
    j->state = JOB_RUNNING;
    j->owned = j->may_own;
    j->start = j->ckpt = e->now;
    j->limit = e->now + j->len;
    j->ask.min_acc = n_acc;
    run_charge(e, job);
    if (holds(e, j))
        return true;
    run_give_back(e, job);
    j->state = JOB_PENDING;
    j->ask.min_acc = asked;
    return false;
}

bool eng_start(struct plan_timeline *e, uint32_t job, uint32_t n_acc, const struct resv *at)
{
    bool part = e->jobs[job].ask.per_node != 0; /* beside others, if that breaks no promise */
    if (!run_at(e, job, n_acc, at, false) && !(part && run_at(e, job, n_acc, at, true)))
        return false;
    e->n_pending--;
    return true;
}
