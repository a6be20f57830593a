/* Eyes for a frozen language model: gradients of every tensor, closed gates, who sees which image.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/train/flamingo.h"
#include "lib/base/mem.h"

enum { ROWS = 2, CONTEXT = 21, IMAGES = 3, SIZE = 6, PIXELS = SIZE * SIZE * 3, N = ROWS * CONTEXT };

static const struct model_shape lm_shape = {.layers = 3,
                                            .width = 24,
                                            .heads = 3,
                                            .kv_heads = 1,
                                            .head_dim = 6,
                                            .ffn = 40,
                                            .vocab = 320,
                                            .context = CONTEXT,
                                            .tied = true,
                                            .rope_theta = 10000,
                                            .norm_eps = 1e-5};
static const struct flamingo_shape shape = {.image = SIZE,
                                            .patch = 3,
                                            .width = 10,
                                            .heads = 2,
                                            .layers = 2,
                                            .latents = 3,
                                            .resampler = 2,
                                            .every = 2};

/* Row 0: 4 tokens, image 0 from there on; row 1: image 1, then image 2. */
static const struct kern_span text[] = {
    {.q = 4, .n_q = 17, .k = 0},
    {.q = 21, .n_q = 9, .k = 1},
    {.q = 30, .n_q = 12, .k = 2},
};

struct scene {
    struct model lm;
    struct flamingo f;
    float *pixels;
    const float *images[IMAGES];
    int32_t in[N], target[N];
    struct flamingo_batch batch;
};

static void open_scene(struct scene *s, float gates)
{
    struct model_tensor t;

    memset(s, 0, sizeof *s);
    model_init(&s->lm, &lm_shape, ROWS, MODEL_FROZEN);
    model_random(&s->lm, 7);
    for (size_t i = 0; i < s->lm.n_params; i++)
        s->lm.w[i] *= 5;
    flamingo_init(&s->f, &shape, &s->lm, ROWS, IMAGES);
    flamingo_random(&s->f, 11);
    for (int i = 0; flamingo_tensor(&s->f, i, &t); i++) {
        for (int k = 0; strstr(t.name, "gates") && k < t.rows; k++)
            s->f.w[t.offset + (size_t)k] = gates * (float)(k ? -0.8 : 1);
    }
    s->pixels = kern_floats((size_t)IMAGES * PIXELS);
    kern_normal(s->pixels, (size_t)IMAGES * PIXELS, 0.6, 3, 1);
    for (int i = 0; i < IMAGES; i++)
        s->images[i] = s->pixels + (size_t)i * PIXELS;
    for (int i = 0; i < N; i++) {
        s->in[i] = i * 37 % 259;
        s->target[i] = i % 7 == 6 ? -1 : i * 53 % 259;
    }
    s->batch = (struct flamingo_batch){.images = s->images,
                                       .n_images = IMAGES,
                                       .in = s->in,
                                       .target = s->target,
                                       .b = ROWS,
                                       .t = CONTEXT,
                                       .text = text,
                                       .n_text = BT_ARRAY_LEN(text)};
}

static void close_scene(struct scene *s)
{
    kern_free_floats(s->pixels, (size_t)IMAGES * PIXELS);
    flamingo_done(&s->f);
    model_done(&s->lm);
}

/* Along the gradient of one tensor the loss rises by that gradient's squared length. */
static void every_tensor_has_the_gradient_that_differences_say(void **state)
{
    struct scene s;
    struct model_tensor t;
    int n = 0;

    (void)state;
    open_scene(&s, 0.6f);
    (void)flamingo_gradient(&s.f, &s.batch, 1, true);
    for (; flamingo_tensor(&s.f, n, &t); n++) {
        size_t size = (size_t)t.rows * (size_t)(t.cols ? t.cols : 1);
        BT_AUTO float *w = bt_memdup(s.f.w + t.offset, size * sizeof(float));
        double square = 0, side[2], step;

        for (size_t i = 0; i < size; i++)
            square += pow((double)s.f.grad[t.offset + i], 2);
        if (!(square > 0))
            fail_msg("%s gets no gradient", t.name);
        step = 0.01 / square; /* the loss moves by about 0.01 */
        step = fmin(step, 0.02 / sqrt(square));
        for (int k = 0; k < 2; k++) {
            for (size_t i = 0; i < size; i++)
                s.f.w[t.offset + i] = w[i] + (float)(k ? step : -step) * s.f.grad[t.offset + i];
            side[k] = flamingo_loss(&s.f, &s.batch, NULL);
        }
        memcpy(s.f.w + t.offset, w, size * sizeof(float));
        if (fabs((side[1] - side[0]) / (2 * step) / square - 1) > 0.03)
            fail_msg("%s: slope %g, squared gradient %g", t.name, (side[1] - side[0]) / (2 * step),
                     square);
    }
    assert_int_equal(n, 5 + 2 * 7 + 2 * 7 + 2 * 8);
    close_scene(&s);
}

static void closed_gates_leave_the_language_model_as_it_is(void **state)
{
    struct scene s;
    double with, without;

    (void)state;
    open_scene(&s, 0);
    with = flamingo_loss(&s.f, &s.batch, NULL);
    s.lm.insert = NULL;
    without = model_loss(&s.lm, s.in, s.target, ROWS, CONTEXT, NULL);
    assert_true(fabs(with / without - 1) < 1e-6);
    close_scene(&s);
}

static void text_sees_the_image_before_it_and_no_other(void **state)
{
    float before[N], after[N];
    struct scene s;

    (void)state;
    open_scene(&s, 0.9f);
    (void)flamingo_loss(&s.f, &s.batch, before);
    for (int image = 0; image < IMAGES; image++) {
        const struct kern_span *sees = &text[image];
        float *pixel = &s.pixels[(size_t)image * PIXELS + 5], was = *pixel;

        *pixel += 3;
        (void)flamingo_loss(&s.f, &s.batch, after);
        for (int i = 0; i < N; i++) {
            /* what follows in the same sequence may have heard of it from the tokens before */
            bool may = i >= sees->q && i / CONTEXT == sees->q / CONTEXT;

            if (!may)
                assert_true(before[i] == after[i]);
        }
        assert_true(before[sees->q + 1] != after[sees->q + 1]);
        *pixel = was;
    }
    close_scene(&s);
}

static void gradients_add_up_and_come_out_the_same_twice(void **state)
{
    struct scene s;
    BT_AUTO float *once = NULL;
    size_t bytes;

    (void)state;
    open_scene(&s, 0.6f);
    bytes = s.f.n_params * sizeof(float);
    (void)flamingo_gradient(&s.f, &s.batch, 1, true);
    once = bt_memdup(s.f.grad, bytes);
    (void)flamingo_gradient(&s.f, &s.batch, 1, true);
    assert_memory_equal(once, s.f.grad, bytes);
    (void)flamingo_gradient(&s.f, &s.batch, 1, false);
    for (size_t i = 0; i < s.f.n_params; i++)
        assert_true(fabs((double)s.f.grad[i] - 2 * (double)once[i]) <=
                    1e-4 * (fabs((double)once[i]) + 1e-2));
    close_scene(&s);
}

static int set_up(void **state)
{
    (void)state;
    kern_init(2);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_has_the_gradient_that_differences_say),
        cmocka_unit_test(closed_gates_leave_the_language_model_as_it_is),
        cmocka_unit_test(text_sees_the_image_before_it_and_no_other),
        cmocka_unit_test(gradients_add_up_and_come_out_the_same_twice),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
