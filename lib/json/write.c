/* The streaming writer. SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/time.h"
#include "lib/base/uuid.h"
#include "lib/json/json.h"

/* Text that needs no escape, as nearly all does, in one piece; false: it is another. */
static bool plain(struct bt_buf *b, const char *s, size_t n)
{
    char *to;

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == '"' || s[i] == '\\')
            return false;
    to = bt_buf_room(b, n + 2);
    if (!to)
        return true; /* b->over says so */
    *to++ = '"';
    if (n)
        memcpy(to, s, n);
    to[n] = '"';
    to[n + 1] = '\0';
    b->n += n + 2;
    return true;
}

static void quoted(struct bt_buf *b, const char *s, size_t n)
{
    size_t from = 0;

    if (plain(b, s, n))
        return;
    bt_buf_char(b, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        bt_buf_add(b, s + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\')
            bt_buf_printf(b, "\\%c", c);
        else if (c == '\n')
            bt_buf_str(b, "\\n");
        else if (c == '\t')
            bt_buf_str(b, "\\t");
        else
            bt_buf_printf(b, "\\u%04x", c);
    }
    bt_buf_add(b, s + from, n - from);
    bt_buf_char(b, '"');
}

static void lead(struct json_writer *w, const char *key)
{
    uint64_t bit = UINT64_C(1) << w->depth;

    if (w->comma & bit)
        bt_buf_char(w->to, ',');
    w->comma |= bit;
    if (key) {
        quoted(w->to, key, strlen(key));
        bt_buf_char(w->to, ':');
    }
}

static void open_level(struct json_writer *w, const char *key, char c)
{
    lead(w, key);
    bt_buf_char(w->to, c);
    w->depth++;
    assert(w->depth < 64);
    w->comma &= ~(UINT64_C(1) << w->depth);
}

static void close_level(struct json_writer *w, char c)
{
    assert(w->depth > 0);
    w->depth--;
    bt_buf_char(w->to, c);
}

void jw_object(struct json_writer *w, const char *key)
{
    open_level(w, key, '{');
}

void jw_array(struct json_writer *w, const char *key)
{
    open_level(w, key, '[');
}

void jw_end_object(struct json_writer *w)
{
    close_level(w, '}');
}

void jw_end_array(struct json_writer *w)
{
    close_level(w, ']');
}

void jw_strn(struct json_writer *w, const char *key, const char *value, size_t n)
{
    lead(w, key);
    quoted(w->to, value, n);
}

void jw_str(struct json_writer *w, const char *key, const char *value)
{
    if (value)
        jw_strn(w, key, value, strlen(value));
    else
        jw_null(w, key);
}

/* The digits of v as they end at `end`; where they begin. */
static char *to_digits(char *end, int64_t v)
{
    uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;

    do {
        *--end = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (v < 0)
        *--end = '-';
    return end;
}

void jw_i64(struct json_writer *w, const char *key, int64_t value)
{
    char text[24], *end = text + sizeof text;
    const char *from = to_digits(end, value);

    lead(w, key);
    bt_buf_add(w->to, from, (size_t)(end - from));
}

void jw_f64(struct json_writer *w, const char *key, double value)
{
    char text[40];

    if (!isfinite(value)) {
        jw_null(w, key);
        return;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    lead(w, key);
    bt_buf_str(w->to, text);
}

void jw_bool(struct json_writer *w, const char *key, bool value)
{
    lead(w, key);
    bt_buf_str(w->to, value ? "true" : "false");
}

void jw_null(struct json_writer *w, const char *key)
{
    lead(w, key);
    bt_buf_str(w->to, "null");
}

void jw_decimal(struct json_writer *w, const char *key, int64_t value)
{
    char text[24], *end = text + sizeof text;
    const char *from = to_digits(end, value);

    lead(w, key);
    quoted(w->to, from, (size_t)(end - from));
}

void jw_time(struct json_writer *w, const char *key, int64_t us)
{
    char text[BT_TIME_MAX];

    jw_str(w, key, bt_time_format(us, text));
}

void jw_uuid(struct json_writer *w, const char *key, const void *uuid)
{
    const struct bt_uuid *id = uuid;
    char text[BT_UUID_TEXT];

    jw_str(w, key, bt_uuid_format(*id, text));
}

void jw_hex(struct json_writer *w, const char *key, const void *p, size_t n)
{
    const uint8_t *b = p;

    lead(w, key);
    bt_buf_char(w->to, '"');
    for (size_t i = 0; i < n; i++) {
        char two[3];

        bt_buf_add(w->to, bt_hex(b + i, 1, two), 2);
    }
    bt_buf_char(w->to, '"');
}

void jw_raw(struct json_writer *w, const char *key, const char *json)
{
    lead(w, key);
    bt_buf_str(w->to, json);
}
