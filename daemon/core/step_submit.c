/* A job is asked for: identity, duplicates, policy, the four locks, quota, publication.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

/* Everything that one submission is judged by; on the stack of one step. */
struct judging {
    const struct job_spec *spec;
    int32_t n_jobs; /* tasks of an array, else 1 */
    struct actor actor;
    struct project *project;
    struct member *member;
    const struct outage *reservation; /* NULL: asks for none */
    struct policy_facts facts;
    struct policy_decision decision;
    struct clearance_report locks;
    double gflop, gflop_lineage;
    int64_t rate_milli, cost_mras;
    struct bt_buf missing; /* elements of the array "missing" */
    enum bt_errno worst;   /* the first thing that failed names the error */
    struct bt_err first;
};

static void miss(struct judging *g, enum bt_errno code, const char *lock, const char *text,
                 const char *next)
{
    struct json_writer w = {.to = &g->missing};

    if (g->missing.n)
        bt_buf_char(&g->missing, ',');
    jw_object(&w, NULL);
    jw_str(&w, "lock", lock);
    jw_str(&w, "text", text);
    jw_str(&w, "next", next);
    jw_end_object(&w);
    if (g->worst == BT_OK) {
        g->worst = code;
        bt_fail(&g->first, code, "%s: %s", lock, text);
        bt_next(&g->first, -(int)code, "%s", next);
    }
}

static int64_t overdue_of(const struct core *c, const struct project *p)
{
    (void)c;
    return p->n_overdue;
}

/* Bits of a list of words; -1 if one of them is unknown to the policy. */
static int word_bits(enum policy_attr attr, const char words[][JOB_WORD_MAX], uint64_t *ret,
                     struct bt_err *err)
{
    *ret = 0;
    for (int i = 0; i < JOB_WORDS && words[i][0]; i++) {
        int v = policy_value_by_name(attr, words[i]);

        if (v < 0)
            return bt_fail(err, BT_ERR_INVALID, "'%s' is not a value of %s", words[i],
                           policy_attr_info(attr)->name);
        *ret |= POLICY_BIT(v);
    }
    return 0;
}

/* Who says nothing declares what the kind of job is for. */
static const char *purpose_of(const struct job_spec *s)
{
    if (s->purpose[0])
        return s->purpose;
    return s->kind == JOB_TRAIN ? "train" : s->kind == JOB_COLL ? "benchmark" : "general";
}

static int purpose_fact(struct judging *g, struct bt_err *err)
{
    int v = policy_value_by_name(POLICY_PURPOSE, purpose_of(g->spec));

    if (v < 0)
        return bt_fail(err, BT_ERR_INVALID, "'%s' is not a value of purpose", g->spec->purpose);
    policy_fact_bits(&g->facts, POLICY_PURPOSE, POLICY_BIT(v));
    return 0;
}

/* The compute ceiling: accelerators × dense peak × walltime × 0.6, or a lower declared value
 * (the agent meters it). In GFLOP, rounded up. */
static void ceilings(const struct core *c, struct judging *g)
{
    const struct job_spec *s = g->spec;
    double peak = (double)peak_gflops_of(c, s->class, c->now_us);

    g->gflop = ceil((double)s->accelerators * peak * s->walltime_s * 0.6);
    if (s->flops > 0 && s->flops / 1e9 < g->gflop)
        g->gflop = ceil(s->flops / 1e9);
    g->gflop_lineage = g->gflop;
    for (int i = 0; i < JOB_PARENTS && s->parents[i] >= 0; i++)
        for (uint32_t k = 0; k < c->n_jobs; k++)
            if (job_at(c, k)->record_idx == s->parents[i])
                g->gflop_lineage += (double)job_at(c, k)->gflop_lineage;
}

static int gather_facts(struct core *c, struct judging *g, struct bt_err *err)
{
    const struct job_spec *s = g->spec;
    uint64_t data = 0;
    uint64_t domains = 0;
    int rc;

    ceilings(c, g);
    g->facts = (struct policy_facts){.at_us = c->now_us, .n_nations = c->n_nations};
    policy_fact_num(&g->facts, POLICY_FLOP_JOB, g->gflop * 1e9);
    policy_fact_num(&g->facts, POLICY_FLOP_LINEAGE, g->gflop_lineage * 1e9);
    policy_fact_num(&g->facts, POLICY_ACCELS, s->accelerators);
    if (s->params > 0)
        policy_fact_num(&g->facts, POLICY_PARAMS, (double)s->params);
    policy_fact_num(&g->facts, POLICY_EMBARGO_DAYS, s->embargo_days);
    policy_fact_num(&g->facts, POLICY_PUBLISH_DUE, (double)overdue_of(c, g->project));
    rc = word_bits(POLICY_DATA, s->data, &data, err);
    if (rc == 0)
        rc = word_bits(POLICY_DOMAIN, s->domains, &domains, err);
    if (rc == 0)
        rc = purpose_fact(g, err);
    if (rc < 0)
        return rc;
    policy_fact_bits(&g->facts, POLICY_DATA, data);
    policy_fact_bits(&g->facts, POLICY_DOMAIN, domains);
    policy_fact_bits(&g->facts, POLICY_EGRESS, POLICY_BIT(POLICY_EGRESS_OPEN));
    policy_fact_bits(&g->facts, POLICY_KIND,
                     POLICY_BIT(policy_value_by_name(POLICY_KIND, job_kind_names[s->kind])));
    return 0;
}

/* ---- the judges: each adds what is missing ---- */

static void judge_policy(struct core *c, struct judging *g)
{
    const struct policy_decision *d = &g->decision;

    policy_decide(c->policy, &g->facts, &g->decision);
    for (int i = 0; i < d->n_hits; i++)
        if (d->hits[i].forbid) {
            BT_BUF_AUTO struct bt_buf why = {0};
            bool due = !strncmp(policy_hit_id(c->policy, &d->hits[i]), "PUB-", 4);

            policy_hit_reason(c->policy, d, &d->hits[i], &g->facts, &why);
            miss(g, due ? BT_ERR_UNPUBLISHED : BT_ERR_POLICY_DENIED,
                 policy_hit_id(c->policy, &d->hits[i]), bt_buf_text(&why), "");
        }
    if (d->outcome == POLICY_HOLD) {
        char text[120];

        snprintf(text, sizeof text, "0 of %d nations, 0 of %d safety reviewers have approved",
                 d->approvals, d->terms.reviewers);
        miss(g, BT_ERR_POLICY_DENIED, "approvals", text, "ask your nation to propose the job");
    }
}

/* A lock as it is stored; open work (tier 0) needs nobody's clearance. */
static struct clearance lock(int need, int32_t tier, int64_t until_us)
{
    if (need == TIER_OPEN)
        return (struct clearance){true, BT_MAX(tier, 0), CLEARANCE_FOREVER};
    return (struct clearance){tier > 0, tier, until_us};
}

int locks_of(const struct core *c, int32_t person, int32_t project, int32_t site, int tier,
             struct clearance_report *ret)
{
    const struct row_person *p = &c->persons[person - 1].row;
    const struct row_project *pr = &c->projects[project - 1].row;
    struct clearance_locks l = {0};

    l.lock[LOCK_PERSON] = lock(tier, p->tier, p->tier_until_us);
    if (p->institution > 0) {
        const struct row_institution *i = &c->institutions[p->institution - 1].row;

        l.lock[LOCK_INSTITUTION] = lock(tier, i->tier, i->tier_until_us);
    } else { /* nobody vouches beyond open work for who belongs to no institution */
        l.lock[LOCK_INSTITUTION] = (struct clearance){true, 0, CLEARANCE_FOREVER};
    }
    l.lock[LOCK_PROTOCOL] = lock(tier, pr->tier, pr->tier_until_us);
    for (int32_t i = 0; i < c->n_sites; i++) {
        const struct row_site *s = &c->sites[i].row;
        struct clearance *best = &l.lock[LOCK_SITE];
        bool counts = site ? s->id == site : bt_streq(s->state, "up");

        if (counts && (!best->given || s->tier > best->tier))
            *best = lock(tier, s->tier, s->tier_until_us);
    }
    return clearance_check(&l, tier, c->now_us, ret);
}

static void judge_locks(struct core *c, struct judging *g)
{
    struct clearance_names names = {.project = g->project->row.name};
    char full[160];

    snprintf(full, sizeof full, "%s/%s", nation_code(c, g->project->row.nation),
             g->project->row.name);
    names.project = full;
    if (g->actor.person->row.institution > 0)
        names.institution = c->institutions[g->actor.person->row.institution - 1].row.name;
    locks_of(c, g->actor.person->row.id, g->project->row.id, 0, g->decision.tier, &g->locks);
    for (int i = 0; g->locks.n_bad && i < LOCKS; i++) {
        BT_BUF_AUTO struct bt_buf text = {0};
        BT_BUF_AUTO struct bt_buf who = {0};
        BT_BUF_AUTO struct bt_buf command = {0};

        if (g->locks.fault[i] == CLEARANCE_FINE)
            continue;
        clearance_sentence(&g->locks, i, &names, &text);
        clearance_mend(&g->locks, i, &names, &who, &command);
        miss(g, BT_ERR_CLEARANCE_TOO_LOW, clearance_lock_name(i), bt_buf_text(&text),
             bt_buf_text(&command));
    }
}

static void judge_account(struct core *c, struct judging *g, int32_t id, const char *level)
{
    const struct account *a = id ? &c->accounts[id - 1] : NULL;
    char when[BT_TIME_MAX];
    char text[160];

    if (!a || a->granted + a->row.overdraft <= 0)
        snprintf(text, sizeof text, "the %s has no quota", level);
    else if (c->now_us < a->row.from_us || c->now_us >= a->row.until_us)
        snprintf(text, sizeof text, "the quota of the %s is not in force now", level);
    else if (c->now_us + g->spec->walltime_s * BT_US_PER_S > a->row.until_us)
        snprintf(text, sizeof text, "would run beyond the quota of the %s, which ends %s", level,
                 bt_time_format(a->row.until_us, when));
    else if (g->cost_mras > a->free + a->row.overdraft || a->free < -a->row.overdraft)
        snprintf(text, sizeof text, "needs %.2f accelerator-hours, %.2f of the %s are free",
                 (double)g->cost_mras / 3.6e6, (double)(a->free + a->row.overdraft) / 3.6e6, level);
    else
        return;
    miss(g, BT_ERR_QUOTA_EXCEEDED, "quota", text, "beamtime quota show");
}

static void judge_quota(struct core *c, struct judging *g)
{
    g->rate_milli = rate_of(c, g->spec->class, c->now_us);
    g->cost_mras = quota_cost_mras(g->spec->accelerators, g->spec->walltime_s, g->rate_milli);
    if (g->cost_mras < 0 || __builtin_mul_overflow(g->cost_mras, g->n_jobs, &g->cost_mras)) {
        miss(g, BT_ERR_QUOTA_EXCEEDED, "quota", "the cost of this job cannot be counted", "");
        return;
    }
    judge_account(c, g, c->nations[g->project->row.nation - 1].account, "nation");
    judge_account(c, g, g->project->account, "project");
    judge_account(c, g, g->member->account, "person");
}

/* The job as the planner sees it. */
static struct plan_pending shape_of(struct core *c, const struct judging *g)
{
    const struct job_spec *s = g->spec;
    struct job as = {.accelerators = s->accelerators,
                     .min_accelerators = s->min_accelerators,
                     .per_node = (int16_t)s->per_node,
                     .reservation = g->reservation ? g->reservation->row.id : 0,
                     .memory_gb = (uint16_t)s->memory_gb,
                     .bandwidth_gb = (uint16_t)s->bandwidth_gb,
                     .walltime_s = s->walltime_s,
                     .grace_s = (int16_t)s->grace_s,
                     .level = (uint8_t)s->level,
                     .level_required = s->level_required,
                     .class_word = (uint16_t)word_of(c, s->class),
                     .tier = (uint8_t)g->decision.tier,
                     .requeue = (uint8_t)s->requeue,
                     .submit_us = c->now_us,
                     .nation = g->project->row.nation,
                     .project = g->project->row.id,
                     .person = g->actor.person->row.id};

    return pending_of(c, &as, c->n_jobs);
}

/* Could the facility ever hold it, every node up and empty? */
static void judge_size(struct core *c, struct judging *g)
{
    const struct job_spec *s = g->spec;
    struct plan_pending ask = shape_of(c, g);
    uint32_t class = word_of(c, s->class);
    struct bt_err err = {0};
    bool known = !s->class[0];

    for (int32_t i = 0; i < c->n_nodes && !known; i++)
        known = c->nodes[i].class_word == class;
    if (!known)
        bt_fail(&err, BT_ERR_IMPOSSIBLE, "the facility has no accelerators of class %s", s->class);
    else if (sched_limits_allow(limits_of(c), &ask, &err) == 0)
        return;
    miss(g, BT_ERR_IMPOSSIBLE, "size", err.text, err.next[0] ? err.next : "beamtime node list");
}

/* The reservation's nodes alone, every one up and empty. */
static int fits_reservation(const struct core *c, const struct outage *o,
                            const struct plan_pending *ask, struct bt_err *err)
{
    struct plan_node *nodes = bt_new_n(struct plan_node, (size_t)c->n_nodes + 1);
    struct plan_input in = {.now_us = c->now_us, .nodes = nodes, .n_nodes = (uint32_t)c->n_nodes};
    int rc;

    reservation_nodes(c, &o->row, nodes);
    rc = sched_possible(&in, ask, err);
    bt_free(nodes);
    return rc;
}

/* It is there, not over, theirs, and large and long enough. */
static void judge_reservation(struct core *c, struct judging *g)
{
    const char *name = g->spec->reservation;
    const struct outage *o = name[0] ? reservation_find(c, name) : NULL;
    struct job as = {.walltime_s = g->spec->walltime_s, .grace_s = (int16_t)g->spec->grace_s};
    BT_BUF_AUTO struct bt_buf text = {0}, next = {0};
    struct plan_pending ask;
    struct bt_err err = {0};
    char when[BT_TIME_MAX];
    enum bt_errno code = BT_ERR_CONFLICT;

    if (!name[0])
        return;
    bt_buf_str(&next, "beamtime reservation list");
    if (!o) {
        code = BT_ERR_NOT_FOUND;
        bt_buf_printf(&text, "there is no reservation '%s'", name);
    } else if (o->row.until_us <= c->now_us) {
        bt_buf_printf(&text, "reservation %s ended %s", name,
                      bt_time_format(o->row.until_us, when));
    } else if (o->row.nation != g->project->row.nation ||
               (o->row.project != ROW_NULL32 && o->row.project != g->project->row.id)) {
        code = BT_ERR_FORBIDDEN;
        bt_buf_printf(&text, "reservation %s is for jobs of %s%s%s", name,
                      nation_code(c, o->row.nation), o->row.project != ROW_NULL32 ? "/" : "",
                      o->row.project != ROW_NULL32 ? c->projects[o->row.project - 1].row.name : "");
    } else if (BT_MAX(o->row.from_us, c->now_us) + reservation_need_us(&as) > o->row.until_us) {
        bt_buf_printf(&text,
                      "the job would not end before reservation %s does, %s: it needs %d s and %d "
                      "s of grace",
                      name, bt_time_format(o->row.until_us, when), as.walltime_s, as.grace_s);
        next.n = 0;
        bt_buf_str(&next, "ask for less --time");
    } else {
        g->reservation = o;
        ask = shape_of(c, g);
        if (fits_reservation(c, o, &ask, &err) == 0)
            return;
        code = BT_ERR_IMPOSSIBLE;
        bt_buf_printf(&text, "of the nodes of reservation %s: %s", name, err.text);
    }
    miss(g, code, "reservation", bt_buf_text(&text), bt_buf_text(&next));
}

/* What it waits for must not have failed already: it would wait for ever. */
static void judge_after(struct core *c, struct judging *g)
{
    const struct job as = {.after = g->spec->after, .after_ok = g->spec->after_ok};

    if (dependency_met(c, &as) < 0)
        miss(g, BT_ERR_CONFLICT, "dependency", "the job that it shall wait for did not complete",
             "beamtime job list, or --dependency afterany:JOB");
}

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
    j->submit_us = j->since_us = c->now_us;
    j->person = g->actor.person->row.id;
    j->project = g->project->row.id;
    j->nation = g->project->row.nation;
    j->name = bt_strdup(s->name);
    j->kind = (uint8_t)s->kind;
    j->class_word = (uint16_t)word_of(c, s->class);
    j->purpose_word = (uint16_t)word_of(c, purpose_of(s));
    j->accelerators = s->accelerators;
    j->per_node = (int16_t)s->per_node;
    j->level = (uint8_t)s->level;
    j->level_required = s->level_required;
    j->walltime_s = s->walltime_s;
    j->grace_s = (int16_t)s->grace_s;
    j->signal = (uint8_t)s->signal;
    j->requeue = (uint8_t)s->requeue;
    j->max_attempts = (int16_t)s->max_attempts;
    j->embargo_days = (int16_t)s->embargo_days;
    j->min_accelerators = s->min_accelerators;
    j->singleton = s->singleton;
    j->reservation = g->reservation ? g->reservation->row.id : 0;
    j->memory_gb = (uint16_t)s->memory_gb;
    j->bandwidth_gb = (uint16_t)s->bandwidth_gb;
    j->after = s->after;
    j->after_ok = s->after_ok;
    if (t) {
        j->array_of = s->id;
        j->array_task = t->task;
        if (e->at_once && t - e->tasks >= e->at_once)
            j->after = t[-e->at_once].id; /* as many chains as may run side by side */
    }
    j->tier = (uint8_t)g->decision.tier;
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
    emit_event(c, "submit", g->actor.text, j->name, NULL);
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
        struct plan_pending ask = shape_of(c, g);

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
        rc = gather_facts(c, &g, &err);
    if (rc < 0) {
        refuse(c, &err, NULL);
        return;
    }
    judge_policy(c, &g);
    judge_locks(c, &g);
    judge_quota(c, &g);
    judge_size(c, &g);
    judge_reservation(c, &g);
    judge_after(c, &g);
    if (g.worst != BT_OK)
        deny(c, &g);
    else if (e->dry_run)
        answer_dry(c, &g);
    else
        accept(c, &g, e);
    bt_buf_done(&g.missing);
}
