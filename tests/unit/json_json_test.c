/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/uuid.h"
#include "lib/json/json.h"

struct thing {
    char name[8];
    char *note;
    int64_t count;
    int32_t small;
    bool flag;
    struct bt_uuid id;
    int64_t at_us;
    int64_t amount;
    int color;
};

static const char *const colors[] = {"red", "green", NULL};

static const struct json_field fields[] = {
    {"name", JSON_F_NAME, offsetof(struct thing, name), true, .size = 8},
    {"note", JSON_F_STRING, offsetof(struct thing, note), .size = 10},
    {"count", JSON_F_I64, offsetof(struct thing, count), .min = 0, .max = 100},
    {"small", JSON_F_I32, offsetof(struct thing, small), .min = -5, .max = 5},
    {"flag", JSON_F_BOOL, offsetof(struct thing, flag)},
    {"id", JSON_F_UUID, offsetof(struct thing, id)},
    {"at", JSON_F_TIME, offsetof(struct thing, at_us)},
    {"amount", JSON_F_DECIMAL, offsetof(struct thing, amount), .min = 0, .max = INT64_MAX},
    {"color", JSON_F_ENUM, offsetof(struct thing, color), .values = colors},
};

static int read_thing(const char *text, struct thing *to, struct bt_err *err)
{
    JSON_AUTO struct json *root = NULL;
    int rc = json_parse(text, strlen(text), 1000, &root, err);

    return rc < 0 ? rc : json_read(root, fields, BT_ARRAY_LEN(fields), to, err);
}

static void a_table_reads_every_kind(void **state)
{
    struct thing t = {0};

    (void)state;
    assert_int_equal(
        read_thing("{\"name\":\"n1\",\"note\":\"a \\\"b\\\"\",\"count\":7,\"small\":-5,"
                   "\"flag\":true,\"id\":\"01997cc8-7c00-7abc-8def-0123456789ab\","
                   "\"at\":\"2026-11-21T18:02:11Z\",\"amount\":\"3200000000000000\","
                   "\"color\":\"green\"}",
                   &t, NULL),
        0);
    assert_string_equal(t.name, "n1");
    assert_string_equal(t.note, "a \"b\"");
    assert_int_equal(t.count, 7);
    assert_int_equal(t.small, -5);
    assert_true(t.flag);
    assert_int_equal(t.at_us, INT64_C(1795284131000000));
    assert_int_equal(t.amount, INT64_C(3200000000000000));
    assert_int_equal(t.color, 1);
    bt_free(t.note);
}

static void each_wrong_document_gets_its_sentence(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"{}", "member 'name' is missing"},
        {"[]", "expected a JSON object"},
        {"{\"name\":\"N1\"}", "member 'name' must be a name of a-z, 0-9, '.', '_' and '-'"},
        {"{\"name\":\"a\",\"more\":1}", "member 'more' is not known here"},
        {"{\"name\":\"a\",\"count\":101}", "member 'count' must be from 0 to 100"},
        {"{\"name\":\"a\",\"count\":1.5}", "member 'count' must be a whole number"},
        {"{\"name\":\"a\",\"color\":\"blue\"}", "member 'color' must be one of red, green"},
        {"{\"name\":\"a\",\"note\":\"0123456789x\"}", "member 'note' is longer than 10 bytes"},
        {"{\"name\":\"a\",\"amount\":5}", "member 'amount' must be a decimal string"},
        {"{\"name\":\"a\",\"note\":\"x\",\"flag\":0}", "member 'flag' must be true or false"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct thing t = {0};
        struct bt_err err = {0};

        assert_true(read_thing(cases[i].text, &t, &err) < 0);
        assert_string_equal(err.text, cases[i].says);
        assert_null(t.note);
    }
}

static void rows_are_read_up_to_the_first_wrong_one(void **state)
{
    struct row {
        int32_t a;
    };
    static const struct json_field columns[] = {
        {"a", JSON_F_I32, offsetof(struct row, a), true, .min = 0, .max = 9},
    };
    static const struct {
        const char *text;
        int rc, n;
    } cases[] = {
        {"[]", 0, 0},
        {"[{\"a\":1},{\"a\":2}]", 0, 2},
        {"[{\"a\":1},{\"a\":10},{\"a\":2}]", -BT_ERR_INVALID, 1},
        {"[7]", -BT_ERR_INVALID, 0},
        {"7", -BT_ERR_INVALID, 0},
        {"{\"a\":1}", -BT_ERR_INVALID, 0},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        JSON_AUTO struct json *j = NULL;
        struct row rows[3] = {{0}};
        int32_t n = 0;

        assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), 256, &j, NULL), 0);
        assert_int_equal(json_read_rows(j, columns, 1, rows, sizeof *rows, &n, NULL), cases[i].rc);
        assert_int_equal(n, cases[i].n);
        for (int32_t k = 0; k < n; k++)
            assert_int_equal(rows[k].a, k + 1);
    }
}

static void parsing_is_strict_and_bounded(void **state)
{
    static const char *const bad[] = {"",    "{",     "{\"a\":1,\"a\":2}", "{\"a\":01}",
                                      "nul", "{} {}", "\"\xff\"",          "{\"a\":\"\\ud800\"}"};
    JSON_AUTO struct json *root = NULL;
    char deep[200];

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        assert_int_equal(json_parse(bad[i], strlen(bad[i]), 1000, &root, NULL), -BT_ERR_INVALID);
    memset(deep, '[', 33);
    memset(deep + 33, ']', 33);
    assert_int_equal(json_parse(deep, 66, 1000, &root, NULL), -BT_ERR_TOO_LARGE);
    assert_int_equal(json_parse(deep + 1, 64, 1000, &root, NULL), 0);
    assert_int_equal(json_parse("[1]", 3, 2, &root, NULL), -BT_ERR_TOO_LARGE);
}

/* 2e20 FLOP, as PostgreSQL and jq write it. */
static void a_whole_number_beyond_64_bits_is_real(void **state)
{
    static const struct {
        const char *text;
        enum json_is is;
        double value;
    } rows[] = {{"200000000000000000000", JSON_IS_REAL, 2e20},
                {"-9223372036854775808", JSON_IS_INT, -0x1p63},
                {"-9223372036854775809", JSON_IS_REAL, -0x1p63},
                {"9223372036854775807", JSON_IS_INT, 0x1p63},
                {"9223372036854775808", JSON_IS_REAL, 0x1p63}};
    BT_AUTO char *digits = bt_alloc(1, 401);
    JSON_AUTO struct json *none = NULL;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        JSON_AUTO struct json *v = NULL;

        assert_int_equal(json_parse(rows[i].text, strlen(rows[i].text), 100, &v, NULL), 0);
        assert_int_equal(json_is(v), rows[i].is);
        assert_true(json_f64(v, 0) == rows[i].value);
        if (rows[i].is == JSON_IS_REAL)
            assert_int_equal(json_i64(v, 7), 7);
    }
    memset(digits, '9', 400);
    assert_int_equal(json_parse(digits, 400, 1000, &none, NULL), -BT_ERR_INVALID);
}

static void the_writer_nests_and_escapes(void **state)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    struct json_writer w = {.to = &b};

    (void)state;
    jw_object(&w, NULL);
    jw_str(&w, "a", "q\"\\\n\x01");
    jw_array(&w, "b");
    jw_i64(&w, NULL, -3);
    jw_object(&w, NULL);
    jw_end_object(&w);
    jw_f64(&w, NULL, 0.1);
    jw_end_array(&w);
    jw_decimal(&w, "c", INT64_MAX);
    jw_null(&w, "d");
    jw_bool(&w, "e", false);
    jw_time(&w, "f", 0);
    jw_hex(&w, "g", "\x01\xff", 2);
    jw_i64(&w, "h", INT64_MIN);
    jw_i64(&w, "i", 0);
    jw_decimal(&w, "j", -10);
    jw_strn(&w, "k", "", 0);
    jw_end_object(&w);
    assert_string_equal(
        bt_buf_text(&b),
        "{\"a\":\"q\\\"\\\\\\n\\u0001\",\"b\":[-3,{},0.1],\"c\":\"9223372036854775807\","
        "\"d\":null,\"e\":false,\"f\":\"1970-01-01T00:00:00Z\",\"g\":\"01ff\","
        "\"h\":-9223372036854775808,\"i\":0,\"j\":\"-10\",\"k\":\"\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_reads_every_kind),
        cmocka_unit_test(each_wrong_document_gets_its_sentence),
        cmocka_unit_test(rows_are_read_up_to_the_first_wrong_one),
        cmocka_unit_test(parsing_is_strict_and_bounded),
        cmocka_unit_test(a_whole_number_beyond_64_bits_is_real),
        cmocka_unit_test(the_writer_nests_and_escapes),
    };

    return cmocka_run_group_tests_name("json_json", tests, NULL, NULL);
}
