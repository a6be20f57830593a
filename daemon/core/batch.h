/* batch.h - what a step of the core wants done, all or nothing: rows, then replies, wants, views.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Nothing of a batch leaves the process before its rows are committed. */
#ifndef BT_DAEMON_CORE_BATCH_H
#define BT_DAEMON_CORE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/rows.h"
#include "lib/base/err.h"
#include "lib/base/uuid.h"
#include "lib/domain/job.h"

struct plan_pending; /* daemon/sched/plan.h */

/* The answer to one request. http is 2xx with a JSON body, or err says what is wrong and
 * `more` adds members to the problem document ("missing": [...]). */
struct reply {
    uint64_t to;
    int http;
    struct bt_err err; /* code 0: fine */
    char *body;        /* JSON text, owned; NULL: none */
    char *more;        /* JSON members without braces, owned; NULL: none */
    /* of an enrolment: whom to issue the certificate to */
    char kind[16];   /* person, agent, helper, server, operator */
    char nation[16]; /* "" for the operator's CA */
    char subject[64];
    /* of a dry run that would be accepted: what the planner would be asked; owned */
    struct plan_pending *ask;
};

enum want_action {
    WANT_RUN,  /* the attempt shall run at its places */
    WANT_STOP, /* it shall stop: signal, wait grace_s, kill */
    WANT_GONE, /* nothing of it is wanted any more: forget it, kill what is left */
};

struct place {
    int32_t node; /* node id */
    uint64_t mask;
};

enum { WANT_PLACES_INLINE = 1 };

/* Desired state of one attempt, derived from the job's row; repeating it is harmless. */
struct want {
    struct bt_uuid job;
    int64_t number;
    int32_t attempt;
    enum want_action action;
    int32_t site;
    int32_t n_places;
    struct place *places; /* owned; NULL unless RUN */
    char node[64];        /* name of the first place's node */
    int32_t walltime_s;
    int32_t grace_s;
    int32_t signal;
    int32_t tier;
    int32_t accelerators;
    char unixname[33]; /* "" : the site's default account */
    char account[96];  /* of its project in a Slurm cluster's accounting: "bt_cz_multilingual" */
    char kind[16];     /* job kind */
    bool claimed;      /* its shepherd was granted the claim */
    bool told;         /* GONE: its own agent said so, and need not hear it */
    bool settled;      /* GONE: also what it produced is fixed, so nothing of it has work left */
    char *hosts;       /* "n1,n2": the places' nodes; owned; only of a RUN at a Slurm cluster */
    int32_t per_host;  /* most accelerators that it has on one of them */
};

/* A job changed: wakes those who watch it. */
struct view_job {
    struct bt_uuid job;
    int64_t number;
    enum job_state state;
    int64_t start_us; /* of a queued job that no plan has yet; 0 = nothing new */
};

/* A credential was made or ended: the HTTP threads' table follows. */
struct view_credential {
    uint8_t spki[32];
    char kind[16];
    char nation[16]; /* "" for the operator's */
    char subject[64];
    int32_t nation_id;
    int32_t person; /* ROW_NULL32 if none */
    int32_t roles;
    bool active;  /* neither revoked nor of a suspended person or nation */
    bool revoked; /* why it is not */
    int64_t not_after_us;
};

/* A site was made or changed: its driver follows. */
struct view_site {
    int32_t id;
    char name[32];
    char kind[16];
    char state[16];
    char *conf; /* JSON, owned; NULL: none */
};

/* What a node's agent shall know of a trial; id 0: it is in none. */
struct view_trial {
    char node[64];
    int64_t id;
    int32_t rank, world, deadline_s;
    char address[160]; /* of rank 0; "" : not known yet, or this is rank 0 */
    char secret[65];
};

struct batch {
    uint64_t id;  /* of this batch in this process, never 0 */
    uint64_t seq; /* core_head.seq after this batch; set by the engine before the commit */
    struct rows rows;
    struct reply *replies;
    int n_replies, cap_replies;
    struct want *wants;
    int n_wants, cap_wants;
    struct view_job *jobs;
    int n_jobs, cap_jobs;
    struct view_credential *credentials;
    int n_credentials, cap_credentials;
    struct view_site *sites;
    int n_sites, cap_sites;
    struct view_trial *trials;
    int n_trials, cap_trials;
    int64_t ledger_size; /* leaves after this batch; 0 if it added none */
    int32_t n_events;    /* ordinal of the next event row */
};

struct batch *batch_new(void);
void batch_renew(struct batch *b); /* empty as a new one, with the room for rows that it has */
void batch_free(struct batch *b);
struct reply *batch_reply(struct batch *b, uint64_t to);
struct want *batch_want(struct batch *b);

#endif
