/* Memory of the core: lookups and lists. SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/state.h"
#include "daemon/core/plan_view.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

struct core_settings core_defaults(const char *facility)
{
    return (struct core_settings){
        .facility = facility,
        .id_window_us = 24 * 3600 * BT_US_PER_S,
        .claim_timeout_us = 60 * BT_US_PER_S,
        .lease_us = 120 * BT_US_PER_S,
        .grace_after_start_us = 90 * BT_US_PER_S,
        .node_silent_us = 90 * BT_US_PER_S,
        .upload_timeout_us = 3600 * BT_US_PER_S,
        .max_queued_per_person = 1000000,
    };
}

struct core *core_new(const struct core_settings *settings)
{
    struct core *c = bt_new(struct core);

    c->set = *settings;
    c->facility = bt_strdup(settings->facility);
    c->set.facility = c->facility;
    c->next_number = 1;
    return c;
}

static void free_jobs(struct core *c)
{
    for (uint32_t i = 0; i < c->n_jobs; i++) {
        struct job *j = job_at(c, i);

        attempt_drop(j);
        bt_free(j->name);
    }
    for (uint32_t i = 0; i < c->n_chunks; i++)
        bt_free(c->chunks[i]);
    bt_free(c->chunks);
}

/* Frees a table whose elements begin with their row. */
static void free_table(enum row_kind kind, void *v, int32_t n, size_t size)
{
    for (int32_t i = 0; i < n; i++)
        row_free_texts(kind, (char *)v + (size_t)i * size);
    bt_free(v);
}

void core_free(struct core *c)
{
    if (!c)
        return;
#define DROP(kind, table) free_table(ROW_KIND_##kind, c->table, c->n_##table, sizeof *c->table)
    DROP(nation, nations);
    DROP(institution, institutions);
    DROP(person, persons);
    DROP(project, projects);
    DROP(member, members);
    DROP(account, accounts);
    DROP(credential, credentials);
    DROP(token, tokens);
    for (int32_t i = 0; i < c->n_nodes; i++)
        bt_free(c->nodes[i].trouble);
    for (uint32_t i = 0; i < c->n_ladders; i++)
        for (int k = 0; k < LADDERS; k++)
            ladder_done(&c->ladders[i].of[k]);
    bt_free(c->ladders);
    DROP(site, sites);
    DROP(node, nodes);
    DROP(rate, rates);
    DROP(unixmap, unixmaps);
    DROP(dataset, datasets);
    bt_free(c->data_lists);
    bt_map_done(&c->by_dataset);
    bt_map_done(&c->list_by_word);
    DROP(request, requests);
    DROP(guarantee, guarantees);
    DROP(outage, outages);
    DROP(switch_pair, pairs);
    trials_free(c);
#undef DROP
    bt_free(c->policies);
    plan_unref(c->plan);
    sched_limits_free(c->limits);
    bt_free(c->freed);
    bt_map_done(&c->by_name);
    bt_map_done(&c->by_key);
    bt_map_done(&c->by_member);
    bt_map_done(&c->by_job);
    bt_map_done(&c->live_at);
    bt_map_done(&c->awaited);
    bt_map_done(&c->by_request);
    bt_map_done(&c->by_pair);
    bt_map_done(&c->pairs_tried);
    free_jobs(c);
    bt_free(c->live);
    for (uint32_t i = 0; i < c->words.n; i++)
        bt_free(c->words.text[i]);
    bt_free(c->words.text);
    bt_map_done(&c->words.index);
    phrases_done(&c->outcomes);
    bt_free(c->facility);
    bt_free(c);
}

/* ---- words ---- */

uint32_t word_of(struct core *c, const char *text)
{
    uint64_t key = bt_map_hash(text, strlen(text));
    uint32_t at;

    if (!*text)
        return 0;
    if (bt_map_get(&c->words.index, key, &at))
        return at + 1;
    BT_GROW(c->words.text, c->words.n, c->words.cap);
    c->words.text[c->words.n] = bt_strdup(text);
    bt_map_put(&c->words.index, key, c->words.n);
    return ++c->words.n;
}

const char *word_text(const struct core *c, uint32_t word)
{
    return word ? c->words.text[word - 1] : "";
}

/* ---- jobs ---- */

struct job *job_at(const struct core *c, uint32_t slot)
{
    return &c->chunks[slot / JOB_CHUNK][slot % JOB_CHUNK];
}

struct job *job_find(const struct core *c, struct bt_uuid id, uint32_t *ret_slot)
{
    uint32_t slot;

    if (!bt_map_get(&c->by_job, bt_map_hash(id.b, sizeof id.b), &slot))
        return NULL;
    if (!bt_uuid_eq(job_at(c, slot)->id, id))
        return NULL;
    if (ret_slot)
        *ret_slot = slot;
    return job_at(c, slot);
}

struct job *job_new(struct core *c, struct bt_uuid id, uint32_t *ret_slot)
{
    uint32_t slot = c->n_jobs;
    struct job *j;

    if (slot / JOB_CHUNK == c->n_chunks) {
        BT_GROW(c->chunks, c->n_chunks, c->cap_chunks);
        c->chunks[c->n_chunks++] = bt_new_n(struct job, JOB_CHUNK);
    }
    c->n_jobs++;
    j = job_at(c, slot);
    j->id = id;
    j->record_idx = j->result_idx = j->submit_idx = -1;
    j->verdict = VERDICT_NONE;
    bt_map_put(&c->by_job, bt_map_hash(id.b, sizeof id.b), slot);
    *ret_slot = slot;
    return j;
}

uint64_t singles_key(const struct job *j)
{
    return bt_map_hash(j->name, strlen(j->name)) * 31 + (uint64_t)j->person;
}

bool job_is_awaited(const struct core *c, const struct job *j)
{
    uint32_t n;

    if (!c->awaited.n) /* mostly: a snapshot asks of every live job */
        return false;
    return bt_map_get(&c->awaited, bt_map_hash(j->id.b, sizeof j->id.b), &n) ||
           bt_map_get(&c->awaited, singles_key(j), &n) ||
           (!bt_uuid_zero(j->array_of) &&
            bt_map_get(&c->awaited, bt_map_hash(j->array_of.b, sizeof j->array_of.b), &n));
}

static void count_awaited(struct core *c, uint64_t key, int by)
{
    uint32_t n = 0;

    (void)bt_map_get(&c->awaited, key, &n);
    n = by > 0 ? n + 1 : n - 1;
    if (n)
        bt_map_put(&c->awaited, key, n);
    else
        (void)bt_map_del(&c->awaited, key);
}

static void count_waits(struct core *c, const struct job *j, int by)
{
    if (!bt_uuid_zero(j->after))
        count_awaited(c, bt_map_hash(j->after.b, sizeof j->after.b), by);
    if (j->singleton)
        count_awaited(c, singles_key(j), by);
}

void job_live(struct core *c, uint32_t slot)
{
    count_waits(c, job_at(c, slot), 1);
    BT_GROW(c->live, c->n_live, c->cap_live);
    bt_map_put(&c->live_at, slot, c->n_live);
    c->live[c->n_live++] = slot;
}

void job_not_live(struct core *c, uint32_t slot)
{
    uint32_t at;
    uint32_t last;

    if (!bt_map_get(&c->live_at, slot, &at))
        return;
    count_waits(c, job_at(c, slot), -1);
    last = c->live[--c->n_live];
    bt_map_del(&c->live_at, slot);
    if (last != slot) {
        c->live[at] = last;
        bt_map_put(&c->live_at, last, at);
    }
}

void job_outcome(struct core *c, struct job *j, const char *text)
{
    uint32_t id = text ? phrase_use(&c->outcomes, text) : 0;

    phrase_leave(&c->outcomes, j->outcome);
    j->outcome = id;
}

size_t core_n_jobs(const struct core *c)
{
    return c->n_jobs;
}

/* ---- names ---- */

static uint64_t name_key(enum name_kind kind, int32_t nation, const char *name)
{
    char key[160];
    size_t n = strnlen(name, sizeof key - 8);

    memcpy(key, &nation, 4);
    key[4] = (char)kind;
    memcpy(key + 5, name, n);
    return bt_map_hash(key, n + 5);
}

void name_put(struct core *c, enum name_kind kind, int32_t nation, const char *name, int32_t index)
{
    bt_map_put(&c->by_name, name_key(kind, nation, name), (uint32_t)index);
}

bool name_get(const struct core *c, enum name_kind kind, int32_t nation, const char *name,
              uint32_t *ret)
{
    return bt_map_get(&c->by_name, name_key(kind, nation, name), ret);
}

struct nation *nation_find(const struct core *c, const char *code)
{
    uint32_t at;

    return name_get(c, NAME_NATION, 0, code, &at) && bt_streq(c->nations[at].row.code, code)
               ? &c->nations[at]
               : NULL;
}

struct institution *institution_find(const struct core *c, int32_t nation, const char *name)
{
    uint32_t at;

    return name_get(c, NAME_INSTITUTION, nation, name, &at) &&
                   bt_streq(c->institutions[at].row.name, name)
               ? &c->institutions[at]
               : NULL;
}

struct person *person_find(const struct core *c, int32_t nation, const char *login)
{
    uint32_t at;

    return name_get(c, NAME_PERSON, nation, login, &at) && bt_streq(c->persons[at].row.login, login)
               ? &c->persons[at]
               : NULL;
}

struct project *project_find(const struct core *c, int32_t nation, const char *name)
{
    uint32_t at;

    return name_get(c, NAME_PROJECT, nation, name, &at) && bt_streq(c->projects[at].row.name, name)
               ? &c->projects[at]
               : NULL;
}

struct site *site_find(const struct core *c, const char *name)
{
    uint32_t at;

    return name_get(c, NAME_SITE, 0, name, &at) ? &c->sites[at] : NULL;
}

struct node *node_find(const struct core *c, const char *name)
{
    uint32_t at;

    return name_get(c, NAME_NODE, 0, name, &at) && bt_streq(c->nodes[at].row.name, name)
               ? &c->nodes[at]
               : NULL;
}

struct member *member_find(const struct core *c, int32_t project, int32_t person)
{
    uint32_t at;

    return bt_map_get(&c->by_member, (uint64_t)project << 32 | (uint32_t)person, &at)
               ? &c->members[at]
               : NULL;
}

/* Credentials and tokens share one index: their digests never meet. */
struct credential *credential_find(const struct core *c, const uint8_t spki[32])
{
    uint32_t at;

    if (!bt_map_get(&c->by_key, bt_map_hash(spki, 32), &at) || at >= (uint32_t)c->n_credentials)
        return NULL;
    return memcmp(c->credentials[at].row.spki.b, spki, 32) ? NULL : &c->credentials[at];
}

struct token *token_find(const struct core *c, const uint8_t sha256[32])
{
    for (int32_t i = c->n_tokens - 1; i >= 0; i--)
        if (!memcmp(c->tokens[i].row.sha256.b, sha256, 32))
            return &c->tokens[i];
    return NULL;
}

const char *nation_code(const struct core *c, int32_t id)
{
    return id > 0 && id <= c->n_nations ? c->nations[id - 1].row.code : "";
}

/* ---- rates ---- */

static const struct row_rate *rate_find(const struct core *c, const char *class_name, int64_t at_us)
{
    const struct row_rate *best = NULL;

    for (int32_t i = 0; i < c->n_rates; i++) {
        const struct row_rate *r = &c->rates[i].row;

        if (r->from_us <= at_us && bt_streq(r->class_name, class_name) &&
            (!best || r->from_us > best->from_us))
            best = r;
    }
    return best;
}

/* A class without a rate costs as much as the reference accelerator. */
int64_t rate_of(const struct core *c, const char *class_name, int64_t at_us)
{
    const struct row_rate *r = rate_find(c, class_name, at_us);

    return r ? r->rate_milli : 1000;
}

/* Dense peak of one accelerator; 1 PFLOP/s where nobody said better, so that an unknown class
 * never lowers a tier. */
int64_t peak_gflops_of(const struct core *c, const char *class_name, int64_t at_us)
{
    const struct row_rate *r = rate_find(c, class_name, at_us);

    return r && r->peak_gflops > 0 ? r->peak_gflops : 1000000;
}

const char *unixname_of(const struct core *c, int32_t person, int32_t site)
{
    for (int32_t i = 0; i < c->n_unixmaps; i++)
        if (c->unixmaps[i].row.person == person && c->unixmaps[i].row.site == site)
            return c->unixmaps[i].row.unixname;
    return "";
}
