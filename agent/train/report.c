/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/report.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

enum {
    METRICS_MAX = 1 << 30, /* of the whole file */
    LINE_MAX_BYTES = 65536,
    BAR = 34,
    QUIET_LINE_US = 5000000, /* between two plain lines */
};

/* ---- metrics.jsonl ---- */

static void add_point(struct report *r, int64_t step, double loss)
{
    BT_GROW(r->points, r->n_points, r->cap_points);
    r->points[r->n_points++] = (struct report_point){step, loss};
}

/* Keeps lines up to `step` in `kept`; a torn last line (killed while writing) is dropped. */
static void keep_lines(struct report *r, const char *text, int64_t step, struct bt_buf *kept)
{
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        JSON_AUTO struct json *line = NULL;
        size_t n = (size_t)(end - text);
        int64_t at;

        if (json_parse(text, n, LINE_MAX_BYTES, &line, NULL) < 0)
            continue;
        at = json_i64(json_get(line, "step"), INT64_MAX);
        if (at > step)
            continue;
        if (json_get(line, "loss"))
            add_point(r, at, json_f64(json_get(line, "loss"), 0));
        bt_buf_add(kept, text, n + 1);
    }
}

int report_open(struct report *r, const char *dir, int64_t step, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/metrics.jsonl", dir);
    BT_BUF_AUTO struct bt_buf old = {0}, kept = {0};
    const char *live = getenv("BEAM_METRICS");
    int rc = 0;

    r->metrics_fd = r->live_fd = -1;
    if (r->quiet)
        return 0;
    r->terminal = isatty(STDOUT_FILENO) == 1;
    if (access(path, F_OK) == 0)
        rc = bt_file_read(path, METRICS_MAX, &old, err);
    if (rc < 0)
        return rc;
    keep_lines(r, bt_buf_text(&old), step, &kept);
    rc = bt_file_write(path, 0644, bt_buf_text(&kept), kept.n, err);
    if (rc < 0)
        return rc;
    r->metrics_fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (r->metrics_fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot append to %s", path);
    if (live && *live) {
        r->live_fd = open(live, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (r->live_fd < 0)
            return bt_fail_errno(err, BT_ERR_IO, "cannot append to %s (BEAM_METRICS)", live);
    }
    return 0;
}

void report_close(struct report *r)
{
    if (r->metrics_fd >= 0)
        close(r->metrics_fd);
    if (r->live_fd >= 0)
        close(r->live_fd);
    bt_free(r->points);
    r->points = NULL;
    r->metrics_fd = r->live_fd = -1;
}

static int put_line(struct report *r, struct bt_buf *line, struct bt_err *err)
{
    int rc;

    bt_buf_char(line, '\n');
    rc = bt_write_all(r->metrics_fd, line->p, line->n, err);
    if (r->live_fd >= 0 && bt_write_all(r->live_fd, line->p, line->n, NULL) < 0) {
        close(r->live_fd); /* nobody listens any more: no reason to stop training */
        r->live_fd = -1;
    }
    return rc;
}

/* Rounds to `digits` significant ones: metrics are read by people too. */
static double rounded(double x, int digits)
{
    char text[40];

    snprintf(text, sizeof text, "%.*g", digits, x);
    return strtod(text, NULL);
}

/* ---- a step ---- */

void report_start(struct report *r)
{
    r->last_us = bt_mono_us();
}

static void show(struct report *r, const struct report_step *s, double tok_per_s, double eta_s)
{
    char rate[32], line[256];
    int full = (int)(BAR * s->step / s->steps);
    int64_t now = bt_mono_us();

    bt_format_thousands((int64_t)tok_per_s, rate);
    if (r->terminal) {
        int at = snprintf(line, sizeof line, "\r  ");

        for (int i = 0; i < BAR; i++)
            at += snprintf(line + at, sizeof line - (size_t)at, "%s", i < full ? "█" : "░");
        printf("%s %5" PRId64 "/%" PRId64 "  loss %.3f  %s tok/s  ETA %.0f s \033[K", line, s->step,
               s->steps, s->loss, rate, eta_s);
        if (s->step == s->steps)
            printf("\n");
    } else if (now - r->last_line_us >= QUIET_LINE_US || s->step == s->steps) {
        printf("step %" PRId64 "/%" PRId64 "  loss %.3f  %s tok/s  ETA %.0f s\n", s->step, s->steps,
               s->loss, rate, eta_s);
        r->last_line_us = now;
    }
    r->last_line_step = s->step;
    fflush(stdout);
}

int report_step(struct report *r, const struct report_step *s, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf line = {0};
    struct json_writer w = {.to = &line};
    int64_t now = bt_mono_us();
    double took = (double)(now - r->last_us) * 1e-6, tok_per_s, eta;

    if (r->quiet)
        return 0;
    r->last_us = now;
    r->step_s = r->step_s > 0 ? 0.9 * r->step_s + 0.1 * took : took;
    tok_per_s = (double)s->step_tokens / fmax(took, 1e-6);
    eta = r->step_s * (double)(s->steps - s->step);
    add_point(r, s->step, s->loss);
    jw_object(&w, NULL);
    jw_i64(&w, "step", s->step);
    jw_i64(&w, "steps", s->steps);
    jw_f64(&w, "loss", s->loss);
    jw_f64(&w, "lr", rounded(s->lr, 9));
    jw_f64(&w, "grad_norm", rounded(s->grad_norm, 9));
    jw_f64(&w, "tok_per_s", rounded(tok_per_s, 5));
    jw_f64(&w, "eta_s", rounded(eta, 4));
    jw_i64(&w, "tokens", s->tokens);
    jw_f64(&w, "flops", s->flops);
    jw_f64(&w, "mfu", rounded(tok_per_s * r->flops_per_token / (r->peak_gflops * 1e9), 4));
    jw_end_object(&w);
    show(r, s, (double)s->step_tokens / fmax(r->step_s, 1e-6), eta);
    return put_line(r, &line, err);
}

int report_evaluation(struct report *r, int64_t step, const struct corpus *c,
                      const struct evaluation *e, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf line = {0};
    struct json_writer w = {.to = &line};

    if (r->quiet)
        return 0;
    jw_object(&w, NULL);
    jw_i64(&w, "step", step);
    jw_f64(&w, "bits_per_byte_mean", rounded(e->mean, 7));
    jw_object(&w, "bits_per_byte");
    for (int l = 0; l < e->n; l++) {
        if (e->bytes[l])
            jw_f64(&w, c->languages[l].tag, rounded(e->bits[l], 7));
    }
    jw_end_object(&w);
    jw_end_object(&w);
    report_say(r, "held out  %.3f bits per byte (mean of %d languages)", e->mean, e->n);
    return put_line(r, &line, err);
}

void report_say(struct report *r, const char *fmt, ...)
{
    va_list args;

    if (r->quiet)
        return;
    if (r->terminal)
        printf("\r\033[K");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

/* ---- the curve ---- */

enum { SVG_W = 720, SVG_H = 400, LEFT = 60, RIGHT = 20, TOP = 40, BOTTOM = 45, CURVE = 400 };

struct axes {
    double x1, y0, y1; /* steps 0..x1, loss y0..y1 */
};

static double place_x(const struct axes *a, double step)
{
    return LEFT + (SVG_W - LEFT - RIGHT) * step / a->x1;
}

static double place_y(const struct axes *a, double loss)
{
    return SVG_H - BOTTOM - (SVG_H - TOP - BOTTOM) * (loss - a->y0) / (a->y1 - a->y0);
}

static void text_escaped(struct bt_buf *to, const char *s)
{
    for (; *s; s++) {
        if (*s == '<')
            bt_buf_str(to, "&lt;");
        else if (*s == '&')
            bt_buf_str(to, "&amp;");
        else
            bt_buf_char(to, *s);
    }
}

static void draw_axes(const struct axes *a, const char *title, struct bt_buf *to)
{
    bt_buf_printf(
        to,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
        "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<title>",
        SVG_W, SVG_H, SVG_W, SVG_H);
    text_escaped(to, title);
    bt_buf_printf(to,
                  ": training loss</title>\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n"
                  "<text x=\"%d\" y=\"24\" font-size=\"15\">",
                  SVG_W, SVG_H, LEFT);
    text_escaped(to, title);
    bt_buf_str(to, "</text>\n");
    for (int i = 0; i <= 4; i++) {
        double loss = a->y0 + (a->y1 - a->y0) * i / 4, y = place_y(a, loss);
        double step = a->x1 * i / 4, x = place_x(a, step);

        bt_buf_printf(to,
                      "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" "
                      "text-anchor=\"end\">%.2f</text>\n",
                      LEFT, y, SVG_W - RIGHT, LEFT - 8, y + 4, loss);
        bt_buf_printf(to, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.0f</text>\n", x,
                      SVG_H - BOTTOM + 18, step);
    }
    bt_buf_printf(to, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n",
                  (LEFT + SVG_W - RIGHT) / 2, SVG_H - 8);
}

void report_svg(const struct report *r, const char *title, struct bt_buf *to)
{
    struct axes a = {.x1 = 1, .y0 = INFINITY, .y1 = -INFINITY};
    int bucket = r->n_points / CURVE + 1;

    for (int i = 0; i < r->n_points; i++) {
        a.x1 = fmax(a.x1, (double)r->points[i].step);
        a.y0 = fmin(a.y0, r->points[i].loss);
        a.y1 = fmax(a.y1, r->points[i].loss);
    }
    if (!r->n_points)
        a.y0 = 0, a.y1 = 1;
    a.y0 = floor(a.y0 * 4) / 4;
    a.y1 = fmax(ceil(a.y1 * 4) / 4, a.y0 + 0.25);
    draw_axes(&a, title, to);
    bt_buf_str(to, "<polyline fill=\"none\" stroke=\"#0b5fa5\" stroke-width=\"1.5\" points=\"");
    for (int i = 0; i < r->n_points; i += bucket) {
        int n = BT_MIN(bucket, r->n_points - i);
        double step = 0, loss = 0;

        for (int k = i; k < i + n; k++) {
            step += (double)r->points[k].step / n;
            loss += r->points[k].loss / n;
        }
        bt_buf_printf(to, "%.1f,%.1f ", place_x(&a, step), place_y(&a, loss));
    }
    bt_buf_str(to, "\"/>\n</svg>\n");
}
