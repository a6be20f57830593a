/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/directives.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/conf/nearest.h"

const struct directive_row directive_rows[] = {
#define D(name, letter, scope, value, action, help, words, note) \
    {name, letter, #scope[0], value, DIR_##action, help, words, note},
#include "cli/directives.def"
#undef D
};
const size_t n_directive_rows = BT_ARRAY_LEN(directive_rows);

static bool same(const struct directive_row *row, const char *name, size_t n, char letter)
{
    if (name)
        return strlen(row->name) == n && !memcmp(row->name, name, n);
    return letter && row->letter == letter;
}

const struct directive_row *directive_find(enum layer layer, const char *name, size_t n,
                                           char letter)
{
    const struct directive_row *other = NULL;
    char foreign = layer == LAYER_SBATCH ? 'B' : 'S';

    for (size_t i = 0; i < n_directive_rows; i++) {
        const struct directive_row *row = &directive_rows[i];

        if (!same(row, name, n, letter))
            continue;
        if (row->scope != foreign)
            return row;
        if (!other && layer != LAYER_SBATCH)
            other = row;
    }
    return other;
}

bool directive_optional(const struct directive_row *row)
{
    return row->value && row->value[0] == '[' && bt_ends(row->value, "]");
}

enum { WORDS_MAX = 64, LINE_BYTES = 4096 };

struct words {
    char text[LINE_BYTES];
    char *word[WORDS_MAX];
    int n;
};

/* One word of *at into `to`, quotes removed; false if a quote does not end. */
static bool one_word(const char **at, const char *end, char **to)
{
    const char *p = *at;
    char quote = 0;

    for (; p < end && (quote || (*p != ' ' && *p != '\t')); p++) {
        if (quote && *p == quote)
            quote = 0;
        else if (!quote && (*p == '"' || *p == '\''))
            quote = *p;
        else if (*p == '\\' && quote != '\'' && p + 1 < end)
            *(*to)++ = *++p;
        else
            *(*to)++ = *p;
    }
    *(*to)++ = '\0';
    *at = p;
    return !quote;
}

static int cut_words(const char *p, const char *end, struct words *w, int line, struct bt_err *err)
{
    char *to = w->text;

    w->n = 0;
    if (end > p && end[-1] == '\r')
        end--;
    if (end - p >= LINE_BYTES / 2)
        return bt_fail(err, BT_ERR_USAGE, "line %d: the directive is longer than %d bytes", line,
                       LINE_BYTES / 2);
    if (memchr(p, '\0', (size_t)(end - p)))
        return bt_fail(err, BT_ERR_USAGE, "line %d: the directive has a NUL character in it", line);
    for (;;) {
        while (p < end && (*p == ' ' || *p == '\t'))
            p++;
        if (p == end || *p == '#')
            return 0;
        if (w->n == WORDS_MAX)
            return bt_fail(err, BT_ERR_USAGE, "line %d: more than %d words", line, WORDS_MAX);
        w->word[w->n++] = to;
        if (!one_word(&p, end, &to))
            return bt_fail(err, BT_ERR_USAGE, "line %d: a quotation does not end", line);
    }
}

static int unknown(enum layer layer, const char *name, int line, struct bt_err *err)
{
    struct conf_nearest near = {0};

    for (size_t i = 0; i < n_directive_rows; i++)
        if (directive_rows[i].scope != (layer == LAYER_SBATCH ? 'B' : 'S'))
            conf_nearest_offer(&near, name, directive_rows[i].name);
    if (near.best)
        return bt_fail(err, BT_ERR_USAGE,
                       "line %d: there is no option --%.40s; --%s is the nearest", line, name,
                       near.best);
    return bt_fail(err, BT_ERR_USAGE, "line %d: there is no option --%.40s", line, name);
}

/* Finds the row of word i and its value; *used words were needed. */
static int read_option(enum layer layer, struct words *w, int i, int line, int *used,
                       const struct directive_row **row, const char **value, struct bt_err *err)
{
    const char *word = w->word[i];
    bool is_long = word[1] == '-';
    size_t n = is_long ? strcspn(word + 2, "=") : 0;
    const char *inline_value;

    *used = 1;
    *row =
        is_long ? directive_find(layer, word + 2, n, 0) : directive_find(layer, NULL, 0, word[1]);
    if (!*row) {
        BT_AUTO char *name = is_long ? bt_strndup(word + 2, n) : bt_strndup(word + 1, 1);

        return unknown(layer, name, line, err);
    }
    if (is_long)
        inline_value = word[2 + n] ? word + 3 + n : NULL;
    else
        inline_value = word[2] ? word + 2 + (word[2] == '=') : NULL;
    *value = inline_value;
    if (!(*row)->value && inline_value)
        return bt_fail(err, BT_ERR_USAGE, "line %d: --%s takes no value", line, (*row)->name);
    if (!(*row)->value || directive_optional(*row) || inline_value)
        return 0;
    if (i + 1 >= w->n)
        return bt_fail(err, BT_ERR_USAGE, "line %d: --%s wants a value: %s", line, (*row)->name,
                       (*row)->value);
    *value = w->word[i + 1];
    *used = 2;
    return 0;
}

static int one_line(const char *p, const char *end, enum layer layer, int line,
                    directive_each *each, void *arg, struct bt_err *err)
{
    struct words w;
    int used;
    int rc = cut_words(p, end, &w, line, err);

    for (int i = 0; rc >= 0 && i < w.n; i += used) {
        const struct directive_row *row = NULL;
        const char *value = NULL;

        used = 1;
        if (w.word[i][0] != '-' || !w.word[i][1]) {
            if (layer == LAYER_SBATCH && i == 0 && !strcmp(w.word[i], "hetjob"))
                rc = each(arg, directive_find(layer, "hetjob", 6, 0), NULL, line, err);
            else
                rc = bt_fail(err, BT_ERR_USAGE,
                             "line %d: '%.40s' is not an option; one begins with --", line,
                             w.word[i]);
            continue;
        }
        rc = read_option(layer, &w, i, line, &used, &row, &value, err);
        if (rc >= 0)
            rc = each(arg, row, value, line, err);
    }
    return rc;
}

int directives_read(const char *text, size_t n, enum layer layer, directive_each *each, void *arg,
                    struct bt_err *err)
{
    const char *mark = layer == LAYER_SBATCH ? "#SBATCH" : "#BEAM";
    size_t mark_n = strlen(mark);
    const char *p = text, *last = text + n;

    for (int line = 1; p < last; line++) {
        const char *end = memchr(p, '\n', (size_t)(last - p));
        const char *from = p;
        int rc = 0;

        if (!end)
            end = last;
        while (from < end && (*from == ' ' || *from == '\t' || *from == '\r'))
            from++;
        if (from < end && *from != '#')
            return 0;
        /* As sbatch, the mark counts only at the beginning of its line. */
        if ((size_t)(end - p) > mark_n && !memcmp(p, mark, mark_n) &&
            (p[mark_n] == ' ' || p[mark_n] == '\t'))
            rc = one_line(p + mark_n, end, layer, line, each, arg, err);
        if (rc < 0)
            return rc;
        p = end + (end < last);
    }
    return 0;
}
