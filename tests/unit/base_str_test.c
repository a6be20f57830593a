/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "lib/base/str.h"
#include "lib/base/time.h"

static void durations_read_units_and_slurm(void **state)
{
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = {{"90s", 90},
                 {"15m", 900},
                 {"12h", 43200},
                 {"1h30m", 5400},
                 {"2d", 172800},
                 {"30", 1800},
                 {"30:15", 1815},
                 {"01:00:00", 3600},
                 {"1-02", 93600},
                 {"1-02:30", 95400},
                 {"1-02:30:05", 95405},
                 {"", -1},
                 {"-5", -1},
                 {"5x", -1},
                 {"1:2:3:4", -1},
                 {"1.5h", 5400},
                 {"h", -1},
                 {"999999999999", -1},
                 {" 5", -1}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        int64_t s = -1;
        int rc = bt_parse_duration_s(cases[i].text, "--time", &s, NULL);

        assert_int_equal(rc < 0 ? -1 : s, cases[i].want);
    }
}

static void numbers_are_whole_strings_in_range(void **state)
{
    struct bt_err err;
    int64_t v = 7;

    (void)state;
    assert_int_equal(bt_parse_i64("42", "n", 0, 100, &v, &err), 0);
    assert_int_equal(v, 42);
    assert_int_equal(bt_parse_i64("101", "n", 0, 100, &v, &err), -BT_ERR_INVALID);
    assert_string_equal(err.text, "n is '101', not a whole number from 0 to 100");
    assert_int_equal(bt_parse_i64(" 4", "n", 0, 100, &v, NULL), -BT_ERR_INVALID);
    assert_int_equal(bt_parse_i64("+4", "n", 0, 100, &v, NULL), -BT_ERR_INVALID);
    assert_int_equal(bt_parse_i64("99999999999999999999", "n", 0, INT64_MAX, &v, NULL),
                     -BT_ERR_INVALID);
    assert_int_equal(v, 42);
}

static void sizes_know_both_families(void **state)
{
    int64_t v;

    (void)state;
    assert_int_equal(bt_parse_bytes("16KiB", "s", &v, NULL), 0);
    assert_int_equal(v, 16384);
    assert_int_equal(bt_parse_bytes("2MB", "s", &v, NULL), 0);
    assert_int_equal(v, 2000000);
    assert_int_equal(bt_parse_bytes("2mb", "s", &v, NULL), -BT_ERR_INVALID);
    assert_int_equal(bt_parse_bytes("-1", "s", &v, NULL), -BT_ERR_INVALID);
}

static void times_round_trip(void **state)
{
    static const char *const same[] = {"2026-11-21T18:02:11Z", "2027-01-01T00:00:00Z",
                                       "2026-11-21T18:02:11.000001Z"};
    char out[BT_TIME_MAX];
    int64_t us;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(same); i++) {
        assert_int_equal(bt_time_parse(same[i], "t", &us, NULL), 0);
        assert_string_equal(bt_time_format(us, out), same[i]);
    }
    assert_int_equal(bt_time_parse("2026-11-21T20:02:11+02:00", "t", &us, NULL), 0);
    assert_string_equal(bt_time_format(us, out), same[0]);
    assert_int_equal(bt_time_parse("2027-02-30", "t", &us, NULL), -BT_ERR_INVALID);
    assert_int_equal(bt_time_parse("2027-01-01x", "t", &us, NULL), -BT_ERR_INVALID);
}

static void a_time_is_written_as_its_calendar_day_has_it(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {-1, "1969-12-31T23:59:59.999999Z"}, /* not of the day that was written before */
        {INT64_C(86399999999), "1970-01-01T23:59:59.999999Z"},
        {INT64_C(86400000000), "1970-01-02T00:00:00Z"},
        {INT64_C(951825599000000), "2000-02-29T11:59:59Z"},
        {INT64_C(951825600000100), "2000-02-29T12:00:00.000100Z"},
        {INT64_C(253402300799000000), "9999-12-31T23:59:59Z"},
        {INT64_C(253402300800000000), "10000-01-01T00:00:00Z"},
        {INT64_C(253402300861000000), "10000-01-01T00:01:01Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
    };
    char out[BT_TIME_MAX];

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        assert_string_equal(bt_time_format(cases[i].us, out), cases[i].text);
}

static void utf8_is_judged_as_rfc_3629_says(void **state)
{
    (void)state;
    assert_true(bt_is_utf8("d\xc5\xafm \xf0\x9f\x98\x80", 9));
    assert_false(bt_is_utf8("\xc0\xaf", 2));
    assert_false(bt_is_utf8("\xed\xa0\x80", 3));
    assert_false(bt_is_utf8("\xf4\x90\x80\x80", 4));
    assert_false(bt_is_utf8("\xc5", 1));
}

static void a_list_has_whole_words(void **state)
{
    static const struct {
        const char *list, *word;
        bool has;
    } cases[] = {{"n1,n2,n10", "n1", true},  {"n1,n2,n10", "n2", true},
                 {"n1,n2,n10", "n10", true}, {"n10,xn1,n1x", "n1", false},
                 {"n1", "n1", true},         {"n1n1,n1", "n1", true},
                 {"n1,n2", "", false},       {"", "n1", false},
                 {NULL, "n1", false},        {"n", "n1", false}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        assert_int_equal(cases[i].has,
                         bt_list_has(cases[i].list, cases[i].word, strlen(cases[i].word)));
    assert_true(bt_list_has("n1,n2", "n2,n3", 2)); /* no more of the word is looked at */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_read_units_and_slurm),
        cmocka_unit_test(numbers_are_whole_strings_in_range),
        cmocka_unit_test(sizes_know_both_families),
        cmocka_unit_test(times_round_trip),
        cmocka_unit_test(a_time_is_written_as_its_calendar_day_has_it),
        cmocka_unit_test(a_list_has_whole_words),
        cmocka_unit_test(utf8_is_judged_as_rfc_3629_says),
    };

    return cmocka_run_group_tests_name("base_str", tests, NULL, NULL);
}
