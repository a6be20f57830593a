/* The core thread: events become batches.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/engine/own.h"

#include <time.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

/* Up to `max` events off the queue; the lock is held. */
struct event *engine_take_events(struct engine *e, int max)
{
    struct event *first = e->queue;
    struct event **end = &first;
    int n = 0;

    while (*end && n < max) {
        end = &(*end)->next;
        n++;
    }
    e->queue = *end;
    if (!e->queue)
        e->queue_end = &e->queue;
    *end = NULL;
    e->n_queue -= n;
    return first;
}

void engine_stamp(struct engine *e, struct event *ev)
{
    ev->at_us = engine_now_us(e);
    e->rng ^= e->rng << 13;
    e->rng ^= e->rng >> 7;
    e->rng ^= e->rng << 17;
    ev->seed = e->rng;
}

static void work_keep(struct work *w, struct event *ev)
{
    ev->next = NULL;
    if (!w->first)
        w->last = &w->first;
    *w->last = ev;
    w->last = &ev->next;
    w->n++;
}

void engine_step(struct engine *e, struct event *ev)
{
    core_step(e->core, ev, e->filling.batch);
    work_keep(&e->filling, ev);
}

/* ---- the core thread ---- */

void engine_take_off(struct engine *e, enum flight flight)
{
    if (e->filling.batch->rows.n)
        e->filling.batch->seq = ++e->seq;
    e->in_flight = e->filling;
    e->filling = engine_work_next(e);
    e->flight = flight;
}

/* What was stepped goes to the store thread, if that is free. The lock is held. */
void engine_hand_over(struct engine *e)
{
    if (e->flight != FLIGHT_NONE || e->filling.n == 0)
        return;
    engine_take_off(e, FLIGHT_COMMIT);
    pthread_cond_signal(&e->to_store);
}

/* Commits one event's batch now, in this thread, while the store thread rests. */
static bool settle_alone(struct engine *e, struct event *ev)
{
    struct work w = engine_work();
    struct bt_err err = {0};
    enum store_outcome got;

    core_step(e->core, ev, w.batch);
    if (w.batch->rows.n)
        w.batch->seq = e->seq + 1;
    do
        got = store_commit(e->store, w.batch, &err);
    while (got == STORE_RETRY || (got == STORE_DOWN && !engine_given_up(e)));
    if (got == STORE_COMMITTED) {
        e->seq += w.batch->rows.n != 0;
        e->set.committed(e->set.arg, w.batch);
    } else if (got == STORE_FENCED) {
        e->set.fatal(e->set.arg, &err);
    } else {
        bt_log_err(BT_ERROR, "event-refused-by-database", &err);
    }
    engine_work_done(&w);
    return got == STORE_COMMITTED;
}

static void answer_500(struct engine *e, const struct event *ev, const struct bt_err *why)
{
    struct batch *b = batch_new();
    struct reply *r = batch_reply(b, ev->reply_to);

    r->http = 500;
    bt_fail(&r->err, BT_ERR_INTERNAL, "the facility could not store this: %s", why->text);
    e->set.committed(e->set.arg, b);
    batch_free(b);
}

/* The database refused a batch as wrong: our bug. Load anew and step the kept events one a
 * batch; the one that fails gets 500, everything else goes on. */
static void recover(struct engine *e)
{
    struct event *kept;
    struct event **end;
    struct bt_err err = {0};

    bt_log_err(BT_ERROR, "batch-refused-by-database", &e->bug_err);
    kept = e->in_flight.first;
    end = kept ? e->in_flight.last : &kept;
    *end = e->filling.first;
    e->in_flight.first = e->filling.first = NULL;
    engine_work_done(&e->in_flight);
    engine_work_done(&e->filling);
    if (engine_load_core(e, &err) < 0)
        e->set.fatal(e->set.arg, &err);
    while (kept) {
        struct event *ev = kept;

        kept = ev->next;
        ev->next = NULL;
        if (!settle_alone(e, ev)) {
            if (ev->reply_to)
                answer_500(e, ev, &e->bug_err);
            if (engine_load_core(e, &err) < 0)
                e->set.fatal(e->set.arg, &err);
        }
        event_free(ev);
    }
    e->filling = engine_work();
}

static void wait_for_work(struct engine *e)
{
    struct timespec until;
    int64_t wake = e->next_tick_us;
    int64_t left;

    if (core_plan_is_due(e->core) && !e->planning)
        wake = BT_MIN(wake, e->next_plan_us);
    e->wake_us = wake;
    left = BT_MAX(wake - bt_mono_us(), 0);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += left / BT_US_PER_S;
    until.tv_nsec += (left % BT_US_PER_S) * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (left > 0)
        pthread_cond_timedwait(&e->to_core, &e->lock, &until);
}

bool engine_is_full(const struct engine *e)
{
    return e->filling.n >= ENGINE_BATCH_MAX;
}

void engine_step_list(struct engine *e, struct event *ev)
{
    while (ev) {
        struct event *next = ev->next;

        engine_stamp(e, ev);
        engine_step(e, ev);
        ev = next;
    }
}

static void step_all(struct engine *e, struct event *ev)
{
    engine_step_list(e, ev);
    if (bt_mono_us() >= e->next_tick_us && !engine_is_full(e)) {
        struct event *tick = event_new(EV_TICK);

        engine_stamp(e, tick);
        engine_step(e, tick);
        e->next_tick_us = bt_mono_us() + BT_US_PER_S;
    }
    engine_maybe_plan(e);
}

void *engine_core_loop(void *arg)
{
    struct engine *e = arg;

    pthread_mutex_lock(&e->lock);
    while (e->behind && !e->stopping) /* there is nothing to step */
        pthread_cond_wait(&e->to_core, &e->lock);
    for (;;) {
        struct event *ev;
        bool idle;

        for (; e->stepping; e->core_waits = false) {
            e->core_waits = true;
            pthread_cond_wait(&e->to_core, &e->lock);
        }
        if (e->flight == FLIGHT_BUG) {
            while (e->out || e->giving) /* earlier answers go out first */
                pthread_cond_wait(&e->to_core, &e->lock);
            pthread_mutex_unlock(&e->lock);
            recover(e);
            pthread_mutex_lock(&e->lock);
            e->flight = FLIGHT_NONE;
        }
        engine_relieve(e);
        if (engine_commit_here(e))
            continue;
        engine_hand_over(e);
        idle = !e->queue || engine_is_full(e);
        if (e->stopping && !e->queue && e->filling.n == 0 && e->flight == FLIGHT_NONE)
            break;
        if (idle && (engine_is_full(e) || bt_mono_us() < e->next_tick_us)) {
            if (engine_is_full(e) || e->stopping)
                pthread_cond_wait(&e->to_core, &e->lock);
            else
                wait_for_work(e);
            if (e->flight == FLIGHT_BUG || e->stepping || engine_is_full(e))
                continue;
        }
        ev = engine_take_events(e, ENGINE_BATCH_MAX - e->filling.n);
        e->status.seq = e->seq;
        e->status.n_jobs = core_n_jobs(e->core);
        e->stepping = true;
        pthread_mutex_unlock(&e->lock);
        step_all(e, ev);
        pthread_mutex_lock(&e->lock);
        e->stepping = false;
    }
    e->store_ends = true;
    pthread_cond_signal(&e->to_store);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}
