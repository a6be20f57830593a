/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/record/jcs.h"

#include <assert.h>
#include <inttypes.h>

#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

static void quote(struct bt_buf *to, const char *s)
{
    static const char shorts[] = "btnvfr"; /* of 0x08 to 0x0d; \v has no short form in JSON */

    bt_buf_char(to, '"');
    for (const char *at = s;; at++) {
        unsigned char c = (unsigned char)*at;

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        bt_buf_add(to, s, (size_t)(at - s));
        s = at + 1;
        if (!c)
            break;
        if (c == '"' || c == '\\')
            bt_buf_printf(to, "\\%c", c);
        else if (c >= 0x08 && c <= 0x0d && c != 0x0b)
            bt_buf_printf(to, "\\%c", shorts[c - 0x08]);
        else
            bt_buf_printf(to, "\\u%04x", (unsigned)c);
    }
    bt_buf_char(to, '"');
}

static void number(struct bt_buf *to, int64_t v)
{
    char digits[24];

    bt_buf_add(to, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, v));
}

static void mark_bad(struct jcs *w, const char *key)
{
    if (!w->bad)
        w->bad = key ? key : "a value in a list";
}

/* The comma and the key. */
static void begin(struct jcs *w, const char *key)
{
    if (w->comma[w->depth])
        bt_buf_char(w->to, ',');
    w->comma[w->depth] = true;
    if (!key)
        return;
    assert(!w->last[w->depth] || strcmp(w->last[w->depth], key) < 0);
    w->last[w->depth] = key;
    quote(w->to, key);
    bt_buf_char(w->to, ':');
}

static void nest(struct jcs *w, const char *key, char open)
{
    begin(w, key);
    bt_buf_char(w->to, open);
    assert(w->depth < JCS_DEPTH_MAX);
    w->depth++;
    w->comma[w->depth] = false;
    w->last[w->depth] = NULL;
}

void jcs_object(struct jcs *w, const char *key)
{
    nest(w, key, '{');
}

void jcs_array(struct jcs *w, const char *key)
{
    nest(w, key, '[');
}

void jcs_close_object(struct jcs *w)
{
    assert(w->depth > 0);
    w->depth--;
    bt_buf_char(w->to, '}');
}

void jcs_close_array(struct jcs *w)
{
    assert(w->depth > 0);
    w->depth--;
    bt_buf_char(w->to, ']');
}

void jcs_str(struct jcs *w, const char *key, const char *value)
{
    if (!value)
        return;
    begin(w, key);
    if (!bt_is_utf8(value, strlen(value)))
        mark_bad(w, key);
    else
        quote(w->to, value);
}

void jcs_int(struct jcs *w, const char *key, int64_t value)
{
    begin(w, key);
    if (value > JCS_INT_MAX || value < -JCS_INT_MAX)
        mark_bad(w, key);
    number(w->to, value);
}

void jcs_bool(struct jcs *w, const char *key, bool value)
{
    begin(w, key);
    bt_buf_str(w->to, value ? "true" : "false");
}

void jcs_decimal(struct jcs *w, const char *key, int64_t value)
{
    begin(w, key);
    bt_buf_char(w->to, '"');
    number(w->to, value);
    bt_buf_char(w->to, '"');
}

void jcs_hex(struct jcs *w, const char *key, const void *p, size_t n)
{
    const uint8_t *b = p;
    char hex[2 * 32 + 1]; /* a digest at a time */

    begin(w, key);
    bt_buf_char(w->to, '"');
    for (size_t i = 0; i < n; i += 32) {
        size_t part = BT_MIN(n - i, (size_t)32);

        bt_buf_add(w->to, bt_hex(b + i, part, hex), 2 * part);
    }
    bt_buf_char(w->to, '"');
}

void jcs_time(struct jcs *w, const char *key, int64_t us)
{
    char text[BT_TIME_MAX];

    if (us)
        jcs_str(w, key, bt_time_format(us, text));
}

int jcs_end(struct jcs *w, struct bt_err *err)
{
    assert(w->depth == 0);
    if (w->bad)
        return bt_fail(err, BT_ERR_INVALID, "\"%s\" cannot be told in the ledger's JSON", w->bad);
    if (w->to->over)
        return bt_fail(err, BT_ERR_TOO_LARGE, "more than %zu bytes", w->to->max);
    return 0;
}

/* ---- a parsed value ---- */

struct member {
    const char *key;
    const struct json *v;
};

struct members {
    struct member *v;
    size_t n;
};

static int collect(void *arg, const char *key, const struct json *v)
{
    struct members *m = arg;

    for (const char *c = key; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            return -BT_ERR_INVALID;
    m->v[m->n++] = (struct member){key, v};
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static int tell(struct jcs *w, const char *key, const struct json *v, struct bt_err *err);

static int tell_object(struct jcs *w, const char *key, const struct json *v, struct bt_err *err)
{
    BT_AUTO struct member *v_free = bt_new_n(struct member, json_len(v) + 1);
    struct members m = {.v = v_free};
    int rc = json_each(v, collect, &m);

    if (rc < 0)
        return bt_fail(err, BT_ERR_INVALID, "a member's name is not printable ASCII");
    qsort(m.v, m.n, sizeof *m.v, by_key);
    jcs_object(w, key);
    for (size_t i = 0; i < m.n && rc == 0; i++)
        rc = tell(w, m.v[i].key, m.v[i].v, err);
    jcs_close_object(w);
    return rc;
}

static int tell(struct jcs *w, const char *key, const struct json *v, struct bt_err *err)
{
    int rc = 0;

    switch (json_is(v)) {
    case JSON_IS_NULL:
        begin(w, key);
        bt_buf_str(w->to, "null");
        return 0;
    case JSON_IS_BOOL:
        jcs_bool(w, key, json_bool(v, false));
        return 0;
    case JSON_IS_INT:
        jcs_int(w, key, json_i64(v, 0));
        return 0;
    case JSON_IS_STR:
        jcs_str(w, key, json_str(v, ""));
        return 0;
    case JSON_IS_ARRAY:
        jcs_array(w, key);
        for (size_t i = 0; i < json_len(v) && rc == 0; i++)
            rc = tell(w, NULL, json_at(v, i), err);
        jcs_close_array(w);
        return rc;
    case JSON_IS_OBJECT:
        return tell_object(w, key, v, err);
    case JSON_IS_REAL:
        break;
    }
    return bt_next(err,
                   bt_fail(err, BT_ERR_INVALID, "\"%s\" is a fraction, which the ledger refuses",
                           key ? key : "a value in a list"),
                   "write it as a decimal string");
}

int jcs_value(const struct json *v, struct bt_buf *to, struct bt_err *err)
{
    struct jcs w = {.to = to};
    size_t start = to->n;
    int rc = tell(&w, NULL, v, err);

    if (rc == 0) {
        w.depth = 0;
        rc = jcs_end(&w, err);
    }
    if (rc < 0 && to->p) {
        to->n = start;
        to->p[start] = '\0';
    }
    return rc;
}
