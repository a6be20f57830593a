/* The whole model: gradients, names, sizes, weights on disk.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/train/model.h"
#include "agent/train/safetensors.h"
#include "kernels/kernels.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

static const struct model_shape shapes[] = {
    {.layers = 2,
     .width = 24,
     .heads = 3,
     .kv_heads = 1,
     .head_dim = 6,
     .ffn = 40,
     .vocab = 320,
     .context = 13,
     .tied = true,
     .rope_theta = 10000,
     .norm_eps = 1e-5},
    {.layers = 3,
     .width = 16,
     .heads = 2,
     .kv_heads = 2,
     .head_dim = 10,
     .ffn = 23,
     .vocab = 320,
     .context = 70,
     .tied = false,
     .rope_theta = 500,
     .norm_eps = 1e-6},
};

static void fill_tokens(int32_t *in, int32_t *target, int n)
{
    for (int i = 0; i < n; i++) {
        in[i] = i * 37 % 259;
        target[i] = i % 7 == 6 ? -1 : i * 53 % 259;
    }
}

/* The derivative of the loss along the gradient is the gradient's squared length. */
static void gradients_point_where_differences_say(void **state)
{
    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        enum { ROWS = 2 };
        int t = shapes[s].context, n = ROWS * t;
        BT_AUTO int32_t *in = bt_new_n(int32_t, n), *target = bt_new_n(int32_t, n);
        struct model m;

        fill_tokens(in, target, n);
        model_init(&m, &shapes[s], ROWS, true);
        model_random(&m, 7);
        for (size_t i = 0; i < m.n_params; i++)
            m.w[i] *= 5; /* away from the flat start */
        (void)model_gradient(&m, in, target, ROWS, t, 1, true);
        for (int direction = 0; direction < 4; direction++) {
            BT_AUTO float *d = bt_new_n(float, m.n_params), *w = NULL;
            double slope = 0, length = 0, side[2], step;

            kern_normal(d, m.n_params, 1, 99, (uint64_t)direction);
            w = bt_memdup(m.w, m.n_params * sizeof(float));
            for (size_t i = 0; i < m.n_params; i++) {
                d[i] = direction == 0 ? m.grad[i] : d[i];
                slope += (double)d[i] * (double)m.grad[i];
                length += (double)d[i] * (double)d[i];
            }
            step = (direction ? 3e-3 : 3e-4) / sqrt(length); /* along the gradient it is steep */
            for (int k = 0; k < 2; k++) {
                for (size_t i = 0; i < m.n_params; i++)
                    m.w[i] = w[i] + (float)(k ? step : -step) * d[i];
                side[k] = model_loss(&m, in, target, ROWS, t, NULL);
            }
            memcpy(m.w, w, m.n_params * sizeof(float));
            step = (side[1] - side[0]) / (2 * step);
            assert_true(fabs(step - slope) < 5e-3 * (fabs(slope) + sqrt(length)));
        }
        model_done(&m);
    }
}

static void accumulated_gradients_are_the_sum(void **state)
{
    const struct model_shape *s = &shapes[0];
    int t = s->context;
    int32_t in[2 * 13], target[2 * 13];
    BT_AUTO float *both = NULL;
    struct model m;
    double worst = 0, largest = 0;

    (void)state;
    fill_tokens(in, target, 2 * t);
    model_init(&m, s, 2, true);
    model_random(&m, 3);
    (void)model_gradient(&m, in, target, 2, t, 0.5f, true);
    both = bt_memdup(m.grad, m.n_params * sizeof(float));
    (void)model_gradient(&m, in, target, 1, t, 0.5f, true);
    (void)model_gradient(&m, in + t, target + t, 1, t, 0.5f, false);
    for (size_t i = 0; i < m.n_params; i++) {
        largest = fmax(largest, fabs((double)both[i]));
        worst = fmax(worst, fabs((double)both[i] - (double)m.grad[i]));
    }
    assert_true(worst < 1e-5 * largest);
    model_done(&m);
}

static void a_step_gives_the_same_bits_twice(void **state)
{
    const struct model_shape *s = &shapes[1];
    int32_t in[2 * 70], target[2 * 70];
    BT_AUTO float *first = NULL;
    struct model m;

    (void)state;
    fill_tokens(in, target, 2 * 70);
    model_init(&m, s, 2, true);
    model_random(&m, 3);
    (void)model_gradient(&m, in, target, 2, 70, 1, true);
    first = bt_memdup(m.grad, m.n_params * sizeof(float));
    for (int i = 0; i < 5; i++) {
        (void)model_gradient(&m, in, target, 2, 70, 1, true);
        assert_memory_equal(first, m.grad, m.n_params * sizeof(float));
    }
    model_done(&m);
}

static void tensors_tile_the_arena_and_carry_published_names(void **state)
{
    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        size_t n = (size_t)model_params(&shapes[s]), covered = 0;
        BT_AUTO uint8_t *used = bt_new_n(uint8_t, n);
        struct model_tensor t;
        int i;

        for (i = 0; model_tensor(&shapes[s], i, &t); i++) {
            size_t size = (size_t)t.rows * (t.cols ? t.cols : 1);

            assert_true(t.offset + size <= n);
            for (size_t k = t.offset; k < t.offset + size; k++)
                covered += !used[k]++;
        }
        assert_int_equal(covered, n);
        assert_int_equal(i, 2 + 9 * shapes[s].layers + !shapes[s].tied);
        assert_true(model_tensor(&shapes[s], 2, &t));
        assert_string_equal(t.name, "model.layers.0.self_attn.q_proj.weight");
    }
}

static void logits_of_the_last_token_do_not_see_the_future(void **state)
{
    const struct model_shape *s = &shapes[0];
    int32_t in[13], target[13];
    float before[320], after[320];
    struct model m;

    (void)state;
    fill_tokens(in, target, 13);
    model_init(&m, s, 1, false);
    model_random(&m, 5);
    model_logits(&m, in, 6, before);
    in[6] = 1;
    model_logits(&m, in, 6, after);
    assert_memory_equal(before, after, sizeof before);
    in[5] = 200;
    model_logits(&m, in, 6, after);
    assert_memory_not_equal(before, after, sizeof before);
    model_done(&m);
}

static void impossible_shapes_are_refused(void **state)
{
    struct model_shape s = shapes[0];
    struct bt_err err;

    (void)state;
    assert_int_equal(model_shape_check(&s, NULL), 0);
    s.kv_heads = 2;
    assert_int_equal(model_shape_check(&s, &err), -BT_ERR_SHAPE);
    assert_string_equal(err.text, "heads (3) is not a multiple of kv_heads (2)");
    s = shapes[0];
    s.head_dim = 7;
    assert_int_equal(model_shape_check(&s, &err), -BT_ERR_SHAPE);
    s = shapes[0];
    s.layers = 512;
    s.width = 65536;
    s.ffn = 262144;
    assert_int_equal(model_shape_check(&s, &err), -BT_ERR_SHAPE);
}

/* ---- safetensors ---- */

static char *temp_dir(void)
{
    char *dir = bt_strdup("/tmp/bt-train-XXXXXX");

    assert_non_null(mkdtemp(dir));
    return dir;
}

static void weights_come_back_from_disk(void **state)
{
    BT_AUTO char *dir = temp_dir();
    BT_AUTO char *path = bt_printf("%s/model.safetensors", dir);

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        struct model a, b;

        model_init(&a, &shapes[s], 1, false);
        model_init(&b, &shapes[s], 1, false);
        model_random(&a, 11);
        assert_int_equal(safetensors_write(&a, path, NULL), 0);
        assert_int_equal(safetensors_read(&b, path, NULL), 0);
        assert_memory_equal(a.w, b.w, a.n_params * sizeof(float));
        model_done(&a);
        model_done(&b);
    }
    assert_int_equal(bt_remove_tree(dir, NULL), 0);
}

static void damaged_weights_are_refused_in_one_sentence(void **state)
{
    BT_AUTO char *dir = temp_dir();
    BT_AUTO char *path = bt_printf("%s/model.safetensors", dir);
    BT_BUF_AUTO struct bt_buf whole = {0};
    struct model m;

    (void)state;
    model_init(&m, &shapes[0], 1, false);
    model_random(&m, 11);
    assert_int_equal(safetensors_write(&m, path, NULL), 0);
    assert_int_equal(bt_file_read(path, 1 << 28, &whole, NULL), 0);
    for (int damage = 0; damage < 6; damage++) {
        BT_AUTO char *copy = bt_memdup(whole.p, whole.n);
        static const char *const names[] = {"embed_tokens", "data_offsets", "[320,24]"};
        size_t n = whole.n;
        struct bt_err err = {0};

        if (damage == 0)
            n -= 4; /* truncated */
        else if (damage == 1)
            n = 100; /* inside the header */
        else if (damage == 2)
            memset(copy, 0xff, 8); /* a header of 2^64-1 bytes */
        else
            memset(memmem(copy, n, names[damage - 3], strlen(names[damage - 3])), 'x', 3);
        assert_int_equal(bt_file_write(path, 0644, copy, n, NULL), 0);
        assert_int_equal(safetensors_read(&m, path, &err), -BT_ERR_CORRUPT);
        assert_non_null(strstr(err.text, "model.safetensors is damaged: "));
    }
    model_done(&m);
    assert_int_equal(bt_remove_tree(dir, NULL), 0);
}

static int start(void **state)
{
    (void)state;
    kern_init(2);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_point_where_differences_say),
        cmocka_unit_test(accumulated_gradients_are_the_sum),
        cmocka_unit_test(a_step_gives_the_same_bits_twice),
        cmocka_unit_test(tensors_tile_the_arena_and_carry_published_names),
        cmocka_unit_test(logits_of_the_last_token_do_not_see_the_future),
        cmocka_unit_test(impossible_shapes_are_refused),
        cmocka_unit_test(weights_come_back_from_disk),
        cmocka_unit_test(damaged_weights_are_refused_in_one_sentence),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
