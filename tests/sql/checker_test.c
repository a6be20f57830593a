/* checker_test.c - the checker finds nothing in a sound facility, and every planted fault.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/checker/checker.h"
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/sign.h"
#include "lib/ledger/log.h"
#include "lib/ledger/note.h"
#include "tests/sql/db.h"

static PGconn *conn;
static char *ledger; /* folder of the published files */
static char *vkey;   /* its verifier key */
static char *acks;   /* acknowledged jobs */
static char over[BT_UUID_TEXT], live[BT_UUID_TEXT], runs[BT_UUID_TEXT];

/* ---- a facility: one job over, one queued, one running; two leaves of three published ---- */

static int write_file(void *arg, const char *path, const void *p, size_t n, struct bt_err *err)
{
    BT_AUTO char *full = bt_printf("%s/%s", (const char *)arg, path);
    BT_AUTO char *dir = bt_strdup(full);

    *strrchr(dir, '/') = '\0';
    if (bt_mkdirs(dir, 0755, err) < 0)
        return -BT_ERR_IO;
    return bt_file_write(full, 0644, p, n, err);
}

static void publish(void)
{
    struct log_sink sink = {.write = write_file, .arg = ledger};
    struct log *log = log_new(&sink);
    struct tree_head head;
    struct bt_buf edge = {0}, note = {0}, key_text = {0};
    uint8_t seed[SIGN_SEED_SIZE] = {1, 2, 3}, pub[SIGN_PUBLIC_SIZE];
    struct sign_key *sk;
    struct note_key key;
    struct bt_err err = {0};
    char root[65];

    for (int i = 0; i < 2; i++) {
        char sql[64];

        snprintf(sql, sizeof sql, "SELECT body FROM ledger_entry WHERE idx = %d", i);
        const char *body = db_ask(conn, sql);

        assert_int_equal(log_append(log, body, strlen(body), &err), 0);
    }
    assert_int_equal(log_flush(log, &err), 0);
    log_head(log, &head);
    tree_frontier_save(log_frontier(log), &edge);
    char edge_hex[256];
    BT_AUTO char *sql = bt_printf("INSERT INTO checkpoint VALUES (2, '\\x%s', '\\x%s', NULL)",
                                  bt_hex(head.root.b, 32, root), bt_hex(edge.p, edge.n, edge_hex));

    db_ask(conn, sql);
    assert_int_equal(sign_key_from_seed(seed, &sk, &err), 0);
    sign_key_public(sk, pub);
    assert_int_equal(note_key_make("beamtime.example/ledger", NOTE_ED25519, pub, &key, &err), 0);
    assert_int_equal(checkpoint_sign(&head, &key, sk, &note, &err), 0);
    assert_int_equal(write_file(ledger, "checkpoint", note.p, note.n, &err), 0);
    note_vkey_format(&key, &key_text);
    assert_int_equal(bt_file_write(vkey, 0644, key_text.p, key_text.n, &err), 0);
    sign_key_free(sk);
    log_free(log);
    bt_buf_done(&edge);
    bt_buf_done(&note);
    bt_buf_done(&key_text);
}

static void run_job(struct store *store)
{
    struct batch *b = batch_new();
    struct bt_uuid id = db_job(b, 3, 2);
    struct row_attempt *a = rows_add(&b->rows, ROW_KIND_attempt);
    struct row_job_state *s;

    bt_uuid_format(id, runs);
    *a = (struct row_attempt){.job = id,
                              .n = 1,
                              .state = bt_strdup("running"),
                              .site = 1,
                              .node = 1,
                              .accelerators = 2,
                              .wanted_us = 1,
                              .trial_us = ROW_NULL64,
                              .claimed_us = 2,
                              .started_us = 3,
                              .ended_us = ROW_NULL64};
    db_leaf(b, 2, "submit", id);
    db_entry(b, id, "hold", 1, -500, 500, 0);
    db_alloc(b, id, 1, 3);
    s = db_job_state(b, id, "running");
    s->attempt = 1;
    s->hold_mras = 500;
    s->submit_idx = 2;
    db_commit(store, b);
}

static int setup(void **state)
{
    struct store *store;
    struct batch *b = batch_new();
    struct bt_uuid id;

    if (db_start(state) < 0)
        return -1;
    ledger = bt_printf("%s/ledger", db_dir());
    vkey = bt_printf("%s/log.vkey", db_dir());
    acks = bt_printf("%s/acks", db_dir());
    db_fresh();
    store = db_store(NULL);
    db_facility(b, 2, 1000000);
    db_commit(store, b);
    bt_uuid_format(db_life(store, 1, 0), over);
    b = batch_new();
    id = db_job(b, 2, 2);
    bt_uuid_format(id, live);
    db_entry(b, id, "hold", 1, -6000, 6000, 0);
    db_job_state(b, id, "queued")->hold_mras = 6000;
    db_commit(store, b);
    run_job(store);
    store_close(store);
    conn = db_connect();
    publish();
    BT_AUTO char *text = bt_printf("%s 01%062d\n%s\n", over, 0, live);

    return bt_file_write(acks, 0644, text, strlen(text), NULL);
}

static int teardown(void **state)
{
    PQfinish(conn);
    bt_free(ledger);
    bt_free(vkey);
    bt_free(acks);
    return db_stop(state);
}

/* ---- looking ---- */

static char invariants[256]; /* those violated, "I3 I3 I7 " */
static char sentences[2048];

static void keep(void *arg, const char *invariant, const char *what)
{
    size_t n = strlen(invariants), m = strlen(sentences);

    (void)arg;
    snprintf(invariants + n, sizeof invariants - n, "%s ", invariant);
    snprintf(sentences + m, sizeof sentences - m, "%s\n", what);
}

static int look(void)
{
    struct checker_settings s = {.conninfo = embedded_conninfo(db_server(), EMBEDDED_OWNER),
                                 .ledger = ledger,
                                 .vkey = vkey,
                                 .acks = acks};
    struct checker_totals t;
    struct bt_err err = {0};
    int n;

    invariants[0] = sentences[0] = '\0';
    n = checker_run(&s, keep, NULL, &t, &err);
    if (n < 0)
        fail_msg("%s", err.text);
    return n;
}

static void a_sound_facility_has_no_violations(void **state)
{
    (void)state;
    if (look() != 0)
        fail_msg("%s", sentences);
}

/* Faults planted behind the back of the constraints, and what undoes them. */
static const struct {
    const char *sentence;
    const char *plant;
    const char *invariant; /* that must be among those reported */
} faults[] = {
    {"a lost job", "DELETE FROM job WHERE id = '$L'", "I1"},
    {"a job with another body", "UPDATE job SET body_sha256 = sha256('x') WHERE id = '$O'", "I1"},
    {"two jobs on one accelerator", "INSERT INTO alloc VALUES ('$L', 1, 2)", "I2"},
    {"a gang that is not whole", "UPDATE alloc SET mask = 1; UPDATE node SET busy = 1 WHERE id = 1",
     "I2"},
    {"a busy accelerator that nobody holds", "UPDATE node SET busy = 4 WHERE id = 2", "I2"},
    {"a job that is over and holds",
     "INSERT INTO alloc VALUES ('$O', 2, 1); "
     "UPDATE node SET busy = 1 WHERE id = 2",
     "I2"},
    {"an account that was raised",
     "ALTER TABLE account DROP CONSTRAINT account_balances; "
     "UPDATE account SET free = free + 1 WHERE id = 2",
     "I3"},
    {"an account raised in balance",
     "UPDATE account SET free = free + 1, granted = granted + 1 WHERE id = 2", "I3"},
    {"a lost entry", "DELETE FROM entry WHERE op = '$L'", "I3"},
    {"a hold that was taken twice",
     "INSERT INTO entry SELECT op, kind, 2, nation, project, person, d_free, d_held, d_spent, "
     "at_us "
     "FROM entry WHERE op = '$L'; UPDATE account SET free = free - 6000, held = held + 6000",
     "I3"},
    {"an entry that makes quota", "UPDATE entry SET d_spent = d_spent + 1 WHERE op = '$L'", "I3"},
    {"a charge that nobody paid", "UPDATE job SET charged_mras = 7 WHERE id = '$O'", "I3"},
    {"an end without a record",
     "ALTER TABLE job DROP CONSTRAINT job_ends_with_record; "
     "UPDATE job SET state = 'failed' WHERE id = '$L'",
     "I4"},
    {"a record of a job that goes on",
     "ALTER TABLE job DROP CONSTRAINT job_ends_with_record; "
     "UPDATE job SET state = 'queued' WHERE id = '$O'",
     "I4"},
    {"a job that points at another leaf", "UPDATE job SET record_idx = 0 WHERE id = '$O'", "I4"},
    {"a leaf that was rewritten",
     "ALTER TABLE ledger_entry DROP CONSTRAINT ledger_leaf_hash; "
     "UPDATE ledger_entry SET body = body || ' ' WHERE idx = 2",
     "I5"},
    {"a published leaf rewritten with its hash",
     "UPDATE ledger_entry SET body = body || ' ', leaf_sha256 = "
     "sha256('\\x00'::bytea || convert_to(body || ' ', 'UTF8')) WHERE idx = 0",
     "I5"},
    {"a lost leaf", "DELETE FROM ledger_entry WHERE idx = 1", "I5"},
    {"a ledger cut short",
     "DELETE FROM ledger_entry WHERE idx > 0; UPDATE ledger_head SET size = 1", "I5"},
    {"a head that runs ahead", "UPDATE ledger_head SET size = 4", "I5"},
    {"another checkpoint", "UPDATE checkpoint SET root = sha256('x')", "I5"},
    {"another frontier", "UPDATE checkpoint SET frontier = sha256('x')", "I5"},
    {"a checkpoint of the future", "INSERT INTO checkpoint VALUES (9, sha256('x'), '', NULL)",
     "I5"},
    {"a person below the job's tier", "UPDATE person SET tier = 0", "I6"},
    {"a clearance that had run out", "UPDATE person SET tier_until_us = 1", "I6"},
    {"an institution below it", "UPDATE institution SET tier = 0", "I6"},
    {"a project below it", "UPDATE project SET tier = 0", "I6"},
    {"a site below it", "UPDATE site SET tier = 0", "I6"},
    {"a node below it", "UPDATE node SET tier = 0", "I6"},
    {"a run without a claim", "UPDATE attempt SET claimed_us = NULL WHERE job = '$R'", "I7"},
    {"a run without an attempt", "UPDATE attempt SET state = 'ended' WHERE job = '$R'", "I7"},
    {"an attempt of a job that is over", "UPDATE attempt SET state = 'running' WHERE job = '$O'",
     "I7"},
    {"an attempt too many", "UPDATE job SET attempt = 0 WHERE id = '$R'", "I7"},
};

static char *with_ids(const char *sql)
{
    struct bt_buf to = {0};

    for (; *sql; sql++)
        if (sql[0] == '$' && sql[1] && strchr("LOR", sql[1])) {
            sql++;
            bt_buf_str(&to, *sql == 'L' ? live : *sql == 'O' ? over : runs);
        } else {
            bt_buf_char(&to, *sql);
        }
    return bt_buf_take(&to);
}

/* A planted fault is to be seen by another session: so the whole database is put back from a
 * copy afterwards. */
static void every_planted_fault_is_found(void **state)
{
    const char *owner = embedded_conninfo(db_server(), EMBEDDED_OWNER);
    PGconn *admin;

    (void)state;
    PQfinish(conn);
    BT_AUTO char *other = bt_printf("%s dbname=template1", owner);

    admin = PQconnectdb(other);
    assert_int_equal(PQstatus(admin), CONNECTION_OK);
    db_ask(admin, "CREATE DATABASE sound TEMPLATE postgres");
    for (size_t i = 0; i < BT_ARRAY_LEN(faults); i++) {
        BT_AUTO char *sql = with_ids(faults[i].plant);

        conn = db_connect();
        db_ask(conn, "SET session_replication_role = replica"); /* no triggers, no foreign keys */
        if (db_try(conn, sql)[0])
            fail_msg("%s could not be planted: %s", faults[i].sentence, PQerrorMessage(conn));
        if (look() == 0 || !strstr(invariants, faults[i].invariant))
            fail_msg("%s was not found as %s: %s", faults[i].sentence, faults[i].invariant,
                     sentences);
        PQfinish(conn);
        db_ask(admin, "DROP DATABASE postgres WITH (FORCE)");
        db_ask(admin, "CREATE DATABASE postgres TEMPLATE sound");
    }
    PQfinish(admin);
    conn = db_connect();
    a_sound_facility_has_no_violations(state);
}

static void open_work_needs_no_clearance(void **state)
{
    (void)state;
    db_ask(conn, "SET session_replication_role = replica");
    db_ask(conn, "CREATE TABLE was AS SELECT id, tier FROM job");
    db_ask(conn, "UPDATE job SET tier = 0");
    db_ask(conn, "UPDATE person SET tier_until_us = coalesce(tier_until_us, 0) - 100000000000000");
    a_sound_facility_has_no_violations(state);
    db_ask(conn, "UPDATE person SET tier_until_us = tier_until_us + 100000000000000");
    db_ask(conn, "UPDATE job SET tier = was.tier FROM was WHERE was.id = job.id");
    db_ask(conn, "DROP TABLE was");
    db_ask(conn, "SET session_replication_role = origin");
    a_sound_facility_has_no_violations(state);
}

static void change_byte(const char *path, long at)
{
    FILE *f = fopen(path, "r+e");
    int c;

    assert_non_null(f);
    fseek(f, at, SEEK_SET);
    c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

static void a_published_file_that_was_changed_is_found(void **state)
{
    static const char *const files[] = {"tile/0/000.p/2", "tile/entries/000.p/2", "checkpoint"};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(files); i++) {
        BT_AUTO char *path = bt_printf("%s/%s", ledger, files[i]);

        change_byte(path, 40);
        if (look() == 0 || !strstr(invariants, "I5"))
            fail_msg("%s", files[i]);
        change_byte(path, 40);
    }
    a_sound_facility_has_no_violations(state);
}

static void an_acknowledgement_without_its_job_is_found(void **state)
{
    static const char line[] = "00000000-0000-7000-8000-000000000001\n";

    (void)state;
    assert_int_equal(bt_file_write(acks, 0644, line, sizeof line - 1, NULL), 0);
    assert_int_equal(look(), 1);
    assert_string_equal(invariants, "I1 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_facility_has_no_violations),
        cmocka_unit_test(open_work_needs_no_clearance),
        cmocka_unit_test(every_planted_fault_is_found),
        cmocka_unit_test(a_published_file_that_was_changed_is_found),
        cmocka_unit_test(an_acknowledgement_without_its_job_is_found),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
