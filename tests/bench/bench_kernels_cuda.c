/* bench_kernels_cuda.c - each GPU kernel's rate and error, beside what the device's memory and
 * cuBLASLt can do in the same run.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shapes are those of models of about 350 million and 1.1 billion weights, and
 * for attention those for which cuDNN's authors publish figures. An emulated
 * GPU gets small shapes: its times say nothing, its errors do. */
#include "tests/bench/bench_kernels_cuda.h"

#include <stdio.h>

#include "lib/base/str.h"
#include "tests/cuda_case.h"

enum { REPETITIONS = 20 };

struct shape {
    const char *name;
    int real[CUDA_CASE_DIMS], emulated[CUDA_CASE_DIMS];
};

static const struct shape shapes[] = {
    {"copy", {1 << 27}, {1 << 12}},
    {"product", {8192, 8192, 8192}, {64, 64, 64}},
    {"add_norm", {65536, 1024}, {64, 1024}},
    {"add_norm", {65536, 2048}, {64, 2048}},
    {"norm_backward", {65536, 1024}, {64, 1024}},
    {"norm_backward", {65536, 2048}, {64, 2048}},
    {"rope", {65536, 2048, 32, 64, 16}, {64, 32, 4, 64, 2}},
    {"swiglu", {65536, 2816}, {64, 512}},
    {"swiglu_backward", {65536, 2816}, {64, 512}},
    {"embed_backward", {65536, 1024, 320}, {64, 64, 320}},
    {"linear_loss", {65536, 1024, 320}, {64, 64, 320}},
    {"linear_loss", {8192, 1024, 32768}, {16, 64, 1024}},
    {"adamw", {1 << 27, 1 << 26}, {1 << 12, 1 << 11}},
    {"sum_squares", {1 << 27}, {1 << 12}},
    {"attention", {8, 2048, 16, 16, 64}, {1, 130, 2, 2, 64}},
    {"attention", {2, 2048, 64, 8, 128}, {1, 130, 4, 2, 128}},
    {"attention", {1, 8192, 64, 8, 128}, {1, 70, 4, 2, 128}},
    {"attention_backward", {8, 2048, 16, 16, 64}, {1, 130, 2, 2, 64}},
    {"attention_backward", {2, 2048, 64, 8, 128}, {1, 130, 4, 2, 128}},
    {"attention_backward", {1, 8192, 64, 8, 128}, {1, 70, 4, 2, 128}},
};

/* Ceilings: the first two rows. Returns whether the error is within its tolerance. */
static bool emit(const char *name, const struct cuda_result *r, const char *device,
                 double ceilings[2])
{
    bool flops = r->flops > 0;
    double rate = (flops ? r->flops : r->bytes) / (r->us > 0 ? r->us : 1) * 1e-3; /* 1e9 a second */

    if (ceilings[flops] == 0)
        ceilings[flops] = rate;
    printf("{\"bench\":\"kernel\",\"name\":\"%s\",\"device\":\"cuda\",\"gpu\":\"%s\",\"shape\":"
           "\"%s\",\"%s\":%.4g,\"us\":%.1f,\"ceiling\":%.4g,\"percent_of_ceiling\":%.1f,"
           "\"rel_error\":%.2g,\"tolerance\":%.2g}\n",
           name, device, r->shape, flops ? "tflops" : "gb_per_s", flops ? rate * 1e-3 : rate, r->us,
           flops ? ceilings[1] * 1e-3 : ceilings[0], 100 * rate / ceilings[flops], r->error,
           r->tolerance);
    fflush(stdout);
    fprintf(stderr, "%-20s %-30s %8.1f %s %5.1f %%  error %.2g of %.2g\n", name, r->shape,
            flops ? rate * 1e-3 : rate, flops ? "TFLOP/s" : "GB/s   ", 100 * rate / ceilings[flops],
            r->error, r->tolerance);
    return r->error <= r->tolerance;
}

int bench_kernels_cuda(void)
{
    const struct cuda_ops *o;
    struct cuda_about about;
    struct bt_err err = {0};
    struct cuda *c = NULL;
    double ceilings[2] = {0};
    int wrong = 0;

    if (cuda_load(&o, &err) < 0 || o->open(0, &c, &err) < 0) {
        fprintf(stderr, "bench_kernels: %s\n", err.text);
        return 2;
    }
    o->about(c, &about);
    fprintf(stderr, "%s, sm_%d%d, %d processors; %s\n", about.name, about.major, about.minor,
            about.processors, about.versions);
    for (size_t i = 0; i < BT_ARRAY_LEN(shapes); i++) {
        struct cuda_result r;

        if (cuda_case_find(shapes[i].name)
                ->run(o, c, about.emulated ? shapes[i].emulated : shapes[i].real,
                      about.emulated ? 1 : REPETITIONS, &r, &err) < 0) {
            fprintf(stderr, "%s: %s\n", shapes[i].name, err.text);
            wrong++;
            break; /* the device remembers a failure */
        }
        wrong += !emit(shapes[i].name, &r, about.name, ceilings);
    }
    o->close(c);
    return wrong > 0;
}
