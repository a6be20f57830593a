/* Every kernel against a float64 evaluation, every gradient against central differences of it,
 * on shapes that do not divide by anything.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "tests/unit/gradient.h"

/* ---- residual add + RMSNorm: in = x, y, w ---- */

static const float norm_eps = 1e-5f;

static void norm_reference(const struct problem *p, const double *const in[3], double *out)
{
    int n = p->dims[0], c = p->dims[1];

    for (int i = 0; i < n; i++) {
        double squares = 0;

        for (int j = 0; j < c; j++) {
            double s = in[0][i * c + j] + in[1][i * c + j];

            squares += s * s;
        }
        squares = 1 / sqrt(squares / c + (double)norm_eps);
        for (int j = 0; j < c; j++)
            out[i * c + j] = (in[0][i * c + j] + in[1][i * c + j]) * squares * in[2][j];
    }
}

static void add_and_norm_agrees_with_float64(void **state)
{
    static const int shapes[][2] = {{1, 3}, {3, 7}, {65, 17}, {130, 33}, {5, 96}};

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        int n = shapes[s][0], c = shapes[s][1];
        size_t nc = (size_t)n * c;
        struct problem p = {.name = "norm",
                            .dims = {n, c},
                            .n_in = {nc, nc, (size_t)c},
                            .n_out = nc,
                            .evaluate = norm_reference};
        BT_AUTO float *x = random_floats(nc, 1, 1), *y = random_floats(nc, 2, 1);
        BT_AUTO float *w = random_floats((size_t)c, 3, 1), *dout = random_floats(nc, 4, 1);
        BT_AUTO float *out = bt_new_n(float, nc), *sum = bt_new_n(float, nc);
        BT_AUTO float *rstd = bt_new_n(float, n), *dsum = random_floats(nc, 9, 1);
        BT_AUTO float *dw = random_floats((size_t)c, 8, 1);
        BT_AUTO float *partial = bt_new_n(float, kern_norm_partial(n, c));
        const float *const in[3] = {x, y, w};

        kern_add_norm(&(struct kern_add_norm){.out = out,
                                              .sum = sum,
                                              .rstd = rstd,
                                              .x = x,
                                              .y = y,
                                              .w = w,
                                              .n = n,
                                              .c = c,
                                              .eps = norm_eps});
        check_forward(&p, in, out, KERN_TOL_ELEMENT);
        kern_norm_backward(&(struct kern_norm_backward){.dsum = dsum,
                                                        .dsum_is_empty = true,
                                                        .dw = dw,
                                                        .partial = partial,
                                                        .dout = dout,
                                                        .sum = sum,
                                                        .rstd = rstd,
                                                        .w = w,
                                                        .n = n,
                                                        .c = c});
        check_gradient(&p, in, 0, dout, dsum, KERN_TOL_GRADIENT);
        check_gradient(&p, in, 1, dout, dsum, KERN_TOL_GRADIENT);
        check_gradient(&p, in, 2, dout, dw, KERN_TOL_GRADIENT);
    }
}

static void norm_backward_adds_to_what_is_there(void **state)
{
    enum { N = 70, C = 13 };
    BT_AUTO float *sum = random_floats(N * C, 1, 1), *w = random_floats(C, 2, 1);
    BT_AUTO float *dout = random_floats(N * C, 3, 1), *base = random_floats(N * C, 4, 1);
    BT_AUTO float *out = bt_new_n(float, N *C), *one = bt_new_n(float, N *C);
    BT_AUTO float *two = bt_memdup(base, N * C * sizeof(float));
    BT_AUTO float *partial = bt_new_n(float, kern_norm_partial(N, C));
    float rstd[N], dw1[C], dw2[C];
    struct kern_norm_backward a = {.dsum = one,
                                   .dsum_is_empty = true,
                                   .dw = dw1,
                                   .partial = partial,
                                   .dout = dout,
                                   .sum = sum,
                                   .rstd = rstd,
                                   .w = w,
                                   .n = N,
                                   .c = C};

    (void)state;
    kern_add_norm(&(struct kern_add_norm){
        .out = out, .sum = sum, .rstd = rstd, .x = sum, .w = w, .n = N, .c = C, .eps = norm_eps});
    kern_norm_backward(&a);
    memcpy(dw2, dw1, sizeof dw2);
    a.dsum = two;
    a.dsum_is_empty = false;
    a.dw = dw2;
    a.beta = 1;
    kern_norm_backward(&a);
    for (int i = 0; i < N * C; i++)
        assert_true(fabsf(two[i] - (base[i] + one[i])) < 1e-5f);
    for (int j = 0; j < C; j++)
        assert_true(fabsf(dw2[j] - 2 * dw1[j]) <= 1e-4f);
}

/* ---- rotary embedding: in = x ---- */

static void rope_reference(const struct problem *p, const double *const in[3], double *out)
{
    int n = p->dims[0], t = p->dims[1], heads = p->dims[2], d = p->dims[3], stride = p->dims[4];

    memcpy(out, in[0], p->n_out * sizeof(double));
    for (int i = 0; i < n; i++) {
        for (int h = 0; h < heads; h++) {
            for (int j = 0; j < d / 2; j++) {
                double angle = i % t * pow(10000, -2.0 * j / d);
                size_t a = (size_t)i * stride + (size_t)h * d + j, b = a + d / 2;

                out[a] = in[0][a] * cos(angle) - in[0][b] * sin(angle);
                out[b] = in[0][b] * cos(angle) + in[0][a] * sin(angle);
            }
        }
    }
}

static void rotation_agrees_and_its_gradient_is_the_inverse(void **state)
{
    static const int shapes[][5] = {{1, 1, 1, 2, 2}, {6, 3, 2, 6, 17}, {10, 5, 3, 10, 30}};

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        const int *k = shapes[s];
        size_t n = (size_t)k[0] * k[4], table = (size_t)k[1] * (k[3] / 2);
        struct problem p = {.name = "rope",
                            .n_in = {n},
                            .n_out = n,
                            .evaluate = rope_reference,
                            .dims = {k[0], k[1], k[2], k[3], k[4]}};
        BT_AUTO float *x = random_floats(n, 1, 1), *dout = random_floats(n, 2, 1);
        BT_AUTO float *y = bt_memdup(x, n * sizeof(float));
        BT_AUTO float *dx = bt_memdup(dout, n * sizeof(float));
        BT_AUTO float *cos = bt_new_n(float, table), *sin = bt_new_n(float, table);
        const float *const in[3] = {x, x, x};
        struct kern_rope a = {.x = y,
                              .cos = cos,
                              .sin = sin,
                              .n = k[0],
                              .t = k[1],
                              .heads = k[2],
                              .d = k[3],
                              .stride = k[4]};

        kern_rope_table(cos, sin, k[1], k[3], 10000);
        kern_rope(&a);
        check_forward(&p, in, y, KERN_TOL_ELEMENT);
        a.x = dx;
        a.inverse = true;
        kern_rope(&a);
        check_gradient(&p, in, 0, dout, dx, KERN_TOL_GRADIENT);
    }
}

/* ---- SwiGLU: in = gu ---- */

static void swiglu_reference(const struct problem *p, const double *const in[3], double *out)
{
    int n = p->dims[0], f = p->dims[1];

    for (int i = 0; i < n; i++) {
        for (int j = 0; j < f; j++) {
            double g = in[0][i * 2 * f + j];

            out[i * f + j] = g / (1 + exp(-g)) * in[0][i * 2 * f + f + j];
        }
    }
}

static void swiglu_agrees_with_float64(void **state)
{
    static const int shapes[][2] = {{1, 1}, {7, 19}, {3, 64}, {33, 5}};

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        int n = shapes[s][0], f = shapes[s][1];
        size_t nf = (size_t)n * f;
        struct problem p = {.name = "swiglu",
                            .dims = {n, f},
                            .n_in = {2 * nf},
                            .n_out = nf,
                            .evaluate = swiglu_reference};
        BT_AUTO float *gu = random_floats(2 * nf, 1, 3), *dh = random_floats(nf, 2, 1);
        BT_AUTO float *h = bt_new_n(float, nf), *dgu = bt_memdup(gu, 2 * nf * sizeof(float));
        const float *const in[3] = {gu, gu, gu};

        kern_swiglu(h, gu, n, f);
        check_forward(&p, in, h, KERN_TOL_ELEMENT);
        kern_swiglu_backward(dgu, dh, n, f);
        check_gradient(&p, in, 0, dh, dgu, KERN_TOL_GRADIENT);
    }
}

/* ---- attention: in = qkv ---- */

static void attend(const double *qkv, double *out, int i, const int k[6], int h)
{
    int heads = k[2], kv_heads = k[3], d = k[4], stride = (heads + 2 * kv_heads) * d;
    int kv = h / (heads / kv_heads);
    double scores[640], max = -1e300, sum = 0;

    for (int j = 0; j <= i; j++) {
        double dot = 0;

        for (int e = 0; e < d; e++)
            dot += qkv[i * stride + h * d + e] * qkv[j * stride + (heads + kv) * d + e];
        scores[j] = dot / sqrt(d);
        max = fmax(max, scores[j]);
    }
    for (int j = 0; j <= i; j++)
        sum += scores[j] = exp(scores[j] - max);
    for (int e = 0; e < d; e++) {
        out[i * heads * d + h * d + e] = 0;
        for (int j = 0; j <= i; j++)
            out[i * heads * d + h * d + e] +=
                scores[j] / sum * qkv[j * stride + (heads + kv_heads + kv) * d + e];
    }
}

static void attention_reference(const struct problem *p, const double *const in[3], double *out)
{
    const int *k = p->dims;
    int stride = (k[2] + 2 * k[3]) * k[4];

    for (int b = 0; b < k[0]; b++)
        for (int i = 0; i < k[1]; i++)
            for (int h = 0; h < k[2]; h++)
                attend(in[0] + (size_t)b * k[1] * stride, out + (size_t)b * k[1] * k[2] * k[4], i,
                       k, h);
}

static void attention_agrees_with_float64(void **state)
{
    /* batch, length, heads, key/value heads, width of a head; tiles are 64 long */
    static const int shapes[][5] = {{1, 1, 1, 1, 2},  {2, 5, 2, 1, 3}, {1, 67, 2, 2, 2},
                                    {1, 64, 1, 1, 3}, {2, 9, 6, 2, 5}, {1, 131, 1, 1, 2}};

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        const int *k = shapes[s];
        size_t n_in = (size_t)k[0] * k[1] * (k[2] + 2 * k[3]) * k[4];
        size_t n_out = (size_t)k[0] * k[1] * k[2] * k[4];
        struct problem p = {.name = "attention",
                            .dims = {k[0], k[1], k[2], k[3], k[4]},
                            .n_in = {n_in},
                            .n_out = n_out,
                            .evaluate = attention_reference};
        BT_AUTO float *qkv = random_floats(n_in, 1, 1), *dout = random_floats(n_out, 2, 1);
        BT_AUTO float *out = bt_new_n(float, n_out), *dqkv = random_floats(n_in, 3, 1);
        BT_AUTO float *lse = bt_new_n(float, (size_t)k[0] * k[1] * k[2]);
        BT_AUTO float *scratch = bt_new_n(float, kern_attention_scratch(k[1]));
        const float *const in[3] = {qkv, qkv, qkv};

        kern_attention(&(struct kern_attention){.qkv = qkv,
                                                .out = out,
                                                .lse = lse,
                                                .scratch = scratch,
                                                .b = k[0],
                                                .t = k[1],
                                                .heads = k[2],
                                                .kv_heads = k[3],
                                                .d = k[4]});
        check_forward(&p, in, out, KERN_TOL_PRODUCT);
        kern_attention_backward(&(struct kern_attention_backward){.dqkv = dqkv,
                                                                  .qkv = qkv,
                                                                  .out = out,
                                                                  .lse = lse,
                                                                  .dout = dout,
                                                                  .scratch = scratch,
                                                                  .b = k[0],
                                                                  .t = k[1],
                                                                  .heads = k[2],
                                                                  .kv_heads = k[3],
                                                                  .d = k[4]});
        check_gradient(&p, in, 0, dout, dqkv, KERN_TOL_GRADIENT);
    }
}

/* Long sequences go by other tiles; differences of every element would take too long there. */
static void long_attention_agrees_along_a_direction(void **state)
{
    enum { T = 530, D = 3, IN = T * 3 * D, OUT = T * D };
    const struct problem p = {.name = "long attention",
                              .dims = {1, T, 1, 1, D},
                              .n_in = {IN},
                              .n_out = OUT,
                              .evaluate = attention_reference};
    BT_AUTO float *qkv = random_floats(IN, 1, 1), *dout = random_floats(OUT, 2, 1);
    BT_AUTO float *along = random_floats(IN, 4, 1), *out = bt_new_n(float, OUT);
    BT_AUTO float *dqkv = random_floats(IN, 3, 1), *lse = bt_new_n(float, T);
    BT_AUTO float *scratch = bt_new_n(float, kern_attention_scratch(T));
    BT_AUTO double *x = bt_new_n(double, IN), *y = bt_new_n(double, OUT);
    const float *const in[3] = {qkv, qkv, qkv};
    double sums[2] = {0, 0}, slope = 0, size = 0;

    (void)state;
    kern_attention(&(struct kern_attention) {
        .qkv = qkv, .out = out, .lse = lse, .scratch = scratch, .b = 1, .t = T
        , .heads = 1, .kv_heads = 1, .d = D
    });
    check_forward(&p, in, out, KERN_TOL_PRODUCT);
    kern_attention_backward(&(struct kern_attention_backward) {
        .dqkv = dqkv, .qkv = qkv, .out = out, .lse = lse, .dout = dout, .scratch = scratch, .b = 1,
        .t = T
        , .heads = 1, .kv_heads = 1, .d = D
    });
    for (int side = 0; side < 2; side++) {
        const double *const moved[3] = {x, x, x};

        for (int i = 0; i < IN; i++)
            x[i] = (double)qkv[i] + (side ? STEP : -STEP) * (double)along[i];
        p.evaluate(&p, moved, y);
        for (int i = 0; i < OUT; i++)
            sums[side] += y[i] * (double)dout[i];
    }
    for (int i = 0; i < IN; i++) {
        slope += (double)dqkv[i] * (double)along[i];
        size += fabs((double)dqkv[i] * (double)along[i]);
    }
    assert_true(fabs((sums[1] - sums[0]) / (2 * STEP) - slope) < KERN_TOL_GRADIENT * size);
}

/* ---- linear layer: in = x, w ---- */

static void linear_reference(const struct problem *p, const double *const in[3], double *out)
{
    int n = p->dims[0], a = p->dims[1], o = p->dims[2];

    for (int i = 0; i < n; i++) {
        for (int j = 0; j < o; j++) {
            out[i * o + j] = 0;
            for (int e = 0; e < a; e++)
                out[i * o + j] += in[0][i * a + e] * in[1][j * a + e];
        }
    }
}

static void linear_agrees_with_float64(void **state)
{
    static const int shapes[][3] = {{1, 1, 1}, {3, 7, 5}, {17, 9, 33}};

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        int n = shapes[s][0], in_w = shapes[s][1], out_w = shapes[s][2];
        size_t nx = (size_t)n * in_w, nw = (size_t)in_w * out_w, ny = (size_t)n * out_w;
        struct problem p = {.name = "linear",
                            .dims = {n, in_w, out_w},
                            .n_in = {nx, nw},
                            .n_out = ny,
                            .evaluate = linear_reference};
        BT_AUTO float *x = random_floats(nx, 1, 1), *w = random_floats(nw, 2, 1);
        BT_AUTO float *dy = random_floats(ny, 3, 1), *y = bt_new_n(float, ny);
        BT_AUTO float *dx = bt_new_n(float, nx), *dw = random_floats(nw, 4, 1);
        const float *const in[3] = {x, w, x};

        kern_linear(y, x, w, n, in_w, out_w);
        check_forward(&p, in, y, KERN_TOL_PRODUCT);
        kern_linear_dx(dx, dy, w, n, in_w, out_w);
        check_gradient(&p, in, 0, dy, dx, KERN_TOL_GRADIENT);
        kern_linear_dw(dw, dy, x, n, in_w, out_w, 0);
        check_gradient(&p, in, 1, dy, dw, KERN_TOL_GRADIENT);
    }
}

/* c = a b + c with a [m,k] and b [k,n] through pointers to element (i, e) and (e, j). */
static void product_reference(double *c, const float *a, const size_t a_step[2], const float *b,
                              const size_t b_step[2], const int size[3])
{
    for (int i = 0; i < size[0]; i++) {
        for (int j = 0; j < size[1]; j++) {
            for (int e = 0; e < size[2]; e++)
                c[(size_t)i * size[1] + j] += (double)a[i * a_step[0] + e * a_step[1]] *
                                              (double)b[e * b_step[0] + j * b_step[1]];
        }
    }
}

/* Across the edges of tiles, blocks and the parts that long sums are cut into. */
static void products_of_any_shape_agree_with_float64(void **state)
{
    static const int shapes[][3] = {{1, 400, 3},    {13, 390, 70}, {130, 64, 65},
                                    {67, 129, 450}, {7, 801, 6},   {400, 33, 385}};

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        int n = shapes[s][0], in = shapes[s][1], out = shapes[s][2];
        size_t nx = (size_t)n * in, nw = (size_t)in * out, ny = (size_t)n * out;
        BT_AUTO float *x = random_floats(nx, 1, 1), *w = random_floats(nw, 2, 1);
        BT_AUTO float *dy = random_floats(ny, 3, 1), *y = random_floats(ny, 5, 1);
        BT_AUTO float *dx = random_floats(nx, 6, 1), *dw = random_floats(nw, 4, 1);
        BT_AUTO double *want_y = bt_new_n(double, ny), *want_dx = bt_new_n(double, nx);
        BT_AUTO double *want_dw = as_double(dw, nw);

        product_reference(want_y, x, (size_t[]){(size_t)in, 1}, w, (size_t[]){1, (size_t)in},
                          (int[]){n, out, in});
        product_reference(want_dx, dy, (size_t[]){(size_t)out, 1}, w, (size_t[]){(size_t)in, 1},
                          (int[]){n, in, out});
        product_reference(want_dw, dy, (size_t[]){1, (size_t)out}, x, (size_t[]){(size_t)in, 1},
                          (int[]){out, in, n});
        kern_linear(y, x, w, n, in, out);
        kern_linear_dx(dx, dy, w, n, in, out);
        kern_linear_dw(dw, dy, x, n, in, out, 1);
        assert_near("y", y, want_y, ny, KERN_TOL_PRODUCT);
        assert_near("dx", dx, want_dx, nx, KERN_TOL_PRODUCT);
        assert_near("dw", dw, want_dw, nw, KERN_TOL_PRODUCT);
    }
}

/* ---- linear + cross-entropy: in = x, w ---- */

static void loss_reference(const struct problem *p, const double *const in[3], double *out)
{
    int n = p->dims[0], c = p->dims[1], v = p->dims[2];

    for (int i = 0; i < n; i++) {
        double logits[4096], max = -1e300, sum = 0;

        out[i] = 0;
        if (p->ids[i] < 0)
            continue;
        for (int j = 0; j < v; j++) {
            logits[j] = 0;
            for (int e = 0; e < c; e++)
                logits[j] += in[0][i * c + e] * in[1][j * c + e];
            max = fmax(max, logits[j]);
        }
        for (int j = 0; j < v; j++)
            sum += exp(logits[j] - max);
        out[i] = log(sum) + max - logits[p->ids[i]];
    }
}

static void loss_agrees_with_float64_also_over_chunks(void **state)
{
    static const int shapes[][3] = {{1, 1, 2}, {5, 3, 7}, {33, 3, 11}};

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(shapes); s++) {
        int n = shapes[s][0], c = shapes[s][1], v = shapes[s][2];
        size_t nc = (size_t)n * c, vc = (size_t)v * c;
        int32_t ids[64];
        struct problem p = {.name = "loss",
                            .dims = {n, c, v},
                            .n_in = {nc, vc},
                            .n_out = (size_t)n,
                            .evaluate = loss_reference,
                            .ids = ids};
        BT_AUTO float *x = random_floats(nc, 1, 1), *w = random_floats(vc, 2, 4);
        BT_AUTO float *dx = bt_new_n(float, nc), *dw = bt_new_n(float, vc);
        BT_AUTO float *chunk = bt_new_n(float, kern_linear_loss_chunk(n, v));
        float loss[64], ones[64];
        const float *const in[3] = {x, w, x};
        double total;

        for (int i = 0; i < n; i++) {
            ids[i] = i % 5 == 4 ? -1 : i * 7 % v;
            ones[i] = 0.25f;
        }
        total = kern_linear_loss(&(struct kern_linear_loss){.x = x,
                                                            .w = w,
                                                            .target = ids,
                                                            .loss = loss,
                                                            .dx = dx,
                                                            .dw = dw,
                                                            .scale = 0.25f,
                                                            .chunk = chunk,
                                                            .n = n,
                                                            .c = c,
                                                            .v = v});
        check_forward(&p, in, loss, KERN_TOL_PRODUCT);
        check_gradient(&p, in, 0, ones, dx, KERN_TOL_GRADIENT);
        check_gradient(&p, in, 1, ones, dw, KERN_TOL_GRADIENT);
        for (int i = 0; i < n; i++)
            total -= (double)loss[i];
        assert_true(fabs(total) < 1e-6);
    }
}

static void a_chunked_loss_is_the_loss_of_its_rows(void **state)
{
    enum { N = 50, C = 4, V = 70000 }; /* more logits than a chunk holds: several chunks */
    BT_AUTO float *x = random_floats(N * C, 1, 1), *w = random_floats((size_t)V * C, 2, 1);
    BT_AUTO float *dx = bt_new_n(float, N *C), *dw = bt_new_n(float, (size_t)V *C);
    BT_AUTO float *dx1 = bt_new_n(float, C), *dw1 = bt_new_n(float, (size_t)V *C);
    BT_AUTO float *chunk = bt_new_n(float, kern_linear_loss_chunk(N, V));
    struct kern_linear_loss a = {
        .x = x, .w = w, .dx = dx, .dw = dw, .scale = 1, .chunk = chunk, .n = N, .c = C, .v = V};
    int32_t ids[N];
    double total, rows = 0, worst = 0;

    (void)state;
    assert_true(kern_linear_loss_chunk(N, V) < (size_t)N * V);
    for (int i = 0; i < N; i++)
        ids[i] = i * 1399 % V;
    a.target = ids;
    total = kern_linear_loss(&a);
    for (int i = 0; i < N; i++) {
        struct kern_linear_loss one = a;

        one.x = x + (size_t)i * C;
        one.target = ids + i;
        one.dx = dx1;
        one.dw = dw1;
        one.beta = i ? 1 : 0;
        one.n = 1;
        rows += kern_linear_loss(&one);
        for (int j = 0; j < C; j++)
            assert_true(fabsf(dx1[j] - dx[i * C + j]) < 1e-5f);
    }
    for (size_t i = 0; i < (size_t)V * C; i++)
        worst = fmax(worst, fabs((double)dw[i] - (double)dw1[i]));
    assert_true(worst < 1e-5);
    assert_true(fabs(total - rows) < 1e-4 * total);
}

/* ---- embedding, optimizer, sums, random numbers ---- */

static void embedding_gathers_and_scatters(void **state)
{
    enum { N = 9, C = 5, V = 4 };
    static const int32_t ids[N] = {0, 3, 3, 1, 0, 3, 3, 3, 0};
    BT_AUTO float *table = random_floats(V * C, 1, 1), *dout = random_floats(N * C, 2, 1);
    float out[N * C], dtable[V * C] = {0};

    (void)state;
    kern_embed(out, table, ids, N, C);
    kern_embed_backward(dtable, dout, ids, N, C);
    for (int j = 0; j < C; j++) {
        double want[V] = {0};

        for (int i = 0; i < N; i++) {
            assert_true(out[i * C + j] == table[ids[i] * C + j]);
            want[ids[i]] += (double)dout[i * C + j];
        }
        for (int v = 0; v < V; v++)
            assert_true(fabs((double)dtable[v * C + j] - want[v]) < 1e-5);
    }
}

static void adamw_agrees_with_float64(void **state)
{
    enum { N = 70001 };
    BT_AUTO float *w = random_floats(N, 1, 1), *g = random_floats(N, 2, 1);
    BT_AUTO float *m = bt_new_n(float, N), *v = bt_new_n(float, N);
    BT_AUTO double *want = as_double(w, N), *wm = bt_new_n(double, N), *wv = bt_new_n(double, N);
    struct kern_adamw a = {.w = w,
                           .m = m,
                           .v = v,
                           .grad = g,
                           .count = N,
                           .lr = 1e-2,
                           .beta1 = 0.9,
                           .beta2 = 0.95,
                           .eps = 1e-8,
                           .decay = 0.1,
                           .grad_scale = 0.5};

    (void)state;
    for (a.step = 1; a.step <= 3; a.step++) {
        kern_adamw(&a);
        for (int i = 0; i < N; i++) {
            double grad = 0.5 * (double)g[i];

            wm[i] = 0.9 * wm[i] + 0.1 * grad;
            wv[i] = 0.95 * wv[i] + 0.05 * grad * grad;
            want[i] -= 1e-2 * (wm[i] / (1 - pow(0.9, (double)a.step)) /
                                   (sqrt(wv[i] / (1 - pow(0.95, (double)a.step))) + 1e-8) +
                               0.1 * want[i]);
        }
    }
    assert_near("adamw", w, want, N, KERN_TOL_ELEMENT);
}

/* Five rounds of the published polynomial in float64; x [rows,cols] is divided by its norm first.
 */
static void orthogonal_reference(const float *from, double *x, int rows, int cols)
{
    BT_AUTO double *gram = bt_new_n(double, (size_t)rows *rows);
    BT_AUTO double *one = bt_new_n(double, (size_t)rows *cols);
    BT_AUTO double *two = bt_new_n(double, (size_t)rows *cols);
    double norm = 0;

    for (int i = 0; i < rows * cols; i++)
        norm += (double)from[i] * (double)from[i];
    for (int i = 0; i < rows * cols; i++)
        x[i] = (double)from[i] / sqrt(norm);
    for (int round = 0; round < 5; round++) {
        memset(gram, 0, (size_t)rows * rows * sizeof *gram);
        memset(one, 0, (size_t)rows * cols * sizeof *one);
        memset(two, 0, (size_t)rows * cols * sizeof *two);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < rows; j++)
                for (int k = 0; k < cols; k++)
                    gram[i * rows + j] += x[i * cols + k] * x[j * cols + k];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < rows; j++)
                for (int k = 0; k < cols; k++)
                    one[i * cols + k] += gram[i * rows + j] * x[j * cols + k];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < rows; j++)
                for (int k = 0; k < cols; k++)
                    two[i * cols + k] += gram[i * rows + j] * one[j * cols + k];
        for (int i = 0; i < rows * cols; i++)
            x[i] = 3.4445 * x[i] - 4.7750 * one[i] + 2.0315 * two[i];
    }
}

static void orthogonalised_matrices_agree_with_float64_and_do_not_depend_on_threads(void **state)
{
    static const int shapes[][2] = {{1, 1}, {7, 19}, {19, 7}, {33, 33}, {65, 40}, {96, 130}};
    enum { N = BT_ARRAY_LEN(shapes) };
    bool ours = !strcmp(kern_isa(), "avx512"); /* elsewhere BLAS decides */
    struct kern_matrix list[N], twin[N];
    size_t each = 0;

    (void)state;
    for (int i = 0; i < N; i++) {
        size_t n = (size_t)shapes[i][0] * shapes[i][1];

        list[i] = (struct kern_matrix){random_floats(n, i + 1, 1), shapes[i][0], shapes[i][1]};
        twin[i] = (struct kern_matrix){random_floats(n, i + 1, 1), shapes[i][0], shapes[i][1]};
        each = BT_MAX(each, kern_orthogonal_scratch(shapes[i][0], shapes[i][1]));
    }
    BT_AUTO float *scratch = bt_new_n(float, 2 * each);
    kern_orthogonal(list, N, scratch, each);
    kern_init(1);
    kern_orthogonal(twin, N, scratch, each);
    kern_init(2);
    for (int i = 0; i < N; i++) {
        size_t n = (size_t)shapes[i][0] * shapes[i][1];
        BT_AUTO double *want = bt_new_n(double, n);
        BT_AUTO float *x = random_floats(n, i + 1, 1);

        orthogonal_reference(x, want, shapes[i][0], shapes[i][1]);
        assert_near("orthogonal", list[i].x, want, (int)n, 20 * KERN_TOL_PRODUCT);
        if (ours)
            assert_memory_equal(list[i].x, twin[i].x, n * sizeof(float));
        bt_free(list[i].x);
        bt_free(twin[i].x);
    }
    /* zeros stay zeros */
    BT_AUTO float *zeros = bt_new_n(float, 12);
    kern_orthogonal(&(struct kern_matrix){zeros, 3, 4}, 1, scratch, each);
    for (int i = 0; i < 12; i++)
        assert_true(zeros[i] == 0);
}

static void sums_of_squares_do_not_depend_on_threads(void **state)
{
    size_t n = 5 * 65536 + 123;
    BT_AUTO float *x = random_floats(n, 1, 1);
    double want = 0, one;

    (void)state;
    for (size_t i = 0; i < n; i++)
        want += (double)x[i] * (double)x[i];
    kern_init(1);
    one = kern_sum_squares(x, n);
    kern_init(2);
    assert_true(fabs(one - want) < 1e-9 * want);
    assert_true(one == kern_sum_squares(x, n));
}

/* Known answers of the Random123 distribution (kat_vectors, philox4x32 10 rounds). */
static void philox_gives_the_published_words(void **state)
{
    static const struct {
        uint64_t key, hi, lo;
        uint32_t want[4];
    } cases[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822,
         0x0370734413198a2e,
         0x85a308d3243f6a88,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    uint32_t out[4];

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        kern_philox(cases[i].key, cases[i].hi, cases[i].lo, out);
        assert_memory_equal(out, cases[i].want, sizeof out);
    }
}

static int start(void **state)
{
    (void)state;
    kern_init(2);
    return 0;
}

/* A set that this processor has not leaves the best one. */
static int with_avx2(void **state)
{
    (void)state;
    kern_init(2);
    (void)kern_pick("avx2");
    return 0;
}

static int portably(void **state)
{
    (void)state;
    kern_init(2);
    return kern_pick("portable") ? 0 : -1;
}

#define EACH_WAY(test)                                                            \
    cmocka_unit_test_setup(test, start), cmocka_unit_test_setup(test, with_avx2), \
        cmocka_unit_test_setup(test, portably)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_WAY(linear_agrees_with_float64),
        EACH_WAY(products_of_any_shape_agree_with_float64),
        EACH_WAY(add_and_norm_agrees_with_float64),
        EACH_WAY(norm_backward_adds_to_what_is_there),
        EACH_WAY(rotation_agrees_and_its_gradient_is_the_inverse),
        EACH_WAY(swiglu_agrees_with_float64),
        EACH_WAY(attention_agrees_with_float64),
        EACH_WAY(long_attention_agrees_along_a_direction),
        EACH_WAY(loss_agrees_with_float64_also_over_chunks),
        cmocka_unit_test(a_chunked_loss_is_the_loss_of_its_rows),
        EACH_WAY(embedding_gathers_and_scatters),
        EACH_WAY(adamw_agrees_with_float64),
        EACH_WAY(orthogonalised_matrices_agree_with_float64_and_do_not_depend_on_threads),
        EACH_WAY(sums_of_squares_do_not_depend_on_threads),
        cmocka_unit_test(philox_gives_the_published_words),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
