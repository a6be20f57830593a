/* text.c - settings files: `name = value` lines, read strictly.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/conf/own.h"

void conf_replace(char **at, const char *value)
{
    char *copy = bt_strdup(value);

    bt_free(*at);
    *at = copy;
}

static char *skip_blanks(char *p)
{
    return p + strspn(p, " \t\r");
}

static void cut_blanks(char *s)
{
    size_t n = strlen(s);

    while (n && strchr(" \t\r", s[n - 1]))
        s[--n] = '\0';
}

/* "…" with \" and \\ inside, decoded in place; NULL unless only a comment follows. */
static char *quoted_value(char *p)
{
    char *from = p + 1, *to = from;

    for (p = from; *p != '"'; p++) {
        if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
            p++;
        else if (*p == '\\' || !*p)
            return NULL;
        *to++ = *p;
    }
    p = skip_blanks(p + 1);
    if (*p && *p != '#')
        return NULL;
    *to = '\0';
    return from;
}

static char *plain_value(char *p)
{
    for (char *q = p; *q; q++)
        if (*q == '#' && (q == p || q[-1] == ' ' || q[-1] == '\t')) {
            *q = '\0';
            break;
        }
    cut_blanks(p);
    return p;
}

/* Cuts a line into name and value; *name NULL when the line says nothing. */
static int split_line(char *line, char **name, char **value, struct bt_err *err)
{
    char *p = skip_blanks(line);
    char *equals;

    *name = NULL;
    if (!*p || *p == '#')
        return 0;
    equals = strchr(p, '=');
    if (!equals)
        return bt_fail(err, BT_ERR_INVALID, "'%.60s' is not a line 'name = value'", p);
    *equals = '\0';
    cut_blanks(p);
    *value = skip_blanks(equals + 1);
    *value = **value == '"' ? quoted_value(*value) : plain_value(*value);
    if (!*value)
        return bt_fail(err, BT_ERR_INVALID, "the value of '%.60s' has an unfinished quotation", p);
    *name = p;
    return 0;
}

static int one_line(const struct conf_table *t, void *to, char *line, bool *seen,
                    struct bt_err *err)
{
    const struct conf_row *row;
    char *name, *value;
    int rc = split_line(line, &name, &value, err);

    if (rc < 0 || !name)
        return rc;
    row = conf_find(t, name);
    if (!row)
        return conf_unknown(t, name, err);
    if (seen[row - t->rows])
        return bt_fail(err, BT_ERR_INVALID, "%s is set a second time", row->name);
    seen[row - t->rows] = true;
    return conf_set_row(row, to, value, err);
}

int conf_text(const struct conf_table *t, void *to, const char *where, const char *text, size_t n,
              struct bt_err *err)
{
    BT_AUTO bool *seen = bt_new_n(bool, t->n + 1);
    int line = 1;

    if (n > CONF_FILE_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%s has more than %d bytes", where, CONF_FILE_MAX);
    for (size_t at = 0; at < n; line++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        BT_AUTO char *copy = bt_strndup(text + at, len);
        struct bt_err why = {0};
        int rc = strlen(copy) == len
                     ? one_line(t, to, copy, seen, &why)
                     : bt_fail(&why, BT_ERR_INVALID, "the line has a NUL character in it");

        if (rc < 0)
            return bt_next(err, bt_fail(err, why.code, "%.100s:%d: %s", where, line, why.text),
                           "%s", why.next);
        at += len + 1;
    }
    return 0;
}

int conf_file(const struct conf_table *t, void *to, const char *path, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = bt_file_read(path, CONF_FILE_MAX, &text, err);

    return rc < 0 ? rc : conf_text(t, to, path, bt_buf_text(&text), text.n, err);
}
