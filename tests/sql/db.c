/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/sql/db.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "tests/unit/check.h"

static const int64_t T0 = INT64_C(1790000000000000); /* a moment in 2026 */

static struct embedded *server;
static char dir[] = "/tmp/bt-sql-XXXXXX";

int db_start(void **state)
{
    struct bt_err err = {0};
    struct embedded_settings s = {.dir = dir};

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    if (embedded_start(&s, &server, &err) < 0) {
        print_error("%s (%s)\n", err.text, err.next);
        return -1;
    }
    return 0;
}

int db_stop(void **state)
{
    struct bt_err err = {0};

    (void)state;
    if (server && embedded_stop(server, &err) < 0)
        print_error("%s\n", err.text);
    embedded_free(server);
    return bt_remove_tree(dir, NULL);
}

struct embedded *db_server(void)
{
    return server;
}

const char *db_dir(void)
{
    return dir;
}

static void quiet(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

PGconn *db_connect(void)
{
    PGconn *conn = PQconnectdb(embedded_conninfo(server, EMBEDDED_OWNER));

    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    PQsetNoticeProcessor(conn, quiet, NULL);
    return conn;
}

const char *db_try(PGconn *conn, const char *sql)
{
    static char state[8];
    PGresult *res = PQexec(conn, sql);
    const char *code = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    state[0] = '\0';
    if (PQresultStatus(res) == PGRES_FATAL_ERROR)
        bt_copy(state, sizeof state, code ? code : "lost");
    PQclear(res);
    return state;
}

const char *db_ask(PGconn *conn, const char *sql)
{
    static char value[4096];
    PGresult *res = PQexec(conn, sql);

    if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQresultErrorMessage(res));
    bt_copy(value, sizeof value, PQntuples(res) && PQnfields(res) ? PQgetvalue(res, 0, 0) : "");
    PQclear(res);
    return value;
}

void db_fresh(void)
{
    PGconn *conn = db_connect();
    struct store_settings s = {.conninfo = embedded_conninfo(server, EMBEDDED_OWNER)};
    struct store *store;
    struct bt_err err = {0};

    db_ask(conn, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    PQfinish(conn);
    if (store_open(&s, &store, &err) < 0)
        fail_msg("%s", err.text);
    store_close(store);
}

struct store *db_store(const struct store_hooks *hooks)
{
    struct store_settings s = {.conninfo = embedded_conninfo(server, EMBEDDED_OWNER)};
    struct store *store;
    struct bt_err err = {0};
    uint64_t epoch, seq;

    if (hooks)
        s.hooks = *hooks;
    if (store_open(&s, &store, &err) < 0 || store_lead(store, &epoch, &seq, &err) < 0)
        fail_msg("%s", err.text);
    return store;
}

uint64_t db_next_seq(void)
{
    PGconn *conn = db_connect();
    int64_t seq;

    assert_int_equal(
        bt_parse_i64(db_ask(conn, "SELECT seq FROM core_head"), "seq", 0, INT64_MAX, &seq, NULL),
        0);
    PQfinish(conn);
    return (uint64_t)seq + 1;
}

static void people(struct batch *b)
{
    struct row_nation *n = rows_add(&b->rows, ROW_KIND_nation);
    struct row_institution *i = rows_add(&b->rows, ROW_KIND_institution);
    struct row_person *p = rows_add(&b->rows, ROW_KIND_person);
    struct row_project *q = rows_add(&b->rows, ROW_KIND_project);
    struct row_member *m = rows_add(&b->rows, ROW_KIND_member);
    struct row_credential *c = rows_add(&b->rows, ROW_KIND_credential);
    struct row_token *t = rows_add(&b->rows, ROW_KIND_token);

    *n = (struct row_nation){.id = 1,
                             .code = bt_strdup("cz"),
                             .name = bt_strdup("Czechia"),
                             .state = bt_strdup("active"),
                             .ca_spki.b = {1, 2, 3}};
    *i = (struct row_institution){
        .id = 1, .nation = 1, .name = bt_strdup("uni"), .tier = 3, .tier_until_us = ROW_NULL64};
    *p = (struct row_person){.id = 1,
                             .nation = 1,
                             .institution = 1,
                             .login = bt_strdup("ada"),
                             .name = bt_strdup("Ada Čapková"),
                             .roles = 1,
                             .tier = 2,
                             .tier_until_us = T0 + BT_US_PER_S,
                             .state = bt_strdup("active")};
    *q = (struct row_project){.id = 1,
                              .nation = 1,
                              .name = bt_strdup("lang"),
                              .title = bt_strdup("Languages"),
                              .tier = 2,
                              .tier_until_us = ROW_NULL64,
                              .state = bt_strdup("active")};
    *m = (struct row_member){.project = 1, .person = 1, .role = bt_strdup("lead")};
    *c = (struct row_credential){.spki.b = {9},
                                 .kind = bt_strdup("person"),
                                 .nation = 1,
                                 .subject = bt_strdup("ada"),
                                 .person = 1,
                                 .not_after_us = T0,
                                 .revoked_us = ROW_NULL64};
    *t = (struct row_token){.sha256.b = {7},
                            .kind = bt_strdup("agent"),
                            .nation = ROW_NULL32,
                            .subject = bt_strdup("n1"),
                            .person = ROW_NULL32,
                            .expires_us = T0,
                            .used_us = ROW_NULL64};
}

static void machines(struct batch *b, int n_nodes)
{
    struct row_site *s = rows_add(&b->rows, ROW_KIND_site);
    struct row_rate *r = rows_add(&b->rows, ROW_KIND_rate);
    struct row_unixmap *u = rows_add(&b->rows, ROW_KIND_unixmap);
    struct row_dataset *t = rows_add(&b->rows, ROW_KIND_dataset);
    struct row_policy *p = rows_add(&b->rows, ROW_KIND_policy);

    *s = (struct row_site){.id = 1,
                           .name = bt_strdup("here"),
                           .kind = bt_strdup("local"),
                           .tier = 4,
                           .tier_until_us = ROW_NULL64,
                           .state = bt_strdup("up")};
    *r = (struct row_rate){.class_name = bt_strdup("cpu"), .rate_milli = 10, .peak_gflops = 100};
    *t = (struct row_dataset){.id = 1,
                              .site = 1,
                              .name = bt_strdup("web-2"),
                              .path = bt_strdup("/data/web"),
                              .bytes = 5,
                              .since_us = T0};
    *u = (struct row_unixmap){.person = 1, .site = 1, .unixname = bt_strdup("ada")};
    *p = (struct row_policy){.digest.b = {5}, .at_us = T0, .text = bt_strdup("rules")};
    for (int i = 1; i <= n_nodes; i++) {
        struct row_node *n = rows_add(&b->rows, ROW_KIND_node);

        *n = (struct row_node){.id = i,
                               .site = 1,
                               .name = bt_printf("n%d", i),
                               .class_name = bt_strdup("cpu"),
                               .n_acc = 8,
                               .all_mask = 0xff,
                               .tier = 4,
                               .state = bt_strdup("up"),
                               .until_us = ROW_NULL64,
                               .memory_gb = 80};
    }
}

void db_entry(struct batch *b, struct bt_uuid op, const char *kind, int part, int64_t d_free,
              int64_t d_held, int64_t d_spent)
{
    struct row_entry *e = rows_add(&b->rows, ROW_KIND_entry);

    *e = (struct row_entry){.op = op,
                            .kind = bt_strdup(kind),
                            .part = part,
                            .nation = 1,
                            .project = 2,
                            .person = 3,
                            .d_free = d_free,
                            .d_held = d_held,
                            .d_spent = d_spent,
                            .at_us = T0};
}

void db_facility(struct batch *b, int n_nodes, int64_t grant)
{
    static const char *const levels[] = {"nation", "project", "person"};

    people(b);
    machines(b, n_nodes);
    for (int i = 0; i < 3; i++) {
        struct row_account *a = rows_add(&b->rows, ROW_KIND_account);

        *a = (struct row_account){.id = i + 1,
                                  .level = bt_strdup(levels[i]),
                                  .nation = 1,
                                  .project = i > 0 ? 1 : ROW_NULL32,
                                  .person = i > 1 ? 1 : ROW_NULL32,
                                  .from_us = T0,
                                  .until_us = ROW_NULL64};
    }
    db_entry(b, bt_uuid_new(T0), "grant", 0, grant, 0, 0);
}

struct bt_uuid db_job(struct batch *b, int64_t number, int accelerators)
{
    struct row_job *j = rows_add(&b->rows, ROW_KIND_job);

    *j = (struct row_job){.id = bt_uuid_new(T0 + number),
                          .number = number,
                          .body_sha256.b = {1},
                          .person = 1,
                          .project = 1,
                          .nation = 1,
                          .name = bt_printf("job-%d", (int)number),
                          .kind = 1,
                          .class_name = bt_strdup("cpu"),
                          .accelerators = accelerators,
                          .array_task = ROW_NULL32,
                          .min_accelerators = ROW_NULL32,
                          .singleton = ROW_NULL32,
                          .memory_gb = 80,
                          .bandwidth_gb = ROW_NULL32,
                          .reservation = ROW_NULL32,
                          .level = 4,
                          .walltime_s = 600,
                          .grace_s = 30,
                          .signal = 15,
                          .requeue = 1,
                          .max_attempts = 3,
                          .tier = 1,
                          .gflop = 12,
                          .gflop_lineage = 12,
                          .purpose = bt_strdup("train"),
                          .spec_salt.b = {3},
                          .spec_commit.b = {4},
                          .submit_us = T0 + number,
                          .rules = bt_strdup("[\"BASE-1\"]"),
                          .policy.b = {5},
                          .submit_ord = b->n_events++,
                          .spec = bt_strdup("{\"name\":\"tiny\",\"accelerators\":{\"count\":1}}")};
    return j->id;
}

struct row_job_state *db_job_state(struct batch *b, struct bt_uuid id, const char *state)
{
    struct row_job_state *s = rows_add(&b->rows, ROW_KIND_job_state);

    *s = (struct row_job_state){.id = id,
                                .state = bt_strdup(state),
                                .reason = bt_strdup("none"),
                                .since_us = T0,
                                .rate_milli = 10,
                                .start_us = ROW_NULL64,
                                .end_us = ROW_NULL64,
                                .exit_code = ROW_NULL32,
                                .end_signal = ROW_NULL32,
                                .record_idx = ROW_NULL64,
                                .result_due_us = ROW_NULL64,
                                .result_idx = ROW_NULL64,
                                .submit_idx = ROW_NULL64,
                                .finish_by_us = ROW_NULL64};
    return s;
}

void db_leaf(struct batch *b, int64_t idx, const char *kind, struct bt_uuid job)
{
    struct row_ledger *l = rows_add(&b->rows, ROW_KIND_ledger);
    char id[BT_UUID_TEXT];
    struct bt_sha256 h;

    *l = (struct row_ledger){.idx = idx, .kind = bt_strdup(kind), .job = job, .at_us = T0};
    l->body = bt_printf("{\"job\":\"%s\",\"kind\":\"%s\",\"n\":\"%d\",\"v\":1}",
                        bt_uuid_format(job, id), kind, (int)idx);
    bt_sha256_init(&h);
    bt_sha256_add(&h, "", 1); /* RFC 6962: a leaf's hash begins with a zero byte */
    bt_sha256_add(&h, l->body, strlen(l->body));
    bt_sha256_end(&h, l->leaf_sha256.b);
}

void db_alloc(struct batch *b, struct bt_uuid job, int node, int64_t mask)
{
    struct row_alloc *a = rows_add(&b->rows, ROW_KIND_alloc);

    *a = (struct row_alloc){.job = job, .node = node, .mask = mask};
}

void db_event(struct batch *b, const char *kind, const char *subject)
{
    struct row_event *e = rows_add(&b->rows, ROW_KIND_event);

    *e = (struct row_event){.ord = b->n_events++,
                            .at_us = T0,
                            .kind = bt_strdup(kind),
                            .actor = bt_strdup("cz/ada"),
                            .subject = bt_strdup(subject),
                            .body = bt_strdup("{}")};
}

void db_commit(struct store *store, struct batch *b)
{
    struct bt_err err = {0};

    b->seq = db_next_seq();
    if (store_commit(store, b, &err) != STORE_COMMITTED)
        fail_msg("%s", err.text);
    batch_free(b);
}

static void put_attempt(struct batch *b, struct bt_uuid job, const char *state)
{
    struct row_attempt *a = rows_add(&b->rows, ROW_KIND_attempt);
    bool over = !strcmp(state, "ended");

    *a = (struct row_attempt){.job = job,
                              .n = 1,
                              .state = bt_strdup(state),
                              .site = 1,
                              .node = 1,
                              .hold_mras = 6000,
                              .accelerators = 2,
                              .wanted_us = T0,
                              .trial_us = ROW_NULL64,
                              .claimed_us = T0 + 1,
                              .started_us = T0 + 2,
                              .ended_us = over ? T0 + 3 : ROW_NULL64,
                              .foreign_id = bt_strdup("local:1:2"),
                              .reason = over ? bt_strdup("exited") : NULL,
                              .exit_code = over ? 0 : ROW_NULL32,
                              .signal = ROW_NULL32};
}

struct bt_uuid db_life(struct store *store, int64_t number, int64_t ledger_size)
{
    struct batch *b = batch_new();
    struct bt_uuid id = db_job(b, number, 2);
    struct row_promise *p = rows_add(&b->rows, ROW_KIND_promise);
    struct row_alloc_del *d;
    struct row_job_state *s;

    *p = (struct row_promise){
        .job = id, .given_us = T0, .start_by_us = T0 + BT_US_PER_S, .attempt = 1};
    db_entry(b, id, "hold", 1, -6000, 6000, 0);
    db_job_state(b, id, "queued");
    db_event(b, "submit", "cz/lang");
    db_commit(store, b);

    b = batch_new();
    db_leaf(b, ledger_size, "submit", id);
    put_attempt(b, id, "running");
    db_alloc(b, id, 1, 3);
    s = db_job_state(b, id, "running");
    s->attempt = 1;
    s->submit_idx = ledger_size;
    db_commit(store, b);

    b = batch_new();
    put_attempt(b, id, "ended");
    d = rows_add(&b->rows, ROW_KIND_alloc_del);
    *d = (struct row_alloc_del){.job = id, .node = 1};
    s = db_job_state(b, id, "finishing");
    s->attempt = 1;
    s->submit_idx = ledger_size;
    db_commit(store, b);

    b = batch_new();
    db_leaf(b, ledger_size + 1, "record", id);
    db_entry(b, id, "settle", 1, 4000, -6000, 2000);
    s = db_job_state(b, id, "completed");
    s->attempt = 1;
    s->submit_idx = ledger_size;
    s->record_idx = ledger_size + 1;
    s->record_kind = bt_strdup("record");
    s->charged_mras = 2000;
    s->exit_code = 0;
    s->outcome = bt_strdup("completed");
    s->result_due_us = T0 + 30 * BT_US_PER_S;
    db_commit(store, b);
    return id;
}
