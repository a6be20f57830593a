/* bench_kernels.c - each kernel's bandwidth or arithmetic rate, against what this machine can do.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench_kernels [--device cpu|cuda] [--rows N] [--threads N]
 * Memory-bound kernels count the bytes that must cross the processor once and are
 * set against a copy of arrays of the same size, products against one sgemm of 1024 x 1536 x 384
 * with OpenBLAS' own threads; both measured in the same run. rel_error is
 * against float64 on a part of the output. Best of repeated calls. */
#include <cblas.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/kernels.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/bench/bench_kernels_cuda.h"

enum { C = 384, F = 1024, V = 320, T = 256, HEADS = 6, D = 64, BUDGET_US = 400000 };

struct buffers {
    int n; /* rows */
    float *a, *b, *out, *gu, *h, *qkv, *dqkv, *att, *dout, *lse, *scratch, *w, *rstd, *partial;
    float *cos, *sin, *chunk, *arena[4];
    int32_t *ids;
    size_t arena_n;
};

static struct buffers s;
static double ceiling_gb, ceiling_gflops;

/* Seconds of the fastest call. */
static double best_of(void (*call)(void))
{
    int64_t end = bt_mono_us() + BUDGET_US, best = INT64_MAX;

    call();
    do {
        int64_t t = bt_mono_us();

        call();
        best = BT_MIN(best, bt_mono_us() - t);
    } while (bt_mono_us() < end);
    return (double)BT_MAX(best, 1) * 1e-6;
}

struct kernel {
    const char *name;
    bool product;
    double amount; /* bytes or operations of a call */
    void (*call)(void);
    double (*error)(void); /* after a call */
};

static void emit(const struct kernel *k, const char *shape)
{
    double rate = k->amount / best_of(k->call) * 1e-9;
    double ceiling = k->product ? ceiling_gflops : ceiling_gb, error = k->error();
    const char *name = k->name;
    bool product = k->product;

    printf("{\"bench\":\"kernel\",\"name\":\"%s\",\"device\":\"cpu\",\"shape\":\"%s\",\"%s\":%.4g,"
           "\"ceiling\":%.4g,\"percent_of_ceiling\":%.1f,\"rel_error\":%.2g}\n",
           name, shape, product ? "tflops" : "gb_per_s", product ? rate * 1e-3 : rate,
           product ? ceiling * 1e-3 : ceiling, 100 * rate / ceiling, error);
    fprintf(stderr, "%-24s %-28s %8.1f %s  %5.1f %%  error %.2g\n", name, shape, rate,
            product ? "GFLOP/s" : "GB/s   ", 100 * rate / ceiling, error);
    if (!(error < 1e-3))
        exit(1);
}

/* ---- the calls ---- */

static void call_copy(void)
{
    size_t n = (size_t)s.n * C;

#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i += C)
        memcpy(s.out + i, s.a + i, C * sizeof(float));
}

static void call_sgemm(void)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, 1024, 1536, 384, 1, s.arena[0], 384,
                s.arena[1], 384, 0, s.gu, 1536);
}

static void call_norm(void)
{
    kern_add_norm(&(struct kern_add_norm){.out = s.out,
                                          .sum = s.h,
                                          .rstd = s.rstd,
                                          .x = s.a,
                                          .y = s.b,
                                          .w = s.w,
                                          .n = s.n,
                                          .c = C,
                                          .eps = 1e-5f});
}

static void call_norm_backward(void)
{
    kern_norm_backward(&(struct kern_norm_backward){.dsum = s.out,
                                                    .dw = s.w + C,
                                                    .partial = s.partial,
                                                    .dout = s.dout,
                                                    .sum = s.a,
                                                    .rstd = s.rstd,
                                                    .w = s.w,
                                                    .n = s.n,
                                                    .c = C});
}

static void call_rope(void)
{
    kern_rope(&(struct kern_rope) {
        .x = s.dqkv, .cos = s.cos, .sin = s.sin, .n = s.n, .t = T
        , .stride = 3 * C, .heads = 2 * HEADS, .d = D
    });
}

static void call_swiglu(void)
{
    kern_swiglu(s.h, s.gu, s.n, F);
}

static void call_swiglu_backward(void)
{
    kern_swiglu_backward(s.gu, s.h, s.n, F);
}

static void call_attention(void)
{
    kern_attention(&(struct kern_attention) {
        .qkv = s.qkv, .out = s.att, .lse = s.lse, .scratch = s.scratch, .b = s.n / T
        , .t = T
        , .heads = HEADS, .kv_heads = HEADS, .d = D
    });
}

static void call_attention_backward(void)
{
    kern_attention_backward(&(struct kern_attention_backward) {
        .dqkv = s.dqkv, .qkv = s.qkv, .out = s.att, .lse = s.lse, .dout = s.dout,
        .scratch = s.scratch, .b = s.n / T
        , .t = T
        , .heads = HEADS, .kv_heads = HEADS, .d = D
    });
}

static void call_linear(void)
{
    kern_linear(s.gu, s.a, s.arena[0], s.n, C, 2 * F);
}

static void call_linear_dw(void)
{
    kern_linear_dw(s.arena[3], s.gu, s.a, s.n, C, 2 * F, 0);
}

static void call_loss(void)
{
    (void)kern_linear_loss(&(struct kern_linear_loss){.x = s.a,
                                                      .w = s.arena[0],
                                                      .target = s.ids,
                                                      .dx = s.out,
                                                      .dw = s.arena[3],
                                                      .scale = 1,
                                                      .chunk = s.chunk,
                                                      .n = s.n,
                                                      .c = C,
                                                      .v = V});
}

static void call_adamw(void)
{
    kern_adamw(&(struct kern_adamw){.w = s.arena[0],
                                    .m = s.arena[1],
                                    .v = s.arena[2],
                                    .grad = s.arena[3],
                                    .count = s.arena_n,
                                    .lr = 1e-9,
                                    .beta1 = 0.9,
                                    .beta2 = 0.95,
                                    .eps = 1e-8,
                                    .grad_scale = 1,
                                    .step = 1});
}

static volatile double sink;

static void call_sum_squares(void)
{
    sink = kern_sum_squares(s.arena[3], s.arena_n);
}

/* ---- float64 checks of a row or two ---- */

static double relative(double got, double want, double scale)
{
    return isfinite(got) ? fabs(got - want) / scale : INFINITY;
}

static double error_norm(void)
{
    double worst = 0, squares = 0;
    const float *x = s.a + (size_t)(s.n - 1) * C, *y = s.b + (size_t)(s.n - 1) * C;

    for (int i = 0; i < C; i++)
        squares += ((double)x[i] + (double)y[i]) * ((double)x[i] + (double)y[i]);
    squares = 1 / sqrt(squares / C + (double)1e-5f);
    for (int i = 0; i < C; i++)
        worst = fmax(worst, relative((double)s.out[(size_t)(s.n - 1) * C + i],
                                     ((double)x[i] + (double)y[i]) * squares * (double)s.w[i], 1));
    return worst;
}

/* dw of the first columns over all rows: the two-stage sum. */
static double error_norm_backward(void)
{
    double worst = 0;

    for (int j = 0; j < 8; j++) {
        double want = 0, size = 0;

        for (int i = 0; i < s.n; i++) {
            double term = (double)s.dout[(size_t)i * C + j] * (double)s.a[(size_t)i * C + j] *
                          (double)s.rstd[i];

            want += term;
            size += fabs(term);
        }
        worst = fmax(worst, relative((double)s.w[C + j], want, size));
    }
    return worst;
}

static double error_swiglu(void)
{
    double worst = 0;

    for (int j = 0; j < F; j++) {
        double g = (double)s.gu[(size_t)(s.n - 1) * 2 * F + j];
        double u = (double)s.gu[(size_t)(s.n - 1) * 2 * F + F + j];

        worst =
            fmax(worst, relative((double)s.h[(size_t)(s.n - 1) * F + j], g / (1 + exp(-g)) * u, 1));
    }
    return worst;
}

/* The last query of the last head. */
static double error_attention(void)
{
    const float *row = s.qkv + (size_t)(s.n - T) * 3 * C;
    const float *q = row + (size_t)(T - 1) * 3 * C + (HEADS - 1) * D;
    double p[T], sum = 0, worst = 0;

    for (int j = 0; j < T; j++) {
        const float *k = row + (size_t)j * 3 * C + C + (HEADS - 1) * D;

        p[j] = 0;
        for (int e = 0; e < D; e++)
            p[j] += (double)q[e] * (double)k[e];
        sum += p[j] = exp(p[j] / 8);
    }
    for (int e = 0; e < D; e++) {
        double want = 0;

        for (int j = 0; j < T; j++)
            want += p[j] / sum * (double)row[(size_t)j * 3 * C + 2 * C + (HEADS - 1) * D + e];
        worst = fmax(worst,
                     relative((double)s.att[(size_t)(s.n - 1) * C + (HEADS - 1) * D + e], want, 1));
    }
    return worst;
}

static double error_linear(void)
{
    double worst = 0;

    for (int j = 0; j < 64; j++) {
        double want = 0;

        for (int e = 0; e < C; e++)
            want += (double)s.a[(size_t)(s.n - 1) * C + e] * (double)s.arena[0][(size_t)j * C + e];
        worst = fmax(worst, relative((double)s.gu[(size_t)(s.n - 1) * 2 * F + j], want, sqrt(C)));
    }
    return worst;
}

/* ---- */

static void allocate(int n)
{
    size_t rows = (size_t)n;
    float **const arrays[] = {&s.a, &s.b, &s.out, &s.gu, &s.h, &s.qkv, &s.dqkv, &s.att, &s.dout};
    const size_t widths[] = {C, C, C, 2 * F, F, 3 * C, 3 * C, C, C};

    s.n = n;
    for (size_t i = 0; i < BT_ARRAY_LEN(arrays); i++) {
        *arrays[i] = kern_floats(rows * widths[i]);
        kern_normal(*arrays[i], rows * widths[i], 1, 5, i);
    }
    s.lse = kern_floats(rows * HEADS);
    s.scratch = kern_floats(kern_attention_scratch(T));
    s.w = kern_floats(2 * C);
    kern_normal(s.w, 2 * C, 1, 5, 90);
    s.rstd = kern_floats(rows);
    s.partial = kern_floats(kern_norm_partial(n, C));
    s.cos = kern_floats(T * D / 2);
    s.sin = kern_floats(T * D / 2);
    kern_rope_table(s.cos, s.sin, T, D, 10000);
    s.chunk = kern_floats(kern_linear_loss_chunk(n, V));
    s.ids = bt_new_n(int32_t, rows);
    for (int i = 0; i < n; i++)
        s.ids[i] = i * 7 % V;
    s.arena_n = 10744704;
    for (int i = 0; i < 4; i++) {
        s.arena[i] = kern_floats(s.arena_n);
        kern_normal(s.arena[i], s.arena_n, 1, 6, (uint64_t)i);
    }
    for (size_t i = 0; i < s.arena_n; i++)
        s.arena[2][i] *= s.arena[2][i]; /* second moments */
}

/* One rotation of a known row. */
static double error_rope(void)
{
    float row[D];
    double worst = 0;

    kern_normal(row, D, 1, 8, 1);
    kern_rope(&(struct kern_rope){.x = row,
                                  .cos = s.cos + 7 * D / 2,
                                  .sin = s.sin + 7 * D / 2,
                                  .n = 1,
                                  .t = 1,
                                  .stride = D,
                                  .heads = 1,
                                  .d = D});
    for (int i = 0; i < D / 2; i++) {
        float before[D];
        double angle = 7 * pow(10000, -2.0 * i / D);

        kern_normal(before, D, 1, 8, 1);
        worst = fmax(
            worst,
            relative((double)row[i],
                     (double)before[i] * cos(angle) - (double)before[i + D / 2] * sin(angle), 1));
    }
    return worst;
}

static double error_swiglu_backward(void)
{
    float gu[2 * F], dh[F], before[2 * F];
    double worst = 0;

    kern_normal(gu, 2 * F, 1, 8, 2);
    kern_normal(dh, F, 1, 8, 3);
    memcpy(before, gu, sizeof gu);
    kern_swiglu_backward(gu, dh, 1, F);
    for (int i = 0; i < F; i++) {
        double g = (double)before[i], sigma = 1 / (1 + exp(-g));
        double want = (double)dh[i] * (double)before[F + i] * sigma * (1 + g * (1 - sigma));

        worst = fmax(worst, relative((double)gu[i], want, 1));
        worst = fmax(worst, relative((double)gu[F + i], (double)dh[i] * g * sigma, 1));
    }
    return worst;
}

static double error_adamw(void)
{
    float w = 0.5f, m = 0.25f, v = 0.125f, grad = -0.75f;
    double mean = 0.9 * 0.25 + 0.1 * -0.75, square = 0.95 * 0.125 + 0.05 * 0.75 * 0.75;
    double want =
        0.5 -
        1e-2 * (mean / (1 - pow(0.9, 3)) / (sqrt(square / (1 - pow(0.95, 3))) + 1e-8) + 0.1 * 0.5);

    kern_adamw(&(struct kern_adamw){.w = &w,
                                    .m = &m,
                                    .v = &v,
                                    .grad = &grad,
                                    .count = 1,
                                    .lr = 1e-2,
                                    .beta1 = 0.9,
                                    .beta2 = 0.95,
                                    .eps = 1e-8,
                                    .decay = 0.1,
                                    .grad_scale = 1,
                                    .step = 3});
    return relative((double)w, want, fabs(want));
}

static double error_sum_squares(void)
{
    double want = 0;

    for (size_t i = 0; i < s.arena_n; i++)
        want += (double)s.arena[3][i] * (double)s.arena[3][i];
    return relative(sink, want, want);
}

static double error_linear_dw(void)
{
    double worst = 0;

    for (int j = 0; j < 16; j++) {
        double want = 0, size = 0;

        for (int i = 0; i < s.n; i++) {
            double term = (double)s.gu[(size_t)i * 2 * F] * (double)s.a[(size_t)i * C + j];

            want += term;
            size += fabs(term);
        }
        worst = fmax(worst, relative((double)s.arena[3][j], want, size));
    }
    return worst;
}

/* dx of the last row: dlogits (softmax - one hot) times the weights. */
static double error_loss(void)
{
    const float *x = s.a + (size_t)(s.n - 1) * C, *w = s.arena[0];
    double p[V], sum = 0, max = -INFINITY, worst = 0;

    for (int v = 0; v < V; v++) {
        p[v] = 0;
        for (int e = 0; e < C; e++)
            p[v] += (double)x[e] * (double)w[(size_t)v * C + e];
        max = fmax(max, p[v]);
    }
    for (int v = 0; v < V; v++)
        sum += p[v] = exp(p[v] - max);
    for (int e = 0; e < C; e++) {
        double want = -(double)w[(size_t)s.ids[s.n - 1] * C + e];

        for (int v = 0; v < V; v++)
            want += p[v] / sum * (double)w[(size_t)v * C + e];
        worst = fmax(worst, relative((double)s.out[(size_t)(s.n - 1) * C + e], want, 1));
    }
    return worst;
}

/* Only the last query sees the last key: dv = p dout. */
static double error_attention_backward(void)
{
    const float *row = s.qkv + (size_t)(s.n - 1) * 3 * C;
    const float *dv = s.dqkv + (size_t)(s.n - 1) * 3 * C + 2 * C;
    double score = 0, p, worst = 0;

    for (int e = 0; e < D; e++)
        score += (double)row[e] * (double)row[C + e] / 8;
    p = exp(score - (double)s.lse[((size_t)(s.n / T) - 1) * HEADS * T + T - 1]);
    for (int e = 0; e < D; e++)
        worst = fmax(worst, relative((double)dv[e], p * (double)s.dout[(size_t)(s.n - 1) * C + e],
                                     p + 1e-9));
    return worst;
}

static void run_all(double n)
{
    const double arena_n = (double)s.arena_n;
    const struct kernel memory[] = {
        {"add_norm", false, 16 * n * C, call_norm, error_norm},
        {"norm_backward", false, 16 * n * C, call_norm_backward, error_norm_backward},
        {"rope", false, 16 * n * C, call_rope, error_rope},
        {"swiglu", false, 12 * n * F, call_swiglu, error_swiglu},
        {"swiglu_backward", false, 20 * n * F, call_swiglu_backward, error_swiglu_backward},
        {"adamw", false, 28 * arena_n, call_adamw, error_adamw},
        {"sum_squares", false, 4 * arena_n, call_sum_squares, error_sum_squares},
    };
    const struct kernel products[] = {
        {"linear", true, 4 * n * C * F, call_linear, error_linear},
        {"linear_dw", true, 4 * n * C * F, call_linear_dw, error_linear_dw},
        {"linear_loss", true, 6 * n * C * V, call_loss, error_loss},
        {"attention", true, 2 * n * T * C, call_attention, error_attention},
        {"attention_backward", true, 5 * n * T * C, call_attention_backward,
         error_attention_backward},
    };
    char shape[64];

    for (size_t i = 0; i < BT_ARRAY_LEN(memory); i++) {
        if (i < 5)
            snprintf(shape, sizeof shape, "%dx%d", s.n, i < 3 ? C : F);
        else
            snprintf(shape, sizeof shape, "%zu", s.arena_n);
        emit(&memory[i], shape);
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(products); i++) {
        if (i < 3)
            snprintf(shape, sizeof shape, "%dx%dx%d", s.n, i < 2 ? 2 * F : V, C);
        else
            snprintf(shape, sizeof shape, "b%d t%d h%d d%d causal", s.n / T, T, HEADS, D);
        emit(&products[i], shape);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"rows", required_argument, NULL, 'r'},
                                            {"threads", required_argument, NULL, 'j'},
                                            {0}};
    int64_t rows = 16384, threads = 0;
    bool cuda = false;
    int option, rc = 0;

    kern_wait_patiently(argv);
    while (rc == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'r')
            rc = bt_parse_i64(optarg, "--rows", T, 1 << 20, &rows, NULL);
        else if (option == 'j')
            rc = bt_parse_i64(optarg, "--threads", 0, 1024, &threads, NULL);
        else if (option == 'd' && bt_streq(optarg, "cuda"))
            cuda = true;
        else if (option != 'd' || !bt_streq(optarg, "cpu"))
            rc = -1;
    }
    if (rc < 0) {
        fprintf(stderr, "bench_kernels [--device cpu|cuda] [--rows N] [--threads N]\n");
        return 2;
    }
    kern_init((int)threads);
    if (cuda)
        return bench_kernels_cuda();
    allocate((int)(rows / T * T));
    ceiling_gb = 8.0 * s.n * C / best_of(call_copy) * 1e-9;
    ceiling_gflops = 2.0 * 1024 * 1536 * 384 / best_of(call_sgemm) * 1e-9;
    fprintf(stderr, "%s, %d threads: copy %.1f GB/s, sgemm %.0f GFLOP/s\n", kern_isa(),
            kern_threads(), ceiling_gb, ceiling_gflops);
    run_all(s.n);
    return 0;
}
