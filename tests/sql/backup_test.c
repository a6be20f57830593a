/* backup_test.c - a copy comes back whole, and a look finds what is wrong.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/store/backup.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "tests/sql/db.h"

static struct backup_db db;
static char *file;

static int setup(void **state)
{
    struct store *store;
    struct batch *b = batch_new();

    if (db_start(state) < 0)
        return -1;
    db.conninfo = embedded_conninfo(db_server(), EMBEDDED_OWNER);
    file = bt_printf("%s/copy", db_dir());
    db_fresh();
    store = db_store(NULL);
    db_facility(b, 2, 1000000);
    db_commit(store, b);
    db_life(store, 1, 0);
    store_close(store);
    return 0;
}

static int teardown(void **state)
{
    bt_free(file);
    return db_stop(state);
}

static char last[512];
static const char *sought; /* part of what is to be found */
static bool found;

static void keep(void *arg, const char *what)
{
    (void)arg;
    snprintf(last, sizeof last, "%s", what);
    found |= sought && strstr(what, sought);
}

static void assert_sound(void)
{
    struct bt_err err = {0};
    int n = backup_check(&db, keep, NULL, &err);

    if (n < 0)
        fail_msg("%s", err.text);
    if (n > 0)
        fail_msg("%s", last);
}

static void a_copy_comes_back_whole(void **state)
{
    PGconn *conn = db_connect();
    struct bt_err err = {0};
    struct stat st;
    struct store *store;

    (void)state;
    assert_sound();
    if (backup_write(&db, file, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(backup_read(&db, file, &err), -BT_ERR_CONFLICT); /* it is all still there */
    db_ask(conn, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    if (backup_read(&db, file, &err) < 0)
        fail_msg("%s", err.text);
    assert_sound();
    assert_string_equal(db_ask(conn, "SELECT count(*) FROM job"), "1");
    assert_string_equal(db_try(conn, "DELETE FROM entry"), "23001"); /* with its triggers */
    store = db_store(NULL);                                          /* with its migrations */
    db_life(store, 2, 2);
    store_close(store);
    PQfinish(conn);
}

static void a_copy_that_fails_leaves_no_file(void **state)
{
    struct backup_db nowhere = {.conninfo = "host=/nonexistent user=x password='se\\'cret\\\\:x'"};
    BT_AUTO char *other = bt_printf("%s/other", db_dir());
    BT_AUTO char *part = bt_printf("%s/other.part", db_dir());
    struct bt_err err = {0};

    (void)state;
    assert_int_equal(backup_write(&nowhere, other, &err), -BT_ERR_IO);
    assert_non_null(strstr(err.text, "/nonexistent"));
    assert_int_equal(access(other, F_OK), -1);
    assert_int_equal(access(part, F_OK), -1);
    assert_int_equal(backup_read(&db, other, &err), -BT_ERR_NOT_FOUND);
}

static void a_look_finds_what_is_wrong(void **state)
{
    static const struct {
        const char *says, *plant, *mend;
    } cases[] = {
        {"busy and allocations differ", "UPDATE node SET busy = 1 WHERE id = 2",
         "UPDATE node SET busy = 0 WHERE id = 2"},
        {"is not the sum of its entries",
         "UPDATE account SET free = free + 1, granted = granted + 1 WHERE id = 1",
         "UPDATE account SET free = free - 1, granted = granted - 1 WHERE id = 1"},
        {"its head says", "UPDATE ledger_head SET size = size + 1",
         "UPDATE ledger_head SET size = size - 1"},
        {"attempts that have not ended", "UPDATE attempt SET state = 'running' WHERE n = 1",
         "UPDATE attempt SET state = 'ended' WHERE n = 1"},
        {"records", "UPDATE job SET record_idx = 0 WHERE number = 1",
         "UPDATE job SET record_idx = 1 WHERE number = 1"},
        {"asks for what no job may ask for", "UPDATE job SET walltime_s = -walltime_s",
         "UPDATE job SET walltime_s = -walltime_s"},
        {"or is in no state",
         "UPDATE job SET state = 'napping', record_idx = NULL, record_kind = NULL WHERE number = 1",
         "UPDATE job SET state = 'completed', record_idx = 1, record_kind = 'record' "
         "WHERE number = 1"},
        {"names no person", "UPDATE job SET person = -person", "UPDATE job SET person = -person"},
        {"not of its nation", "UPDATE job SET nation = -nation", "UPDATE job SET nation = -nation"},
        {"no reservation", "UPDATE job SET reservation = 1", "UPDATE job SET reservation = NULL"},
        {"is no grant and makes quota", /* the accounts' sums stay */
         "UPDATE entry SET d_free = d_free + CASE kind WHEN 'hold' THEN 1 ELSE -1 END "
         "WHERE kind <> 'grant'",
         "UPDATE entry SET d_free = d_free - CASE kind WHEN 'hold' THEN 1 ELSE -1 END "
         "WHERE kind <> 'grant'"},
        {"is of no nation", "UPDATE account SET person = -person",
         "UPDATE account SET person = -person"},
    };
    PGconn *conn = db_connect();
    struct bt_err err = {0};

    (void)state;
    db_ask(conn, "SET session_replication_role = replica");
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        db_ask(conn, cases[i].plant);
        sought = cases[i].says;
        found = false;
        if (backup_check(&db, keep, NULL, &err) < 1 || !found)
            fail_msg("%s was not found %s", cases[i].plant, err.text);
        db_ask(conn, cases[i].mend);
    }
    assert_sound();
    PQfinish(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_comes_back_whole),
        cmocka_unit_test(a_copy_that_fails_leaves_no_file),
        cmocka_unit_test(a_look_finds_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
