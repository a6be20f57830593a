/* Memory → rows, wants and views of the current batch. SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"
#include "lib/ledger/tree.h"

static int64_t null_if(int64_t v, int64_t none)
{
    return v == none ? ROW_NULL64 : v;
}

void emit_job_state(struct core *c, struct job *j)
{
    struct row_job_state *r =
        rows_put(&c->batch->rows, ROW_KIND_job_state, j->id.b, sizeof j->id.b);

    r->id = j->id;
    r->state = bt_strdup(job_state_name(j->state));
    r->reason = j->reason == HELD_NONE ? NULL : bt_strdup(held_reason_name(j->reason));
    r->attempt = j->attempt;
    r->since_us = j->since_us;
    r->rate_milli = j->rate_milli;
    r->hold_mras = j->hold_mras;
    r->start_us = null_if(j->start_us, 0);
    r->end_us = null_if(j->end_us, 0);
    r->charged_mras = j->charged_mras;
    r->exit_code = j->end_us ? j->exit_code : ROW_NULL32;
    r->end_signal = j->end_us ? j->end_signal : ROW_NULL32;
    r->verdict = j->verdict == VERDICT_NONE ? NULL : bt_strdup(job_state_name(j->verdict));
    r->outcome = j->outcome ? bt_strdup(phrase_text(&c->outcomes, j->outcome)) : NULL;
    r->stop = j->stop;
    r->checkpointed = j->checkpointed;
    r->record_idx = null_if(j->record_idx, -1);
    r->record_kind = j->record_idx < 0 ? NULL : bt_strdup("record");
    r->result_due_us = null_if(j->result_due_us, 0);
    r->result_idx = null_if(j->result_idx, -1);
    r->submit_idx = null_if(j->submit_idx, -1);
    r->finish_by_us = null_if(j->finish_by_us, 0);
    BT_GROW(c->batch->jobs, c->batch->n_jobs, c->batch->cap_jobs);
    c->batch->jobs[c->batch->n_jobs++] = (struct view_job){j->id, j->number, j->state, 0};
}

void emit_attempt(struct core *c, struct job *j)
{
    struct {
        struct bt_uuid id;
        int32_t n;
    } key = {j->id, j->attempt};
    const struct attempt *a = j->att;
    struct row_attempt *r = rows_put(&c->batch->rows, ROW_KIND_attempt, &key, sizeof key);

    r->job = j->id;
    r->n = j->attempt;
    r->state = bt_strdup(attempt_state_name(a->state));
    r->site = a->site;
    r->node = a->node;
    r->hold_mras = a->hold_mras;
    r->wanted_us = null_if(a->wanted_us, 0);
    r->claimed_us = null_if(a->claimed_us, 0);
    r->started_us = null_if(a->started_us, 0);
    r->ended_us = null_if(a->ended_us, 0);
    r->foreign_id = a->foreign_id[0] ? bt_strdup(a->foreign_id) : NULL;
    r->reason = a->reason[0] ? bt_strdup(a->reason) : NULL;
    r->exit_code = a->ended_us ? a->exit_code : ROW_NULL32;
    r->signal = a->ended_us ? a->signal : ROW_NULL32;
    r->owned = a->owned;
    r->accelerators = a->accelerators;
    r->trial_us = null_if(a->trial_us, 0);
    r->datasets = a->datasets ? bt_strdup(a->datasets) : NULL;
}

void emit_account(struct core *c, const struct account *a)
{
    row_copy(ROW_KIND_account,
             rows_put(&c->batch->rows, ROW_KIND_account, &a->row.id, sizeof a->row.id), &a->row);
    *(struct row_account_set *)rows_put(&c->batch->rows, ROW_KIND_account_set, &a->row.id,
                                        sizeof a->row.id) =
        (struct row_account_set){a->row.id, a->row.overdraft, a->row.from_us, a->row.until_us};
}

static void apply_move(struct core *c, int32_t id, const struct move *m)
{
    struct account *a;

    if (!id)
        return;
    a = &c->accounts[id - 1];
    a->free += m->d_free;
    a->held += m->d_held;
    a->spent += m->d_spent;
    a->granted += m->d_free + m->d_held + m->d_spent;
    assert(a->held >= 0 && a->spent >= 0);
}

void emit_entry(struct core *c, const struct move *m)
{
    struct row_entry *r = rows_add(&c->batch->rows, ROW_KIND_entry);

    *r = (struct row_entry){
        .op = m->op,
        .kind = bt_strdup(m->kind),
        .part = m->part,
        .nation = m->nation ? m->nation : ROW_NULL32,
        .project = m->project ? m->project : ROW_NULL32,
        .person = m->person ? m->person : ROW_NULL32,
        .d_free = m->d_free,
        .d_held = m->d_held,
        .d_spent = m->d_spent,
        .at_us = c->now_us,
    };
    apply_move(c, m->nation, m);
    apply_move(c, m->project, m);
    apply_move(c, m->person, m);
}

void emit_event(struct core *c, const char *kind, const char *actor, const char *subject,
                char *body)
{
    struct row_event *r = rows_add(&c->batch->rows, ROW_KIND_event);

    *r = (struct row_event){
        .ord = c->batch->n_events++,
        .at_us = c->now_us,
        .kind = bt_strdup(kind),
        .actor = bt_strdup(actor),
        .subject = bt_strdup(subject),
        .body = body ? body : bt_strdup("{}"),
    };
}

void emit_job_event(struct core *c, const char *kind, const char *actor, const struct job *j,
                    char *body)
{
    char number[24];

    snprintf(number, sizeof number, "%" PRId64, j->number);
    emit_event(c, kind, actor, number, body);
}

void emit_leaf(struct core *c, const char *kind, struct bt_uuid job, char *leaf, int64_t *ret_idx)
{
    struct row_ledger *r = rows_add(&c->batch->rows, ROW_KIND_ledger);
    struct tree_hash hash;

    r->idx = c->ledger_size++;
    r->kind = bt_strdup(kind);
    r->job = job;
    tree_leaf_hash(leaf, strlen(leaf), &hash);
    memcpy(r->leaf_sha256.b, hash.b, sizeof hash.b);
    r->body = leaf;
    r->at_us = c->now_us;
    c->batch->ledger_size = c->ledger_size;
    *ret_idx = r->idx;
}

void emit_credential_view(struct core *c, const struct credential *cr)
{
    const struct row_credential *r = &cr->row;
    struct view_credential *v;
    bool active = r->revoked_us == ROW_NULL64;

    BT_GROW(c->batch->credentials, c->batch->n_credentials, c->batch->cap_credentials);
    v = &c->batch->credentials[c->batch->n_credentials++];
    *v = (struct view_credential){
        .nation_id = r->nation, .person = r->person, .not_after_us = r->not_after_us};
    memcpy(v->spki, r->spki.b, 32);
    bt_copy(v->kind, sizeof v->kind, r->kind);
    bt_copy(v->subject, sizeof v->subject, r->subject);
    bt_copy(v->nation, sizeof v->nation, nation_code(c, r->nation));
    if (r->nation > 0)
        active = active && bt_streq(c->nations[r->nation - 1].row.state, "active");
    if (r->person > 0) {
        active = active && bt_streq(c->persons[r->person - 1].row.state, "active");
        v->roles = c->persons[r->person - 1].row.roles;
    } else if (bt_streq(r->kind, "operator")) {
        v->roles = ROLE_OPERATOR;
    }
    v->active = active;
    v->revoked = r->revoked_us != ROW_NULL64;
}

static bool in_slurm(const struct core *c, const struct attempt *a)
{
    return a->site > 0 && bt_streq(c->sites[a->site - 1].row.kind, "slurm");
}

/* Slurm is told names. */
static void name_hosts(const struct core *c, const struct attempt *a, struct want *w)
{
    struct bt_buf hosts = {0};

    for (int32_t i = 0; i < a->n_places; i++) {
        bt_buf_printf(&hosts, "%s%s", i ? "," : "", c->nodes[a->places[i].node - 1].row.name);
        w->per_host = BT_MAX(w->per_host, __builtin_popcountll(a->places[i].mask));
    }
    w->hosts = bt_buf_take(&hosts);
}

void emit_want(struct core *c, const struct job *j, enum want_action action)
{
    struct want *w = batch_want(c->batch);
    const struct attempt *a = j->att;

    w->job = j->id;
    w->number = j->number;
    w->attempt = j->attempt;
    w->action = action;
    w->walltime_s = j->walltime_s;
    w->grace_s = j->grace_s;
    w->signal = j->signal;
    w->tier = j->tier;
    w->accelerators = a->accelerators;
    bt_copy(w->kind, sizeof w->kind, job_kind_names[j->kind]);
    w->site = a->site;
    w->claimed = a->claimed_us != 0;
    bt_copy(w->unixname, sizeof w->unixname, unixname_of(c, j->person, a->site));
    (void)snprintf(w->account, sizeof w->account, "bt_%s_%s",
                   c->nations[c->projects[j->project - 1].row.nation - 1].row.code,
                   c->projects[j->project - 1].row.name);
    if (a->node > 0)
        bt_copy(w->node, sizeof w->node, c->nodes[a->node - 1].row.name);
    if (action == WANT_RUN && a->n_places) {
        w->places = bt_memdup(a->places, (size_t)a->n_places * sizeof *a->places);
        w->n_places = a->n_places;
        if (in_slurm(c, a))
            name_hosts(c, a, w);
    }
}

void emit_settled(struct core *c, const struct job *j)
{
    if (!j->att || j->att->state != ATTEMPT_ENDED || !in_slurm(c, j->att))
        return;
    emit_want(c, j, WANT_GONE);
    c->batch->wants[c->batch->n_wants - 1].settled = true;
}

void emit_site_view(struct core *c, const struct site *s)
{
    struct view_site *v;

    BT_GROW(c->batch->sites, c->batch->n_sites, c->batch->cap_sites);
    v = &c->batch->sites[c->batch->n_sites++];
    *v = (struct view_site){.id = s->row.id, .conf = s->row.conf ? bt_strdup(s->row.conf) : NULL};
    bt_copy(v->name, sizeof v->name, s->row.name);
    bt_copy(v->kind, sizeof v->kind, s->row.kind);
    bt_copy(v->state, sizeof v->state, s->row.state);
}

void core_sites(const struct core *core, struct batch *into)
{
    struct core view = *core;

    view.batch = into;
    for (int32_t i = 0; i < core->n_sites; i++)
        emit_site_view(&view, &core->sites[i]);
}

static enum want_action wanted(const struct job *j)
{
    return j->stop ? WANT_STOP : WANT_RUN;
}

void core_wants(const struct core *core, struct batch *into)
{
    struct core view = *core; /* only its batch pointer differs */

    view.batch = into;
    for (uint32_t i = 0; i < core->n_live; i++) {
        const struct job *j = job_at(core, core->live[i]);

        if (j->att && j->att->state != ATTEMPT_ENDED)
            emit_want(&view, j, wanted(j));
        else if (j->att && j->state == JOB_FINISHING) /* its shepherd may still gather */
            emit_want(&view, j, WANT_GONE);
    }
}

void core_credentials(const struct core *core, struct batch *into)
{
    struct core view = *core;

    view.batch = into;
    for (int32_t i = 0; i < core->n_credentials; i++)
        emit_credential_view(&view, &core->credentials[i]);
}
