/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdlib.h>
#include <time.h>

#include "cli/fail.h"
#include "cli/out.h"
#include "lib/base/time.h"

static const struct out_col cols[] = {{"JOB", "number", OUT_NUM, 0},
                                      {"NAME", "name", OUT_STR, 0},
                                      {"PROJECT", "nation/project", OUT_STR, 0},
                                      {"STATE", "state", OUT_STATE, 0},
                                      {"HELD", "hold_mras", OUT_HOURS, 0},
                                      {"STARTS", "start_at", OUT_START, 0},
                                      {"SIZE", "bytes", OUT_BYTES, 0},
                                      {"LOSS", "metrics.loss", OUT_STR, 1},
                                      {"RULES", "rules", OUT_LIST, 1}};
static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "nation/project", NULL};
static const char items_text[] =
    "[{\"number\":1,\"name\":\"tiny, "
    "\\u001b[31mbad\",\"nation\":\"cz\",\"project\":\"m\",\"state\":"
    "\"running\",\"bytes\":1100000000000,\"hold_mras\":\"252000\",\"start_at\":\"2026-11-21T18:02:"
    "10Z\",\"started_at\":\"2026-11-21T18:02:11Z\",\"metrics\":{\"loss"
    "\":\"1.93\"},\"rules\":[\"A\",\"B\"]},"
    "{\"number\":4711,\"name\":\"hé\",\"nation\":\"fr\",\"state\":\"held\",\"start_at\":null},"
    "{\"number\":9,\"name\":\"w\",\"nation\":\"fr\",\"state\":\"queued\",\"start_at\":"
    "\"2026-11-21T18:30:00Z\",\"started_at\":null}]";

static const struct {
    enum out_format format;
    bool color;
    const char *want;
} formats[] = {
    {OUT_TABLE, false,
     " JOB  NAME            PROJECT  STATE    HELD  STARTS      SIZE\n"
     "   1  tiny, ?[31mbad  cz/m     running  0.07  18:02:11  1.1 TB\n"
     "4711  hé              fr       held        -  -              -\n"
     "   9  w               fr       queued      -  18:30:00       -\n"},
    {OUT_WIDE, false,
     " JOB  NAME            PROJECT  STATE    HELD  STARTS      SIZE  LOSS  RULES\n"
     "   1  tiny, ?[31mbad  cz/m     running  0.07  18:02:11  1.1 TB  1.93  A,B\n"
     "4711  hé              fr       held        -  -              -  -     -\n"
     "   9  w               fr       queued      -  18:30:00       -  -     -\n"},
    {OUT_CSV, false,
     "number,name,nation/project,state,hold_mras,start_at,bytes,metrics.loss,rules\r\n"
     "1,\"tiny, "
     "\x1b[31mbad\",cz/m,running,252000,2026-11-21T18:02:10Z,1100000000000,1.93,\"A,B\"\r\n"
     "4711,hé,fr,held,,,,,\r\n"
     "9,w,fr,queued,,2026-11-21T18:30:00Z,,,\r\n"},
    {OUT_NAME, false, "cz/m\nfr\nfr\n"},
    {OUT_TABLE, true, "\x1b[1m JOB\x1b[0m"},
};

static void the_same_columns_serve_every_format(void **state)
{
    JSON_AUTO struct json *items = NULL;
    int64_t now;

    (void)state;
    setenv("TZ", "UTC0", 1);
    tzset();
    assert_int_equal(bt_time_parse("2026-11-21T12:00:00Z", "now", &now, NULL), 0);
    assert_int_equal(json_parse(items_text, sizeof items_text - 1, 65536, &items, NULL), 0);
    for (size_t i = 0; i < 4; i++) {
        struct app app = {.format = formats[i].format, .color = formats[i].color};
        BT_BUF_AUTO struct bt_buf text = {0};

        out_items(&app, items, &how, now, &text);
        assert_string_equal(bt_buf_text(&text), formats[i].want);
    }
}

static void colours_close_what_they_open(void **state)
{
    JSON_AUTO struct json *items = NULL;
    struct app app = {.format = OUT_TABLE, .color = true};
    BT_BUF_AUTO struct bt_buf text = {0};
    int open = 0;

    (void)state;
    assert_int_equal(json_parse(items_text, sizeof items_text - 1, 65536, &items, NULL), 0);
    out_items(&app, items, &how, 0, &text);
    assert_non_null(strstr(bt_buf_text(&text), "\x1b[32mrunning\x1b[0m"));
    assert_non_null(strstr(bt_buf_text(&text), "\x1b[33mheld\x1b[0m"));
    for (const char *p = bt_buf_text(&text); (p = strchr(p, '\x1b')); p++)
        open += !strncmp(p, "\x1b[0m", 4) ? -1 : 1;
    assert_int_equal(open, 0);
}

static void an_empty_list_has_no_head(void **state)
{
    JSON_AUTO struct json *items = NULL;
    struct app app = {.format = OUT_TABLE};
    BT_BUF_AUTO struct bt_buf text = {0};

    (void)state;
    assert_int_equal(json_parse("[]", 2, 65536, &items, NULL), 0);
    out_items(&app, items, &how, 0, &text);
    assert_int_equal(text.n, 0);
}

static void a_refusal_names_everything_at_once(void **state)
{
    static const char problem[] =
        "{\"detail\":\"tier 3 (contained) is needed\",\"code\":\"POLICY_DENIED\",\"missing\":[{"
        "\"lock\":\"person\",\"text\":\"your clearance is tier 2\",\"next\":\"ask your nation\"},{"
        "\"lock\":\"approvals\",\"text\":\"0 of 3 "
        "nations\"}],\"rules\":[{\"id\":\"BIO-3\",\"text\":"
        "\"biological sequence data\"}]}";
    struct app app = {.request_id = "0193-request"};
    struct bt_err err = {.code = BT_ERR_POLICY_DENIED, .text = "cut"};
    BT_BUF_AUTO struct bt_buf text = {0};

    (void)state;
    assert_int_equal(json_parse(problem, sizeof problem - 1, 65536, &app.problem, NULL), 0);
    fail_text(&app, &err, &text);
    assert_string_equal(bt_buf_text(&text), "beamtime: refused (denied by policy)\n"
                                            "  tier 3 (contained) is needed\n"
                                            "  because of\n"
                                            "    BIO-3       biological sequence data\n"
                                            "  missing\n"
                                            "    person            your clearance is tier 2\n"
                                            "                      ask your nation\n"
                                            "    approvals         0 of 3 nations\n"
                                            "request 0193-request · exit 5\n");
    json_free(app.problem);
}

static void an_error_is_a_sentence_and_a_next_step(void **state)
{
    struct app app = {0};
    struct bt_err err = {.code = BT_ERR_USAGE, .text = "no command", .next = "beamtime --help"};
    BT_BUF_AUTO struct bt_buf text = {0};

    (void)state;
    fail_text(&app, &err, &text);
    assert_string_equal(bt_buf_text(&text), "beamtime: no command\n  next: beamtime --help\n");
}

static void urls_are_encoded(void **state)
{
    BT_BUF_AUTO struct bt_buf url = {0};

    (void)state;
    bt_buf_str(&url, "/v1/jobs/");
    net_escape(&url, "a/b ?é");
    url_query(&url, "state", "held,queued");
    url_query(&url, "nation", NULL);
    url_query(&url, "x", "1&2");
    assert_string_equal(bt_buf_text(&url),
                        "/v1/jobs/a%2Fb%20%3F%C3%A9?state=held%2Cqueued&x=1%262");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_columns_serve_every_format),
        cmocka_unit_test(colours_close_what_they_open),
        cmocka_unit_test(an_empty_list_has_no_head),
        cmocka_unit_test(a_refusal_names_everything_at_once),
        cmocka_unit_test(an_error_is_a_sentence_and_a_next_step),
        cmocka_unit_test(urls_are_encoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
