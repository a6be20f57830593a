/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "cli/args.h"
#include "cli/help.h"
#include "lib/base/buf.h"

static int no_run(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    (void)app;
    (void)a;
    (void)err;
    return 0;
}

static const struct cli_opt submit[] = {{"accelerators", 'n', "N", "how many", NULL},
                                        {"train", 0, "CONFIG", "a training", "@file"},
                                        {"requeue", 0, "[POLICY]", "again", "never|on-failure"},
                                        {"output", 'o', "FILE", NULL, NULL},
                                        {"hold", 'H', NULL, "do not start", NULL},
                                        {0}};
static const struct cli_cmd commands[] = {
    {"submit", NULL, "[SCRIPT]", "Submit", no_run, submit, "More help.\n", 0, 1, 1},
    {"job", "show", "JOB", "One job", no_run, NULL, NULL, 1, 1, 0},
    {"job", "list", "", "All jobs", no_run, NULL, NULL, 0, 0, 0},
    {"policy", NULL, "", "The rules", no_run, NULL, NULL, 0, 0, 0},
    {0}};

static int parse(struct cli_args *a, struct bt_err *err, const char *const *argv)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    return cli_parse(commands, argc, (char **)(uintptr_t)argv, a, err);
}
#define ARGV(...) ((const char *const[]){"beamtime", __VA_ARGS__, NULL})

static void a_command_line_is_read_by_its_table(void **state)
{
    struct cli_args a;

    (void)state;
    assert_int_equal(parse(&a, NULL,
                           ARGV("--json", "submit", "-n4", "--requeue", "x.sh", "-n", "8",
                                "--train=c", "--requeue=never", "-H")),
                     0);
    assert_ptr_equal(a.cmd, &commands[0]);
    assert_string_equal(cli_value(&a, "accelerators"), "8");
    assert_string_equal(cli_value(&a, "train"), "c");
    assert_string_equal(cli_value(&a, "requeue"), "never");
    assert_true(cli_has(&a, "hold"));
    assert_true(cli_has(&a, "json"));
    assert_false(cli_has(&a, "output"));
    assert_int_equal(a.n_pos, 1);
    assert_string_equal(a.pos[0], "x.sh");
    assert_null(a.rest);
}

static void what_follows_two_dashes_is_the_command(void **state)
{
    struct cli_args a;

    (void)state;
    assert_int_equal(parse(&a, NULL, ARGV("submit", "-n", "2", "--", "echo", "-n", "--json")), 0);
    assert_int_equal(a.n_rest, 3);
    assert_string_equal(a.rest[1], "-n");
    assert_false(cli_has(&a, "json"));
    assert_int_equal(parse(&a, NULL, ARGV("submit", "--")), 0);
    assert_non_null(a.rest);
    assert_int_equal(a.n_rest, 0);
}

static void a_commands_own_letter_wins_over_a_common_one(void **state)
{
    struct cli_args a;

    (void)state;
    assert_int_equal(parse(&a, NULL, ARGV("submit", "-o", "log.txt")), 0);
    assert_string_equal(cli_value(&a, "output"), "log.txt");
    assert_int_equal(parse(&a, NULL, ARGV("job", "list", "-o", "wide")), 0);
    assert_string_equal(cli_value(&a, "format"), "wide");
}

static void wrong_use_is_named_with_the_nearest_word(void **state)
{
    static const struct {
        const char *argv[6];
        const char *want, *next;
    } cases[] = {
        {{"beamtime", "sumbit"},
         "there is no command 'sumbit'; 'submit' is the nearest",
         "beamtime --help"},
        {{"beamtime", "show"}, "there is no command 'show'", "beamtime job show"},
        {{"beamtime", "list"}, "there is no command 'list'", "beamtime job list"},
        {{"beamtime", "xyzzy"}, "there is no command 'xyzzy'", "beamtime --help"},
        {{"beamtime", "job"}, "'job' wants one of: show, list", ""},
        {{"beamtime", "job", "shwo"}, "'job' has no 'shwo'; 'job show' is the nearest", ""},
        {{"beamtime", "job", "show"}, "beamtime job show wants JOB", "beamtime job show --help"},
        {{"beamtime", "job", "show", "1", "2"},
         "'2' is one argument too many",
         "beamtime job show --help"},
        {{"beamtime", "submit", "--acclerators", "3"},
         "there is no option --acclerators here; --accelerators is the nearest",
         "beamtime submit --help"},
        {{"beamtime", "submit", "--accelerators"}, "--accelerators wants a value: N", ""},
        {{"beamtime", "submit", "--hold=1"}, "--hold takes no value", ""},
        {{"beamtime", "submit", "-Z"}, "there is no option -Z here", ""},
        {{"beamtime", "job", "list", "--"}, "'--' has no place here", ""},
        {{"beamtime", "--jsno"}, "there is no option --jsno here; --json is the nearest", NULL},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        struct cli_args a;

        assert_int_equal(parse(&a, &err, cases[i].argv), -BT_ERR_USAGE);
        assert_string_equal(err.text, cases[i].want);
        if (cases[i].next)
            assert_string_equal(err.next, cases[i].next);
    }
}

static void help_is_never_refused(void **state)
{
    static const struct {
        const char *argv[6];
        int cmd; /* -1: none */
        const char *noun;
    } cases[] = {{{"beamtime", "--help"}, -1, NULL},
                 {{"beamtime", "job", "--help"}, -1, "job"},
                 {{"beamtime", "job", "show", "--help"}, 1, "job"},
                 {{"beamtime", "job", "show", "1", "-h"}, 1, "job"},
                 {{"beamtime", "-h", "submit"}, 0, "submit"}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct cli_args a;

        assert_int_equal(parse(&a, NULL, cases[i].argv), 0);
        assert_true(cli_has(&a, "help"));
        assert_ptr_equal(a.cmd, cases[i].cmd < 0 ? NULL : &commands[cases[i].cmd]);
        if (cases[i].noun)
            assert_string_equal(a.noun, cases[i].noun);
        else
            assert_null(a.noun);
    }
}

static void the_real_table_is_sound(void **state)
{
    (void)state;
    for (const struct cli_cmd *c = cli_commands; c->noun; c++) {
        assert_non_null(c->run);
        assert_true(c->min <= c->max && c->max <= CLI_POS);
        assert_true(c->summary[strlen(c->summary) - 1] != '.');
        for (const struct cli_cmd *d = cli_commands; d != c; d++)
            assert_false(!strcmp(c->noun, d->noun) &&
                         !strcmp(c->verb ? c->verb : "", d->verb ? d->verb : ""));
        for (const struct cli_opt *o = c->opts; o && o->name; o++)
            for (const struct cli_opt *p = c->opts; p != o; p++)
                assert_false(o->help && p->help && !strcmp(o->name, p->name));
    }
}

static void every_command_is_in_help_and_completion(void **state)
{
    static void (*const documents[])(const struct cli_cmd *, struct bt_buf *) = {
        help_all, complete_bash, complete_zsh, help_man};

    (void)state;
    for (size_t d = 0; d < BT_ARRAY_LEN(documents); d++) {
        BT_BUF_AUTO struct bt_buf text = {0};

        documents[d](cli_commands, &text);
        for (const struct cli_cmd *c = cli_commands; c->noun; c++) {
            assert_non_null(strstr(bt_buf_text(&text), c->noun));
            if (c->verb)
                assert_non_null(strstr(bt_buf_text(&text), c->verb));
        }
    }
}

static void help_of_a_command_lists_its_options(void **state)
{
    BT_BUF_AUTO struct bt_buf text = {0};

    (void)state;
    help_command(&commands[0], &text);
    assert_non_null(strstr(bt_buf_text(&text), "-n, --accelerators N"));
    assert_non_null(strstr(bt_buf_text(&text), "--requeue[=POLICY]"));
    assert_non_null(strstr(bt_buf_text(&text), "More help."));
    assert_null(strstr(bt_buf_text(&text), "--output"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_line_is_read_by_its_table),
        cmocka_unit_test(what_follows_two_dashes_is_the_command),
        cmocka_unit_test(a_commands_own_letter_wins_over_a_common_one),
        cmocka_unit_test(wrong_use_is_named_with_the_nearest_word),
        cmocka_unit_test(help_is_never_refused),
        cmocka_unit_test(the_real_table_is_sound),
        cmocka_unit_test(every_command_is_in_help_and_completion),
        cmocka_unit_test(help_of_a_command_lists_its_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
