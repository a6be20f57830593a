/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/evaluate.h"

#include <math.h>
#include <zlib.h>

#include "lib/base/mem.h"

/* One batch under way: which language each window belongs to. */
struct windows {
    int32_t *in, *target;
    float *loss;
    int *language;
    int n;
};

static void flush(const struct evaluate *e, struct windows *w, double *nats)
{
    int t = e->model->shape.context;

    if (!w->n)
        return;
    (void)model_loss(e->model, w->in, w->target, w->n, t, w->loss);
    for (int i = 0; i < w->n; i++) {
        for (int k = 0; k < t; k++)
            nats[w->language[i]] += (double)w->loss[(size_t)i * t + k];
    }
    w->n = 0;
}

/* text[at..end) as one window, at most a context; what lies before `done` was counted already. */
static void add_window(const struct evaluate *e, struct windows *w, int language,
                       const uint8_t *text, const size_t at_done_end[3])
{
    size_t from = at_done_end[0], skip = at_done_end[1] - from, n = at_done_end[2] - from;
    int32_t before = from ? text[from - 1] : TOKEN_EOS;
    const uint8_t *bytes = text + from;
    size_t t = (size_t)e->model->shape.context, at = (size_t)w->n * t;

    for (size_t k = 0; k < t; k++) {
        w->in[at + k] = k == 0 ? before : k <= n ? bytes[k - 1] : TOKEN_PAD;
        w->target[at + k] = k >= skip && k < n ? bytes[k] : -1;
    }
    w->language[w->n++] = language;
}

/* All of one language; true when told to stop. */
static bool add_language(const struct evaluate *e, struct windows *w, int language, double *nats,
                         double *bytes)
{
    size_t t = (size_t)e->model->shape.context;
    BT_AUTO uint8_t *text = bt_new_n(uint8_t, (size_t)e->bytes + 1);
    size_t n = corpus_held(e->corpus, language, 0, (size_t)e->bytes, text);

    for (size_t at = 0, done = 0; done < n; at += BT_MAX(t / 2, 1)) {
        size_t end = BT_MIN(at + t, n);

        add_window(e, w, language, text, (size_t[]){at, done, end});
        done = end;
        if (w->n == e->rows) {
            if (e->stop && e->stop(e->arg))
                return true;
            flush(e, w, nats);
        }
    }
    bytes[language] = (double)n;
    return false;
}

static double mean_of(const double *x, int n)
{
    double sum = 0;
    int count = 0;

    for (int i = 0; i < n; i++) {
        sum += x[i];
        count += x[i] > 0;
    }
    return count ? sum / count : 0;
}

int evaluate(const struct evaluate *e, struct evaluation *ret, struct bt_err *err)
{
    int n = e->corpus->n_languages, rc;
    size_t tokens = (size_t)e->rows * (size_t)e->model->shape.context;
    BT_AUTO double *sums = bt_new_n(double, 2 * (size_t)n + 1); /* nats, bytes, stopped */
    BT_AUTO int32_t *in = bt_new_n(int32_t, tokens), *target = bt_new_n(int32_t, tokens);
    BT_AUTO float *loss = bt_new_n(float, tokens);
    BT_AUTO int *language = bt_new_n(int, e->rows);
    struct windows w = {.in = in, .target = target, .loss = loss, .language = language};
    bool stopped = false;

    for (int l = e->ranks->rank; l < n && !stopped; l += e->ranks->world)
        stopped = add_language(e, &w, l, sums, sums + n);
    if (!stopped)
        flush(e, &w, sums);
    sums[2 * n] = stopped;
    rc = ranks_sum(e->ranks, sums, 2 * (size_t)n + 1, err);
    if (rc < 0)
        return rc;
    if (sums[2 * n] > 0)
        return 1;
    ret->n = n;
    for (int l = 0; l < n; l++) {
        ret->bytes[l] = (int64_t)sums[n + l];
        ret->bits[l] = sums[n + l] > 0 ? sums[l] / M_LN2 / sums[n + l] : 0;
    }
    ret->mean = mean_of(ret->bits, n);
    return 0;
}

static size_t gzip_size(const uint8_t *text, size_t n)
{
    z_stream z = {0};
    size_t bound;
    uint8_t *out;

    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* only for lack of memory */
    bound = deflateBound(&z, n);
    out = bt_alloc(bound, 1);
    z.next_in = (z_const Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)bound;
    deflate(&z, Z_FINISH);
    bound = z.total_out;
    deflateEnd(&z);
    bt_free(out);
    return bound;
}

void evaluate_gzip(const struct corpus *c, int64_t bytes, struct evaluation *ret)
{
    for (int l = 0; l < c->n_languages; l++) {
        size_t n = (size_t)BT_MIN(c->languages[l].held_bytes, bytes);
        BT_AUTO uint8_t *text = bt_new_n(uint8_t, n + 1);

        n = corpus_held(c, l, 0, n, text);
        ret->gzip[l] = n ? 8.0 * (double)gzip_size(text, n) / (double)n : 0;
    }
    ret->gzip_mean = mean_of(ret->gzip, c->n_languages);
}
