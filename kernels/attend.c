/* attend.c - attention between spans of two arrays, gates and patches: what images add to a
 * decoder. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One task is one (span, head): it alone writes its rows of the outputs, in an order of its own,
 * so the bits do not depend on threads. */
#include <assert.h>
#include <math.h>
#include <omp.h>

#include "kernels/kernels.h"
#include "kernels/product.h"
#include "kernels/rows.h"
#include "lib/base/mem.h"

enum { TILE = 64, GATE_BLOCK = 16384 };

static int widest(const struct kern_span *spans, int n)
{
    int most = 0;

    for (int i = 0; i < n; i++)
        most = BT_MAX(most, spans[i].n_k);
    return most;
}

static size_t thread_scratch(int n_k)
{
    return (size_t)2 * TILE * n_k + TILE;
}

size_t kern_attend_scratch(int n_k)
{
    return thread_scratch(n_k) * (size_t)kern_threads();
}

static void clear_rows(float *x, int rows, int stride, int width)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < rows; i++)
        memset(x + (size_t)i * stride, 0, (size_t)width * sizeof(float));
}

/* Queries from .. from+n of a span against all its keys. */
static void attend_tile(const struct kern_attend *a, const struct kern_span *s, int h, int from,
                        float *scores)
{
    const struct rows *r = rows();
    int n = BT_MIN(TILE, s->n_q - from), row = s->q + from, d = a->d;
    float scale = (float)(1 / sqrt((double)d));
    float *lse = a->lse + (size_t)h * a->q_rows + row;

    product_alone(&(struct product){.tb = true,
                                    .m = n,
                                    .n = s->n_k,
                                    .k = d,
                                    .a = a->q + (size_t)row * a->q_stride + (size_t)h * d,
                                    .lda = a->q_stride,
                                    .b = a->k + (size_t)s->k * a->kv_stride + (size_t)h * d,
                                    .ldb = a->kv_stride,
                                    .c = scores,
                                    .ldc = s->n_k});
    for (int i = 0; i < n; i++) {
        float *line = scores + (size_t)i * s->n_k, max, sum;

        sum = r->softmax(line, s->n_k, scale, &max);
        r->scale(line, s->n_k, 1 / sum);
        lse[i] = max + (float)log((double)sum);
    }
    product_alone(&(struct product){.m = n,
                                    .n = d,
                                    .k = s->n_k,
                                    .a = scores,
                                    .lda = s->n_k,
                                    .b = a->v + (size_t)s->k * a->kv_stride + (size_t)h * d,
                                    .ldb = a->kv_stride,
                                    .c = a->out + (size_t)row * a->q_stride + (size_t)h * d,
                                    .ldc = a->q_stride});
}

void kern_attend(const struct kern_attend *a)
{
    size_t scratch_n = thread_scratch(widest(a->spans, a->n_spans));

    clear_rows(a->out, a->q_rows, a->q_stride, a->heads * a->d);
#pragma omp parallel
    {
        float *scratch = a->scratch + scratch_n * (size_t)omp_get_thread_num();

#pragma omp for schedule(dynamic)
        for (int task = 0; task < a->n_spans * a->heads; task++) {
            const struct kern_span *s = &a->spans[task / a->heads];

            assert(s->q + s->n_q <= a->q_rows && s->k + s->n_k <= a->kv_rows && s->n_k > 0);
            for (int from = 0; from < s->n_q; from += TILE)
                attend_tile(a, s, task % a->heads, from, scratch);
        }
    }
}

static void backward_tile(const struct kern_attend_backward *b, const struct kern_span *s, int h,
                          int from, float *p)
{
    const struct rows *r = rows();
    const struct kern_attend *a = &b->forward;
    int n = BT_MIN(TILE, s->n_q - from), row = s->q + from, d = a->d, keys = s->n_k;
    size_t at = (size_t)row * a->q_stride + (size_t)h * d;
    size_t k_at = (size_t)s->k * a->kv_stride + (size_t)h * d;
    const float *q = a->q + at, *dout = b->dout + at, *lse = a->lse + (size_t)h * a->q_rows + row;
    float *dp = p + (size_t)TILE * keys, beta = from ? 1 : 0;

    product_alone(&(struct product){.tb = true,
                                    .m = n,
                                    .n = keys,
                                    .k = d,
                                    .a = q,
                                    .lda = a->q_stride,
                                    .b = a->k + k_at,
                                    .ldb = a->kv_stride,
                                    .c = p,
                                    .ldc = keys});
    product_alone(&(struct product){.tb = true,
                                    .m = n,
                                    .n = keys,
                                    .k = d,
                                    .a = dout,
                                    .lda = a->q_stride,
                                    .b = a->v + k_at,
                                    .ldb = a->kv_stride,
                                    .c = dp,
                                    .ldc = keys});
    for (int i = 0; i < n; i++) {
        size_t line = (size_t)i * a->q_stride;
        const float in[3] = {(float)(1 / sqrt((double)d)), lse[i],
                             r->dot(dout + line, a->out + at + line, d)};

        r->softmax_backward(p + (size_t)i * keys, dp + (size_t)i * keys, keys, in);
    }
    product_alone(&(struct product){.ta = true,
                                    .m = keys,
                                    .n = d,
                                    .k = n,
                                    .a = p,
                                    .lda = keys,
                                    .b = dout,
                                    .ldb = a->q_stride,
                                    .beta = beta,
                                    .c = b->dv + k_at,
                                    .ldc = a->kv_stride});
    product_alone(&(struct product){.ta = true,
                                    .m = keys,
                                    .n = d,
                                    .k = n,
                                    .a = dp,
                                    .lda = keys,
                                    .b = q,
                                    .ldb = a->q_stride,
                                    .beta = beta,
                                    .c = b->dk + k_at,
                                    .ldc = a->kv_stride});
    product_alone(&(struct product){.m = n,
                                    .n = d,
                                    .k = keys,
                                    .a = dp,
                                    .lda = keys,
                                    .b = a->k + k_at,
                                    .ldb = a->kv_stride,
                                    .c = b->dq + at,
                                    .ldc = a->q_stride});
}

void kern_attend_backward(const struct kern_attend_backward *b)
{
    const struct kern_attend *a = &b->forward;
    size_t scratch_n = thread_scratch(widest(a->spans, a->n_spans));

    clear_rows(b->dq, a->q_rows, a->q_stride, a->heads * a->d);
    clear_rows(b->dk, a->kv_rows, a->kv_stride, a->heads * a->d);
    clear_rows(b->dv, a->kv_rows, a->kv_stride, a->heads * a->d);
#pragma omp parallel
    {
        float *scratch = a->scratch + scratch_n * (size_t)omp_get_thread_num();

#pragma omp for schedule(dynamic)
        for (int task = 0; task < a->n_spans * a->heads; task++) {
            const struct kern_span *s = &a->spans[task / a->heads];

            for (int from = 0; from < s->n_q; from += TILE)
                backward_tile(b, s, task % a->heads, from, scratch);
        }
    }
}

/* ---- gates ---- */

void kern_gate(float *x, const float *z, float gate, size_t n)
{
    float open = tanhf(gate);

#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++)
        x[i] += open * z[i];
}

double kern_gate_backward(float *dz, const float *dx, const float *z, float gate, size_t n)
{
    size_t blocks = (n + GATE_BLOCK - 1) / GATE_BLOCK;
    BT_AUTO double *part = bt_new_n(double, blocks + 1);
    float open = tanhf(gate);
    double sum = 0;

#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < blocks; b++) {
        size_t end = BT_MIN(n, (b + 1) * GATE_BLOCK);
        double inner = 0;

#pragma omp simd reduction(+ : inner)
        for (size_t i = b * GATE_BLOCK; i < end; i++) {
            inner += (double)dx[i] * (double)z[i];
            dz[i] = open * dx[i];
        }
        part[b] = inner;
    }
    for (size_t b = 0; b < blocks; b++)
        sum += part[b];
    return sum * (1 - tanh((double)gate) * tanh((double)gate));
}

/* ---- patches and positions ---- */

void kern_patches(float *out, const float *image, int size, int patch)
{
    int side = size / patch, line = 3 * patch;

    assert(size % patch == 0);
    for (int y = 0; y < size; y++) {
        for (int px = 0; px < side; px++) {
            float *to = out + ((size_t)(y / patch) * side + px) * line * patch;

            memcpy(to + (size_t)(y % patch) * line, image + ((size_t)y * size + px * patch) * 3,
                   (size_t)line * sizeof(float));
        }
    }
}

void kern_add_cycle(float *x, const float *table, int n, int cycle, int c)
{
    const struct rows *r = rows();

#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++)
        r->add(x + (size_t)i * c, table + (size_t)(i % cycle) * c, (size_t)c);
}

void kern_sum_cycle(float *dtable, const float *dx, int n, int cycle, int c)
{
    const struct rows *r = rows();

#pragma omp parallel for schedule(static)
    for (int row = 0; row < cycle; row++) {
        for (int i = row; i < n; i += cycle)
            r->add(dtable + (size_t)row * c, dx + (size_t)i * c, (size_t)c);
    }
}
