/* gradient.h - kernels against float64: values, and gradients by central differences.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Included by each test of kernels once, behind tests/unit/check.h. */
#ifndef BT_TESTS_GRADIENT_H
#define BT_TESTS_GRADIENT_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "lib/base/mem.h"

/* Float32 gradients against differences of float64: the step's own error is about 1e-9. */
#define STEP 1e-4

/* A function of up to 3 float64 arrays whose outputs are folded with fixed weights. */
struct problem {
    const char *name;
    int dims[6];
    size_t n_in[3];
    size_t n_out;
    void (*evaluate)(const struct problem *p, const double *const in[3], double *out);
    const int32_t *ids;
};

static float *random_floats(size_t n, uint64_t stream, double sd)
{
    float *x = bt_new_n(float, n ? n : 1);

    kern_normal(x, n, sd, 42, stream);
    return x;
}

static double *as_double(const float *x, size_t n)
{
    double *d = bt_new_n(double, n ? n : 1);

    for (size_t i = 0; i < n; i++)
        d[i] = (double)x[i];
    return d;
}

static void assert_near(const char *what, const float *got, const double *want, size_t n,
                        double tolerance)
{
    double scale = 1e-30, worst = 0;

    for (size_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(want[i]));
    for (size_t i = 0; i < n; i++) {
        if (isnan(got[i]))
            fail_msg("%s: element %zu is not a number", what, i);
        worst = fmax(worst, fabs((double)got[i] - want[i]) / scale);
    }
    if (!(worst <= tolerance))
        fail_msg("%s: relative error %.3g above %.3g", what, worst, tolerance);
}

/* The gradient of sum(cotangent * out) with respect to input `which`, by central differences. */
static double *differences(const struct problem *p, const float *const in[3], int which,
                           const float *cotangent)
{
    double *x[3], *gradient = bt_new_n(double, p->n_in[which] ? p->n_in[which] : 1);
    double *out = bt_new_n(double, p->n_out);

    for (int k = 0; k < 3; k++)
        x[k] = as_double(in[k], p->n_in[k]);
    for (size_t i = 0; i < p->n_in[which]; i++) {
        double at = x[which][i], sums[2] = {0, 0};

        for (int side = 0; side < 2; side++) {
            x[which][i] = at + (side ? STEP : -STEP);
            p->evaluate(p, (const double *const *)x, out);
            for (size_t j = 0; j < p->n_out; j++)
                sums[side] += out[j] * (double)cotangent[j];
        }
        x[which][i] = at;
        gradient[i] = (sums[1] - sums[0]) / (2 * STEP);
    }
    for (int k = 0; k < 3; k++)
        bt_free(x[k]);
    bt_free(out);
    return gradient;
}

static void check_gradient(const struct problem *p, const float *const in[3], int which,
                           const float *cotangent, const float *got, double tolerance)
{
    double *want = differences(p, in, which, cotangent);

    assert_near(p->name, got, want, p->n_in[which], tolerance);
    bt_free(want);
}

static void check_forward(const struct problem *p, const float *const in[3], const float *got,
                          double tolerance)
{
    double *x[3], *out = bt_new_n(double, p->n_out);

    for (int k = 0; k < 3; k++)
        x[k] = as_double(in[k], p->n_in[k]);
    p->evaluate(p, (const double *const *)x, out);
    assert_near(p->name, got, out, p->n_out, tolerance);
    for (int k = 0; k < 3; k++)
        bt_free(x[k]);
    bt_free(out);
}

#endif
