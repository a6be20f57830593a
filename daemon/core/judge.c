/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/judge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

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
const char *judge_purpose(const struct job_spec *s)
{
    if (s->purpose[0])
        return s->purpose;
    return s->kind == JOB_TRAIN ? "train" : s->kind == JOB_COLL ? "benchmark" : "general";
}

static int purpose_fact(struct judging *g, struct bt_err *err)
{
    int v = policy_value_by_name(POLICY_PURPOSE, judge_purpose(g->spec));

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

int judge_facts(struct core *c, struct judging *g, struct bt_err *err)
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
    policy_fact_num(&g->facts, POLICY_PUBLISH_DUE, (double)g->project->n_overdue);
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
    for (int32_t i = 0; i < c->n_sites; i++) { /* the highest that has not ended, if any has not */
        const struct row_site *s = &c->sites[i].row;
        struct clearance *best = &l.lock[LOCK_SITE];
        bool counts = site ? s->id == site : bt_streq(s->state, "up");
        bool lives = s->tier_until_us > c->now_us, best_lives = best->expires_us > c->now_us;

        if (counts && (!best->given || (lives == best_lives ? s->tier > best->tier : lives)))
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

void judge_describe(struct core *c, const struct judging *g, struct job *ret)
{
    const struct job_spec *s = g->spec;

    ret->submit_us = c->now_us;
    ret->person = g->actor.person->row.id;
    ret->project = g->project->row.id;
    ret->nation = g->project->row.nation;
    ret->class_word = (uint16_t)word_of(c, s->class);
    ret->accelerators = s->accelerators;
    ret->min_accelerators = s->min_accelerators;
    ret->per_node = (int16_t)s->per_node;
    ret->memory_gb = (uint16_t)s->memory_gb;
    ret->bandwidth_gb = (uint16_t)s->bandwidth_gb;
    ret->level = (uint8_t)s->level;
    ret->level_required = s->level_required;
    ret->reservation = g->reservation ? g->reservation->row.id : 0;
    ret->walltime_s = s->walltime_s;
    ret->grace_s = (int16_t)s->grace_s;
    ret->requeue = (uint8_t)s->requeue;
    ret->tier = (uint8_t)g->decision.tier;
}

struct plan_pending judge_ask(struct core *c, const struct judging *g)
{
    struct job as = {.state = JOB_HELD};

    struct plan_pending ask;

    judge_describe(c, g, &as);
    ask = pending_of(c, &as, c->n_jobs);
    ask.stores = g->stores;
    ask.account = !g->spec->datasets[0];
    return ask;
}

/* Could the facility ever hold it, every node up and empty? */
static void judge_size(struct core *c, struct judging *g)
{
    const struct job_spec *s = g->spec;
    struct plan_pending ask = judge_ask(c, g);
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

/* Some site holds all the data that it asks for, and knows its person. */
static void judge_data(struct core *c, struct judging *g)
{
    const char *names = g->spec->datasets;
    BT_BUF_AUTO struct bt_buf text = {0};
    BT_BUF_AUTO struct bt_buf next = {0};
    uint32_t stores = data_stores(c, names);

    if (stores == PLAN_NO_STORE) {
        data_lack(c, names, &text);
        miss(g, BT_ERR_IMPOSSIBLE, "data", bt_buf_text(&text), "beamtime dataset list");
    } else if (*names && !data_room(c)) {
        miss(g, BT_ERR_TOO_MANY, "data", "too many different lists of data sets are asked for",
             "ask for those of another job");
    } else if (stores_meet(stores, g->actor.person->stores) == PLAN_NO_STORE) {
        bt_buf_printf(&text, "no site%s has a Unix account for %s/%s",
                      stores ? " that holds its data sets" : "",
                      nation_code(c, g->actor.person->row.nation), g->actor.person->row.login);
        bt_buf_printf(&next, "beamtime person map %s/%s SITE ACCOUNT",
                      nation_code(c, g->actor.person->row.nation), g->actor.person->row.login);
        miss(g, BT_ERR_IMPOSSIBLE, "account", bt_buf_text(&text), bt_buf_text(&next));
    } else {
        g->stores = stores_meet(stores, g->actor.person->stores);
    }
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
        ask = judge_ask(c, g);
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

void judge_all(struct core *c, struct judging *g)
{
    judge_policy(c, g);
    judge_locks(c, g);
    judge_quota(c, g);
    judge_data(c, g);
    judge_size(c, g);
    judge_reservation(c, g);
    judge_after(c, g);
}
