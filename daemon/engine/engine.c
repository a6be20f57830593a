/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/engine/own.h"

#include <inttypes.h>
#include <sys/random.h>

#include "lib/base/mem.h"
#include "lib/base/time.h"

enum { WAKE_EVERY = 8 };

int64_t engine_now_us(const struct engine *e)
{
    return e->clock_base_us + (bt_mono_us() - e->mono_base_us);
}

/* ---- work ---- */

struct work engine_work(void)
{
    return (struct work){.batch = batch_new()};
}

void engine_work_done(struct work *w)
{
    batch_free(w->batch);
    event_free_list(w->first);
    *w = (struct work){0};
}

void engine_work_renew(struct work *w)
{
    batch_renew(w->batch);
    event_free_list(w->first);
    *w = (struct work){.batch = w->batch};
}

void engine_spare(struct engine *e, struct batch *b)
{
    if (e->n_spares < ENGINE_SPARES)
        e->spares[e->n_spares++] = b;
    else
        batch_free(b);
}

struct work engine_work_next(struct engine *e)
{
    return e->n_spares ? (struct work){.batch = e->spares[--e->n_spares]} : engine_work();
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

/* While a batch is being committed the core need not wake for each event: it is woken when that
 * ends, and now and then so that stepping and committing overlap. The lock is held. */
static bool wakes_core(const struct engine *e, int n_before)
{
    return n_before == 0 ? e->flight == FLIGHT_NONE
                         : e->n_queue / WAKE_EVERY > n_before / WAKE_EVERY;
}

/* The lock is held. */
static void queue_up(struct engine *e, struct event *ev)
{
    *e->queue_end = ev;
    for (; ev; ev = ev->next) {
        e->queue_end = &ev->next;
        e->n_queue++;
    }
}

static int post(struct engine *e, struct event *ev, bool soon, struct bt_err *err)
{
    bool asked = ev->reply_to != 0;
    int rc = 0;

    for (const struct event *x = ev->next; x; x = x->next)
        asked |= x->reply_to != 0;

    pthread_mutex_lock(&e->lock);
    if (e->stopping)
        rc = bt_fail(err, BT_ERR_BUSY, "the daemon is stopping");
    else if (e->behind)
        rc = refuse_behind(e, err);
    else if (asked && e->down)
        rc = bt_fail(err, (enum bt_errno)e->down_err.code, "%s", e->down_err.text);
    else if (asked && e->n_queue >= ENGINE_QUEUE_MAX)
        rc = bt_fail(err, BT_ERR_BUSY, "%d requests are waiting", e->n_queue);
    if (rc == 0) {
        int before = e->n_queue;

        queue_up(e, ev);
        if (!soon && wakes_core(e, before))
            pthread_cond_signal(&e->to_core);
    }
    pthread_mutex_unlock(&e->lock);
    return rc;
}

int engine_post(struct engine *e, struct event *ev, struct bt_err *err)
{
    return post(e, ev, false, err);
}

int engine_post_soon(struct engine *e, struct event *ev, struct bt_err *err)
{
    return post(e, ev, true, err);
}

/* ---- loading ---- */

static int load_row(void *arg, enum row_kind kind, const void *row, struct bt_err *err)
{
    return core_load(arg, kind, row, err);
}

/* A core as the database has it; replaces e->core on success. */
int engine_load_core(struct engine *e, struct bt_err *err)
{
    struct core *core = core_new(&e->set.core);
    struct store_loaded loaded = {0};
    int rc = store_load(e->store, engine_now_us(e) - e->set.core.id_window_us, load_row, core,
                        &loaded, err);

    if (rc >= 0)
        rc = core_loaded(core, engine_now_us(e), loaded.ledger_size, loaded.last_number, err);
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
    event_free_list(e->queue);
    engine_work_done(&e->filling);
    engine_work_done(&e->in_flight);
    while (e->n_spares)
        batch_free(e->spares[--e->n_spares]);
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
        rc = engine_load_core(e, err);
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
    e->filling = engine_work();
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
    engine_stamp(e, policy);
    if (e->behind)
        event_free(policy);
    else
        engine_step(e, policy);
    if (!e->behind)
        engine_first_plan(e);
    if (pthread_create(&e->core_thread, NULL, engine_core_loop, e) ||
        pthread_create(&e->store_thread, NULL, engine_store_loop, e) ||
        pthread_create(&e->out_thread, NULL, engine_out_loop, e) ||
        pthread_create(&e->plan_thread, NULL, engine_plan_loop, e)) {
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
