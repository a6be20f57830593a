/* schema_test.c - the schema is what the code says, and its constraints bite.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/codec.h"
#include "daemon/store/migrate.h"
#include "daemon/store/pg.h"
#include "daemon/store/queries.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/domain/job.h"
#include "tests/sql/db.h"

static PGconn *conn;
static char live[BT_UUID_TEXT]; /* a queued job, number 2; job 1 has ended with leaves 0 and 1 */
static char over[BT_UUID_TEXT];

static int setup(void **state)
{
    struct store *store;
    struct batch *b = batch_new();
    struct bt_uuid id;

    if (db_start(state) < 0)
        return -1;
    db_fresh();
    store = db_store(NULL);
    db_facility(b, 2, 1000000);
    db_commit(store, b);
    bt_uuid_format(db_life(store, 1, 0), over);
    b = batch_new();
    id = db_job(b, 2, 2);
    bt_uuid_format(id, live);
    db_entry(b, id, "hold", 1, -6000, 6000, 0);
    db_job_state(b, id, "queued");
    db_commit(store, b);
    store_close(store);
    conn = db_connect();
    return 0;
}

static int teardown(void **state)
{
    PQfinish(conn);
    return db_stop(state);
}

/* ---- statements ---- */

static int highest_parameter(const char *sql)
{
    int max = 0;

    for (const char *p = strchr(sql, '$'); p; p = strchr(p + 1, '$'))
        max = BT_MAX(max, (int)strtol(p + 1, NULL, 10));
    return max;
}

static char *text_of(const struct query *q)
{
    for (int k = 0; k < ROW_KINDS; k++) {
        struct codec_shape shape =
            k == ROW_KIND_job ? codec_shape_new_job() : codec_shape((enum row_kind)k);

        if (query_of_kind("put", (enum row_kind)k) == q)
            return codec_sql(q, shape);
        if (query_of_kind("load", (enum row_kind)k) == q)
            return codec_sql(q, codec_shape((enum row_kind)k));
    }
    return bt_strdup(q->text);
}

static void every_statement_prepares_with_the_parameters_that_it_names(void **state)
{
    (void)state;
    db_ask(conn, "CREATE EXTENSION amcheck"); /* as backup_check does */
    for (int i = 0; i < n_queries; i++) {
        BT_AUTO char *sql = text_of(&queries[i]);
        PGresult *res = PQprepare(conn, queries[i].name, sql, 0, NULL);

        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            fail_msg("%s: %s", queries[i].name, PQresultErrorMessage(res));
        PQclear(res);
        res = PQdescribePrepared(conn, queries[i].name);
        if (PQnparams(res) != highest_parameter(sql))
            fail_msg("%s takes %d parameters, names %d", queries[i].name, PQnparams(res),
                     highest_parameter(sql));
        PQclear(res);
    }
    db_ask(conn, "DROP EXTENSION amcheck");
}

static void every_kind_that_is_written_has_its_statement(void **state)
{
    (void)state;
    for (int k = 0; k < ROW_KINDS; k++)
        if (codec_table((enum row_kind)k) && !query_of_kind("put", (enum row_kind)k))
            fail_msg("there is no put_%s", row_shapes[k].name);
}

static void every_table_and_column_and_function_says_what_it_is(void **state)
{
    (void)state;
    assert_string_equal(
        db_ask(conn, "SELECT string_agg(c.relname || '.' || a.attname, ', ') FROM pg_class c "
                     "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
                     "AND NOT a.attisdropped WHERE c.relnamespace = 'public'::regnamespace "
                     "AND c.relkind = 'r' AND col_description(c.oid, a.attnum) IS NULL"),
        "");
    assert_string_equal(
        db_ask(conn, "SELECT string_agg(relname, ', ') FROM pg_class "
                     "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') "
                     "AND obj_description(oid, 'pg_class') IS NULL"),
        "");
    assert_string_equal(db_ask(conn, "SELECT string_agg(proname, ', ') FROM pg_proc "
                                     "WHERE pronamespace = 'public'::regnamespace "
                                     "AND obj_description(oid, 'pg_proc') IS NULL"),
                        "");
}

static void the_legal_steps_are_those_of_job_states_def(void **state)
{
    char sql[256];
    int n = 0;

    (void)state;
    for (int a = 0; a < JOB_STATES; a++)
        for (int b = 0; b < JOB_STATES; b++) {
            snprintf(sql, sizeof sql,
                     "SELECT count(*) FROM job_edge WHERE from_state = '%s' AND to_state = '%s'",
                     job_state_name((enum job_state)a), job_state_name((enum job_state)b));
            assert_string_equal(db_ask(conn, sql),
                                job_step_legal((enum job_state)a, (enum job_state)b) ? "1" : "0");
            n += job_step_legal((enum job_state)a, (enum job_state)b);
        }
    snprintf(sql, sizeof sql, "SELECT count(*) = %d FROM job_edge", n);
    assert_string_equal(db_ask(conn, sql), "t");
}

static void the_states_that_end_a_job_are_those_of_job_states_def(void **state)
{
    char sql[256];

    (void)state;
    for (int s = 0; s < JOB_STATES; s++) {
        snprintf(sql, sizeof sql, "SELECT count(*) = 0 FROM job_reach WHERE from_state = '%s'",
                 job_state_name((enum job_state)s));
        assert_string_equal(db_ask(conn, sql), job_state_terminal((enum job_state)s) ? "t" : "f");
    }
}

static void no_trigger_reads_a_clock(void **state)
{
    (void)state;
    assert_string_equal(
        db_ask(conn,
               "SELECT string_agg(p.proname, ', ') FROM pg_proc p "
               "JOIN pg_trigger t ON t.tgfoid = p.oid AND NOT t.tgisinternal "
               "WHERE p.prosrc ~* '(now *\\(|_timestamp|current_(date|time)|timeofday|localtime)'"),
        "");
}

/* ---- constraints ---- */

/* A new job like number 2 but for these members. */
#define LIKE_JOB_2(members)                                                           \
    "INSERT INTO job SELECT (json_populate_record(j, '{\"number\": 99, "              \
    "\"id\": \"00000000-0000-7000-8000-000000000001\", " members "}')).* FROM job j " \
    "WHERE number = 2"

/* What must fail on the database of setup(), and with which SQLSTATE. $L is the queued job's id,
 * $O that of the one that has ended. */
static const struct {
    const char *sentence;
    const char *sql;
    const char *state;
} wrongs[] = {
    {"a stale epoch may not advance", "SELECT core_advance(0, 99)", "BT001"},
    {"a batch may not be skipped",
     "SELECT core_advance((SELECT epoch FROM core_head), (SELECT seq + 2 FROM core_head))",
     "BT001"},
    {"accounts change by entries alone",
     "UPDATE account SET free = free + 1, granted = granted + 1", "23001"},
    {"an account may not start with money",
     "INSERT INTO account (id, level, overdraft, granted, free) VALUES (9, 'nation', 0, 5, 5)",
     "23001"},
    {"an account has a level", "INSERT INTO account (id, level, overdraft) VALUES (9, 'planet', 0)",
     "23514"},
    {"an account's nation is there",
     "INSERT INTO account (id, level, nation, overdraft) VALUES (9, 'nation', 7, 0)", "23503"},
    {"an account's project is there",
     "INSERT INTO account (id, level, nation, project, overdraft) VALUES (9, 'project', 1, 7, 0)",
     "23503"},
    {"an account's person is there",
     "INSERT INTO account (id, level, nation, project, person, overdraft) "
     "VALUES (9, 'person', 1, 1, 7, 0)",
     "23503"},
    {"an account stays whose it is", "UPDATE account SET person = NULL", "23001"},
    {"nations stay", "DELETE FROM nation", "23001"},
    {"projects stay", "DELETE FROM project", "23001"},
    {"persons stay", "DELETE FROM person", "23001"},
    {"persons keep their numbers", "UPDATE person SET id = 7", "23001"},
    {"nobody spends what is not there",
     "INSERT INTO entry VALUES (gen_random_uuid(), 'hold', 1, 1, 2, 3, -9000000, 9000000, 0, 1)",
     "23514"},
    {"an entry creates nothing",
     "INSERT INTO entry VALUES (gen_random_uuid(), 'hold', 1, 1, 2, 3, 1, 0, 0, 1)", "23514"},
    {"more cannot be settled than was held",
     "INSERT INTO entry VALUES (gen_random_uuid(), 'settle', 1, 1, 2, 3, 6001, -6001, 0, 1)",
     "23514"},
    {"an entry names accounts that exist",
     "INSERT INTO entry VALUES (gen_random_uuid(), 'grant', 1, 77, NULL, NULL, 1, 0, 0, 1)",
     "23503"},
    {"an entry names accounts of the right level",
     "INSERT INTO entry VALUES (gen_random_uuid(), 'grant', 1, 2, NULL, NULL, 1, 0, 0, 1)",
     "23503"},
    {"one hold an attempt", "INSERT INTO entry VALUES ('$L', 'hold', 1, 1, 2, 3, -1, 1, 0, 1)",
     "23505"},
    {"entries stay", "DELETE FROM entry", "23001"},
    {"entries do not change", "UPDATE entry SET at_us = 0", "23001"},
    {"events stay", "DELETE FROM event_row", "23001"},
    {"promises do not change", "UPDATE promise SET start_by_us = 0", "23001"},
    {"promises stay", "TRUNCATE promise", "23001"},
    {"leaves do not change", "UPDATE ledger_entry SET body = '{}'", "23001"},
    {"leaves stay", "DELETE FROM ledger_entry", "23001"},
    {"the ledger's size follows its leaves", "UPDATE ledger_head SET size = size + 1", "23001"},
    {"the ledger has no gap",
     "INSERT INTO ledger_entry SELECT 7, 'decision', NULL, sha256('\\x00'::bytea || 'x'), 'x', 1",
     "23000"},
    {"an index is used once",
     "INSERT INTO ledger_entry SELECT 1, 'decision', NULL, sha256('\\x00'::bytea || 'x'), 'x', 1",
     "23505"},
    {"a leaf's hash is its own",
     "INSERT INTO ledger_entry SELECT 2, 'decision', NULL, sha256('x'), 'x', 1", "23514"},
    {"a leaf is not written twice",
     "INSERT INTO ledger_entry SELECT 2, kind, NULL, leaf_sha256, body, 1 FROM ledger_entry "
     "WHERE idx = 1",
     "23505"},
    {"one record a job",
     "INSERT INTO ledger_entry SELECT 2, 'record', '$O', sha256('\\x00'::bytea || 'x'), 'x', 1",
     "23505"},
    {"checkpoints cover what is committed",
     "INSERT INTO checkpoint VALUES (3, sha256(''), '', NULL)", "23000"},
    {"a job does not end without a record", "UPDATE job SET state = 'cancelled' WHERE number = 2",
     "23514"},
    {"a job that goes on has no record",
     "UPDATE job SET record_idx = 1, record_kind = 'record' WHERE number = 2", "23514"},
    {"a job ends with a record of its own",
     "UPDATE job SET state = 'cancelled', record_idx = 1, record_kind = 'record' WHERE number = 2",
     "23000 23503"},
    {"a job ends with a leaf that is a record",
     "UPDATE job SET state = 'cancelled', record_idx = 0, record_kind = 'submit' WHERE number = 2",
     "23514"},
    {"a job ends with its quota given back",
     "INSERT INTO ledger_entry SELECT 2, 'record', '$L', sha256('\\x00'::bytea || 'x'), 'x', 1; "
     "UPDATE job SET state = 'cancelled', record_idx = 2, record_kind = 'record' WHERE number = 2",
     "23000"},
    {"what has ended stays ended",
     "UPDATE job SET state = 'queued', record_idx = NULL, record_kind = NULL WHERE number = 1",
     "23000"},
    {"what has ended does not end otherwise", "UPDATE job SET state = 'failed' WHERE number = 1",
     "23000"},
    {"a job names its own submit leaf", "UPDATE job SET submit_idx = 0 WHERE number = 2", "23503"},
    {"a job names its own result", "UPDATE job SET result_idx = 0 WHERE number = 1", "23503"},
    {"what was asked does not change", "UPDATE job SET walltime_s = 1 WHERE number = 2", "23001"},
    {"jobs stay", "DELETE FROM job WHERE number = 2", "23001"},
    {"a job's id is used once",
     "INSERT INTO job SELECT (json_populate_record(j, '{\"number\": 99}')).* FROM job j "
     "WHERE number = 2",
     "23505"},
    {"a job's number is used once",
     "INSERT INTO job SELECT (json_populate_record(j, "
     "'{\"id\": \"00000000-0000-7000-8000-000000000001\"}')).* FROM job j WHERE number = 2",
     "23505"},
    {"a new job does not begin in the middle",
     "INSERT INTO job SELECT (json_populate_record(j, '{\"number\": 99, \"state\": \"running\", "
     "\"id\": \"00000000-0000-7000-8000-000000000001\"}')).* FROM job j WHERE number = 2",
     "23000"},
    {"a job belongs to somebody",
     "INSERT INTO job SELECT (json_populate_record(j, '{\"number\": 99, \"person\": 7, "
     "\"id\": \"00000000-0000-7000-8000-000000000001\"}')).* FROM job j WHERE number = 2",
     "23503"},
    {"a job names a reservation that is there",
     "INSERT INTO job SELECT (json_populate_record(j, '{\"number\": 99, \"reservation\": 7, "
     "\"id\": \"00000000-0000-7000-8000-000000000001\"}')).* FROM job j WHERE number = 2",
     "23503"},
    {"a job has the digest of a request", LIKE_JOB_2("\"body_sha256\": \"\\\\x00\""), "23514"},
    {"a job asks for no fewer than no accelerators", LIKE_JOB_2("\"accelerators\": -1"), "23514"},
    {"a job asks for no more than 100,000 accelerators", LIKE_JOB_2("\"accelerators\": 100001"),
     "23514"},
    {"a job starts with one accelerator at least", LIKE_JOB_2("\"min_accelerators\": 0"), "23514"},
    {"a job starts with as many as it asks for at most", LIKE_JOB_2("\"min_accelerators\": 3"),
     "23514"},
    {"a job takes time", LIKE_JOB_2("\"walltime_s\": 0"), "23514"},
    {"a task is one of an array", LIKE_JOB_2("\"array_task\": 1"), "23514"},
    {"an array has tasks", LIKE_JOB_2("\"array_of\": \"00000000-0000-7000-8000-000000000009\""),
     "23514"},
    {"tasks are counted from 0",
     LIKE_JOB_2("\"array_of\": \"00000000-0000-7000-8000-000000000009\", \"array_task\": -1"),
     "23514"},
    {"no accelerator has no memory", LIKE_JOB_2("\"memory_gb\": 0"), "23514"},
    {"no accelerator has no bandwidth", LIKE_JOB_2("\"bandwidth_gb\": 65536"), "23514"},
    {"a job asks for data sets by their names", LIKE_JOB_2("\"datasets\": \"web  x\""), "23514"},
    {"a job's state is a state", LIKE_JOB_2("\"state\": \"lost\""), "23000"},
    {"no step leads to what is no state", "UPDATE job SET state = 'lost' WHERE number = 2",
     "23000"},
    {"reservations stay", "DELETE FROM outage", "23001"},
    {"a site holds a data set once",
     "INSERT INTO dataset VALUES (2, 1, 'web-2', '/x', NULL, NULL, 1); SET CONSTRAINTS ALL "
     "IMMEDIATE",
     "23505"},
    {"the path of a data set is plain",
     "INSERT INTO dataset VALUES (2, 1, 'x', '/$(id)', NULL, NULL, 1)", "23514"},
    {"nor does it climb", "INSERT INTO dataset VALUES (2, 1, 'x', '/a/../b', NULL, NULL, 1)",
     "23514"},
    {"a data set lies at a site", "INSERT INTO dataset VALUES (2, 7, 'x', '/x', NULL, NULL, 1)",
     "23503"},
    {"what was taken back has no digest",
     "INSERT INTO dataset VALUES (2, 1, NULL, NULL, NULL, 5, NULL)", "23514"},
    {"what a job asks for does not change", "UPDATE job SET datasets = 'x' WHERE number = 2",
     "23001"},
    {"a job that starts holds its accelerators",
     "UPDATE job SET state = 'starting' WHERE number = 2", "23000"},
    {"a job that starts holds all of them",
     "INSERT INTO alloc VALUES ('$L', 1, 1); UPDATE job SET state = 'starting' WHERE number = 2",
     "23000"},
    {"an accelerator is held once",
     "INSERT INTO alloc VALUES ('$L', 1, 3); INSERT INTO alloc VALUES ('$O', 1, 2)", "23P01"},
    {"nor twice in one statement", "INSERT INTO alloc VALUES ('$L', 1, 3), ('$O', 1, 2)", "23P01"},
    {"nor are there any that the node lacks", "INSERT INTO alloc VALUES ('$L', 1, 256)", "23P01"},
    {"nor nodes that are not there", "INSERT INTO alloc VALUES ('$L', 77, 1)", "23P01"},
    {"nor for nobody", "INSERT INTO alloc VALUES ('00000000-0000-7000-8000-000000000001', 1, 1)",
     "23503"},
    {"what is held does not change",
     "INSERT INTO alloc VALUES ('$L', 1, 3); UPDATE alloc SET mask = 1", "23001"},
    {"busy follows allocations", "UPDATE node SET busy = 1", "23001"},
    {"an ended attempt stays ended", "UPDATE attempt SET state = 'running'", "23000"},
    {"one claim an attempt", "UPDATE attempt SET claimed_us = 99", "23000"},
    {"a job of a node's past stays", "DELETE FROM node", "23001"},
};

static char *with_ids(const char *sql)
{
    struct bt_buf to = {0};

    for (; *sql; sql++)
        if (sql[0] == '$' && (sql[1] == 'L' || sql[1] == 'O'))
            bt_buf_str(&to, *++sql == 'L' ? live : over);
        else
            bt_buf_char(&to, *sql);
    return bt_buf_take(&to);
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(wrongs); i++) {
        BT_AUTO char *sql = with_ids(wrongs[i].sql);
        char got[8];

        db_ask(conn, "BEGIN");
        bt_copy(got, sizeof got, db_try(conn, sql));
        if (!got[0]) /* what is checked at commit */
            bt_copy(got, sizeof got, db_try(conn, "COMMIT"));
        db_ask(conn, "ROLLBACK");
        if (!got[0] || !strstr(wrongs[i].state, got))
            fail_msg("%s: SQLSTATE '%s', not %s", wrongs[i].sentence, got, wrongs[i].state);
    }
    assert_string_equal(db_ask(conn, "SELECT count(*) FROM job WHERE number = 2 "
                                     "AND state = 'queued' AND record_idx IS NULL"),
                        "1");
}

static void bit_63_is_an_accelerator_like_any_other(void **state)
{
    static const char top[] = "-9223372036854775808";
    char sql[256];

    (void)state;
    db_ask(conn, "BEGIN");
    snprintf(sql, sizeof sql,
             "UPDATE node SET all_mask = -1, n_acc = 64 WHERE id = 2; "
             "INSERT INTO alloc VALUES ('%s', 2, %s), ('%s', 2, 4611686018427387904)",
             live, top, over);
    assert_string_equal(db_try(conn, sql), "");
    snprintf(sql, sizeof sql, "INSERT INTO alloc VALUES ('%s', 2, %s)", over, top);
    assert_string_equal(db_try(conn, sql), "23505");
    db_ask(conn, "ROLLBACK");
    db_ask(conn, "BEGIN");
    snprintf(sql, sizeof sql,
             "UPDATE node SET all_mask = -1, n_acc = 64 WHERE id = 2; "
             "INSERT INTO alloc VALUES ('%s', 2, %s), ('%s', 2, %s)",
             live, top, over, top);
    assert_string_equal(db_try(conn, sql), "23P01");
    db_ask(conn, "ROLLBACK");
}

/* ---- roles ---- */

static void readers_read_and_do_nothing_else(void **state)
{
    static const struct {
        enum embedded_role role;
        const char *sql;
        const char *state;
    } cases[] = {
        {EMBEDDED_READ, "SELECT count(*) FROM job_read", ""},
        {EMBEDDED_READ, "SELECT count(*) FROM token", "42501"},
        {EMBEDDED_READ, "SELECT count(*) FROM credential", "42501"},
        {EMBEDDED_READ, "INSERT INTO rate VALUES ('x', 1, 1, 1)", "42501"},
        {EMBEDDED_READ, "UPDATE core_head SET epoch = 9", "42501"},
        {EMBEDDED_READ, "SELECT core_advance(1, 1)", "42501"},
        {EMBEDDED_READ, "CREATE TABLE mine (a int)", "42501"},
        {EMBEDDED_READ, "SET ROLE beamtime", "42501"},
        {EMBEDDED_PUBLIC, "SELECT count(*) FROM ledger_entry", ""},
        {EMBEDDED_PUBLIC, "SELECT count(*) FROM job", "42501"},
        {EMBEDDED_PUBLIC, "SELECT count(*) FROM person", "42501"},
        {EMBEDDED_PUBLIC, "DELETE FROM ledger_entry", "42501"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        PGconn *c = PQconnectdb(embedded_conninfo(db_server(), cases[i].role));

        assert_int_equal(PQstatus(c), CONNECTION_OK);
        if (strcmp(db_try(c, cases[i].sql), cases[i].state) != 0)
            fail_msg("%s: '%s', not '%s'", cases[i].sql, db_try(c, cases[i].sql), cases[i].state);
        PQfinish(c);
    }
}

/* ---- migrations ---- */

static PGconn *own_connection(void)
{
    PGconn *c;
    struct bt_err err;

    assert_int_equal(pg_open(embedded_conninfo(db_server(), EMBEDDED_OWNER), NULL,
                             bt_mono_us() + 10 * BT_US_PER_S, &c, &err),
                     0);
    return c;
}

static void migrations_apply_once_and_a_newer_or_edited_one_is_refused(void **state)
{
    struct migration later[64];
    struct bt_err err = {0};
    PGconn *c = own_connection();
    int n = n_migrations;
    char sql[128];

    (void)state;
    assert_true(n < 63);
    memcpy(later, migrations, (size_t)n * sizeof *later);
    later[n] = (struct migration){migrations[n - 1].version + 1, "9999-later",
                                  "CREATE TABLE later (a integer)"};
    assert_int_equal(migrate(c, migrations, n, &err), 0); /* all are there */
    assert_int_equal(migrate(c, later, n + 1, &err), 1);
    assert_int_equal(migrate(c, later, n + 1, &err), 0);
    assert_int_equal(migrate(c, migrations, n, &err), -BT_ERR_SCHEMA_NEWER);
    assert_int_equal(migrate(c, later, n + 1, &err), 0); /* the connection is of use */
    later[0].sql = "SELECT 'another text'";
    assert_int_equal(migrate(c, later, n + 1, &err), -BT_ERR_CORRUPT);
    assert_non_null(strstr(err.text, migrations[0].name));
    PQfinish(c);
    snprintf(sql, sizeof sql, "DROP TABLE later; DELETE FROM schema_migration WHERE version = %d",
             migrations[n - 1].version + 1);
    db_ask(conn, sql);
}

static void a_migration_that_fails_leaves_nothing(void **state)
{
    struct migration later[64];
    struct bt_err err = {0};
    PGconn *c = own_connection();
    int n = n_migrations;

    (void)state;
    memcpy(later, migrations, (size_t)n * sizeof *later);
    later[n] = (struct migration){migrations[n - 1].version + 1, "9999-bad",
                                  "CREATE TABLE half (a integer); SELECT 1 / 0"};
    assert_int_equal(migrate(c, later, n + 1, &err), -BT_ERR_INVALID);
    assert_string_equal(db_ask(conn, "SELECT to_regclass('half') IS NULL"), "t");
    assert_int_equal(migrate(c, migrations, n, &err), 0);
    PQfinish(c);
}

/* Jobs with promises as a daemon of before wrote them. */
static const char before_0028[] =
    "SET session_replication_role = replica;"
    "INSERT INTO job (id, number, body_sha256, person, project, nation, name, kind, accelerators,"
    " per_node, level, level_required, walltime_s, grace_s, signal, requeue, max_attempts, tier,"
    " submit_us, spec, state, attempt, promise_us)"
    " SELECT lpad(n::text, 32, '0')::uuid, n, '', 1, 1, 1, '', 0, 1, 0, 0, 0, 1, 1, 0, 0, 9, 0, 1, "
    "'',"
    " 'queued', a, p FROM (VALUES (1, 1, 70), (2, 2, NULL), (3, 2, 90), (4, 1, NULL)) j (n, a, p);"
    "INSERT INTO promise (job, given_us, start_by_us)"
    " SELECT lpad(n::text, 32, '0')::uuid, g, s FROM (VALUES (1, 10, 60), (1, 20, 70), (2, 10, 60),"
    " (3, 10, 60), (3, 50, 90)) p (n, g, s);"
    "INSERT INTO attempt (job, n, state, wanted_us)"
    " SELECT lpad(n::text, 32, '0')::uuid, 1, 'ended', w FROM (VALUES (2, 30), (3, 10)) a (n, w);"
    "SET session_replication_role = origin";

static void promises_of_before_belong_to_their_attempts(void **state)
{
    struct bt_err err = {0};
    char where[512];
    PGconn *c;
    int n = 0;

    (void)state;
    snprintf(where, sizeof where, "%s dbname=older",
             embedded_conninfo(db_server(), EMBEDDED_OWNER));
    db_ask(conn, "CREATE DATABASE older");
    assert_int_equal(pg_open(where, NULL, bt_mono_us() + 10 * BT_US_PER_S, &c, &err), 0);
    while (migrations[n].version < 28)
        n++;
    assert_int_equal(migrate(c, migrations, n, &err), n);
    PQclear(PQexec(c, before_0028));
    assert_string_equal(PQerrorMessage(c), "");
    assert_int_equal(migrate(c, migrations, n_migrations, &err), n_migrations - n);
    assert_string_equal(db_ask(c, "SELECT string_agg(j.number || ':' || p.attempt || ':' || "
                                  "p.start_by_us, ' ' ORDER BY number, given_us)"
                                  " FROM promise p JOIN job j ON j.id = p.job"),
                        "1:1:60 1:1:70 2:1:60 3:1:60 3:2:90");
    PQfinish(c);
    db_ask(conn, "DROP DATABASE older");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_statement_prepares_with_the_parameters_that_it_names),
        cmocka_unit_test(every_kind_that_is_written_has_its_statement),
        cmocka_unit_test(every_table_and_column_and_function_says_what_it_is),
        cmocka_unit_test(the_legal_steps_are_those_of_job_states_def),
        cmocka_unit_test(the_states_that_end_a_job_are_those_of_job_states_def),
        cmocka_unit_test(no_trigger_reads_a_clock),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(bit_63_is_an_accelerator_like_any_other),
        cmocka_unit_test(readers_read_and_do_nothing_else),
        cmocka_unit_test(migrations_apply_once_and_a_newer_or_edited_one_is_refused),
        cmocka_unit_test(a_migration_that_fails_leaves_nothing),
        cmocka_unit_test(promises_of_before_belong_to_their_attempts),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
