/* How a job ends: its ranks go, its manifest comes, its record enters the ledger.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"
#include "lib/record/leaf.h"

enum { EXIT_CHECKPOINTED = 85 };

/* ---- leaves ---- */

void person_leaf_name(int32_t person, char ret[16])
{
    snprintf(ret, 16, "p%d", person);
}

void leaf_job_of(const struct core *c, const struct job *j, struct leaf_texts *texts,
                 struct leaf_job *ret)
{
    leaf_flops_text((double)j->gflop * 1e9, texts->flops);
    person_leaf_name(j->person, texts->person);
    data_leaf_of(c, j, &texts->data);
    *ret = (struct leaf_job){
        .facility = c->facility,
        .job = j->id,
        .number = j->number,
        .nation = nation_code(c, j->nation),
        .project = c->projects[j->project - 1].row.name,
        .person = texts->person,
        .tier = j->tier,
        .job_kind = job_kind_names[j->kind],
        .accelerators = j->att ? j->att->accelerators : j->accelerators,
        .class = j->class_word ? word_text(c, j->class_word) : NULL,
        .held_mras = j->hold_mras,
        .flop_ceiling = texts->flops,
        .submitted_us = j->submit_us,
        .datasets = texts->data.v,
        .n_datasets = texts->data.n,
    };
    memcpy(ret->spec_commitment, j->commit, 32);
    if (j->policy)
        memcpy(ret->policy_sha256, c->policies[j->policy - 1].b, 32);
}

void leaf_unbuilt(struct bt_buf *leaf, const char *kind, const struct job *j,
                  const struct bt_err *err)
{
    char id[BT_UUID_TEXT];

    bt_buf_printf(leaf, "{\"body\":{\"error\":\"%s\",\"job\":\"%s\"},\"kind\":\"%s\",\"v\":1}",
                  bt_err_name(err->code), bt_uuid_format(j->id, id), kind);
}

/* Splits "BASE-1 GPAI-2" into its ids; `copy` is cut up and must outlive `ids`. */
static size_t split_rules(char *copy, const char **ids, size_t max)
{
    size_t n = 0;
    char *save = NULL;

    for (char *id = strtok_r(copy, " ", &save); id && n < max; id = strtok_r(NULL, " ", &save))
        ids[n++] = id;
    return n;
}

struct metrics {
    struct leaf_metric m[LEAF_METRICS_MAX];
    size_t n;
};

static int add_metric(void *arg, const char *key, const struct json *v)
{
    struct metrics *m = arg;
    const char *value = json_str(v, NULL);

    if (m->n < LEAF_METRICS_MAX && value && leaf_is_decimal(value) && bt_is_name(key, 63))
        m->m[m->n++] = (struct leaf_metric){key, value};
    return 0;
}

static const char *default_reason(enum job_state to)
{
    switch (to) {
    case JOB_COMPLETED:
        return "all ranks ended with status 0";
    case JOB_CANCELLED:
        return "cancelled";
    case JOB_TIMEOUT:
        return "stopped at its walltime";
    default:
        return "a rank failed";
    }
}

static void emit_record_leaf(struct core *c, struct job *j, enum job_state to, int64_t held,
                             const struct ev_manifest *m)
{
    static const enum leaf_outcome outcomes[JOB_STATES] = {
        [JOB_COMPLETED] = LEAF_COMPLETED,
        [JOB_FAILED] = LEAF_FAILED,
        [JOB_CANCELLED] = LEAF_CANCELLED,
        [JOB_TIMEOUT] = LEAF_TIMEOUT,
    };
    BT_AUTO char *rules = bt_strdup(word_text(c, j->rules));
    const char *ids[LEAF_RULES_MAX];
    JSON_AUTO struct json *metrics = NULL;
    struct metrics list = {.n = 0};
    struct bt_buf leaf = {0};
    struct bt_err err = {0};
    struct leaf_texts texts;
    struct leaf_record in = {
        .name = j->name,
        .attempts = j->attempt,
        .outcome = outcomes[to],
        .exit_code = j->start_us ? j->exit_code : -1,
        .signal = j->end_signal,
        .reason = phrase_text(&c->outcomes, j->outcome),
        .started_us = j->start_us,
        .ended_us = j->end_us,
        .charged_mras = j->charged_mras,
        .publish_by_us = j->result_due_us,
    };

    leaf_job_of(c, j, &texts, &in.job);
    in.job.held_mras = held;
    in.job.rules = ids;
    in.job.n_rules = split_rules(rules, ids, LEAF_RULES_MAX);
    if (m && m->metrics[0] &&
        json_parse(m->metrics, strlen(m->metrics), sizeof m->metrics, &metrics, NULL) == 0)
        (void)json_each(metrics, add_metric, &list);
    in.metrics = list.m;
    in.n_metrics = list.n;
    if (m) {
        in.manifest.status = m->incomplete ? LEAF_OUTPUTS_INCOMPLETE : LEAF_OUTPUTS_COMPLETE;
        memcpy(in.manifest.root, m->root, 32);
        memcpy(in.manifest.sha256, m->sha256, 32);
        in.manifest.files = m->files;
        in.manifest.bytes = m->bytes;
    }
    if (leaf_record_build(&in, &leaf, &err) < 0) {
        /* What a person chose (name, metrics) may not fit a leaf; the record must be all the same.
         */
        in.name = NULL;
        in.n_metrics = 0;
        in.reason = default_reason(to);
        if (leaf_record_build(&in, &leaf, &err) < 0)
            leaf_unbuilt(&leaf, "record", j, &err);
    }
    emit_leaf(c, "record", j->id, bt_buf_take(&leaf), &j->record_idx);
}

/* Results of less than an accelerator-hour owe no account beyond the machine record. */
static bool owes_result(const struct job *j)
{
    return j->start_us && j->charged_mras >= INT64_C(3600000);
}

/* A job that is held for a dependency is queued if that is met, and ends if it never will be. */
static bool go_on(struct core *c, uint32_t slot)
{
    struct job *j = job_at(c, slot);
    int met = dependency_met(c, j);

    if (met > 0) {
        job_move(c, slot, JOB_QUEUED);
    } else if (met < 0) {
        const struct job *first = job_find(c, j->after, NULL);
        BT_AUTO char *why =
            first
                ? bt_printf("job %" PRId64 ", which it waited for, did not complete", first->number)
                : bt_strdup("a task of the array that it waited for did not complete");

        job_outcome(c, j, why);
        job_terminal(c, slot, JOB_CANCELLED, NULL);
    }
    return met != 0;
}

static bool waits_for(const struct job *j, const struct job *done)
{
    return !bt_uuid_zero(j->after) &&
           (bt_uuid_eq(j->after, done->id) || bt_uuid_eq(j->after, done->array_of));
}

/* Those who waited for this job go on, or end with it; of those who waited for its name the first.
 */
static void wake_dependents(struct core *c, const struct job *done)
{
    uint32_t first = PLAN_NONE;

    if (!job_is_awaited(c, done))
        return;
    for (uint32_t i = c->n_live; i-- > 0;) {
        uint32_t slot;
        const struct job *j;

        if (i >= c->n_live)
            continue;
        slot = c->live[i];
        j = job_at(c, slot);
        if (j->state != JOB_HELD || j->reason != HELD_DEPENDENCY)
            continue;
        if (waits_for(j, done))
            (void)go_on(c, slot);
        else if (j->singleton && j->person == done->person && bt_streq(j->name, done->name) &&
                 (first == PLAN_NONE || j->number < job_at(c, first)->number))
            first = slot;
    }
    if (first != PLAN_NONE && job_at(c, first)->state == JOB_HELD)
        (void)go_on(c, first);
}

void job_terminal(struct core *c, uint32_t slot, enum job_state to, const struct ev_manifest *m)
{
    struct job *j = job_at(c, slot);
    int64_t held = j->hold_mras;
    bool facility = j->att && !j->att->started_us;

    attempt_settle(c, j, facility ? 0 : attempt_charge(j));
    if (!j->end_us)
        j->end_us = c->now_us;
    if (!j->outcome)
        job_outcome(c, j, default_reason(to));
    if (owes_result(j) && c->policy)
        j->result_due_us =
            j->end_us + (int64_t)c->policy->tiers[j->tier].result_days * 86400 * BT_US_PER_S;
    emit_record_leaf(c, j, to, held, m);
    j->finish_by_us = 0;
    j->verdict = VERDICT_NONE;
    j->state = (uint8_t)to;
    j->reason = HELD_NONE;
    j->since_us = c->now_us;
    j->promise_us = 0;
    emit_job_state(c, j);
    emit_job_event(c, job_state_name(to), "facility/core", j, NULL);
    emit_settled(c, j);
    habit_note(c, j);
    attempt_drop(j);
    job_not_live(c, slot);
    c->persons[j->person - 1].n_live--;
    c->plan_due = true;
    wake_dependents(c, j);
}

/* ---- the ranks are gone ---- */

static struct job *spoken_of(struct core *c, const struct event *ev, struct bt_uuid id,
                             int32_t attempt, uint32_t *slot, struct bt_err *err)
{
    struct job *j = job_find(c, id, slot);
    struct actor who;

    if (actor_of(c, &ev->who, &who, err) < 0)
        return NULL;
    if (!j) {
        bt_fail(err, BT_ERR_NOT_FOUND, "there is no such job");
        return NULL;
    }
    if (!bt_streq(who.credential->row.kind, "agent") || !j->att || j->att->node <= 0 ||
        !bt_streq(c->nodes[j->att->node - 1].row.name, who.credential->row.subject)) {
        bt_fail(err, j->att ? BT_ERR_FORBIDDEN : BT_ERR_FENCED, "%s does not run job %" PRId64,
                who.text, j->number);
        return NULL;
    }
    if (j->attempt != attempt || !j->att) {
        bt_fail(err, BT_ERR_FENCED, "attempt %d of job %" PRId64 " is over", attempt, j->number);
        return NULL;
    }
    return j;
}

static enum job_state verdict_of(const struct job *j, const struct ev_ranks_ended *e)
{
    if (j->stop == STOP_CANCEL)
        return JOB_CANCELLED;
    if (e->reason == END_WALLTIME)
        return JOB_TIMEOUT;
    if (e->reason == END_EXITED && e->exit_code == 0 && e->signal == 0)
        return JOB_COMPLETED;
    return JOB_FAILED;
}

/* What a stopped attempt costs: the work up to its last checkpoint; the rest is lost and given
 * back. A checkpoint written after the signal saved all of it. */
static int64_t saved_charge(const struct job *j, const struct ev_ranks_ended *e)
{
    const struct attempt *a = j->att;
    int64_t upto = BT_MAX(a->ckpt_us, e->ckpt_us);
    int64_t all = attempt_charge(j), from = a->wanted_us + attempt_tried_us(a, a->ended_us);

    if (e->checkpointed || e->exit_code == EXIT_CHECKPOINTED)
        return all;
    if (upto <= from)
        return 0;
    return BT_MIN(all, quota_cost_mras(a->accelerators,
                                       quota_seconds_up(from, BT_MIN(upto, a->ended_us)),
                                       j->rate_milli));
}

/* Does the job's end lead to another attempt? *ret_charge is what the ended one costs. */
static bool tries_again(const struct job *j, const struct ev_ranks_ended *e, int64_t *ret_charge)
{
    bool facility = e->reason == END_START_FAILED || e->reason == END_LOST;

    *ret_charge = facility ? 0 : attempt_charge(j);
    if (j->stop == STOP_CANCEL)
        return false;
    if (j->stop == STOP_PREEMPT && (e->reason == END_STOPPED || facility)) {
        *ret_charge = facility ? 0 : saved_charge(j, e);
        return true; /* however often: it is not the job's doing */
    }
    if (j->attempt >= j->max_attempts)
        return false;
    if (e->exit_code == EXIT_CHECKPOINTED && e->reason != END_LOST)
        return true;
    if (facility)
        return j->requeue != REQUEUE_NEVER;
    return j->requeue == REQUEUE_ON_FAILURE && verdict_of(j, e) == JOB_FAILED;
}

static void describe_end(struct core *c, struct job *j, const struct ev_ranks_ended *e)
{
    const char *said = NULL;
    char text[48];

    if (e->text[0]) {
        said = e->text;
    } else if (e->reason == END_EXITED && e->signal) {
        (void)snprintf(text, sizeof text, "a rank ended by signal %d", e->signal);
        said = text;
    } else if (e->reason == END_EXITED && e->exit_code) {
        (void)snprintf(text, sizeof text, "a rank ended with status %d", e->exit_code);
        said = text;
    } else if (e->reason == END_LOST) {
        said = "its shepherd vanished";
    } else if (e->reason == END_START_FAILED) {
        said = "its ranks could not be started";
    }
    job_outcome(c, j, said);
}

static void end_ranks(struct core *c, uint32_t slot, const struct ev_ranks_ended *e)
{
    static const char *const reasons[] = {"exited", "walltime", "stopped", "start-failed", "lost"};
    struct job *j = job_at(c, slot);
    bool facility = e->reason == END_START_FAILED || e->reason == END_LOST;
    enum job_state verdict = verdict_of(j, e);
    int64_t charge;
    bool again;

    j->att->exit_code = j->exit_code = e->exit_code;
    j->att->signal = j->end_signal = e->signal;
    j->checkpointed = e->checkpointed;
    attempt_close(c, slot, reasons[e->reason]);
    c->batch->wants[c->batch->n_wants - 1].told = true;
    again = tries_again(j, e, &charge);
    emit_job_event(c, "ranks-ended", "facility/agent", j, NULL);
    if (again) {
        job_requeue(c, slot, charge);
        return;
    }
    describe_end(c, j, e);
    j->end_us = c->now_us;
    if (facility) { /* refunded whole: an attempt that never ran its course costs nothing */
        attempt_settle(c, j, 0);
        job_terminal(c, slot, verdict, NULL);
        return;
    }
    if (j->state == JOB_STARTING) { /* ended so soon that `started` was not seen */
        j->start_us = j->att->started_us = j->att->claimed_us;
        job_move(c, slot, JOB_RUNNING);
    }
    j->verdict = (uint8_t)verdict;
    j->finish_by_us = c->now_us + c->set.upload_timeout_us;
    job_move(c, slot, JOB_FINISHING);
}

/* An end that brings the manifest is the whole of it: one transaction. */
static void take_manifest(struct core *c, uint32_t slot, const struct ev_ranks_ended *e)
{
    struct job *j = job_at(c, slot);

    if (e->has_manifest && j->state == JOB_FINISHING)
        job_terminal(c, slot, j->verdict, &e->manifest);
}

/* Whether the daemon has heard the end and what was produced before. */
static bool is_settled(struct core *c, struct bt_uuid id, int32_t attempt)
{
    const struct job *j = job_find(c, id, NULL);

    return j && job_state_terminal(j->state) && j->attempt == attempt;
}

void step_ranks_ended(struct core *c, const struct event *ev)
{
    const struct ev_ranks_ended *e = &ev->u.ranks_ended;
    struct bt_err err = {0};
    uint32_t slot;
    struct job *j;

    if (e->has_manifest && is_settled(c, e->job, e->attempt)) {
        answer(c, 200, bt_strdup("{}")); /* said again: the same answer */
        return;
    }
    j = spoken_of(c, ev, e->job, e->attempt, &slot, &err);
    if (j && j->att->state == ATTEMPT_ENDED) {
        take_manifest(c, slot, e);
        answer(c, 200, bt_strdup("{}"));
        return;
    }
    if (j && !j->att->claimed_us) {
        bt_fail(&err, BT_ERR_FENCED, "attempt %d of job %" PRId64 " was not claimed", e->attempt,
                j->number);
        j = NULL;
    }
    if (!j) {
        refuse(c, &err, NULL);
        return;
    }
    end_ranks(c, slot, e);
    take_manifest(c, slot, e);
    start_next(c, slot);
    answer(c, 200, bt_strdup("{}"));
}

void step_manifest(struct core *c, const struct event *ev)
{
    const struct ev_manifest *e = &ev->u.manifest;
    struct bt_err err = {0};
    uint32_t slot;
    struct job *j;

    if (is_settled(c, e->job, e->attempt)) {
        answer(c, 200, bt_strdup("{}"));
        return;
    }
    j = spoken_of(c, ev, e->job, e->attempt, &slot, &err);
    if (j && j->state != JOB_FINISHING) {
        bt_fail(&err, BT_ERR_JOB_STATE, "job %" PRId64 " is %s, not finishing", j->number,
                job_state_name(j->state));
        j = NULL;
    }
    if (!j) {
        refuse(c, &err, NULL);
        return;
    }
    job_terminal(c, slot, j->verdict, e);
    answer(c, 200, bt_strdup("{}"));
}

/* ---- its owner ends it or holds it ---- */

struct job *own_job(struct core *c, const struct event *ev, struct bt_uuid id, uint32_t *slot,
                    struct actor *who, struct bt_err *err)
{
    struct job *j = job_find(c, id, slot);
    const struct member *m;

    if (actor_of(c, &ev->who, who, err) < 0)
        return NULL;
    if (!j) {
        bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no such job"), "beamtime queue");
        return NULL;
    }
    m = who->person ? member_find(c, j->project, who->person->row.id) : NULL;
    if ((who->person && who->person->row.id == j->person) || (m && bt_streq(m->row.role, "lead")) ||
        (who->roles & (ROLE_OPERATOR | ROLE_COUNCIL)) ||
        ((who->roles & ROLE_NATION_ADMIN) && who->nation == j->nation))
        return j;
    bt_fail(err, BT_ERR_FORBIDDEN, "job %" PRId64 " belongs to somebody else", j->number);
    return NULL;
}

static void answer_state(struct core *c, const struct job *j)
{
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};

    jw_object(&w, NULL);
    jw_uuid(&w, "id", &j->id);
    jw_i64(&w, "number", j->number);
    jw_str(&w, "state", job_state_name(j->state));
    jw_end_object(&w);
    answer(c, 200, bt_buf_take(&body));
}

static void cancel(struct core *c, uint32_t slot, const struct actor *who, const char *reason)
{
    struct job *j = job_at(c, slot);
    bool unclaimed;
    BT_AUTO char *why = reason && reason[0] ? bt_printf("cancelled by %s: %s", who->text, reason)
                                            : bt_printf("cancelled by %s", who->text);

    job_outcome(c, j, why);
    emit_job_event(c, "cancel", who->text, j, NULL);
    if (j->state == JOB_FINISHING) {
        j->verdict = JOB_CANCELLED;
        emit_job_state(c, j);
        return;
    }
    unclaimed = j->att && !j->att->claimed_us && j->att->state != ATTEMPT_ENDED;
    if (j->att && !unclaimed) {
        j->stop = STOP_CANCEL;
        j->att->state = ATTEMPT_PREEMPTING;
        emit_attempt(c, j);
        emit_job_state(c, j);
        emit_want(c, j, WANT_STOP);
        return;
    }
    if (unclaimed && j->att->born == c->batch->id) {
        j->stop = STOP_CANCEL; /* its allocation is in this very batch: the next tick ends it */
        emit_job_state(c, j);
        return;
    }
    if (unclaimed)
        attempt_close(c, slot, "cancelled before it was claimed");
    job_terminal(c, slot, JOB_CANCELLED, NULL);
}

void step_cancel(struct core *c, const struct event *ev)
{
    struct bt_err err = {0};
    struct actor who;
    uint32_t slot;
    struct job *j = own_job(c, ev, ev->u.cancel.job, &slot, &who, &err);

    if (!j) {
        refuse(c, &err, NULL);
        return;
    }
    if (job_state_terminal(j->state)) {
        if (j->state == JOB_CANCELLED) {
            answer_state(c, j);
            return;
        }
        bt_fail(&err, BT_ERR_JOB_STATE, "job %" PRId64 " is %s already", j->number,
                job_state_name(j->state));
        refuse(c, &err, NULL);
        return;
    }
    if (j->stop != STOP_CANCEL)
        cancel(c, slot, &who, ev->u.cancel.reason);
    answer_state(c, j);
}

void step_hold(struct core *c, const struct event *ev)
{
    const struct ev_hold *e = &ev->u.hold;
    struct bt_err err = {0};
    struct actor who;
    uint32_t slot;
    struct job *j = own_job(c, ev, e->job, &slot, &who, &err);
    bool held = j && j->state == JOB_HELD && j->reason == HELD_USER;

    if (j && !held && j->state != (e->release ? JOB_HELD : JOB_QUEUED)) {
        bt_fail(&err, BT_ERR_JOB_STATE, "job %" PRId64 " is %s", j->number,
                job_state_name(j->state));
        j = NULL;
    } else if (j && e->release && !held) {
        bt_fail(&err, BT_ERR_JOB_STATE, "job %" PRId64 " is not held by its owner: %s", j->number,
                held_reason_sentence(j->reason));
        j = NULL;
    }
    if (!j) {
        refuse(c, &err, NULL);
        return;
    }
    if (e->release) {
        j->reason = HELD_DEPENDENCY;
        if (!go_on(c, slot))
            emit_job_state(c, j);
    } else if (!held) {
        j->reason = HELD_USER;
        job_move(c, slot, JOB_HELD);
    }
    emit_job_event(c, e->release ? "release" : "hold", who.text, j, NULL);
    answer_state(c, j);
}
