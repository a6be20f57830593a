/* Rows of the database → memory. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* Appends a copy of `row` to a table of dense ids and sets `at` to its place. */
#define LOAD_DENSE(kind, table, at)                                                             \
    do {                                                                                        \
        const struct row_##kind *r_ = row;                                                      \
        if (r_->id != c->n_##table + 1)                                                         \
            return bt_fail(err, BT_ERR_INVALID, #kind " %d follows %d in the database", r_->id, \
                           c->n_##table);                                                       \
        BT_GROW(c->table, c->n_##table, c->cap_##table);                                        \
        (at) = &c->table[c->n_##table++];                                                       \
        memset((at), 0, sizeof *(at));                                                          \
        row_copy(ROW_KIND_##kind, &(at)->row, row);                                             \
    } while (0)

#define LOAD_LIST(kind, table, at)                       \
    do {                                                 \
        BT_GROW(c->table, c->n_##table, c->cap_##table); \
        (at) = &c->table[c->n_##table++];                \
        memset((at), 0, sizeof *(at));                   \
        row_copy(ROW_KIND_##kind, &(at)->row, row);      \
    } while (0)

static int load_people(struct core *c, enum row_kind kind, const void *row, struct bt_err *err)
{
    if (kind == ROW_KIND_nation) {
        struct nation *n;

        LOAD_DENSE(nation, nations, n);
        name_put(c, NAME_NATION, 0, n->row.code, c->n_nations - 1);
    } else if (kind == ROW_KIND_institution) {
        struct institution *i;

        LOAD_DENSE(institution, institutions, i);
        name_put(c, NAME_INSTITUTION, i->row.nation, i->row.name, c->n_institutions - 1);
    } else if (kind == ROW_KIND_person) {
        struct person *p;

        LOAD_DENSE(person, persons, p);
        name_put(c, NAME_PERSON, p->row.nation, p->row.login, c->n_persons - 1);
    } else if (kind == ROW_KIND_project) {
        struct project *p;

        LOAD_DENSE(project, projects, p);
        name_put(c, NAME_PROJECT, p->row.nation, p->row.name, c->n_projects - 1);
    } else {
        struct member *m;

        LOAD_LIST(member, members, m);
        bt_map_put(&c->by_member, (uint64_t)m->row.project << 32 | (uint32_t)m->row.person,
                   (uint32_t)c->n_members - 1);
    }
    return 0;
}

static int load_account(struct core *c, const void *row, struct bt_err *err)
{
    struct account *a;
    struct member *m;

    LOAD_DENSE(account, accounts, a);
    if (bt_streq(a->row.level, "nation") && a->row.nation <= c->n_nations)
        c->nations[a->row.nation - 1].account = a->row.id;
    else if (bt_streq(a->row.level, "project") && a->row.project <= c->n_projects)
        c->projects[a->row.project - 1].account = a->row.id;
    else if ((m = member_find(c, a->row.project, a->row.person)))
        m->account = a->row.id;
    else
        return bt_fail(err, BT_ERR_INVALID, "account %d belongs to nobody", a->row.id);
    return 0;
}

static int load_balance(struct core *c, const struct row_balance *b, struct bt_err *err)
{
    struct account *a;

    if (b->id < 1 || b->id > c->n_accounts)
        return bt_fail(err, BT_ERR_INVALID, "balance of account %d, which is not there", b->id);
    a = &c->accounts[b->id - 1];
    a->granted = b->granted;
    a->free = b->free;
    a->held = b->held;
    a->spent = b->spent;
    return 0;
}

static int load_place(struct core *c, enum row_kind kind, const void *row, struct bt_err *err)
{
    if (kind == ROW_KIND_site) {
        struct site *s;

        LOAD_DENSE(site, sites, s);
        name_put(c, NAME_SITE, 0, s->row.name, c->n_sites - 1);
    } else if (kind == ROW_KIND_node) {
        struct node *n;

        LOAD_DENSE(node, nodes, n);
        n->class_word = word_of(c, n->row.class_name);
        class_note(c, n->class_word);
        name_put(c, NAME_NODE, 0, n->row.name, c->n_nodes - 1);
        if (n->row.reason && bt_streq(n->row.state, "down") &&
            bt_starts(n->row.reason, SITE_TROUBLE)) /* until its cluster says else */
            n->trouble = bt_strdup(n->row.reason);
        node_placed(c, n);
    } else if (kind == ROW_KIND_rate) {
        struct rate *r;

        LOAD_LIST(rate, rates, r);
    } else if (kind == ROW_KIND_guarantee) {
        struct guarantee *g;

        LOAD_LIST(guarantee, guarantees, g);
    } else if (kind == ROW_KIND_outage) {
        struct outage *o;

        LOAD_DENSE(outage, outages, o);
    } else if (kind == ROW_KIND_dataset) {
        struct dataset *t;

        LOAD_DENSE(dataset, datasets, t);
        if (t->row.site < 1 || t->row.site > c->n_sites)
            return bt_fail(err, BT_ERR_INVALID, "data set %d is of no site", t->row.id);
    } else if (kind == ROW_KIND_switch_pair) {
        struct switch_pair *p;

        LOAD_DENSE(switch_pair, pairs, p);
        p->class_word = word_of(c, p->row.class_name);
    } else {
        struct unixmap *u;

        LOAD_LIST(unixmap, unixmaps, u);
    }
    return 0;
}

static uint16_t policy_index(struct core *c, const uint8_t digest[32])
{
    for (int32_t i = 0; i < c->n_policies; i++)
        if (!memcmp(c->policies[i].b, digest, 32))
            return (uint16_t)(i + 1);
    BT_GROW(c->policies, c->n_policies, c->cap_policies);
    memcpy(c->policies[c->n_policies].b, digest, 32);
    return (uint16_t)++c->n_policies;
}

static int32_t or_zero(int32_t v)
{
    return v == ROW_NULL32 ? 0 : v;
}

static int load_job(struct core *c, const struct row_job *r, struct bt_err *err)
{
    uint32_t slot;
    struct job *j;

    if (job_find(c, r->id, NULL))
        return bt_fail(err, BT_ERR_INVALID, "job %" PRId64 " comes twice", r->number);
    if (r->person < 1 || r->person > c->n_persons || r->project < 1 || r->project > c->n_projects)
        return bt_fail(err, BT_ERR_INVALID, "job %" PRId64 " has no person or project", r->number);
    j = job_new(c, r->id, &slot);
    memcpy(j->sha, r->body_sha256.b, sizeof j->sha);
    memcpy(j->commit, r->spec_commit.b, sizeof j->commit);
    j->number = r->number;
    j->person = r->person;
    j->project = r->project;
    j->nation = r->nation;
    j->name = bt_strdup(r->name);
    j->kind = (uint8_t)r->kind;
    j->class_word = (uint16_t)word_of(c, r->class_name ? r->class_name : "");
    j->accelerators = r->accelerators;
    j->per_node = (int16_t)r->per_node;
    j->level = (uint8_t)r->level;
    j->level_required = r->level_required != 0;
    j->walltime_s = r->walltime_s;
    j->grace_s = (int16_t)r->grace_s;
    j->signal = (uint8_t)r->signal;
    j->requeue = (uint8_t)r->requeue;
    j->max_attempts = (int16_t)r->max_attempts;
    j->tier = (uint8_t)r->tier;
    j->gflop = r->gflop;
    j->gflop_lineage = r->gflop_lineage;
    j->purpose_word = (uint16_t)word_of(c, r->purpose ? r->purpose : "");
    j->after = r->after_job;
    j->after_ok = r->after_ok != 0;
    j->array_of = r->array_of;
    j->array_task = r->array_task == ROW_NULL32 ? 0 : r->array_task;
    j->min_accelerators = r->min_accelerators == ROW_NULL32 ? 0 : r->min_accelerators;
    j->singleton = r->singleton == 1;
    j->reservation = or_zero(r->reservation);
    j->data = data_list_of(c, r->datasets ? r->datasets : "");
    if (r->datasets && !j->data)
        return bt_fail(err, BT_ERR_TOO_LARGE, "jobs ask for more different data sets than fit");
    j->memory_gb = r->memory_gb == ROW_NULL32 ? 0 : (uint16_t)r->memory_gb;
    j->bandwidth_gb = r->bandwidth_gb == ROW_NULL32 ? 0 : (uint16_t)r->bandwidth_gb;
    j->submit_us = r->submit_us;
    j->embargo_days = (int16_t)r->embargo_days;
    j->rules = word_of(c, r->rules ? r->rules : "");
    j->policy = policy_index(c, r->policy.b);
    if (r->number >= c->next_number)
        c->next_number = r->number + 1;
    return 0;
}

static int64_t or_none(int64_t v, int64_t none)
{
    return v == ROW_NULL64 ? none : v;
}

static int load_job_state(struct core *c, const struct row_job_state *r, struct bt_err *err)
{
    uint32_t slot;
    struct job *j = job_find(c, r->id, &slot);
    int state = r->state ? job_state_parse(r->state) : -1;
    int reason = r->reason ? held_reason_parse(r->reason) : HELD_NONE;

    if (!j || state < 0 || reason < 0)
        return bt_fail(err, BT_ERR_INVALID, "a job's state '%s' (%s) is not known",
                       r->state ? r->state : "", r->reason ? r->reason : "");
    j->state = (uint8_t)state;
    j->reason = (uint8_t)reason;
    j->verdict = r->verdict ? (uint8_t)job_state_parse(r->verdict) : VERDICT_NONE;
    if (r->attempt != j->attempt || job_state_terminal(state))
        attempt_drop(j);
    j->attempt = (int16_t)r->attempt;
    j->since_us = r->since_us;
    j->rate_milli = (int32_t)r->rate_milli;
    j->hold_mras = r->hold_mras;
    j->start_us = or_none(r->start_us, 0);
    j->end_us = or_none(r->end_us, 0);
    j->charged_mras = r->charged_mras;
    j->exit_code = or_zero(r->exit_code);
    j->end_signal = or_zero(r->end_signal);
    job_outcome(c, j, r->outcome);
    j->stop = (uint8_t)or_zero(r->stop);
    j->checkpointed = or_zero(r->checkpointed) != 0;
    j->record_idx = or_none(r->record_idx, -1);
    j->result_due_us = or_none(r->result_due_us, 0);
    j->result_idx = or_none(r->result_idx, -1);
    j->submit_idx = or_none(r->submit_idx, -1);
    j->finish_by_us = or_none(r->finish_by_us, 0);
    if (!job_state_terminal(j->state)) {
        job_live(c, slot);
        c->persons[j->person - 1].n_live++;
    } else {
        habit_note(c, j);
    }
    return 0;
}

/* In the order in which they were given, or the last of each job. */
static void load_promise(struct core *c, const struct row_promise *r)
{
    struct job *j = job_find(c, r->job, NULL);

    if (j && r->attempt == j->attempt && !job_state_terminal(j->state))
        j->promise_us = r->start_by_us;
}

/* Attempts and allocations come before the states of their jobs: the latest attempt is kept
 * until the state tells whether the job is still in it. */
static int load_attempt(struct core *c, const struct row_attempt *r, struct bt_err *err)
{
    struct job *j = job_find(c, r->job, NULL);
    int state = r->state ? attempt_state_parse(r->state) : -1;
    struct attempt *a;

    if (state < 0)
        return bt_fail(err, BT_ERR_INVALID, "an attempt's state '%s' is not known",
                       r->state ? r->state : "");
    if (!j || r->n <= j->attempt)
        return 0;
    attempt_drop(j);
    j->attempt = (int16_t)r->n;
    a = bt_new(struct attempt);
    a->state = (enum attempt_state)state;
    a->site = or_zero(r->site);
    a->node = or_zero(r->node);
    a->hold_mras = r->hold_mras;
    a->wanted_us = or_none(r->wanted_us, 0);
    a->claimed_us = or_none(r->claimed_us, 0);
    a->started_us = or_none(r->started_us, 0);
    a->ended_us = or_none(r->ended_us, 0);
    a->trial_us = or_none(r->trial_us, 0);
    a->exit_code = or_zero(r->exit_code);
    a->signal = or_zero(r->signal);
    a->owned = or_zero(r->owned) != 0;
    a->accelerators = r->accelerators == ROW_NULL32 ? j->accelerators : r->accelerators;
    a->datasets = r->datasets ? bt_strdup(r->datasets) : NULL;
    if (r->foreign_id)
        bt_copy(a->foreign_id, sizeof a->foreign_id, r->foreign_id);
    if (r->reason)
        bt_copy(a->reason, sizeof a->reason, r->reason);
    j->att = a;
    return 0;
}

static int load_alloc(struct core *c, const struct row_alloc *r, struct bt_err *err)
{
    struct job *j = job_find(c, r->job, NULL);
    struct attempt *a = j ? j->att : NULL;
    struct node *n = r->node > 0 && r->node <= c->n_nodes ? &c->nodes[r->node - 1] : NULL;

    if (!a || !n || (n->busy & (uint64_t)r->mask))
        return bt_fail(err, BT_ERR_INVALID, "an allocation on node %d fits no attempt", r->node);
    n->busy |= (uint64_t)r->mask;
    a->places = bt_realloc(a->places, (size_t)a->n_places + 1, sizeof *a->places);
    a->places[a->n_places++] = (struct place){r->node, (uint64_t)r->mask};
    return 0;
}

static void load_key(struct core *c, enum row_kind kind, const void *row)
{
    if (kind == ROW_KIND_credential) {
        struct credential *cr;

        LOAD_LIST(credential, credentials, cr);
        bt_map_put(&c->by_key, bt_map_hash(cr->row.spki.b, 32), (uint32_t)c->n_credentials - 1);
    } else {
        struct token *t;

        LOAD_LIST(token, tokens, t);
        (void)t;
    }
}

int core_load(struct core *c, enum row_kind kind, const void *row, struct bt_err *err)
{
    switch (kind) {
    case ROW_KIND_nation:
    case ROW_KIND_institution:
    case ROW_KIND_person:
    case ROW_KIND_project:
    case ROW_KIND_member:
        return load_people(c, kind, row, err);
    case ROW_KIND_account:
        return load_account(c, row, err);
    case ROW_KIND_balance:
        return load_balance(c, row, err);
    case ROW_KIND_credential:
    case ROW_KIND_token:
        load_key(c, kind, row);
        return 0;
    case ROW_KIND_site:
    case ROW_KIND_node:
    case ROW_KIND_rate:
    case ROW_KIND_unixmap:
    case ROW_KIND_guarantee:
    case ROW_KIND_outage:
    case ROW_KIND_dataset:
    case ROW_KIND_switch_pair:
        return load_place(c, kind, row, err);
    case ROW_KIND_request:
        request_keep(c, row);
        return 0;
    case ROW_KIND_policy:
        policy_index(c, ((const struct row_policy *)row)->digest.b);
        return 0;
    case ROW_KIND_job:
        return load_job(c, row, err);
    case ROW_KIND_job_state:
        return load_job_state(c, row, err);
    case ROW_KIND_promise:
        load_promise(c, row);
        return 0;
    case ROW_KIND_attempt:
        return load_attempt(c, row, err);
    case ROW_KIND_alloc:
        return load_alloc(c, row, err);
    default:
        return 0; /* written only: history that memory does not hold */
    }
}

int core_loaded(struct core *c, int64_t epoch_start_us, int64_t ledger_size, int64_t last_number,
                struct bt_err *err)
{
    for (int32_t i = 0; i < c->n_accounts; i++) {
        const struct account *a = &c->accounts[i];

        if (a->granted != a->free + a->held + a->spent)
            return bt_fail(err, BT_ERR_CORRUPT, "account %d does not balance", a->row.id);
    }
    c->epoch_start_us = epoch_start_us;
    c->now_us = epoch_start_us;
    c->ledger_size = ledger_size;
    c->next_number = BT_MAX(c->next_number, last_number + 1);
    for (uint32_t i = 0; i < c->n_live; i++) {
        struct job *j = job_at(c, c->live[i]);

        if (!j->att)
            continue;
        j->att->seen_us = epoch_start_us;
        if (j->stop != STOP_NONE)
            j->att->stop_us = epoch_start_us;
        if (j->att->owned && j->att->state != ATTEMPT_ENDED)
            c->nations[j->nation - 1].owned_acc += j->att->accelerators;
    }
    for (int32_t i = 0; i < c->n_nodes; i++)
        c->nodes[i].seen_us = epoch_start_us;
    measured_loaded(c);
    sites_cleared(c);
    data_changed(c);
    c->plan_due = true;
    return 0;
}
