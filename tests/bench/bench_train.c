/* bench_train.c - tokens a second of whole training steps, against sgemm measured in the same run.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench_train [--layers N] [--width N] [--context N] [--batch N] [--steps N] [--threads N]
 * A Llama block of head width 64 with ffn = 8/3 width, tied byte vocabulary. A step is forward,
 * backward, gradient norm and AdamW. peak_bytes leaves out file-backed pages. The best third of the
 * steps counts: other programs on the machine only ever slow a step down. */
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

static int by_time(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

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

/* Median of the fastest third, in seconds. */
static double measure(struct model *m, const struct bench *b)
{
    int64_t n = b->batch * b->context + 1;
    BT_AUTO int32_t *tokens = bt_new_n(int32_t, n);
    BT_AUTO int64_t *took = bt_new_n(int64_t, b->steps);
    float *moments = kern_floats(2 * m->n_params);

    for (int64_t i = 0; i < n; i++)
        tokens[i] = (int32_t)(i * i % 251);
    one_step(m, b, moments, tokens, 1);
    for (int64_t i = 0; i < b->steps; i++) {
        took[i] = bt_mono_us();
        one_step(m, b, moments, tokens, i + 2);
        took[i] = bt_mono_us() - took[i];
    }
    kern_free_floats(moments, 2 * m->n_params);
    qsort(took, (size_t)b->steps, sizeof *took, by_time);
    return (double)took[b->steps / 6] * 1e-6;
}

/* GFLOP/s of one sgemm of 1024 x 1536 x 384 with OpenBLAS' own threads, best of a second. */
static double measure_sgemm(void)
{
    enum { M = 1024, N = 1536, K = 384 };
    float *a = kern_floats(M * K), *b = kern_floats(N * K), *c = kern_floats(M * N);
    int64_t best = INT64_MAX, end = bt_mono_us() + BT_US_PER_S;

    kern_normal(a, M * K, 1, 1, 1);
    kern_normal(b, N * K, 1, 1, 2);
    while (bt_mono_us() < end) {
        int64_t t = bt_mono_us();

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, M, N, K, 1, a, K, b, K, 0, c, N);
        best = BT_MIN(best, bt_mono_us() - t);
    }
    kern_free_floats(a, M * K);
    kern_free_floats(b, N * K);
    kern_free_floats(c, M * N);
    return 2e-3 * M * N * K / (double)BT_MAX(best, 1);
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

static void run(const struct bench *b)
{
    struct model_shape s = shape_of(b);
    double flops = model_flops_per_token(&s, (int)b->context), sgemm, step_s, rate;
    int64_t acts = model_activation_bytes(&s, (int)b->batch, (int)b->context);
    struct rusage after;
    int64_t peak;
    struct model m;

    kern_init((int)b->threads);
    sgemm = measure_sgemm();
    model_init(&m, &s, (int)b->batch, true);
    model_random(&m, 1);
    step_s = measure(&m, b);
    getrusage(RUSAGE_SELF, &after);
    sgemm = BT_MAX(sgemm, measure_sgemm());
    peak = after.ru_maxrss * 1024 - file_pages();
    rate = (double)(b->batch * b->context) / step_s;
    fprintf(stderr, "%.0f tok/s, %.1f ms a step, %.0f GFLOP/s of %.0f (%s, %d threads)\n", rate,
            step_s * 1e3, rate * flops * 1e-9, sgemm, kern_isa(), kern_threads());
    printf("{\"bench\":\"train\",\"layers\":%" PRId64 ",\"width\":%" PRId64 ",\"context\":%" PRId64
           ",\"batch\":%" PRId64 ",\"params\":%zu,\"flops_per_token\":%.0f,\"tok_per_s\":%.0f,"
           "\"gflops\":%.1f,\"sgemm_gflops\":%.1f,\"percent_of_sgemm\":%.1f,\"peak_bytes\":%" PRId64
           ","
           "\"activation_bytes\":%" PRId64 ",\"bytes_per_param_without_activations\":%.2f}\n",
           b->layers, b->width, b->context, b->batch, m.n_params, flops, rate, rate * flops * 1e-9,
           sgemm, rate * flops * 1e-7 / sgemm, peak, acts,
           (double)(peak - acts) / (double)m.n_params);
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
