/* main.c - beamtime, everyone's command line: finds the command, runs it, says what went wrong.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/app.h"
#include "cli/args.h"
#include "cli/fail.h"
#include "cli/help.h"
#include "cli/out.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* -o is also sbatch's --output: a word that is a format is one. */
static const char *asked_format(const struct cli_args *a)
{
    const char *format = cli_value(a, "format");
    const char *file = cli_value(a, "output");

    if (cli_has(a, "json"))
        return "json";
    return format ? format : format_parse(file) >= 0 ? file : NULL;
}

/* A variable that is set to something; there is only one thread yet. */
static const char *env(const char *name)
{
    const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe)

    return value && *value ? value : NULL;
}

static int set_up(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    const char *format = asked_format(a);
    const char *no_color = env("NO_COLOR");
    const char *term = env("TERM");
    int parsed = format ? format_parse(format) : OUT_TABLE;

    app->tty_out = isatty(1);
    app->tty_err = isatty(2);
    app->color = app->tty_out && !no_color && term && !bt_streq(term, "dumb");
    app->quiet = cli_has(a, "quiet");
    app->limited = cli_has(a, "limit");
    app->asked_profile = cli_value(a, "profile");
    if (!app->asked_profile)
        app->asked_profile = env("BEAMTIME_PROFILE");
    app->project = env("BEAMTIME_PROJECT");
    if (parsed < 0)
        return bt_fail(err, BT_ERR_USAGE, "-o is '%.40s', not table, wide, json, csv or name",
                       format);
    app->format = (enum out_format)parsed;
    return 0;
}

static int print_help(const struct cli_args *a)
{
    BT_BUF_AUTO struct bt_buf text = {0};

    if (a->cmd)
        help_command(a->cmd, &text);
    else if (a->noun)
        help_noun(cli_commands, a->noun, &text);
    else
        help_all(cli_commands, &text);
    out_text(&text);
    return 0;
}

static int dispatch(struct app *app, int argc, char **argv, struct bt_err *err)
{
    struct cli_args a;
    int rc = cli_parse(cli_commands, argc, argv, &a, err);
    int set = set_up(app, &a, rc < 0 ? NULL : err);

    if (rc < 0 || set < 0)
        return rc < 0 ? rc : set;
    if (cli_has(&a, "help") || argc == 1)
        return print_help(&a);
    if (!a.cmd && a.noun)
        return print_help(&a);
    if (!a.cmd)
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "no command"), "beamtime --help");
    return a.cmd->run(app, &a, err);
}

/* What could not be written is said; who closed the pipe, `head` for one, wanted no more, and is
 * told as by other programs. */
static int end_output(struct app *app)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    struct bt_err err = {0};

    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    if (poll(&out, 1, 0) > 0 && (out.revents & POLLERR)) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    bt_fail(&err, BT_ERR_IO, "the output could not be written whole");
    return fail_print(app, &err);
}

/* help job show = job show --help */
static int dispatch_help(struct app *app, int argc, char **argv, struct bt_err *err)
{
    char option[] = "--help";
    char **turned = bt_new_n(char *, (size_t)argc + 1);
    int rc;

    turned[0] = argv[0];
    for (int i = 2; i < argc; i++)
        turned[i - 1] = argv[i];
    turned[argc - 1] = option;
    rc = dispatch(app, argc, turned, err);
    bt_free(turned);
    return rc;
}

int main(int argc, char **argv)
{
    struct app app = {0};
    struct bt_err err = {0};
    int rc;

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && bt_streq(argv[1], "help"))
        rc = dispatch_help(&app, argc, argv, &err);
    else
        rc = dispatch(&app, argc, argv, &err);
    if (rc < 0)
        rc = fail_print(&app, &err);
    if (rc == 0)
        rc = end_output(&app);
    app_done(&app);
    return rc;
}
