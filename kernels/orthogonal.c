/* orthogonal.c - the nearest matrix with orthonormal rows or columns, roughly.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/product.h"

/* Of the odd polynomial a x + b x^3 + c x^5: steep at 0, and within 0.7 .. 1.2 of 1 after five
 * rounds for any singular value from 0.01 on (Jordan et al. 2024). */
static const float first = 3.4445f, third = -4.7750f, fifth = 2.0315f;
enum { ROUNDS = 5 };

size_t kern_orthogonal_scratch(int rows, int cols)
{
    size_t small = (size_t)BT_MIN(rows, cols);

    return (2 * small * small + (size_t)rows * (size_t)cols + 15) & ~(size_t)15;
}

/* y = a x + (b g + c g g) x with g = x x^T; from the other side where x is tall. */
static void next(const float *x, float *y, int rows, int cols, float *gram, float *poly)
{
    bool wide = rows <= cols;
    int s = wide ? rows : cols, k = wide ? cols : rows;
    size_t n = (size_t)s * (size_t)s;

    product_alone(&(struct product){.ta = !wide,
                                    .tb = wide,
                                    .m = s,
                                    .n = s,
                                    .k = k,
                                    .a = x,
                                    .lda = cols,
                                    .b = x,
                                    .ldb = cols,
                                    .c = gram,
                                    .ldc = s});
    product_alone(&(struct product){
        .m = s, .n = s, .k = s, .a = gram, .lda = s, .b = gram, .ldb = s, .c = poly, .ldc = s});
    for (size_t i = 0; i < n; i++)
        poly[i] = third * gram[i] + fifth * poly[i];
    memcpy(y, x, (size_t)rows * (size_t)cols * sizeof(float));
    product_alone(&(struct product){.m = rows,
                                    .n = cols,
                                    .k = s,
                                    .a = wide ? poly : x,
                                    .lda = wide ? s : cols,
                                    .b = wide ? x : poly,
                                    .ldb = wide ? cols : s,
                                    .beta = first,
                                    .c = y,
                                    .ldc = cols});
}

static void orthogonal(const struct kern_matrix *m, float *scratch)
{
    size_t n = (size_t)m->rows * (size_t)m->cols, small = (size_t)BT_MIN(m->rows, m->cols);
    float *gram = scratch, *poly = gram + small * small, *from = m->x, *to = poly + small * small;
    double sum = 0;
    float scale;

    for (size_t i = 0; i < n; i++)
        sum += (double)m->x[i] * (double)m->x[i];
    if (sum <= 0)
        return;
    scale = (float)(1 / sqrt(sum)); /* no singular value is above 1 then */
    for (size_t i = 0; i < n; i++)
        m->x[i] *= scale;
    for (int round = 0; round < ROUNDS; round++) {
        float *swap = from;

        next(from, to, m->rows, m->cols, gram, poly);
        from = to;
        to = swap;
    }
    if (from != m->x)
        memcpy(m->x, from, n * sizeof(float));
}

void kern_orthogonal(const struct kern_matrix *list, int n, float *scratch, size_t each)
{
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < n; i++) {
        assert(each >= kern_orthogonal_scratch(list[i].rows, list[i].cols));
        orthogonal(&list[i], scratch + each * (size_t)omp_get_thread_num());
    }
}
