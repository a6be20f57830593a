/* rows.h - the inner loops, compiled once for each instruction set; dispatch.c picks one table.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to kernels/. Loops over one row (or one flat block) without threads:
 * the callers share rows out. */
#ifndef BT_KERNELS_ROWS_H
#define BT_KERNELS_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rows_adamw {
    float beta1, beta2, step_size, inv_correction2, eps, decay, grad_scale;
};

struct rows {
    const char *isa;
    /* sum = x + y (y may be NULL), returns rstd */
    float (*add_norm)(float *out, float *sum, const float *x, const float *y, const float *w, int c,
                      float eps);
    /* dsum (+)= gradient through the norm; dw += */
    void (*norm_backward)(float *dsum, bool empty, float *dw, const float *const in[3], float rstd,
                          int c);
    void (*rope)(float *x, const float *cos, const float *sin, int half, float sign);
    void (*swiglu)(float *h, const float *gate, const float *up, int f);
    void (*swiglu_backward)(float *gate, float *up, const float *dh, int f);
    /* x[0..n) = exp(scale x - max(scale x)); returns the sum, *ret_max the maximum */
    float (*softmax)(float *x, int n, float scale, float *ret_max);
    /* p[0..n) = exp(scale p - lse), dp[j] = scale * p[j] * (dp[j] - delta) */
    void (*softmax_backward)(float *p, float *dp, int n, const float in[3]);
    void (*scale)(float *x, int n, float by);
    float (*dot)(const float *a, const float *b, int n);
    void (*add)(float *y, const float *x, size_t n);
    double (*sum_squares)(const float *x, size_t n);
    void (*adamw)(float *w, float *m, float *v, const float *g, size_t n,
                  const struct rows_adamw *k);
};

extern const struct rows rows_portable;
#if defined(__x86_64__)
extern const struct rows rows_avx2;
extern const struct rows rows_avx512;
#endif

const struct rows *rows(void); /* the table kern_init picked */

#endif
