/* ops.c - the table of cuda.h: checks what it is given, queues it, keeps the first failure.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/launch.h"
#include "lib/base/mem.h"

static void note(struct cuda *c, const char *what, int code)
{
    if (!code || c->failed)
        return;
    c->failed = code;
    c->failed_in = what;
}

/* Queues one call unless an earlier one failed. */
#define QUEUE(c, what, call)           \
    do {                               \
        if (!(c)->failed)              \
            note((c), (what), (call)); \
    } while (0)

static int outcome(const struct cuda *c, struct bt_err *err)
{
    if (!c->failed)
        return 0;
    return bt_fail(err, BT_ERR_IO, "the GPU failed in %s: %s", c->failed_in, back_error(c->failed));
}

/* ---- device and memory ---- */

static void ops_close(struct cuda *c)
{
    if (!c)
        return;
    if (c->own) {
        back_release(c, c->squares);
        back_close(c);
    }
    bt_free(c);
}

static int ops_open(int index, struct cuda **ret, struct bt_err *err)
{
    struct cuda *c = bt_new(struct cuda);
    void *squares = NULL;
    int rc;

    c->index = index;
    rc = back_open(c, err);
    if (rc == 0 && back_alloc(c, CUDA_SUM_BLOCKS * sizeof(double), &squares))
        rc = bt_fail(err, BT_ERR_UNSUPPORTED, "the GPU has no free memory");
    c->squares = squares;
    if (rc < 0)
        ops_close(c);
    else
        *ret = c;
    return rc;
}

static int ops_alloc(struct cuda *c, size_t bytes, void **ret, struct bt_err *err)
{
    int code = back_alloc(c, bytes ? bytes : 1, ret);

    if (code)
        return bt_fail(err, BT_ERR_TOO_LARGE, "the GPU has no room for %zu MiB more: %s",
                       bytes >> 20, back_error(code));
    QUEUE(c, "zero", back_zero(c, *ret, bytes));
    return 0;
}

static void ops_release(struct cuda *c, void *p)
{
    if (p)
        back_release(c, p);
}

static void ops_zero(struct cuda *c, void *p, size_t bytes)
{
    QUEUE(c, "zero", back_zero(c, p, bytes));
}

static void ops_put(struct cuda *c, void *to, const void *from, size_t bytes)
{
    QUEUE(c, "put", back_put(c, to, from, bytes));
}

static int ops_get(struct cuda *c, void *to, const void *from, size_t bytes, struct bt_err *err)
{
    QUEUE(c, "get", back_get(c, to, from, bytes));
    return outcome(c, err);
}

static void ops_copy(struct cuda *c, void *to, const void *from, size_t bytes)
{
    QUEUE(c, "copy", back_copy(c, to, from, bytes));
}

static int ops_wait(struct cuda *c, struct bt_err *err)
{
    QUEUE(c, "wait", back_wait(c));
    return outcome(c, err);
}

static void ops_mark(struct cuda *c, int which)
{
    QUEUE(c, "mark", back_mark(c, which));
}

/* ---- kernels ---- */

static void ops_product(struct cuda *c, const struct cuda_product *a)
{
    assert(a->n > 0 && a->in % 8 == 0 && a->out % 8 == 0 && (a->wide || !a->add));
    QUEUE(c, "product", back_product(c, a));
}

static void ops_add_norm(struct cuda *c, const struct cuda_add_norm *a)
{
    assert(a->n > 0 && a->c % 8 == 0 && a->c <= CUDA_WIDTH_MAX);
    QUEUE(c, "add_norm", launch_add_norm(c->stream, a));
}

static void ops_norm_backward(struct cuda *c, const struct cuda_norm_backward *a)
{
    assert(a->n > 0 && a->c % 8 == 0 && a->c <= CUDA_WIDTH_MAX);
    QUEUE(c, "norm_backward", launch_norm_backward(c->stream, a));
}

static void ops_rope(struct cuda *c, const struct cuda_rope *a)
{
    assert(a->n > 0 && a->d % 16 == 0 && a->stride % 8 == 0 && a->heads * a->d <= a->stride);
    QUEUE(c, "rope", launch_rope(c->stream, a));
}

static void ops_attention(struct cuda *c, const struct cuda_attention *a)
{
    assert(a->t > 0 && a->b > 0 && (a->d == 64 || a->d == 128) && a->heads % a->kv_heads == 0);
    QUEUE(c, "attention", launch_attention(c->stream, a));
}

static void ops_attention_backward(struct cuda *c, const struct cuda_attention_backward *a)
{
    assert(a->t > 0 && a->b > 0 && (a->d == 64 || a->d == 128) && a->heads % a->kv_heads == 0);
    QUEUE(c, "attention_backward", launch_attention_backward(c->stream, a));
}

static void ops_swiglu(struct cuda *c, const struct cuda_swiglu *a)
{
    assert(a->n > 0 && a->f % 8 == 0);
    QUEUE(c, "swiglu", launch_swiglu(c->stream, a));
}

static void ops_swiglu_backward(struct cuda *c, const struct cuda_swiglu_backward *a)
{
    assert(a->n > 0 && a->f % 8 == 0);
    QUEUE(c, "swiglu_backward", launch_swiglu_backward(c->stream, a));
}

static void ops_embed(struct cuda *c, const struct cuda_embed *a)
{
    assert(a->n > 0 && a->c % 8 == 0);
    QUEUE(c, "embed", launch_embed(c->stream, a));
}

static void ops_embed_backward(struct cuda *c, const struct cuda_embed_backward *a)
{
    int step = a->chunk ? a->chunk : cuda_loss_rows(a->n, a->v);

    assert(a->n > 0 && a->c % 8 == 0 && a->v % 8 == 0);
    for (int at = 0; at < a->n; at += step) {
        int n = BT_MIN(step, a->n - at);
        const struct cuda_one_hot hot = {.to = a->one_hot, .ids = a->ids + at, .n = n, .v = a->v};
        const struct cuda_product sum = {.kind = CUDA_LINEAR_DW,
                                         .to = a->dtable,
                                         .a = a->one_hot,
                                         .b = a->dout + (size_t)at * a->c,
                                         .n = n,
                                         .in = a->c,
                                         .out = a->v,
                                         .wide = true,
                                         .add = true};

        QUEUE(c, "embed_backward", launch_one_hot(c->stream, &hot));
        ops_product(c, &sum);
    }
}

static void loss_chunk(struct cuda *c, const struct cuda_linear_loss *a, int at, int n)
{
    const kern_bf16 *x = a->x + (size_t)at * a->c;
    const struct cuda_rows_loss rows = {.logits = a->logits,
                                        .dlogits = a->dx ? a->dlogits : NULL,
                                        .target = a->target + at,
                                        .loss = a->loss + at,
                                        .scale = a->scale,
                                        .n = n,
                                        .v = a->v};
    struct cuda_product p = {.kind = CUDA_LINEAR,
                             .to = a->logits,
                             .a = x,
                             .b = a->w,
                             .n = n,
                             .in = a->c,
                             .out = a->v,
                             .wide = true};

    ops_product(c, &p);
    QUEUE(c, "linear_loss", launch_rows_loss(c->stream, &rows));
    if (!a->dx)
        return;
    p = (struct cuda_product){.kind = CUDA_LINEAR_DX,
                              .to = a->dx + (size_t)at * a->c,
                              .a = a->dlogits,
                              .b = a->w,
                              .n = n,
                              .in = a->c,
                              .out = a->v};
    ops_product(c, &p);
    p = (struct cuda_product){.kind = CUDA_LINEAR_DW,
                              .to = a->dw,
                              .a = a->dlogits,
                              .b = x,
                              .n = n,
                              .in = a->c,
                              .out = a->v,
                              .wide = true,
                              .add = at > 0 || a->add};
    ops_product(c, &p);
}

static void ops_linear_loss(struct cuda *c, const struct cuda_linear_loss *a)
{
    int step = a->chunk ? a->chunk : cuda_loss_rows(a->n, a->v);

    assert(a->n > 0 && a->c % 8 == 0 && a->v % 8 == 0);
    for (int at = 0; at < a->n; at += step)
        loss_chunk(c, a, at, BT_MIN(step, a->n - at));
}

static void ops_adamw(struct cuda *c, const struct cuda_adamw *a)
{
    if (a->count)
        QUEUE(c, "adamw", launch_adamw(c->stream, a));
}

static void ops_sum_squares(struct cuda *c, double *result, const float *x, size_t count)
{
    const struct cuda_squares a = {.result = result, .partial = c->squares, .x = x, .count = count};

    QUEUE(c, "sum_squares", launch_squares(c->stream, &a));
}

static void ops_round(struct cuda *c, kern_bf16 *to, const float *from, size_t count)
{
    const struct cuda_round a = {.to = to, .from = from, .count = count};

    if (count)
        QUEUE(c, "round", launch_round(c->stream, &a));
}

const struct cuda_ops *bt_cuda_ops(void)
{
    static struct cuda_ops ops = {
        .abi = CUDA_ABI,
        .open = ops_open,
        .close = ops_close,
        .about = back_about,
        .alloc = ops_alloc,
        .release = ops_release,
        .zero = ops_zero,
        .put = ops_put,
        .get = ops_get,
        .copy = ops_copy,
        .wait = ops_wait,
        .mark = ops_mark,
        .marked_us = back_marked_us,
        .product = ops_product,
        .add_norm = ops_add_norm,
        .norm_backward = ops_norm_backward,
        .rope = ops_rope,
        .attention = ops_attention,
        .attention_backward = ops_attention_backward,
        .swiglu = ops_swiglu,
        .swiglu_backward = ops_swiglu_backward,
        .embed = ops_embed,
        .embed_backward = ops_embed_backward,
        .linear_loss = ops_linear_loss,
        .adamw = ops_adamw,
        .sum_squares = ops_sum_squares,
        .round = ops_round,
        .coll_open = back_coll_open,
    };

    ops.name = back_name;
    ops.plain_memory = back_plain_memory;
    return &ops;
}
