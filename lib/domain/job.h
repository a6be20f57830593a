/* job.h - what a job is: its states, its legal steps, and the document that asks for it. No I/O.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DOMAIN_JOB_H
#define BT_DOMAIN_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/uuid.h"
#include "lib/domain/dataset.h"

enum job_state {
#define S(name, text, terminal, holds) JOB_##name,
#include "lib/domain/job_states.def"
#undef S
    JOB_STATES
};

enum attempt_state {
#define A(name, text) ATTEMPT_##name,
#include "lib/domain/job_states.def"
#undef A
    ATTEMPT_STATES
};

enum held_reason {
#define H(name, text, sentence) HELD_##name,
#include "lib/domain/job_states.def"
#undef H
    HELD_REASONS
};

const char *job_state_name(enum job_state s); /* "queued"; static */
int job_state_parse(const char *s);           /* enum job_state, -1 if unknown */
bool job_state_terminal(enum job_state s);
bool job_state_holds(enum job_state s); /* holds accelerators */
bool job_step_legal(enum job_state from, enum job_state to);
const char *attempt_state_name(enum attempt_state s);
int attempt_state_parse(const char *s);
const char *held_reason_name(enum held_reason r);
int held_reason_parse(const char *s);
const char *held_reason_sentence(enum held_reason r);

enum job_kind { JOB_SCRIPT, JOB_TRAIN, JOB_COLL, JOB_COMMAND, JOB_KINDS };
enum topo_level { TOPO_NODE, TOPO_LEAF, TOPO_POD, TOPO_SITE, TOPO_ANY, TOPO_LEVELS };
enum requeue_policy { REQUEUE_NEVER, REQUEUE_ON_FACILITY, REQUEUE_ON_FAILURE };

extern const char *const job_kind_names[];       /* NULL-terminated, by enum */
extern const char *const topo_level_names[];     /* node leaf pod site any */
extern const char *const requeue_policy_names[]; /* never on-facility on-failure */

enum {
    JOB_NAME_MAX = 64,
    JOB_PROJECT_MAX = 64,
    JOB_CLASS_MAX = 16,
    JOB_WORD_MAX = 24,
    JOB_WORDS = 6,
    JOB_PARENTS = 4,
    JOB_MAX_ACCELERATORS = 100000,
    JOB_MAX_WALLTIME_S = 2592000, /* 30 days: a longer run checkpoints and requeues */
    JOB_MAX_ATTEMPTS = 100,
    JOB_TASKS_MAX = 128,  /* bytes of a list of tasks */
    JOB_MAX_TASKS = 1000, /* of an array: what one transaction takes in */
    JOB_MAX_TASK_INDEX = 9999999,
    JOB_MAX_GB = 65535, /* of memory, and of bandwidth a second */
};

/* What the core needs of a job document; the document itself stays as text beside it
 * (lib/api/jobdoc.h reads one into the other). */
struct job_spec {
    struct bt_uuid id;
    char name[JOB_NAME_MAX];
    char project[JOB_PROJECT_MAX]; /* "multilingual" (of the submitter's nation) or
                                      "cz/multilingual" */
    int kind;                      /* enum job_kind */
    int32_t accelerators;          /* the most that it takes */
    int32_t min_accelerators;      /* it may start with so many or more; 0: with all of them */
    int32_t per_node;              /* 0: any */
    int32_t memory_gb;             /* each with so much, 10^9 bytes; 0: any */
    int32_t bandwidth_gb;          /* on nodes measured at so much, 10^9 bytes/s; 0: any */
    char class[JOB_CLASS_MAX];     /* "": any */
    int level;                     /* enum topo_level */
    bool level_required;
    int32_t walltime_s;
    int32_t grace_s; /* between the signal and SIGKILL */
    int32_t signal;  /* number sent before preemption and walltime; 0: SIGTERM */
    int requeue;     /* enum requeue_policy */
    int32_t max_attempts;
    char purpose[JOB_WORD_MAX];
    char domains[JOB_WORDS][JOB_WORD_MAX]; /* "" ends the list */
    char data[JOB_WORDS][JOB_WORD_MAX];
    double flops;                 /* declared ceiling, 0: derived */
    int64_t params;               /* model parameters, 0: unknown */
    int64_t parents[JOB_PARENTS]; /* record indexes whose compute adds to the lineage; -1 ends */
    int32_t embargo_days;
    struct bt_uuid after;             /* zero: none */
    bool after_ok;                    /* the other job must have completed */
    bool hold;                        /* starts held by its owner */
    bool singleton;                   /* not beside an earlier job of the same person and name */
    char reservation[64];             /* runs inside that one only; "": none */
    char datasets[JOB_DATASETS_TEXT]; /* runs where all of these are: dataset_add; "": anywhere */
    char tasks[JOB_TASKS_MAX]; /* "0-99%10": asks for an array, see job_tasks_parse; "": does not */
    struct bt_uuid array_of;   /* the array that it is a task of; zero: of none */
    int32_t array_task;
};

/* What "0-99:2,200%10" names: rising, each once; `at_once` tasks may be unfinished side by side (0:
 * all). The form is that of sbatch's --array. */
struct job_tasks {
    int32_t index[JOB_MAX_TASKS];
    int n, at_once;
};
int job_tasks_parse(const char *text, struct job_tasks *ret, struct bt_err *err) BT_MUSTUSE;

/* accelerators × walltime × rate, in milli reference-accelerator-seconds; rate is thousandths of
 * a reference accelerator. -1 if it does not fit. */
int64_t quota_cost_mras(int64_t accelerators, int64_t seconds, int64_t rate_milli);

/* Whole seconds, rounded up, of a half-open interval; 0 if it is empty or reversed. */
int64_t quota_seconds_up(int64_t from_us, int64_t until_us);

#endif
