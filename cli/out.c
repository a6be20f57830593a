/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/out.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/text.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { OUT_COLS = 16, DETAIL_SHOWN = 100 };

const char *out_color(bool color, const char *state)
{
    static const struct {
        const char *word, *escape;
    } colors[] = {{"running", "\x1b[32m"},   {"completed", "\x1b[32m"}, {"up", "\x1b[32m"},
                  {"active", "\x1b[32m"},    {"failed", "\x1b[31m"},    {"timeout", "\x1b[31m"},
                  {"down", "\x1b[31m"},      {"suspended", "\x1b[31m"}, {"held", "\x1b[33m"},
                  {"cancelled", "\x1b[33m"}, {"draining", "\x1b[33m"},  {"starting", "\x1b[36m"},
                  {"finishing", "\x1b[36m"}};

    for (size_t i = 0; color && i < BT_ARRAY_LEN(colors); i++)
        if (bt_streq(state, colors[i].word))
            return colors[i].escape;
    return "";
}

const char *out_plain(bool color)
{
    return color ? "\x1b[0m" : "";
}

const char *out_str(const struct json *o, const char *key)
{
    return json_str(json_get(o, key), "");
}

int64_t out_mras(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);
    int64_t mras = 0;

    if (json_is(v) == JSON_IS_INT)
        return json_i64(v, 0);
    if (bt_parse_i64(json_str(v, "0"), key, INT64_MIN, INT64_MAX, &mras, NULL) < 0)
        return 0;
    return mras;
}

int64_t out_when(const struct json *o, const char *key)
{
    int64_t us = 0;

    if (bt_time_parse(out_str(o, key), key, &us, NULL) < 0)
        return 0;
    return us;
}

/* The value of "a" or "a.b.c". */
static const struct json *member(const struct json *o, const char *key, size_t n)
{
    BT_AUTO char *name = bt_strndup(key, n);
    char *part = name;

    for (char *dot; (dot = strchr(part, '.')); part = dot + 1) {
        *dot = '\0';
        o = json_get(o, part);
    }
    return json_get(o, part);
}

static void raw_value(const struct json *v, struct bt_buf *to);

static int raw_member(void *arg, const char *key, const struct json *v)
{
    struct bt_buf *to = arg;

    if (json_is(v) == JSON_IS_NULL)
        return 0;
    bt_buf_printf(to, "%s%s=", to->n ? " " : "", key);
    raw_value(v, to);
    return 0;
}

static void raw_value(const struct json *v, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf members = {0};
    size_t n = json_len(v);

    switch (json_is(v)) {
    case JSON_IS_BOOL:
        bt_buf_str(to, json_bool(v, false) ? "yes" : "no");
        break;
    case JSON_IS_INT:
        bt_buf_printf(to, "%" PRId64, json_i64(v, 0));
        break;
    case JSON_IS_REAL:
        bt_buf_printf(to, "%.6g", json_f64(v, 0));
        break;
    case JSON_IS_STR:
        bt_buf_str(to, json_str(v, ""));
        break;
    case JSON_IS_ARRAY:
        for (size_t i = 0; i < n; i++) {
            bt_buf_str(to, i ? "," : "");
            raw_value(json_at(v, i), to);
        }
        break;
    case JSON_IS_OBJECT:
        (void)json_each(v, raw_member, &members);
        bt_buf_str(to, bt_buf_text(&members));
        break;
    case JSON_IS_NULL:
        break;
    }
}

static void raw_cell(const struct json *o, const char *key, struct bt_buf *to)
{
    const char *p = key;

    for (;;) {
        size_t n = strcspn(p, "/");
        const struct json *v = member(o, p, n);

        if (p != key && json_is(v) != JSON_IS_NULL)
            bt_buf_char(to, '/');
        raw_value(v, to);
        if (!p[n])
            return;
        p += n + 1;
    }
}

/* Whole characters, as many as there is room for. */
static void cut(struct bt_buf *text)
{
    size_t n = 0;

    for (int shown = 0; n < text->n; n++)
        if ((text->p[n] & 0xc0) != 0x80 && shown++ == DETAIL_SHOWN)
            break;
    if (n == text->n)
        return;
    text->n = n;
    bt_buf_str(text, "…");
}

static void shown_cell(const struct json *o, const struct out_col *col, int64_t now_us,
                       struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf raw = {0};
    char out[TEXT_MAX];
    int64_t v;

    raw_cell(o, col->kind == OUT_START && *out_str(o, "started_at") ? "started_at" : col->key,
             &raw);
    if (!raw.n)
        bt_buf_char(to, '-');
    else if (col->kind == OUT_LEFT && !json_bool(json_get(o, "capped"), true))
        bt_buf_str(to, "no cap");
    else if ((col->kind == OUT_HOURS || col->kind == OUT_LEFT) &&
             bt_parse_i64(bt_buf_text(&raw), "", INT64_MIN, INT64_MAX, &v, NULL) == 0)
        bt_buf_str(to, text_hours(v, out));
    else if (col->kind == OUT_ACC_S &&
             bt_parse_i64(bt_buf_text(&raw), "", INT64_MIN / 1000, INT64_MAX / 1000, &v, NULL) == 0)
        bt_buf_str(to, text_hours(v * 1000, out));
    else if ((col->kind == OUT_WHEN || col->kind == OUT_START) &&
             bt_time_parse(bt_buf_text(&raw), "", &v, NULL) == 0)
        bt_buf_str(to, text_time(v, now_us, out));
    else if (col->kind == OUT_SPAN &&
             bt_parse_i64(bt_buf_text(&raw), "", INT64_MIN, INT64_MAX, &v, NULL) == 0)
        bt_buf_str(to, text_duration(v, out));
    else if (col->kind == OUT_BYTES &&
             bt_parse_i64(bt_buf_text(&raw), "", 0, INT64_MAX, &v, NULL) == 0)
        bt_buf_str(to, text_bytes(v, out));
    else
        text_clean(to, bt_buf_text(&raw));
    if (col->kind == OUT_DETAIL)
        cut(to);
}

static bool right(enum out_kind kind)
{
    return kind == OUT_NUM || kind == OUT_HOURS || kind == OUT_ACC_S || kind == OUT_LEFT ||
           kind == OUT_SPAN || kind == OUT_BYTES;
}

/* Items of a list, or the one object that a single reply is. */
static size_t n_items(const struct json *items)
{
    return json_is(items) == JSON_IS_ARRAY ? json_len(items) : json_is(items) == JSON_IS_OBJECT;
}

static const struct json *item(const struct json *items, size_t i)
{
    return json_is(items) == JSON_IS_ARRAY ? json_at(items, i) : items;
}

static void pad(struct bt_buf *to, int n)
{
    for (; n > 0; n--)
        bt_buf_char(to, ' ');
}

struct grid {
    char **cells; /* rows × cols, the first row holds the titles */
    size_t rows, cols;
    const struct out_col *col[OUT_COLS];
    int width[OUT_COLS];
};

static void grid_fill(struct grid *g, const struct json *items, const struct out_list *list,
                      bool wide, int64_t now_us)
{
    *g = (struct grid){.rows = n_items(items) + 1};
    for (size_t i = 0; i < list->n && g->cols < OUT_COLS; i++)
        if (wide || !list->cols[i].wide)
            g->col[g->cols++] = &list->cols[i];
    g->cells = bt_new_n(char *, g->rows * g->cols);
    for (size_t r = 0; r < g->rows; r++)
        for (size_t c = 0; c < g->cols; c++) {
            struct bt_buf cell = {0};

            if (r == 0)
                bt_buf_str(&cell, g->col[c]->title);
            else
                shown_cell(item(items, r - 1), g->col[c], now_us, &cell);
            g->width[c] = BT_MAX(g->width[c], text_width(bt_buf_text(&cell)));
            g->cells[r * g->cols + c] = bt_buf_take(&cell);
        }
}

static void table(const struct app *app, const struct json *items, const struct out_list *list,
                  int64_t now_us, struct bt_buf *to)
{
    struct grid g;

    grid_fill(&g, items, list, app->format == OUT_WIDE, now_us);
    for (size_t r = 0; r < g.rows; r++) {
        for (size_t c = 0; c < g.cols; c++) {
            const char *cell = g.cells[r * g.cols + c];
            bool colored = r == 0 || g.col[c]->kind == OUT_STATE;
            const char *before = r == 0    ? (app->color ? "\x1b[1m" : "")
                                 : colored ? out_color(app->color, cell)
                                           : "";
            int room = g.width[c] - text_width(cell);

            if (c)
                bt_buf_str(to, "  ");
            if (right(g.col[c]->kind))
                pad(to, room);
            bt_buf_printf(to, "%s%s%s", before, cell, *before ? out_plain(true) : "");
            if (!right(g.col[c]->kind) && c + 1 < g.cols)
                pad(to, room);
        }
        bt_buf_char(to, '\n');
    }
    for (size_t i = 0; i < g.rows * g.cols; i++)
        bt_free(g.cells[i]);
    bt_free(g.cells);
}

static void csv_field(const char *s, struct bt_buf *to)
{
    if (!strpbrk(s, ",\"\r\n")) {
        bt_buf_str(to, s);
        return;
    }
    bt_buf_char(to, '"');
    for (; *s; s++) {
        if (*s == '"')
            bt_buf_char(to, '"');
        bt_buf_char(to, *s);
    }
    bt_buf_char(to, '"');
}

static void csv(const struct json *items, const struct out_list *list, struct bt_buf *to)
{
    for (size_t c = 0; c < list->n; c++) {
        bt_buf_str(to, c ? "," : "");
        csv_field(list->cols[c].key, to);
    }
    bt_buf_str(to, "\r\n");
    for (size_t r = 0; r < n_items(items); r++) {
        for (size_t c = 0; c < list->n; c++) {
            BT_BUF_AUTO struct bt_buf raw = {0};

            raw_cell(item(items, r), list->cols[c].key, &raw);
            bt_buf_str(to, c ? "," : "");
            csv_field(bt_buf_text(&raw), to);
        }
        bt_buf_str(to, "\r\n");
    }
}

void out_items(const struct app *app, const struct json *items, const struct out_list *list,
               int64_t now_us, struct bt_buf *to)
{
    if (app->format == OUT_CSV) {
        csv(items, list, to);
    } else if (app->format == OUT_NAME) {
        for (size_t i = 0; i < n_items(items); i++) {
            raw_cell(item(items, i), list->name, to);
            bt_buf_char(to, '\n');
        }
    } else if (n_items(items)) {
        table(app, items, list, now_us, to);
    }
}

void out_text(const struct bt_buf *text)
{
    fwrite(bt_buf_text(text), 1, text->n, stdout);
}

void out_json(const struct reply *reply)
{
    out_text(&reply->body);
    if (reply->body.n && reply->body.p[reply->body.n - 1] != '\n')
        putchar('\n');
}

void out_reply(const struct app *app, const struct reply *reply, const struct out_list *list)
{
    const struct json *items = json_get(reply->json, "items");
    BT_BUF_AUTO struct bt_buf text = {0};

    if (app->format == OUT_JSON) {
        out_json(reply);
        return;
    }
    if (json_is(items) == JSON_IS_NULL)
        items = reply->json;
    out_items(app, items, list, bt_now_us(), &text);
    out_text(&text);
    if (n_items(items) == 0 && list->empty)
        app_note(app, "%s", list->empty);
    if (!app->limited && json_is(json_get(reply->json, "next")) == JSON_IS_STR)
        app_note(app, "there is more: --cursor %s", out_str(reply->json, "next"));
}
