/* An attempt's life while it holds accelerators: placed, claimed, running, or lost.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/plan_view.h"
#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"
#include "lib/record/leaf.h"

void job_move(struct core *c, uint32_t slot, enum job_state to)
{
    struct job *j = job_at(c, slot);

    if (j->state != to) {
        j->state = (uint8_t)to;
        j->since_us = c->now_us;
        c->plan_due = true;
    }
    if (to != JOB_HELD)
        j->reason = HELD_NONE;
    emit_job_state(c, j);
    provisional(c, slot);
}

static void job_hold(struct core *c, uint32_t slot, enum held_reason why)
{
    struct job *j = job_at(c, slot);

    j->reason = (uint8_t)why;
    j->state = JOB_HELD;
    j->since_us = c->now_us;
    c->plan_due = true;
    emit_job_state(c, j);
}

/* Takes the hold of attempt j->attempt at today's rate from all three accounts, or from none. */
int hold_take(struct core *c, struct job *j, struct bt_err *err)
{
    const struct member *m = member_find(c, j->project, j->person);
    int32_t ids[3] = {c->nations[j->nation - 1].account, c->projects[j->project - 1].account,
                      m ? m->account : 0};
    int64_t rate = rate_of(c, word_text(c, j->class_word), c->now_us);
    int64_t cost = quota_cost_mras(j->accelerators, j->walltime_s, rate);

    for (int i = 0; i < 3; i++) {
        const struct account *a = ids[i] ? &c->accounts[ids[i] - 1] : NULL;

        if (!a || cost < 0 || cost > a->free + a->row.overdraft || c->now_us < a->row.from_us ||
            c->now_us >= a->row.until_us)
            return bt_fail(err, BT_ERR_QUOTA_EXCEEDED, "too little quota is left");
    }
    j->rate_milli = (int32_t)rate;
    j->hold_mras = cost;
    emit_entry(c, &(struct move){.op = j->id,
                                 .kind = "hold",
                                 .part = j->attempt,
                                 .nation = ids[0],
                                 .project = ids[1],
                                 .person = ids[2],
                                 .d_free = -cost,
                                 .d_held = cost});
    return 0;
}

void attempt_settle(struct core *c, struct job *j, int64_t charge)
{
    const struct member *m = member_find(c, j->project, j->person);

    if (j->hold_mras == 0)
        return;
    emit_entry(c, &(struct move){.op = j->id,
                                 .kind = "settle",
                                 .part = j->attempt,
                                 .nation = c->nations[j->nation - 1].account,
                                 .project = c->projects[j->project - 1].account,
                                 .person = m->account,
                                 .d_free = j->hold_mras - charge,
                                 .d_held = -j->hold_mras,
                                 .d_spent = charge});
    j->charged_mras += charge;
    j->hold_mras = 0;
}

int64_t attempt_tried_us(const struct attempt *a, int64_t now_us)
{
    int64_t end = a->claimed_us ? a->claimed_us : a->ended_us ? a->ended_us : now_us;

    return a->trial_us ? BT_MAX(end - a->trial_us, 0) : 0;
}

/* Metered from accelerators held to accelerators free, without what the facility tried meanwhile;
 * whole seconds, never above the hold. */
int64_t attempt_charge(const struct job *j)
{
    const struct attempt *a = j->att;
    int64_t cost;

    if (!a || !a->wanted_us)
        return 0;
    cost = quota_cost_mras(
        a->accelerators,
        quota_seconds_up(a->wanted_us + attempt_tried_us(a, a->ended_us), a->ended_us),
        j->rate_milli);
    return BT_MIN(cost, j->hold_mras);
}

void attempt_close(struct core *c, uint32_t slot, const char *reason)
{
    struct job *j = job_at(c, slot);
    struct attempt *a = j->att;

    if (!a || a->state == ATTEMPT_ENDED)
        return;
    for (int32_t i = 0; i < a->n_places; i++) {
        struct row_alloc_del *r = rows_add(&c->batch->rows, ROW_KIND_alloc_del);

        r->job = j->id;
        r->node = a->places[i].node;
        c->nodes[a->places[i].node - 1].busy &= ~a->places[i].mask;
    }
    bt_free(a->places);
    a->places = NULL;
    a->n_places = 0;
    trials_of_job_over(c, j->id);
    if (a->owned)
        c->nations[j->nation - 1].owned_acc -= a->accelerators;
    a->state = ATTEMPT_ENDED;
    a->ended_us = c->now_us;
    bt_copy(a->reason, sizeof a->reason, reason);
    emit_attempt(c, j);
    emit_want(c, j, WANT_GONE);
    c->plan_due = true;
}

void attempt_drop(struct job *j)
{
    if (j->att) {
        bt_free(j->att->places);
        bt_free(j->att->datasets);
    }
    bt_free(j->att);
    j->att = NULL;
}

void job_requeue(struct core *c, uint32_t slot, int64_t charge)
{
    struct job *j = job_at(c, slot);

    attempt_settle(c, j, charge);
    emit_settled(c, j);
    attempt_drop(j);
    j->attempt++;
    j->start_us = 0;
    j->stop = STOP_NONE;
    j->promise_us = 0; /* it was kept by the start; the next plan promises the next one */
    if (hold_take(c, j, NULL) < 0)
        job_hold(c, slot, HELD_QUOTA);
    else
        job_move(c, slot, JOB_QUEUED);
}

/* ---- what shepherds say ---- */

/* The job and attempt that a shepherd speaks of, or a refusal. */
static struct job *present(struct core *c, struct bt_uuid id, int32_t attempt, uint32_t *slot,
                           struct bt_err *err)
{
    struct job *j = job_find(c, id, slot);

    if (!j) {
        bt_fail(err, BT_ERR_NOT_FOUND, "there is no such job");
        return NULL;
    }
    if (j->attempt != attempt || !j->att || j->att->state == ATTEMPT_ENDED) {
        bt_fail(err, BT_ERR_FENCED, "attempt %d of job %" PRId64 " is over", attempt, j->number);
        return NULL;
    }
    return j;
}

/* Only the agent of one of the attempt's own nodes speaks for it. */
static int speaks_for(struct core *c, const struct event *ev, const struct job *j,
                      struct bt_err *err)
{
    struct actor who;
    int rc = actor_of(c, &ev->who, &who, err);

    if (rc < 0)
        return rc;
    if (bt_streq(who.credential->row.kind, "agent") && j->att)
        for (int32_t i = 0; i < j->att->n_places; i++)
            if (bt_streq(c->nodes[j->att->places[i].node - 1].row.name,
                         who.credential->row.subject))
                return 0;
    return bt_fail(err, BT_ERR_FORBIDDEN, "%s does not run job %" PRId64, who.text, j->number);
}

static int grant_claim(struct core *c, uint32_t slot, const struct ev_claim *e, struct bt_err *err)
{
    struct job *j = job_at(c, slot);
    struct attempt *a = j->att;
    struct clearance_report locks;

    if (a->claimed_us) {
        if (bt_streq(a->foreign_id, e->foreign_id))
            return 0; /* the same shepherd asks again: the same answer */
        return bt_fail(err, BT_ERR_FENCED, "attempt %d of job %" PRId64 " was claimed by another",
                       j->attempt, j->number);
    }
    if (j->stop != STOP_NONE)
        return bt_fail(err, BT_ERR_FENCED, "job %" PRId64 " is to stop", j->number);
    if (locks_of(c, j->person, j->project, a->site, j->tier, &locks) > 0) {
        attempt_close(c, slot, "a clearance was lost before the start");
        attempt_settle(c, j, 0);
        attempt_drop(j);
        j->attempt++;
        j->promise_us = 0;
        job_hold(c, slot, HELD_CLEARANCE);
        return bt_fail(err, BT_ERR_CLEARANCE_TOO_LOW, "job %" PRId64 " has lost a clearance",
                       j->number);
    }
    if (!preflight_passed(c, slot))
        return bt_fail(err, BT_ERR_PREFLIGHT, "the nodes of job %" PRId64 " are being tried",
                       j->number);
    a->claimed_us = a->seen_us = c->now_us;
    a->state = ATTEMPT_CLAIMED;
    bt_copy(a->foreign_id, sizeof a->foreign_id, e->foreign_id);
    emit_attempt(c, j);
    return 0;
}

void step_claim(struct core *c, const struct event *ev)
{
    const struct ev_claim *e = &ev->u.claim;
    struct bt_err err = {0};
    uint32_t slot;
    struct job *j = present(c, e->job, e->attempt, &slot, &err);
    int rc = j ? speaks_for(c, ev, j, &err) : -err.code;

    if (rc == 0)
        rc = grant_claim(c, slot, e, &err);
    if (rc < 0)
        refuse(c, &err, NULL);
    else
        answer(c, 200,
               j->att->datasets ? bt_printf("{\"granted\":true,\"datasets\":%s}", j->att->datasets)
                                : bt_strdup("{\"granted\":true}"));
}

void step_started(struct core *c, const struct event *ev)
{
    const struct ev_started *e = &ev->u.started;
    struct bt_err err = {0};
    uint32_t slot;
    struct job *j = present(c, e->job, e->attempt, &slot, &err);
    int rc = j ? speaks_for(c, ev, j, &err) : -err.code;

    assert(j || rc < 0);
    if (rc == 0 && (!j->att->claimed_us || !bt_streq(j->att->foreign_id, e->foreign_id)))
        rc = bt_fail(&err, BT_ERR_FENCED, "attempt %d of job %" PRId64 " is not claimed by it",
                     e->attempt, j->number);
    if (rc < 0) {
        refuse(c, &err, NULL);
        return;
    }
    j->att->seen_us = c->now_us;
    if (!j->att->started_us) {
        j->att->started_us = j->start_us = BT_MAX(j->att->claimed_us, c->now_us - e->ago_ms * 1000);
        j->att->state = j->stop ? ATTEMPT_PREEMPTING : ATTEMPT_RUNNING;
        emit_attempt(c, j);
        job_move(c, slot, JOB_RUNNING);
    }
    answer(c, 200, bt_strdup("{}"));
}

/* ---- nodes ---- */

void node_set_state(struct core *c, struct node *n, const char *state, const char *reason)
{
    char *why = bt_strdup(reason); /* it may be a text of the node itself */

    bt_free(n->row.state);
    bt_free(n->row.reason);
    n->row.state = bt_strdup(state);
    n->row.reason = why;
    row_copy(ROW_KIND_node, rows_put(&c->batch->rows, ROW_KIND_node, &n->row.id, 4), &n->row);
    c->plan_due = true;
}

static int32_t site_of_agent(struct core *c)
{
    return c->n_sites ? c->sites[0].row.id : 0;
}

static struct node *node_add(struct core *c, const struct ev_node_report *e)
{
    struct node *n;

    BT_GROW(c->nodes, c->n_nodes, c->cap_nodes);
    n = &c->nodes[c->n_nodes++];
    *n = (struct node){.row = {.id = c->n_nodes,
                               .site = site_of_agent(c),
                               .name = bt_strdup(e->node),
                               .tier = TIER_MAXIMUM,
                               .state = bt_strdup("up"),
                               .until_us = ROW_NULL64,
                               .busbw_mbs = ROW_NULL64,
                               .measured_us = ROW_NULL64,
                               .measure_us = ROW_NULL64,
                               .memory_gb = ROW_NULL32}};
    name_put(c, NAME_NODE, 0, e->node, c->n_nodes - 1);
    return n;
}

static void node_describe(struct core *c, struct node *n, const struct ev_node_report *e)
{
    uint64_t mask = e->n_acc >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << e->n_acc) - 1;

    bt_free(n->row.class_name);
    n->row.class_name = bt_strdup(e->class);
    node_classed(c, n, word_of(c, e->class));
    class_note(c, n->class_word);
    n->row.n_acc = e->n_acc;
    n->row.agent_pod = e->pod;
    n->row.agent_leaf = e->leaf;
    node_place(c, n);
    n->row.memory_gb = e->memory_gb ? e->memory_gb : ROW_NULL32;
    n->row.all_mask = (int64_t)(mask | n->busy); /* never less than what is in use */
    bt_free(n->row.inventory);
    n->row.inventory = bt_strdup(e->inventory ? e->inventory : "{}");
    row_copy(ROW_KIND_node, rows_put(&c->batch->rows, ROW_KIND_node, &n->row.id, 4), &n->row);
    nodes_changed(c);
}

static void node_seen(struct core *c, struct node *n)
{
    if (bt_streq(n->row.state, "down") && bt_streq(n->row.reason, "silent")) {
        if (n->trouble)
            node_set_state(c, n, "down", n->trouble);
        else
            node_set_state(c, n, "up", "-");
        node_judge(c, n);
        emit_event(c, n->trouble ? "node-heard" : "node-up", "facility/clock", n->row.name, NULL);
    }
    if (!n->reported)
        c->plan_due = true;
    n->reported = true;
    n->seen_us = c->now_us;
}

int agent_speaks(struct core *c, const struct event *ev, const char *node, struct bt_err *err)
{
    struct actor who;
    int rc = actor_of(c, &ev->who, &who, err);

    if (rc < 0 || (bt_streq(who.credential->row.kind, "agent") &&
                   bt_streq(who.credential->row.subject, node)))
        return rc;
    return bt_fail(err, BT_ERR_FORBIDDEN, "%s does not speak for node %s", who.text, node);
}

void step_node_report(struct core *c, const struct event *ev)
{
    const struct ev_node_report *e = &ev->u.node_report;
    struct node *n = node_find(c, e->node);
    struct bt_err err = {0};
    int rc = agent_speaks(c, ev, e->node, &err);

    if (rc == 0 && !n && !e->registers)
        rc = bt_fail(&err, BT_ERR_NOT_FOUND, "node %s has not registered", e->node);
    if (rc < 0) {
        refuse(c, &err, NULL);
        return;
    }
    if (!n)
        n = node_add(c, e);
    if (e->registers)
        node_describe(c, n, e);
    n->trials = e->trials;
    node_seen(c, n);
    for (int32_t i = 0; i < e->n_live; i++) {
        struct job *j = job_find(c, e->live[i].job, NULL);

        if (j && j->att && j->attempt == e->live[i].attempt) {
            j->att->seen_us = c->now_us;
            if (e->live[i].ckpt_us > j->att->wanted_us && e->live[i].ckpt_us <= c->now_us)
                j->att->ckpt_us = e->live[i].ckpt_us;
            if (j->att->state == ATTEMPT_UNREACHABLE) {
                j->att->state = ATTEMPT_RUNNING;
                emit_attempt(c, j);
            }
        }
    }
    if (e->registers) {
        struct bt_buf body = {0};

        bt_buf_printf(&body, "{\"site\":\"%s\",\"heartbeat_s\":30}",
                      n->row.site > 0 ? c->sites[n->row.site - 1].row.name : "");
        answer(c, 200, bt_buf_take(&body));
    } else {
        answer(c, 200, bt_strdup(node_shall_measure(n) ? "{\"measure\":true}" : "{}"));
    }
}

/* ---- the clock ---- */

void facility_failed(struct core *c, uint32_t slot, const char *why)
{
    struct job *j = job_at(c, slot);

    attempt_close(c, slot, why);
    if (j->stop == STOP_CANCEL) {
        job_terminal(c, slot, JOB_CANCELLED, NULL);
    } else if (j->requeue != REQUEUE_NEVER && j->attempt < j->max_attempts) {
        job_requeue(c, slot, 0);
    } else {
        job_outcome(c, j, why);
        job_terminal(c, slot, JOB_FAILED, NULL);
    }
}

static void tick_attempt(struct core *c, uint32_t slot)
{
    struct job *j = job_at(c, slot);
    struct attempt *a = j->att;
    bool fresh = c->now_us < c->epoch_start_us + c->set.grace_after_start_us;

    if (!a->claimed_us) {
        if (j->stop == STOP_CANCEL && a->born != c->batch->id) {
            attempt_close(c, slot, "cancelled before it was claimed");
            job_terminal(c, slot, JOB_CANCELLED, NULL);
        } else if (j->stop == STOP_PREEMPT && a->born != c->batch->id) {
            attempt_close(c, slot, "stopped before it was claimed");
            job_requeue(c, slot, 0);
        } else if (!fresh && a->preflight != PREFLIGHT_RUNS &&
                   c->now_us >= BT_MAX(a->wanted_us, a->preflight_us) + c->set.claim_timeout_us) {
            facility_failed(c, slot, "no shepherd claimed it in time");
        }
        return;
    }
    if (fresh || c->now_us < a->seen_us + c->set.node_silent_us)
        return;
    if (a->state != ATTEMPT_UNREACHABLE) {
        a->state = ATTEMPT_UNREACHABLE;
        emit_attempt(c, j);
        emit_job_event(c, "unreachable", "facility/clock", j, NULL);
    }
    if (c->now_us >= a->seen_us + c->set.node_silent_us + c->set.lease_us)
        facility_failed(c, slot, "its node fell silent and the shepherd's lease has run out");
}

static void tick_job(struct core *c, uint32_t slot)
{
    struct job *j = job_at(c, slot);

    if (j->att && j->att->state != ATTEMPT_ENDED) {
        tick_attempt(c, slot);
    } else if (j->state == JOB_FINISHING && j->finish_by_us && c->now_us >= j->finish_by_us) {
        struct ev_manifest late = {.job = j->id, .attempt = j->attempt, .incomplete = true};

        job_terminal(c, slot, j->verdict, &late);
    } else if (j->state == JOB_HELD && j->reason == HELD_QUOTA && j->hold_mras == 0) {
        if (hold_take(c, j, NULL) == 0)
            job_move(c, slot, JOB_QUEUED);
    } else if (j->state == JOB_HELD && j->reason == HELD_CLEARANCE) {
        struct clearance_report locks;

        if (locks_of(c, j->person, j->project, 0, j->tier, &locks) == 0 &&
            (j->hold_mras || hold_take(c, j, NULL) == 0))
            job_move(c, slot, JOB_QUEUED);
    } else if (j->state == JOB_QUEUED && j->tier > TIER_OPEN) {
        struct clearance_report locks;

        if (locks_of(c, j->person, j->project, 0, j->tier, &locks) > 0)
            job_hold(c, slot, HELD_CLEARANCE);
    }
}

static void tick_node(struct core *c, struct node *n)
{
    if (!(bt_streq(n->row.state, "up") || bt_streq(n->row.state, "degraded")) ||
        c->now_us < n->seen_us + c->set.node_silent_us ||
        c->now_us < c->epoch_start_us + c->set.grace_after_start_us)
        return;
    node_set_state(c, n, "down", "silent");
    n->reported = false;
    emit_event(c, "node-down", "facility/clock", n->row.name, NULL);
}

/* When nodes leave the plan or come back no other event says so. */
static void tick_outages(struct core *c)
{
    for (int32_t i = 0; i < c->n_outages; i++) {
        const struct row_outage *r = &c->outages[i].row;

        if ((r->from_us > c->tick_us && r->from_us <= c->now_us) ||
            (r->until_us > c->tick_us && r->until_us <= c->now_us))
            c->plan_due = true;
    }
    c->tick_us = c->now_us;
}

void step_tick(struct core *c)
{
    tick_outages(c);
    sites_cleared(c);
    /* Backwards: a job that becomes terminal leaves the list and the last one takes its place. */
    for (uint32_t i = c->n_live; i-- > 0;)
        if (i < c->n_live)
            tick_job(c, c->live[i]);
    for (int32_t i = 0; i < c->n_nodes; i++)
        tick_node(c, &c->nodes[i]);
    trials_tick(c);
    for (int32_t i = 0; i < c->n_projects; i++)
        c->projects[i].n_overdue = 0;
    for (uint32_t i = 0; i < c->n_jobs; i++) {
        const struct job *j = job_at(c, i);

        if (j->result_due_us && j->result_idx < 0 && job_state_terminal(j->state) &&
            c->now_us >= j->result_due_us + 7 * 86400 * BT_US_PER_S)
            c->projects[j->project - 1].n_overdue++;
    }
}

void core_policy(struct core *core, const struct policy *policy)
{
    core->policy = policy;
}

void step_policy(struct core *c, const struct event *ev)
{
    const struct ev_policy *e = &ev->u.policy;
    bool known = false;

    for (int32_t i = 0; i < c->n_policies; i++)
        known |= !memcmp(c->policies[i].b, e->policy->digest, 32);
    if (!known) {
        struct row_policy *r = rows_add(&c->batch->rows, ROW_KIND_policy);

        BT_GROW(c->policies, c->n_policies, c->cap_policies);
        memcpy(c->policies[c->n_policies++].b, e->policy->digest, 32);
        memcpy(r->digest.b, e->policy->digest, 32);
        r->at_us = c->now_us;
        r->text = bt_strdup(e->text ? e->text : "");
        emit_event(c, "policy", "facility/start", "policy", NULL);
    }
    c->policy = e->policy;
}
