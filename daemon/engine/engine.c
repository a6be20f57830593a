/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/engine/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

/* Events of a batch and the batch that they made. */
struct work {
    struct work *next; /* while it waits to be given out */
    struct batch *batch;
    struct event *first, **last;
    int n;
};

enum flight { FLIGHT_NONE, FLIGHT_COMMIT, FLIGHT_BUG };

enum {
    WAKE_EVERY = 8,
    STOP_PATIENCE_US = 5000000,
    FEW = 4,             /* events whose answers the store thread gives out itself */
    CARRY_ON_US = 25000, /* a plan that took longer is not made twice, to be carried on */
};

struct engine {
    struct engine_settings set;
    struct store *store;
    struct core *core; /* of the thread that steps */
    pthread_t core_thread, store_thread, out_thread, plan_thread;
    pthread_mutex_t lock;
    pthread_cond_t to_core, to_store, to_out, to_plan;

    /* under the lock */
    struct event *queue, **queue_end;
    int n_queue;
    int64_t stop_us; /* monotonic, when it was told to stop */
    struct work in_flight;
    enum flight flight;
    struct work *out, **out_end; /* committed, in order, not given out yet */
    bool giving, out_ends;       /* the out thread is at work; shall end */
    bool stopping, store_ends, down;
    bool behind; /* set before the threads start */
    struct bt_err down_err, bug_err;
    struct plan *to_do; /* a snapshot that waits for the planner */
    struct plan *latest;
    bool planning;
    struct engine_status status;

    /* of the thread that steps, else under the lock */
    struct work filling;
    uint64_t seq;
    bool stepping;   /* the core thread, or the store thread between two batches */
    bool core_waits; /* under the lock: for the store thread to end that */

    /* of the thread that steps */
    uint64_t rng;
    int64_t clock_base_us, mono_base_us; /* PostgreSQL's clock at start, carried on monotonically */
    int64_t next_tick_us, next_plan_us;  /* monotonic */
};

static int64_t now_us(const struct engine *e)
{
    return e->clock_base_us + (bt_mono_us() - e->mono_base_us);
}

/* ---- work ---- */

static struct work work_new(void)
{
    return (struct work){.batch = batch_new()};
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

static void events_free(struct event *ev)
{
    while (ev) {
        struct event *next = ev->next;

        event_free(ev);
        ev = next;
    }
}

static void work_done(struct work *w)
{
    batch_free(w->batch);
    events_free(w->first);
    *w = (struct work){0};
}

/* ---- queue ---- */

static int refuse_behind(const struct engine *e, struct bt_err *err)
{
    return bt_next(err,
                   bt_fail(err, BT_ERR_BEHIND,
                           "the database ends at batch %" PRIu64 ", batch %" PRIu64
                           " was seen: it was restored from a copy, and is only read",
                           e->seq, e->set.known_seq),
                   "stop the daemon, then: beamtimed recover");
}

int engine_commands(struct engine *e, struct bt_err *err)
{
    return e->behind ? refuse_behind(e, err) : 0;
}

int engine_post(struct engine *e, struct event *ev, struct bt_err *err)
{
    int rc = 0;

    pthread_mutex_lock(&e->lock);
    if (e->stopping)
        rc = bt_fail(err, BT_ERR_BUSY, "the daemon is stopping");
    else if (e->behind)
        rc = refuse_behind(e, err);
    else if (ev->reply_to && e->down)
        rc = bt_fail(err, (enum bt_errno)e->down_err.code, "%s", e->down_err.text);
    else if (ev->reply_to && e->n_queue >= ENGINE_QUEUE_MAX)
        rc = bt_fail(err, BT_ERR_BUSY, "%d requests are waiting", e->n_queue);
    if (rc == 0) {
        ev->next = NULL;
        *e->queue_end = ev;
        e->queue_end = &ev->next;
        e->n_queue++;
        /* While a batch is being committed the core need not wake for each event: it is woken when
         * that ends, and now and then so that stepping and committing overlap. */
        if (e->n_queue == 1 ? e->flight == FLIGHT_NONE : e->n_queue % WAKE_EVERY == 0)
            pthread_cond_signal(&e->to_core);
    }
    pthread_mutex_unlock(&e->lock);
    return rc;
}

/* Up to `max` events off the queue; the lock is held. */
static struct event *take_events(struct engine *e, int max)
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

static void stamp(struct engine *e, struct event *ev)
{
    ev->at_us = now_us(e);
    e->rng ^= e->rng << 13;
    e->rng ^= e->rng >> 7;
    e->rng ^= e->rng << 17;
    ev->seed = e->rng;
}

static void step(struct engine *e, struct event *ev)
{
    core_step(e->core, ev, e->filling.batch);
    work_keep(&e->filling, ev);
}

/* ---- planning ---- */

static int64_t plan_once(struct plan *p, const struct plan *last)
{
    struct bt_err err = {0};
    int64_t began = bt_mono_us();

    p->in.last = last ? &last->out : NULL;
    if (sched_plan(&p->in, &p->out, &err) == 0) {
        plan_made(p);
        if (bt_mono_us() - began <= CARRY_ON_US)
            plan_carry_on(p);
    } else {
        bt_log_err(BT_ERROR, "plan-failed", &err);
    }
    p->in.last = NULL;
    return bt_mono_us() - began;
}

static void *plan_loop(void *arg)
{
    struct engine *e = arg;

    pthread_mutex_lock(&e->lock);
    for (;;) {
        struct plan *p;
        struct plan *last;
        struct event *ev;
        int64_t took;

        while (!e->to_do && !e->stopping)
            pthread_cond_wait(&e->to_plan, &e->lock);
        if (e->stopping)
            break;
        p = BT_TAKE(e->to_do);
        last = e->latest ? plan_ref(e->latest) : NULL;
        pthread_mutex_unlock(&e->lock);
        took = plan_once(p, last);
        plan_unref(last);
        ev = event_new(EV_PLAN_READY);
        ev->u.plan_ready.plan = plan_ref(p);
        if (!p->planned || engine_post(e, ev, NULL) < 0)
            event_free(ev);
        pthread_mutex_lock(&e->lock);
        if (p->planned) {
            plan_unref(e->latest);
            e->latest = p;
        } else {
            plan_unref(p);
        }
        e->status.plan_us = took;
        e->planning = false;
        pthread_cond_signal(&e->to_core); /* the next one may be due */
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* Before anybody is served: from the first moment each waiting job has a start. */
static void first_plan(struct engine *e)
{
    struct plan *p = core_snapshot(e->core, e->seq);
    struct event *ev;

    e->status.plan_us = plan_once(p, NULL);
    if (!p->planned) {
        plan_unref(p);
        return;
    }
    ev = event_new(EV_PLAN_READY);
    ev->u.plan_ready.plan = plan_ref(p);
    e->latest = p;
    stamp(e, ev);
    step(e, ev);
}

struct plan *engine_plan(struct engine *e)
{
    struct plan *p;

    pthread_mutex_lock(&e->lock);
    p = e->latest ? plan_ref(e->latest) : NULL;
    pthread_mutex_unlock(&e->lock);
    return p;
}

/* At most once a second and half a core: the next may begin after as long as the last took. */
static void maybe_plan(struct engine *e)
{
    int64_t mono = bt_mono_us();

    if (!core_plan_is_due(e->core) || mono < e->next_plan_us)
        return;
    pthread_mutex_lock(&e->lock);
    if (!e->planning && !e->to_do) {
        e->to_do = core_snapshot(e->core, e->seq);
        e->planning = true;
        e->next_plan_us = mono + BT_MAX(BT_US_PER_S, 2 * e->status.plan_us);
        pthread_cond_signal(&e->to_plan);
    }
    pthread_mutex_unlock(&e->lock);
}

/* ---- loading ---- */

static int load_row(void *arg, enum row_kind kind, const void *row, struct bt_err *err)
{
    return core_load(arg, kind, row, err);
}

/* A core as the database has it; replaces e->core on success. */
static int load_core(struct engine *e, struct bt_err *err)
{
    struct core *core = core_new(&e->set.core);
    struct store_loaded loaded = {0};
    int rc =
        store_load(e->store, now_us(e) - e->set.core.id_window_us, load_row, core, &loaded, err);

    if (rc >= 0)
        rc = core_loaded(core, now_us(e), loaded.ledger_size, loaded.last_number, err);
    if (rc < 0) {
        core_free(core);
        return rc;
    }
    core_policy(core, e->set.policy);
    core_free(e->core);
    e->core = core;
    e->seq = loaded.seq;
    if (loaded.pg_clock_us && !e->clock_base_us) {
        e->clock_base_us = loaded.pg_clock_us;
        e->mono_base_us = bt_mono_us();
    }
    return 0;
}

/* ---- the core thread ---- */

/* What was stepped goes to the store thread, if that is free. The lock is held. */
static void hand_over(struct engine *e)
{
    if (e->flight != FLIGHT_NONE || e->filling.n == 0)
        return;
    if (e->filling.batch->rows.n)
        e->filling.batch->seq = ++e->seq;
    e->in_flight = e->filling;
    e->filling = work_new();
    e->flight = FLIGHT_COMMIT;
    pthread_cond_signal(&e->to_store);
}

/* A daemon that is told to stop does not wait for ever for a database that is gone: what was not
 * committed was not acknowledged either. */
static bool given_up(struct engine *e)
{
    bool yes;

    pthread_mutex_lock(&e->lock);
    yes = e->stopping && bt_mono_us() > e->stop_us + STOP_PATIENCE_US;
    pthread_mutex_unlock(&e->lock);
    return yes;
}

/* Commits one event's batch now, in this thread, while the store thread rests. */
static bool settle_alone(struct engine *e, struct event *ev)
{
    struct work w = work_new();
    struct bt_err err = {0};
    enum store_outcome got;

    core_step(e->core, ev, w.batch);
    if (w.batch->rows.n)
        w.batch->seq = e->seq + 1;
    do
        got = store_commit(e->store, w.batch, &err);
    while (got == STORE_RETRY || (got == STORE_DOWN && !given_up(e)));
    if (got == STORE_COMMITTED) {
        e->seq += w.batch->rows.n != 0;
        e->set.committed(e->set.arg, w.batch);
    } else if (got == STORE_FENCED) {
        e->set.fatal(e->set.arg, &err);
    } else {
        bt_log_err(BT_ERROR, "event-refused-by-database", &err);
    }
    work_done(&w);
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
    work_done(&e->in_flight);
    work_done(&e->filling);
    if (load_core(e, &err) < 0)
        e->set.fatal(e->set.arg, &err);
    while (kept) {
        struct event *ev = kept;

        kept = ev->next;
        ev->next = NULL;
        if (!settle_alone(e, ev)) {
            if (ev->reply_to)
                answer_500(e, ev, &e->bug_err);
            if (load_core(e, &err) < 0)
                e->set.fatal(e->set.arg, &err);
        }
        event_free(ev);
    }
    e->filling = work_new();
}

static void wait_for_work(struct engine *e)
{
    struct timespec until;
    int64_t wake = e->next_tick_us;
    int64_t left;

    if (core_plan_is_due(e->core) && !e->planning)
        wake = BT_MIN(wake, e->next_plan_us);
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

static bool full(const struct engine *e)
{
    return e->filling.n >= ENGINE_BATCH_MAX;
}

static void step_list(struct engine *e, struct event *ev)
{
    while (ev) {
        struct event *next = ev->next;

        stamp(e, ev);
        step(e, ev);
        ev = next;
    }
}

static void step_all(struct engine *e, struct event *ev)
{
    step_list(e, ev);
    if (bt_mono_us() >= e->next_tick_us && !full(e)) {
        struct event *tick = event_new(EV_TICK);

        stamp(e, tick);
        step(e, tick);
        e->next_tick_us = bt_mono_us() + BT_US_PER_S;
    }
    maybe_plan(e);
}

static void *core_loop(void *arg)
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
        hand_over(e);
        idle = !e->queue || full(e);
        if (e->stopping && !e->queue && e->filling.n == 0 && e->flight == FLIGHT_NONE)
            break;
        if (idle && (full(e) || bt_mono_us() < e->next_tick_us)) {
            if (full(e) || e->stopping)
                pthread_cond_wait(&e->to_core, &e->lock);
            else
                wait_for_work(e);
            if (e->flight == FLIGHT_BUG || e->stepping || full(e))
                continue;
        }
        ev = take_events(e, ENGINE_BATCH_MAX - e->filling.n);
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

/* ---- the store thread ---- */

static void went_down(struct engine *e, const struct bt_err *err, int64_t *wait_us)
{
    struct timespec until;

    bt_log_err(BT_WARN, "store-down", err);
    pthread_mutex_lock(&e->lock);
    e->down = true;
    e->down_err = *err;
    if (!e->down_err.code)
        bt_fail(&e->down_err, BT_ERR_DB_RETRY, "the database does not answer");
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
            if (given_up(e))
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

static void *out_loop(void *arg)
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
        work_done(w);
        bt_free(w);
        pthread_mutex_lock(&e->lock);
        e->giving = false;
        if (e->flight == FLIGHT_BUG)
            pthread_cond_signal(&e->to_core);
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* Nothing is being committed or given out. The lock is held, but not meanwhile. */
static void give_out_here(struct engine *e, const struct work *w)
{
    e->giving = true;
    pthread_mutex_unlock(&e->lock);
    e->set.committed(e->set.arg, w->batch);
    pthread_mutex_lock(&e->lock);
    e->giving = false;
}

/* What came too late to wake the core thread for goes into the batch that leaves now: a batch
 * costs the database far more than a row, and waking that thread more than a step. The lock is
 * held, but not meanwhile. */
static void step_here(struct engine *e)
{
    struct event *ev = take_events(e, ENGINE_BATCH_MAX - e->filling.n);

    e->stepping = true;
    pthread_mutex_unlock(&e->lock);
    step_list(e, ev);
    pthread_mutex_lock(&e->lock);
    e->stepping = false;
}

static void settled(struct engine *e, enum store_outcome got, const struct bt_err *err)
{
    struct work w = e->in_flight;

    if (got == STORE_BUG) {
        pthread_mutex_lock(&e->lock);
        e->bug_err = *err;
        e->flight = FLIGHT_BUG;
    } else {
        bool was_full;

        if (got == STORE_FENCED)
            e->set.fatal(e->set.arg, err);
        pthread_mutex_lock(&e->lock);
        was_full = !e->stepping && full(e);
        e->status.n_batches++;
        e->status.n_events += e->in_flight.n;
        e->in_flight = (struct work){0};
        e->down = false;
        if (got == STORE_COMMITTED && e->queue && !e->stepping && !full(e)) {
            give_out(e, &w);
            w = (struct work){0};
            step_here(e);
        }
        e->flight = FLIGHT_NONE;
        if (!e->stepping) /* spares the database the wait for two threads to wake */
            hand_over(e);
        if (e->queue || was_full || e->core_waits) /* it was not told of what came meanwhile */
            pthread_cond_signal(&e->to_core);
        if (got == STORE_COMMITTED && w.batch && w.n <= FEW && e->flight == FLIGHT_NONE &&
            !e->stepping && !e->queue && !e->out && !e->giving) {
            give_out_here(e, &w);
        } else if (got == STORE_COMMITTED && w.batch) {
            give_out(e, &w);
            w = (struct work){0};
        }
    }
    if (e->flight == FLIGHT_BUG || e->stopping)
        pthread_cond_signal(&e->to_core);
    pthread_mutex_unlock(&e->lock);
    if (got != STORE_BUG)
        work_done(&w);
}

static void *store_loop(void *arg)
{
    struct engine *e = arg;

    for (;;) {
        struct bt_err err = {0};
        enum store_outcome got;

        pthread_mutex_lock(&e->lock);
        while (e->flight != FLIGHT_COMMIT && !e->store_ends)
            pthread_cond_wait(&e->to_store, &e->lock);
        if (e->flight != FLIGHT_COMMIT) {
            pthread_mutex_unlock(&e->lock);
            return NULL;
        }
        pthread_mutex_unlock(&e->lock);
        got = commit(e, e->in_flight.batch, &err);
        settled(e, got, &err);
    }
}

/* ---- life ---- */

static void init_locks(struct engine *e)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&e->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&e->to_core, &attr);
    pthread_cond_init(&e->to_store, &attr);
    pthread_cond_init(&e->to_out, &attr);
    pthread_cond_init(&e->to_plan, &attr);
    pthread_condattr_destroy(&attr);
}

static void engine_free(struct engine *e)
{
    events_free(e->queue);
    work_done(&e->filling);
    work_done(&e->in_flight);
    plan_unref(e->to_do);
    plan_unref(e->latest);
    core_free(e->core);
    store_close(e->store);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->to_core);
    pthread_cond_destroy(&e->to_store);
    pthread_cond_destroy(&e->to_out);
    pthread_cond_destroy(&e->to_plan);
    bt_free(e);
}

/* What was loaded must be known outside before the first event is stepped. */
static void announce(struct engine *e)
{
    struct batch *b = batch_new();

    if (!e->behind) { /* no cluster is reconciled with what may be old */
        core_sites(e->core, b);
        core_wants(e->core, b);
    }
    core_credentials(e->core, b);
    b->seq = e->seq; /* as loaded */
    e->set.committed(e->set.arg, b);
    batch_free(b);
}

static int begin(struct engine *e, struct bt_err *err)
{
    uint64_t seq;
    int rc = store_open(&e->set.store, &e->store, err);

    if (rc >= 0)
        rc = store_lead(e->store, &e->status.epoch, &seq, err);
    if (rc >= 0)
        rc = load_core(e, err);
    return rc;
}

int engine_start(const struct engine_settings *settings, struct engine **ret, struct bt_err *err)
{
    struct engine *e = bt_new(struct engine);
    struct event *policy;
    int rc;

    e->set = *settings;
    e->queue_end = &e->queue;
    e->out_end = &e->out;
    init_locks(e);
    e->filling = work_new();
    e->mono_base_us = bt_mono_us();
    if (getrandom(&e->rng, sizeof e->rng, 0) != (ssize_t)sizeof e->rng || !e->rng)
        e->rng = 88172645463325252u;
    e->clock_base_us = bt_now_us();
    rc = begin(e, err);
    if (rc < 0) {
        engine_free(e);
        return rc;
    }
    e->behind = e->set.known_seq > e->seq;
    e->next_tick_us = bt_mono_us() + BT_US_PER_S;
    announce(e);
    policy = event_new(EV_POLICY);
    policy->u.policy.policy = e->set.policy;
    policy->u.policy.text = bt_strdup(e->set.policy_text ? e->set.policy_text : "");
    stamp(e, policy);
    if (e->behind)
        event_free(policy);
    else
        step(e, policy);
    if (!e->behind)
        first_plan(e);
    if (pthread_create(&e->core_thread, NULL, core_loop, e) ||
        pthread_create(&e->store_thread, NULL, store_loop, e) ||
        pthread_create(&e->out_thread, NULL, out_loop, e) ||
        pthread_create(&e->plan_thread, NULL, plan_loop, e)) {
        /* Threads that run cannot be taken back here: the caller ends the process. */
        return bt_fail(err, BT_ERR_INTERNAL, "a thread could not be started");
    }
    *ret = e;
    return 0;
}

void engine_status(struct engine *e, struct engine_status *ret)
{
    pthread_mutex_lock(&e->lock);
    *ret = e->status;
    ret->n_waiting = e->n_queue;
    ret->writable = !e->down && !e->stopping && !e->behind;
    ret->behind = e->behind;
    pthread_mutex_unlock(&e->lock);
}

void engine_stop(struct engine *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    e->stop_us = bt_mono_us();
    pthread_cond_broadcast(&e->to_core);
    pthread_cond_broadcast(&e->to_store);
    pthread_cond_broadcast(&e->to_plan);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->plan_thread, NULL);
    pthread_join(e->core_thread, NULL);
    pthread_join(e->store_thread, NULL);
    pthread_mutex_lock(&e->lock);
    e->out_ends = true;
    pthread_cond_signal(&e->to_out);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->out_thread, NULL);
    engine_free(e);
}
