/* plan.h - what the scheduler is asked and what it answers: a snapshot in, a start time for every
 * pending job out.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pure: no I/O, no clock, no randomness; equal inputs give equal outputs. All structs are flat;
 * nothing points into the caller's state. The caller owns what it passes, sched_*_done() releases
 * what comes back. Times are µs since the epoch UTC. Not thread safe on one output; different
 * outputs are independent, so that the planner may work on a snapshot in its own thread.
 *
 * The promise rule: a job's `promise_us` is a hard latest start. Each output carries a
 * certificate, one reservation a job that keeps all promises at once; the next plan begins from
 * it (`plan_input.last`) and only makes moves that leave it whole. So any order and any
 * backfill is allowed and no promise breaks, unless capacity goes or an owned job reclaims:
 * then the slot names the cause. */
#ifndef BT_SCHED_PLAN_H
#define BT_SCHED_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

#define PLAN_NONE UINT32_MAX
enum {
    PLAN_MAX_ACC = 64,    /* accelerators of one node: the bits of a mask */
    PLAN_MAX_CLASS = 32,  /* classes 0..31 of accelerators */
    PLAN_CLASS_ANY = 255, /* a job that runs on any class */
    PLAN_MAX_TIER = 15,   /* clearance tiers 0..15 */
    PLAN_MAX_NODES = 1 << 20,
    PLAN_MAX_PENDING = 1 << 20,
    PLAN_MAX_WALLTIME_S = 366 * 86400,
    PLAN_MAX_CUTS = 8, /* amounts of memory, and of bandwidth, that one plan tells nodes apart by */
    PLAN_STORES = 31,  /* sites that hold data sets, or know people */
};
/* plan_pending.stores of a job that no site serves: none holds its data, or knows its person */
#define PLAN_NO_STORE (UINT32_C(1) << PLAN_STORES)

enum plan_level { PLAN_ANY, PLAN_SITE, PLAN_POD, PLAN_LEAF, PLAN_NODE };

enum plan_node_state {
    PLAN_UP,       /* takes new jobs */
    PLAN_DEGRADED, /* takes new jobs on the accelerators of usable_mask, last of all */
    PLAN_DRAINING, /* its jobs run on, no new ones */
    PLAN_DRAINED,
    PLAN_DOWN,
};

enum plan_reason {
#define X(name, sentence) PLAN_REASON_##name,
#include "daemon/sched/reasons.def"
#undef X
    PLAN_N_REASONS
};

enum plan_cause {
#define X(name, sentence) PLAN_CAUSE_##name,
#include "daemon/sched/causes.def"
#undef X
    PLAN_N_CAUSES
};

/* ---- the facility ---- */

struct plan_node {
    uint64_t usable_mask;     /* healthy accelerators; 0 = none */
    uint64_t free_mask;       /* of these, held by nobody (an ended job's stay held until the agent
                                 reports them empty) */
    int64_t back_us;          /* not up: when it is expected back; 0 = unknown */
    uint32_t site, pod, leaf; /* facility-wide indexes; a leaf lies in one pod, a pod in one site */
    uint32_t busbw_mbs;       /* measured between its accelerators, 10^6 bytes/s; 0 = never */
    uint16_t memory_gb;       /* of each accelerator, 10^9 bytes; 0 = not known */
    uint8_t accel_class;
    uint8_t tier;  /* its enclave: runs jobs of this tier or lower */
    uint8_t state; /* enum plan_node_state */
    uint8_t store; /* 1..PLAN_STORES: where its site keeps data or knows people, the same for the
                      whole site; 0 = of a site that is like any other */
};

/* Nodes out of use from..until: maintenance, reserved for something outside the plan, or for the
 * jobs that name this reservation, which run there and then or not at all. */
struct plan_window {
    int64_t from_us, until_us;
    uint32_t nodes_off, n_nodes; /* into plan_input.window_nodes */
    uint32_t reservation;        /* its number; 0 = for no job. No two share a node at a time */
    uint32_t pad;
};

/* ---- rights ---- */

struct plan_nation {
    int64_t guaranteed; /* accelerators its owned jobs may hold at once */
    int64_t used;       /* decayed accelerator-seconds borrowed; any unit, the same for all */
    int64_t weight;     /* share of the surplus; 0 counts as 1 */
};
struct plan_share {  /* a project of a nation, or a person's account in a project */
    uint32_t parent; /* nation of a project; project of a person's account */
    uint32_t pad;
    int64_t used;
    int64_t weight; /* 0 counts as 1 */
};

/* ---- jobs ---- */

/* Accelerators of one node. */
struct plan_part {
    uint32_t node;
    uint32_t pad;
    uint64_t mask;
};

struct plan_running {
    int64_t start_us;
    int64_t limit_us;            /* killed here at the latest */
    int64_t expected_us;         /* early estimate of its end, for floor_us; 0 = none */
    int64_t ckpt_us;             /* last checkpoint; 0 = none since start */
    uint32_t handle;             /* the caller's; rising over the array */
    uint32_t parts_off, n_parts; /* into plan_input.parts */
    uint32_t nation;
    uint32_t grace_s; /* declared bound of signal, checkpoint and stop */
    bool owned;       /* inside its nation's guarantee: never reclaimed */
    bool requeueable; /* may be reclaimed when not owned */
    bool stopping;    /* already signalled; limit_us is when it must be gone */
    uint8_t pad;
};

struct plan_pending {
    int64_t submit_us;
    int64_t eligible_us; /* not before; 0 = at once */
    int64_t promise_us;  /* latest start promised and shown; 0 = none yet */
    uint32_t handle;     /* the caller's; rising over the array, and not that of a running job */
    uint32_t min_acc, max_acc; /* accelerators in all; max_acc 0 = min_acc. 1 <= min <= max */
    uint32_t per_node;         /* accelerators on each node; 0 = as many as a node has */
    uint32_t walltime_s;       /* 1..PLAN_MAX_WALLTIME_S */
    uint32_t nation, project, person; /* into shares; PLAN_NONE = none */
    uint32_t reservation;             /* runs inside that one, and nowhere else; 0 = in none */
    uint32_t after;     /* handle of the job that must end first (its last dependency); PLAN_NONE */
    uint16_t memory_gb; /* accelerators with so much, nodes measured at so much bandwidth, or */
    uint16_t busbw_gb;  /* more, 10^9 bytes and bytes/s; 0 = any */
    uint32_t stores; /* bit store - 1: it runs only on nodes of these stores; 0 = of any and none */
    uint8_t level;   /* enum plan_level */
    uint8_t accel_class; /* or PLAN_CLASS_ANY */
    uint8_t tier;
    bool level_required : 1; /* else only preferred */
    bool owned : 1;          /* wants to run inside its nation's guarantee; else on lent capacity */
    bool front : 1;          /* requeued after a preemption: first of its class */
    bool resolved : 1; /* dependencies met; else it is planned behind `after`, which came before it,
                          last of all, and neither started nor promised */
    bool account : 1;  /* stores: where its person has an account; else where its data are */
    bool no_requeue : 1; /* cannot be stopped and run again: outside its guarantee only on capacity
                            that is guaranteed to nobody */
};

struct plan_output;

/* A node that stands for a place of `last` which jobs below a node share (berth.h). */
struct plan_moored {
    uint32_t node, berth;
};

struct plan_input {
    int64_t now_us;
    uint64_t seq;                  /* of the snapshot; copied to the output */
    const struct plan_node *nodes; /* index = the node's number everywhere */
    const struct plan_window *windows;
    const uint32_t *window_nodes;
    const struct plan_nation *nations;
    const struct plan_share *projects, *persons;
    const struct plan_running *running;
    const struct plan_part *parts; /* of the running jobs */
    const struct plan_pending *pending;
    const struct plan_output *last;   /* what sched_plan gave before, or NULL after a start */
    const struct plan_moored *moored; /* where `last` was carried on: sched_live_moored, or NULL */
    uint64_t moored_seq; /* of the plan that was carried on; another than `last`: NULL */
    uint32_t n_moored;
    uint32_t n_nodes, n_windows, n_nations, n_projects, n_persons, n_running, n_pending;
    uint32_t turnaround_s;    /* kept free between a job's limit and the next start; >= 1 where
                                 the clock is real (starts lie within a second of their time) */
    uint32_t promise_slack_s; /* promise = first plan + max(this, wait * percent / 100) */
    uint32_t promise_slack_percent; /* a wider promise allows more backfill, says less */
};

/* ---- the answer ---- */

struct plan_slot {
    int64_t start_us;      /* the plan: when it starts if every job runs to its limit */
    int64_t floor_us;      /* when it could start if running jobs end at their early estimate */
    int64_t promise_us;    /* never later, but for a named cause; 0: none, it waits for a job */
    int64_t moved_from_us; /* the promise before it moved; 0 = it did not */
    int64_t reason_us;
    uint32_t handle;
    uint32_t blocker;       /* handle of the job it waits for, or PLAN_NONE */
    uint32_t reason_nation; /* or PLAN_NONE */
    uint32_t reason_pod;    /* or PLAN_NONE */
    uint32_t cause_job;     /* with cause; or PLAN_NONE */
    uint32_t cause_nation;
    uint32_t need_nodes, n_acc;  /* the size the plan chose */
    uint32_t parts_off, n_parts; /* when starts_now: into plan_output.parts */
    uint32_t pod;                /* where it is planned; PLAN_NONE when over several */
    uint32_t ahead;              /* pending jobs planned to start before it */
    uint8_t reason;              /* enum plan_reason */
    uint8_t cause;               /* enum plan_cause */
    bool starts_now;
    bool owned; /* it would start inside its nation's guarantee */
};

struct plan_victim {
    uint32_t handle;     /* running, lent, requeueable */
    uint32_t for_handle; /* the owned job that gets the nodes */
    int64_t stop_by_us;  /* signal now, gone by then */
    int64_t lost_acc_s;  /* accelerator-seconds since its last checkpoint */
};

struct plan_timeline; /* free capacity over time and the certificate; private */

struct plan_output {
    int64_t now_us;
    uint64_t seq;
    struct plan_slot *slots; /* one a pending job, in the order of the input */
    struct plan_part *parts;
    struct plan_victim *victims;
    struct plan_timeline *timeline;
    uint32_t n_slots, n_parts, n_victims;
    uint32_t n_starts, n_moved;
    size_t state_bytes; /* memory that the planner held */
};

/* Plans all pending jobs. BT_ERR_INVALID names the first malformed element; *ret is then
 * untouched. A job that no machine can run gets PLAN_REASON_IMPOSSIBLE and start_us INT64_MAX. */
int sched_plan(const struct plan_input *in, struct plan_output *ret, struct bt_err *err) BT_MUSTUSE;
void sched_plan_done(struct plan_output *out);

/* The slot of a job submitted since: earliest in what the plan left free, and taken there, so that
 * the next newcomer sees it. The promise is 0 until the next plan. O(timeline), about 1 µs. */
int sched_provisional(struct plan_output *last, const struct plan_pending *job, int64_t now_us,
                      struct plan_slot *ret, struct bt_err *err) BT_MUSTUSE;

/* What a plan leaves free, as a thing of its own, so that newcomers get their slots in one thread
 * while others read the plan: as sched_provisional. It borrows from `out`, which must outlive it.
 */
struct plan_spare;
struct plan_spare *sched_spare_new(const struct plan_output *out);
void sched_spare_free(struct plan_spare *s);
int sched_spare_slot(struct plan_spare *s, const struct plan_pending *job, int64_t now_us,
                     struct plan_slot *ret, struct bt_err *err) BT_MUSTUSE;

/* ---- between plans ---- */

/* The same plan once more, to be carried on until the next one: who ended is taken out, and what
 * then fits beside all reservations starts at once, in the order of the plan (engine.h: a quick
 * pass). No promise is touched, and the next sched_plan finds each of these starts beside the
 * certificate of this plan. One thread; borrows nothing. `in` as sched_plan had it. */
struct plan_live;
int sched_live_new(const struct plan_input *in, struct plan_live **ret,
                   struct bt_err *err) BT_MUSTUSE;
void sched_live_free(struct plan_live *l);                    /* NULL is fine */
void sched_live_remove(struct plan_live *l, uint32_t handle); /* unknown: nothing */

struct plan_starts {               /* the live plan's, until the next call */
    const struct plan_slot *slots; /* handle, owned, parts_off, n_parts */
    const struct plan_part *parts;
    uint32_t n;
};
void sched_live_quick(struct plan_live *l, int64_t now_us, struct plan_starts *ret);

/* On which nodes jobs lie that share one, for the next plan's input, so that reservations beside
 * them keep their places. *ret is the caller's (bt_free), and never NULL; returns how many. */
uint32_t sched_live_moored(const struct plan_live *l, struct plan_moored **ret);

/* What the facility could run at most, with every node up and empty: made once for a set of nodes
 * (1 ms for 12,500), asked at each submission (below 1 µs; 1 ms for an amount of memory or
 * bandwidth that was not asked for lately). Only the nodes of `in` are read. */
struct plan_limits;
struct plan_limits *sched_limits(const struct plan_input *in);
void sched_limits_free(struct plan_limits *l);
void sched_limits_measured(struct plan_limits *l, uint32_t node, uint32_t busbw_mbs);

/* 0 if the whole facility, empty and up, could run it; else BT_ERR_IMPOSSIBLE and one sentence;
 * BT_ERR_INVALID for a malformed request. */
int sched_limits_allow(struct plan_limits *l, const struct plan_pending *job,
                       struct bt_err *err) BT_MUSTUSE;

/* Both in one. */
int sched_possible(const struct plan_input *in, const struct plan_pending *job,
                   struct bt_err *err) BT_MUSTUSE;

enum { PLAN_MAX_FRONT = 8, PLAN_MAX_CHANGES = 6 };

enum plan_change_kind {
    PLAN_FEWER,
    PLAN_LOOSER,
    PLAN_SHORTER,
    PLAN_OTHER_CLASS,
    PLAN_LESS_MEMORY,
    PLAN_LESS_BANDWIDTH,
};
struct plan_change {
    int64_t start_us; /* with this change alone */
    uint32_t value;   /* accelerators; enum plan_level; seconds; class; GB or GB/s, 0 = any */
    uint8_t kind;     /* enum plan_change_kind */
};
struct plan_front {
    uint32_t handle, nation;
    int64_t until_us; /* running: its limit; pending: its planned start */
    bool running;
};
/* Of the nodes of its class and enclave that take jobs: how many do for what it asks beyond. */
struct plan_fit {
    uint32_t nodes, fit;
    uint32_t away, small, slow, unmeasured; /* why not; the first that holds counts */
};
struct plan_explain {
    struct plan_slot slot;
    struct plan_fit fit;                     /* of a job that asks for memory, bandwidth, data */
    struct plan_front front[PLAN_MAX_FRONT]; /* what must end or comes first, soonest first */
    struct plan_change change[PLAN_MAX_CHANGES];
    uint32_t n_front, n_change;
};

/* Floor, plan and promise of one pending job, what binds it, what is in front, and the smallest
 * changes that start it sooner. `out` is the answer to `in`. BT_ERR_NOT_FOUND. */
int sched_explain(const struct plan_input *in, const struct plan_output *out, uint32_t handle,
                  struct plan_explain *ret, struct bt_err *err) BT_MUSTUSE;

/* The same for a job that is not submitted: a dry run. */
int sched_explain_new(const struct plan_input *in, const struct plan_output *out,
                      const struct plan_pending *job, struct plan_explain *ret,
                      struct bt_err *err) BT_MUSTUSE;

const char *sched_reason_name(int reason);     /* "FAIR_SHARE" */
const char *sched_reason_sentence(int reason); /* with placeholders */
const char *sched_cause_name(int cause);
const char *sched_cause_sentence(int cause);
/* Who is meant, as people know them. */
struct plan_names {
    int64_t job;        /* the number of slot.blocker, or of slot.cause_job */
    const char *nation; /* of slot.reason_nation, or of slot.cause_nation */
    const char *data;   /* which of its data sets no site holds; may be NULL */
};
void sched_reason_text(const struct plan_slot *slot, const struct plan_names *names,
                       struct bt_buf *to);
void sched_cause_text(const struct plan_slot *slot, const struct plan_names *names,
                      struct bt_buf *to);

#endif
