/* bench_train.c - tokens a second of whole training steps, against sgemm measured in the same run.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench_train [--layers N] [--width N] [--context N] [--batch N] [--steps N] [--threads N]
 * A Llama block of head width 64 with ffn = 8/3 width, tied byte vocabulary. A step is forward,
 * backward, gradient norm and AdamW. peak_bytes leaves out file-backed pages.
 *
 * Steps and runs of one product of 1024 x 1536 x 384 by OpenBLAS take turns, each as long as the
 * other, and of each the median of the fastest third counts (sgemm_gflops, percent_of_sgemm): other
 * programs only ever slow things down. sgemm_best_gflops is the fastest single product. */
#include <cblas.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "agent/train/model.h"
#include "kernels/kernels.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

struct bench {
    int64_t layers, width, context, batch, steps, threads;
};

static struct model_shape shape_of(const struct bench *b)
{
    int heads = (int)BT_MAX(b->width / 64, 1);

    return (struct model_shape){.layers = (int)b->layers,
                                .width = (int)b->width,
                                .heads = heads,
                                .kv_heads = heads,
                                .head_dim = (int)b->width / heads,
                                .ffn = (int)(b->width * 8 / 3 + 15) / 16 * 16,
                                .vocab = TOKEN_VOCAB,
                                .context = (int)b->context,
                                .tied = true,
                                .rope_theta = 10000,
                                .norm_eps = 1e-5};
}

static void one_step(struct model *m, const struct bench *b, float *moments, const int32_t *tokens,
                     int64_t step)
{
    double scale = 1.0 / (double)(b->batch * b->context);
    double squares;

    (void)model_gradient(m, tokens, tokens + 1, (int)b->batch, (int)b->context, (float)scale, true);
    squares = kern_sum_squares(m->grad, m->n_params);
    kern_adamw(&(struct kern_adamw){.w = m->w,
                                    .m = moments,
                                    .v = moments + m->n_params,
                                    .grad = m->grad,
                                    .count = m->n_params,
                                    .lr = 1e-3,
                                    .beta1 = 0.9,
                                    .beta2 = 0.95,
                                    .eps = 1e-8,
                                    .decay = 0.1,
                                    .grad_scale = squares > 1 ? 0.5 : 1,
                                    .step = step});
}

/* Resident pages of files (program text, shared libraries): not this run's own memory. */
static int64_t file_pages(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];
    long kib = 0;

    while (f && fgets(line, sizeof line, f)) {
        if (bt_starts(line, "RssFile:"))
            kib = strtol(line + 8, NULL, 10);
    }
    if (f)
        fclose(f);
    return kib * 1024;
}

static int64_t peak_bytes(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss * 1024 - file_pages();
}

/* ---- the ceiling ---- */

/* One sgemm of 1024 x 1536 x 384 with OpenBLAS' own threads, again and again. */
struct ceiling {
    float *a, *b, *c;
    int64_t best_us; /* of a single product */
};

enum { M = 1024, N = 1536, K = 384 };

static void ceiling_init(struct ceiling *g)
{
    *g = (struct ceiling){.a = kern_floats(M * K),
                          .b = kern_floats(N * K),
                          .c = kern_floats(M * N),
                          .best_us = INT64_MAX};
    kern_normal(g->a, M * K, 1, 1, 1);
    kern_normal(g->b, N * K, 1, 1, 2);
}

static void ceiling_done(struct ceiling *g)
{
    kern_free_floats(g->a, M * K);
    kern_free_floats(g->b, N * K);
    kern_free_floats(g->c, M * N);
}

/* Microseconds of one product, mean of as many as fill about a step's time. */
static double ceiling_window(struct ceiling *g, int64_t length_us)
{
    int64_t start = bt_mono_us(), last = start;
    int n = 0;

    do {
        int64_t now;

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, M, N, K, 1, g->a, K, g->b, K, 0, g->c,
                    N);
        now = bt_mono_us();
        g->best_us = BT_MIN(g->best_us, BT_MAX(now - last, 1));
        last = now;
        n++;
    } while (last - start < length_us);
    return (double)(last - start) / n;
}

static double product_gflops(double us)
{
    return 2e-3 * M * N * K / us;
}

/* ---- the steps ---- */

struct measured {
    double step_us, sgemm_us, best_us;
    int64_t peak_bytes;
};

static int by_time(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* Median of the fastest third. */
static double typical(double *took, int64_t n)
{
    qsort(took, (size_t)n, sizeof *took, by_time);
    return took[n / 6];
}

/* Steps and products take turns, as long as each other: what else the machine does slows both, and
 * both are judged by the same part of their times. */
static void measure(struct model *m, const struct bench *b, struct measured *ret)
{
    int64_t n = b->batch * b->context + 1;
    BT_AUTO int32_t *tokens = bt_new_n(int32_t, n);
    BT_AUTO double *took = bt_new_n(double, b->steps), *sgemm = bt_new_n(double, b->steps);
    float *moments = kern_floats(2 * m->n_params);
    struct ceiling g;

    for (int64_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(i * i % 251);
    one_step(m, b, moments, tokens, 1);
    one_step(m, b, moments, tokens, 2);
    ret->peak_bytes = peak_bytes(); /* the same in every step; without the ceiling's arrays */
    ceiling_init(&g);
    (void)ceiling_window(&g, 10000);
    for (int64_t i = 0; i < b->steps; i++) {
        int64_t start = bt_mono_us(), end;

        one_step(m, b, moments, tokens, i + 3);
        end = bt_mono_us();
        took[i] = (double)(end - start);
        sgemm[i] = ceiling_window(&g, end - start);
    }
    ceiling_done(&g);
    kern_free_floats(moments, 2 * m->n_params);
    ret->step_us = typical(took, b->steps);
    ret->sgemm_us = typical(sgemm, b->steps);
    ret->best_us = (double)g.best_us;
}

static void print(const struct bench *b, const struct model *m, const struct measured *r)
{
    double flops = model_flops_per_token(&m->shape, (int)b->context);
    double rate = (double)(b->batch * b->context) / r->step_us * 1e6;
    double sgemm = product_gflops(r->sgemm_us), best = product_gflops(r->best_us);
    int64_t acts = model_activation_bytes(&m->shape, (int)b->batch, (int)b->context);

    fprintf(stderr,
            "%.0f tok/s, %.1f ms a step, %.0f GFLOP/s of %.0f (%s, %d threads, BLAS for %s)\n",
            rate, r->step_us * 1e-3, rate * flops * 1e-9, sgemm, kern_isa(), kern_threads(),
            openblas_get_corename());
    printf("{\"bench\":\"train\",\"layers\":%" PRId64 ",\"width\":%" PRId64 ",\"context\":%" PRId64
           ",\"batch\":%" PRId64 ",\"params\":%zu,\"flops_per_token\":%.0f,\"tok_per_s\":%.0f,"
           "\"gflops\":%.1f,\"sgemm_gflops\":%.1f,\"percent_of_sgemm\":%.1f,"
           "\"sgemm_best_gflops\":%.1f,\"percent_of_sgemm_best\":%.1f,\"blas\":\"%s\","
           "\"peak_bytes\":%" PRId64 ",\"activation_bytes\":%" PRId64
           ",\"bytes_per_param_without_activations\":%.2f}\n",
           b->layers, b->width, b->context, b->batch, m->n_params, flops, rate, rate * flops * 1e-9,
           sgemm, rate * flops * 1e-7 / sgemm, best, rate * flops * 1e-7 / best,
           openblas_get_corename(), r->peak_bytes, acts,
           (double)(r->peak_bytes - acts) / (double)m->n_params);
}

static void run(const struct bench *b)
{
    struct model_shape s = shape_of(b);
    struct measured result = {0};
    struct model m;

    kern_init((int)b->threads);
    model_init(&m, &s, (int)b->batch, true);
    model_random(&m, 1);
    measure(&m, b, &result);
    print(b, &m, &result);
    model_done(&m);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"layers", required_argument, NULL, 'l'},
        {"width", required_argument, NULL, 'w'},
        {"context", required_argument, NULL, 't'},
        {"batch", required_argument, NULL, 'b'},
        {"steps", required_argument, NULL, 's'},
        {"threads", required_argument, NULL, 'j'},
        {0},
    };
    struct bench b = {.layers = 6, .width = 384, .context = 256, .batch = 4, .steps = 30};
    int option;

    kern_wait_patiently(argv);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        int64_t *to = option == 'l'   ? &b.layers
                      : option == 'w' ? &b.width
                      : option == 't' ? &b.context
                      : option == 'b' ? &b.batch
                      : option == 's' ? &b.steps
                      : option == 'j' ? &b.threads
                                      : NULL;
        struct bt_err err = {0};

        if (!to || bt_parse_i64(optarg, "option", to == &b.threads ? 0 : 1, 65536, to, &err) < 0) {
            fprintf(stderr, "bench_train: %s\n", to ? err.text : "wrong option");
            return 2;
        }
    }
    run(&b);
    return 0;
}
