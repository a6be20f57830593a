/* event.h - what can happen to the facility: the input of core_step (CORE of the daemon).
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * An event owns its texts; event_free releases them. Events are made by the
 * HTTP threads (users, agents), the clusters, the planner and the clock, and
 * are stamped with time and seed when the core dequeues them. */
#ifndef BT_DAEMON_CORE_EVENT_H
#define BT_DAEMON_CORE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/uuid.h"
#include "lib/domain/job.h"
#include "lib/json/json.h"

enum event_kind {
    EV_SUBMIT,      /* a person asks for a job */
    EV_CANCEL,      /* a person ends a job */
    EV_HOLD,        /* a person holds a job back, or releases it */
    EV_RESULT,      /* a researcher's signed result */
    EV_ADMIN,       /* people, projects, quotas, clearances, nodes, rates */
    EV_ENROL,       /* a one-time token and a public key become a credential */
    EV_RENEW,       /* whoever asks has a credential: its certificate lasts longer */
    EV_CLAIM,       /* a shepherd asks to start its ranks */
    EV_STARTED,     /* its ranks run */
    EV_RANKS_ENDED, /* its ranks are gone, the accelerators are empty */
    EV_MANIFEST,    /* what the attempt produced */
    EV_NODE_REPORT, /* an agent registers, reports a change, or its heartbeat digest */
    EV_MEASURED,    /* an agent has run its collective benchmark */
    EV_TRIAL_OPEN,  /* the first node of a trial listens for the others */
    EV_TRIAL_ENDED, /* a node has run its part of a trial */
    EV_TICK,        /* the clock: deadlines, leases, expiries */
    EV_PLAN_READY,  /* the planner's answer to a snapshot */
    EV_POLICY,      /* new rules were loaded */
    EV_SITE,        /* a cluster: reachable or not, the state of its nodes */
    EV_UNPLACED,    /* a cluster has lost an attempt, or refused it, before its claim */
};

enum role {
    ROLE_RESEARCHER = 1,
    ROLE_LEAD = 2,
    ROLE_NATION_ADMIN = 4,
    ROLE_OPERATOR = 8,
    ROLE_COUNCIL = 16,
    ROLE_REVIEWER = 32,
};

/* The member "roles": their names. */
void roles_write(struct json_writer *w, int32_t roles);

enum principal_kind { WHO_NOBODY, WHO_PERSON, WHO_AGENT, WHO_HELPER, WHO_INSIDE };

/* Who makes the event: the key digest of the verified certificate. The core looks the
 * credential up itself (revocation, person, roles); nothing else of the peer is believed. */
struct principal {
    enum principal_kind kind;
    uint8_t spki[32];
    char issuer[16];  /* nation code of the issuing CA, "operator" for the operator's */
    char subject[64]; /* the id part of the SPIFFE name */
};

/* A task of an array: the same request under an id and a number of its own. */
struct ev_task {
    struct bt_uuid id;
    int32_t task;
    uint8_t spec_salt[32], spec_commit[32];
    char *text; /* owned */
};

struct ev_submit {
    struct job_spec spec;
    uint8_t body_sha256[32];
    uint8_t spec_salt[32];   /* random: opens spec_commit once the document may be shown */
    uint8_t spec_commit[32]; /* leaf_commit(spec_salt, text): what the ledger says of it */
    char *text;              /* the job document as it came, valid JSON; owned */
    bool dry_run;            /* answer as if, change nothing */
    struct ev_task
        *tasks; /* owned: the request makes these jobs instead of one; NULL: it does not */
    int32_t n_tasks;
    int32_t at_once; /* of them; 0: all */
};

struct ev_cancel {
    struct bt_uuid job;
    char *reason; /* owned, may be NULL */
};

struct ev_hold {
    struct bt_uuid job;
    bool release;
};

struct ev_result {
    struct bt_uuid id;
    uint8_t body_sha256[32]; /* of the request */
    struct bt_uuid job;
    int64_t record;  /* the machine record that it accounts for */
    char person[16]; /* who says it, as ledger entries name people */
    char *body;      /* canonical JSON of the result, lib/record/result.h; owned */
    uint8_t key[32]; /* the personal Ed25519 key that signed it (verified before) */
    uint8_t sig[64];
};

enum admin_op {
    ADMIN_NATION,      /* nation, name, state, spki = its CA's key digest */
    ADMIN_INSTITUTION, /* nation, institution, tier (-1: as it is), until_us (0: as it is) */
    ADMIN_PROJECT,     /* nation, project, name = title, tier and until_us as above, state */
    ADMIN_PERSON,      /* nation, person, name, institution, roles, state */
    ADMIN_CLEARANCE,   /* nation, person, tier, until_us */
    ADMIN_MEMBER,  /* nation, project, person_nation, person, text = "lead", "member", "" removes */
    ADMIN_QUOTA,   /* nation, project or "", person or "", amount_mras = new granted total,
                    * from_us, until_us, dry_run */
    ADMIN_TOKEN,   /* kind, nation, subject, secret_sha256, until_us: may enrol once */
    ADMIN_REVOKE,  /* spki, or nation + person: credentials end now */
    ADMIN_NODE,    /* node, state (up, draining, down; "": as it is), reason, until_us, tier (-1: as
                    * it is) */
    ADMIN_RATE,    /* class, rate_milli, peak_gflops, from_us */
    ADMIN_SITE,    /* site, kind, tier and until_us as above, state, conf */
    ADMIN_UNIXMAP, /* nation, person, site, text = Unix account */
    ADMIN_UNIXMAPS,  /* maps: all of them or none */
    ADMIN_GUARANTEE, /* nation, amount_mras = accelerators, from_us, until_us */
    ADMIN_MEASURE,   /* node: shall run its collective benchmark; kind = "pairs": between its switch
                        and the others */
    ADMIN_OUTAGE,  /* amount_mras = number (0 = new), kind, text = nodes, reason, from_us, until_us,
                    * name, nation, project or "" of a reservation for jobs;
                    * state = "over" calls it off, by number or name */
    ADMIN_DATASET, /* site, name, path, spki = digest or zero, amount_mras = bytes or 0; state =
                    * "removed": no longer */
    ADMIN_OPS
};

/* A line of a list of Unix accounts. */
struct unixmap_line {
    int32_t line; /* of the list, for messages */
    char nation[16];
    char person[64];
    char site[32];
    char unixname[33];
};

struct ev_admin {
    struct bt_uuid id; /* the request's idempotency key */
    uint8_t body_sha256[32];
    enum admin_op op;
    bool dry_run;
    char nation[16];
    char person_nation[16];
    char institution[64];
    char project[JOB_PROJECT_MAX];
    char person[64];
    char subject[64];
    char node[64];
    char site[32];
    char class[JOB_CLASS_MAX];
    char kind[16];
    char state[16];
    char name[128];
    char text[128];
    char reason[200];
    int32_t roles;
    int32_t tier;
    int64_t from_us;
    int64_t until_us;
    int64_t amount_mras;
    int64_t rate_milli;
    int64_t peak_gflops;
    uint8_t spki[32];
    uint8_t secret_sha256[32];
    char *conf;                /* JSON, owned; NULL leaves it as it is */
    char *path;                /* of a data set; owned */
    struct unixmap_line *maps; /* owned */
    int32_t n_maps;
};

struct ev_enrol {
    uint8_t token_sha256[32];
    uint8_t spki[32]; /* of the key in the signing request */
    int64_t not_after_us;
};

struct ev_renew {
    uint8_t spki[32]; /* of the key in the signing request */
    int64_t not_after_us;
};

struct ev_claim {
    struct bt_uuid job;
    int32_t attempt;
    char foreign_id[64]; /* of the cluster: "local:<boot>:<pid>", "slurm:<jobid>:<submit time>" */
};

struct ev_started {
    struct bt_uuid job;
    int32_t attempt;
    char foreign_id[64];
    int64_t ago_ms; /* that it was so when this was sent */
};

enum end_reason {
    END_EXITED,       /* by itself: exit_code or signal say how */
    END_WALLTIME,     /* stopped at its limit */
    END_STOPPED,      /* stopped on our want (cancel, preemption) */
    END_START_FAILED, /* the ranks could not be started */
    END_LOST,         /* the shepherd vanished */
};

struct ev_manifest {
    struct bt_uuid job;
    int32_t attempt;
    uint8_t root[32];   /* RFC 6962 root over the manifest's lines */
    uint8_t sha256[32]; /* of the manifest's text, a blob */
    int64_t files;
    int64_t bytes;
    bool incomplete;
    char metrics[512]; /* JSON object of decimal strings: the last values of the run; may be "" */
};

struct ev_ranks_ended {
    struct bt_uuid job;
    int32_t attempt;
    enum end_reason reason;
    int32_t exit_code;
    int32_t signal;
    bool checkpointed; /* exit status 85, or a checkpoint was seen after the signal */
    int64_t ckpt_us;   /* last write to its checkpoint folder; 0 = none known */
    char text[200];    /* one sentence of the shepherd, may be "" */
    bool has_manifest; /* nothing is left to gather */
    struct ev_manifest manifest;
};

struct live_attempt {
    struct bt_uuid job;
    int32_t attempt;
    int64_t ckpt_us; /* last write to its checkpoint folder; 0 = none known */
};

struct ev_node_report {
    char node[64];
    char class[JOB_CLASS_MAX];
    int32_t n_acc;
    bool registers;            /* carries the inventory; else a heartbeat */
    char *inventory;           /* JSON, owned; NULL in a heartbeat */
    struct live_attempt *live; /* owned: attempts whose shepherd the agent sees */
    int32_t n_live;
    bool trials;       /* it can take part in trials */
    int32_t pod, leaf; /* numbers of its switches; 0: not told */
    int32_t memory_gb; /* of each of its accelerators, 10^9 bytes; 0: not told */
};

/* The agent's own collective benchmark between the accelerators of its node. */
struct ev_measured {
    char node[64];
    int64_t busbw_mbs; /* 10^6 bytes a second */
};

struct ev_trial_open {
    char node[64];
    int64_t id;
    char address[160]; /* host:port */
    char secret[65];   /* hex; the nodes of the trial prove it to each other */
};

enum trial_outcome { TRIAL_OK, TRIAL_FAILED, TRIAL_LOST, TRIAL_DISTURBED, TRIAL_OUTCOMES };

/* Between the i-th node of the trial and the next. */
struct trial_link {
    int64_t mbs; /* 10^6 bytes a second each way */
    int64_t wrong;
};

struct ev_trial_ended {
    char node[64];
    int64_t id;
    enum trial_outcome outcome;
    char text[200];           /* why not */
    struct trial_link *links; /* owned; of the first node */
    int32_t n_links;
};

/* A node as its cluster sees it. Troubles begin with this word, so that they are known again. */
#define SITE_TROUBLE "slurm: "

struct site_node {
    char name[64];
    char class[JOB_CLASS_MAX];
    int32_t n_acc;
    char trouble[80]; /* why it takes no work, "" if it does */
    char leaf[64];    /* its switch as the cluster names it; "" it names none */
    char pod[64];     /* the switch above */
};

struct ev_site {
    char site[32];
    bool reachable;
    bool maps;               /* reachable: nobody has an account there who is not mapped */
    struct site_node *nodes; /* owned: every node, or those that changed; none when unreachable */
    int32_t n_nodes;
};

/* Only from inside: the attempt was not claimed, so nothing of it ran. */
struct ev_unplaced {
    struct bt_uuid job;
    int32_t attempt;
    char text[200]; /* why */
};

struct plan;   /* daemon/core/plan_view.h */
struct policy; /* policy/tree.h */

struct ev_plan_ready {
    struct plan *plan; /* a reference, released with the event */
};

struct ev_policy {
    const struct policy *policy; /* borrowed: outlives the core */
    char *text;                  /* the rules as loaded; owned */
};

struct event {
    struct event *next; /* for the queue that holds it */
    enum event_kind kind;
    int64_t at_us; /* stamped by the engine when dequeued; never goes back */
    uint64_t seed; /* stamped too; secrets never come from it */
    struct principal who;
    uint64_t reply_to; /* 0: nobody waits */
    union {
        struct ev_submit submit;
        struct ev_cancel cancel;
        struct ev_hold hold;
        struct ev_result result;
        struct ev_admin admin;
        struct ev_enrol enrol;
        struct ev_renew renew;
        struct ev_claim claim;
        struct ev_started started;
        struct ev_ranks_ended ranks_ended;
        struct ev_manifest manifest;
        struct ev_node_report node_report;
        struct ev_measured measured;
        struct ev_trial_open trial_open;
        struct ev_trial_ended trial_ended;
        struct ev_plan_ready plan_ready;
        struct ev_policy policy;
        struct ev_site site;
        struct ev_unplaced unplaced;
    } u;
};

struct event *event_new(enum event_kind kind); /* zeroed, but that an administrator says no tier */
void event_free(struct event *ev);             /* with everything it owns */
void event_free_list(struct event *ev);        /* and those behind it in `next` */

#endif
