/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/help.h"

#include <string.h>

#include "cli/text.h"
#include "lib/base/str.h"

static void name_of(const struct cli_cmd *c, struct bt_buf *to)
{
    bt_buf_printf(to, "%s%s%s%s%s", c->noun, c->verb ? " " : "", c->verb ? c->verb : "",
                  *c->args ? " " : "", c->args);
}

static void row(const char *left, const char *right, int width, struct bt_buf *to)
{
    bt_buf_printf(to, "  %s", left);
    for (int n = text_width(left); n < width; n++)
        bt_buf_char(to, ' ');
    if (text_width(left) > width)
        bt_buf_printf(to, "\n  %*s", width, "");
    bt_buf_printf(to, "  %s\n", right);
}

static void command_row(const struct cli_cmd *c, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf left = {0};

    name_of(c, &left);
    row(bt_buf_text(&left), c->summary, 30, to);
}

static void option_row(const struct cli_opt *o, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf left = {0};

    if (o->letter)
        bt_buf_printf(&left, "-%c, ", o->letter);
    else
        bt_buf_str(&left, "    ");
    bt_buf_printf(&left, "--%s", o->name);
    if (o->value && o->value[0] == '[' && o->value[strlen(o->value) - 1] == ']')
        bt_buf_printf(&left, "[=%.*s]", (int)strlen(o->value) - 2, o->value + 1);
    else if (o->value)
        bt_buf_printf(&left, " %s", o->value);
    row(bt_buf_text(&left), o->help, 30, to);
}

static void options(const struct cli_opt *opts, const char *title, struct bt_buf *to)
{
    bool any = false;

    for (const struct cli_opt *o = opts; o && o->name; o++) {
        if (!o->help)
            continue;
        if (!any)
            bt_buf_printf(to, "\n%s\n", title);
        any = true;
        option_row(o, to);
    }
}

void help_all(const struct cli_cmd *commands, struct bt_buf *to)
{
    bt_buf_str(to, "beamtime - a shared AI research facility, at your terminal\n\n"
                   "usage: beamtime COMMAND [OPTIONS]\n\n");
    for (const struct cli_cmd *c = commands; c->noun; c++)
        command_row(c, to);
    options(cli_common, "options of every command", to);
    bt_buf_str(
        to, "\nexit status\n"
            "  0 done   1 failed   2 wrong use   3 not found   4 not authenticated\n"
            "  5 denied by policy   6 conflict   7 awaiting approvals\n"
            "  8 --dry-run found changes   9 facility unreachable\n"
            "  run, submit --wait, job wait: the job's own status (124 timeout, 128+N signal N)\n");
}

void help_noun(const struct cli_cmd *commands, const char *noun, struct bt_buf *to)
{
    bt_buf_printf(to, "usage: beamtime %s COMMAND [OPTIONS]\n\n", noun);
    for (const struct cli_cmd *c = commands; c->noun; c++)
        if (bt_streq(c->noun, noun))
            command_row(c, to);
    bt_buf_printf(to, "\nbeamtime %s COMMAND --help says more.\n", noun);
}

void help_command(const struct cli_cmd *cmd, struct bt_buf *to)
{
    bt_buf_str(to, "usage: beamtime ");
    name_of(cmd, to);
    bt_buf_printf(to, "%s%s\n\n%s.\n", cmd->opts ? " [OPTIONS]" : "",
                  cmd->dashes ? " -- COMMAND…" : "", cmd->summary);
    options(cmd->opts, "options", to);
    options(cli_common, "options of every command", to);
    if (cmd->more)
        bt_buf_printf(to, "\n%s", cmd->more);
}

static void troff(const char *s, struct bt_buf *to)
{
    bool start = true;

    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\''))
            bt_buf_str(to, "\\&");
        if (*s == '\\' || *s == '-')
            bt_buf_char(to, '\\');
        bt_buf_char(to, *s);
        start = *s == '\n';
    }
}

static void man_option(const struct cli_opt *o, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf line = {0};

    if (!o->help)
        return;
    if (o->letter)
        bt_buf_printf(&line, "-%c, ", o->letter);
    bt_buf_printf(&line, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
    bt_buf_str(to, ".TP\n.B ");
    troff(bt_buf_text(&line), to);
    bt_buf_char(to, '\n');
    troff(o->help, to);
    bt_buf_char(to, '\n');
}

void help_man(const struct cli_cmd *commands, struct bt_buf *to)
{
    bt_buf_printf(
        to,
        ".TH beamtime 1 \"\" \"Beamtime %s\"\n.SH NAME\nbeamtime \\- a shared AI research "
        "facility, at your terminal\n.SH SYNOPSIS\n.B beamtime\nCOMMAND [OPTIONS]\n",
        BT_VERSION);
    for (const struct cli_cmd *c = commands; c->noun; c++) {
        BT_BUF_AUTO struct bt_buf name = {0};

        name_of(c, &name);
        bt_buf_str(to, ".SH ");
        troff(bt_buf_text(&name), to);
        bt_buf_char(to, '\n');
        troff(c->summary, to);
        bt_buf_str(to, ".\n");
        for (const struct cli_opt *o = c->opts; o && o->name; o++)
            man_option(o, to);
        if (c->more) {
            bt_buf_str(to, ".PP\n.nf\n");
            troff(c->more, to);
            bt_buf_str(to, ".fi\n");
        }
    }
    bt_buf_str(to, ".SH \"OPTIONS OF EVERY COMMAND\"\n");
    for (const struct cli_opt *o = cli_common; o->name; o++)
        man_option(o, to);
}
