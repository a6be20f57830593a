/* own.h - what the files of the engine share: its state, and which thread may touch what.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_ENGINE_OWN_H
#define BT_DAEMON_ENGINE_OWN_H

#include <pthread.h>

#include "daemon/engine/engine.h"

/* Events of a batch and the batch that they made. */
struct work {
    struct work *next; /* while it waits to be given out */
    struct batch *batch;
    struct event *first, **last;
    int n;
};

/* A batch on its way to the database: by the store thread; by the thread that stepped it; sent, and
 * no thread is at it until its answer comes; refused by the database. */
enum flight { FLIGHT_NONE, FLIGHT_COMMIT, FLIGHT_HERE, FLIGHT_AWAY, FLIGHT_BUG };

enum {
    FEW = 4,       /* events that are not worth the waking of a further thread */
    TURN_MAX = 16, /* that a thread which is not the engine's steps and commits */
};
enum { ENGINE_SPARES = 3 }; /* one fills, one is committed, one is given out */

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
    const void *away_by;                 /* of FLIGHT_AWAY: who sent it and looks for the answer */
    int64_t away_us;                     /* and when (monotonic) */
    struct work *out, **out_end;         /* committed, in order, not given out yet */
    bool giving, out_ends;               /* the out thread is at work; shall end */
    struct batch *spares[ENGINE_SPARES]; /* emptied: their rows have room */
    int n_spares;
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
    bool stepping;   /* the core thread, the store thread between two batches, or engine_turn */
    bool core_waits; /* under the lock: for another thread to end that */
    int64_t wake_us; /* under the lock: so long it sleeps (monotonic) */

    /* of the thread that steps */
    uint64_t rng;
    int64_t clock_base_us, mono_base_us; /* PostgreSQL's clock at start, carried on monotonically */
    int64_t next_tick_us, next_plan_us;  /* monotonic */
};

/* PostgreSQL's clock at start, carried on monotonically. */
int64_t engine_now_us(const struct engine *e);

struct work engine_work(void);
void engine_work_done(struct work *w);
/* Frees its events and empties its batch, for engine_spare. */
void engine_work_renew(struct work *w);
void engine_spare(struct engine *e, struct batch *b); /* the lock is held; b is the engine's */
struct work engine_work_next(struct engine *e);       /* the lock is held */
int engine_load_core(struct engine *e, struct bt_err *err) BT_MUSTUSE; /* replaces e->core */

/* ---- step.c: by the thread that steps ---- */

void engine_stamp(struct engine *e, struct event *ev);
void engine_step(struct engine *e, struct event *ev);
void engine_step_list(struct engine *e, struct event *ev);
/* The lock is held for these. */
struct event *engine_take_events(struct engine *e, int max);
bool engine_is_full(const struct engine *e);
void engine_take_off(struct engine *e, enum flight flight); /* what was stepped is in flight */
void engine_hand_over(struct engine *e);

void *engine_core_loop(void *arg);

/* ---- commit.c ---- */

bool engine_given_up(struct engine *e);
bool engine_commit_here(struct engine *e); /* who stepped, with the lock held */
void engine_relieve(struct engine *e);     /* the lock is held */
void *engine_store_loop(void *arg);
void *engine_out_loop(void *arg);

/* ---- plan.c ---- */

void engine_first_plan(struct engine *e);
void engine_maybe_plan(struct engine *e);
void *engine_plan_loop(void *arg);

#endif
