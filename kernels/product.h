/* product.h - matrix products: our own tiles where there are some, BLAS elsewhere.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to kernels/. */
#ifndef BT_KERNELS_PRODUCT_H
#define BT_KERNELS_PRODUCT_H

#include <stdbool.h>

/* c[m,n] = op(a)[m,k] op(b)[k,n] + beta c, row-major; lda, ldb, ldc: floats from one row to the
 * next as the arrays lie in memory; ta: a holds [k,m], tb: b holds [n,k]. With our own tiles
 * an element's bits depend on k alone. */
struct product {
    bool ta, tb;
    int m, n, k;
    const float *a, *b;
    int lda, ldb;
    float beta;
    float *c;
    int ldc;
};

void product_init(int threads); /* memory for panels; again when threads or tiles() change */
void product_shared(const struct product *p); /* by all threads; outside of parallel regions */
void product_alone(const struct product *p);  /* by the calling thread of a parallel region */

#endif
