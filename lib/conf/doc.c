/* doc.c - what a table of settings says about itself: help, example file, markdown, manual page.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/conf/own.h"

static const char *const type_words[] = {
    [CONF_TEXT] = "text",        [CONF_PATH] = "path",   [CONF_ADDRESS] = "host:port",
    [CONF_INT] = "whole number", [CONF_BYTES] = "size",  [CONF_DURATION] = "duration",
    [CONF_REAL] = "number",      [CONF_BOOL] = "yes|no", [CONF_ENUM] = "",
};

static void bound(const struct conf_row *row, int64_t v, struct bt_buf *to)
{
    struct conf_row plain = *row;

    plain.offset = 0;
    if (row->type == CONF_REAL || row->type == CONF_INT)
        bt_buf_printf(to, "%" PRId64, v);
    else
        conf_value(&plain, &v, to);
}

void conf_takes(const struct conf_row *row, struct bt_buf *to)
{
    bool number = row->type == CONF_INT || row->type == CONF_BYTES || row->type == CONF_DURATION ||
                  row->type == CONF_REAL;

    bt_buf_str(to, type_words[row->type]);
    if (row->type == CONF_ENUM)
        bt_buf_str(to, row->unit);
    if (number && (row->min || row->max)) {
        bt_buf_str(to, ", ");
        bound(row, row->min, to);
        bt_buf_str(to, " to ");
        bound(row, row->max, to);
    }
    if ((row->type == CONF_INT || row->type == CONF_REAL) && row->unit && *row->unit)
        bt_buf_printf(to, " %s", row->unit);
}

static void option_line(const char *left, const char *right, struct bt_buf *to)
{
    bt_buf_printf(to, "  %-24s %s\n", left, right);
}

void conf_help(const struct conf_table *t, struct bt_buf *to)
{
    char name[64];

    bt_buf_printf(to, "%s - %s\n\nusage: %s [--config FILE] [--SETTING VALUE]... %s\n\n",
                  t->program, t->summary, t->program, t->usage ? t->usage : "");
    bt_buf_str(to, "options\n");
    option_line("--config FILE", "read this settings file", to);
    if (t->file)
        bt_buf_printf(to, "  %24s (otherwise %s, if it is there)\n", "", t->file);
    option_line("--set NAME=VALUE", "set one setting; the same as --NAME VALUE", to);
    option_line("--print-config", "print the settings in force as a file with comments", to);
    option_line("--reference, --man", "print the reference as markdown or as a manual page", to);
    option_line("--version, --help", "print the version, or this text", to);
    bt_buf_str(to, "\nsettings (in a file: name = value, with _ for -)\n");
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *row = &t->rows[i];
        BT_BUF_AUTO struct bt_buf takes = {0};

        conf_takes(row, &takes);
        bt_buf_printf(to, "  --%-22s %s\n", conf_option_name(row->name, name), row->sentence);
        bt_buf_printf(to, "  %24s (%s", "", bt_buf_text(&takes));
        if (row->value && *row->value)
            bt_buf_printf(to, "; %s", row->value);
        bt_buf_str(to, ")\n");
    }
    if (t->epilogue)
        bt_buf_printf(to, "\n%s\n", t->epilogue);
}

/* True if the present value is what the default would give. */
static bool at_default(const struct conf_row *row, const void *now)
{
    BT_BUF_AUTO struct bt_buf have = {0};
    BT_BUF_AUTO struct bt_buf want = {0};
    struct conf_row alone = *row;
    struct conf_table one = {.rows = &alone, .n = 1};
    int64_t room[2] = {0};

    alone.offset = 0;
    conf_init(&one, room);
    conf_value(&alone, room, &want);
    conf_done(&one, room);
    conf_value(row, now, &have);
    return bt_streq(bt_buf_text(&have), bt_buf_text(&want));
}

void conf_example(const struct conf_table *t, const void *now, struct bt_buf *to)
{
    bt_buf_printf(to,
                  "# Settings of %s: %s.\n"
                  "# Lines that begin with # show the defaults.\n",
                  t->program, t->summary);
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *row = &t->rows[i];
        bool plain = !now || at_default(row, now);

        bt_buf_printf(to, "\n# %s (", row->sentence);
        conf_takes(row, to);
        bt_buf_printf(to, ")\n%s%s = ", plain ? "#" : "", row->name);
        if (plain)
            bt_buf_str(to, row->value ? row->value : "");
        else
            conf_value(row, now, to);
        bt_buf_char(to, '\n');
    }
}

static void cell(const char *s, struct bt_buf *to)
{
    for (; *s; s++) {
        if (*s == '|')
            bt_buf_char(to, '\\');
        bt_buf_char(to, *s);
    }
}

void conf_markdown(const struct conf_table *t, struct bt_buf *to)
{
    bt_buf_printf(to,
                  "# Settings of %s\n\n%s: %s. In a file `name = value`; as an option "
                  "`--name value`.\n\n| setting | takes | default | meaning |\n|---|---|---|---|\n",
                  t->program, t->program, t->summary);
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *row = &t->rows[i];
        BT_BUF_AUTO struct bt_buf takes = {0};

        conf_takes(row, &takes);
        bt_buf_printf(to, "| `%s` | ", row->name);
        cell(bt_buf_text(&takes), to);
        bt_buf_str(to, " | ");
        if (row->value && *row->value)
            bt_buf_printf(to, "`%s`", row->value);
        bt_buf_str(to, " | ");
        cell(row->sentence, to);
        bt_buf_str(to, " |\n");
    }
}

/* troff: a leading dot or quote would be a request, a backslash an escape, '-' a hyphen. */
static void troff(const char *s, struct bt_buf *to)
{
    if (*s == '.' || *s == '\'')
        bt_buf_str(to, "\\&");
    for (; *s; s++) {
        if (*s == '\\' || *s == '-')
            bt_buf_char(to, '\\');
        bt_buf_char(to, *s);
    }
}

void conf_man(const struct conf_table *t, struct bt_buf *to)
{
    char name[64];

    bt_buf_printf(to, ".TH %s 8 \"\" \"Beamtime %s\"\n.SH NAME\n%s \\- ", t->program, BT_VERSION,
                  t->program);
    troff(t->summary, to);
    bt_buf_printf(to, "\n.SH SYNOPSIS\n.B %s\n[\\-\\-config FILE] [\\-\\-SETTING VALUE]... ",
                  t->program);
    troff(t->usage ? t->usage : "", to);
    bt_buf_str(to, "\n.SH SETTINGS\n");
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *row = &t->rows[i];
        BT_BUF_AUTO struct bt_buf takes = {0};

        conf_takes(row, &takes);
        bt_buf_str(to, ".TP\n.B \\-\\-");
        troff(conf_option_name(row->name, name), to);
        bt_buf_char(to, '\n');
        troff(row->sentence, to);
        bt_buf_str(to, " (");
        troff(bt_buf_text(&takes), to);
        if (row->value && *row->value) {
            bt_buf_str(to, "; ");
            troff(row->value, to);
        }
        bt_buf_str(to, ")\n");
    }
    if (t->file) {
        bt_buf_str(to, ".SH FILES\n");
        troff(t->file, to);
        bt_buf_char(to, '\n');
    }
}
