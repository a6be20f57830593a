/* core.c - the replay through the scheduler that the daemon runs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "daemon/sched/engine.h"
#include "daemon/sim/sim.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

/* A longer queue is planned less often: about what a daemon does with half a core. */
enum { PENDING_PER_S = 5 };
#define HALF_LIFE_S (7.0 * 86400)

struct heap_end {
    int64_t at_s;
    uint32_t job, attempt;
};

struct replay {
    struct sim *s;
    struct plan_timeline *e;
    struct plan_input rights;
    struct plan_nation *nations;
    struct heap_end *heap;
    uint32_t n_heap, cap_heap;
    uint32_t n_running, used;
    uint64_t queued_acc;
    int64_t now, next_pass;
    bool dirty;
};

static bool sooner(const struct heap_end *a, const struct heap_end *b)
{
    return a->at_s != b->at_s ? a->at_s < b->at_s : a->job < b->job;
}

static void heap_push(struct replay *r, struct heap_end x)
{
    BT_GROW(r->heap, r->n_heap, r->cap_heap);
    uint32_t i = r->n_heap++;
    for (; i && sooner(&x, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = x;
}

static struct heap_end heap_pop(struct replay *r)
{
    struct heap_end top = r->heap[0], x = r->heap[--r->n_heap];
    uint32_t i = 0;
    for (;;) {
        uint32_t k = 2 * i + 1;
        if (k >= r->n_heap)
            break;
        if (k + 1 < r->n_heap && sooner(&r->heap[k + 1], &r->heap[k]))
            k++;
        if (!sooner(&r->heap[k], &x))
            break;
        r->heap[i] = r->heap[k];
        i = k;
    }
    r->heap[i] = x;
    return top;
}

/* ---- shares ---- */

static void charge_share(struct replay *r, uint32_t nation, double acc_s)
{
    struct sim_nation *n = &r->s->nations[nation];
    n->used = n->used * exp2(-(double)(r->now - n->at_s) / HALF_LIFE_S) + acc_s;
    n->at_s = r->now;
}

static void refresh_shares(struct replay *r)
{
    if (!r->s->fair_share)
        return;
    for (uint32_t i = 0; i < r->s->n_nations; i++) {
        charge_share(r, i, 0);
        r->nations[i].used = (int64_t)r->s->nations[i].used;
    }
}

/* ---- events ---- */

static void submit(struct replay *r, uint32_t job, bool again)
{
    const struct sim_job *j = &r->s->jobs[job];
    struct plan_pending ask = {.submit_us = j->submit_s * BT_US_PER_S,
                               .handle = job,
                               .min_acc = j->acc,
                               .walltime_s = (uint32_t)j->walltime_s,
                               .nation = j->nation,
                               .project = PLAN_NONE,
                               .person = PLAN_NONE,
                               .after = PLAN_NONE,
                               .accel_class = PLAN_CLASS_ANY,
                               .owned = j->owned,
                               .front = again,
                               .resolved = true};
    eng_add_pending(r->e, &ask);
    r->queued_acc += j->acc;
    r->dirty = true;
}

static void ended(struct replay *r, uint32_t job)
{
    struct sim_job *j = &r->s->jobs[job];
    uint32_t k = eng_find(r->e, job);
    double held = (double)j->acc * (double)(r->now - j->start_s);
    if (j->nation != PLAN_NONE) {
        r->s->nations[j->nation].got += held;
        if (!r->e->jobs[k].owned) /* what was booked for the limit */
            charge_share(r, j->nation, held - (double)j->acc * (double)j->walltime_s);
    }
    eng_remove(r->e, k);
    r->n_running--;
    r->used -= j->acc;
    r->dirty = true;
}

static void note_start(struct replay *r, uint32_t k)
{
    struct eng_job *e = &r->e->jobs[k];
    struct sim_job *j = &r->s->jobs[e->ask.handle];
    j->start_s = r->now;
    j->end_s = r->now + j->run_s;
    r->n_running++;
    r->used += j->acc;
    r->queued_acc -= j->acc;
    if (j->nation != PLAN_NONE && !e->owned)
        charge_share(r, j->nation, (double)j->acc * (double)j->walltime_s);
    heap_push(r, (struct heap_end){j->end_s, e->ask.handle, j->preempted});
}

static void note_promises(struct replay *r)
{
    const struct plan_timeline *e = r->e;
    for (uint32_t i = 0; i < e->n_promised; i++) {
        const struct eng_job *k = &e->jobs[e->promised[i]];
        struct sim_job *j = &r->s->jobs[k->ask.handle];
        if (j->promise_s < 0) {
            j->promise_s = k->promise;
            j->first_plan_s = k->plan.start;
        } else if (k->moved_from != PROFILE_NEVER && k->cause != PLAN_CAUSE_LATE &&
                   k->cause != PLAN_CAUSE_NONE) { /* these are the scheduler's own doing */
            j->moved++;
        }
    }
}

/* A victim's checkpoint is its start: what it ran is lost, and it comes back at once. */
static void preempt(struct replay *r)
{
    struct plan_timeline *e = r->e;
    uint32_t n = e->n_victims;
    struct plan_victim *v BT_AUTO = bt_memdup(e->victims, (n + 1) * sizeof *v);
    for (uint32_t i = 0; i < n; i++) {
        struct sim_job *j = &r->s->jobs[v[i].handle];
        r->s->preemptions++;
        r->s->lost_acc_s += (uint64_t)v[i].lost_acc_s;
        j->preempted++;
        ended(r, v[i].handle);
        submit(r, v[i].handle, true);
    }
}

static void quick(struct replay *r)
{
    eng_quick(r->e, (int32_t)r->now);
    for (uint32_t i = 0; i < r->e->n_starts; i++)
        note_start(r, r->e->starts[i]);
}

static void pass(struct replay *r)
{
    refresh_shares(r);
    eng_pass(r->e, &r->rights, (int32_t)r->now);
    if (r->s->passes++ % 256 == 0)
        r->s->state_bytes = BT_MAX(r->s->state_bytes, eng_bytes(r->e));
    r->dirty = false;
    for (uint32_t i = 0; i < r->e->n_starts; i++)
        note_start(r, r->e->starts[i]);
    note_promises(r);
    if (r->e->n_victims)
        preempt(r);
    r->next_pass = r->now + r->s->plan_every_s + r->e->n_pending / PENDING_PER_S;
}

static int64_t next_time(const struct replay *r, uint32_t next)
{
    int64_t at = next < r->s->n_jobs ? r->s->jobs[next].submit_s : INT64_MAX;
    if (r->n_heap)
        at = BT_MIN(at, r->heap[0].at_s);
    if (r->dirty)
        at = BT_MIN(at, BT_MAX(r->next_pass, r->now + 1));
    if (r->e->due != PROFILE_NEVER)
        at = BT_MIN(at, BT_MAX(r->e->due, r->now + 1));
    return at;
}

static void measure(struct replay *r)
{
    sim_sample(r->s, r->now, r->used, r->e->n_pending, r->queued_acc, r->n_running);
}

static void drive(struct replay *r)
{
    struct sim *s = r->s;
    uint32_t next = 0;
    while ((r->now = next_time(r, next)) != INT64_MAX) {
        while (r->n_heap && r->heap[0].at_s <= r->now) {
            struct heap_end x = heap_pop(r);
            if (s->jobs[x.job].preempted == x.attempt)
                ended(r, x.job);
        }
        for (; next < s->n_jobs && s->jobs[next].submit_s <= r->now; next++)
            if (s->jobs[next].acc <= s->capacity)
                submit(r, next, false);
        if (r->now >= r->next_pass && (r->dirty || r->e->n_pending))
            pass(r);
        else
            quick(r);
        measure(r);
    }
}

int sim_core(struct sim *s, struct bt_err *err)
{
    struct replay r = {.s = s};
    if (s->n_jobs && s->jobs[s->n_jobs - 1].submit_s > INT32_MAX / 2)
        return bt_fail(err, BT_ERR_TOO_LARGE, "the trace spans more than 34 years");
    r.nations = bt_new_n(struct plan_nation, s->n_nations + 1);
    for (uint32_t i = 0; i < s->n_nations; i++)
        r.nations[i] = (struct plan_nation){.guaranteed = s->nations[i].guaranteed,
                                            .weight = s->nations[i].weight};
    r.rights = (struct plan_input){.nodes = s->nodes,
                                   .n_nodes = s->n_nodes,
                                   .nations = r.nations,
                                   .n_nations = s->n_nations,
                                   .promise_slack_s = s->slack_s,
                                   .promise_slack_percent = s->slack_percent};
    r.e = eng_new(&r.rights);
    r.e->due = PROFILE_NEVER;
    drive(&r);
    eng_free(r.e);
    bt_free(r.nations);
    bt_free(r.heap);
    return 0;
}
