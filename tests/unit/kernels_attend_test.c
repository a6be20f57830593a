/* Attention between spans, gates, patches: against float64, on shapes that divide by nothing.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "tests/unit/gradient.h"

/* ---- attention: in = q, k, v ---- */

enum { Q_ROWS = 171, K_ROWS = 29, HEADS = 2, DIM = 5, WIDTH = HEADS * DIM };

/* Row 0, rows 168 and 169 of the queries and row 11 of the keys lie in no span. */
static const struct kern_span spans[] = {
    {.q = 1, .n_q = 3, .k = 0, .n_k = 7},
    {.q = 4, .n_q = 130, .k = 7, .n_k = 4},
    {.q = 134, .n_q = 34, .k = 12, .n_k = 16},
    {.q = 170, .n_q = 1, .k = 28, .n_k = 1},
};

static void attend_row(const double *const in[3], const struct kern_span *s, int i, int h,
                       double *out)
{
    double scores[K_ROWS], max = -INFINITY, sum = 0;
    size_t at = (size_t)i * WIDTH + (size_t)h * DIM;

    for (int j = 0; j < s->n_k; j++) {
        scores[j] = 0;
        for (int d = 0; d < DIM; d++)
            scores[j] += in[0][at + (size_t)d] * in[1][(s->k + j) * WIDTH + h * DIM + d];
        scores[j] /= sqrt((double)DIM);
        max = fmax(max, scores[j]);
    }
    for (int j = 0; j < s->n_k; j++)
        sum += scores[j] = exp(scores[j] - max);
    for (int j = 0; j < s->n_k; j++) {
        for (int d = 0; d < DIM; d++)
            out[at + (size_t)d] += scores[j] / sum * in[2][(s->k + j) * WIDTH + h * DIM + d];
    }
}

static void attend_reference(const struct problem *p, const double *const in[3], double *out)
{
    memset(out, 0, p->n_out * sizeof *out);
    for (size_t k = 0; k < BT_ARRAY_LEN(spans); k++) {
        for (int i = spans[k].q; i < spans[k].q + spans[k].n_q; i++) {
            for (int h = 0; h < HEADS; h++)
                attend_row(in, &spans[k], i, h, out);
        }
    }
}

static const struct problem attend_problem = {
    .name = "attend",
    .n_in = {Q_ROWS * WIDTH, K_ROWS *WIDTH, K_ROWS *WIDTH},
    .n_out = Q_ROWS * WIDTH,
    .evaluate = attend_reference,
};

static void attention_between_spans_agrees_with_float64(void **state)
{
    const struct problem *p = &attend_problem;
    float *q = random_floats(p->n_in[0], 1, 1), *k = random_floats(p->n_in[1], 2, 1);
    float *v = random_floats(p->n_in[2], 3, 1), *dout = random_floats(p->n_out, 4, 1);
    float *out = random_floats(p->n_out, 5, 1), *dq = random_floats(p->n_in[0], 6, 1);
    float *dk = random_floats(p->n_in[1], 7, 1), *dv = random_floats(p->n_in[2], 8, 1);
    float *lse = random_floats((size_t)HEADS * Q_ROWS, 9, 1);
    float *scratch = random_floats(kern_attend_scratch(K_ROWS), 10, 1);
    const float *const in[3] = {q, k, v};
    const struct kern_attend a = {.q = q,
                                  .k = k,
                                  .v = v,
                                  .out = out,
                                  .lse = lse,
                                  .spans = spans,
                                  .scratch = scratch,
                                  .n_spans = BT_ARRAY_LEN(spans),
                                  .q_rows = Q_ROWS,
                                  .kv_rows = K_ROWS,
                                  .q_stride = WIDTH,
                                  .kv_stride = WIDTH,
                                  .heads = HEADS,
                                  .d = DIM};
    float *const all[] = {q, k, v, dout, out, dq, dk, dv, lse, scratch};

    (void)state;
    kern_attend(&a);
    check_forward(p, in, out, KERN_TOL_PRODUCT);
    kern_attend_backward(
        &(struct kern_attend_backward){.forward = a, .dout = dout, .dq = dq, .dk = dk, .dv = dv});
    check_gradient(p, in, 0, dout, dq, KERN_TOL_GRADIENT);
    check_gradient(p, in, 1, dout, dk, KERN_TOL_GRADIENT);
    check_gradient(p, in, 2, dout, dv, KERN_TOL_GRADIENT);
    for (int d = 0; d < WIDTH; d++) {
        assert_true(out[d] == 0 && dq[d] == 0);
        assert_true(dk[11 * WIDTH + d] == 0 && dv[11 * WIDTH + d] == 0);
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(all); i++)
        bt_free(all[i]);
}

/* ---- gate: in = x, z, gate ---- */

enum { GATED = 20011 };

static void gate_reference(const struct problem *p, const double *const in[3], double *out)
{
    for (size_t i = 0; i < p->n_out; i++)
        out[i] = in[0][i] + tanh(in[2][0]) * in[1][i];
}

static void a_gate_agrees_with_float64(void **state)
{
    static const float gates[] = {0, 0.7f, -1.3f};

    (void)state;
    for (size_t g = 0; g < BT_ARRAY_LEN(gates); g++) {
        struct problem p = {
            .name = "gate", .n_in = {0, 0, 1}, .n_out = GATED, .evaluate = gate_reference};
        float *x = random_floats(GATED, 1, 1), *z = random_floats(GATED, 2, 1);
        float *dx = random_floats(GATED, 3, 1), *y = random_floats(GATED, 1, 1);
        float *dz = random_floats(GATED, 4, 1), dgate;
        const float *const in[3] = {x, z, &gates[g]};
        double *want = bt_new_n(double, GATED);
        double opened = tanh((double)gates[g]);

        p.n_in[0] = p.n_in[1] = GATED;
        kern_gate(y, z, gates[g], GATED);
        check_forward(&p, in, y, KERN_TOL_ELEMENT);
        dgate = (float)kern_gate_backward(dz, dx, z, gates[g], GATED);
        check_gradient(&p, in, 2, dx, &dgate, KERN_TOL_GRADIENT);
        for (size_t i = 0; i < GATED; i++)
            want[i] = opened * (double)dx[i];
        if (gates[g] == 0)
            want[0] = 0;
        assert_near("gate dz", dz, want, GATED, KERN_TOL_ELEMENT);
        bt_free(x);
        bt_free(z);
        bt_free(dx);
        bt_free(y);
        bt_free(dz);
        bt_free(want);
    }
}

/* ---- patch embedding: in = image, weight, positions ---- */

enum { SIZE = 12, PATCH = 3, SIDE = SIZE / PATCH, LINE = PATCH * PATCH * 3, OUT = 7, IMAGES = 2 };

static void patch_reference(const struct problem *p, const double *const in[3], double *out)
{
    (void)p;
    for (int i = 0; i < IMAGES * SIDE * SIDE; i++) {
        int image = i / (SIDE * SIDE), py = i / SIDE % SIDE, px = i % SIDE;

        for (int o = 0; o < OUT; o++) {
            double sum = in[2][(py * SIDE + px) * OUT + o];

            for (int e = 0; e < LINE; e++) {
                int y = py * PATCH + e / 3 / PATCH, x = px * PATCH + e / 3 % PATCH;

                sum += in[0][((image * SIZE + y) * SIZE + x) * 3 + e % 3] * in[1][o * LINE + e];
            }
            out[i * OUT + o] = sum;
        }
    }
}

static void patches_agree_with_float64(void **state)
{
    enum { N = IMAGES * SIDE * SIDE, PIXELS = SIZE * SIZE * 3 };
    const struct problem p = {.name = "patches",
                              .n_in = {IMAGES * PIXELS, OUT * LINE, SIDE * SIDE * OUT},
                              .n_out = N * OUT,
                              .evaluate = patch_reference};
    float *image = random_floats(p.n_in[0], 1, 1), *w = random_floats(p.n_in[1], 2, 1);
    float *table = random_floats(p.n_in[2], 3, 1), *dout = random_floats(p.n_out, 4, 1);
    float *patches = random_floats(N * LINE, 5, 1), *out = random_floats(p.n_out, 6, 1);
    float *dw = random_floats(p.n_in[1], 7, 1), *dtable = bt_new_n(float, p.n_in[2]);
    const float *const in[3] = {image, w, table};
    float *const all[] = {image, w, table, dout, patches, out, dw, dtable};

    (void)state;
    for (int i = 0; i < IMAGES; i++)
        kern_patches(patches + (size_t)i * SIDE * SIDE * LINE, image + (size_t)i * PIXELS, SIZE,
                     PATCH);
    kern_linear(out, patches, w, N, LINE, OUT);
    kern_add_cycle(out, table, N, SIDE * SIDE, OUT);
    check_forward(&p, in, out, KERN_TOL_PRODUCT);
    kern_linear_dw(dw, dout, patches, N, LINE, OUT, 0);
    kern_sum_cycle(dtable, dout, N, SIDE * SIDE, OUT);
    check_gradient(&p, in, 1, dout, dw, KERN_TOL_PRODUCT);
    check_gradient(&p, in, 2, dout, dtable, KERN_TOL_PRODUCT);
    for (size_t i = 0; i < BT_ARRAY_LEN(all); i++)
        bt_free(all[i]);
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
        cmocka_unit_test(attention_between_spans_agrees_with_float64),
        cmocka_unit_test(a_gate_agrees_with_float64),
        cmocka_unit_test(patches_agree_with_float64),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
