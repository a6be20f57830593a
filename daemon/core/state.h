/* state.h - what the core's memory holds. Private to daemon/core.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Ids of people, projects, nodes … are dense and start at 1: row n of a table lies at [n - 1].
 * Jobs live in chunks that never move, so pointers to them stay good. A job's slot is its
 * handle towards the planner. */
#ifndef BT_DAEMON_CORE_STATE_H
#define BT_DAEMON_CORE_STATE_H

#include "daemon/core/core.h"
#include "daemon/core/datasets.h"
#include "daemon/core/ladder.h"
#include "daemon/core/phrase.h"
#include "daemon/sched/plan.h"
#include "lib/base/map.h"
#include "lib/domain/clearance.h"
#include "policy/tree.h"

/* Small words that repeat (classes, purposes, lists of rule ids) are kept once; 0 is "". */
struct words {
    char **text;
    uint32_t n, cap;
    struct bt_map index;
};

struct nation {
    struct row_nation row;
    int32_t account;
    int32_t owned_acc; /* accelerators of its attempts inside its guarantee, not persisted */
};

struct institution {
    struct row_institution row;
};

/* Of the last jobs that ran to an end of their own: the parts of their walltime that they used, in
 * 255ths; not persisted, loaded with the jobs. */
enum { HABIT_JOBS = 8 };
struct habit {
    uint8_t used[HABIT_JOBS];
    uint8_t n;     /* from HABIT_JOBS on all are filled, the next replaces used[n % HABIT_JOBS] */
    uint8_t usual; /* three of four used more; 0: too few have ended */
};

struct person {
    struct row_person row;
    struct habit habit;
    int32_t n_live; /* jobs that are not terminal */
    uint32_t
        stores; /* of sites where its jobs have an account, as plan_pending.stores; 0: of all */
};

struct project {
    struct row_project row;
    int32_t account;
    int32_t n_overdue; /* results past their due date */
};

/* A former member keeps its row, because its account has a history. */
#define MEMBER_GONE "none"

struct member {
    struct row_member row;
    int32_t account;
};

/* granted = free + held + spent, always. */
struct account {
    struct row_account row;
    int64_t granted, free, held, spent;
};

struct credential {
    struct row_credential row;
};

struct token {
    struct row_token row;
};

struct site {
    struct row_site row;
    bool unreachable; /* its cluster does not answer; not persisted */
    uint8_t tier;     /* that its clearance reaches now, TIER_OPEN when it ended; not persisted */
    bool maps;        /* whom it does not map has no account there; not persisted */
    uint8_t store;    /* as the planner knows it, 0: not apart from others; not persisted */
};

struct node {
    struct row_node row;
    uint32_t class_word;
    uint64_t busy;
    int64_t seen_us;        /* last report, not persisted */
    bool reported;          /* since this process began */
    bool trials;            /* its agent runs trials; not persisted */
    int64_t trial;          /* id of the trial that it is in, 0: none */
    int64_t bad_us;         /* when a trial degraded it, not persisted */
    int64_t pairs_asked_us; /* its switch's pairs shall be measured; not persisted */
    char *trouble; /* why its cluster gives it no work; owned, NULL: it does. Not persisted but as
                      the reason of a node that is down */
};

/* What was measured of a class, by value: inside its nodes (ids of nodes), between nodes of one
 * switch, and of two (ids of pairs). */
enum ladder_kind { LADDER_NODES, LADDER_WITHIN, LADDER_BETWEEN, LADDERS };
struct class_ladder {
    uint32_t class_word;
    struct ladder of[LADDERS];
};

/* Two leaf switches, or one, and what nodes of theirs measured together. */
struct switch_pair {
    struct row_switch_pair row;
    uint32_t class_word;
};

/* The nodes of one class on one leaf switch. */
struct leaf_switch {
    int32_t site, number;
    uint32_t class_word;
    int32_t first, n; /* of leaf_nodes */
    int64_t asked_us; /* the latest of its nodes */
    bool bad;         /* one of them is degraded by a trial */
};
struct trial; /* step_trial.c */

struct rate {
    struct row_rate row;
};

struct request {
    struct row_request row;
};

struct unixmap {
    struct row_unixmap row;
};

struct guarantee {
    struct row_guarantee row;
};

struct outage {
    struct row_outage row;
};

/* The attempt that a job is in, kept while it matters. */
struct attempt {
    enum attempt_state state;
    int32_t site, node;
    int64_t hold_mras, wanted_us, claimed_us, started_us, ended_us;
    int64_t trial_us; /* when its nodes were first tried before its claim; 0: never */
    int64_t seen_us;  /* last sign of its shepherd, not persisted */
    int64_t ckpt_us;  /* last checkpoint its agent saw, not persisted */
    int64_t stop_us;  /* when it was told to stop, not persisted */
    uint64_t born;    /* id of the batch that made it, not persisted */
    bool owned;       /* inside its nation's guarantee */
    enum { PREFLIGHT_NONE, PREFLIGHT_RUNS, PREFLIGHT_PASSED } preflight; /* not persisted */
    int64_t preflight_us; /* when it ended, not persisted */
    char foreign_id[64];
    struct place *places; /* owned */
    char *datasets;       /* data_found at its start; owned; NULL: the job asks for none */
    int32_t n_places;
    int32_t accelerators; /* that it was given */
    char reason[200];
    int32_t exit_code, signal;
};

enum stop { STOP_NONE, STOP_CANCEL, STOP_PREEMPT, STOP_HAZARD };

struct job {
    struct bt_uuid id;
    uint8_t sha[16];    /* first half of the body's SHA-256 */
    uint8_t commit[32]; /* what the ledger says of the document */
    struct bt_uuid after;
    struct bt_uuid array_of; /* zero: no task of an array */
    int64_t number, submit_us, since_us, start_us, end_us, finish_by_us;
    int64_t hold_mras, charged_mras;
    int64_t promise_us, plan_us; /* plan_us: as last planned, not persisted */
    int64_t record_idx, result_idx, submit_idx, result_due_us;
    int64_t gflop, gflop_lineage;
    struct attempt *att; /* owned; NULL when there is none */
    char *name;          /* owned */
    int32_t person, project, nation;
    int32_t accelerators, min_accelerators, walltime_s, rate_milli; /* min 0: all of them */
    int32_t array_task;
    int32_t reservation; /* id of an outage; 0: none */
    int32_t exit_code, end_signal;
    uint32_t rules;   /* word */
    uint32_t outcome; /* phrase; 0 until it is known */
    uint16_t policy;  /* index of the digest + 1 */
    uint16_t class_word, purpose_word;
    uint16_t memory_gb, bandwidth_gb; /* 0: any */
    uint16_t data;                    /* data_list_of what it asks for; 0: nothing */
    int16_t attempt, max_attempts, embargo_days, per_node, grace_s;
    uint8_t state, reason, verdict, tier, kind, level, requeue, signal, stop;
    bool level_required, after_ok, checkpointed, singleton;
};

enum { JOB_CHUNK = 1024, VERDICT_NONE = JOB_STATES };

struct digest32 {
    uint8_t b[32];
};

struct core {
    struct core_settings set;
    char *facility;
    struct words words;
    struct phrases outcomes;

    struct nation *nations;
    struct institution *institutions;
    struct person *persons;
    struct project *projects;
    struct member *members;
    struct account *accounts;
    struct credential *credentials;
    struct token *tokens;
    struct site *sites;
    struct node *nodes;
    struct rate *rates;
    struct unixmap *unixmaps;
    struct request *requests; /* by time; those of the window, and some older ones */
    struct guarantee *guarantees;
    struct outage *outages;
    struct dataset *datasets;
    struct data_list *data_lists;
    uint32_t n_data_lists, cap_data_lists;
    struct bt_map by_dataset;   /* hash of a name → stores that hold it */
    struct bt_map list_by_word; /* → index in data_lists */
    struct switch_pair *pairs;
    int32_t n_pairs, cap_pairs;
    struct bt_map by_pair;     /* hash of (site, class, leaves) → index */
    struct bt_map pairs_tried; /* the same → seconds since the epoch began; not persisted */
    struct trial **trials;     /* those that run: few */
    uint32_t n_trials, cap_trials;
    int64_t last_trial;         /* id */
    int32_t last_switch;        /* the highest number of a leaf or pod */
    struct leaf_switch *leaves; /* made anew when nodes have changed */
    int32_t *leaf_nodes;        /* indexes of nodes, by leaf */
    int32_t n_leaves;
    int32_t pair_at[2]; /* the next pair of leaves to look at */
    bool leaves_stale;
    struct class_ladder *ladders; /* few: one a class that was measured */
    uint32_t n_ladders, cap_ladders;
    struct digest32 *policies;
    int32_t n_nations, n_institutions, n_persons, n_projects, n_members, n_accounts;
    int32_t n_credentials, n_tokens, n_sites, n_nodes, n_rates, n_unixmaps, n_policies, n_requests;
    int32_t n_guarantees, n_outages, n_datasets, cap_guarantees, cap_outages, cap_datasets;
    int32_t cap_nations, cap_institutions, cap_persons, cap_projects, cap_members, cap_accounts;
    int32_t cap_credentials, cap_tokens, cap_sites, cap_nodes, cap_rates, cap_unixmaps,
        cap_requests;
    int32_t cap_policies;
    struct bt_map by_name;   /* hash of (kind, nation, name) → index */
    struct bt_map by_key;    /* hash of a credential's or token's digest → index */
    struct bt_map by_member; /* project << 32 | person → index */

    struct job **chunks;
    uint32_t n_jobs, n_chunks, cap_chunks;
    struct bt_map by_job; /* hash of the id → slot */
    uint32_t *live;       /* slots of jobs that are not terminal, any order */
    uint32_t n_live, cap_live;
    struct bt_map live_at;    /* slot → place in live */
    struct bt_map awaited;    /* hash of a job's or an array's id, or of a person and a name →
                                 how many live jobs came to start after it */
    struct bt_map by_request; /* hash of a request's id → index in requests */

    int64_t next_number;
    int64_t ledger_size;
    int64_t epoch_start_us;
    int64_t tick_us;             /* of the last tick; not persisted */
    int64_t now_us;              /* of the event being stepped: never goes back */
    const struct policy *policy; /* borrowed */
    struct plan *plan;           /* the latest, with the slots of those who came since; owned */
    struct plan_limits *limits;  /* of all nodes; NULL = made when next asked for */
    bool plan_due;
    bool planning;                       /* a snapshot is with the planner; not persisted */
    uint32_t *freed, n_freed, cap_freed; /* who ended meanwhile */
    uint32_t classes[PLAN_MAX_CLASS];    /* words, numbered by their first appearance on a node */
    uint8_t n_classes;

    const struct event *ev; /* while stepping */
    struct batch *batch;
};

/* ---- lookups (state.c); NULL when there is none ---- */
struct job *job_at(const struct core *c, uint32_t slot);
struct job *job_find(const struct core *c, struct bt_uuid id, uint32_t *ret_slot);
struct job *job_new(struct core *c, struct bt_uuid id, uint32_t *ret_slot);
void job_live(struct core *c, uint32_t slot);     /* enters the list of live jobs */
void job_not_live(struct core *c, uint32_t slot); /* leaves it */
/* Some live job named it as the one it starts after (a collision of hashes may say so too). */
/* Under which a singleton waits for whatever has its person and name. */
uint64_t singles_key(const struct job *j);
bool job_is_awaited(const struct core *c, const struct job *j);
/* How it ended, in a sentence, which is copied; NULL: not known. */
void job_outcome(struct core *c, struct job *j, const char *text);
struct nation *nation_find(const struct core *c, const char *code);
struct institution *institution_find(const struct core *c, int32_t nation, const char *name);
struct person *person_find(const struct core *c, int32_t nation, const char *login);
struct project *project_find(const struct core *c, int32_t nation, const char *name);
struct site *site_find(const struct core *c, const char *name);
struct node *node_find(const struct core *c, const char *name);
struct member *member_find(const struct core *c, int32_t project, int32_t person);
struct credential *credential_find(const struct core *c, const uint8_t spki[32]);
struct token *token_find(const struct core *c, const uint8_t sha256[32]);
const char *nation_code(const struct core *c, int32_t id); /* "" if none */
uint32_t word_of(struct core *c, const char *text);
const char *word_text(const struct core *c, uint32_t word);
int64_t rate_of(const struct core *c, const char *class_name, int64_t at_us);
int64_t peak_gflops_of(const struct core *c, const char *class_name, int64_t at_us);
const char *unixname_of(const struct core *c, int32_t person, int32_t site);

/* Names under which things are indexed. */
enum name_kind {
    NAME_NATION,
    NAME_INSTITUTION,
    NAME_PERSON,
    NAME_PROJECT,
    NAME_SITE,
    NAME_NODE,
    NAME_SWITCH /* of a site: its number */
};
void name_put(struct core *c, enum name_kind kind, int32_t nation, const char *name, int32_t index);
bool name_get(const struct core *c, enum name_kind kind, int32_t nation, const char *name,
              uint32_t *ret);

/* ---- emitting (emit.c): memory → rows of the current batch ---- */
void emit_job_state(struct core *c, struct job *j);
void emit_attempt(struct core *c, struct job *j);
void emit_credential_view(struct core *c, const struct credential *cr);
void emit_account(struct core *c, const struct account *a);
void emit_site_view(struct core *c, const struct site *s);
void emit_want(struct core *c, const struct job *j, enum want_action action);
/* Says to a Slurm site, once an attempt is over, that nothing of it has work left there. */
void emit_settled(struct core *c, const struct job *j);
/* One entry and the same change of the accounts in memory; a level is 0 if untouched. */
struct move {
    struct bt_uuid op;
    const char *kind; /* "hold", "settle", "grant" */
    int32_t part;
    int32_t nation, project, person; /* account ids */
    int64_t d_free, d_held, d_spent;
};
void emit_entry(struct core *c, const struct move *m);
/* One audit row: body is JSON, owned by the row from now on (NULL: {}). */
void emit_event(struct core *c, const char *kind, const char *actor, const char *subject,
                char *body);
/* The same about a job: the subject is its number. Its submission is in its own row
 * (row_job.submit_ord). */
void emit_job_event(struct core *c, const char *kind, const char *actor, const struct job *j,
                    char *body);
void emit_leaf(struct core *c, const char *kind, struct bt_uuid job, char *leaf, int64_t *ret_idx);

/* ---- answering (step.c) ---- */
void answer(struct core *c, int http, char *body); /* body is owned from now on */
void refuse(struct core *c, const struct bt_err *err, char *more);

/* Who is behind the event, as the core's own tables have it. */
struct actor {
    const struct credential *credential;
    struct person *person;
    int32_t nation;
    int32_t roles;  /* of the person; ROLE_OPERATOR for the operator's certificates */
    char text[140]; /* "cz/alice", "operator/ops" for audit rows */
};
int actor_of(struct core *c, const struct principal *who, struct actor *ret, struct bt_err *err);

/* ---- the steps, one family a file ---- */
void step_submit(struct core *c, const struct event *ev);
void step_admin(struct core *c, const struct event *ev);
void step_enrol(struct core *c, const struct event *ev);
void step_renew(struct core *c, const struct event *ev);
void step_cancel(struct core *c, const struct event *ev);
void step_hold(struct core *c, const struct event *ev);
void step_result(struct core *c, const struct event *ev);
/* The job if `who` asks for what is theirs: its author, its project's leads, its nation's
 * administrators, operators, the council. */
struct job *own_job(struct core *c, const struct event *ev, struct bt_uuid id, uint32_t *slot,
                    struct actor *who, struct bt_err *err);
void step_claim(struct core *c, const struct event *ev);
void step_started(struct core *c, const struct event *ev);
void step_ranks_ended(struct core *c, const struct event *ev);
void step_manifest(struct core *c, const struct event *ev);
void step_node_report(struct core *c, const struct event *ev);
void step_tick(struct core *c);
void step_plan_ready(struct core *c, const struct event *ev);
void step_policy(struct core *c, const struct event *ev);
void step_site(struct core *c, const struct event *ev);
void step_unplaced(struct core *c, const struct event *ev);
void step_trial_open(struct core *c, const struct event *ev);
void step_trial_ended(struct core *c, const struct event *ev);

/* ---- shared rules ---- */
/* The four locks of a job of this tier; site 0: the best site of the facility counts. */
int locks_of(const struct core *c, int32_t person, int32_t project, int32_t site, int tier,
             struct clearance_report *ret);
void job_move(struct core *c, uint32_t slot, enum job_state to);
int dependency_met(const struct core *c, const struct job *j); /* 1 yes, 0 not yet, -1 never */
int64_t attempt_charge(const struct job *j); /* of the ended attempt, within its hold */
/* From the first trial of its nodes to its claim, or till now: the facility's own time, which is
 * neither charged nor taken from the walltime. */
int64_t attempt_tried_us(const struct attempt *a, int64_t now_us);
/* A facility's failure: refunded whole, tried again while the job allows it. */
void facility_failed(struct core *c, uint32_t slot, const char *why);
void node_set_state(struct core *c, struct node *n, const char *state, const char *reason);
/* The node's place in the fabric from what its cluster and its agent said of it. */
void node_place(struct core *c, struct node *n);
void node_placed(struct core *c, const struct node *n); /* as loaded: the numbers are in use */
/* An agent speaks for its own node. */
int agent_speaks(struct core *c, const struct event *ev, const char *node, struct bt_err *err);
void step_measured(struct core *c, const struct event *ev);
void node_judge(struct core *c, struct node *n); /* by what it measured; only if it is up */
void node_classed(struct core *c, struct node *n, uint32_t class_word); /* it is of this class */
void pairs_loaded(struct core *c);    /* into ladders that are sorted later */
void measured_loaded(struct core *c); /* after the last row: the order of what was measured */
/* step_trial.c. Has the attempt's gang shown that its nodes reach each other? Begins a trial when
 * none runs; 1: yes, or it is too small; 0: not yet. */
int preflight_passed(struct core *c, uint32_t slot);
void trials_of_job_over(struct core *c, struct bt_uuid job); /* its attempt is closed */
void trials_tick(struct core *c);
void trials_free(struct core *c);
bool node_is_fabric_bad(const struct node *n); /* degraded by a trial */
/* An order by value, made when it is not there. */
struct ladder *ladder_of(struct core *c, uint32_t class_word, enum ladder_kind kind);
enum { CLASS_MIN = 3 };                        /* a median of fewer says little of a class */
bool node_shall_measure(const struct node *n); /* somebody asked and nothing came since */
/* Ends the attempt and its allocation; `refund`: the facility failed it. */
void attempt_close(struct core *c, uint32_t slot, const char *reason);
/* Settles the ended attempt's hold: charge is spent, the rest goes back. */
void attempt_settle(struct core *c, struct job *j, int64_t charge);
/* BT_ERR_ID_TOO_OLD, or not a UUIDv7. */
int id_in_window(const struct core *c, struct bt_uuid id, struct bt_err *err);
void request_keep(struct core *c, const struct row_request *row); /* copies it */
/* Whether the id was in use: its answer then, to be given again, borrowed. BT_ERR_DUPLICATE_ID if
 * it asked for something else, BT_ERR_ID_TOO_OLD outside the window. */
int request_known(struct core *c, struct bt_uuid id, const uint8_t body[32],
                  const char **ret_answer, struct bt_err *err);
void request_done(struct core *c, struct bt_uuid id, const uint8_t body[32], const char *text);

int hold_take(struct core *c, struct job *j, struct bt_err *err); /* for attempt j->attempt */
void job_requeue(struct core *c, uint32_t slot, int64_t charge);
void attempt_drop(struct job *j); /* forgets the attempt, which has ended */
/* Accelerators that the nation's own jobs may hold at once at a time. */
int64_t guaranteed_of(const struct core *c, int32_t nation, int64_t at_us);
/* A queued job's slot in what the latest plan left free, until the next plan has it. */
void provisional(struct core *c, uint32_t slot);
/* The ranks of this job have gone: whoever the last plan would start there starts now. */
void start_next(struct core *c, uint32_t ended);
struct plan_pending pending_of(const struct core *c, const struct job *j, uint32_t slot);
bool may_yield(const struct job *j); /* may be stopped for an owned job and run again */
struct outage *reservation_find(const struct core *c, const char *name); /* the latest so named */
/* The nodes of one as the planner sees them; all others without accelerators. */
void reservation_nodes(const struct core *c, const struct row_outage *r, struct plan_node *ret);
/* What a job needs of a reservation's time. */
int64_t reservation_need_us(const struct job *j);
void class_note(struct core *c, uint32_t word);
/* habit.c */
void habit_note(struct core *c, const struct job *j); /* it is terminal */
/* How long it will run at least, if it does as most of its person's jobs did (three of four used
 * more of their walltime); 0: too few of them have ended. */
int64_t habit_us(const struct core *c, const struct job *j);

void nodes_changed(struct core *c); /* the plan and the limits follow */
void sites_cleared(struct core *c); /* now: their clearances end by themselves */
struct plan_limits *limits_of(struct core *c);
uint32_t node_busbw_mbs(const struct node *n); /* as measured; 0: never */
/* Texts that a leaf_job borrows. The ledger names nobody: a person is known by a number whose
 * name stands in an erasable table. */
struct leaf_texts {
    char flops[LEAF_FLOPS_TEXT];
    char person[16];
    struct data_leaf data;
};
void leaf_job_of(const struct core *c, const struct job *j, struct leaf_texts *texts,
                 struct leaf_job *ret);
/* What stands in the ledger for an entry that could not be built: which error it was. */
void leaf_unbuilt(struct bt_buf *leaf, const char *kind, const struct job *j,
                  const struct bt_err *err);
/* The terminal transaction: record leaf, settlement, state. */
void job_terminal(struct core *c, uint32_t slot, enum job_state to, const struct ev_manifest *m);

#endif
