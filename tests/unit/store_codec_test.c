/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/store/codec.h"
#include "daemon/store/pg.h"
#include "daemon/store/queries.h"
#include "lib/base/mem.h"

static void an_sqlstate_has_one_outcome(void **state)
{
    static const struct {
        const char *sqlstate;
        bool fatal;
        enum pg_verdict verdict;
    } cases[] = {
        {NULL, false, PG_DOUBT},    {"", false, PG_DOUBT},          {"40001", false, PG_AGAIN},
        {"40P01", false, PG_AGAIN}, {"40003", false, PG_DOUBT},     {"BT001", false, PG_DOUBT},
        {"08006", false, PG_DOUBT}, {"53100", false, PG_RESOURCES}, {"57014", false, PG_RESOURCES},
        {"57P01", true, PG_DOUBT},  {"58030", false, PG_RESOURCES}, {"25006", false, PG_RESOURCES},
        {"22001", false, PG_BUG},   {"23505", false, PG_BUG},       {"P0001", false, PG_BUG},
        {"42703", false, PG_BUG},   {"XX000", true, PG_DOUBT},      {"55P03", false, PG_AGAIN},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        assert_int_equal(pg_verdict(cases[i].sqlstate, cases[i].fatal), cases[i].verdict);
}

static void braces_become_columns(void **state)
{
    static const struct query q = {"x", "a ({columns}) b ({tail}) c ({r.tail}) d ({new.tail})"};
    BT_AUTO char *sql = codec_sql(&q, codec_shape(ROW_KIND_member));

    (void)state;
    assert_string_equal(sql, "a (project, person, role) b (role) c (r.role) d (EXCLUDED.role)");
}

static void a_row_is_spelled_as_record_recv_reads_it(void **state)
{
    /* table (extra, person, role, project) of row type 7; the row's own order is another */
    static const struct codec_layout layout = {
        .row_type = 7, .n = 4, .at = {{25, -1}, {23, 1}, {25, 2}, {23, 0}}};
    static const char want[] = "\0\0\0\1"                   /* dimensions */
                               "\0\0\0\0"                   /* no NULLs */
                               "\0\0\0\7"                   /* row type */
                               "\0\0\0\1"                   /* rows */
                               "\0\0\0\1"                   /* from 1 */
                               "\0\0\0\054"                 /* 44 bytes of row */
                               "\0\0\0\4"                   /* columns */
                               "\0\0\0\031\377\377\377\377" /* text NULL */
                               "\0\0\0\027\0\0\0\4\0\0\1\2" /* 258 */
                               "\0\0\0\031\0\0\0\4lead"
                               "\0\0\0\027\377\377\377\377"; /* int NULL */
    struct row_member row = {.project = ROW_NULL32, .person = 258, .role = (char[]){"lead"}};
    struct row_list rows = {.v = &row, .n = 1};
    BT_BUF_AUTO struct bt_buf to = {0};

    (void)state;
    codec_encode(&layout, &row_shapes[ROW_KIND_member], &rows, &to);
    assert_int_equal(to.n, sizeof want - 1);
    assert_memory_equal(to.p, want, to.n);
}

static void a_new_job_carries_the_columns_of_its_state(void **state)
{
    const struct row_shape *s = codec_shape_new_job().shape;
    int n = row_shapes[ROW_KIND_job].n_columns + row_shapes[ROW_KIND_job_state].n_columns - 1;

    (void)state;
    assert_int_equal(s->n_columns, n);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(s->columns[i].name, s->columns[k].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_sqlstate_has_one_outcome),
        cmocka_unit_test(braces_become_columns),
        cmocka_unit_test(a_row_is_spelled_as_record_recv_reads_it),
        cmocka_unit_test(a_new_job_carries_the_columns_of_its_state),
    };

    return cmocka_run_group_tests_name("store_codec", tests, NULL, NULL);
}
