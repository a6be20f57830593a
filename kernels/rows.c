/* rows.c - inner loops that the compiler vectorises; built once for each instruction set.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ROWS_TABLE and ROWS_ISA come from the build. Reductions are written with
 * `omp simd reduction`, which fixes their order for one instruction set. */
#include "kernels/rows.h"

#include <math.h>

/* e^x in float32, relative error below 2e-7 for -87 < x < 88, 1.6e-38 below, never infinite:
 * 2^n times a degree-6 polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes expf, Moshier 1984: method). */
static inline float fast_exp(float x)
{
    union {
        int32_t i;
        float f;
    } two_n;
    float n, r, p;

    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    n = x * 1.44269504088896341f + 12582912.0f; /* 1.5 * 2^23: rounds to a whole number */
    n -= 12582912.0f;
    r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    two_n.i = ((int32_t)n + 127) << 23;
    return p * two_n.f;
}

static float add_norm(float *out, float *sum, const float *x, const float *y, const float *w, int c,
                      float eps)
{
    float squares = 0, rstd;

    if (y) {
#pragma omp simd reduction(+ : squares)
        for (int i = 0; i < c; i++) {
            float s = x[i] + y[i];

            sum[i] = s;
            squares += s * s;
        }
    } else {
#pragma omp simd reduction(+ : squares)
        for (int i = 0; i < c; i++) {
            float s = x[i];

            sum[i] = s;
            squares += s * s;
        }
    }
    rstd = 1.0f / sqrtf(squares / (float)c + eps);
#pragma omp simd
    for (int i = 0; i < c; i++)
        out[i] = sum[i] * rstd * w[i];
    return rstd;
}

/* y = x r w with r = (mean x^2 + eps)^-1/2: dx = r (w dy - x r^2 mean(w dy x)), dw = dy x r */
static void norm_backward(float *dsum, bool empty, float *dw, const float *const in[3], float rstd,
                          int c)
{
    const float *dout = in[0], *sum = in[1], *w = in[2];
    float inner = 0;

#pragma omp simd reduction(+ : inner)
    for (int i = 0; i < c; i++)
        inner += w[i] * dout[i] * sum[i];
    inner *= rstd * rstd * rstd / (float)c;
    /* NOLINTNEXTLINE(bugprone-branch-clone): = and +=, which it does not see inside simd loops */
    if (empty) {
#pragma omp simd
        for (int i = 0; i < c; i++) {
            dw[i] += dout[i] * sum[i] * rstd;
            dsum[i] = rstd * w[i] * dout[i] - inner * sum[i];
        }
    } else {
#pragma omp simd
        for (int i = 0; i < c; i++) {
            dw[i] += dout[i] * sum[i] * rstd;
            dsum[i] += rstd * w[i] * dout[i] - inner * sum[i];
        }
    }
}

static void rope(float *x, const float *cos, const float *sin, int half, float sign)
{
#pragma omp simd
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half], s = sign * sin[i];

        x[i] = a * cos[i] - b * s;
        x[i + half] = b * cos[i] + a * s;
    }
}

static void swiglu(float *h, const float *gate, const float *up, int f)
{
#pragma omp simd
    for (int i = 0; i < f; i++)
        h[i] = gate[i] / (1.0f + fast_exp(-gate[i])) * up[i];
}

static void swiglu_backward(float *gate, float *up, const float *dh, int f)
{
#pragma omp simd
    for (int i = 0; i < f; i++) {
        float g = gate[i], u = up[i], d = dh[i];
        float s = 1.0f / (1.0f + fast_exp(-g));

        gate[i] = d * u * s * (1.0f + g * (1.0f - s));
        up[i] = d * g * s;
    }
}

static float softmax(float *x, int n, float scale, float *ret_max)
{
    float max = -INFINITY, sum = 0;

#pragma omp simd reduction(max : max)
    for (int i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    max *= scale;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) {
        float e = fast_exp(x[i] * scale - max);

        x[i] = e;
        sum += e;
    }
    *ret_max = max;
    return sum;
}

static void softmax_backward(float *p, float *dp, int n, const float in[3])
{
    float scale = in[0], lse = in[1], delta = in[2];

#pragma omp simd
    for (int i = 0; i < n; i++) {
        float e = fast_exp(p[i] * scale - lse);

        p[i] = e;
        dp[i] = scale * e * (dp[i] - delta);
    }
}

static void scale_row(float *x, int n, float by)
{
#pragma omp simd
    for (int i = 0; i < n; i++)
        x[i] *= by;
}

static float dot(const float *a, const float *b, int n)
{
    float sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void add(float *y, const float *x, size_t n)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static double sum_squares(const float *x, size_t n)
{
    double sum = 0;

#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void adamw(float *w, float *m, float *v, const float *g, size_t n,
                  const struct rows_adamw *k)
{
    const struct rows_adamw c = *k;

#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        float grad = g[i] * c.grad_scale;
        float mean = c.beta1 * m[i] + (1.0f - c.beta1) * grad;
        float square = c.beta2 * v[i] + (1.0f - c.beta2) * grad * grad;

        m[i] = mean;
        v[i] = square;
        w[i] -= c.step_size * mean / (sqrtf(square * c.inv_correction2) + c.eps) + c.decay * w[i];
    }
}

const struct rows ROWS_TABLE = {
    .isa = ROWS_ISA,
    .add_norm = add_norm,
    .norm_backward = norm_backward,
    .rope = rope,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .scale = scale_row,
    .dot = dot,
    .add = add,
    .sum_squares = sum_squares,
    .adamw = adamw,
};
