/* block.c - what stands between the products of a layer: norm, rotation, SwiGLU, optimizer.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>

#include "kernels/kernels.h"
#include "kernels/rows.h"

enum { FLAT_BLOCK = 65536 }; /* floats a thread takes at once of a flat arena */

void kern_add_norm(const struct kern_add_norm *a)
{
    const struct rows *r = rows();

#pragma omp parallel for schedule(static)
    for (int i = 0; i < a->n; i++) {
        size_t at = (size_t)i * a->c;

        a->rstd[i] = r->add_norm(a->out + at, a->sum + at, a->x + at, a->y ? a->y + at : NULL, a->w,
                                 a->c, a->eps);
    }
}

static int norm_blocks(int n)
{
    return (n + KERN_NORM_ROWS - 1) / KERN_NORM_ROWS;
}

size_t kern_norm_partial(int n, int c)
{
    return (size_t)norm_blocks(n) * c;
}

void kern_norm_backward(const struct kern_norm_backward *a)
{
    const struct rows *r = rows();
    int blocks = norm_blocks(a->n), c = a->c;

#pragma omp parallel for schedule(static)
    for (int b = 0; b < blocks; b++) {
        int end = BT_MIN(a->n, (b + 1) * KERN_NORM_ROWS);
        float *dw = a->partial + (size_t)b * c;

        memset(dw, 0, (size_t)c * sizeof(float));
        for (int i = b * KERN_NORM_ROWS; i < end; i++) {
            size_t at = (size_t)i * c;
            const float *const in[3] = {a->dout + at, a->sum + at, a->w};

            r->norm_backward(a->dsum + at, a->dsum_is_empty, dw, in, a->rstd[i], c);
        }
    }
    if (!a->dw)
        return;
    if (a->beta == 0)
        memset(a->dw, 0, (size_t)c * sizeof(float));
    for (int b = 0; b < blocks; b++)
        r->add(a->dw, a->partial + (size_t)b * c, (size_t)c);
}

void kern_rope_table(float *cos_table, float *sin_table, int t, int d, double theta)
{
    int half = d / 2;

    for (int pos = 0; pos < t; pos++) {
        for (int i = 0; i < half; i++) {
            double angle = pos * pow(theta, -2.0 * i / d);

            cos_table[(size_t)pos * half + i] = (float)cos(angle);
            sin_table[(size_t)pos * half + i] = (float)sin(angle);
        }
    }
}

void kern_rope(const struct kern_rope *a)
{
    const struct rows *r = rows();
    int half = a->d / 2;
    float sign = a->inverse ? -1.0f : 1.0f;

    assert(a->d % 2 == 0 && a->heads * a->d <= a->stride);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < a->n; i++) {
        size_t at = (size_t)(i % a->t) * half;

        for (int h = 0; h < a->heads; h++)
            r->rope(a->x + (size_t)i * a->stride + (size_t)h * a->d, a->cos + at, a->sin + at, half,
                    sign);
    }
}

void kern_swiglu(float *h, const float *gu, int n, int f)
{
    const struct rows *r = rows();

#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        const float *row = gu + (size_t)i * 2 * f;

        r->swiglu(h + (size_t)i * f, row, row + f, f);
    }
}

void kern_swiglu_backward(float *gu, const float *dh, int n, int f)
{
    const struct rows *r = rows();

#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        float *row = gu + (size_t)i * 2 * f;

        r->swiglu_backward(row, row + f, dh + (size_t)i * f, f);
    }
}

static size_t flat_blocks(size_t count)
{
    return (count + FLAT_BLOCK - 1) / FLAT_BLOCK;
}

static size_t flat_size(size_t count, size_t block)
{
    return BT_MIN((size_t)FLAT_BLOCK, count - block * FLAT_BLOCK);
}

/* Partial sums of a wave of blocks, added in order of blocks whatever thread made them. */
double kern_sum_squares(const float *x, size_t count)
{
    enum { WAVE = 64 };
    const struct rows *r = rows();
    size_t blocks = flat_blocks(count);
    double total = 0;

    for (size_t first = 0; first < blocks; first += WAVE) {
        size_t n = BT_MIN((size_t)WAVE, blocks - first);
        double part[WAVE];

#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++)
            part[i] = r->sum_squares(x + (first + i) * FLAT_BLOCK, flat_size(count, first + i));
        for (size_t i = 0; i < n; i++)
            total += part[i];
    }
    return total;
}

void kern_adamw(const struct kern_adamw *a)
{
    const struct rows *r = rows();
    size_t blocks = flat_blocks(a->count);
    const struct rows_adamw k = {
        .beta1 = (float)a->beta1,
        .beta2 = (float)a->beta2,
        .step_size = (float)(a->lr / (1 - pow(a->beta1, (double)a->step))),
        .inv_correction2 = (float)(1 / (1 - pow(a->beta2, (double)a->step))),
        .eps = (float)a->eps,
        .decay = (float)(a->lr * a->decay),
        .grad_scale = (float)a->grad_scale,
    };

#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < blocks; b++) {
        size_t at = b * FLAT_BLOCK;

        r->adamw(a->w + at, a->m + at, a->v + at, a->grad + at, flat_size(a->count, b), &k);
    }
}

void kern_add(float *y, const float *x, size_t count)
{
    const struct rows *r = rows();
    size_t blocks = flat_blocks(count);

#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < blocks; b++)
        r->add(y + b * FLAT_BLOCK, x + b * FLAT_BLOCK, flat_size(count, b));
}
