/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/args.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/conf/nearest.h"

static const struct cli_opt *find_in(const struct cli_opt *opts, const char *name, size_t n,
                                     char letter)
{
    for (; opts && opts->name; opts++)
        if (name ? strlen(opts->name) == n && !memcmp(opts->name, name, n) : opts->letter == letter)
            return opts;
    return NULL;
}

static const struct cli_opt *find_opt(const struct cli_cmd *cmd, const char *name, size_t n,
                                      char letter)
{
    const struct cli_opt *own = cmd ? find_in(cmd->opts, name, n, letter) : NULL;

    return own ? own : find_in(cli_common, name, n, letter);
}

static int unknown_option(const struct cli_cmd *cmd, const char *name, struct bt_err *err)
{
    struct conf_nearest near = {0};
    const char *verb = cmd && cmd->verb ? cmd->verb : "";
    int rc;

    for (const struct cli_opt *o = cmd ? cmd->opts : NULL; o && o->name; o++)
        if (o->help)
            conf_nearest_offer(&near, name, o->name);
    for (const struct cli_opt *o = cli_common; o->name; o++)
        conf_nearest_offer(&near, name, o->name);
    if (near.best)
        rc = bt_fail(err, BT_ERR_USAGE, "there is no option --%.40s here; --%s is the nearest",
                     name, near.best);
    else
        rc = bt_fail(err, BT_ERR_USAGE, "there is no option --%.40s here", name);
    return bt_next(err, rc, "beamtime %s%s%s --help", cmd ? cmd->noun : "", *verb ? " " : "", verb);
}

struct walk {
    int argc;
    char **argv;
    int at;
    struct cli_args *a;
    struct bt_err *err;
};

static int add(struct walk *w, const struct cli_opt *opt, const char *value)
{
    if (w->a->n_got == CLI_GOT)
        return bt_fail(w->err, BT_ERR_USAGE, "more than %d options", CLI_GOT);
    w->a->got[w->a->n_got++] = (struct cli_got){opt, value};
    return 0;
}

static int take(struct walk *w, const struct cli_opt *opt, const char *inline_value)
{
    if (!opt->value && inline_value)
        return bt_fail(w->err, BT_ERR_USAGE, "--%s takes no value", opt->name);
    if (!opt->value || inline_value || (opt->value[0] == '[' && bt_ends(opt->value, "]")))
        return add(w, opt, inline_value);
    if (w->at + 1 >= w->argc)
        return bt_fail(w->err, BT_ERR_USAGE, "--%s wants a value: %s", opt->name, opt->value);
    return add(w, opt, w->argv[++w->at]);
}

static int long_opt(struct walk *w, const char *text)
{
    size_t n = strcspn(text, "=");
    const struct cli_opt *opt = find_opt(w->a->cmd, text, n, 0);
    BT_AUTO char *name = bt_strndup(text, n);

    if (!opt)
        return unknown_option(w->a->cmd, name, w->err);
    return take(w, opt, text[n] ? text + n + 1 : NULL);
}

/* -n4, -n 4, -f; flags are not combined. */
static int short_opt(struct walk *w, const char *text)
{
    const struct cli_opt *opt = find_opt(w->a->cmd, NULL, 0, text[0]);
    char name[2] = {text[0], '\0'};
    const char *value = text[1] ? text + 1 + (text[1] == '=') : NULL;

    if (!opt)
        return bt_fail(w->err, BT_ERR_USAGE, "there is no option -%s here", name);
    return take(w, opt, value);
}

static int position(struct walk *w, const char *arg)
{
    struct cli_args *a = w->a;

    if (a->n_pos == BT_MIN(a->cmd->max, CLI_POS))
        return bt_next(w->err,
                       bt_fail(w->err, BT_ERR_USAGE, "'%.60s' is one argument too many", arg),
                       "beamtime %s%s%s --help", a->cmd->noun, a->cmd->verb ? " " : "",
                       a->cmd->verb ? a->cmd->verb : "");
    a->pos[a->n_pos++] = arg;
    return 0;
}

static bool has_noun(const struct cli_cmd *commands, const char *noun)
{
    for (; commands->noun; commands++)
        if (bt_streq(commands->noun, noun))
            return true;
    return false;
}

static int no_noun(const struct cli_cmd *commands, const char *noun, struct bt_err *err)
{
    const struct cli_cmd *verb = NULL; /* whose verb it is: `cancel` for `job cancel` */
    struct conf_nearest near = {0};
    int n_verbs = 0;
    int rc;

    for (; commands->noun; commands++) {
        conf_nearest_offer(&near, noun, commands->noun);
        if (commands->verb && bt_streq(commands->verb, noun) && ++n_verbs == 1)
            verb = commands;
    }
    if (n_verbs == 1)
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "there is no command '%.40s'", noun),
                       "beamtime %s %s", verb->noun, verb->verb);
    rc = near.best ? bt_fail(err, BT_ERR_USAGE, "there is no command '%.40s'; '%s' is the nearest",
                             noun, near.best)
                   : bt_fail(err, BT_ERR_USAGE, "there is no command '%.40s'", noun);
    return bt_next(err, rc, "beamtime --help");
}

static int no_verb(const struct cli_cmd *commands, const char *noun, const char *verb,
                   struct bt_err *err)
{
    struct conf_nearest near = {0};
    BT_BUF_AUTO struct bt_buf all = {0};

    for (; commands->noun; commands++) {
        if (!bt_streq(commands->noun, noun) || !commands->verb)
            continue;
        if (verb)
            conf_nearest_offer(&near, verb, commands->verb);
        bt_buf_printf(&all, "%s%s", all.n ? ", " : "", commands->verb);
    }
    if (near.best)
        return bt_fail(err, BT_ERR_USAGE, "'%s' has no '%.40s'; '%s %s' is the nearest", noun, verb,
                       noun, near.best);
    return bt_fail(err, BT_ERR_USAGE, "'%s' wants one of: %s", noun, bt_buf_text(&all));
}

/* The command of the first words; *used says how many. A noun alone may be a command, and one
 * with verbs too (its first argument is then no verb). */
static int find_command(struct walk *w, const struct cli_cmd *commands, int *used)
{
    const char *noun = w->argv[w->at];
    const char *verb = w->at + 1 < w->argc ? w->argv[w->at + 1] : NULL;
    const struct cli_cmd *alone = NULL;

    if (!has_noun(commands, noun))
        return no_noun(commands, noun, w->err);
    w->a->noun = noun;
    for (const struct cli_cmd *c = commands; c->noun; c++) {
        if (!bt_streq(c->noun, noun))
            continue;
        if (!c->verb)
            alone = c;
        else if (verb && bt_streq(c->verb, verb)) {
            w->a->cmd = c;
            *used = 2;
            return 0;
        }
    }
    w->a->cmd = alone;
    *used = 1;
    return alone ? 0 : no_verb(commands, noun, verb && *verb != '-' ? verb : NULL, w->err);
}

static bool asks_help(const struct walk *w)
{
    for (int i = 1; i < w->argc && !bt_streq(w->argv[i], "--"); i++)
        if (bt_streq(w->argv[i], "--help") || bt_streq(w->argv[i], "-h"))
            return true;
    return false;
}

static int options_of(struct walk *w)
{
    for (; w->at < w->argc; w->at++) {
        const char *arg = w->argv[w->at];
        int rc = 0;

        if (bt_streq(arg, "--")) {
            if (!w->a->cmd || !w->a->cmd->dashes)
                return bt_fail(w->err, BT_ERR_USAGE, "'--' has no place here");
            w->a->rest = w->argv + w->at + 1;
            w->a->n_rest = w->argc - w->at - 1;
            return 0;
        }
        if (arg[0] == '-' && arg[1] == '-')
            rc = long_opt(w, arg + 2);
        else if (arg[0] == '-' && arg[1])
            rc = short_opt(w, arg + 1);
        else if (!w->a->cmd)
            return 0;
        else
            rc = position(w, arg);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int enough(const struct cli_args *a, struct bt_err *err)
{
    const struct cli_cmd *c = a->cmd;
    const char *verb = c->verb ? c->verb : "";
    const char *space = c->verb ? " " : "";

    if (a->n_pos >= c->min)
        return 0;
    return bt_next(
        err, bt_fail(err, BT_ERR_USAGE, "beamtime %s%s%s wants %s", c->noun, space, verb, c->args),
        "beamtime %s%s%s --help", c->noun, space, verb);
}

int cli_parse(const struct cli_cmd *commands, int argc, char **argv, struct cli_args *ret,
              struct bt_err *err)
{
    struct walk w = {.argc = argc, .argv = argv, .at = 1, .a = ret, .err = err};
    int used = 0, rc;

    *ret = (struct cli_args){0};
    rc = options_of(&w); /* common ones may stand before the command */
    if (rc < 0 || w.at >= argc)
        return rc;
    rc = find_command(&w, commands, &used);
    if (ret->noun && asks_help(&w))
        return add(&w, find_in(cli_common, "help", 4, 0), NULL);
    if (rc < 0)
        return rc;
    w.at += used;
    rc = options_of(&w);
    return rc < 0 || !ret->cmd ? rc : enough(ret, err);
}

const char *cli_value(const struct cli_args *a, const char *name)
{
    for (int i = a->n_got - 1; i >= 0; i--)
        if (bt_streq(a->got[i].opt->name, name))
            return a->got[i].value;
    return NULL;
}

bool cli_has(const struct cli_args *a, const char *name)
{
    for (int i = 0; i < a->n_got; i++)
        if (bt_streq(a->got[i].opt->name, name))
            return true;
    return false;
}
