/* race_test.c - two sessions at once, in every order that matters.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * There is one writer; these show that a second one, a former leader or a second publisher,
 * cannot do harm. `first` opens a transaction, `second` runs and waits for it; then first
 * commits or rolls back, and second must end as said. */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "tests/sql/db.h"

static PGconn *one, *two;
static char a[BT_UUID_TEXT], b[BT_UUID_TEXT];

static int setup(void **state)
{
    struct store *store;
    struct batch *batch = batch_new();

    if (db_start(state) < 0)
        return -1;
    db_fresh();
    store = db_store(NULL);
    db_facility(batch, 2, 1000);
    bt_uuid_format(db_job(batch, 1, 1), a);
    bt_uuid_format(db_job(batch, 2, 1), b);
    db_commit(store, batch);
    store_close(store);
    one = db_connect();
    two = db_connect();
    return 0;
}

static int teardown(void **state)
{
    PQfinish(one);
    PQfinish(two);
    return db_stop(state);
}

static char *with_ids(const char *sql)
{
    struct bt_buf to = {0};

    for (; *sql; sql++)
        if (sql[0] == '$' && (sql[1] == 'A' || sql[1] == 'B'))
            bt_buf_str(&to, *++sql == 'A' ? a : b);
        else
            bt_buf_char(&to, *sql);
    return bt_buf_take(&to);
}

static const struct {
    const char *sentence;
    const char *first, *second;
    const char *after_commit;   /* SQLSTATE of second when first commits */
    const char *after_rollback; /* and when it does not */
} races[] = {
    {"two leaders take the same batch number", "SELECT core_advance(1, 2)",
     "SELECT core_advance(1, 2)", "BT001", ""},
    {"a leader is replaced while it writes", "UPDATE core_head SET epoch = 2",
     "SELECT core_advance(1, 2)", "BT001", ""},
    {"two jobs take one accelerator", "INSERT INTO alloc VALUES ('$A', 1, 1)",
     "INSERT INTO alloc VALUES ('$B', 1, 1)", "23P01", ""},
    {"two jobs take two accelerators of a node", "INSERT INTO alloc VALUES ('$A', 1, 1)",
     "INSERT INTO alloc VALUES ('$B', 1, 2)", "", ""},
    {"two holds that only together are too much",
     "INSERT INTO entry VALUES ('$A', 'hold', 1, 1, 2, 3, -600, 600, 0, 1)",
     "INSERT INTO entry VALUES ('$B', 'hold', 1, 1, 2, 3, -600, 600, 0, 1)", "23514", ""},
    {"one hold twice", "INSERT INTO entry VALUES ('$A', 'hold', 1, 1, 2, 3, -6, 6, 0, 1)",
     "INSERT INTO entry VALUES ('$A', 'hold', 1, 1, 2, 3, -6, 6, 0, 1)", "23505", ""},
    {"two leaves at one index",
     "INSERT INTO ledger_entry SELECT 0, 'decision', NULL, sha256('\\x00'::bytea || 'x'), 'x', 1",
     "INSERT INTO ledger_entry SELECT 0, 'decision', NULL, sha256('\\x00'::bytea || 'y'), 'y', 1",
     "23505", ""},
    {"a leaf behind one that is not committed yet",
     "INSERT INTO ledger_entry SELECT 0, 'decision', NULL, sha256('\\x00'::bytea || 'x'), 'x', 1",
     "INSERT INTO ledger_entry SELECT 1, 'decision', NULL, sha256('\\x00'::bytea || 'y'), 'y', 1",
     "23000", "23000"},
    {"one job twice", "SELECT 1",
     "INSERT INTO job SELECT (json_populate_record(j, '{\"number\": 9}')).* FROM job j "
     "WHERE id = '$A'",
     "23505", "23505"},
};

/* True when `waiting` waits for a lock, false when it has answered. */
static bool waits(PGconn *waiting, PGconn *asker)
{
    char sql[128];

    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_locks WHERE pid = %d AND NOT granted",
             PQbackendPID(waiting));
    for (;;) {
        if (!PQconsumeInput(waiting))
            fail_msg("%s", PQerrorMessage(waiting));
        if (!PQisBusy(waiting))
            return false;
        if (strcmp(db_ask(asker, sql), "0") != 0)
            return true;
    }
}

static void meet(size_t i, bool commit)
{
    BT_AUTO char *first = with_ids(races[i].first);
    BT_AUTO char *second = with_ids(races[i].second);
    const char *want = commit ? races[i].after_commit : races[i].after_rollback;
    char got[8] = "";
    PGresult *res;

    db_ask(one, "BEGIN");
    db_ask(two, "BEGIN");
    db_ask(one, first);
    assert_int_equal(PQsendQuery(two, second), 1);
    waits(two, one);
    db_ask(one, commit ? "COMMIT" : "ROLLBACK");
    while ((res = PQgetResult(two))) {
        const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

        if (state)
            bt_copy(got, sizeof got, state);
        PQclear(res);
    }
    db_ask(two, "ROLLBACK");
    if (strcmp(got, want) != 0)
        fail_msg("%s, the first %s: SQLSTATE '%s', not '%s'", races[i].sentence,
                 commit ? "commits" : "rolls back", got, want);
}

/* What the first ones have committed is taken back behind the constraints' back. */
static void put_back(void)
{
    db_ask(one, "SET session_replication_role = replica;"
                "DELETE FROM alloc; UPDATE node SET busy = 0;"
                "DELETE FROM entry WHERE kind = 'hold';"
                "UPDATE account SET free = granted, held = 0;"
                "DELETE FROM ledger_entry; UPDATE ledger_head SET size = 0;"
                "UPDATE core_head SET epoch = 1, seq = 1;"
                "SET session_replication_role = origin");
}

static void whoever_comes_second_sees_what_the_first_has_done(void **state)
{
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(races); i++) {
        put_back();
        meet(i, false);
        put_back();
        meet(i, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_comes_second_sees_what_the_first_has_done),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
