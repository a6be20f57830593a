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

struct reading {
    enum layer layer;
    int line;
    struct words w;
    int at; /* the word that is looked at; moves behind what was used */
    directive_each *each;
    void *arg;
    struct bt_err *err;
};

static int unknown_word(struct reading *r, const char *from, size_t n)
{
    BT_AUTO char *name = bt_strndup(from, n);

    return unknown(r->layer, name, r->line, r->err);
}

/* The option at r->at, and its value from the same word or the next. */
static int read_option(struct reading *r)
{
    const char *word = r->w.word[r->at++];
    bool is_long = word[1] == '-';
    size_t n = is_long ? strcspn(word + 2, "=") : 1;
    const struct directive_row *row = is_long ? directive_find(r->layer, word + 2, n, 0)
                                              : directive_find(r->layer, NULL, 0, word[1]);
    const char *rest = word + (is_long ? 2 : 1) + n;
    const char *value = !*rest ? NULL : rest + (*rest == '=');

    if (!row)
        return unknown_word(r, word + (is_long ? 2 : 1), n);
    if (!row->value && value)
        return bt_fail(r->err, BT_ERR_USAGE, "line %d: --%s takes no value", r->line, row->name);
    if (row->value && !value && !directive_optional(row)) {
        if (r->at >= r->w.n)
            return bt_fail(r->err, BT_ERR_USAGE, "line %d: --%s wants a value: %s", r->line,
                           row->name, row->value);
        value = r->w.word[r->at++];
    }
    return r->each(r->arg, row, value, r->line, r->err);
}

static int one_line(struct reading *r, const char *p, const char *end)
{
    int rc = cut_words(p, end, &r->w, r->line, r->err);

    for (r->at = 0; rc >= 0 && r->at < r->w.n;) {
        const char *word = r->w.word[r->at];

        if (word[0] == '-' && word[1])
            rc = read_option(r);
        else if (r->layer == LAYER_SBATCH && r->at == 0 && bt_streq(word, "hetjob"))
            return r->each(r->arg, directive_find(r->layer, word, 6, 0), NULL, r->line, r->err);
        else
            rc = bt_fail(r->err, BT_ERR_USAGE,
                         "line %d: '%.40s' is not an option; one begins with --", r->line, word);
    }
    return rc;
}

int directives_read(const char *text, size_t n, enum layer layer, directive_each *each, void *arg,
                    struct bt_err *err)
{
    const char *mark = layer == LAYER_SBATCH ? "#SBATCH" : "#BEAM";
    size_t mark_n = strlen(mark);
    const char *p = text, *last = text + n;
    struct reading r = {.layer = layer, .each = each, .arg = arg, .err = err};

    for (r.line = 1; p < last; r.line++) {
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
            rc = one_line(&r, p + mark_n, end);
        if (rc < 0)
            return rc;
        p = end + (end < last);
    }
    return 0;
}
