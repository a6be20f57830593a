/* sim.h - a replay: the trace's jobs with what a policy made of them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_SIM_SIM_H
#define BT_SIM_SIM_H

#include "daemon/sched/plan.h"
#include "daemon/sim/trace.h"

enum sim_policy { SIM_FIFO, SIM_SJF, SIM_EASY, SIM_CONSERVATIVE, SIM_BESTFIT, SIM_BEAMTIME };

struct sim_nation {
    char *name;
    int64_t guaranteed, weight;
    double used; /* decayed, borrowed accelerator-seconds, at `at_s` */
    int64_t at_s;
    double entitled, got; /* accelerator-seconds over the replay, for the report */
};

struct sim_job {
    int64_t submit_s, run_s, walltime_s;
    int64_t start_s, end_s;          /* of the last attempt; start -1 = never */
    int64_t promise_s, first_plan_s; /* first promise shown; -1 = none */
    uint32_t acc, nation;
    uint32_t moved; /* named moves of its promise */
    uint32_t preempted;
    bool owned;
};

/* Queue and use at one time. */
struct sim_sample {
    int64_t at_s;
    uint32_t used, pending, running;
    uint64_t pending_acc;
};

struct sim {
    struct sim_job *jobs;
    uint32_t n_jobs;
    uint32_t capacity;
    struct sim_nation *nations; /* by index; the last without a guarantee may be "others" */
    uint32_t n_nations;
    /* the facility, for policies that place */
    struct plan_node *nodes;
    uint32_t n_nodes;
    bool fair_share;
    uint32_t slack_s, slack_percent, plan_every_s;
    /* results */
    struct sim_sample *samples;
    uint32_t n_samples, cap_samples;
    uint64_t lost_acc_s;
    uint32_t preemptions, passes;
    double free_sum, stranded_sum; /* fragmentation, integrated over time */
    size_t state_bytes;
};

void sim_sample(struct sim *s, int64_t at_s, uint32_t used, uint32_t pending, uint64_t pending_acc,
                uint32_t running);

/* Count-only policies: one pool of s->capacity accelerators. */
void sim_pool(struct sim *s, enum sim_policy policy);

/* The scheduler itself, with its topology. */
int sim_core(struct sim *s, struct bt_err *err) BT_MUSTUSE;

/* First come, first served, on the tree, without backfill; nodes by best fit. */
void sim_bestfit(struct sim *s);

/* Jobs arrive one by one and never leave until `percent` of the capacity has been asked for;
 * returns the accelerators held at the end. */
uint64_t sim_fill(struct sim *s, enum sim_policy policy, double percent, uint64_t seed);

#endif
