/* linear.c - linear layers, embedding rows, and the chunked linear + cross-entropy.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>
#include <omp.h>

#include "kernels/kernels.h"
#include "kernels/product.h"
#include "kernels/rows.h"

void kern_linear(float *y, const float *x, const float *w, int n, int in, int out)
{
    product_shared(&(struct product){.tb = true,
                                     .m = n,
                                     .n = out,
                                     .k = in,
                                     .a = x,
                                     .lda = in,
                                     .b = w,
                                     .ldb = in,
                                     .c = y,
                                     .ldc = out});
}

void kern_linear_dx(float *dx, const float *dy, const float *w, int n, int in, int out)
{
    product_shared(&(struct product){
        .m = n, .n = in, .k = out, .a = dy, .lda = out, .b = w, .ldb = in, .c = dx, .ldc = in});
}

void kern_linear_dw(float *dw, const float *dy, const float *x, int n, int in, int out, float beta)
{
    product_shared(&(struct product){.ta = true,
                                     .m = out,
                                     .n = in,
                                     .k = n,
                                     .a = dy,
                                     .lda = out,
                                     .b = x,
                                     .ldb = in,
                                     .beta = beta,
                                     .c = dw,
                                     .ldc = in});
}

void kern_embed(float *out, const float *table, const int32_t *ids, int n, int c)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++)
        memcpy(out + (size_t)i * c, table + (size_t)ids[i] * c, (size_t)c * sizeof(float));
}

/* Each thread owns a band of columns and walks all rows in order: no two write one element. */
void kern_embed_backward(float *dtable, const float *dout, const int32_t *ids, int n, int c)
{
    const struct rows *r = rows();

#pragma omp parallel
    {
        int threads = omp_get_num_threads(), me = omp_get_thread_num();
        int from = (int)((int64_t)c * me / threads), to = (int)((int64_t)c * (me + 1) / threads);

        for (int i = 0; i < n; i++)
            r->add(dtable + (size_t)ids[i] * c + from, dout + (size_t)i * c + from,
                   (size_t)(to - from));
    }
}

/* Rows of logits that fit about 4 MiB, a multiple of 16: the same for any number of threads. */
static int chunk_rows(int n, int v)
{
    int rows = BT_MAX(16, (1 << 20) / v / 16 * 16);

    return BT_MIN(n, rows);
}

size_t kern_linear_loss_chunk(int n, int v)
{
    return (size_t)chunk_rows(n, v) * (v + 1);
}

/* One row of logits becomes scale * (softmax - one_hot); returns its loss. */
static float loss_row(float *logits, int v, int target, float scale, bool gradient)
{
    const struct rows *r = rows();
    float max, sum, picked;

    if (target < 0) {
        if (gradient)
            memset(logits, 0, (size_t)v * sizeof(float));
        return 0;
    }
    picked = logits[target];
    sum = r->softmax(logits, v, 1, &max);
    if (gradient) {
        r->scale(logits, v, scale / sum);
        logits[target] -= scale;
    }
    return (float)(log((double)sum) + (double)max - (double)picked);
}

double kern_linear_loss(const struct kern_linear_loss *a)
{
    int step = chunk_rows(a->n, a->v), c = a->c, v = a->v;
    float *part = a->chunk + (size_t)step * v;
    double total = 0;

    assert(a->n > 0 && c > 0 && v > 0);
    for (int at = 0; at < a->n; at += step) {
        int n = BT_MIN(step, a->n - at);
        const float *x = a->x + (size_t)at * c;

        kern_linear(a->chunk, x, a->w, n, c, v);
#pragma omp parallel for schedule(static)
        for (int i = 0; i < n; i++)
            part[i] =
                loss_row(a->chunk + (size_t)i * v, v, a->target[at + i], a->scale, a->dx != NULL);
        for (int i = 0; i < n; i++)
            total += (double)part[i];
        if (a->loss)
            memcpy(a->loss + at, part, (size_t)n * sizeof(float));
        if (!a->dx)
            continue;
        kern_linear_dx(a->dx + (size_t)at * c, a->chunk, a->w, n, c, v);
        if (a->dw)
            kern_linear_dw(a->dw, a->chunk, x, n, c, v, at ? 1 : a->beta);
    }
    return total;
}
