/* complete.c - completion for bash and zsh out of the command table: words of commands, options and
 * their values; files where an option wants one; profiles as they are on disk.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "cli/help.h"
#include "lib/base/str.h"

static bool first_of_noun(const struct cli_cmd *commands, const struct cli_cmd *c)
{
    for (const struct cli_cmd *b = commands; b != c; b++)
        if (bt_streq(b->noun, c->noun))
            return false;
    return true;
}

static void nouns(const struct cli_cmd *commands, struct bt_buf *to)
{
    const char *space = "";

    for (const struct cli_cmd *c = commands; c->noun; c++)
        if (first_of_noun(commands, c)) {
            bt_buf_printf(to, "%s%s", space, c->noun);
            space = " ";
        }
}

static void verbs(const struct cli_cmd *commands, const char *noun, struct bt_buf *to)
{
    const char *space = "";

    for (const struct cli_cmd *c = commands; c->noun; c++)
        if (bt_streq(c->noun, noun) && c->verb) {
            bt_buf_printf(to, "%s%s", space, c->verb);
            space = " ";
        }
}

static void option_words(const struct cli_opt *opts, struct bt_buf *to)
{
    for (const struct cli_opt *o = opts; o && o->name; o++)
        if (o->help)
            bt_buf_printf(to, " --%s", o->name);
}

static void words(const char *bars, struct bt_buf *to)
{
    for (; *bars; bars++)
        bt_buf_char(to, *bars == '|' ? ' ' : *bars);
}

/* The action of one option's value, as a line of the inner case. */
static void bash_value(const struct cli_opt *o, struct bt_buf *to)
{
    if (!o->words || !o->help)
        return;
    bt_buf_printf(to, "        --%s", o->name);
    if (o->letter)
        bt_buf_printf(to, "|-%c", o->letter);
    bt_buf_str(to, ") ");
    if (bt_streq(o->words, "@file")) {
        bt_buf_str(to, "compopt -o default; return");
    } else if (bt_streq(o->words, "@dir")) {
        bt_buf_str(to, "compopt -o default -o dirnames; return");
    } else if (bt_streq(o->words, "@profile")) {
        bt_buf_str(to,
                   "COMPREPLY=($(compgen -W \"$(beamtime profile list -o name 2>/dev/null)\" -- "
                   "\"$cur\")); return");
    } else {
        bt_buf_str(to, "COMPREPLY=($(compgen -W '");
        words(o->words, to);
        bt_buf_str(to, "' -- \"$cur\")); return");
    }
    bt_buf_str(to, " ;;\n");
}

static void bash_values(const struct cli_cmd *commands, struct bt_buf *to)
{
    for (const struct cli_cmd *c = commands; c->noun; c++) {
        BT_BUF_AUTO struct bt_buf lines = {0};

        for (const struct cli_opt *o = c->opts; o && o->name; o++)
            bash_value(o, &lines);
        for (const struct cli_opt *o = cli_common; o->name; o++)
            bash_value(o, &lines);
        bt_buf_printf(to, "    '%s%s%s')\n        case $prev in\n%s        esac ;;\n", c->noun,
                      c->verb ? " " : "", c->verb ? c->verb : "", bt_buf_text(&lines));
    }
}

void complete_bash(const struct cli_cmd *commands, struct bt_buf *to)
{
    bt_buf_str(
        to, "# bash completion of beamtime; put it into /etc/bash_completion.d or\n"
            "#   source <(beamtime completion bash)\n"
            "_beamtime() {\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
            "    local noun= verb= w i\n"
            "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
            "        w=${COMP_WORDS[i]}\n"
            "        [ \"$w\" = -- ] && { compopt -o default; return; }\n"
            "        case $w in -*) continue ;; esac\n"
            "        if [ -z \"$noun\" ]; then noun=$w; elif [ -z \"$verb\" ]; then verb=$w; fi\n"
            "    done\n"
            "    local verbs=\n"
            "    case $noun in\n");
    for (const struct cli_cmd *c = commands; c->noun; c++) {
        BT_BUF_AUTO struct bt_buf list = {0};

        verbs(commands, c->noun, &list);
        if (first_of_noun(commands, c) && list.n)
            bt_buf_printf(to, "    %s) verbs='%s' ;;\n", c->noun, bt_buf_text(&list));
    }
    bt_buf_str(to, "    esac\n"
                   "    case \" $verbs \" in *\" $verb \"*) ;; *) verb= ;; esac\n"
                   "    case \"$noun${verb:+ $verb}\" in\n");
    bash_values(commands, to);
    bt_buf_str(to, "    esac\n"
                   "    local words=\n"
                   "    case \"$noun${verb:+ $verb}\" in\n"
                   "    '') words='");
    nouns(commands, to);
    bt_buf_str(to, "' ;;\n");
    for (const struct cli_cmd *c = commands; c->noun; c++) {
        bt_buf_printf(to, "    '%s%s%s') words='", c->noun, c->verb ? " " : "",
                      c->verb ? c->verb : "");
        if (!c->verb)
            verbs(commands, c->noun, to);
        option_words(c->opts, to);
        bt_buf_str(to, "' ;;\n");
    }
    bt_buf_str(to, "    *) words=$verbs ;;\n    esac\n    words=\"$words");
    option_words(cli_common, to);
    bt_buf_str(to, "\"\n"
                   "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                   "    [ \"$noun\" = submit ] && [ ${#COMPREPLY[@]} = 0 ] && compopt -o default\n"
                   "    return 0\n"
                   "}\n"
                   "complete -F _beamtime beamtime\n");
}

/* Inside single quotes, with what _arguments gives a meaning escaped. */
static void zsh_text(const char *s, struct bt_buf *to)
{
    for (; *s; s++) {
        if (*s == '\'')
            bt_buf_str(to, "'\\''");
        else if (strchr("[]:\\", *s))
            bt_buf_printf(to, "\\%c", *s);
        else
            bt_buf_char(to, *s);
    }
}

static void zsh_option(const struct cli_opt *o, struct bt_buf *to)
{
    if (!o->help)
        return;
    bt_buf_printf(to, " '*--%s%s[", o->name, o->value ? "=" : "");
    zsh_text(o->help, to);
    bt_buf_char(to, ']');
    if (o->value) {
        bt_buf_char(to, ':');
        zsh_text(o->value, to);
        bt_buf_char(to, ':');
        if (o->words && bt_streq(o->words, "@file"))
            bt_buf_str(to, "_files");
        else if (o->words && bt_streq(o->words, "@dir"))
            bt_buf_str(to, "_files -/");
        else if (o->words && o->words[0] != '@') {
            bt_buf_char(to, '(');
            words(o->words, to);
            bt_buf_char(to, ')');
        }
    }
    bt_buf_char(to, '\'');
}

void complete_zsh(const struct cli_cmd *commands, struct bt_buf *to)
{
    bt_buf_str(to, "#compdef beamtime\n"
                   "# zsh completion of beamtime; put it into a folder of $fpath as _beamtime\n"
                   "_beamtime() {\n"
                   "    local -a nouns verbs\n"
                   "    if ((CURRENT == 2)); then\n"
                   "        nouns=(");
    for (const struct cli_cmd *c = commands; c->noun; c++)
        if (first_of_noun(commands, c)) {
            bt_buf_printf(to, "\n            '%s:", c->noun);
            zsh_text(c->summary, to);
            bt_buf_char(to, '\'');
        }
    bt_buf_str(to, ")\n        _describe command nouns\n        return\n    fi\n"
                   "    case \"$words[2] $words[3]\" in\n");
    for (const struct cli_cmd *c = commands; c->noun; c++) {
        bt_buf_printf(to, "    '%s %s'*)\n        _arguments", c->noun, c->verb ? c->verb : "");
        for (const struct cli_opt *o = c->opts; o && o->name; o++)
            zsh_option(o, to);
        for (const struct cli_opt *o = cli_common; o->name; o++)
            zsh_option(o, to);
        bt_buf_str(to, " '*:file:_files' ;;\n");
    }
    for (const struct cli_cmd *c = commands; c->noun; c++) {
        BT_BUF_AUTO struct bt_buf list = {0};

        verbs(commands, c->noun, &list);
        if (first_of_noun(commands, c) && list.n)
            bt_buf_printf(to, "    '%s '*) verbs=(%s); _describe verb verbs ;;\n", c->noun,
                          bt_buf_text(&list));
    }
    bt_buf_str(to, "    esac\n}\n_beamtime \"$@\"\n");
}
