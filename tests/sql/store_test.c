/* store_test.c - what is committed is loaded again, and nothing else.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "tests/sql/db.h"

static int keep(void *arg, enum row_kind kind, const void *row, struct bt_err *err)
{
    struct rows *to = arg;
    void *copy = rows_add(to, kind);

    (void)err;
    row_copy(kind, copy, row);
    return 0;
}

static void assert_same_row(enum row_kind kind, const char *a, const char *b)
{
    const struct row_shape *s = &row_shapes[kind];

    for (int i = 0; i < s->n_columns; i++) {
        const struct row_column *c = &s->columns[i];
        static const size_t sizes[] = {4, 8, 8, 16, 32};
        const char *pa = a + c->offset, *pb = b + c->offset;

        if (c->type == ROW_text && !bt_streq(*(char *const *)pa, *(char *const *)pb))
            fail_msg("%s.%s: '%s' is not '%s'", s->name, c->name, *(char *const *)pa,
                     *(char *const *)pb);
        if (c->type != ROW_text && memcmp(pa, pb, sizes[c->type]) != 0)
            fail_msg("%s.%s differs", s->name, c->name);
    }
}

/* Node `id` gets 64 accelerators. */
static void give_64(struct row_node *nodes, int id)
{
    nodes[id - 1].n_acc = 64;
    nodes[id - 1].all_mask = -1;
}

static void what_is_committed_is_loaded_again_in_every_column(void **state)
{
    struct rows loaded = {0};
    struct store_loaded info;
    struct bt_err err = {0};
    struct store *store;
    struct batch *b = batch_new();
    struct bt_uuid id, last;

    (void)state;
    db_fresh();
    store = db_store(NULL);
    db_facility(b, 2, 1000000);
    give_64(b->rows.list[ROW_KIND_node].v, 2);
    id = db_job(b, 1, 2);
    db_entry(b, id, "hold", 1, -6000, 6000, 0);
    db_leaf(b, 0, "submit", id);
    db_alloc(b, id, 1, 3);
    db_job_state(b, id, "starting")->submit_idx = 0;
    last = db_job(b, 2, 1);
    db_entry(b, last, "hold", 1, -6000, 6000, 0);
    db_leaf(b, 1, "submit", last);
    db_alloc(b, last, 2, INT64_MIN); /* the 64th accelerator alone */
    db_job_state(b, last, "starting")->submit_idx = 1;
    db_event(b, "submit", "x");
    b->seq = db_next_seq();
    assert_int_equal(store_commit(store, b, &err), STORE_COMMITTED);
    assert_int_equal(store_load(store, 0, keep, &loaded, &info, &err), 0);
    assert_int_equal(info.ledger_size, 2);
    assert_int_equal(info.last_number, 2);
    assert_int_equal(info.seq, b->seq);
    assert_int_equal(info.n_rows, loaded.n);
    for (int k = 0; k < ROW_KINDS; k++) {
        bool written_only = k == ROW_KIND_ledger || k == ROW_KIND_entry || k == ROW_KIND_event ||
                            k == ROW_KIND_account_set;

        if (k == ROW_KIND_balance) {
            struct row_balance *v = loaded.list[k].v;

            assert_int_equal(loaded.list[k].n, 3);
            assert_int_equal(v->granted, 1000000);
            assert_int_equal(v->held, 12000);
            continue;
        }
        assert_int_equal(loaded.list[k].n, written_only ? 0 : b->rows.list[k].n);
        for (int i = 0; i < loaded.list[k].n; i++)
            assert_same_row((enum row_kind)k,
                            (const char *)b->rows.list[k].v + i * row_shapes[k].size,
                            (const char *)loaded.list[k].v + i * row_shapes[k].size);
    }
    rows_done(&loaded);
    batch_free(b);
    store_close(store);
}

static void a_job_lives_from_submission_to_its_record(void **state)
{
    PGconn *conn = db_connect();
    struct store *store;
    struct batch *b = batch_new();

    (void)state;
    db_fresh();
    store = db_store(NULL);
    db_facility(b, 1, 1000000);
    db_commit(store, b);
    db_life(store, 1, 0);
    db_life(store, 2, 2);
    assert_string_equal(
        db_ask(conn, "SELECT granted || ' ' || free || ' ' || held || ' ' || spent FROM account "
                     "WHERE level = 'person'"),
        "1000000 996000 0 4000");
    assert_string_equal(db_ask(conn, "SELECT size FROM ledger_head"), "4");
    assert_string_equal(db_ask(conn, "SELECT sum(busy) FROM node"), "0");
    store_close(store);
    PQfinish(conn);
}

static int count_jobs(void *arg, enum row_kind kind, const void *row, struct bt_err *err)
{
    (void)row;
    (void)err;
    *(int *)arg += kind == ROW_KIND_job;
    return 0;
}

static void a_job_that_is_over_is_loaded_only_within_the_window_or_while_its_result_is_due(
    void **state)
{
    PGconn *conn = db_connect();
    struct store_loaded info;
    struct store *store;
    struct batch *b = batch_new();
    struct bt_uuid id;
    int n = 0;

    (void)state;
    db_fresh();
    store = db_store(NULL);
    db_facility(b, 1, 1000000);
    db_commit(store, b);
    id = db_life(store, 1, 0);
    assert_int_equal(store_load(store, INT64_MAX, count_jobs, &n, &info, NULL), 0);
    assert_int_equal(n, 1); /* its result is due */
    b = batch_new();
    db_leaf(b, 2, "result", id);
    db_commit(store, b);
    db_ask(conn, "UPDATE job SET result_idx = 2");
    n = 0;
    assert_int_equal(store_load(store, INT64_MAX, count_jobs, &n, &info, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(store_load(store, 0, count_jobs, &n, &info, NULL), 0);
    assert_int_equal(n, 1); /* within the window */
    store_close(store);
    PQfinish(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_committed_is_loaded_again_in_every_column),
        cmocka_unit_test(a_job_lives_from_submission_to_its_record),
        cmocka_unit_test(
            a_job_that_is_over_is_loaded_only_within_the_window_or_while_its_result_is_due),
    };

    return cmocka_run_group_tests(tests, db_start, db_stop);
}
