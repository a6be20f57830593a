/* The store thread commits, the out thread gives out what is committed.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/engine/own.h"

#include <time.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

enum { STOP_PATIENCE_US = 5000000, RELIEVE_US = 100000 };

/* A daemon that is told to stop does not wait for ever for a database that is gone: what was not
 * committed was not acknowledged either. */
bool engine_given_up(struct engine *e)
{
    bool yes;

    pthread_mutex_lock(&e->lock);
    yes = e->stopping && bt_mono_us() > e->stop_us + STOP_PATIENCE_US;
    pthread_mutex_unlock(&e->lock);
    return yes;
}

/* ---- the store thread ---- */

/* The lock is held. */
static void note_down(struct engine *e, const struct bt_err *err)
{
    bt_log_err(BT_WARN, "store-down", err);
    e->down = true;
    e->down_err = *err;
    if (!e->down_err.code)
        bt_fail(&e->down_err, BT_ERR_DB_RETRY, "the database does not answer");
}

static void went_down(struct engine *e, const struct bt_err *err, int64_t *wait_us)
{
    struct timespec until;

    pthread_mutex_lock(&e->lock);
    note_down(e, err);
    *wait_us = BT_MIN(BT_MAX(*wait_us * 2, 50000), 2 * BT_US_PER_S);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (*wait_us % BT_US_PER_S) * 1000;
    until.tv_sec += *wait_us / BT_US_PER_S + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (!e->store_ends)
        pthread_cond_timedwait(&e->to_store, &e->lock, &until);
    pthread_mutex_unlock(&e->lock);
}

static enum store_outcome commit(struct engine *e, struct batch *b, struct bt_err *err)
{
    int64_t wait_us = 0;

    for (;;) {
        enum store_outcome got = store_commit(e->store, b, err);

        if (got == STORE_DOWN) {
            went_down(e, err, &wait_us);
            if (engine_given_up(e))
                return got;
            continue;
        }
        if (got != STORE_RETRY)
            return got;
    }
}

/* ---- replies, wants and views of what is committed: by the out thread while the next batch is
 * being committed; where none waits, the store thread need not wake it for a few ---- */

/* The lock is held. */
static void give_out(struct engine *e, const struct work *w)
{
    struct work *copy = bt_memdup(w, sizeof *w);

    copy->next = NULL;
    *e->out_end = copy;
    e->out_end = &copy->next;
    pthread_cond_signal(&e->to_out);
}

void *engine_out_loop(void *arg)
{
    struct engine *e = arg;

    pthread_mutex_lock(&e->lock);
    for (;;) {
        struct work *w;

        while (!e->out && !e->out_ends)
            pthread_cond_wait(&e->to_out, &e->lock);
        w = e->out;
        if (!w)
            break;
        e->out = w->next;
        if (!e->out)
            e->out_end = &e->out;
        e->giving = true;
        pthread_mutex_unlock(&e->lock);
        e->set.committed(e->set.arg, w->batch);
        engine_work_renew(w);
        pthread_mutex_lock(&e->lock);
        engine_spare(e, w->batch);
        bt_free(w);
        e->giving = false;
        if (e->flight == FLIGHT_BUG)
            pthread_cond_signal(&e->to_core);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* What is still in flight for everybody else: nothing else is committed or given out meanwhile. The
 * lock is held, but not meanwhile. */
static void give_out_here(struct engine *e, struct work *w)
{
    e->giving = true;
    pthread_mutex_unlock(&e->lock);
    e->set.committed(e->set.arg, w->batch);
    engine_work_renew(w);
    pthread_mutex_lock(&e->lock);
    engine_spare(e, w->batch);
    e->giving = false;
}

/* What came too late to wake the core thread for goes into the batch that leaves now: a batch
 * costs the database far more than a row, and waking that thread more than a step. The lock is
 * held, but not meanwhile. */
static void step_here(struct engine *e)
{
    struct event *ev = engine_take_events(e, ENGINE_BATCH_MAX - e->filling.n);

    e->stepping = true;
    pthread_mutex_unlock(&e->lock);
    engine_step_list(e, ev);
    pthread_mutex_lock(&e->lock);
    e->stepping = false;
}

/* Few events, and few behind them: waking the out thread would cost more than its work. */
static bool are_few(const struct engine *e, const struct work *w)
{
    return w->n <= (e->flight == FLIGHT_HERE ? TURN_MAX : FEW) && !e->stepping &&
           e->filling.n + e->n_queue <= FEW && !e->out && !e->giving;
}

/* By the thread that committed: the answers go out, or it is our bug. The lock is held, but not
 * meanwhile. */
static void settled(struct engine *e, enum store_outcome got, const struct bt_err *err)
{
    struct work w = e->in_flight;

    if (got == STORE_BUG) {
        e->bug_err = *err;
        e->flight = FLIGHT_BUG;
        return;
    }
    e->status.n_batches++;
    e->status.n_events += w.n;
    e->in_flight = (struct work){0};
    e->down = false;
    if (got != STORE_COMMITTED)
        engine_work_done(&w);
    else if (are_few(e, &w))
        give_out_here(e, &w);
    else
        give_out(e, &w);
}

/* The next batch leaves, if there is one. The lock is held, but not meanwhile. */
static void go_on(struct engine *e, bool committed)
{
    bool was_full = !e->stepping && engine_is_full(e);

    if (committed && e->queue && !e->stepping && !was_full)
        step_here(e);
    e->flight = FLIGHT_NONE;
    if (!e->stepping) /* spares the database the wait for two threads to wake */
        engine_hand_over(e);
    if (e->queue || was_full || e->core_waits) /* it was not told of what came meanwhile */
        pthread_cond_signal(&e->to_core);
}

void *engine_store_loop(void *arg)
{
    struct engine *e = arg;

    pthread_mutex_lock(&e->lock);
    for (;;) {
        struct bt_err err = {0};
        enum store_outcome got;

        while (e->flight != FLIGHT_COMMIT && !e->store_ends)
            pthread_cond_wait(&e->to_store, &e->lock);
        if (e->flight != FLIGHT_COMMIT)
            break;
        pthread_mutex_unlock(&e->lock);
        got = commit(e, e->in_flight.batch, &err);
        if (got == STORE_FENCED)
            e->set.fatal(e->set.arg, &err);
        pthread_mutex_lock(&e->lock);
        settled(e, got, &err);
        if (e->flight == FLIGHT_COMMIT)
            go_on(e, got == STORE_COMMITTED);
        if (e->flight == FLIGHT_BUG || e->stopping)
            pthread_cond_signal(&e->to_core);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* The same batch is the store thread's, which may wait and try again. The lock is held. */
static void to_store_thread(struct engine *e)
{
    e->flight = FLIGHT_COMMIT;
    pthread_cond_signal(&e->to_store);
}

/* Nothing is on its way, and everything earlier is given out. The lock is held. */
static bool is_quiet(const struct engine *e)
{
    return e->flight == FLIGHT_NONE && !e->out && !e->giving && !e->down && !e->stopping;
}

/* Few events with none behind them, while the store thread rests and everything earlier is given
 * out: committed by the core thread, since waking another costs more than the stepping
 * that could go on beside it. One try: what is not settled by it is the store thread's, with the
 * same batch. The lock is held, but not meanwhile. False: nothing was done. */
bool engine_commit_here(struct engine *e)
{
    struct bt_err err = {0};
    enum store_outcome got;

    if (e->filling.n == 0 || e->filling.n > FEW || e->queue || !is_quiet(e))
        return false;
    engine_take_off(e, FLIGHT_HERE);
    pthread_mutex_unlock(&e->lock);
    got = store_commit(e->store, e->in_flight.batch, &err);
    if (got == STORE_FENCED)
        e->set.fatal(e->set.arg, &err);
    pthread_mutex_lock(&e->lock);
    if (got == STORE_RETRY || got == STORE_DOWN) {
        if (got == STORE_DOWN)
            note_down(e, &err);
        to_store_thread(e);
        return true;
    }
    settled(e, got, &err);
    if (e->flight == FLIGHT_HERE)
        e->flight = FLIGHT_NONE;
    return true;
}

/* ---- by a thread of another's ---- */

/* The engine rests, and what waits is little. The lock is held. */
static bool rests(const struct engine *e)
{
    return is_quiet(e) && !e->stepping && e->filling.n == 0 && e->n_queue <= TURN_MAX;
}

/* As the core thread would. The lock is held, but not meanwhile. */
static void step_turn(struct engine *e)
{
    struct event *ev = engine_take_events(e, TURN_MAX);

    e->status.seq = e->seq;
    e->status.n_jobs = core_n_jobs(e->core);
    e->stepping = true;
    pthread_mutex_unlock(&e->lock);
    engine_step_list(e, ev);
    engine_maybe_plan(e);
    pthread_mutex_lock(&e->lock);
    e->stepping = false;
}

/* What was stepped is put on its way; nobody waits for it here. The lock is held, but not
 * meanwhile. */
static void send_off(struct engine *e, const void *self)
{
    struct batch *b = e->filling.batch;
    bool sent = false;

    engine_take_off(e, FLIGHT_HERE);
    pthread_mutex_unlock(&e->lock);
    if (b->rows.n)
        sent = store_send(e->store, b);
    pthread_mutex_lock(&e->lock);
    e->away_by = self;
    e->away_us = bt_mono_us();
    if (!sent && b->rows.n) {
        to_store_thread(e);
    } else if (sent) {
        e->flight = FLIGHT_AWAY;
    } else { /* there is nothing to commit */
        settled(e, STORE_COMMITTED, NULL);
        e->flight = FLIGHT_NONE;
    }
}

/* Few events while the engine rests. The core thread is woken for a plan before it would wake. The
 * lock is held, but not meanwhile. */
static void turn_here(struct engine *e, const void *self)
{
    step_turn(e);
    if (core_plan_is_due(e->core) && !e->planning && e->next_plan_us < e->wake_us)
        pthread_cond_signal(&e->to_core);
    if (is_quiet(e))
        send_off(e, self);
}

/* The lock is held, but not while answers go out. */
static void look_for_answer(struct engine *e)
{
    enum store_answer answer = store_answered(e->store);

    if (answer == STORE_SAYS_ELSE)
        to_store_thread(e);
    if (answer != STORE_SAYS_DONE)
        return;
    e->flight = FLIGHT_HERE;
    settled(e, STORE_COMMITTED, NULL);
    e->flight = FLIGHT_NONE;
}

/* Of who does not look for an answer in time, or as the daemon ends. */
void engine_relieve(struct engine *e)
{
    if (e->flight == FLIGHT_AWAY && (e->stopping || bt_mono_us() > e->away_us + RELIEVE_US))
        to_store_thread(e);
}

int engine_turn(struct engine *e, const void *self)
{
    int fd = -1;

    pthread_mutex_lock(&e->lock);
    if (e->flight == FLIGHT_AWAY)
        look_for_answer(e);
    if (e->queue && rests(e))
        turn_here(e, self);
    if (!e->stepping) /* the core thread may have stepped more meanwhile */
        engine_hand_over(e);
    if (e->flight == FLIGHT_AWAY && e->n_queue > FEW)
        to_store_thread(e); /* which takes them along: this thread has others to serve */
    if (e->core_waits || e->stopping ||
        (e->queue && (e->flight == FLIGHT_NONE || e->n_queue > TURN_MAX)))
        pthread_cond_signal(&e->to_core); /* else whoever commits does so */
    if (e->flight == FLIGHT_AWAY && (e->away_by == self || e->queue))
        fd = store_socket(e->store);
    pthread_mutex_unlock(&e->lock);
    return fd;
}
