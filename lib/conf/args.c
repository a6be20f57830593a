/* args.c - settings on the command line.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/conf/own.h"

struct walk {
    const struct conf_table *t;
    void *to;
    int argc;
    char **argv;
    int at;
    bool files; /* first pass: only --config counts */
    bool example;
    struct conf_args *ret;
    struct bt_err *err;
};

static int usage(const struct walk *w, const char *text, const char *about)
{
    return bt_next(w->err, bt_fail(w->err, BT_ERR_USAGE, text, about), "%s --help", w->t->program);
}

/* The value of an option: behind '=', or the next argument. */
static const char *take_value(struct walk *w, const char *inline_value)
{
    if (inline_value)
        return inline_value;
    return w->at + 1 < w->argc ? w->argv[++w->at] : NULL;
}

static int set_pair(struct walk *w, const char *pair)
{
    const char *equals = strchr(pair, '=');
    BT_AUTO char *name = NULL;

    if (!equals)
        return usage(w, "--set wants name=value, not '%.60s'", pair);
    if (w->files)
        return 0;
    name = bt_strndup(pair, (size_t)(equals - pair));
    return conf_set(w->t, w->to, name, equals + 1, w->err);
}

static int read_file(struct walk *w, const char *path)
{
    if (!w->files)
        return 0;
    if (w->ret->file)
        return usage(w, "--config is given twice, again as '%.60s'", path);
    w->ret->file = bt_strdup(path);
    return conf_file(w->t, w->to, path, w->err);
}

static int set_option(struct walk *w, const char *name, const char *inline_value)
{
    const struct conf_row *row = conf_find(w->t, name);
    const char *value = inline_value;

    if (!row && bt_starts(name, "no-")) {
        row = conf_find(w->t, name + 3);
        if (row && (row->type != CONF_BOOL || inline_value))
            row = NULL;
        value = "no";
    }
    if (!row) { /* a file that names an unknown setting is one thing, a wrong option another */
        conf_unknown(w->t, name, w->err);
        if (w->err)
            w->err->code = BT_ERR_USAGE;
        return -BT_ERR_USAGE;
    }
    if (!value && row->type == CONF_BOOL)
        value = "yes";
    if (!value)
        value = take_value(w, NULL);
    if (!value)
        return usage(w, "--%.60s wants a value", name);
    return w->files ? 0 : conf_set_row(row, w->to, value, w->err);
}

/* --help and its kin; true if the name was one of them. */
static bool print_option(struct walk *w, const char *name)
{
    struct bt_buf *to = &w->ret->print;
    bool first = w->files && to->n == 0;

    if (bt_streq(name, "print-config")) {
        w->example = true; /* written at the end, when all is set */
    } else if (bt_streq(name, "help")) {
        if (first)
            conf_help(w->t, to);
    } else if (bt_streq(name, "version")) {
        if (first)
            bt_buf_printf(to, "%s %s\n", w->t->program, BT_VERSION);
    } else if (bt_streq(name, "reference")) {
        if (first)
            conf_markdown(w->t, to);
    } else if (bt_streq(name, "man")) {
        if (first)
            conf_man(w->t, to);
    } else {
        return false;
    }
    return true;
}

static int long_option(struct walk *w, const char *option)
{
    size_t n = strcspn(option, "=");
    BT_AUTO char *name = bt_strndup(option, n);
    const char *inline_value = option[n] ? option + n + 1 : NULL;

    if (!inline_value && print_option(w, name))
        return 0;
    if (bt_streq(name, "set") || bt_streq(name, "config")) {
        const char *value = take_value(w, inline_value);

        if (!value)
            return usage(w, "--%s wants a value", name);
        return *name == 's' ? set_pair(w, value) : read_file(w, value);
    }
    return set_option(w, name, inline_value);
}

static int pass(struct walk *w)
{
    bool options = true;

    for (w->at = 1; w->at < w->argc; w->at++) {
        char *arg = w->argv[w->at];
        int rc = 0;

        if (options && bt_streq(arg, "--"))
            options = false;
        else if (options && bt_streq(arg, "-h"))
            print_option(w, "help");
        else if (options && bt_starts(arg, "--"))
            rc = long_option(w, arg + 2);
        else if (options && arg[0] == '-' && arg[1])
            rc = usage(w, "'%.60s' is not an option; options are words such as --help", arg);
        else if (!w->files)
            w->ret->rest[w->ret->n_rest++] = arg;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int conf_args(const struct conf_table *t, void *to, int argc, char **argv, struct conf_args *ret,
              struct bt_err *err)
{
    struct walk w = {
        .t = t, .to = to, .argc = argc, .argv = argv, .files = true, .ret = ret, .err = err};
    int rc;

    *ret = (struct conf_args){.rest = bt_new_n(char *, (size_t)argc + 1)};
    rc = pass(&w);
    if (rc >= 0 && ret->print.n == 0 && !ret->file && t->file && access(t->file, F_OK) == 0)
        rc = read_file(&w, t->file);
    w.files = false;
    if (rc >= 0 && ret->print.n == 0)
        rc = pass(&w);
    if (rc >= 0 && w.example && ret->print.n == 0)
        conf_example(t, to, &ret->print);
    if (rc < 0)
        conf_args_done(ret);
    return rc;
}

void conf_args_done(struct conf_args *args)
{
    bt_buf_done(&args->print);
    bt_free(args->rest);
    bt_free(args->file);
    *args = (struct conf_args){0};
}
