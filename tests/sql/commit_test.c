/* commit_test.c - every way a commit can go, each broken on purpose.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "tests/sql/db.h"

/* Breaks the first commit at one place; later ones go through. */
struct fault {
    enum store_point point;
    enum row_kind kind; /* for STORE_AT_MESSAGE */
    const char *what;   /* "" cuts, else SQL */
    int left;
};

static const char *strike(void *arg, enum store_point point, enum row_kind kind)
{
    struct fault *f = arg;

    if (f->left == 0 || point != f->point || (point == STORE_AT_MESSAGE && kind != f->kind))
        return NULL;
    f->left--;
    return f->what;
}

static PGconn *look;
static int64_t number;

static int setup(void **state)
{
    struct store *store;
    struct batch *b = batch_new();

    if (db_start(state) < 0)
        return -1;
    db_fresh();
    store = db_store(NULL);
    db_facility(b, 1, 1000000);
    db_commit(store, b);
    store_close(store);
    look = db_connect();
    return 0;
}

static int teardown(void **state)
{
    PQfinish(look);
    return db_stop(state);
}

static struct batch *one_job(void)
{
    struct batch *b = batch_new();
    struct bt_uuid id = db_job(b, ++number, 1);

    db_entry(b, id, "hold", 1, -10, 10, 0);
    db_job_state(b, id, "queued");
    db_event(b, "submit", "cz/lang");
    b->seq = db_next_seq();
    return b;
}

static int there(void)
{
    char sql[128];

    snprintf(sql, sizeof sql, "SELECT count(*) FROM job WHERE number = %d", (int)number);
    return bt_streq(db_ask(look, sql), "1");
}

#define RAISE(state) "DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '" state "'; END $$"

static void each_fault_has_its_outcome_and_the_same_batch_goes_in_once(void **state)
{
    static const struct {
        const char *name;
        struct fault fault;
        enum store_outcome outcome;
        int code; /* of the error */
    } cases[] = {
        {"cut before BEGIN", {STORE_AT_BEGIN, 0, "", 1}, STORE_COMMITTED, 0},
        {"cut after a job", {STORE_AT_MESSAGE, ROW_KIND_job, "", 1}, STORE_COMMITTED, 0},
        {"cut after an entry", {STORE_AT_MESSAGE, ROW_KIND_entry, "", 1}, STORE_COMMITTED, 0},
        {"cut after an event", {STORE_AT_MESSAGE, ROW_KIND_event, "", 1}, STORE_COMMITTED, 0},
        {"cut before COMMIT", {STORE_AT_COMMIT, 0, "", 1}, STORE_COMMITTED, 0},
        {"cut behind COMMIT", {STORE_AT_FLUSH, 0, "", 1}, STORE_COMMITTED, 0},
        {"answer lost", {STORE_AT_ANSWER, 0, "", 1}, STORE_COMMITTED, 0},
        {"cut twice", {STORE_AT_COMMIT, 0, "", 2}, STORE_COMMITTED, 0},
        {"cut thrice", {STORE_AT_COMMIT, 0, "", 3}, STORE_DOWN, BT_ERR_UNREACHABLE},
        {"serialization", {STORE_AT_COMMIT, 0, RAISE("40001"), 1}, STORE_RETRY, BT_ERR_DB_RETRY},
        {"deadlock",
         {STORE_AT_MESSAGE, ROW_KIND_job, RAISE("40P01"), 1},
         STORE_RETRY,
         BT_ERR_DB_RETRY},
        {"disk full", {STORE_AT_COMMIT, 0, RAISE("53100"), 1}, STORE_DOWN, BT_ERR_DISK_FULL},
        {"too many", {STORE_AT_BEGIN, 0, RAISE("53300"), 1}, STORE_DOWN, BT_ERR_BUSY},
        {"cancelled", {STORE_AT_COMMIT, 0, RAISE("57014"), 1}, STORE_DOWN, BT_ERR_TIMEOUT},
        {"input/output", {STORE_AT_COMMIT, 0, RAISE("58030"), 1}, STORE_DOWN, BT_ERR_IO},
        {"bad value", {STORE_AT_COMMIT, 0, RAISE("22003"), 1}, STORE_BUG, BT_ERR_INVALID},
        {"constraint", {STORE_AT_COMMIT, 0, RAISE("23514"), 1}, STORE_BUG, BT_ERR_INTERNAL},
        {"our own raise", {STORE_AT_COMMIT, 0, RAISE("P0001"), 1}, STORE_BUG, BT_ERR_INTERNAL},
        {"session ended",
         {STORE_AT_COMMIT, 0, "SELECT pg_terminate_backend(pg_backend_pid())", 1},
         STORE_COMMITTED,
         0},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct fault fault = cases[i].fault;
        struct store_hooks hooks = {strike, &fault};
        struct store *store = db_store(&hooks);
        struct batch *b = one_job();
        struct bt_err err;
        enum store_outcome outcome = store_commit(store, b, &err);

        if (outcome != cases[i].outcome || err.code != cases[i].code)
            fail_msg("%s: outcome %d, error %d (%s)", cases[i].name, (int)outcome, err.code,
                     err.text);
        assert_int_equal(fault.left, 0);
        if (outcome != STORE_COMMITTED) {
            if (outcome != STORE_DOWN || err.code != BT_ERR_UNREACHABLE)
                assert_false(there()); /* rolled back, and the connection is of use */
            assert_int_equal(store_commit(store, b, &err), STORE_COMMITTED);
            assert_int_equal(err.code, 0);
        }
        assert_true(there());
        assert_int_equal(db_next_seq(), b->seq + 1);
        batch_free(b);
        store_close(store);
    }
    assert_string_equal(db_ask(look, "SELECT count(*) = (SELECT count(*) FROM job) FROM entry "
                                     "WHERE kind = 'hold'"),
                        "t");
}

static void an_older_leader_is_fenced_and_writes_nothing(void **state)
{
    struct store *old = db_store(NULL);
    struct batch *b = one_job();
    struct store_settings s = {.conninfo = embedded_conninfo(db_server(), EMBEDDED_OWNER)};
    struct store *rival;
    struct bt_err err = {0};
    uint64_t epoch, seq;

    (void)state;
    assert_int_equal(store_open(&s, &rival, &err), 0);
    assert_int_equal(store_lead(rival, &epoch, &seq, &err), -BT_ERR_LOCKED);
    db_ask(look, "UPDATE core_head SET epoch = epoch + 1"); /* as a leader does that had waited */
    assert_int_equal(store_commit(old, b, &err), STORE_FENCED);
    assert_int_equal(err.code, BT_ERR_FENCED);
    assert_false(there());
    store_close(old);
    assert_int_equal(store_lead(rival, &epoch, &seq, &err), 0);
    assert_int_equal(store_commit(rival, b, &err), STORE_COMMITTED);
    store_close(rival);
    batch_free(b);
}

static void a_batch_that_others_numbered_is_fenced(void **state)
{
    struct store *store = db_store(NULL);
    struct batch *b = one_job();
    struct bt_err err;

    (void)state;
    b->seq += 7;
    assert_int_equal(store_commit(store, b, &err), STORE_FENCED);
    store_close(store);
    batch_free(b);
}

static void silence_is_a_lost_connection(void **state)
{
    struct store_settings s = {.conninfo = embedded_conninfo(db_server(), EMBEDDED_OWNER),
                               .answer_timeout_us = 300000};
    PGconn *other = db_connect();
    struct batch *b = one_job();
    struct store *store;
    struct bt_err err = {0};
    uint64_t epoch, seq;

    (void)state;
    assert_int_equal(store_open(&s, &store, &err), 0);
    assert_int_equal(store_lead(store, &epoch, &seq, &err), 0);
    db_ask(other, "BEGIN");
    db_ask(other, "SELECT * FROM core_head FOR UPDATE");
    assert_int_equal(store_commit(store, b, &err), STORE_DOWN);
    assert_int_equal(err.code, BT_ERR_TIMEOUT);
    db_ask(other, "ROLLBACK");
    assert_int_equal(store_commit(store, b, &err), STORE_COMMITTED);
    assert_true(there());
    assert_int_equal(db_next_seq(), b->seq + 1);
    PQfinish(other);
    store_close(store);
    batch_free(b);
}

static void a_frozen_session_is_left_behind(void **state)
{
    struct store_settings s = {.conninfo = embedded_conninfo(db_server(), EMBEDDED_OWNER),
                               .answer_timeout_us = 1500000};
    struct batch *b = one_job();
    struct store *store;
    struct bt_err err = {0};
    uint64_t epoch, seq;
    int64_t pid;

    (void)state;
    assert_int_equal(store_open(&s, &store, &err), 0);
    assert_int_equal(store_lead(store, &epoch, &seq, &err), 0);
    assert_int_equal(bt_parse_i64(db_ask(look, "SELECT pid FROM pg_locks WHERE locktype = "
                                               "'advisory' AND granted"),
                                  "pid", 2, INT32_MAX, &pid, &err),
                     0);
    kill((pid_t)pid, SIGSTOP);
    if (store_commit(store, b, &err) != STORE_COMMITTED)
        fail_msg("%s", err.text);
    kill((pid_t)pid, SIGCONT);
    assert_true(there());
    assert_int_equal(db_next_seq(), b->seq + 1);
    store_close(store);
    batch_free(b);
}

static void while_the_server_is_away_a_batch_waits_and_then_goes_in(void **state)
{
    struct store *store = db_store(NULL);
    struct batch *b = one_job();
    struct bt_err err = {0};

    (void)state;
    PQfinish(look);
    assert_int_equal(embedded_stop(db_server(), &err), 0);
    assert_int_equal(store_commit(store, b, &err), STORE_DOWN);
    assert_int_equal(err.code, BT_ERR_UNREACHABLE);
    assert_int_equal(embedded_poll(db_server(), &err), 1);
    while (store_commit(store, b, &err) == STORE_DOWN)
        assert_int_equal(err.code, BT_ERR_UNREACHABLE); /* it is starting */
    look = db_connect();
    assert_true(there());
    store_close(store);
    batch_free(b);
}

static void the_killed_server_loses_nothing_that_was_committed(void **state)
{
    struct store *store = db_store(NULL);
    struct bt_err err = {0};
    char sql[128];

    (void)state;
    PQfinish(look);
    for (int i = 0; i < 5; i++) {
        struct batch *b = one_job();

        assert_int_equal(store_commit(store, b, &err), STORE_COMMITTED);
        batch_free(b);
    }
    kill(embedded_pid(db_server()), SIGKILL);
    store_close(store);
    do /* it may have to be started again while the dead one's sessions still go */
        assert_true(embedded_poll(db_server(), &err) >= 0);
    while (PQping(embedded_conninfo(db_server(), EMBEDDED_OWNER)) != PQPING_OK);
    look = db_connect();
    snprintf(sql, sizeof sql, "SELECT count(*) FROM job WHERE number > %d", (int)number - 5);
    assert_string_equal(db_ask(look, sql), "5");
    store = db_store(NULL);
    struct batch *b = one_job();

    assert_int_equal(store_commit(store, b, &err), STORE_COMMITTED);
    batch_free(b);
    store_close(store);
}

static void a_batch_without_rows_asks_nobody(void **state)
{
    struct store *store = db_store(NULL);
    struct batch *b = batch_new();
    struct bt_err err;
    uint64_t next = db_next_seq();

    (void)state;
    assert_int_equal(store_commit(store, b, &err), STORE_COMMITTED);
    assert_int_equal(db_next_seq(), next);
    batch_free(b);
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_has_its_outcome_and_the_same_batch_goes_in_once),
        cmocka_unit_test(an_older_leader_is_fenced_and_writes_nothing),
        cmocka_unit_test(a_batch_that_others_numbered_is_fenced),
        cmocka_unit_test(silence_is_a_lost_connection),
        cmocka_unit_test(a_frozen_session_is_left_behind),
        cmocka_unit_test(a_batch_without_rows_asks_nobody),
        cmocka_unit_test(while_the_server_is_away_a_batch_waits_and_then_goes_in),
        cmocka_unit_test(the_killed_server_loses_nothing_that_was_committed),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
