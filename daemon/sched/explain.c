/* explain.c - why not sooner: what is in front of a job, and which small change would help.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

static const struct plan_slot *slot_of(const struct plan_output *out, uint32_t handle)
{
    uint32_t low = 0, high = out->n_slots;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (out->slots[mid].handle < handle)
            low = mid + 1;
        else
            high = mid;
    }
    return low < out->n_slots && out->slots[low].handle == handle ? &out->slots[low] : NULL;
}

/* ---- what is in front ---- */

static bool same_place(const struct plan_timeline *e, const struct eng_job *a, uint32_t zone)
{
    if (zone == PLAN_NONE)
        return true;
    if (a->state == JOB_PENDING)
        return a->plan.zone == zone;
    for (uint32_t i = 0; i < a->picks.n; i++)
        if (e->fabric.racks[a->picks.v[i].rack].zone == e->fabric.zones[zone].real)
            return true;
    return false;
}

/* When a job that is in front of one planned at `start` lets go; PROFILE_NEVER = it is not. */
static int32_t frees_at(const struct plan_timeline *e, const struct eng_job *a, int32_t start)
{
    if (a->state == JOB_RUNNING)
        return a->limit <= start && a->limit > e->now ? a->limit : PROFILE_NEVER;
    if (a->state != JOB_PENDING || a->plan.mode == RESV_NONE)
        return PROFILE_NEVER;
    int64_t end = (int64_t)a->plan.start + a->len;
    return end <= start ? (int32_t)end : PROFILE_NEVER;
}

struct ahead {
    uint32_t job, acc;
    int32_t end;
};

static int larger_first(const void *x, const void *y)
{
    const struct ahead *a = x, *b = y;
    if (a->acc != b->acc)
        return a->acc > b->acc ? -1 : 1;
    return (a->job > b->job) - (a->job < b->job);
}

static int sooner_first(const void *x, const void *y)
{
    const struct ahead *a = x, *b = y;
    if (a->end != b->end)
        return a->end < b->end ? -1 : 1;
    return (a->job > b->job) - (a->job < b->job);
}

/* The largest of those that let go of accelerators of the same place until `start`. */
static void fill_front(const struct plan_timeline *e, const struct resv *at, uint32_t self,
                       struct plan_explain *ret)
{
    struct ahead *v BT_AUTO = bt_new_n(struct ahead, e->n_jobs + 1);
    uint32_t n = 0, zone = at->mode == RESV_SPAN ? PLAN_NONE : at->zone;
    for (uint32_t i = 0; i < e->n_jobs; i++) {
        const struct eng_job *a = &e->jobs[i];
        int32_t end = i == self ? PROFILE_NEVER : frees_at(e, a, at->start);
        if (end != PROFILE_NEVER && a->ask.handle != PLAN_NONE && same_place(e, a, zone))
            v[n++] = (struct ahead){i, a->ask.min_acc, end};
    }
    qsort(v, n, sizeof *v, larger_first);
    n = BT_MIN(n, PLAN_MAX_FRONT);
    qsort(v, n, sizeof *v, sooner_first);
    for (uint32_t i = 0; i < n; i++) {
        const struct eng_job *a = &e->jobs[v[i].job];
        bool running = a->state == JOB_RUNNING;
        ret->front[i] =
            (struct plan_front){.handle = a->ask.handle,
                                .nation = a->ask.nation,
                                .until_us = eng_us(e, running ? a->limit : a->plan.start),
                                .running = running};
    }
    ret->n_front = n;
}

/* ---- what would help ---- */

static int32_t start_as(struct plan_timeline *e, const struct plan_pending *ask)
{
    struct eng_job j = {.ask = *ask,
                        .match = match_of(e, ask),
                        .len = (int32_t)(ask->walltime_s + e->turnaround_s)};
    int32_t from = ask->eligible_us ? eng_time(e, ask->eligible_us) : e->now;
    struct resv r = {0};
    if (!eng_earliest(e, &j, ask->min_acc, from, PROFILE_NEVER - 1, &r))
        return PROFILE_NEVER;
    bt_free(r.span);
    return r.start;
}

static void add_change(const struct plan_timeline *e, struct plan_explain *ret,
                       enum plan_change_kind kind, uint32_t value, int32_t start)
{
    if (ret->n_change < PLAN_MAX_CHANGES)
        ret->change[ret->n_change++] = (struct plan_change){
            .start_us = eng_us(e, start), .value = value, .kind = (uint8_t)kind};
}

/* The largest value of *field (in steps of `step`) below its own with which the job starts before
 * `than`: an earlier start never comes from asking for more. */
static uint32_t largest_sooner(struct plan_timeline *e, struct plan_pending *ask, uint32_t *field,
                               uint32_t step, int32_t than)
{
    uint32_t low = 0, high = (*field - 1) / step; /* low steps help (0: none known), high + 1 not */
    while (low < high) {
        uint32_t mid = low + (high - low + 1) / 2;
        *field = mid * step;
        if (start_as(e, ask) < than)
            low = mid;
        else
            high = mid - 1;
    }
    return low * step;
}

static void try_fewer(struct plan_timeline *e, struct plan_pending ask, int32_t than,
                      struct plan_explain *ret)
{
    uint32_t most = 1;
    uint32_t k = match_of(e, &ask);
    const struct match *m = &e->matches[k];
    for (uint32_t i = 0; i < m->n_zones; i++)
        most = BT_MAX(most, e->fabric.zones[e->match_zones[m->zone_off + i]].acc);
    uint32_t step = ask.per_node ? ask.per_node : ask.min_acc > most ? most : 1;
    if (ask.min_acc <= step)
        return;
    uint32_t n = largest_sooner(e, &ask, &ask.min_acc, step, than);
    ask.min_acc = n;
    if (n)
        add_change(e, ret, PLAN_FEWER, n, start_as(e, &ask));
}

static void try_shorter(struct plan_timeline *e, struct plan_pending ask, int32_t than,
                        struct plan_explain *ret)
{
    enum { STEP_S = 300 };
    if (ask.walltime_s <= STEP_S)
        return;
    uint32_t s = largest_sooner(e, &ask, &ask.walltime_s, STEP_S, than);
    ask.walltime_s = s;
    if (s)
        add_change(e, ret, PLAN_SHORTER, s, start_as(e, &ask));
}

static void try_looser(struct plan_timeline *e, struct plan_pending ask, int32_t than,
                       struct plan_explain *ret)
{
    if (!ask.level_required)
        return;
    while (ask.level > PLAN_ANY) {
        ask.level--;
        int32_t start = start_as(e, &ask);
        if (start >= than)
            continue;
        add_change(e, ret, PLAN_LOOSER, ask.level, start);
        return;
    }
}

static void try_class(struct plan_timeline *e, struct plan_pending ask, int32_t than,
                      struct plan_explain *ret)
{
    if (ask.accel_class == PLAN_CLASS_ANY)
        return;
    int32_t best = than;
    uint32_t seen = ask.accel_class, value = 0;
    for (uint32_t k = 0; k < e->fabric.n_kinds; k++) {
        if (e->fabric.kinds[k].accel_class == seen)
            continue;
        seen = ask.accel_class = e->fabric.kinds[k].accel_class;
        int32_t start = start_as(e, &ask);
        if (start >= best)
            continue;
        best = start;
        value = seen;
    }
    if (best < than)
        add_change(e, ret, PLAN_OTHER_CLASS, value, best);
}

/* The most memory, or bandwidth, below what it asks for with which it starts before `than`. */
static void try_less(struct plan_timeline *e, struct plan_pending ask, bool memory, int32_t than,
                     struct plan_explain *ret)
{
    uint16_t *field = memory ? &ask.memory_gb : &ask.busbw_gb;
    uint16_t wanted = *field;
    for (uint16_t below = wanted; below;) {
        uint16_t next = 0; /* the next amount that nodes have */
        for (uint32_t z = 0; z < e->fabric.n_zones; z++) {
            uint32_t has =
                memory ? e->fabric.zones[z].memory_gb : e->fabric.zones[z].busbw_mbs / MBS;
            if (has < below)
                next = (uint16_t)BT_MAX(next, has);
        }
        below = *field = next;
        int32_t start = start_as(e, &ask);
        if (start >= than)
            continue;
        add_change(e, ret, memory ? PLAN_LESS_MEMORY : PLAN_LESS_BANDWIDTH, next, start);
        return;
    }
}

/* Fills the changes of a job that is planned at `than`; the plan's profiles are in place, without
 * the job itself. */
static void fill_changes(struct plan_timeline *e, const struct plan_pending *ask, int32_t than,
                         struct plan_explain *ret)
{
    memo_clear(e);
    if (than == PROFILE_NEVER || than <= e->now)
        return;
    try_looser(e, *ask, than, ret);
    try_fewer(e, *ask, than, ret);
    try_shorter(e, *ask, than, ret);
    try_class(e, *ask, than, ret);
    try_less(e, *ask, true, than, ret);
    try_less(e, *ask, false, than, ret);
}

/* ---- who would do ---- */

static void fill_fit(const struct plan_input *in, const struct plan_pending *job,
                     struct plan_fit *ret)
{
    *ret = (struct plan_fit){0};
    bool asks = job->memory_gb || job->busbw_gb || job->stores;
    for (uint32_t i = 0; asks && i < in->n_nodes; i++) {
        const struct plan_node *d = &in->nodes[i];
        if (!d->usable_mask || d->tier < job->tier || d->state > PLAN_DEGRADED ||
            (job->accel_class != PLAN_CLASS_ANY && job->accel_class != d->accel_class) ||
            (uint32_t)__builtin_popcountll(d->usable_mask) < job->per_node)
            continue;
        ret->nodes++;
        if (!fab_holds(job->stores, d->store))
            ret->away++;
        else if (d->memory_gb < job->memory_gb)
            ret->small++;
        else if (d->busbw_mbs >= job->busbw_gb * (uint32_t)MBS)
            ret->fit++;
        else if (d->busbw_mbs)
            ret->slow++;
        else
            ret->unmeasured++;
    }
}

/* Some zone holds nodes on both sides of what the job asks for: no job of the plan did so. */
static bool is_uncut(const struct plan_timeline *e, const struct plan_pending *job)
{
    for (uint32_t i = 0; i < e->fabric.n_zones; i++) {
        const struct fab_zone *z = &e->fabric.zones[i];
        if ((z->memory_gb < job->memory_gb && z->memory_most >= job->memory_gb) ||
            (z->busbw_mbs < job->busbw_gb * (uint32_t)MBS &&
             z->busbw_most >= job->busbw_gb * (uint32_t)MBS))
            return true;
    }
    return false;
}

/* ---- the two questions ---- */

static struct zone_time *plan_time_in(struct plan_timeline *e)
{
    struct zone_time *kept = e->time;
    e->time = e->plan_time;
    return kept;
}

int sched_explain(const struct plan_input *in, const struct plan_output *out, uint32_t handle,
                  struct plan_explain *ret, struct bt_err *err)
{
    const struct plan_slot *slot = slot_of(out, handle);
    if (!slot)
        return bt_fail(err, BT_ERR_NOT_FOUND, "the plan has no job %" PRIu32, handle);
    struct plan_timeline *e = out->timeline;
    uint32_t job = eng_find(e, handle);
    struct eng_job *j = &e->jobs[job];
    *ret = (struct plan_explain){.slot = *slot};
    fill_fit(in, &j->ask, &ret->fit);
    if (j->state != JOB_PENDING || j->plan.mode == RESV_NONE)
        return 0;
    fill_front(e, &j->plan, job, ret);
    struct zone_time *kept = plan_time_in(e);
    resv_charge(e, j, &j->plan, -1);
    fill_changes(e, &j->ask, j->plan.start, ret);
    resv_charge(e, j, &j->plan, 1);
    e->time = kept;
    return 0;
}

/* A plan with the job in it, for one that asks to tell nodes apart as no job before it did. */
static int explain_within(const struct plan_input *in, const struct plan_output *out,
                          const struct plan_pending *job, struct plan_explain *ret,
                          struct bt_err *err)
{
    struct plan_pending *v BT_AUTO = bt_new_n(struct plan_pending, in->n_pending + 1);
    struct plan_input with = *in;
    struct plan_output plan;
    if (in->n_pending)
        memcpy(v, in->pending, in->n_pending * sizeof *v);
    v[in->n_pending] = *job;
    v[in->n_pending].handle = PLAN_NONE - 1; /* behind all others */
    with.pending = v;
    with.n_pending++;
    with.last = out;
    with.moored = NULL; /* of the plan before */
    int rc = sched_plan(&with, &plan, err);
    if (rc < 0)
        return rc;
    rc = sched_explain(&with, &plan, PLAN_NONE - 1, ret, err);
    sched_plan_done(&plan);
    return rc;
}

int sched_explain_new(const struct plan_input *in, const struct plan_output *out,
                      const struct plan_pending *job, struct plan_explain *ret, struct bt_err *err)
{
    int rc = sched_possible(in, job, err);
    if (rc < 0)
        return rc;
    struct plan_timeline *e = out->timeline;
    struct eng_job j;
    if (is_uncut(e, job))
        return explain_within(in, out, job, ret, err);
    memo_clear(e);
    struct plan_explain x = {.slot = eng_provisional(e, job, in->now_us, &j)};
    fill_fit(in, job, &x.fit);
    if (j.plan.mode != RESV_NONE) {
        fill_front(e, &j.plan, PLAN_NONE, &x);
        struct zone_time *kept = plan_time_in(e);
        fill_changes(e, job, j.plan.start, &x);
        e->time = kept;
    }
    bt_free(j.plan.span);
    *ret = x;
    return 0;
}
