/* read_test.c - what is asked is answered, by a reader that can do nothing else.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "daemon/store/queries.h"
#include "daemon/store/reader.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "tests/sql/db.h"

static struct store_reader *reader;
static char id[BT_UUID_TEXT];

static int setup(void **state)
{
    struct store *store;
    struct batch *b = batch_new();
    PGconn *conn;
    const char *said;

    if (db_start(state) < 0)
        return -1;
    db_fresh();
    store = db_store(NULL);
    db_facility(b, 2, 1000000);
    *(struct row_switch_pair *)rows_add(&b->rows, ROW_KIND_switch_pair) =
        (struct row_switch_pair){.id = 1,
                                 .site = 1,
                                 .class_name = bt_strdup("h200"),
                                 .leaf_a = 1,
                                 .leaf_b = 4,
                                 .busbw_mbs = 500,
                                 .measured_us = 1000000,
                                 .node_a = bt_strdup("n1"),
                                 .node_b = bt_strdup("n2"),
                                 .state = bt_strdup("slow")};
    db_commit(store, b);
    bt_uuid_format(db_life(store, 1, 0), id);
    for (int i = 2; i <= 5; i++) {
        b = batch_new();
        db_job_state(b, db_job(b, i, 1), "queued");
        db_commit(store, b);
    }
    store_close(store);
    conn = db_connect();
    said = db_try(conn, "UPDATE site SET conf = '{\"blobs\":\"https://here.example\"}'");
    PQfinish(conn);
    if (*said)
        return -1;
    reader = reader_new(embedded_conninfo(db_server(), EMBEDDED_READ));
    return 0;
}

static int teardown(void **state)
{
    reader_free(reader);
    return db_stop(state);
}

static const struct {
    const char *name;
    int n;
    const char *params[6]; /* "$" is the id of the job that has ended */
    int rc;
    const char *has; /* in the answer without its blanks */
} cases[] = {
    {"job_id", 1, {"1"}, 0, "-7"},
    {"job_id", 1, {"77"}, -BT_ERR_NOT_FOUND, ""},
    {"job_id", 1, {"x"}, -BT_ERR_INVALID, ""},
    {"job_state", 1, {"$"}, 0, "\"completed\""},
    {"job", 1, {"$"}, 0, "\"start_by\":\"2026-"},
    {"job", 1, {"1"}, 0, "\"exit_code\":0"},
    {"job_brief", 1, {"1"}, 0, "\"charged_mras\":\"2000\""},
    {"job_spec", 1, {"$"}, 0, "\"name\":\"tiny\""},
    {"jobs", 6, {NULL, NULL, NULL, NULL, NULL, "2"}, 0, "\"next\":\"4\""},
    {"jobs", 6, {NULL, NULL, NULL, NULL, "3", "2"}, 0, "\"next\":null"},
    {"jobs", 6, {"queued", "cz", "cz/lang", "1", NULL, "100"}, 0, "\"number\":5"},
    {"jobs", 6, {"queued", "xx", NULL, NULL, NULL, "100"}, 0, "\"items\":[]"},
    {"jobs", 6, {NULL, NULL, NULL, NULL, NULL, "many"}, -BT_ERR_INVALID, ""},
    {"quota", 2, {"cz", "lang"}, 0, "\"spent_mras\":\"2000\""},
    {"nations", 0, {0}, 0, "\"nation\":\"cz\""},
    {"institutions", 1, {NULL}, 0, "\"institution\":\"uni\""},
    {"projects", 1, {"cz"}, 0, "\"role\":\"lead\""},
    {"people", 1, {"cz"}, 0, "\"roles\":[\"researcher\"]"},
    {"whoami", 1, {"1"}, 0, "\"name\":\"cz/lang\""},
    {"whoami", 1, {"9"}, -BT_ERR_NOT_FOUND, ""},
    {"nodes", 4, {NULL, NULL, NULL, "100"}, 0, "\"accelerators\":8"},
    {"nodes", 4, {"n1", "up,down", NULL, "1"}, 0, "\"node\":\"n1\""},
    {"nodes", 4, {NULL, NULL, "n1", "1"}, 0, "\"next\":null"},
    {"nodes", 4, {NULL, "draining", NULL, "1"}, 0, "\"items\":[]"},
    {"problems", 1, {"0"}, 0, "beamtime"},
    {"problems", 1, {"0"}, 0, "ledgerentrieswaitforasignedcheckpoint"},
    {"problems",
     1,
     {"0"},
     0,
     "leafswitches1and4athereareslow:0.50GB/sbetweentheirh200nodes(n1,n2)"},
    {"site", 1, {"here"}, 0, "\"leaf_b\":4,\"busbw_mb_per_s\":500,\"state\":\"slow\""},
    {"public_machine", 0, {0}, 0, "{\"nodes\":[[\""},
    {"nodes_by_state", 0, {0}, 0, "\"names\""},
    {"rates", 0, {0}, 0, "\"rate_milli\":10"},
    {"guarantees", 0, {0}, 0, "\"items\""},
    {"outages", 0, {0}, 0, "\"items\""},
    {"datasets", 1, {NULL}, 0, "\"variable\":\"BEAM_DATASET_WEB_2\""},
    {"datasets", 1, {"nowhere"}, 0, "\"items\":[]"},
    {"site", 1, {"here"}, 0, "\"datasets\":[{\"name\":\"web-2\""},
    {"public_machine", 0, {0}, 0, "\"bytes\":5}"},
    {"report_fairness", 2, {"1", "2000000000000000"}, 0, "\"items\""},
    {"report_promises", 2, {"1", "2000000000000000"}, 0, "\"kept\""},
    {"ledger", 5, {"0", "1", NULL, NULL, NULL}, 0, "\"next\":\"1\""},
    {"ledger", 5, {NULL, "10", "record", "1", NULL}, 0, "\"index\":1"},
    {"ledger_one", 1, {"1"}, 0, "\"kind\":\"record\""},
    {"ledger_one", 1, {"7"}, -BT_ERR_NOT_FOUND, ""},
    {"ledger_leaf", 1, {"0"}, 0, "\"kind\":\"submit\""},
    {"public_front", 2, {"0", "{}"}, 0, "\"checkpoint_size\":0,\"counts\":{"},
    {"public_front", 2, {"1", "{\"record\":6}"}, 0, "2{\"record\":7}{\"size\":2"},
    {"public_record", 1, {"1"}, 0, "\"later\":[]"},
    {"attempt_node", 2, {"$", "1"}, 0, "n1"},
    {"node_blobs", 1, {"n1"}, 0, "here"},
    {"node_blobs", 1, {"n9"}, -BT_ERR_NOT_FOUND, ""},
    {"public_blobs", 1, {"away\nhere\n"}, 0, "https://here.example"},
    {"public_blobs", 1, {"away\n"}, -BT_ERR_NOT_FOUND, ""},
    {"job_log", 2, {"1", NULL}, 0, "\"open\":false"},
    {"events", 4, {NULL, "0", "2147483647", "10"}, 0, "\"actor\":\"cz/ada\""},
    {"events", 4, {"1", "0", "2147483647", "10"}, 0, "\"ord\":0,\"at\":"},
    {"events",
     4,
     {"1", "0", "2147483647", "10"},
     0,
     "\"kind\":\"submit\",\"actor\":\"cz/ada\",\"subject\":\"1\""},
    {"events",
     4,
     {"$", "0", "2147483647", "10"},
     0,
     "\"kind\":\"submit\",\"actor\":\"cz/ada\",\"subject\":\"1\""},
    {"events", 4, {"cz/lang", "0", "2147483647", "10"}, 0, "\"subject\":\"cz/lang\""},
    {"events", 4, {"17", "0", "2147483647", "10"}, 0, "\"items\":[],\"next\":null"},
    {"policy_text", 0, {0}, 0, "\"text\":\"rules\""},
    {"status", 2, {"0", "{}"}, 0, "\"queued\":4,\"completed\":1}"},
    {"status",
     2,
     {"2", "{\"failed\":6}"},
     0,
     "2{\"failed\":6}{\"jobs\":{\"queued\":4,\"failed\":6}"},
};

static void each_question_has_its_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf json = {0}, dense = {0};
        const char *params[6];
        struct bt_err err = {0};
        int rc;

        for (int k = 0; k < 6; k++)
            params[k] = bt_streq(cases[i].params[k], "$") ? id : cases[i].params[k];
        rc = reader_query(reader, cases[i].name, params, cases[i].n, &json, &err);
        for (size_t k = 0; k < json.n; k++)
            if (json.p[k] != ' ' && json.p[k] != '\n')
                bt_buf_char(&dense, json.p[k]);
        if (rc != cases[i].rc || !strstr(bt_buf_text(&dense), cases[i].has))
            fail_msg("%s (%d): %d %s %s", cases[i].name, (int)i, rc, err.text, bt_buf_text(&dense));
    }
}

/* Page by page, one event each: all of them, also of a batch that wrote several, and none twice;
 * the last page names no next one. */
static void an_audit_read_in_pages_is_whole(void **state)
{
    PGconn *conn = db_connect();
    BT_BUF_AUTO struct bt_buf seen = {0};
    char seq[24] = "0", ord[24] = "2147483647";
    bool more = true;

    (void)state;
    while (more) {
        BT_BUF_AUTO struct bt_buf json = {0};
        const char *const params[] = {NULL, seq, ord, "1"};
        BT_AUTO char *next = NULL;
        const char *item;

        assert_int_equal(reader_query(reader, "events", params, 4, &json, NULL), 0);
        item = strstr(bt_buf_text(&json), "\"seq\" : ");
        assert_non_null(item);
        assert_int_equal(sscanf(item, "\"seq\" : %23[0-9], \"ord\" : %23[0-9]", seq, ord), 2);
        bt_buf_printf(&seen, "%s.%s ", seq, ord);
        next = bt_printf("\"next\" : \"%s.%s\"", seq, ord);
        more = strstr(bt_buf_text(&json), next) != NULL;
        assert_true(more || strstr(bt_buf_text(&json), "\"next\" : null"));
    }
    assert_string_equal(
        bt_buf_text(&seen),
        db_ask(conn,
               "SELECT string_agg(seq || '.' || ord || ' ', '' ORDER BY seq, ord) FROM event"));
    assert_string_equal(db_ask(conn, "SELECT max(ord) > 0 FROM event"), "t");
    PQfinish(conn);
}

static void what_is_signed_is_no_problem(void **state)
{
    static const struct {
        const char *size; /* of two entries */
        bool waits;
    } rows[] = {{"0", true}, {"1", true}, {"2", false}, {"9223372036854775807", false}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        BT_BUF_AUTO struct bt_buf json = {0};
        const char *const params[] = {rows[i].size};

        assert_int_equal(reader_query(reader, "problems", params, 1, &json, NULL), 0);
        assert_int_equal(strstr(bt_buf_text(&json), "wait for a signed") != NULL, rows[i].waits);
    }
}

static void a_reader_can_write_nothing_even_as_the_owner(void **state)
{
    struct store_reader *owner = reader_new(embedded_conninfo(db_server(), EMBEDDED_OWNER));
    BT_BUF_AUTO struct bt_buf json = {0};
    struct bt_err err = {0};

    (void)state;
    assert_int_equal(reader_query(owner, "lead", NULL, 0, &json, &err), -BT_ERR_BUSY);
    assert_non_null(strstr(err.text, "25006"));
    reader_free(owner);
}

static void a_reader_whose_session_was_ended_asks_again(void **state)
{
    PGconn *conn = db_connect();
    BT_BUF_AUTO struct bt_buf json = {0};
    struct bt_err err = {0};

    (void)state;
    db_ask(conn, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                 "WHERE usename = 'beamtime_read'");
    if (reader_query(reader, "nations", NULL, 0, &json, &err) < 0)
        fail_msg("%s", err.text);
    PQfinish(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_question_has_its_answer),
        cmocka_unit_test(an_audit_read_in_pages_is_whole),
        cmocka_unit_test(what_is_signed_is_no_problem),
        cmocka_unit_test(a_reader_can_write_nothing_even_as_the_owner),
        cmocka_unit_test(a_reader_whose_session_was_ended_asks_again),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
