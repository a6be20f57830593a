/* plan.c - a snapshot in, the plan out.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sched/plan.h"

#include <inttypes.h>

#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

enum {
    UNREPORTED_S = 60
}; /* when accelerators that nobody holds are expected to be reported free */

/* ---- the input is well formed ---- */

static int check_nodes(const struct plan_input *in, struct bt_err *err)
{
    if (in->n_nodes > PLAN_MAX_NODES || in->n_pending > PLAN_MAX_PENDING)
        return bt_fail(err, BT_ERR_INVALID, "a plan of %" PRIu32 " nodes and %" PRIu32 " jobs",
                       in->n_nodes, in->n_pending);
    for (uint32_t i = 0; i < in->n_nodes; i++)
        if (in->nodes[i].tier > PLAN_MAX_TIER || in->nodes[i].accel_class >= PLAN_MAX_CLASS ||
            in->nodes[i].store > PLAN_STORES)
            return bt_fail(err, BT_ERR_INVALID, "node %" PRIu32 " has no such tier, class or store",
                           i);
    for (uint32_t w = 0; w < in->n_windows; w++)
        for (uint32_t i = 0; i < in->windows[w].n_nodes; i++)
            if (in->window_nodes[in->windows[w].nodes_off + i] >= in->n_nodes)
                return bt_fail(err, BT_ERR_INVALID, "window %" PRIu32 " names no node", w);
    return 0;
}

static int check_pending(const struct plan_input *in, struct bt_err *err)
{
    for (uint32_t i = 0; i < in->n_pending; i++) {
        const struct plan_pending *p = &in->pending[i];
        if (p->min_acc < 1 || p->min_acc > INT32_MAX / 2 || p->walltime_s < 1 ||
            p->walltime_s > PLAN_MAX_WALLTIME_S || p->per_node > PLAN_MAX_ACC ||
            p->level > PLAN_NODE)
            return bt_fail(err, BT_ERR_INVALID, "pending job %" PRIu32 " has an impossible shape",
                           p->handle);
        if (i && p->handle <= in->pending[i - 1].handle)
            return bt_fail(err, BT_ERR_INVALID, "pending job %" PRIu32 " is out of order",
                           p->handle);
    }
    return 0;
}

static int check_running(const struct plan_input *in, struct bt_err *err)
{
    for (uint32_t i = 0; i < in->n_running; i++) {
        const struct plan_running *r = &in->running[i];
        if (i && r->handle <= in->running[i - 1].handle)
            return bt_fail(err, BT_ERR_INVALID, "running job %" PRIu32 " is out of order",
                           r->handle);
        if (r->owned && r->nation >= in->n_nations)
            return bt_fail(err, BT_ERR_INVALID, "owned job %" PRIu32 " has no nation", r->handle);
    }
    return 0;
}

/* ---- building ---- */

static void add_running(struct plan_timeline *e, const struct plan_input *in)
{
    for (uint32_t i = 0; i < in->n_running; i++) {
        eng_add_running(e, &in->running[i], in->parts);
        if (in->running[i].limit_us <= in->now_us && e->cause != PLAN_CAUSE_CAPACITY) {
            e->cause = PLAN_CAUSE_OVERRUN;
            e->cause_job = in->running[i].handle;
        }
    }
}

/* Accelerators that are neither free nor held by a running job: not yet reported empty. */
static void hold_unreported(struct plan_timeline *e, const struct plan_input *in)
{
    struct plan_part *parts = NULL;
    uint32_t n = 0, cap = 0;
    for (uint32_t i = 0; i < in->n_nodes; i++) {
        uint32_t slot = e->fabric.slot_of[i];
        uint64_t held =
            slot == PLAN_NONE ? 0 : fab_free(&e->fabric, slot) & ~in->nodes[i].free_mask;
        if (!held)
            continue;
        BT_GROW(parts, n, cap);
        parts[n++] = (struct plan_part){.node = i, .mask = held};
    }
    if (n) {
        const struct plan_running r = {.handle = PLAN_NONE,
                                       .start_us = in->now_us,
                                       .limit_us = in->now_us + UNREPORTED_S * BT_US_PER_S,
                                       .nation = PLAN_NONE,
                                       .n_parts = n};
        eng_add_running(e, &r, parts);
    }
    bt_free(parts);
}

/* The zone of `to` that holds the first node of a zone of `from`. */
static uint32_t zone_map(const struct fabric *from, const struct fabric *to, uint32_t zone)
{
    uint32_t node = from->zones[zone].node0;
    uint32_t slot = node < to->n_nodes ? to->slot_of[node] : PLAN_NONE;
    return slot == PLAN_NONE
               ? PLAN_NONE
               : fab_twin(to, to->racks[slot / FAB_RACK].zone, from->zones[zone].reservation);
}

static bool holds_all(const struct plan_timeline *e, const struct eng_job *j, const struct resv *r)
{
    bool all = fab_holds(j->ask.stores, e->fabric.zones[r->zone].store);
    for (uint32_t i = 0; i < r->n_span; i++)
        all &= fab_holds(j->ask.stores, e->fabric.zones[r->span[i].zone].store);
    return all;
}

static bool carry_span(const struct plan_timeline *was, const struct plan_timeline *e,
                       const struct resv *old, struct resv *r)
{
    r->span = bt_memdup(old->span, old->n_span * sizeof *old->span);
    for (uint32_t i = 0; i < old->n_span; i++) {
        r->span[i].zone = zone_map(&was->fabric, &e->fabric, old->span[i].zone);
        if (r->span[i].zone == PLAN_NONE) {
            bt_free(r->span);
            return false;
        }
    }
    return true;
}

/* (real zone, berth) of the last plan: twins have the berths of their real zone. */
static uint64_t berth_key(const struct plan_timeline *was, uint32_t zone, uint32_t berth)
{
    return (uint64_t)was->fabric.zones[zone].real << 32 | berth;
}

/* An old berth becomes that of the node that its jobs run on, if its zone's reservations go there.
 */
static void moor(const struct plan_timeline *was, const struct plan_timeline *e,
                 struct bt_map *moved, uint32_t node, uint32_t berth)
{
    uint32_t slot = node < e->fabric.n_nodes ? e->fabric.slot_of[node] : PLAN_NONE;
    uint32_t old = node < was->fabric.n_nodes ? was->fabric.slot_of[node] : PLAN_NONE;
    if (slot == PLAN_NONE || old == PLAN_NONE || e->berth_of[slot] == BERTH_NONE)
        return;
    uint32_t zone = was->fabric.racks[old / FAB_RACK].zone;
    if (zone_map(&was->fabric, &e->fabric, zone) == e->fabric.racks[slot / FAB_RACK].zone)
        bt_map_put(moved, berth_key(was, zone, berth), e->berth_of[slot]);
}

static void moor_all(const struct plan_input *in, const struct plan_timeline *e,
                     struct bt_map *moved)
{
    const struct plan_timeline *was = in->last->timeline;
    if (in->moored && in->moored_seq == in->last->seq) {
        for (uint32_t i = 0; i < in->n_moored; i++)
            moor(was, e, moved, in->moored[i].node, in->moored[i].berth);
        return;
    }
    for (uint32_t i = 0; i < was->fabric.n_racks * FAB_RACK; i++)
        if (was->berth_of[i] != BERTH_NONE)
            moor(was, e, moved, was->fabric.node_of[i], was->berth_of[i]);
}

/* What an old berth becomes that no node stands for: a new one, the same for all that were in it.
 */
static uint32_t carry_berth(const struct plan_timeline *was, struct plan_timeline *e,
                            struct bt_map *moved, const struct resv *old, uint32_t zone)
{
    uint64_t key = berth_key(was, old->zone, old->berth);
    uint32_t to;
    if (!bt_map_get(moved, key, &to)) {
        to = berth_append(e->time[zone].berths);
        bt_map_put(moved, key, to);
    }
    return to;
}

/* Takes over the certificate of the last plan; charged later, if its place is still there. */
static void carry(const struct plan_timeline *was, struct plan_timeline *e, struct eng_job *j,
                  struct bt_map *moved)
{
    uint32_t k = eng_find(was, j->ask.handle);
    if (k == PLAN_NONE || was->jobs[k].state != JOB_PENDING)
        return;
    const struct eng_job *o = &was->jobs[k];
    e->data_moved |= o->ask.stores != j->ask.stores;
    if (o->cert.mode == RESV_NONE)
        return;
    bool same = o->ask.min_acc == j->ask.min_acc && o->len == j->len &&
                o->ask.per_node == j->ask.per_node && o->ask.accel_class == j->ask.accel_class &&
                o->ask.tier == j->ask.tier && o->ask.level == j->ask.level &&
                o->ask.memory_gb == j->ask.memory_gb && o->ask.busbw_gb == j->ask.busbw_gb &&
                o->ask.reservation == j->ask.reservation &&
                o->ask.level_required == j->ask.level_required;
    struct resv r = o->cert;
    r.zone = zone_map(&was->fabric, &e->fabric, r.zone);
    r.start = (int32_t)(r.start + was->origin_s - e->origin_s);
    if (!same || r.zone == PLAN_NONE || r.start < j->eligible)
        return;
    if (r.n_span && !carry_span(was, e, &o->cert, &r))
        return;
    uint32_t acc = e->fabric.zones[r.zone].acc;
    if (acc != was->fabric.zones[o->cert.zone].acc || !holds_all(e, j, &r)) {
        bt_free(r.span);
        return;
    }
    if (r.mode == RESV_BELOW)
        r.berth = carry_berth(was, e, moved, &o->cert, r.zone);
    j->cert = r;
    if (j->promise == PROFILE_NEVER) /* the caller did not keep it */
        j->promise = (int32_t)(o->promise + was->origin_s - e->origin_s);
}

static void find_cause(struct plan_timeline *e, const struct plan_input *in)
{
    e->cause = PLAN_CAUSE_LATE;
    e->cause_job = e->cause_nation = PLAN_NONE;
    if (!in->last)
        return;
    uint64_t was = 0, now = 0;
    const struct fabric *a = &in->last->timeline->fabric, *b = &e->fabric;
    for (uint32_t i = 0; i < a->n_real; i++)
        was += (uint64_t)a->zones[i].n_nodes * a->zones[i].acc;
    for (uint32_t i = 0; i < b->n_real; i++)
        now += (uint64_t)b->zones[i].n_nodes * b->zones[i].acc;
    if (now < was || a->n_window_sets != b->n_window_sets)
        e->cause = PLAN_CAUSE_CAPACITY;
    else if (now == was && b->n_real > a->n_real)
        e->cause = PLAN_CAUSE_DIVIDED;
}

static struct plan_timeline *build(const struct plan_input *in, bool explains)
{
    struct plan_timeline *e = eng_new(in);
    e->explains = explains;
    eng_reserve(e, in->n_pending + in->n_running + 1); /* 1: what is not reported empty yet */
    find_cause(e, in);
    add_running(e, in);
    hold_unreported(e, in);
    struct bt_map moved = {0};
    if (in->last)
        moor_all(in, e, &moved);
    for (uint32_t i = 0; i < in->n_pending; i++) {
        uint32_t job = eng_add_pending(e, &in->pending[i]);
        if (in->last)
            carry(in->last->timeline, e, &e->jobs[job], &moved);
    }
    bt_map_done(&moved);
    return e;
}

/* ---- the floor: when could it start if running jobs ended early ---- */

struct early {
    int32_t end;
    uint32_t acc;
};

struct floors { /* by kind */
    struct early **v;
    uint32_t *n, *cap, *spare; /* spare: free now */
};

static int by_end(const void *x, const void *y)
{
    const struct early *a = x, *b = y;
    return (a->end > b->end) - (a->end < b->end);
}

static void floor_part(const struct plan_timeline *e, struct floors *f, const struct plan_part *p,
                       int32_t end)
{
    uint32_t slot = p->node < e->fabric.n_nodes ? e->fabric.slot_of[p->node] : PLAN_NONE;
    if (slot == PLAN_NONE)
        return;
    uint32_t kind = e->fabric.zones[e->fabric.racks[slot / FAB_RACK].zone].kind;
    uint32_t acc = (uint32_t)__builtin_popcountll(p->mask);
    if (f->n[kind] && f->v[kind][f->n[kind] - 1].end == end) {
        f->v[kind][f->n[kind] - 1].acc += acc;
        return;
    }
    BT_GROW(f->v[kind], f->n[kind], f->cap[kind]);
    f->v[kind][f->n[kind]++] = (struct early){end, acc};
}

static struct floors floors_new(const struct plan_timeline *e, const struct plan_input *in)
{
    uint32_t n = e->fabric.n_kinds + 1;
    struct floors f = {bt_new_n(struct early *, n), bt_new_n(uint32_t, n), bt_new_n(uint32_t, n),
                       bt_new_n(uint32_t, n)};
    for (uint32_t i = 0; i < e->fabric.n_kinds; i++)
        f.spare[i] = e->fabric.kinds[i].n_nodes * e->fabric.kinds[i].acc;
    for (uint32_t i = 0; i < in->n_running; i++) {
        const struct plan_running *r = &in->running[i];
        int64_t end = r->expected_us ? BT_MIN(r->expected_us, r->limit_us) : r->limit_us;
        int32_t t = BT_MAX(eng_time(e, end), 0);
        for (uint32_t k = 0; k < r->n_parts; k++)
            floor_part(e, &f, &in->parts[r->parts_off + k], t);
    }
    for (uint32_t i = 0; i < e->fabric.n_kinds; i++) {
        if (f.n[i])
            qsort(f.v[i], f.n[i], sizeof **f.v, by_end);
        for (uint32_t k = 0; k < f.n[i]; k++)
            f.spare[i] -= f.v[i][k].acc;
        uint32_t sum = f.spare[i];
        for (uint32_t k = 0; k < f.n[i]; k++) /* acc becomes what is free from then on */
            sum = f.v[i][k].acc += sum;
    }
    return f;
}

static void floors_done(struct floors *f, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        bt_free(f->v[i]);
    bt_free(f->v);
    bt_free(f->n);
    bt_free(f->cap);
    bt_free(f->spare);
}

static int32_t floor_kind(const struct floors *f, uint32_t kind, uint32_t acc)
{
    if (f->spare[kind] >= acc)
        return 0;
    uint32_t low = 0, high = f->n[kind];
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (f->v[kind][mid].acc >= acc)
            high = mid;
        else
            low = mid + 1;
    }
    return low < f->n[kind] ? f->v[kind][low].end : PROFILE_NEVER;
}

static int32_t floor_of(const struct plan_timeline *e, const struct floors *f,
                        const struct eng_job *j)
{
    const struct match *m = &e->matches[j->match];
    int32_t best = j->plan.start;
    uint32_t seen = PLAN_NONE;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        uint32_t kind = e->fabric.zones[e->match_zones[m->zone_off + i]].kind;
        if (kind == seen)
            continue;
        seen = kind;
        best = BT_MIN(best, floor_kind(f, kind, j->ask.min_acc));
    }
    if (!j->ask.resolved)
        best = BT_MAX(best, after_end(e, j));
    return BT_MIN(BT_MAX(best, BT_MAX(j->eligible, 0)), j->plan.start);
}

/* ---- the answer ---- */

static void add_part(struct plan_output *out, uint32_t *cap, uint32_t node, uint64_t mask)
{
    BT_GROW(out->parts, out->n_parts, *cap);
    out->parts[out->n_parts++] = (struct plan_part){.node = node, .mask = mask};
}

static void fill_parts(const struct plan_timeline *e, const struct eng_job *j,
                       struct plan_output *out, uint32_t *cap, struct plan_slot *s)
{
    s->parts_off = out->n_parts;
    for (uint32_t i = 0; i < j->picks.n; i++) {
        const struct fab_pick *p = &j->picks.v[i];
        for (uint64_t m = p->nodes; m; m &= m - 1) {
            uint32_t slot = p->rack * FAB_RACK + (uint32_t)__builtin_ctzll(m);
            add_part(out, cap, e->fabric.node_of[slot], p->mask ? p->mask : e->fabric.usable[slot]);
        }
    }
    s->n_parts = out->n_parts - s->parts_off;
}

static void fill_reason(const struct plan_timeline *e, const struct eng_job *j, struct plan_slot *s)
{
    s->reason = j->reason;
    s->blocker = j->blocker;
    s->reason_nation = s->reason_pod = PLAN_NONE;
    uint32_t b = j->blocker == PLAN_NONE ? PLAN_NONE : eng_find(e, j->blocker);
    if (b != PLAN_NONE)
        s->reason_nation = e->jobs[b].ask.nation;
    if (j->plan.mode != RESV_SPAN)
        s->pod = s->reason_pod = e->fabric.zones[j->plan.zone].pod;
    s->reason_us = j->ask.resolved ? s->start_us : eng_us(e, after_end(e, j));
    if (j->reason == PLAN_REASON_MAINTENANCE) {
        uint32_t zone = resv_window(e, &j->plan);
        const uint32_t *off = e->fabric.window_off + e->fabric.zones[zone].window;
        s->reason_us = e->fabric.windows[off[0]].from_us;
        if (e->fabric.windows[off[0]].reservation)
            s->reason = PLAN_REASON_AWAY;
    }
}

static void fill_slot(const struct plan_timeline *e, const struct eng_job *j,
                      const struct floors *floors, struct plan_slot *s)
{
    *s = (struct plan_slot){.handle = j->ask.handle,
                            .blocker = PLAN_NONE,
                            .reason_nation = PLAN_NONE,
                            .reason_pod = PLAN_NONE,
                            .cause_job = PLAN_NONE,
                            .cause_nation = PLAN_NONE,
                            .pod = PLAN_NONE,
                            .n_acc = j->ask.min_acc,
                            .owned = j->may_own};
    if (j->plan.mode == RESV_NONE) {
        s->start_us = s->floor_us = s->promise_us = INT64_MAX;
        s->reason = j->ask.stores == PLAN_NO_STORE        ? PLAN_REASON_DATA
                    : j->ask.reservation                  ? PLAN_REASON_RESERVED_FULL
                    : j->ask.stores && j->ask.account     ? PLAN_REASON_ACCOUNT_DOWN
                    : j->ask.stores                       ? PLAN_REASON_DATA_DOWN
                    : j->ask.memory_gb || j->ask.busbw_gb ? PLAN_REASON_FILTER_DOWN
                                                          : PLAN_REASON_IMPOSSIBLE;
        return;
    }
    s->need_nodes = j->plan.nodes;
    s->start_us = eng_us(e, j->plan.start);
    s->floor_us = eng_us(e, floor_of(e, floors, j));
    if (j->ask.resolved)
        s->promise_us = j->promise == PROFILE_NEVER ? s->start_us : eng_us(e, j->promise);
    if (j->moved_from != PROFILE_NEVER) {
        s->moved_from_us = eng_us(e, j->moved_from);
        s->cause = j->cause;
        s->cause_job = j->cause_job;
        s->cause_nation = j->cause_nation;
    }
    fill_reason(e, j, s);
}

static void count_ahead(struct plan_output *out)
{
    struct order *v BT_AUTO = bt_new_n(struct order, 2 * out->n_slots + 1);
    for (uint32_t i = 0; i < out->n_slots; i++)
        v[i] = (struct order){(uint64_t)out->slots[i].start_us, i};
    order_sort(v, out->n_slots, v + out->n_slots);
    for (uint32_t i = 0, same = 0; i < out->n_slots; i++) {
        if (v[i].key != v[same].key)
            same = i;
        out->slots[v[i].job].ahead = same;
    }
}

static void fill(struct plan_timeline *e, const struct plan_input *in, struct plan_output *out)
{
    struct floors floors = floors_new(e, in);
    uint32_t cap = 0;
    out->n_slots = in->n_pending;
    out->slots = bt_new_n(struct plan_slot, in->n_pending + 1);
    for (uint32_t i = 0; i < in->n_pending; i++) {
        const struct eng_job *j = &e->jobs[eng_find(e, in->pending[i].handle)];
        struct plan_slot *s = &out->slots[i];
        fill_slot(e, j, &floors, s);
        out->n_moved += s->moved_from_us != 0;
        if (!j->started)
            continue;
        s->starts_now = true;
        s->start_us = s->floor_us = in->now_us;
        if (j->promise == PROFILE_NEVER)
            s->promise_us = in->now_us;
        out->n_starts++;
        fill_parts(e, j, out, &cap, s);
    }
    floors_done(&floors, e->fabric.n_kinds);
    count_ahead(out);
    out->victims = BT_TAKE(e->victims);
    out->n_victims = e->n_victims;
    e->n_victims = e->cap_victims = 0;
}

static int make(const struct plan_input *in, bool explains, struct plan_timeline **ret,
                struct bt_err *err)
{
    int rc;
    if ((rc = check_nodes(in, err)) < 0 || (rc = check_pending(in, err)) < 0 ||
        (rc = check_running(in, err)) < 0)
        return rc;
    *ret = build(in, explains);
    eng_pass(*ret, in, 0);
    return 0;
}

int sched_plan(const struct plan_input *in, struct plan_output *ret, struct bt_err *err)
{
    struct plan_timeline *e;
    int rc = make(in, true, &e, err);
    if (rc < 0)
        return rc;
    struct plan_output out = {.now_us = in->now_us, .seq = in->seq, .timeline = e};
    fill(e, in, &out);
    out.state_bytes = eng_bytes(e);
    eng_rest(e);
    *ret = out;
    return 0;
}

void sched_plan_done(struct plan_output *out)
{
    bt_free(out->slots);
    bt_free(out->parts);
    bt_free(out->victims);
    eng_free(out->timeline);
    *out = (struct plan_output){0};
}

/* What is known of a newcomer's shape: slots are only taken, never given back, so the next of the
 * same finds nothing earlier. NULL if it is not kept. */
static struct known *known_of(struct plan_timeline *e, const struct eng_job *j)
{
    if (!e->known || j->ask.eligible_us)
        return NULL;
    struct known k = {.acc = j->ask.min_acc,
                      .match = j->match,
                      .len = j->len,
                      .level = j->ask.level,
                      .required = j->ask.level_required};
    uint64_t h = ((uint64_t)k.acc << 32 | (uint32_t)k.len) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 32 ^ (uint64_t)k.match << 8 ^ (uint64_t)k.level << 1 ^ k.required) *
        UINT64_C(0xbf58476d1ce4e5b9);
    struct known *at = &e->known[(h >> 40) % KNOWN_SHAPES];
    if (at->acc != k.acc || at->match != k.match || at->len != k.len || at->level != k.level ||
        at->required != k.required) {
        k.start = INT32_MIN;
        *at = k;
    }
    return at;
}

struct plan_slot eng_provisional(struct plan_timeline *e, const struct plan_pending *job,
                                 int64_t now_us, struct eng_job *j)
{
    *j = (struct eng_job){.ask = *job,
                          .match = match_of(e, job),
                          .len = (int32_t)(job->walltime_s + e->turnaround_s)};
    int32_t from = BT_MAX(eng_time(e, now_us), e->now + 1);
    if (job->eligible_us)
        from = BT_MAX(from, eng_time(e, job->eligible_us));
    struct known *known = known_of(e, j);
    e->newcomer = known;
    if (known)
        from = BT_MAX(from, known->start);
    struct zone_time *kept = e->time;
    e->time = e->plan_time;
    bool found = eng_earliest(e, j, job->min_acc, from, PROFILE_NEVER - 1, &j->plan);
    e->time = kept;
    struct plan_slot s = {.handle = job->handle,
                          .start_us = INT64_MAX,
                          .blocker = PLAN_NONE,
                          .reason_nation = PLAN_NONE,
                          .reason_pod = PLAN_NONE,
                          .cause_job = PLAN_NONE,
                          .cause_nation = PLAN_NONE,
                          .pod = PLAN_NONE,
                          .n_acc = job->min_acc,
                          .reason = PLAN_REASON_IMPOSSIBLE,
                          .owned = job->owned};
    e->newcomer = false;
    if (found && known)
        known->start = j->plan.start;
    if (found) {
        s.start_us = BT_MAX(eng_us(e, j->plan.start), now_us);
        s.reason = PLAN_REASON_BEYOND;
        s.need_nodes = j->plan.nodes;
        s.pod = j->plan.mode == RESV_SPAN ? PLAN_NONE : e->fabric.zones[j->plan.zone].pod;
    }
    s.floor_us = BT_MIN(s.start_us, BT_MAX(now_us, job->eligible_us));
    return s;
}

/* Takes the slot in the profiles that the plan left. */
static int take_slot(struct plan_timeline *e, const struct plan_pending *job, int64_t now_us,
                     struct plan_slot *ret, struct bt_err *err)
{
    const struct plan_input one = {.pending = job, .n_pending = 1};
    int rc = check_pending(&one, err);
    if (rc < 0)
        return rc;
    struct eng_job j;
    *ret = eng_provisional(e, job, now_us, &j);
    struct zone_time *kept = e->time;
    e->time = e->plan_time;
    resv_charge(e, &j, &j.plan, 1);
    e->time = kept;
    bt_free(j.plan.span);
    return 0;
}

int sched_provisional(struct plan_output *last, const struct plan_pending *job, int64_t now_us,
                      struct plan_slot *ret, struct bt_err *err)
{
    memo_clear(last->timeline);
    return take_slot(last->timeline, job, now_us, ret, err);
}

/* ---- the same beside readers of the plan ---- */

struct plan_spare {
    struct plan_timeline e; /* its fabric and what lies on its nodes are the plan's, only read */
};

struct plan_spare *sched_spare_new(const struct plan_output *out)
{
    struct plan_spare *s = bt_new(struct plan_spare);
    const struct plan_timeline *was = out->timeline;
    struct plan_timeline *e = &s->e;
    uint32_t zones = was->fabric.n_zones;
    *e = (struct plan_timeline){.fabric = was->fabric,
                                .origin_s = was->origin_s,
                                .now = was->now,
                                .n_pending = was->n_pending,
                                .occ = was->occ,
                                .occ_head = was->occ_head,
                                .own_zone = PLAN_NONE,
                                .memo_sizes = MEMO_SIZES,
                                .memo_lengths = MEMO_LENGTHS,
                                .turnaround_s = was->turnaround_s};
    e->plan_time = time_copy(was->plan_time, zones);
    e->memos = bt_new_n(struct memo, zones + was->fabric.n_kinds + 1);
    e->known = bt_new_n(struct known, KNOWN_SHAPES);
    e->shut = bt_new_n(struct shut, zones + 1);
    e->node_free = bt_new_n(int32_t, (size_t)was->fabric.n_racks * FAB_RACK + 1);
    e->part_free = bt_new_n(int32_t, (size_t)zones * was->fabric.stride + 1);
    e->timed = bt_new_n(uint8_t, zones + 1);
    return s;
}

void sched_spare_free(struct plan_spare *s)
{
    if (!s)
        return;
    struct plan_timeline *e = &s->e;
    time_free(e->plan_time, e->fabric.n_zones);
    bt_free(e->memos);
    bt_free(e->known);
    bt_free(e->shut);
    bt_free(e->node_free);
    bt_free(e->part_free);
    bt_free(e->timed);
    bt_free(e->matches);
    bt_free(e->match_zones);
    bt_map_done(&e->match_by_key);
    bt_free(s);
}

int sched_spare_slot(struct plan_spare *s, const struct plan_pending *job, int64_t now_us,
                     struct plan_slot *ret, struct bt_err *err)
{
    return take_slot(&s->e, job, now_us, ret, err);
}

/* ---- between plans ---- */

struct plan_live {
    struct plan_timeline *e;
    struct plan_output out; /* slots and parts of the last quick pass */
    uint32_t cap_slots, cap_parts;
    int32_t first; /* no reservation of those that wait begins before */
};

/* Whether a reservation's time has passed: it slides, and quick passes know nothing of that. */
static bool live_is_late(struct plan_live *l, int32_t now)
{
    if (now <= l->first)
        return false;
    l->first = PROFILE_NEVER;
    for (uint32_t i = 0; i < l->e->n_jobs; i++) {
        const struct eng_job *j = &l->e->jobs[i];
        if (j->state == JOB_PENDING && j->cert.mode != RESV_NONE)
            l->first = BT_MIN(l->first, j->cert.start);
    }
    return now > l->first;
}

int sched_live_new(const struct plan_input *in, struct plan_live **ret, struct bt_err *err)
{
    struct plan_timeline *e;
    int rc = make(in, false, &e, err);
    if (rc < 0)
        return rc;
    *ret = bt_new(struct plan_live);
    **ret = (struct plan_live){.e = e, .first = INT32_MIN};
    return 0;
}

void sched_live_free(struct plan_live *l)
{
    if (!l)
        return;
    l->out.timeline = l->e;
    sched_plan_done(&l->out);
    bt_free(l);
}

void sched_live_remove(struct plan_live *l, uint32_t handle)
{
    uint32_t job = eng_find(l->e, handle);
    if (job != PLAN_NONE)
        eng_remove(l->e, job);
}

void sched_live_quick(struct plan_live *l, int64_t now_us, struct plan_starts *ret)
{
    struct plan_timeline *e = l->e;
    struct plan_output *out = &l->out;
    /* The second that has begun, as in a pass: who runs now holds what it has until it is over. */
    int32_t now = BT_MAX(eng_time(e, now_us - BT_US_PER_S + 1), e->now);
    *ret = (struct plan_starts){.n = 0};
    out->n_slots = out->n_parts = 0;
    if (live_is_late(l, now))
        return;
    eng_quick(e, now);
    for (uint32_t i = 0; i < e->n_starts; i++) {
        const struct eng_job *j = &e->jobs[e->starts[i]];
        BT_GROW(out->slots, out->n_slots, l->cap_slots);
        struct plan_slot *s = &out->slots[out->n_slots++];
        *s = (struct plan_slot){.handle = j->ask.handle, .starts_now = true, .owned = j->owned};
        fill_parts(e, j, out, &l->cap_parts, s);
    }
    *ret = (struct plan_starts){out->slots, out->parts, out->n_slots};
}

uint32_t sched_live_moored(const struct plan_live *l, struct plan_moored **ret)
{
    const struct plan_timeline *e = l->e;
    uint32_t n = 0, cap = 1;
    struct plan_moored *v = bt_new_n(struct plan_moored, 1);
    for (uint32_t i = 0; i < e->fabric.n_racks * FAB_RACK; i++) {
        if (e->berth_of[i] == BERTH_NONE)
            continue;
        BT_GROW(v, n, cap);
        v[n++] = (struct plan_moored){e->fabric.node_of[i], e->berth_of[i]};
    }
    *ret = v;
    return n;
}
