/* judge.h - what stands between a submission and its acceptance: rules, the four locks, quota,
 * data, size, reservation, dependency. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * All are asked, so that one refusal names everything that is missing. Reads the core, changes
 * nothing but its words and what it keeps of the planner's limits. */
#ifndef BT_CORE_JUDGE_H
#define BT_CORE_JUDGE_H

#include "daemon/core/state.h"

/* Everything that one submission is judged by; on the stack of one step. */
struct judging {
    const struct job_spec *spec;
    int32_t n_jobs; /* tasks of an array, else 1 */
    struct actor actor;
    struct project *project;
    struct member *member;
    const struct outage *reservation; /* NULL: asks for none */
    uint32_t stores;                  /* where its data is, as plan_pending has it */
    struct policy_facts facts;
    struct policy_decision decision;
    struct clearance_report locks;
    double gflop, gflop_lineage;
    int64_t rate_milli, cost_mras;
    struct bt_buf missing; /* elements of the array "missing" */
    enum bt_errno worst;   /* the first thing that failed names the error */
    struct bt_err first;
};

/* What the rules look at. BT_ERR_INVALID: a word that the policy does not know. */
int judge_facts(struct core *c, struct judging *g, struct bt_err *err) BT_MUSTUSE;
/* After judge_facts: fills decision, locks, costs, reservation; `worst` stays BT_OK when nothing is
 * missing. `missing` is the caller's to release. */
void judge_all(struct core *c, struct judging *g);

/* What the planner is to know of the job: into a new one, or as it is asked. */
void judge_describe(struct core *c, const struct judging *g, struct job *ret);
struct plan_pending judge_ask(struct core *c, const struct judging *g);
const char *judge_purpose(const struct job_spec *s); /* declared, or what its kind is for */

#endif
