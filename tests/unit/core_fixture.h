/* core_fixture.h - a core with people, quota and one node, its database a list of rows in memory.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_UNIT_CORE_FIXTURE_H
#define BT_TESTS_UNIT_CORE_FIXTURE_H

#include "daemon/core/core.h"
#include "daemon/core/plan_view.h"
#include "policy/tree.h"

/* What the database would hold after every batch so far: the last row of each key. */
struct fixture {
    struct core *core;
    struct policy *policy;
    struct rows db;
    int64_t now_us;
    uint64_t next_reply;
    struct batch *last; /* the batch of the last step, committed */
    bool carries_on;    /* plans are carried on as jobs end */
    /* Where batches go besides; NULL: nowhere. */
    void (*also)(struct fixture *f, struct batch *b);
    /* A core loaded from there, for fixture_compare. */
    struct core *(*reload)(struct fixture *f);
    void *also_arg;
};

void fixture_start(struct fixture *f);
void fixture_stop(struct fixture *f);
/* The same for cmocka: *state is the fixture. */
int core_setup(void **state);
int core_teardown(void **state);
/* The job's row in f->db; fails the test when there is none. */
const struct row_job_state *state_of(struct fixture *f, struct bt_uuid id);
/* What its present attempt was promised last, 0: nothing. */
int64_t promised_of(struct fixture *f, struct bt_uuid id);

/* Steps the event (freed), commits the batch to f->db and returns its reply to the event. */
const struct reply *fixture_step(struct fixture *f, struct event *ev);
/* A credential of `kind` whose key is 32 x key[0]. */
void fixture_enrol(struct fixture *f, const char *nation, const char *kind, const char *subject,
                   const char *key);
struct event *fixture_event(enum event_kind kind, const char *spki); /* key = 32 × spki[0] */
/* Alice asks for a job; fixture_submit steps it at once. */
struct event *fixture_ask(struct bt_uuid id, int32_t accelerators, int32_t walltime_s);
const struct reply *fixture_submit(struct fixture *f, struct bt_uuid id, int32_t accelerators,
                                   int32_t walltime_s);
struct event *fixture_planned(struct fixture *f);         /* snapshot, plan: plan_ready, to step */
void fixture_plan(struct fixture *f);                     /* and steps it */
void fixture_advance(struct fixture *f, int64_t seconds); /* a tick a second, node alive */
struct bt_uuid fixture_id(struct fixture *f);

/* Tests that link it get their batches committed to PostgreSQL too (tests/sql/core_backend.c). */
void fixture_backend(struct fixture *f) __attribute__((weak));

/* A second core loaded from the rows must fold to the same digest. */
void fixture_compare(struct fixture *f);
/* The same, and the second one goes on: the daemon was restarted. */
void fixture_restart(struct fixture *f);

/* keys of the fixture's people */
#define CHAIR "c"
#define ADMIN "z"
#define ALICE "a"
#define NODE1 "n"

#endif
