/* A job is asked for: whether it is known already, who asks, for which project; then judge.h, and
 * acceptance or refusal. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/judge.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

/* ---- identity of the request ---- */

static int find_project(struct core *c, struct judging *g, struct bt_err *err)
{
    const char *slash = strchr(g->spec->project, '/');
    const char *name = slash ? slash + 1 : g->spec->project;
    int32_t nation = g->actor.nation;

    if (slash) {
        char code[JOB_PROJECT_MAX];
        struct nation *n;

        snprintf(code, sizeof code, "%.*s", (int)(slash - g->spec->project), g->spec->project);
        n = nation_find(c, code);
        nation = n ? n->row.id : 0;
    }
    g->project = project_find(c, nation, name);
    if (!g->project || !bt_streq(g->project->row.state, "active"))
        return bt_next(
            err,
            bt_fail(err, BT_ERR_NOT_FOUND, "there is no active project '%s'", g->spec->project),
            "beamtime project list");
    g->member = member_find(c, g->project->row.id, g->actor.person->row.id);
    if (!g->member || bt_streq(g->member->row.role, MEMBER_GONE))
        return bt_next(err,
                       bt_fail(err, BT_ERR_FORBIDDEN, "%s is not a member of project %s/%s",
                               g->actor.text, nation_code(c, g->project->row.nation),
                               g->project->row.name),
                       "ask its lead: beamtime member add");
    return 0;
}

/* `tasks`: j is the first of so many, which are answered for together; 0: it is alone. */
static void write_accepted(const struct core *c, const struct job *j, int32_t tasks,
                           struct bt_buf *to)
{
    struct json_writer w = {.to = to};
    const char *rules = word_text(c, j->rules);

    (void)bt_buf_room(to, 400); /* as long as most answers */
    jw_object(&w, NULL);
    jw_uuid(&w, "id", tasks ? &j->array_of : &j->id);
    jw_i64(&w, "number", j->number);
    if (tasks)
        jw_i64(&w, "tasks", tasks);
    jw_str(&w, "state", job_state_name(j->state));
    jw_str(&w, "reason", j->reason == HELD_NONE ? NULL : held_reason_name(j->reason));
    jw_i64(&w, "tier", j->tier);
    jw_array(&w, "rules");
    while (*rules) {
        size_t n = strcspn(rules, " ");

        jw_strn(&w, NULL, rules, n);
        rules += n + (rules[n] == ' ');
    }
    jw_end_array(&w);
    jw_decimal(&w, "hold_mras", j->hold_mras * BT_MAX(tasks, 1));
    if (j->plan_us)
        jw_time(&w, "start_at", j->plan_us);
    else
        jw_null(&w, "start_at");
    if (j->promise_us)
        jw_time(&w, "promise_at", j->promise_us);
    else
        jw_null(&w, "promise_at");
    jw_end_object(&w);
}

/* True if the id is known: the first answer again, or 409. */
static bool answer_duplicate(struct core *c, const struct ev_submit *s)
{
    struct job *j = job_find(c, s->n_tasks ? s->tasks[0].id : s->spec.id, NULL);
    struct bt_buf body = {0};
    struct bt_err err;

    if (!j)
        return false;
    if (memcmp(j->sha, s->body_sha256, sizeof j->sha)) {
        bt_fail(&err, BT_ERR_DUPLICATE_ID,
                "this id belongs to job %" PRId64 ", which asked for "
                "something else",
                j->number);
        refuse(c, &err, NULL);
        return true;
    }
    write_accepted(c, j, s->n_tasks, &body);
    answer(c, 201, bt_buf_take(&body));
    return true;
}

/* ---- acceptance ---- */

static uint32_t rules_word(struct core *c, const struct judging *g)
{
    BT_BUF_AUTO struct bt_buf ids = {0};

    for (int i = 0; i < g->decision.n_hits; i++)
        bt_buf_printf(&ids, "%s%s", i ? " " : "", policy_hit_id(c->policy, &g->decision.hits[i]));
    return word_of(c, bt_buf_text(&ids));
}

static uint16_t policy_of(struct core *c)
{
    for (int32_t i = 0; i < c->n_policies; i++)
        if (!memcmp(c->policies[i].b, c->policy->digest, 32))
            return (uint16_t)(i + 1);
    return 0;
}

/* `t` is the task of an array that it is, else NULL. */
static struct job *make_job(struct core *c, const struct judging *g, const struct ev_submit *e,
                            const struct ev_task *t, uint32_t *ret_slot)
{
    const struct job_spec *s = g->spec;
    struct job *j = job_new(c, t ? t->id : s->id, ret_slot);

    memcpy(j->sha, e->body_sha256, sizeof j->sha);
    memcpy(j->commit, t ? t->spec_commit : e->spec_commit, sizeof j->commit);
    j->number = c->next_number++;
    judge_describe(c, g, j);
    j->since_us = c->now_us;
    j->name = bt_strdup(s->name);
    j->kind = (uint8_t)s->kind;
    j->purpose_word = (uint16_t)word_of(c, judge_purpose(s));
    j->signal = (uint8_t)s->signal;
    j->max_attempts = (int16_t)s->max_attempts;
    j->embargo_days = (int16_t)s->embargo_days;
    j->singleton = s->singleton;
    j->data = data_list_of(c, s->datasets);
    j->after = s->after;
    j->after_ok = s->after_ok;
    if (t) {
        j->array_of = s->id;
        j->array_task = t->task;
        if (e->at_once && t - e->tasks >= e->at_once)
            j->after = t[-e->at_once].id; /* as many chains as may run side by side */
    }
    j->gflop = (int64_t)BT_MIN(g->gflop, 9e18);
    j->gflop_lineage = (int64_t)BT_MIN(g->gflop_lineage, 9e18);
    j->rules = rules_word(c, g);
    j->policy = policy_of(c);
    j->attempt = 1;
    return j;
}

static void emit_job(struct core *c, const struct job *j, const struct ev_submit *e,
                     const struct ev_task *t)
{
    struct row_job *r = rows_add(&c->batch->rows, ROW_KIND_job);

    r->id = j->id;
    r->number = j->number;
    memcpy(r->body_sha256.b, e->body_sha256, 32);
    r->person = j->person;
    r->project = j->project;
    r->nation = j->nation;
    r->name = bt_strdup(j->name);
    r->kind = j->kind;
    r->class_name = bt_strdup(word_text(c, j->class_word));
    r->accelerators = j->accelerators;
    r->per_node = j->per_node;
    r->level = j->level;
    r->level_required = j->level_required;
    r->walltime_s = j->walltime_s;
    r->grace_s = j->grace_s;
    r->signal = j->signal;
    r->requeue = j->requeue;
    r->max_attempts = j->max_attempts;
    r->tier = j->tier;
    r->gflop = j->gflop;
    r->gflop_lineage = j->gflop_lineage;
    r->purpose = bt_strdup(word_text(c, j->purpose_word));
    r->after_job = j->after;
    memcpy(r->spec_salt.b, t ? t->spec_salt : e->spec_salt, 32);
    memcpy(r->spec_commit.b, j->commit, 32);
    r->after_ok = j->after_ok;
    r->submit_us = j->submit_us;
    r->embargo_days = j->embargo_days;
    r->rules = bt_strdup(word_text(c, j->rules));
    if (j->policy)
        memcpy(r->policy.b, c->policies[j->policy - 1].b, 32);
    r->spec = bt_strdup(t ? t->text : e->text);
    r->array_of = j->array_of;
    r->array_task = t ? j->array_task : ROW_NULL32;
    r->min_accelerators = j->min_accelerators ? j->min_accelerators : ROW_NULL32;
    r->singleton = j->singleton ? 1 : ROW_NULL32;
    r->reservation = j->reservation ? j->reservation : ROW_NULL32;
    r->memory_gb = j->memory_gb ? j->memory_gb : ROW_NULL32;
    r->bandwidth_gb = j->bandwidth_gb ? j->bandwidth_gb : ROW_NULL32;
    r->datasets = j->data ? bt_strdup(data_names(c, j->data)) : NULL;
    r->submit_ord = c->batch->n_events++;
}

/* All tasks of an array that is waited for, as dependency_met. */
static int array_met(const struct core *c, const struct job *j)
{
    bool any = false, live = false;

    for (uint32_t i = 0; i < c->n_jobs; i++) {
        const struct job *t = job_at(c, i);

        if (!bt_uuid_eq(t->array_of, j->after))
            continue;
        any = true;
        if (!job_state_terminal(t->state))
            live = true;
        else if (j->after_ok && t->state != JOB_COMPLETED)
            return -1;
    }
    if (any)
        return !live;
    return j->after_ok ? -1 : 1;
}

static bool is_first_of_its_name(const struct core *c, const struct job *j)
{
    for (uint32_t i = 0; i < c->n_live; i++) {
        const struct job *o = job_at(c, c->live[i]);

        if (o->number < j->number && o->person == j->person && bt_streq(o->name, j->name))
            return false;
    }
    return true;
}

/* Is the job that this one waits for over as it must be? 0 no, 1 yes, -1 it never will. */
int dependency_met(const struct core *c, const struct job *j)
{
    const struct job *first;
    int met = 1;

    if (!bt_uuid_zero(j->after)) {
        first = job_find(c, j->after, NULL);
        if (!first)
            met = array_met(c, j);
        else if (!job_state_terminal(first->state))
            met = 0;
        else
            met = !j->after_ok || first->state == JOB_COMPLETED ? 1 : -1;
    }
    return met == 1 && j->singleton && !is_first_of_its_name(c, j) ? 0 : met;
}

static struct job *accept_one(struct core *c, struct judging *g, const struct ev_submit *e,
                              const struct ev_task *t)
{
    uint32_t slot;
    struct job *j = make_job(c, g, e, t, &slot);
    int rc;

    job_live(c, slot);
    g->actor.person->n_live++;
    emit_job(c, j, e, t);
    rc = hold_take(c, j, NULL);
    (void)rc; /* judge_quota has just seen that it fits */
    j->state = JOB_QUEUED;
    if (g->spec->hold) {
        j->state = JOB_HELD;
        j->reason = HELD_USER;
    } else if (dependency_met(c, j) == 0) {
        j->state = JOB_HELD;
        j->reason = HELD_DEPENDENCY;
    }
    emit_job_state(c, j);
    provisional(c, slot);
    return j;
}

static void accept(struct core *c, struct judging *g, const struct ev_submit *e)
{
    struct bt_buf body = {0};
    const struct job *first = accept_one(c, g, e, e->n_tasks ? &e->tasks[0] : NULL);

    for (int32_t i = 1; i < e->n_tasks; i++)
        (void)accept_one(c, g, e, &e->tasks[i]);
    c->plan_due = true;
    write_accepted(c, first, e->n_tasks, &body);
    answer(c, 201, bt_buf_take(&body));
}

static void answer_dry(struct core *c, const struct judging *g)
{
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};

    jw_object(&w, NULL);
    jw_uuid(&w, "id", &g->spec->id);
    jw_i64(&w, "tier", g->decision.tier);
    jw_array(&w, "rules");
    for (int i = 0; i < g->decision.n_hits; i++)
        jw_str(&w, NULL, policy_hit_id(c->policy, &g->decision.hits[i]));
    jw_end_array(&w);
    jw_decimal(&w, "hold_mras", g->cost_mras);
    if (g->n_jobs > 1)
        jw_i64(&w, "tasks", g->n_jobs);
    jw_bool(&w, "dry_run", true);
    jw_end_object(&w);
    answer(c, 200, bt_buf_take(&body));
    if (c->ev->reply_to) {
        struct plan_pending ask = judge_ask(c, g);

        c->batch->replies[c->batch->n_replies - 1].ask = bt_memdup(&ask, sizeof ask);
    }
}

/* The refusal names every failing lock and rule, and is audited as a decision. */
static void deny(struct core *c, struct judging *g)
{
    struct bt_buf more = {0};
    struct bt_buf audit = {0};
    struct json_writer w = {.to = &more};

    jw_i64(&w, "tier", g->decision.tier);
    jw_array(&w, "missing");
    bt_buf_add(&more, bt_buf_text(&g->missing), g->missing.n);
    jw_end_array(&w);
    jw_array(&w, "rules");
    for (int i = 0; i < g->decision.n_hits; i++) {
        BT_BUF_AUTO struct bt_buf why = {0};

        policy_hit_reason(c->policy, &g->decision, &g->decision.hits[i], &g->facts, &why);
        jw_object(&w, NULL);
        jw_str(&w, "id", policy_hit_id(c->policy, &g->decision.hits[i]));
        jw_str(&w, "text", bt_buf_text(&why));
        jw_end_object(&w);
    }
    jw_end_array(&w);
    bt_buf_printf(&audit, "{\"missing\":[%s]}", bt_buf_text(&g->missing));
    emit_event(c, "refused", g->actor.text, g->spec->name, bt_buf_take(&audit));
    refuse(c, &g->first, bt_buf_take(&more));
}

void step_submit(struct core *c, const struct event *ev)
{
    const struct ev_submit *e = &ev->u.submit;
    struct judging g = {.spec = &e->spec, .n_jobs = BT_MAX(e->n_tasks, 1)};
    struct bt_err err = {0};
    int rc = actor_of(c, &ev->who, &g.actor, &err);

    if (rc < 0 || !g.actor.person) {
        if (rc == 0)
            bt_fail(&err, BT_ERR_FORBIDDEN, "only a person can submit a job");
        refuse(c, &err, NULL);
        return;
    }
    if (!c->policy)
        rc = bt_fail(&err, BT_ERR_BUSY, "the policy is not loaded yet");
    if (rc == 0 && !e->dry_run && answer_duplicate(c, e))
        return;
    if (rc == 0)
        rc = id_in_window(c, e->spec.id, &err);
    if (rc == 0 && g.actor.person->n_live > c->set.max_queued_per_person - g.n_jobs)
        rc = bt_fail(&err, BT_ERR_TOO_MANY, "%s has %d unfinished jobs", g.actor.text,
                     g.actor.person->n_live);
    if (rc == 0)
        rc = find_project(c, &g, &err);
    if (rc == 0)
        rc = judge_facts(c, &g, &err);
    if (rc < 0) {
        refuse(c, &err, NULL);
        return;
    }
    judge_all(c, &g);
    if (g.worst != BT_OK)
        deny(c, &g);
    else if (e->dry_run)
        answer_dry(c, &g);
    else
        accept(c, &g, e);
    bt_buf_done(&g.missing);
}
