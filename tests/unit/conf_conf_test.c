/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/conf/conf.h"
#include "lib/conf/nearest.h"

#define SETTINGS(S)                                                            \
    S(listen, ADDRESS, "127.0.0.1:8443", 0, 0, "", "where people connect")     \
    S(state_dir, PATH, NULL, 1, 0, "", "where everything is kept")             \
    S(name, TEXT, "a b", 0, 8, "", "what it is called")                        \
    S(queue, INT, "4096", 1, 65536, "requests", "how many requests may wait")  \
    S(part, BYTES, "16MiB", 1, 1073741824, "bytes", "how large a part may be") \
    S(grace, DURATION, "30s", 0, 3600, "seconds", "how long a stop may take")  \
    S(rate, REAL, "0.003", 0, 1, "", "the learning rate")                      \
    S(embedded, BOOL, "no", 0, 0, "", "own the database")                      \
    S(log_level, ENUM, "info", 0, 0, "debug|info|warn|error", "what is logged")

struct settings {
    SETTINGS(CONF_MEMBER)
};
#define ROW(...) CONF_ROW(struct settings, __VA_ARGS__)
static const struct conf_row rows[] = {SETTINGS(ROW)};
static const struct conf_table table = {
    .program = "testd", .summary = "a program of a test", .rows = rows, .n = BT_ARRAY_LEN(rows)};

static void defaults_come_from_the_table(void **state)
{
    struct settings s;

    (void)state;
    conf_init(&table, &s);
    assert_string_equal(s.listen, "127.0.0.1:8443");
    assert_null(s.state_dir);
    assert_int_equal(s.queue, 4096);
    assert_int_equal(s.part, 16 << 20);
    assert_int_equal(s.grace, 30);
    assert_true(s.rate > 0.0029 && s.rate < 0.0031);
    assert_false(s.embedded);
    assert_int_equal(s.log_level, 1);
    conf_done(&table, &s);
    assert_null(s.listen);
}

static void values_are_read_strictly(void **state)
{
    static const struct {
        const char *name, *value, *want; /* want: error, or NULL */
    } cases[] = {
        {"queue", "12", NULL},
        {"queue", "0", "queue is '0', not a whole number from 1 to 65536"},
        {"queue", "12 ", "queue is '12 ', not a whole number from 1 to 65536"},
        {"part", "1.5KiB", NULL},
        {"part", "2GiB", "part is '2GiB', not from 1 to 1073741824 bytes"},
        {"grace", "5m", NULL},
        {"grace", "0", NULL},
        {"grace", "30", "grace is '30', a duration without a unit; write 30s, 30m or 30h"},
        {"grace", "2h", "grace is '2h', not from 0 to 3600 seconds"},
        {"rate", "1e-4", NULL},
        {"rate", "1.5", "rate is '1.5', not from 0 to 1"},
        {"rate", "fast", "rate is 'fast', not a number"},
        {"embedded", "on", NULL},
        {"embedded", "1", "embedded is '1', not yes or no"},
        {"log_level", "warn", NULL},
        {"log_level", "war", "log_level is 'war', not one of debug|info|warn|error"},
        {"log_level", "", "log_level is '', not one of debug|info|warn|error"},
        {"name", "12345678", NULL},
        {"name", "123456789", "name is longer than 8 bytes"},
        {"name", "\xff", "name is not UTF-8"},
        {"state-dir", "/tmp", NULL},
        {"state_dir", "", "state_dir is empty or too short"},
        {"listen", "[::1]:0", NULL},
        {"listen", "localhost",
         "listen: 'localhost' is not an address such as 127.0.0.1:8443 or [::1]:8443"},
        {"listne", "x", "there is no setting 'listne'; 'listen' is the nearest"},
        {"colour", "x", "there is no setting 'colour'"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        struct settings s;
        int rc;

        conf_init(&table, &s);
        rc = conf_set(&table, &s, cases[i].name, cases[i].value, &err);
        assert_int_equal(rc < 0, cases[i].want != NULL);
        assert_string_equal(err.text, cases[i].want ? cases[i].want : "");
        conf_done(&table, &s);
    }
}

static void a_file_is_lines_of_name_and_value(void **state)
{
    static const char text[] = "# comment\n\n  queue = 7   # behind a value\r\n"
                               "name=\"a # b\"\nstate_dir = /srv/a#b\nembedded = yes";
    struct settings s;

    (void)state;
    conf_init(&table, &s);
    assert_int_equal(conf_text(&table, &s, "x.conf", text, sizeof text - 1, NULL), 0);
    assert_int_equal(s.queue, 7);
    assert_string_equal(s.name, "a # b");
    assert_string_equal(s.state_dir, "/srv/a#b");
    assert_true(s.embedded);
    conf_done(&table, &s);
}

static void a_bad_line_is_named(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"queue = 7\nlisten 8443\n", "x.conf:2: 'listen 8443' is not a line 'name = value'"},
        {"\n\nquue = 7\n", "x.conf:3: there is no setting 'quue'; 'queue' is the nearest"},
        {"queue = 7\nqueue = 8\n", "x.conf:2: queue is set a second time"},
        {"queue = 7\nstate-dir = /a\nstate_dir = /b\n", "x.conf:3: state_dir is set a second time"},
        {"name = \"a\n", "x.conf:1: the value of 'name' has an unfinished quotation"},
        {"name = \"a\" b\n", "x.conf:1: the value of 'name' has an unfinished quotation"},
        {"queue =\n", "x.conf:1: queue is '', not a whole number from 1 to 65536"},
        {"grace = 9\n", "x.conf:1: grace is '9', a duration without a unit; write 9s, 9m or 9h"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        struct settings s;

        conf_init(&table, &s);
        assert_true(conf_text(&table, &s, "x.conf", cases[i].text, strlen(cases[i].text), &err) <
                    0);
        assert_string_equal(err.text, cases[i].want);
        conf_done(&table, &s);
    }
    {
        struct bt_err err = {0};
        struct settings s;

        conf_init(&table, &s);
        assert_true(conf_text(&table, &s, "x.conf", "queue = 7\0\n", 11, &err) < 0);
        assert_string_equal(err.text, "x.conf:1: the line has a NUL character in it");
        conf_done(&table, &s);
    }
}

static int args(struct settings *s, struct conf_args *ret, struct bt_err *err,
                const char *const *argv)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    conf_init(&table, s);
    return conf_args(&table, s, argc, (char **)(uintptr_t)argv, ret, err);
}
#define ARGV(...) ((const char *[]){"testd", __VA_ARGS__, NULL})

static void options_win_over_the_file(void **state)
{
    char path[] = "/tmp/conf_conf_test.XXXXXX";
    int fd = mkstemp(path);
    struct conf_args got;
    struct settings s;
    struct bt_err err;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(bt_file_write(path, 0600, "queue = 7\ngrace = 1m\n", 21, &err), 0);
    assert_int_equal(args(&s, &got, &err,
                          ARGV("--queue", "9", "serve", "--config", path, "--embedded", "--set",
                               "log_level=error", "--part=1KiB", "--", "--rest")),
                     0);
    assert_int_equal(s.queue, 9);
    assert_int_equal(s.grace, 60);
    assert_true(s.embedded);
    assert_int_equal(s.log_level, 3);
    assert_int_equal(s.part, 1024);
    assert_int_equal(got.n_rest, 2);
    assert_string_equal(got.rest[0], "serve");
    assert_string_equal(got.rest[1], "--rest");
    assert_string_equal(got.file, path);
    assert_int_equal(got.print.n, 0);
    conf_args_done(&got);
    conf_done(&table, &s);
    unlink(path);
}

static void wrong_options_are_refused(void **state)
{
    static const struct {
        const char *argv[4];
        const char *want;
    } cases[] = {
        {{"testd", "--queue"}, "--queue wants a value"},
        {{"testd", "--set", "queue"}, "--set wants name=value, not 'queue'"},
        {{"testd", "--qeue", "1"}, "there is no setting 'qeue'; 'queue' is the nearest"},
        {{"testd", "-q"}, "'-q' is not an option; options are words such as --help"},
        {{"testd", "--no-queue"}, "there is no setting 'no-queue'; 'queue' is the nearest"},
        {{"testd", "--embedded=maybe"}, "embedded is 'maybe', not yes or no"},
        {{"testd", "--config", "/nonexistent/x.conf"}, NULL},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        struct conf_args got;
        struct settings s;

        assert_true(args(&s, &got, &err, cases[i].argv) < 0);
        if (cases[i].want)
            assert_string_equal(err.text, cases[i].want);
        assert_true(err.text[0]);
        conf_done(&table, &s);
    }
}

static void a_flag_can_be_taken_back(void **state)
{
    struct conf_args got;
    struct settings s;

    (void)state;
    assert_int_equal(args(&s, &got, NULL, ARGV("--embedded", "--no-embedded")), 0);
    assert_false(s.embedded);
    conf_args_done(&got);
    conf_done(&table, &s);
}

static void the_printed_file_reads_back(void **state)
{
    BT_BUF_AUTO struct bt_buf again = {0};
    struct conf_args got;
    struct settings s, t;

    (void)state;
    assert_int_equal(args(&s, &got, NULL,
                          ARGV("--print-config", "--name", "\"q\\ #", "--grace", "45m", "--part",
                               "3000", "--rate", "0.25", "--log-level", "debug")),
                     0);
    conf_init(&table, &t);
    assert_int_equal(conf_text(&table, &t, "p", bt_buf_text(&got.print), got.print.n, NULL), 0);
    assert_string_equal(t.name, "\"q\\ #");
    assert_int_equal(t.grace, 2700);
    assert_int_equal(t.part, 3000);
    assert_int_equal(t.log_level, 0);
    conf_example(&table, &t, &again);
    assert_string_equal(bt_buf_text(&again), bt_buf_text(&got.print));
    assert_non_null(strstr(bt_buf_text(&again), "\n#queue = 4096\n"));
    assert_non_null(strstr(bt_buf_text(&again), "\ngrace = 45m\n"));
    conf_args_done(&got);
    conf_done(&table, &s);
    conf_done(&table, &t);
}

static void every_document_names_every_setting(void **state)
{
    static void (*const documents[])(const struct conf_table *,
                                     struct bt_buf *) = {conf_help, conf_markdown, conf_man};

    (void)state;
    for (size_t d = 0; d < BT_ARRAY_LEN(documents); d++) {
        BT_BUF_AUTO struct bt_buf text = {0};

        documents[d](&table, &text);
        for (size_t i = 0; i < table.n; i++)
            assert_non_null(strstr(bt_buf_text(&text), rows[i].sentence));
        assert_non_null(strstr(bt_buf_text(&text), "1 to 65536 requests"));
        assert_non_null(strstr(bt_buf_text(&text), "1 to 1GiB"));
    }
}

static void distance_counts_edits(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned want;
    } cases[] = {{"", "", 0},       {"abc", "abc", 0},       {"abc", "abd", 1},
                 {"abc", "acb", 1}, {"abc", "", 3},          {"listen", "lisetn", 1},
                 {"a-b", "a_b", 0}, {"kitten", "sitting", 3}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        assert_int_equal(conf_distance(cases[i].a, cases[i].b), cases[i].want);
        assert_int_equal(conf_distance(cases[i].b, cases[i].a), cases[i].want);
    }
}

static void addresses_split(void **state)
{
    static const struct {
        const char *text, *host;
        int port;
    } cases[] = {{"127.0.0.1:8443", "127.0.0.1", 8443},
                 {"[::1]:0", "::1", 0},
                 {"n1.example:80", "n1.example", 80},
                 {"::1:80", NULL, 0},
                 {"host", NULL, 0},
                 {":80", NULL, 0},
                 {"host:", NULL, 0},
                 {"host:65536", NULL, 0},
                 {"ho st:1", NULL, 0},
                 {"a/b:1", NULL, 0}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        char host[64];
        uint16_t port = 1;
        int rc = conf_address(cases[i].text, host, sizeof host, &port, NULL);

        assert_int_equal(rc < 0, cases[i].host == NULL);
        if (rc < 0)
            continue;
        assert_string_equal(host, cases[i].host);
        assert_int_equal(port, cases[i].port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_come_from_the_table),
        cmocka_unit_test(values_are_read_strictly),
        cmocka_unit_test(a_file_is_lines_of_name_and_value),
        cmocka_unit_test(a_bad_line_is_named),
        cmocka_unit_test(options_win_over_the_file),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(a_flag_can_be_taken_back),
        cmocka_unit_test(the_printed_file_reads_back),
        cmocka_unit_test(every_document_names_every_setting),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(addresses_split),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
