/* pool.c - the reference policies on one pool of accelerators: FIFO, SJF, EASY, conservative.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * EASY: Lifka, "The ANL/IBM SP scheduling system", 1995: the head of the queue has a reservation,
 * anyone else may start if that does not delay it. Conservative: each job is replanned at each
 * event, in order of arrival, where it delays nobody before it. SJF: shortest first, nobody
 * overtakes. */
#include <string.h>

#include "daemon/sched/profile.h"
#include "daemon/sim/sim.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

struct end { /* of a running job */
    int64_t real_s, limit_s;
    uint32_t job;
};

struct pool {
    struct sim *s;
    uint32_t *queue; /* waiting, in order */
    uint32_t n_queue;
    struct end *running; /* by limit, rising */
    uint32_t n_running;
    uint32_t free;
    uint64_t queued_acc;
    int64_t now;
};

static void start(struct pool *p, uint32_t job)
{
    struct sim_job *j = &p->s->jobs[job];
    j->start_s = p->now;
    j->end_s = p->now + j->run_s;
    p->free -= j->acc;
    p->queued_acc -= j->acc;
    struct end e = {j->end_s, p->now + j->walltime_s, job};
    uint32_t low = 0, high = p->n_running;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (p->running[mid].limit_s <= e.limit_s)
            low = mid + 1;
        else
            high = mid;
    }
    memmove(p->running + low + 1, p->running + low, (p->n_running - low) * sizeof *p->running);
    p->running[low] = e;
    p->n_running++;
}

static void finish(struct pool *p)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < p->n_running; i++) {
        if (p->running[i].real_s <= p->now)
            p->free += p->s->jobs[p->running[i].job].acc;
        else
            p->running[k++] = p->running[i];
    }
    p->n_running = k;
}

static void enqueue(struct pool *p, uint32_t job, bool by_length)
{
    const struct sim_job *v = p->s->jobs;
    uint32_t at = p->n_queue;
    uint32_t low = 0;
    while (by_length && low < at) { /* behind the last that is not longer */
        uint32_t mid = (low + at) / 2;
        if (v[p->queue[mid]].walltime_s <= v[job].walltime_s)
            low = mid + 1;
        else
            at = mid;
    }
    memmove(p->queue + at + 1, p->queue + at, (p->n_queue - at) * sizeof *p->queue);
    p->queue[at] = job;
    p->n_queue++;
    p->queued_acc += v[job].acc;
}

/* Starts the head while it fits. */
static void start_heads(struct pool *p)
{
    uint32_t k = 0;
    while (k < p->n_queue && p->s->jobs[p->queue[k]].acc <= p->free)
        start(p, p->queue[k++]);
    memmove(p->queue, p->queue + k, (p->n_queue - k) * sizeof *p->queue);
    p->n_queue -= k;
}

static void pass_easy(struct pool *p)
{
    start_heads(p);
    if (!p->n_queue)
        return;
    uint32_t need = p->s->jobs[p->queue[0]].acc, free = p->free, i = 0;
    while (i < p->n_running && free < need)
        free += p->s->jobs[p->running[i++].job].acc;
    int64_t shadow = i ? p->running[i - 1].limit_s : p->now;
    for (; i < p->n_running && p->running[i].limit_s == shadow; i++)
        free += p->s->jobs[p->running[i].job].acc;
    uint32_t extra = free - need, k = 1;
    for (i = 1; i < p->n_queue; i++) {
        const struct sim_job *j = &p->s->jobs[p->queue[i]];
        bool in_time = p->now + j->walltime_s <= shadow;
        if (j->acc <= p->free && (in_time || j->acc <= extra)) {
            extra -= in_time ? 0 : j->acc;
            start(p, p->queue[i]);
        } else {
            p->queue[k++] = p->queue[i];
        }
    }
    p->n_queue = k;
}

static int32_t relative(const struct pool *p, int64_t at_s)
{
    return (int32_t)BT_MIN(at_s - p->now, INT32_MAX / 2);
}

static void pass_conservative(struct pool *p)
{
    struct profile f;
    profile_init(&f, (int32_t)p->s->capacity);
    for (uint32_t i = 0; i < p->n_running; i++)
        profile_add(&f, 0, BT_MAX(relative(p, p->running[i].limit_s), 1),
                    -(int32_t)p->s->jobs[p->running[i].job].acc);
    uint32_t k = 0;
    for (uint32_t i = 0; i < p->n_queue; i++) {
        struct sim_job *j = &p->s->jobs[p->queue[i]];
        int32_t len = relative(p, p->now + j->walltime_s);
        int32_t at = profile_earliest(&f, (int32_t)j->acc, len, 0, PROFILE_NEVER - 1);
        profile_add(&f, at, at + len, -(int32_t)j->acc);
        if (j->promise_s < 0)
            j->promise_s = j->first_plan_s = p->now + at;
        if (at == 0)
            start(p, p->queue[i]);
        else
            p->queue[k++] = p->queue[i];
    }
    p->n_queue = k;
    profile_done(&f);
}

static int64_t next_end(const struct pool *p)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < p->n_running; i++)
        at = BT_MIN(at, p->running[i].real_s);
    return at;
}

void sim_pool(struct sim *s, enum sim_policy policy)
{
    struct pool p = {.s = s, .free = s->capacity};
    p.queue = bt_new_n(uint32_t, s->n_jobs + 1);
    p.running = bt_new_n(struct end, s->n_jobs + 1);
    uint32_t next = 0;
    for (;;) {
        int64_t arrival = next < s->n_jobs ? s->jobs[next].submit_s : INT64_MAX;
        p.now = BT_MIN(arrival, next_end(&p));
        if (p.now == INT64_MAX)
            break;
        finish(&p);
        for (; next < s->n_jobs && s->jobs[next].submit_s <= p.now; next++)
            if (s->jobs[next].acc <= s->capacity)
                enqueue(&p, next, policy == SIM_SJF);
        if (policy == SIM_EASY)
            pass_easy(&p);
        else if (policy == SIM_CONSERVATIVE)
            pass_conservative(&p);
        else
            start_heads(&p);
        s->passes++;
        sim_sample(s, p.now, s->capacity - p.free, p.n_queue, p.queued_acc, p.n_running);
    }
    bt_free(p.queue);
    bt_free(p.running);
}
