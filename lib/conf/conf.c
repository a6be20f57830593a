/* conf.c - one value: set from text, kept in the struct, written back.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/conf/conf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/conf/nearest.h"
#include "lib/conf/own.h"

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
            return false;
    return *a == *b;
}

const struct conf_row *conf_find(const struct conf_table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (same_name(t->rows[i].name, name))
            return &t->rows[i];
    return NULL;
}

int conf_unknown(const struct conf_table *t, const char *name, struct bt_err *err)
{
    struct conf_nearest near = {0};

    for (size_t i = 0; i < t->n; i++)
        conf_nearest_offer(&near, name, t->rows[i].name);
    if (near.best)
        return bt_fail(err, BT_ERR_NOT_FOUND, "there is no setting '%.60s'; '%s' is the nearest",
                       name, near.best);
    return bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no setting '%.60s'", name),
                   "%s --help lists them", t->program);
}

char *conf_option_name(const char *name, char out[64])
{
    bt_copy(out, 64, name);
    for (char *p = out; *p; p++)
        if (*p == '_')
            *p = '-';
    return out;
}

/* The i-th word of "a|b|c" and its length; NULL past the end. */
static const char *word_at(const char *words, size_t i, size_t *ret_n)
{
    while (i--) {
        words = strchr(words, '|');
        if (!words)
            return NULL;
        words++;
    }
    *ret_n = strcspn(words, "|");
    return words;
}

int conf_address(const char *s, char *host, size_t size, uint16_t *port, struct bt_err *err)
{
    const char *colon = strrchr(s, ':');
    const char *from = s;
    size_t n = colon ? (size_t)(colon - s) : 0;
    int64_t number;

    if (n >= 2 && s[0] == '[' && s[n - 1] == ']') {
        from = s + 1;
        n -= 2;
    } else if (n && memchr(s, ':', n)) {
        n = 0;
    }
    if (n == 0 || n >= size || strcspn(from, " \t/") < n || strcspn(from, "[]") < n ||
        bt_parse_i64(colon + 1, "port", 0, 65535, &number, NULL) < 0)
        return bt_fail(err, BT_ERR_INVALID,
                       "'%.80s' is not an address such as 127.0.0.1:8443 or [::1]:8443", s);
    memcpy(host, from, n);
    host[n] = '\0';
    *port = (uint16_t)number;
    return 0;
}

static int set_text(const struct conf_row *row, char **at, const char *value, struct bt_err *err)
{
    size_t most = row->max > 0 ? (size_t)row->max : CONF_TEXT_MAX;

    if (strlen(value) > most)
        return bt_fail(err, BT_ERR_INVALID, "%s is longer than %zu bytes", row->name, most);
    if (strlen(value) < (size_t)BT_MAX(row->min, 0))
        return bt_fail(err, BT_ERR_INVALID, "%s is empty or too short", row->name);
    if (!bt_is_utf8(value, strlen(value)))
        return bt_fail(err, BT_ERR_INVALID, "%s is not UTF-8", row->name);
    if (row->type == CONF_ADDRESS) {
        char host[256];
        uint16_t port;
        struct bt_err why;

        if (conf_address(value, host, sizeof host, &port, &why) < 0)
            return bt_fail(err, BT_ERR_INVALID, "%s: %s", row->name, why.text);
    }
    conf_replace(at, value);
    return 0;
}

static bool bounded(const struct conf_row *row)
{
    return row->min != 0 || row->max != 0;
}

static int set_number(const struct conf_row *row, int64_t *at, const char *value,
                      struct bt_err *err)
{
    int64_t v = 0;
    int rc;

    if (row->type == CONF_INT)
        rc = bt_parse_i64(value, row->name, bounded(row) ? row->min : 0,
                          bounded(row) ? row->max : INT64_MAX, &v, err);
    else if (row->type == CONF_BYTES)
        rc = bt_parse_bytes(value, row->name, &v, err);
    else if (bt_streq(value, "0"))
        rc = 0;
    else if (strspn(value, "0123456789") == strlen(value))
        rc = bt_fail(err, BT_ERR_INVALID,
                     "%s is '%.40s', a duration without a unit; write %.20ss, %.20sm or %.20sh",
                     row->name, value, value, value, value);
    else
        rc = bt_parse_duration_s(value, row->name, &v, err);
    if (rc < 0)
        return rc;
    if (bounded(row) && (v < row->min || v > row->max))
        return bt_fail(err, BT_ERR_INVALID, "%s is '%.40s', not from %" PRId64 " to %" PRId64 " %s",
                       row->name, value, row->min, row->max,
                       row->type == CONF_BYTES ? "bytes" : "seconds");
    *at = v;
    return 0;
}

static int set_real(const struct conf_row *row, double *at, const char *value, struct bt_err *err)
{
    double v;
    int rc = bt_parse_f64(value, row->name, &v, err);

    if (rc < 0)
        return rc;
    if (bounded(row) && (v < (double)row->min || v > (double)row->max))
        return bt_fail(err, BT_ERR_INVALID, "%s is '%.40s', not from %" PRId64 " to %" PRId64,
                       row->name, value, row->min, row->max);
    *at = v;
    return 0;
}

static int set_bool(const struct conf_row *row, bool *at, const char *value, struct bt_err *err)
{
    static const struct {
        const char *word;
        bool yes;
    } words[] = {{"yes", 1}, {"no", 0}, {"true", 1}, {"false", 0}, {"on", 1}, {"off", 0}};

    for (size_t i = 0; i < BT_ARRAY_LEN(words); i++)
        if (bt_streq(value, words[i].word)) {
            *at = words[i].yes;
            return 0;
        }
    return bt_fail(err, BT_ERR_INVALID, "%s is '%.40s', not yes or no", row->name, value);
}

static int set_enum(const struct conf_row *row, int *at, const char *value, struct bt_err *err)
{
    size_t n;

    for (size_t i = 0;; i++) {
        const char *word = word_at(row->unit, i, &n);

        if (!word)
            break;
        if (strlen(value) == n && !memcmp(word, value, n)) {
            *at = (int)i;
            return 0;
        }
    }
    return bt_fail(err, BT_ERR_INVALID, "%s is '%.40s', not one of %.120s", row->name, value,
                   row->unit);
}

int conf_set_row(const struct conf_row *row, void *to, const char *value, struct bt_err *err)
{
    void *at = (char *)to + row->offset;

    switch (row->type) {
    case CONF_TEXT:
    case CONF_PATH:
    case CONF_ADDRESS:
        return set_text(row, at, value, err);
    case CONF_INT:
    case CONF_BYTES:
    case CONF_DURATION:
        return set_number(row, at, value, err);
    case CONF_REAL:
        return set_real(row, at, value, err);
    case CONF_BOOL:
        return set_bool(row, at, value, err);
    case CONF_ENUM:
        return set_enum(row, at, value, err);
    }
    return bt_fail(err, BT_ERR_INTERNAL, "%s has no known type", row->name);
}

int conf_set(const struct conf_table *t, void *to, const char *name, const char *value,
             struct bt_err *err)
{
    const struct conf_row *row = conf_find(t, name);

    return row ? conf_set_row(row, to, value, err) : conf_unknown(t, name, err);
}

static bool is_text(const struct conf_row *row)
{
    return row->type == CONF_TEXT || row->type == CONF_PATH || row->type == CONF_ADDRESS;
}

static void zero_row(const struct conf_row *row, void *at)
{
    if (is_text(row))
        *(char **)at = NULL;
    else if (row->type == CONF_BOOL)
        *(bool *)at = false;
    else if (row->type == CONF_ENUM)
        *(int *)at = 0;
    else if (row->type == CONF_REAL)
        *(double *)at = 0;
    else
        *(int64_t *)at = 0;
}

void conf_init(const struct conf_table *t, void *to)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *row = &t->rows[i];
        int rc = 0;

        zero_row(row, (char *)to + row->offset);
        if (row->value)
            rc = conf_set_row(row, to, row->value, NULL);
        assert(rc == 0);
    }
}

void conf_done(const struct conf_table *t, void *to)
{
    for (size_t i = 0; i < t->n; i++) {
        char **at = (char **)(void *)((char *)to + t->rows[i].offset);

        if (!is_text(&t->rows[i]))
            continue;
        bt_free(*at);
        *at = NULL;
    }
}

static void quoted(const char *s, struct bt_buf *to)
{
    if (*s && !strpbrk(s, "\"\\#") && s[0] != ' ' && s[strlen(s) - 1] != ' ') {
        bt_buf_str(to, s);
        return;
    }
    bt_buf_char(to, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            bt_buf_char(to, '\\');
        bt_buf_char(to, *s);
    }
    bt_buf_char(to, '"');
}

static void write_scaled(int64_t v, const char *const *units, const int64_t *sizes, size_t n,
                         struct bt_buf *to)
{
    size_t i = 0;

    while (i + 1 < n && (v == 0 || v % sizes[i]))
        i++;
    bt_buf_printf(to, "%" PRId64 "%s", v / sizes[i], units[i]);
}

void conf_value(const struct conf_row *row, const void *now, struct bt_buf *to)
{
    static const char *const time_units[] = {"d", "h", "m", "s"};
    static const int64_t time_sizes[] = {86400, 3600, 60, 1};
    static const char *const byte_units[] = {"GiB", "MiB", "KiB", ""};
    static const int64_t byte_sizes[] = {INT64_C(1) << 30, 1 << 20, 1 << 10, 1};
    const void *at = (const char *)now + row->offset;
    size_t n;

    if (is_text(row)) {
        const char *s = *(char *const *)at;

        quoted(s ? s : "", to);
    } else if (row->type == CONF_DURATION) {
        write_scaled(*(const int64_t *)at, time_units, time_sizes, 4, to);
    } else if (row->type == CONF_BYTES) {
        write_scaled(*(const int64_t *)at, byte_units, byte_sizes, 4, to);
    } else if (row->type == CONF_INT) {
        bt_buf_printf(to, "%" PRId64, *(const int64_t *)at);
    } else if (row->type == CONF_REAL) {
        bt_buf_printf(to, "%.15g", *(const double *)at);
    } else if (row->type == CONF_BOOL) {
        bt_buf_str(to, *(const bool *)at ? "yes" : "no");
    } else {
        const char *word = word_at(row->unit, (size_t) * (const int *)at, &n);

        bt_buf_add(to, word ? word : "", word ? n : 0);
    }
}
