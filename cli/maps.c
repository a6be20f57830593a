/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/maps.h"

#include <string.h>

#include "lib/base/str.h"

static void trim(const char **p, size_t *n)
{
    while (*n && (**p == ' ' || **p == '\t')) {
        (*p)++;
        (*n)--;
    }
    while (*n && ((*p)[*n - 1] == ' ' || (*p)[*n - 1] == '\t' || (*p)[*n - 1] == '\r'))
        (*n)--;
}

static int take_word(const char *p, size_t n, const char *what, char *to, size_t size, int line,
                     struct bt_err *err)
{
    trim(&p, &n);
    if (n == 0 || n >= size)
        return bt_fail(err, BT_ERR_INVALID, "line %d: the %s is %s", line, what,
                       n ? "too long" : "missing");
    if (memchr(p, 0, n) || !bt_is_utf8(p, n))
        return bt_fail(err, BT_ERR_INVALID, "line %d: the %s is no text", line, what);
    memcpy(to, p, n);
    to[n] = '\0';
    return 0;
}

static int take_line(const char *p, size_t n, struct map_line *ret, struct bt_err *err)
{
    const char *first = memchr(p, ',', n);
    const char *second = first ? memchr(first + 1, ',', n - (size_t)(first + 1 - p)) : NULL;
    const char *end = p + n;
    int rc;

    if (!second || memchr(second + 1, ',', (size_t)(end - second - 1)))
        return bt_next(
            err,
            bt_fail(err, BT_ERR_INVALID, "line %d has not three words between commas", ret->line),
            "each line is PERSON,SITE,ACCOUNT, such as cz/ana,geneva,adoe");
    rc = take_word(p, (size_t)(first - p), "person", ret->person, sizeof ret->person, ret->line,
                   err);
    if (rc == 0)
        rc = take_word(first + 1, (size_t)(second - first - 1), "site", ret->site, sizeof ret->site,
                       ret->line, err);
    if (rc == 0)
        rc = take_word(second + 1, (size_t)(end - second - 1), "account", ret->account,
                       sizeof ret->account, ret->line, err);
    return rc;
}

static bool is_head(const struct map_line *m)
{
    return m->line == 1 && bt_streq(m->person, "person") && bt_streq(m->site, "site") &&
           bt_streq(m->account, "account");
}

int maps_parse(const char *text, size_t n, struct map_line *ret, struct bt_err *err)
{
    const char *end = text + n;
    int n_maps = 0;

    for (int line = 1; text < end; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const char *p = text;
        size_t len = (size_t)((stop ? stop : end) - text);
        struct map_line m = {.line = line};
        int rc;

        text = stop ? stop + 1 : end;
        trim(&p, &len);
        if (len == 0 || *p == '#')
            continue;
        rc = take_line(p, len, &m, err);
        if (rc < 0)
            return rc;
        if (is_head(&m))
            continue;
        if (n_maps == MAPS_MAX)
            return bt_next(err,
                           bt_fail(err, BT_ERR_TOO_LARGE, "line %d is one too many: %d at a time",
                                   line, MAPS_MAX),
                           "split the file");
        ret[n_maps++] = m;
    }
    return n_maps;
}
