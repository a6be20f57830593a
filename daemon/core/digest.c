/* One number for all persistent state. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/core/state.h"

/* FNV-1a folds the fields of one thing in order; things are added up, so their order is free.
 * (Unkeyed: two processes must agree.) */
static uint64_t fold(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static uint64_t finish(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return h ^ h >> 33;
}

static uint64_t row_digest(enum row_kind kind, const void *row)
{
    const struct row_shape *s = &row_shapes[kind];
    uint64_t h = fold(0xcbf29ce484222325u, &kind, sizeof kind);

    for (int i = 0; i < s->n_columns; i++) {
        const char *at = (const char *)row + s->columns[i].offset;
        const char *text;

        switch (s->columns[i].type) {
        case ROW_i32:
            h = fold(h, at, 4);
            break;
        case ROW_i64:
        case ROW_bits:
            h = fold(h, at, 8);
            break;
        case ROW_uuid:
            h = fold(h, at, 16);
            break;
        case ROW_b32:
            h = fold(h, at, 32);
            break;
        case ROW_text:
            memcpy(&text, at, sizeof text);
            h = text ? fold(h, text, strlen(text) + 1) : fold(h, "\xff", 1);
            break;
        }
    }
    return finish(h);
}

static uint64_t fold_i64(uint64_t h, int64_t v)
{
    return fold(h, &v, sizeof v);
}

static uint64_t attempt_digest(uint64_t h, const struct core *c, const struct attempt *a)
{
    const int64_t fields[] = {a->state,     a->site,       a->node,         a->hold_mras,
                              a->wanted_us, a->claimed_us, a->started_us,   a->ended_us,
                              a->n_places,  a->owned,      a->accelerators, a->trial_us};
    uint64_t places = 0;

    h = fold(h, fields, sizeof fields);
    h = fold(h, a->foreign_id, strlen(a->foreign_id));
    h = fold(h, a->reason, strlen(a->reason));
    if (a->datasets)
        h = fold(h, a->datasets, strlen(a->datasets));
    for (int32_t i = 0; i < a->n_places; i++)
        places += finish(fold_i64(fold_i64(1, a->places[i].node), (int64_t)a->places[i].mask));
    (void)c;
    return fold(h, &places, sizeof places);
}

static uint64_t job_digest(const struct core *c, const struct job *j)
{
    const int64_t fields[] = {j->number,
                              j->submit_us,
                              j->since_us,
                              j->start_us,
                              j->end_us,
                              j->finish_by_us,
                              j->hold_mras,
                              j->charged_mras,
                              j->promise_us,
                              j->record_idx,
                              j->result_idx,
                              j->submit_idx,
                              j->result_due_us,
                              j->gflop,
                              j->gflop_lineage,
                              j->person,
                              j->project,
                              j->nation,
                              j->accelerators,
                              j->walltime_s,
                              j->rate_milli,
                              j->attempt,
                              j->max_attempts,
                              j->embargo_days,
                              j->per_node,
                              j->grace_s,
                              j->state,
                              j->reason,
                              j->verdict,
                              j->tier,
                              j->kind,
                              j->level,
                              j->requeue,
                              j->signal,
                              j->stop,
                              j->level_required,
                              j->after_ok,
                              j->min_accelerators,
                              j->array_task,
                              j->singleton,
                              j->memory_gb,
                              j->reservation,
                              j->bandwidth_gb,
                              j->checkpointed,
                              j->end_us ? j->exit_code : 0,
                              j->end_us ? j->end_signal : 0};
    const char *outcome = phrase_text(&c->outcomes, j->outcome);
    uint64_t h = fold(0x9e3779b97f4a7c15u, j->id.b, 16);

    h = fold(h, j->sha, sizeof j->sha);
    h = fold(h, j->commit, sizeof j->commit);
    h = fold(h, j->after.b, 16);
    h = fold(h, j->array_of.b, 16);
    h = fold(h, fields, sizeof fields);
    h = fold(h, j->name, strlen(j->name));
    if (outcome)
        h = fold(h, outcome, strlen(outcome));
    h = fold(h, word_text(c, j->class_word), strlen(word_text(c, j->class_word)));
    h = fold(h, word_text(c, j->purpose_word), strlen(word_text(c, j->purpose_word)));
    h = fold(h, word_text(c, j->rules), strlen(word_text(c, j->rules)));
    h = fold(h, data_names(c, j->data), strlen(data_names(c, j->data)));
    if (j->policy)
        h = fold(h, c->policies[j->policy - 1].b, 32);
    if (j->att)
        h = attempt_digest(h, c, j->att);
    return finish(h);
}

uint64_t core_digest(const struct core *c)
{
    uint64_t sum = finish((uint64_t)c->ledger_size + 1);

#define SUM(kind, table)                       \
    for (int32_t i = 0; i < c->n_##table; i++) \
    sum += row_digest(ROW_KIND_##kind, &c->table[i].row)
    SUM(nation, nations);
    SUM(institution, institutions);
    SUM(person, persons);
    SUM(project, projects);
    SUM(member, members);
    SUM(account, accounts);
    SUM(credential, credentials);
    SUM(token, tokens);
    SUM(site, sites);
    SUM(node, nodes);
    SUM(rate, rates);
    SUM(unixmap, unixmaps);
    SUM(request, requests);
    SUM(guarantee, guarantees);
    SUM(outage, outages);
    SUM(dataset, datasets);
    SUM(switch_pair, pairs);
#undef SUM
    for (int32_t i = 0; i < c->n_accounts; i++) {
        const struct account *a = &c->accounts[i];
        const int64_t fields[] = {a->row.id, a->granted, a->free, a->held, a->spent};

        sum += finish(fold(3, fields, sizeof fields));
    }
    for (int32_t i = 0; i < c->n_nodes; i++)
        sum += finish(fold_i64(fold_i64(5, i), (int64_t)c->nodes[i].busy));
    for (uint32_t i = 0; i < c->n_jobs; i++)
        sum += job_digest(c, job_at(c, i));
    return sum;
}
