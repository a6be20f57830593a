/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "cli/curve.h"
#include "cli/text.h"
#include "lib/base/time.h"

static void amounts_are_exact(void **state)
{
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } cases[] = {{"40h", 144000000},
                 {"120kh", INT64_C(432000000000)},
                 {"1.5Mh", INT64_C(5400000000000)},
                 {"0", 0},
                 {"0.25h", 900000},
                 {"90s", 90000},
                 {"30m", 1800000},
                 {"0.001s", 1},
                 {"2Gh", INT64_C(7200000000000000)},
                 {"0.0001s", -1},
                 {"40", -1},
                 {"-1h", -1},
                 {"1e3h", -1},
                 {".5h", -1},
                 {"5.h", -1},
                 {"40 h", -1},
                 {"", -1},
                 {"h", -1},
                 {"9000000000Gh", -1},
                 {"99999999999999999999h", -1},
                 {"0.0000000001h", -1}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        int64_t v = -1;

        assert_int_equal(text_amount(cases[i].text, "--amount", &v, NULL) < 0, cases[i].want < 0);
        assert_int_equal(v, cases[i].want);
    }
}

static void hours_are_short(void **state)
{
    static const struct {
        int64_t mras;
        const char *want;
    } cases[] = {{0, "0.00"},
                 {252000, "0.07"},
                 {144000000, "40.00"},
                 {-36000, "-0.01"},
                 {18000, "0.01"},
                 {17999, "0.00"},
                 {INT64_C(3599982000), "1,000"},
                 {INT64_C(288000000000), "80,000"}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        char out[TEXT_MAX];

        assert_string_equal(text_hours(cases[i].mras, out), cases[i].want);
    }
}

static void durations_name_two_units_at_most(void **state)
{
    static const struct {
        int64_t s;
        const char *want;
    } cases[] = {{0, "0 s"},         {41, "41 s"},          {60, "1 min"},
                 {75, "1 min 15 s"}, {720, "12 min"},       {7500, "2 h 05 min"},
                 {43200, "12 h"},    {172800, "2 d"},       {273600, "3 d 04 h"},
                 {-5, "0 s"},        {86399, "23 h 59 min"}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        char out[TEXT_MAX];

        assert_string_equal(text_duration(cases[i].s, out), cases[i].want);
    }
}

static void times_are_as_short_as_they_stay_clear(void **state)
{
    static const struct {
        const char *at, *want;
    } cases[] = {{"2026-11-21T18:02:11Z", "18:02:11"},
                 {"2026-11-24T03:40:00Z", "Tue 03:40"},
                 {"2026-11-20T03:40:00Z", "Fri 03:40"},
                 {"2027-01-01T00:00:00Z", "2027-01-01 00:00"}};
    int64_t now, at;
    char out[TEXT_MAX];

    (void)state;
    setenv("TZ", "UTC0", 1);
    tzset();
    assert_int_equal(bt_time_parse("2026-11-21T12:00:00Z", "now", &now, NULL), 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        assert_int_equal(bt_time_parse(cases[i].at, "at", &at, NULL), 0);
        assert_string_equal(text_time(at, now, out), cases[i].want);
    }
}

static void sizes_and_compute_round(void **state)
{
    char out[TEXT_MAX];

    (void)state;
    assert_string_equal(text_bytes(0, out), "0 B");
    assert_string_equal(text_bytes(999, out), "999 B");
    assert_string_equal(text_bytes(7900000, out), "7.9 MB");
    assert_string_equal(text_bytes(256000000, out), "256 MB");
    assert_string_equal(text_flops(3.1e13, out), "3.1e13");
    assert_string_equal(text_flops(4.1e22, out), "4.1e22");
    assert_string_equal(text_flops(5, out), "5.0");
}

static void nothing_reaches_the_terminal_but_text(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {{"plain", "plain"},
                 {"\x1b[31mred", "?[31mred"},
                 {"a\nb\tc", "a?b?c"},
                 {"\xc2\x9b"
                  "31m",
                  "?31m"},
                 {"h\xc3\xa9", "h\xc3\xa9"},
                 {"bad\xff", "bad?"}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf b = {0};

        text_clean(&b, cases[i].text);
        assert_string_equal(bt_buf_text(&b), cases[i].want);
    }
    assert_int_equal(text_width("h\xc3\xa9"), 2);
}

static void metrics_are_steps_with_a_loss(void **state)
{
    static const char good[] =
        "{\"step\":332,\"steps\":400,\"loss\":1.934,\"tok_per_s\":3912.4,\"eta_s\":5.2,\"x\":[]}";
    struct metric m;

    (void)state;
    assert_true(metric_read(good, sizeof good - 1, &m));
    assert_int_equal(m.step, 332);
    assert_false(metric_read("{\"step\":1}", 10, &m));
    assert_false(metric_read("{\"loss\":1.5}", 12, &m));
    assert_false(metric_read("[1]", 3, &m));
    assert_false(metric_read("not json", 8, &m));
}

static void an_evaluation_names_some_languages(void **state)
{
    static const char line[] = "{\"step\":4,\"bits_per_byte_mean\":3.5,\"bits_per_byte\":{\"cs\":4."
                               "476,\"de\":4.4,\"et\":2}}";
    BT_BUF_AUTO struct bt_buf b = {0};

    (void)state;
    assert_true(metric_evaluation(line, sizeof line - 1, 2, &b));
    assert_string_equal(bt_buf_text(&b),
                        "  bits/byte held out: cs 4.48 · de 4.40 · … (3 languages, mean 3.50)\n");
    assert_false(metric_evaluation("{\"step\":1}", 10, 2, &b));
    assert_false(metric_evaluation("{\"bits_per_byte\":{}}", 20, 2, &b));
}

static void the_bar_fits_its_terminal(void **state)
{
    static const struct metric m = {332, 400, 1.934, 3912.4, 5.2};
    static const struct {
        int columns;
        const char *want;
    } cases[] = {
        {100,
         "train   ████████████████████████████░░░░░░  332/400  loss 1.93  3,912 tok/s  ETA 6 s"},
        {70, "train   █████████░░  332/400  loss 1.93  3,912 tok/s  ETA 6 s"},
        {30, "train   332/400  loss 1.93  3,912 tok/s  ETA 6 s"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf b = {0};

        progress_bar(&m, cases[i].columns, &b);
        assert_string_equal(bt_buf_text(&b), cases[i].want);
    }
    {
        static const struct metric bare = {7, 0, 2, NAN, NAN};
        BT_BUF_AUTO struct bt_buf b = {0};

        progress_bar(&bare, 100, &b);
        assert_string_equal(bt_buf_text(&b), "train   7  loss 2.00");
    }
}

static void a_curve_falls_with_the_loss(void **state)
{
    static const double losses[] = {5, 5, 3, 3, 1, 1};
    BT_BUF_AUTO struct bt_buf b = {0};
    struct curve c = {0};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(losses); i++)
        curve_add(&c, losses[i]);
    curve_add(&c, NAN);
    curve_draw(&c, 6, 3, &b);
    assert_string_equal(bt_buf_text(&b), "      5.00 ┤──╮\n"
                                         "      3.00 ┤  ╰─╮\n"
                                         "      1.00 ┤    ╰─\n");
    curve_done(&c);
    bt_buf_clear(&b);
    curve_add(&c, 2);
    curve_draw(&c, 6, 3, &b);
    assert_int_equal(b.n, 0);
    curve_add(&c, 2);
    curve_draw(&c, 6, 3, &b);
    assert_true(b.n > 0);
    curve_done(&c);
}

static void collect(void *arg, const char *line, size_t n)
{
    bt_buf_char(arg, '<');
    bt_buf_add(arg, line, n);
    bt_buf_char(arg, '>');
}

static void lines_survive_any_cut(void **state)
{
    static const char text[] = "one\ntwo\n\nthree";

    (void)state;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        BT_BUF_AUTO struct bt_buf got = {0};
        struct lines l = {0};

        lines_feed(&l, text, cut, collect, &got);
        lines_feed(&l, text + cut, sizeof text - 1 - cut, collect, &got);
        assert_string_equal(bt_buf_text(&got), "<one><two><>");
        lines_feed(&l, "\n", 1, collect, &got);
        assert_string_equal(bt_buf_text(&got), "<one><two><><three>");
        lines_done(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_are_exact),
        cmocka_unit_test(hours_are_short),
        cmocka_unit_test(durations_name_two_units_at_most),
        cmocka_unit_test(times_are_as_short_as_they_stay_clear),
        cmocka_unit_test(sizes_and_compute_round),
        cmocka_unit_test(nothing_reaches_the_terminal_but_text),
        cmocka_unit_test(metrics_are_steps_with_a_loss),
        cmocka_unit_test(an_evaluation_names_some_languages),
        cmocka_unit_test(the_bar_fits_its_terminal),
        cmocka_unit_test(a_curve_falls_with_the_loss),
        cmocka_unit_test(lines_survive_any_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
