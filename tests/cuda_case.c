/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/cuda_case.h"

#include <math.h>
#include <stdio.h>

#include "kernels/kernels.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { ARRAYS = 12 };

struct array {
    float *host; /* what the CPU sees; of an output, what it should be */
    void *device;
    size_t n;
    bool wide;
};

struct stage {
    const struct cuda_ops *o;
    struct cuda *c;
    struct array arrays[ARRAYS];
    int n;
    struct cuda_result *result;
    struct bt_err *err;
    int rc;
};

static struct array *add(struct stage *s, size_t n, bool wide)
{
    struct array *a = &s->arrays[s->n++];

    *a = (struct array){.n = n, .wide = wide, .host = kern_floats(n)};
    if (s->rc == 0)
        s->rc = s->o->alloc(s->c, n * (wide ? 4 : 2), &a->device, s->err);
    return a;
}

static void upload(struct stage *s, struct array *a)
{
    BT_AUTO kern_bf16 *small = bt_new_n(kern_bf16, a->n);

    for (size_t i = 0; i < a->n; i++) {
        small[i] = kern_to_bf16(a->host[i]);
        if (!a->wide)
            a->host[i] = kern_from_bf16(small[i]);
    }
    if (s->rc == 0)
        s->o->put(s->c, a->device, a->wide ? (void *)a->host : small, a->n * (a->wide ? 4 : 2));
}

/* Random, of a stream of its own, with this spread around this mean. */
static struct array *input(struct stage *s, size_t n, double mean, double sd, bool wide)
{
    struct array *a = add(s, n, wide);

    kern_normal(a->host, n, sd, 77, (uint64_t)s->n);
    for (size_t i = 0; i < n; i++)
        a->host[i] += (float)mean;
    upload(s, a);
    return a;
}

static struct array *output(struct stage *s, size_t n, bool wide)
{
    struct array *a = add(s, n, wide);
    BT_AUTO uint8_t *nan = bt_alloc(n, wide ? 4 : 2);

    memset(nan, 0xff, n * (wide ? 4 : 2));
    if (s->rc == 0)
        s->o->put(s->c, a->device, nan, n * (wide ? 4 : 2));
    return a;
}

static void fill_ids(struct stage *s, struct array *a, int v, bool with_none, int32_t *ids)
{
    for (size_t i = 0; i < a->n; i++) {
        uint32_t r[4];

        kern_philox(5, 0, i, r);
        ids[i] = with_none && r[1] % 7 == 0 ? -1 : (int32_t)(r[0] % (uint32_t)v);
    }
    if (s->rc == 0)
        s->o->put(s->c, a->device, ids, a->n * 4);
}

/* Largest difference over the largest value that should be there; infinite if any is not a number.
 * result: that, or worse, in units of the tolerance. */
static void compare(struct stage *s, const struct array *a, double tolerance)
{
    BT_AUTO float *got = bt_new_n(float, a->n);
    BT_AUTO kern_bf16 *small = bt_new_n(kern_bf16, a->n);
    double scale = 1e-30, worst = 0, ratio = s->result->error / s->result->tolerance;

    if (s->rc == 0)
        s->rc = s->o->get(s->c, a->wide ? (void *)got : small, a->device, a->n * (a->wide ? 4 : 2),
                          s->err);
    for (size_t i = 0; i < a->n; i++) {
        if (!a->wide)
            got[i] = kern_from_bf16(small[i]);
        scale = fmax(scale, fabs((double)a->host[i]));
    }
    for (size_t i = 0; i < a->n; i++) {
        double off = fabs((double)got[i] - (double)a->host[i]);

        worst = off <= worst ? worst : isfinite(off) ? off : INFINITY;
    }
    if (!(worst / scale / tolerance <= ratio)) {
        s->result->error = worst / scale;
        s->result->tolerance = tolerance;
    }
}

static struct stage begin(const struct cuda_ops *o, struct cuda *c, struct cuda_result *ret,
                          struct bt_err *err)
{
    *ret = (struct cuda_result){.tolerance = CUDA_TOL_ROUND};
    return (struct stage){.o = o, .c = c, .result = ret, .err = err};
}

static int end(struct stage *s)
{
    for (int i = 0; i < s->n; i++) {
        kern_free_floats(s->arrays[i].host, s->arrays[i].n);
        s->o->release(s->c, s->arrays[i].device);
    }
    return s->rc;
}

/* The fastest of n further calls, by the device's own clock. */
#define TIME(s, n, call)                                   \
    do {                                                   \
        for (int i_ = 0; i_ < (n) && (s)->rc == 0; i_++) { \
            (s)->o->mark((s)->c, 0);                       \
            (call);                                        \
            (s)->o->mark((s)->c, 1);                       \
            (s)->rc = (s)->o->wait((s)->c, (s)->err);      \
            double us_ = (s)->o->marked_us((s)->c);        \
            if (!(s)->result->us || us_ < (s)->result->us) \
                (s)->result->us = us_;                     \
        }                                                  \
    } while (0)

#define SHAPE(s, ...) snprintf((s)->result->shape, sizeof(s)->result->shape, __VA_ARGS__)

/* ---- norm: n, c ---- */

static int run_add_norm(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                        struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0], w = (size_t)d[1];
    struct array *x = input(&s, n * w, 0, 1, false), *y = input(&s, n * w, 0, 1, false);
    struct array *f = input(&s, w, 1, 0.2, false), *out = output(&s, n * w, false);
    struct array *sum = output(&s, n * w, false), *rstd = output(&s, n, true);
    const struct cuda_add_norm a = {.out = out->device,
                                    .sum = sum->device,
                                    .rstd = rstd->device,
                                    .x = x->device,
                                    .y = y->device,
                                    .w = f->device,
                                    .n = d[0],
                                    .c = d[1],
                                    .eps = 1e-5f};
    struct cuda_add_norm alone = a;

    struct kern_add_norm k = {.out = out->host,
                              .sum = sum->host,
                              .rstd = rstd->host,
                              .x = x->host,
                              .y = y->host,
                              .w = f->host,
                              .n = d[0],
                              .c = d[1],
                              .eps = 1e-5f};

    kern_add_norm(&k);
    o->add_norm(c, &a);
    compare(&s, out, 2 * CUDA_TOL_ROUND); /* rounded before the factor and after it */
    compare(&s, sum, CUDA_TOL_ROUND);
    compare(&s, rstd, CUDA_TOL_ROUND); /* of the rounded sum */
    TIME(&s, repetitions, o->add_norm(c, &a));
    alone.y = NULL;
    k.y = NULL;
    kern_add_norm(&k);
    o->add_norm(c, &alone);
    compare(&s, out, 2 * CUDA_TOL_ROUND);
    compare(&s, rstd, CUDA_TOL_FLOAT);
    ret->bytes = 8.0 * (double)n * (double)w;
    SHAPE(&s, "%dx%d", d[0], d[1]);
    return end(&s);
}

static int run_norm_backward(const struct cuda_ops *o, struct cuda *c, const int *d,
                             int repetitions, struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0], w = (size_t)d[1];
    struct array *dout = input(&s, n * w, 0, 1, false), *sum = input(&s, n * w, 0, 1, false);
    struct array *f = input(&s, w, 1, 0.2, false), *rstd = input(&s, n, 1, 0.1, true);
    struct array *dsum = input(&s, n * w, 0, 1, false), *dw = input(&s, w, 0, 1, true);
    struct array *partial = output(&s, (size_t)cuda_norm_parts(d[0]) * w, true);
    BT_AUTO float *scratch = bt_new_n(float, kern_norm_partial(d[0], d[1]));
    struct cuda_norm_backward a = {.dsum = dsum->device,
                                   .dw = dw->device,
                                   .partial = partial->device,
                                   .dout = dout->device,
                                   .sum = sum->device,
                                   .w = f->device,
                                   .rstd = rstd->device,
                                   .n = d[0],
                                   .c = d[1],
                                   .add = true};
    struct kern_norm_backward k = {.dsum = dsum->host,
                                   .dw = dw->host,
                                   .beta = 1,
                                   .partial = scratch,
                                   .dout = dout->host,
                                   .sum = sum->host,
                                   .rstd = rstd->host,
                                   .w = f->host,
                                   .n = d[0],
                                   .c = d[1]};

    kern_norm_backward(&k);
    o->norm_backward(c, &a);
    compare(&s, dsum, CUDA_TOL_ROUND);
    compare(&s, dw, CUDA_TOL_FLOAT);
    a.dsum_is_empty = k.dsum_is_empty = true;
    a.add = false;
    k.beta = 0;
    kern_norm_backward(&k);
    o->norm_backward(c, &a);
    compare(&s, dsum, CUDA_TOL_ROUND);
    compare(&s, dw, CUDA_TOL_FLOAT);
    a.dsum_is_empty = false;
    TIME(&s, repetitions, o->norm_backward(c, &a));
    ret->bytes = 8.0 * (double)n * (double)w;
    SHAPE(&s, "%dx%d", d[0], d[1]);
    return end(&s);
}

/* ---- rope: rows, t, heads, d, values that stay ---- */

static int run_rope(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                    struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t stride = (size_t)(d[2] + d[4]) * (size_t)d[3], half = (size_t)d[1] * (size_t)d[3] / 2;
    struct array *x = input(&s, (size_t)d[0] * stride, 0, 1, false);
    struct array *cos = add(&s, half, true), *sin = add(&s, half, true);
    struct cuda_rope a = {.x = x->device,
                          .cos = cos->device,
                          .sin = sin->device,
                          .n = d[0],
                          .t = d[1],
                          .stride = (int)stride,
                          .heads = d[2],
                          .d = d[3]};
    struct kern_rope k = {.x = x->host,
                          .cos = cos->host,
                          .sin = sin->host,
                          .n = d[0],
                          .t = d[1],
                          .stride = (int)stride,
                          .heads = d[2],
                          .d = d[3]};

    kern_rope_table(cos->host, sin->host, d[1], d[3], 10000);
    upload(&s, cos);
    upload(&s, sin);
    for (int inverse = 0; inverse < 2; inverse++) {
        a.inverse = k.inverse = inverse;
        kern_rope(&k);
        o->rope(c, &a);
        compare(&s, x, CUDA_TOL_ROUND * (1 + inverse)); /* the second begins with a rounding */
    }
    TIME(&s, repetitions, o->rope(c, &a));
    ret->bytes = 4.0 * d[0] * d[2] * d[3];
    SHAPE(&s, "%d rows, %d heads of %d", d[0], d[2], d[3]);
    return end(&s);
}

/* ---- attention: b, t, heads, kv_heads, d ---- */

static int run_attention(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                         struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0] * (size_t)d[1], wide = (size_t)(d[2] + 2 * d[3]) * (size_t)d[4];
    struct array *qkv = input(&s, n * wide, 0, 1, false);
    struct array *out = output(&s, n * (size_t)d[2] * (size_t)d[4], false);
    struct array *lse = output(&s, n * (size_t)d[2], true);
    float *scratch = kern_floats(kern_attention_scratch(d[1]));
    const struct cuda_attention a = {.qkv = qkv->device,
                                     .out = out->device,
                                     .lse = lse->device,
                                     .b = d[0],
                                     .t = d[1],
                                     .heads = d[2],
                                     .kv_heads = d[3],
                                     .d = d[4]};

    kern_attention(&(struct kern_attention){.qkv = qkv->host,
                                            .out = out->host,
                                            .lse = lse->host,
                                            .scratch = scratch,
                                            .b = d[0],
                                            .t = d[1],
                                            .heads = d[2],
                                            .kv_heads = d[3],
                                            .d = d[4]});
    o->attention(c, &a);
    compare(&s, out, CUDA_TOL_CHAIN);
    compare(&s, lse, CUDA_TOL_FLOAT);
    TIME(&s, repetitions, o->attention(c, &a));
    ret->flops = 2.0 * (double)n * d[1] * d[2] * d[4]; /* half of 4: causal */
    SHAPE(&s, "b%d t%d h%d/%d d%d causal", d[0], d[1], d[2], d[3], d[4]);
    kern_free_floats(scratch, kern_attention_scratch(d[1]));
    return end(&s);
}

static int run_attention_backward(const struct cuda_ops *o, struct cuda *c, const int *d,
                                  int repetitions, struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0] * (size_t)d[1], wide = (size_t)(d[2] + 2 * d[3]) * (size_t)d[4];
    size_t narrow = (size_t)d[2] * (size_t)d[4];
    struct array *qkv = input(&s, n * wide, 0, 1, false),
                 *dout = input(&s, n * narrow, 0, 1, false);
    struct array *out = output(&s, n * narrow, false), *lse = output(&s, n * (size_t)d[2], true);
    struct array *dqkv = output(&s, n * wide, false), *delta = output(&s, n * (size_t)d[2], true);
    float *scratch = kern_floats(kern_attention_scratch(d[1]));
    const struct cuda_attention_backward a = {.dqkv = dqkv->device,
                                              .delta = delta->device,
                                              .qkv = qkv->device,
                                              .out = out->device,
                                              .dout = dout->device,
                                              .lse = lse->device,
                                              .b = d[0],
                                              .t = d[1],
                                              .heads = d[2],
                                              .kv_heads = d[3],
                                              .d = d[4]};

    kern_attention(&(struct kern_attention){.qkv = qkv->host,
                                            .out = out->host,
                                            .lse = lse->host,
                                            .scratch = scratch,
                                            .b = d[0],
                                            .t = d[1],
                                            .heads = d[2],
                                            .kv_heads = d[3],
                                            .d = d[4]});
    upload(&s, out);
    upload(&s, lse);
    kern_attention_backward(&(struct kern_attention_backward){.dqkv = dqkv->host,
                                                              .qkv = qkv->host,
                                                              .out = out->host,
                                                              .lse = lse->host,
                                                              .dout = dout->host,
                                                              .scratch = scratch,
                                                              .b = d[0],
                                                              .t = d[1],
                                                              .heads = d[2],
                                                              .kv_heads = d[3],
                                                              .d = d[4]});
    o->attention_backward(c, &a);
    compare(&s, dqkv, CUDA_TOL_CHAIN);
    TIME(&s, repetitions, o->attention_backward(c, &a));
    ret->flops = 5.0 * (double)n * d[1] * d[2] * d[4];
    SHAPE(&s, "b%d t%d h%d/%d d%d causal", d[0], d[1], d[2], d[3], d[4]);
    kern_free_floats(scratch, kern_attention_scratch(d[1]));
    return end(&s);
}

/* ---- swiglu: n, f ---- */

static int run_swiglu(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                      struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0], f = (size_t)d[1];
    struct array *gu = input(&s, n * 2 * f, 0, 2, false), *h = output(&s, n * f, false);
    const struct cuda_swiglu a = {.h = h->device, .gu = gu->device, .n = d[0], .f = d[1]};

    kern_swiglu(h->host, gu->host, d[0], d[1]);
    o->swiglu(c, &a);
    compare(&s, h, CUDA_TOL_ROUND);
    TIME(&s, repetitions, o->swiglu(c, &a));
    ret->bytes = 6.0 * (double)n * (double)f;
    SHAPE(&s, "%dx%d", d[0], d[1]);
    return end(&s);
}

static int run_swiglu_backward(const struct cuda_ops *o, struct cuda *c, const int *d,
                               int repetitions, struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0], f = (size_t)d[1];
    struct array *gu = input(&s, n * 2 * f, 0, 2, false), *dh = input(&s, n * f, 0, 1, false);
    const struct cuda_swiglu_backward a = {
        .gu = gu->device, .dh = dh->device, .n = d[0], .f = d[1]};

    kern_swiglu_backward(gu->host, dh->host, d[0], d[1]);
    o->swiglu_backward(c, &a);
    compare(&s, gu, CUDA_TOL_ROUND);
    TIME(&s, repetitions, o->swiglu_backward(c, &a));
    ret->bytes = 10.0 * (double)n * (double)f;
    SHAPE(&s, "%dx%d", d[0], d[1]);
    return end(&s);
}

/* Small shapes go in chunks too. */
static int few_rows(int n)
{
    return n < 1000 ? BT_MIN(n, 24) : 0;
}

/* ---- embedding: n, c, v ---- */

static int run_embed(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                     struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0], w = (size_t)d[1], v = (size_t)d[2];
    struct array *table = input(&s, v * w, 0, 1, false), *out = output(&s, n * w, false);
    struct array *dout = input(&s, n * w, 0, 1, false), *dtable = input(&s, v * w, 0, 1, true);
    struct array *ids = add(&s, n, true);
    struct array *hot = output(&s, (size_t)cuda_loss_rows(d[0], d[2]) * v, false);
    BT_AUTO int32_t *which = bt_new_n(int32_t, n);
    const struct cuda_embed_backward a = {.dtable = dtable->device,
                                          .dout = dout->device,
                                          .ids = ids->device,
                                          .one_hot = hot->device,
                                          .n = d[0],
                                          .c = d[1],
                                          .v = d[2],
                                          .chunk = few_rows(d[0])};

    fill_ids(&s, ids, d[2], false, which);
    kern_embed(out->host, table->host, which, d[0], d[1]);
    o->embed(
        c,
        &(struct cuda_embed){
            .out = out->device, .table = table->device, .ids = ids->device, .n = d[0], .c = d[1]});
    compare(&s, out, CUDA_TOL_FLOAT);
    kern_embed_backward(dtable->host, dout->host, which, d[0], d[1]);
    o->embed_backward(c, &a);
    compare(&s, dtable, CUDA_TOL_FLOAT);
    TIME(&s, repetitions, o->embed_backward(c, &a));
    ret->flops = 2.0 * (double)n * (double)w * (double)v;
    SHAPE(&s, "%d rows of %d, %d ids", d[0], d[1], d[2]);
    return end(&s);
}

/* ---- linear + cross-entropy: n, c, v ---- */

static int run_linear_loss(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                           struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0], w = (size_t)d[1], v = (size_t)d[2];
    size_t chunk = (size_t)cuda_loss_rows(d[0], d[2]) * v;
    struct array *x = input(&s, n * w, 0, 1, false), *m = input(&s, v * w, 0, 0.2, false);
    struct array *target = add(&s, n, true), *loss = output(&s, n, true);
    struct array *dx = output(&s, n * w, false), *dw = input(&s, v * w, 0, 0.01, true);
    struct array *logits = output(&s, chunk, true), *dlogits = output(&s, chunk, false);
    BT_AUTO int32_t *ids = bt_new_n(int32_t, n);
    float *scratch = kern_floats(kern_linear_loss_chunk(d[0], d[2]));
    struct cuda_linear_loss a = {.x = x->device,
                                 .w = m->device,
                                 .target = target->device,
                                 .loss = loss->device,
                                 .dx = dx->device,
                                 .dw = dw->device,
                                 .logits = logits->device,
                                 .dlogits = dlogits->device,
                                 .scale = 0.125f,
                                 .add = true,
                                 .n = d[0],
                                 .c = d[1],
                                 .v = d[2],
                                 .chunk = few_rows(d[0])};

    struct kern_linear_loss k = {.x = x->host,
                                 .w = m->host,
                                 .target = ids,
                                 .loss = loss->host,
                                 .dx = dx->host,
                                 .dw = dw->host,
                                 .scale = 0.125f,
                                 .beta = 1,
                                 .chunk = scratch,
                                 .n = d[0],
                                 .c = d[1],
                                 .v = d[2]};

    fill_ids(&s, target, d[2], true, ids);
    for (int fresh = 0; fresh < 2; fresh++) {
        k.beta = (float)(1 - fresh);
        a.add = !fresh;
        (void)kern_linear_loss(&k);
        o->linear_loss(c, &a);
        compare(&s, loss, CUDA_TOL_FLOAT);
        compare(&s, dx, CUDA_TOL_CHAIN);
        compare(&s, dw, CUDA_TOL_CHAIN);
    }
    TIME(&s, repetitions, o->linear_loss(c, &a));
    ret->flops = 6.0 * (double)n * (double)w * (double)v;
    SHAPE(&s, "%dx%dx%d", d[0], d[2], d[1]);
    kern_free_floats(scratch, kern_linear_loss_chunk(d[0], d[2]));
    return end(&s);
}

/* ---- products: n, in, out ---- */

static int run_product(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                       struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0], in = (size_t)d[1], out = (size_t)d[2];
    struct array *x = input(&s, n * in, 0, 1, false), *w = input(&s, out * in, 0, 1, false);
    struct array *dy = input(&s, n * out, 0, 1, false), *y = output(&s, n * out, false);
    struct array *dx = output(&s, n * in, false), *dw = input(&s, out * in, 0, 1, true);
    struct array *wide = output(&s, n * out, true);
    struct cuda_product p = {.kind = CUDA_LINEAR,
                             .to = wide->device,
                             .a = x->device,
                             .b = w->device,
                             .n = d[0],
                             .in = d[1],
                             .out = d[2],
                             .wide = true};
    const struct cuda_product back = {CUDA_LINEAR_DX, dx->device, dy->device, w->device, d[0],
                                      d[1],           d[2],       false,      false};
    const struct cuda_product weight = {CUDA_LINEAR_DW, dw->device, dy->device, x->device, d[0],
                                        d[1],           d[2],       true,       true};

    kern_linear(y->host, x->host, w->host, d[0], d[1], d[2]);
    memcpy(wide->host, y->host, n * out * sizeof(float));
    kern_linear_dx(dx->host, dy->host, w->host, d[0], d[1], d[2]);
    kern_linear_dw(dw->host, dy->host, x->host, d[0], d[1], d[2], 1);
    o->product(c, &p);
    compare(&s, wide, CUDA_TOL_FLOAT);
    p.to = y->device;
    p.wide = false;
    o->product(c, &p);
    compare(&s, y, CUDA_TOL_ROUND);
    o->product(c, &back);
    compare(&s, dx, CUDA_TOL_ROUND);
    o->product(c, &weight);
    compare(&s, dw, CUDA_TOL_FLOAT);
    TIME(&s, repetitions, o->product(c, &p));
    ret->flops = 2.0 * (double)n * (double)in * (double)out;
    SHAPE(&s, "%dx%dx%d", d[0], d[2], d[1]);
    return end(&s);
}

/* ---- optimizer: count, of which so many decay ---- */

static int run_adamw(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                     struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0], decayed = (size_t)d[1];
    struct array *w = input(&s, n, 0, 1, true), *m = input(&s, n, 0, 1, true);
    struct array *v = input(&s, n, 4, 0.5, true), *g = input(&s, n, 0, 1, true);
    struct array *small = output(&s, n, false);
    struct kern_adamw k = {.w = w->host,
                           .m = m->host,
                           .v = v->host,
                           .grad = g->host,
                           .count = decayed,
                           .lr = 1e-2,
                           .beta1 = 0.9,
                           .beta2 = 0.95,
                           .eps = 1e-8,
                           .decay = 0.1,
                           .grad_scale = 0.5,
                           .step = 3};
    const struct cuda_adamw a = {.master = w->device,
                                 .m = m->device,
                                 .v = v->device,
                                 .w = small->device,
                                 .grad = g->device,
                                 .count = n,
                                 .decayed = decayed,
                                 .lr = 1e-2,
                                 .beta1 = 0.9,
                                 .beta2 = 0.95,
                                 .eps = 1e-8,
                                 .decay = 0.1,
                                 .grad_scale = 0.5,
                                 .step = 3};

    if (decayed)
        kern_adamw(&k);
    k.w += decayed;
    k.m += decayed;
    k.v += decayed;
    k.grad += decayed;
    k.count = n - decayed;
    k.decay = 0;
    if (k.count)
        kern_adamw(&k);
    memcpy(small->host, w->host, n * sizeof(float));
    o->adamw(c, &a);
    compare(&s, w, CUDA_TOL_FLOAT);
    compare(&s, m, CUDA_TOL_FLOAT);
    compare(&s, v, CUDA_TOL_FLOAT);
    compare(&s, small, CUDA_TOL_ROUND);
    TIME(&s, repetitions, o->adamw(c, &a));
    ret->bytes = 30.0 * (double)n;
    SHAPE(&s, "%d", d[0]);
    return end(&s);
}

static int run_sum_squares(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                           struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0];
    struct array *x = input(&s, n, 0, 1, true), *small = output(&s, n, false);
    struct array *sum = output(&s, 2, true);
    double got = NAN, want = 0;

    for (size_t i = 0; i < n; i++)
        want += (double)x->host[i] * (double)x->host[i];
    memcpy(small->host, x->host, n * sizeof(float));
    o->round(c, small->device, x->device, n);
    compare(&s, small, CUDA_TOL_ROUND);
    o->sum_squares(c, sum->device, x->device, n);
    if (s.rc == 0)
        s.rc = o->get(c, &got, sum->device, sizeof got, err);
    if (!(fabs(got - want) <= 1e-12 * want))
        ret->error = INFINITY;
    TIME(&s, repetitions, o->sum_squares(c, sum->device, x->device, n));
    ret->bytes = 4.0 * (double)n;
    SHAPE(&s, "%d", d[0]);
    return end(&s);
}

/* Not a kernel of ours: what memory can do. n bytes. */
static int run_copy(const struct cuda_ops *o, struct cuda *c, const int *d, int repetitions,
                    struct cuda_result *ret, struct bt_err *err)
{
    struct stage s = begin(o, c, ret, err);
    size_t n = (size_t)d[0];
    struct array *x = input(&s, n, 0, 1, true), *y = output(&s, n, true);

    memcpy(y->host, x->host, n * sizeof(float));
    o->copy(c, y->device, x->device, n * sizeof(float));
    compare(&s, y, CUDA_TOL_FLOAT);
    TIME(&s, repetitions, o->copy(c, y->device, x->device, n * sizeof(float)));
    ret->bytes = 8.0 * (double)n;
    SHAPE(&s, "%d floats", d[0]);
    return end(&s);
}

const struct cuda_case cuda_cases[] = {
    {"copy", "floats", run_copy},
    {"product", "n in out", run_product},
    {"add_norm", "n c", run_add_norm},
    {"norm_backward", "n c", run_norm_backward},
    {"rope", "rows t heads d others", run_rope},
    {"attention", "b t heads kv_heads d", run_attention},
    {"attention_backward", "b t heads kv_heads d", run_attention_backward},
    {"swiglu", "n f", run_swiglu},
    {"swiglu_backward", "n f", run_swiglu_backward},
    {"embed_backward", "n c v", run_embed},
    {"linear_loss", "n c v", run_linear_loss},
    {"adamw", "count decayed", run_adamw},
    {"sum_squares", "count", run_sum_squares},
};
const int n_cuda_cases = BT_ARRAY_LEN(cuda_cases);

const struct cuda_case *cuda_case_find(const char *name)
{
    for (int i = 0; i < n_cuda_cases; i++) {
        if (bt_streq(cuda_cases[i].name, name))
            return &cuda_cases[i];
    }
    return NULL;
}
