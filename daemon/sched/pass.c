/* pass.c - one planning pass over everything that waits.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

enum { RECLAIMS = 4 }; /* vain searches for victims in one pass */

int32_t end_of(const struct eng_job *j, int32_t start)
{
    return (int32_t)BT_MIN((int64_t)start + j->len, PROFILE_NEVER - 1);
}

static uint64_t end_key(uint32_t zone, int32_t end)
{
    return (uint64_t)zone << 32 | (uint32_t)end;
}

/* Remembers who frees nodes of a zone at a time: what a later job waits for. */
static void note_end(struct plan_timeline *e, uint32_t job, uint32_t zone, int32_t end)
{
    if (e->explains)
        bt_map_put(&e->ends, end_key(zone, end), job);
}

static void note_resv(struct plan_timeline *e, uint32_t job, const struct resv *r)
{
    int32_t end = end_of(&e->jobs[job], r->start);
    if (r->mode != RESV_SPAN)
        note_end(e, job, r->zone, end);
    for (uint32_t i = 0; i < r->n_span; i++)
        note_end(e, job, r->span[i].zone, end);
}

void note_running(struct plan_timeline *e, uint32_t job)
{
    const struct eng_job *j = &e->jobs[job];
    uint32_t zone = PLAN_NONE;
    for (uint32_t i = 0; i < j->picks.n; i++) {
        uint32_t z = e->fabric.racks[j->picks.v[i].rack].zone;
        for (uint32_t t = z == zone ? PLAN_NONE : z; t != PLAN_NONE; t = e->fabric.zones[t].twin)
            note_end(e, job, t, j->limit);
        zone = z;
    }
}

struct zone_time *time_copy(const struct zone_time *t, uint32_t n)
{
    struct zone_time *v = bt_new_n(struct zone_time, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        profile_copy(&v[i].whole, &t[i].whole);
        profile_copy(&v[i].acc, &t[i].acc);
        v[i].n_below = t[i].n_below;
    }
    return v;
}

void time_free(struct zone_time *t, uint32_t n)
{
    for (uint32_t i = 0; t && i < n; i++) {
        profile_done(&t[i].whole);
        profile_done(&t[i].acc);
    }
    bt_free(t);
}

/* ---- certificates ---- */

void cert_uncharge(struct plan_timeline *e, struct eng_job *j)
{
    if (j->cert_charged)
        resv_charge(e, j, &j->cert, -1);
    j->cert_charged = false;
}

void cert_forget(struct plan_timeline *e, struct eng_job *j)
{
    cert_uncharge(e, j);
    bt_free(j->cert.span);
    j->cert = (struct resv){0};
}

/* Charges a certificate that is not; false (and forgotten) if its place is gone. */
static bool cert_restore(struct plan_timeline *e, struct eng_job *j)
{
    if (j->cert_charged && j->cert.start < e->now)
        cert_uncharge(e, j);
    if (j->cert_charged || j->cert.mode == RESV_NONE)
        return j->cert_charged;
    j->cert.start = BT_MAX(j->cert.start, e->now);
    if (!resv_fits(e, j, &j->cert)) {
        cert_forget(e, j);
        return false;
    }
    resv_charge(e, j, &j->cert, 1);
    j->cert_charged = true;
    return true;
}

/* A promised job that has no reservation gets the latest one its promise allows, else the first
 * there is. */
static void cert_renew(struct plan_timeline *e, struct eng_job *j)
{
    struct resv r = {0};
    int32_t from = BT_MAX(e->now, j->eligible);
    if (!eng_latest(e, j, from, j->promise, &r) &&
        !eng_earliest(e, j, j->ask.min_acc, from, PROFILE_NEVER - 1, &r))
        return;
    j->cert = r;
    resv_charge(e, j, &j->cert, 1);
    j->cert_charged = true;
}

/* ---- the plan of one job ---- */

int32_t after_end(const struct plan_timeline *e, const struct eng_job *j)
{
    uint32_t k = j->ask.after == PLAN_NONE ? PLAN_NONE : eng_find(e, j->ask.after);
    if (k == PLAN_NONE)
        return e->now + 1;
    const struct eng_job *a = &e->jobs[k];
    if (a->state == JOB_RUNNING)
        return BT_MAX(a->limit, e->now + 1);
    return a->plan.mode == RESV_NONE ? e->now + 1 : end_of(a, a->plan.start);
}

uint32_t resv_window(const struct plan_timeline *e, const struct resv *r)
{
    uint32_t zone = r->zone;
    for (uint32_t i = 0; i < r->n_span && !e->fabric.zones[zone].window; i++)
        zone = r->span[i].zone;
    return e->fabric.zones[zone].window ? zone : PLAN_NONE;
}

static void explain_wait(struct plan_timeline *e, struct eng_job *j, int32_t from)
{
    uint32_t k;
    j->blocker = PLAN_NONE;
    if (!j->ask.resolved) {
        j->reason = PLAN_REASON_DEPENDENCY;
        j->blocker = j->ask.after;
        return;
    }
    if (j->plan.start <= e->now) {
        j->reason = PLAN_REASON_TOPOLOGY;
        return;
    }
    if (from > e->now && j->plan.start == from) {
        j->reason = j->ask.reservation ? PLAN_REASON_RESERVED : PLAN_REASON_NOT_BEFORE;
        return;
    }
    j->reason = PLAN_REASON_RESOURCES;
    if (!bt_map_get(&e->ends, end_key(j->plan.zone, j->plan.start), &k)) {
        j->reason =
            resv_window(e, &j->plan) == PLAN_NONE ? PLAN_REASON_PROMISE : PLAN_REASON_MAINTENANCE;
        return;
    }
    const struct eng_job *b = &e->jobs[k];
    j->blocker = b->ask.handle;
    bool queued = b->state == JOB_PENDING || b->started;
    if (!queued)
        j->reason = b->stopping                                           ? PLAN_REASON_RECLAIM
                    : j->ask.level_required && j->ask.level >= PLAN_POD   ? PLAN_REASON_POD
                    : j->ask.stores && j->ask.account                     ? PLAN_REASON_ACCOUNT_BUSY
                    : j->ask.stores                                       ? PLAN_REASON_DATA_BUSY
                    : j->ask.memory_gb || j->ask.busbw_gb                 ? PLAN_REASON_FILTER
                    : j->ask.accel_class != PLAN_CLASS_ANY || j->ask.tier ? PLAN_REASON_CLASS
                                                                          : PLAN_REASON_RESOURCES;
    else if (b->may_own && !j->may_own)
        j->reason = PLAN_REASON_OWNED;
    else if (b->ask.nation != j->ask.nation && b->ask.nation != PLAN_NONE)
        j->reason = PLAN_REASON_FAIR_SHARE;
    else
        j->reason = PLAN_REASON_ORDER;
}

static uint8_t cause_for(const struct plan_timeline *e, const struct eng_job *j)
{
    bool data = e->data_moved && j->ask.stores && !j->ask.account;

    return data && e->cause == PLAN_CAUSE_LATE ? PLAN_CAUSE_DATA : e->cause;
}

bool try_start(struct plan_timeline *e, uint32_t job, uint32_t n_acc, struct resv *r)
{
    if (!eng_start(e, job, n_acc, r))
        return false;
    struct eng_job *j = &e->jobs[job];
    j->started = true;
    if (e->now > j->promise) { /* only after a cause, or for want of place on a leaf */
        j->moved_from = j->promise;
        j->promise = e->now;
        j->cause = cause_for(e, j);
        j->cause_job = e->cause_job;
        j->cause_nation = e->cause_nation;
    }
    BT_GROW(e->starts, e->n_starts, e->cap_starts);
    e->starts[e->n_starts++] = job;
    j->reason = PLAN_REASON_STARTS;
    bt_free(j->plan.span);
    j->plan = *r;
    note_running(e, job);
    return true;
}

/* The sizes of an elastic job: whole nodes' worth where it asks for more than a node. */
static uint32_t size_step(const struct plan_timeline *e, const struct eng_job *j)
{
    const struct match *m = &e->matches[j->match];
    uint32_t node = m->n_zones ? e->fabric.zones[e->match_zones[m->zone_off]].acc : 1;
    if (j->ask.per_node)
        return j->ask.per_node;
    return j->ask.min_acc % node == 0 ? node : 1;
}

/* Starts an elastic job on the largest size that is free now: what is free for more is free for
 * fewer. */
static bool start_elastic(struct plan_timeline *e, uint32_t job)
{
    const struct eng_job *j = &e->jobs[job];
    uint32_t step = size_step(e, j), min = j->ask.min_acc;
    uint32_t low = 0, high = (j->ask.max_acc - min) / step; /* steps above min; low are free */
    struct resv best = {0};
    while (low < high) {
        uint32_t mid = low + (high - low + 1) / 2;
        struct resv r = {0};
        bool found = eng_earliest(e, j, min + mid * step, e->now, e->now, &r) && r.start == e->now;
        if (found) {
            bt_free(best.span);
            best = r;
            low = mid;
        } else {
            bt_free(r.span);
            high = mid - 1;
        }
    }
    if (best.mode != RESV_NONE && try_start(e, job, min + low * step, &best))
        return true;
    bt_free(best.span);
    return false;
}

/* Plans one job, whose certificate is not charged; true if it started. */
static bool plan_one(struct plan_timeline *e, uint32_t job, int32_t latest)
{
    struct eng_job *j = &e->jobs[job];
    int32_t from = BT_MAX(e->now, j->eligible);
    if (!j->ask.resolved)
        from = BT_MAX(from, after_end(e, j));
    bool now = from == e->now && j->ask.resolved;
    if (now && j->ask.max_acc > j->ask.min_acc && start_elastic(e, job))
        return true;
    struct resv r = {0};
    int32_t at = from;
    for (;;) {
        if (!eng_earliest(e, j, j->ask.min_acc, at, latest, &r))
            return false;
        if (r.start > e->now || !now)
            break;
        if (try_start(e, job, j->ask.min_acc, &r))
            return true;
        at = place_time(e, j, r.zone); /* free in number, not in place */
        bt_free(r.span);
        r = (struct resv){0};
        now = false;
    }
    j->plan = r;
    resv_charge(e, j, &j->plan, 1);
    note_resv(e, job, &j->plan);
    if (e->explains)
        explain_wait(e, j, from);
    return false;
}

/* Its certificate is the best that others left, and is in the way of no earlier start of its own:
 * that is the plan, and nothing moves. */
static bool stays(struct plan_timeline *e, uint32_t job)
{
    struct eng_job *j = &e->jobs[job];
    if (!j->cert_charged || j->cert.start < end_of(j, e->now) || j->ask.max_acc > j->ask.min_acc ||
        !j->ask.resolved || j->eligible > e->now || !memo_none(e, j, j->cert.start) ||
        !place_by(e, j, j->cert.start))
        return false;
    j->plan = j->cert;
    j->cert = (struct resv){0};
    j->cert_charged = false;
    note_resv(e, job, &j->plan);
    if (e->explains)
        explain_wait(e, j, e->now);
    return true;
}

static void plan_job(struct plan_timeline *e, uint32_t job)
{
    struct eng_job *j = &e->jobs[job];
    if (stays(e, job))
        return;
    cert_uncharge(e, j);
    int32_t latest = j->cert.mode == RESV_NONE ? PROFILE_NEVER - 1 : j->cert.start;
    bool started = plan_one(e, job, latest);
    if (!started && j->plan.mode == RESV_NONE && j->cert.mode != RESV_NONE &&
        !place_by(e, j, j->cert.start)) /* reserved in number, but not in place: say so */
        started = plan_one(e, job, PROFILE_NEVER - 1);
    if (started) {
        bt_free(j->cert.span);
        j->cert = (struct resv){0};
        return;
    }
    if (j->plan.mode == RESV_NONE && j->cert.mode != RESV_NONE) { /* its certificate stands */
        struct resv r = j->cert;
        j->cert = (struct resv){0};
        if (r.start <= e->now && j->ask.resolved && try_start(e, job, j->ask.min_acc, &r))
            return;
        j->plan = r;
        resv_charge(e, j, &j->plan, 1);
        note_resv(e, job, &j->plan);
        if (e->explains)
            explain_wait(e, j, BT_MAX(e->now, j->eligible));
    }
    bt_free(j->cert.span);
    j->cert = (struct resv){0};
}

/* ---- the pass ---- */

static void begin(struct plan_timeline *e, int32_t now)
{
    e->now = now;
    for (uint32_t i = 0; i < e->fabric.n_zones; i++) {
        profile_trim(&e->time[i].whole, now);
        profile_trim(&e->time[i].acc, now);
    }
    for (uint32_t i = 0; i < e->fabric.n_real; i++)
        berths_trim(e->time[i].berths, now);
    for (uint32_t i = 0; i < e->n_nations; i++)
        profile_trim(&e->nations[i].left, now);
    profile_trim(&e->unguaranteed, now);
    e->n_victims = e->n_starts = e->n_promised = 0;
    e->due = PROFILE_NEVER;
    memo_clear(e);
    times_clear(e);
    if (e->explains) {
        bt_map_done(&e->ends);
        bt_map_reserve(&e->ends, e->n_jobs + 16);
    }
    for (uint32_t i = 0; i < e->n_jobs; i++) {
        struct eng_job *j = &e->jobs[i];
        j->started = false;
        if (j->state == JOB_RUNNING && e->explains)
            note_running(e, i);
    }
}

/* Owned jobs plan as if the lent reservations were not there; what they displace is promised anew
 * where its old promise cannot be kept. */
static void plan_owned(struct plan_timeline *e, uint32_t n)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct eng_job *j = &e->jobs[e->order[i].job];
        if (!j->may_own)
            cert_uncharge(e, j);
        else
            cert_restore(e, j);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t job = e->order[i].job;
        struct eng_job *j = &e->jobs[job];
        if (!j->may_own || !j->ask.resolved)
            continue;
        cert_uncharge(e, j);
        if (j->ask.resolved && j->eligible <= e->now && rights_open(e, j)) {
            struct resv r = {0};
            bool now = eng_earliest(e, j, j->ask.min_acc, e->now, e->now, &r);
            bt_free(r.span);
            if (!now && failed < RECLAIMS && !rights_reclaim(e, job))
                failed++;
        }
        plan_job(e, job);
        if (e->cause != PLAN_CAUSE_OWNED) {
            e->cause = PLAN_CAUSE_OWNED;
            e->cause_job = j->ask.handle;
            e->cause_nation = j->ask.nation;
        }
    }
    rights_done(e);
    memo_clear(e);
}

static void restore_certs(struct plan_timeline *e, uint32_t n)
{
    uint32_t lost = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct eng_job *j = &e->jobs[e->order[i].job];
        if (j->state == JOB_PENDING && !j->may_own && !cert_restore(e, j))
            lost += j->promise != PROFILE_NEVER;
    }
    for (uint32_t i = 0; lost && i < n; i++) {
        struct eng_job *j = &e->jobs[e->order[i].job];
        if (j->state == JOB_PENDING && !j->may_own && !j->cert_charged &&
            j->promise != PROFILE_NEVER)
            cert_renew(e, j);
    }
}

static void promise(struct plan_timeline *e, struct eng_job *j)
{
    int32_t before = j->promise;
    int64_t wait = j->plan.start - e->now;
    int64_t slack = BT_MAX((int64_t)e->slack_s, wait * e->slack_percent / 100);
    int32_t latest = (int32_t)BT_MIN(j->plan.start + slack, INT32_MAX / 2);
    if (j->promise == PROFILE_NEVER) {
        j->promise = latest;
    } else if (j->plan.start > j->promise) {
        j->moved_from = j->promise;
        j->promise = latest;
        j->cause = cause_for(e, j);
        j->cause_job = e->cause_job;
        j->cause_nation = e->cause_nation;
    }
    if (j->promise != before) {
        BT_GROW(e->promised, e->n_promised, e->cap_promised);
        e->promised[e->n_promised++] = (uint32_t)(j - e->jobs);
    }
}

/* Moves the plan's slot as late as its promise allows: the certificate. What starts later than the
 * longest waiting job could end, when started now, is in nobody's way and stays. */
static void shift(struct plan_timeline *e, struct eng_job *j)
{
    struct resv r = j->plan;
    if (r.mode != RESV_SPAN && r.start < j->promise && r.start - e->now < e->longest) {
        resv_charge(e, j, &r, -1);
        eng_shift(e, j, &r);
        resv_charge(e, j, &r, 1);
    }
    j->cert = r;
    j->cert.span = NULL;
    if (r.n_span)
        j->cert.span = bt_memdup(r.span, r.n_span * sizeof *r.span);
    j->cert_charged = true;
}

static void certify(struct plan_timeline *e, uint32_t n)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t job = e->order[i].job;
        struct eng_job *j = &e->jobs[job];
        if (j->state != JOB_PENDING || j->plan.mode == RESV_NONE)
            continue;
        if (!j->ask.resolved) { /* who knows when, or whether, that will be: nobody waits for it */
            resv_charge(e, j, &j->plan, -1);
            continue;
        }
        promise(e, j);
        e->due = BT_MIN(e->due, BT_MAX(j->plan.start, e->now + 1));
        e->order[k++] = (struct order){(uint64_t)(INT32_MAX - j->promise), job};
    }
    order_sort(e->order, k, e->order_spare); /* latest promise first */
    for (uint32_t i = 0; i < k; i++)
        shift(e, &e->jobs[e->order[i].job]);
}

/* What waits for another job to end comes last, first come first: the other came before it. */
static void plan_dependents(struct plan_timeline *e, uint32_t n)
{
    struct order *v BT_AUTO = bt_new_n(struct order, 2 * (size_t)n + 1);
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct eng_job *j = &e->jobs[e->order[i].job];
        if (j->state == JOB_PENDING && !j->ask.resolved)
            v[k++] = (struct order){j->ask.handle, e->order[i].job};
    }
    order_sort(v, k, v + k);
    for (uint32_t i = 0; i < k; i++)
        plan_job(e, v[i].job);
}

void eng_pass(struct plan_timeline *e, const struct plan_input *rights, int32_t now)
{
    begin(e, now);
    rights_own(e);
    uint32_t n = e->n_pending;
    rights_order(e, rights);
    e->n_prio = e->n_tried = 0;
    e->prio_new = true;
    e->longest = 0;
    uint32_t most = 1;
    for (uint32_t i = 0; i < n; i++) {
        struct eng_job *j = &e->jobs[e->order[i].job];
        bt_free(j->plan.span);
        j->plan = (struct resv){0};
        j->moved_from = PROFILE_NEVER;
        e->longest = BT_MAX(e->longest, j->len);
        most = BT_MAX(most, j->ask.max_acc);
        BT_GROW(e->prio, e->n_prio, e->cap_prio);
        e->prio[e->n_prio++] = (struct waiting){.job = e->order[i].job,
                                                .handle = j->ask.handle,
                                                .acc = j->ask.min_acc,
                                                .match = j->match,
                                                .len = j->len,
                                                .cert = PROFILE_NEVER,
                                                .plan = PROFILE_NEVER,
                                                .size = memo_size(j->ask.min_acc)};
    }
    memo_bound(e, most, e->longest);
    bool dependents = false;
    bool owners = n && e->jobs[e->order[0].job].may_own;
    if (owners)
        plan_owned(e, n);
    restore_certs(e, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t job = e->order[i].job;
        if (e->jobs[job].state == JOB_PENDING && e->jobs[job].plan.mode == RESV_NONE) {
            dependents |= !e->jobs[job].ask.resolved;
            if (e->jobs[job].ask.resolved)
                plan_job(e, job);
        }
    }
    if (dependents)
        plan_dependents(e, n);
    if (e->explains) {
        time_free(e->plan_time, e->fabric.n_zones);
        e->plan_time = time_copy(e->time, e->fabric.n_zones);
    }
    certify(e, n);
    e->memo_sizes = MEMO_SIZES;
    e->memo_lengths = MEMO_LENGTHS;
}
