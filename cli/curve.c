/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/curve.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/text.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

enum {
    LINE_MAX_BYTES = 65536,
    BAR_MAX = 34,
    FACTS_WIDTH = 48,
    CURVE_MAX_WIDTH = 120,
    CURVE_MAX_HEIGHT = 32
};

bool metric_read(const char *line, size_t n, struct metric *ret)
{
    JSON_AUTO struct json *j = NULL;

    if (json_parse(line, n, LINE_MAX_BYTES, &j, NULL) < 0 || json_is(j) != JSON_IS_OBJECT)
        return false;
    ret->step = json_i64(json_get(j, "step"), -1);
    ret->steps = json_i64(json_get(j, "steps"), 0);
    ret->loss = json_f64(json_get(j, "loss"), NAN);
    ret->tok_per_s = json_f64(json_get(j, "tok_per_s"), NAN);
    ret->eta_s = json_f64(json_get(j, "eta_s"), NAN);
    return ret->step >= 0 && isfinite(ret->loss);
}

struct languages {
    struct bt_buf *to;
    int n, most;
};

static int one_language(void *arg, const char *key, const struct json *v)
{
    struct languages *l = arg;

    if (l->n++ >= l->most)
        return 0;
    bt_buf_str(l->to, l->n > 1 ? " · " : " ");
    text_clean(l->to, key);
    bt_buf_printf(l->to, " %.2f", json_f64(v, NAN));
    return 0;
}

bool metric_evaluation(const char *line, size_t n, int most, struct bt_buf *to)
{
    JSON_AUTO struct json *j = NULL;
    struct languages l = {.to = to, .most = most};
    const struct json *by;

    if (json_parse(line, n, LINE_MAX_BYTES, &j, NULL) < 0)
        return false;
    by = json_get(j, "bits_per_byte");
    if (json_is(by) != JSON_IS_OBJECT || !json_len(by))
        return false;
    bt_buf_str(to, "  bits/byte held out:");
    json_each(by, one_language, &l);
    bt_buf_printf(to, "%s (%d languages, mean %.2f)\n", l.n > most ? " · …" : "", l.n,
                  json_f64(json_get(j, "bits_per_byte_mean"), NAN));
    return true;
}

static void facts(const struct metric *m, struct bt_buf *to)
{
    char digits[TEXT_MAX];

    bt_buf_printf(to, "%" PRId64, m->step);
    if (m->steps > 0)
        bt_buf_printf(to, "/%" PRId64, m->steps);
    bt_buf_printf(to, "  loss %.2f", m->loss);
    if (isfinite(m->tok_per_s) && m->tok_per_s >= 0 && m->tok_per_s < 1e15)
        bt_buf_printf(to, "  %s tok/s", bt_format_thousands((int64_t)m->tok_per_s, digits));
    if (isfinite(m->eta_s) && m->eta_s >= 0 && m->eta_s < 1e10)
        bt_buf_printf(to, "  ETA %s", text_duration((int64_t)ceil(m->eta_s), digits));
}

void progress_line(const struct metric *m, struct bt_buf *to)
{
    bt_buf_str(to, "train   ");
    facts(m, to);
}

void progress_bar(const struct metric *m, int columns, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf right = {0};
    int room, filled;

    facts(m, &right);
    /* Room for the longest facts, so that the bar keeps its length. */
    room = columns - 8 - 2 - BT_MAX((int)right.n, FACTS_WIDTH) - 1;
    room = BT_MIN(room, BAR_MAX);
    bt_buf_str(to, "train   ");
    if (room >= 8 && m->steps > 0) {
        int64_t step = BT_MIN(m->step, m->steps);

        filled = (int)((double)step / (double)m->steps * room);
        for (int i = 0; i < room; i++)
            bt_buf_str(to, i < filled ? "█" : "░");
        bt_buf_str(to, "  ");
    }
    bt_buf_add(to, right.p, right.n);
}

void curve_add(struct curve *c, double loss)
{
    if (!isfinite(loss))
        return;
    BT_GROW(c->v, c->n, c->cap);
    c->v[c->n++] = loss;
}

void curve_done(struct curve *c)
{
    bt_free(c->v);
    *c = (struct curve){0};
}

/* The mean of the losses that fall on each column. */
static void column_means(const struct curve *c, int width, double *means)
{
    for (int x = 0; x < width; x++) {
        size_t from = c->n * (size_t)x / (size_t)width;
        size_t until = BT_MAX(c->n * (size_t)(x + 1) / (size_t)width, from + 1);
        double sum = 0;

        for (size_t i = from; i < until; i++)
            sum += c->v[i];
        means[x] = sum / (double)(until - from);
    }
}

/* What stands at (x, y) when the curve goes from row `a` to row `b`. */
static const char *piece(int a, int b, int y)
{
    if (a == b)
        return y == a ? "─" : " ";
    if (y == a)
        return b > a ? "╮" : "╯";
    if (y == b)
        return b > a ? "╰" : "╭";
    return y > BT_MIN(a, b) && y < BT_MAX(a, b) ? "│" : " ";
}

void curve_draw(const struct curve *c, int width, int height, struct bt_buf *to)
{
    int rows[CURVE_MAX_WIDTH];
    double means[CURVE_MAX_WIDTH];
    double low = INFINITY, high = -INFINITY;

    width = BT_MIN(width, CURVE_MAX_WIDTH);
    height = BT_MIN(height, CURVE_MAX_HEIGHT);
    if (c->n < 2 || width < 2 || height < 2)
        return;
    width = (int)BT_MIN((size_t)width, c->n);
    column_means(c, width, means);
    for (int x = 0; x < width; x++) {
        low = fmin(low, means[x]);
        high = fmax(high, means[x]);
    }
    high = fmax(high, low + 1e-9);
    for (int x = 0; x < width; x++) /* 0 is the top */
        rows[x] = (int)lround((high - means[x]) / (high - low) * (height - 1));
    for (int y = 0; y < height; y++) {
        double label = high - (high - low) * y / (height - 1);

        bt_buf_printf(to, "  %8.2f ┤", label);
        for (int x = 0; x < width; x++)
            bt_buf_str(to, piece(x ? rows[x - 1] : rows[x], rows[x], y));
        while (to->n && to->p[to->n - 1] == ' ')
            to->n--;
        bt_buf_char(to, '\n');
    }
}

void lines_feed(struct lines *l, const char *p, size_t n,
                void (*each)(void *arg, const char *line, size_t n), void *arg)
{
    while (n) {
        const char *end = memchr(p, '\n', n);
        size_t len = end ? (size_t)(end - p) : n;

        if (l->tail.n + len > LINE_MAX_BYTES)
            l->skipping = true;
        if (!l->skipping)
            bt_buf_add(&l->tail, p, len);
        if (!end)
            return;
        if (!l->skipping)
            each(arg, bt_buf_text(&l->tail), l->tail.n);
        bt_buf_clear(&l->tail);
        l->skipping = false;
        p += len + 1;
        n -= len + 1;
    }
}

void lines_done(struct lines *l)
{
    bt_buf_done(&l->tail);
}
