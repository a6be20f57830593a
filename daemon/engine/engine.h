/* engine.h - drives the core: one thread steps it, one commits its batches, one plans.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Events queue up while a batch is being committed and become the next batch: group commit
 * without a timer. Nothing of a batch is handed out before it is durable. Events are kept
 * until their batch is settled, so that a batch that the database refuses can be stepped again
 * one event at a time (the daemon's write protocol). */
#ifndef BT_DAEMON_ENGINE_ENGINE_H
#define BT_DAEMON_ENGINE_ENGINE_H

#include <stdint.h>

#include "daemon/core/core.h"
#include "daemon/core/plan_view.h"
#include "daemon/store/store.h"
#include "policy/tree.h"

struct engine;

enum {
    ENGINE_QUEUE_MAX = 4096, /* unanswered requests: about 100 ms of work, then 503 */
    ENGINE_BATCH_MAX = 1000, /* events of one batch: bounds a commit to some 20 ms */
};

struct engine_settings {
    struct store_settings store;
    struct core_settings core;
    const struct policy *policy; /* borrowed for the engine's life */
    const char *policy_text;     /* as loaded, recorded when its digest is new */
    /* The highest batch that anybody has seen committed. A database that has fewer was restored
     * from a copy: then reads go on, but nothing is stepped, engine_post fails, and no want goes
     * out, until `beamtimed recover`. */
    uint64_t known_seq;
    /* Called after each commit, in order, one at a time: replies, wants and views may go. */
    void (*committed)(void *arg, const struct batch *batch);
    /* Another daemon leads, or the database cannot be used any more: the process must end. */
    void (*fatal)(void *arg, const struct bt_err *err);
    void *arg;
};

/* Opens the store, takes the lead, loads the core and starts the threads. Before it returns
 * `committed` has been called once with the wants and credentials of what was loaded. */
int engine_start(const struct engine_settings *settings, struct engine **ret,
                 struct bt_err *err) BT_MUSTUSE;

/* Takes the event, and those behind it in `next`, over on success: they are stepped one after the
 * other, and all of them are durable when the last one is answered. BT_ERR_BUSY when too many
 * requests wait; the store's own error (503, 507) while it cannot write. On failure the events stay
 * the caller's. */
int engine_post(struct engine *e, struct event *ev, struct bt_err *err) BT_MUSTUSE;

/* The same by a thread that calls engine_turn before it waits for anything, and again as that says.
 */
int engine_post_soon(struct engine *e, struct event *ev, struct bt_err *err) BT_MUSTUSE;

/* Where the engine rests and few events were posted, the caller steps them, puts the batch on its
 * way and gives it out when it is committed: each thread that is woken on an event's way costs more
 * than its stepping. Else they are the core thread's. Does not block.
 * Returns -1, or a file descriptor: `self` (who calls, the same each time) waits for the database
 * then and shall call again when that is readable. One that does not is relieved of it within a
 * second or so. */
int engine_turn(struct engine *e, const void *self);

/* 0, or what engine_post says while nothing may be commanded (known_seq). */
int engine_commands(struct engine *e, struct bt_err *err) BT_MUSTUSE;

/* The last plan with a reference of the caller's (plan_unref); NULL before the first. */
struct plan *engine_plan(struct engine *e);

struct engine_status {
    uint64_t epoch, seq;
    int64_t n_waiting; /* events queued */
    int64_t n_batches; /* committed since start */
    int64_t n_events;
    int64_t plan_us; /* duration of the last plan */
    size_t n_jobs;
    bool writable;
    bool behind; /* known_seq is not in the database */
};
void engine_status(struct engine *e, struct engine_status *ret);

/* Steps and commits what is queued, then ends the threads. NULL is fine. */
void engine_stop(struct engine *e);

#endif
