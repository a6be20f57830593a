/* The GPU kernels' own text, run thread by thread on the CPU, against their CPU references on odd
 * shapes; and the same on a real GPU where there is one.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/backend.h"
#include "kernels/kernels.h"
#include "lib/base/mem.h"
#include "tests/cuda_case.h"

static const struct {
    const char *name;
    int dims[CUDA_CASE_DIMS];
} shapes[] = {
    {"copy", {1000}},
    {"product", {3, 8, 16}},
    {"product", {65, 40, 24}},
    {"add_norm", {1, 8}},
    {"add_norm", {5, 264}},
    {"add_norm", {3, 4104}}, /* more packs than a block has threads */
    {"add_norm", {2, 16384}},
    {"norm_backward", {1, 8}},
    {"norm_backward", {17, 40}},   /* two parts, one of them short */
    {"norm_backward", {100, 264}}, /* parts that do not divide the rows */
    {"norm_backward", {3, 4104}},
    {"norm_backward", {530, 72}}, /* more parts than a group sums at once */
    {"rope", {7, 3, 3, 64, 1}},
    {"rope", {33, 11, 5, 128, 2}},
    {"attention", {1, 1, 1, 1, 64}},
    {"attention", {2, 65, 2, 1, 64}},
    {"attention", {1, 200, 3, 3, 64}},
    {"attention", {1, 130, 4, 2, 128}},
    {"attention_backward", {1, 1, 1, 1, 64}},
    {"attention_backward", {2, 65, 2, 1, 64}},
    {"attention_backward", {1, 200, 3, 3, 64}},
    {"attention_backward", {1, 130, 4, 2, 128}},
    {"attention_backward", {1, 33, 2, 2, 128}},
    {"swiglu", {3, 8}},
    {"swiglu", {37, 264}},
    {"swiglu_backward", {3, 8}},
    {"swiglu_backward", {37, 264}},
    {"embed_backward", {70, 24, 320}},
    {"linear_loss", {5, 16, 8}},
    {"linear_loss", {70, 40, 320}},
    {"linear_loss", {3, 8, 2056}}, /* several turns of a block over a row */
    {"adamw", {1, 0}},
    {"adamw", {1027, 1000}},
    {"adamw", {4096, 4096}},
    {"sum_squares", {3}},
    {"sum_squares", {70001}},
};

static void check_one(const struct cuda_ops *o, struct cuda *c, const char *name, const int *dims)
{
    const struct cuda_case *k = cuda_case_find(name);
    struct bt_err err = {0};
    struct cuda_result r;

    assert_non_null(k);
    if (k->run(o, c, dims, 0, &r, &err) < 0)
        fail_msg("%s: %s", name, err.text);
    if (!(r.error <= r.tolerance))
        fail_msg("%s %s: error %.3g above %.3g", name, r.shape, r.error, r.tolerance);
}

static void check_all(const struct cuda_ops *o, int turns)
{
    struct bt_err err = {0};
    struct cuda *c = NULL;

    if (o->open(0, &c, &err) < 0)
        fail_msg("%s", err.text);
    for (int turn = 0; turn < turns; turn++) {
        for (size_t i = 0; i < BT_ARRAY_LEN(shapes); i++)
            check_one(o, c, shapes[i].name, shapes[i].dims);
    }
    o->close(c);
}

static void emulated_kernels_agree_with_the_cpu(void **state)
{
    (void)state;
    check_all(bt_cuda_ops(), 2); /* orders of execution */
}

static void the_gpus_kernels_agree_with_the_cpu(void **state)
{
    const struct cuda_ops *o;
    struct bt_err err = {0};
    struct cuda *c = NULL;

    (void)state;
    if (cuda_load(&o, &err) < 0 || o->open(0, &c, &err) < 0) {
        fprintf(stderr, "# skipped: %s\n", err.text);
        skip();
    }
    o->close(c);
    check_all(o, 1);
}

/* Sums in parts are summed in the same order whatever the order in which blocks ran. */
static void the_same_inputs_give_the_same_bits(void **state)
{
    const struct cuda_ops *o = bt_cuda_ops();
    enum { N = 130, C = 264 };
    struct cuda *c = NULL;
    void *p[6];
    const size_t sizes[6] = {N * C * 2, N * C * 2, C * 2, N * 4, C * 4, 2048 * 4};
    float first[C], second[C];
    BT_AUTO float *x = bt_new_n(float, N *C);

    (void)state;
    assert_int_equal(o->open(0, &c, NULL), 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(
            o->alloc(c, i == 5 ? (size_t)cuda_norm_parts(N) * C * 4 : sizes[i], &p[i], NULL), 0);
    kern_normal(x, N * C, 1, 9, 9);
    o->round(c, p[0], x, N * C);
    kern_normal(x, N * C, 1, 9, 10);
    o->round(c, p[1], x, N * C);
    o->round(c, p[2], x, C);
    o->put(c, p[3], x, N * 4);
    for (int turn = 0; turn < 2; turn++) {
        o->norm_backward(c, &(struct cuda_norm_backward){.dsum = p[1],
                                                         .dsum_is_empty = true,
                                                         .dw = p[4],
                                                         .partial = p[5],
                                                         .dout = p[0],
                                                         .sum = p[0],
                                                         .w = p[2],
                                                         .rstd = p[3],
                                                         .n = N,
                                                         .c = C});
        assert_int_equal(o->get(c, turn ? second : first, p[4], sizeof first, NULL), 0);
    }
    assert_memory_equal(first, second, sizeof first);
    for (int i = 0; i < 6; i++)
        o->release(c, p[i]);
    o->close(c);
}

static void a_shape_that_the_kernels_do_not_know_is_refused_in_words(void **state)
{
    struct bt_err err = {0};

    (void)state;
    assert_int_equal(cuda_fits(192, 512, 3, 3, 64, 320, &err), 0);
    assert_int_equal(cuda_fits(192, 512, 3, 3, 48, 320, &err), -BT_ERR_SHAPE);
    assert_int_equal(cuda_fits(190, 512, 3, 3, 64, 320, &err), -BT_ERR_SHAPE);
    assert_non_null(strstr(err.text, "190"));
    assert_int_equal(cuda_fits(32768, 512, 3, 3, 64, 320, &err), -BT_ERR_SHAPE);
    assert_int_equal(cuda_fits(192, 512, 3, 2, 64, 320, &err), -BT_ERR_SHAPE);
}

static void rounding_to_bfloat16_is_to_nearest_even(void **state)
{
    static const struct {
        float x;
        kern_bf16 want;
    } cases[] = {
        {1.0f, 0x3f80}, {1.00390625f, 0x3f80}, {1.01171875f, 0x3f82}, {-1.0f, 0xbf80},
        {0.0f, 0},      {3.4e38f, 0x7f80},     {1.0078125f, 0x3f81},  {1.0039064f, 0x3f81}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        assert_int_equal(kern_to_bf16(cases[i].x), cases[i].want);
    assert_true(kern_from_bf16(kern_to_bf16(__builtin_nanf(""))) !=
                kern_from_bf16(kern_to_bf16(__builtin_nanf(""))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_to_bfloat16_is_to_nearest_even),
        cmocka_unit_test(a_shape_that_the_kernels_do_not_know_is_refused_in_words),
        cmocka_unit_test(emulated_kernels_agree_with_the_cpu),
        cmocka_unit_test(the_same_inputs_give_the_same_bits),
        cmocka_unit_test(the_gpus_kernels_agree_with_the_cpu),
    };

    kern_init(1); /* other threads would only spin while fibers switch */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
