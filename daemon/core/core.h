/* core.h - the one state machine of the facility: events in, batches out. Pure: no I/O, no clock.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One thread. core_step changes memory at once and never fails: a refusal is a
 * reply. Memory may run ahead of PostgreSQL by two batches; whoever drives the
 * core keeps the events until their batch is settled (daemon/engine). */
#ifndef BT_DAEMON_CORE_CORE_H
#define BT_DAEMON_CORE_CORE_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/batch.h"
#include "daemon/core/event.h"
#include "daemon/core/rows.h"

struct core;
struct plan; /* daemon/core/plan_view.h */

struct core_settings {
    const char *facility;         /* "beamtime.example": host part of names, origin of the ledger */
    int64_t id_window_us;         /* how old a request's id may be: 24 h */
    int64_t claim_timeout_us;     /* an attempt not claimed after this is closed */
    int64_t lease_us;             /* a silent shepherd has stopped its ranks after this */
    int64_t grace_after_start_us; /* no node is called down so soon after an epoch began */
    int64_t node_silent_us;       /* a node silent for this is down */
    int64_t upload_timeout_us;    /* finishing → terminal without a manifest */
    int32_t max_queued_per_person;
    int32_t preflight_nodes; /* least nodes of a gang that is tried before its start; 0: policy's */
    int64_t pairs_every_us;  /* how often nodes of two switches measure together; 0: when asked */
};

struct core_settings core_defaults(const char *facility);

struct core *core_new(const struct core_settings *settings);
void core_free(struct core *core);

/* Takes one row of the database in, kinds in the order of rows.def; texts are copied.
 * BT_ERR_INVALID when rows contradict each other. */
int core_load(struct core *core, enum row_kind kind, const void *row,
              struct bt_err *err) BT_MUSTUSE;
/* After the last row: checks that the accounts balance and derives what is not stored. */
int core_loaded(struct core *core, int64_t epoch_start_us, int64_t ledger_size, int64_t last_number,
                struct bt_err *err) BT_MUSTUSE;

/* The rules in force, borrowed; EV_POLICY sets them too and records their digest. */
struct policy;
void core_policy(struct core *core, const struct policy *policy);

void core_step(struct core *core, const struct event *ev, struct batch *batch);

/* Wants of every attempt that is not over, for a cluster back end that starts anew. */
void core_wants(const struct core *core, struct batch *into);
/* Every site, for the drivers of their clusters at start. */
void core_sites(const struct core *core, struct batch *into);
/* Every credential, for the HTTP threads' table at start. */
void core_credentials(const struct core *core, struct batch *into);

/* A flat copy of what the planner needs, with one reference; clears core_plan_is_due. */
struct plan *core_snapshot(struct core *core, uint64_t seq);
bool core_plan_is_due(const struct core *core); /* something a plan depends on has changed */

/* Folds all persistent state into 64 bits, independent of hash order. */
uint64_t core_digest(const struct core *core);

/* "p12": how entries of the ledger name a person, by the row's number. */
void person_leaf_name(int32_t person, char ret[16]);

size_t core_n_jobs(const struct core *core);

#endif
