/* attention.c - causal grouped-query attention as blocked per-head products that skip masked tiles.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Forward: a tile of queries against the keys it may see (one product), softmax of
 * each row in place, one product with the values. Backward goes by tiles of keys, so
 * that the gradients of keys and values are each written once: all
 * queries at or after the tile against its keys. One task is one (batch, key/value
 * head): the query heads of a group follow in order, which fixes the bits.
 * Products inside a task run on one thread: OpenBLAS sees the parallel region. */
#include <assert.h>
#include <math.h>
#include <omp.h>

#include "kernels/kernels.h"
#include "kernels/product.h"
#include "kernels/rows.h"
#include "kernels/tile.h"

enum { SHORT_TILE = 32, LONG_TILE = TILE_N, SHORT = 512 };

/* Through BLAS, small tiles compute less of what the mask hides: on 256 tokens 56 % of all pairs
 * instead of 62 %. Our own products are made of tiles of 64 columns anyway. */
static int tile_of(int t)
{
    return t <= SHORT && !tiles() ? SHORT_TILE : LONG_TILE;
}

static size_t thread_scratch(int t)
{
    return (size_t)2 * (size_t)tile_of(t) * t + (size_t)t;
}

size_t kern_attention_scratch(int t)
{
    return thread_scratch(t) * (size_t)kern_threads();
}

struct head {
    const float *q, *k, *v; /* rows `stride` apart */
    int t, d, stride;
    float scale;
};

static struct head head_at(const float *qkv, int heads, int kv_heads, int d, int h)
{
    int kv = h / (heads / kv_heads);

    return (struct head){
        .q = qkv + (size_t)h * d,
        .k = qkv + (size_t)(heads + kv) * d,
        .v = qkv + (size_t)(heads + kv_heads + kv) * d,
        .d = d,
        .stride = (heads + 2 * kv_heads) * d,
        .scale = (float)(1 / sqrt((double)d)),
    };
}

static void forward_tile(const struct head *s, int from, float *scores, float *out, int out_stride,
                         float *lse)
{
    const struct rows *r = rows();
    int n = BT_MIN(tile_of(s->t), s->t - from), keys = from + n;

    product_alone(&(struct product){.tb = true,
                                    .m = n,
                                    .n = keys,
                                    .k = s->d,
                                    .a = s->q + (size_t)from * s->stride,
                                    .lda = s->stride,
                                    .b = s->k,
                                    .ldb = s->stride,
                                    .c = scores,
                                    .ldc = keys});
    for (int i = 0; i < n; i++) {
        float *row = scores + (size_t)i * keys, max, sum;
        int seen = from + i + 1;

        sum = r->softmax(row, seen, s->scale, &max);
        r->scale(row, seen, 1 / sum);
        memset(row + seen, 0, (size_t)(keys - seen) * sizeof(float));
        lse[from + i] = max + (float)log((double)sum);
    }
    product_alone(&(struct product){.m = n,
                                    .n = s->d,
                                    .k = keys,
                                    .a = scores,
                                    .lda = keys,
                                    .b = s->v,
                                    .ldb = s->stride,
                                    .c = out + (size_t)from * out_stride,
                                    .ldc = out_stride});
}

void kern_attention(const struct kern_attention *a)
{
    int stride = (a->heads + 2 * a->kv_heads) * a->d, out_stride = a->heads * a->d;
    size_t scratch_n = thread_scratch(a->t);

    assert(a->heads % a->kv_heads == 0);
#pragma omp parallel
    {
        float *scratch = a->scratch + scratch_n * (size_t)omp_get_thread_num();

#pragma omp for schedule(dynamic)
        for (int task = 0; task < a->b * a->heads; task++) {
            int b = task / a->heads, h = task % a->heads;
            struct head s =
                head_at(a->qkv + (size_t)b * a->t * stride, a->heads, a->kv_heads, a->d, h);

            s.t = a->t;
            for (int from = 0; from < a->t; from += tile_of(a->t))
                forward_tile(&s, from, scratch,
                             a->out + (size_t)b * a->t * out_stride + (size_t)h * a->d, out_stride,
                             a->lse + (size_t)task * a->t);
        }
    }
}

struct head_gradient {
    float *dq, *dk, *dv;     /* rows `stride` apart */
    const float *dout, *lse; /* dout rows out_stride apart */
    const float *delta;      /* [t]: sum of dout * out of each row */
    int out_stride;
    float beta; /* of dk and dv: 0 for the first query head of a group */
};

/* Keys from .. from+n against every query at or after `from`. */
static void backward_tile(const struct head *s, const struct head_gradient *g, int from, float *p,
                          float *dp)
{
    const struct rows *r = rows();
    int n = BT_MIN(tile_of(s->t), s->t - from), queries = s->t - from;
    const float *q = s->q + (size_t)from * s->stride, *k = s->k + (size_t)from * s->stride;
    const float *v = s->v + (size_t)from * s->stride;
    const float *dout = g->dout + (size_t)from * g->out_stride;

    product_alone(&(struct product){.tb = true,
                                    .m = queries,
                                    .n = n,
                                    .k = s->d,
                                    .a = q,
                                    .lda = s->stride,
                                    .b = k,
                                    .ldb = s->stride,
                                    .c = p,
                                    .ldc = n});
    product_alone(&(struct product){.tb = true,
                                    .m = queries,
                                    .n = n,
                                    .k = s->d,
                                    .a = dout,
                                    .lda = g->out_stride,
                                    .b = v,
                                    .ldb = s->stride,
                                    .c = dp,
                                    .ldc = n});
    for (int i = 0; i < queries; i++) {
        const float in[3] = {s->scale, g->lse[from + i], g->delta[from + i]};
        int seen = BT_MIN(n, i + 1);

        r->softmax_backward(p + (size_t)i * n, dp + (size_t)i * n, seen, in);
        memset(p + (size_t)i * n + seen, 0, (size_t)(n - seen) * sizeof(float));
        memset(dp + (size_t)i * n + seen, 0, (size_t)(n - seen) * sizeof(float));
    }
    product_alone(&(struct product){.ta = true,
                                    .m = n,
                                    .n = s->d,
                                    .k = queries,
                                    .a = p,
                                    .lda = n,
                                    .b = dout,
                                    .ldb = g->out_stride,
                                    .beta = g->beta,
                                    .c = g->dv + (size_t)from * s->stride,
                                    .ldc = s->stride});
    product_alone(&(struct product){.ta = true,
                                    .m = n,
                                    .n = s->d,
                                    .k = queries,
                                    .a = dp,
                                    .lda = n,
                                    .b = q,
                                    .ldb = s->stride,
                                    .beta = g->beta,
                                    .c = g->dk + (size_t)from * s->stride,
                                    .ldc = s->stride});
    product_alone(&(struct product){.m = queries,
                                    .n = s->d,
                                    .k = n,
                                    .a = dp,
                                    .lda = n,
                                    .b = k,
                                    .ldb = s->stride,
                                    .beta = from ? 1 : 0,
                                    .c = g->dq + (size_t)from * s->stride,
                                    .ldc = s->stride});
}

/* One query head: h of batch b. */
static void backward_head(const struct kern_attention_backward *a, int b, int h, float *scratch)
{
    const struct rows *r = rows();
    int stride = (a->heads + 2 * a->kv_heads) * a->d, out_stride = a->heads * a->d;
    size_t at = (size_t)b * a->t * stride,
           out_at = (size_t)b * a->t * out_stride + (size_t)h * a->d;
    struct head s = head_at(a->qkv + at, a->heads, a->kv_heads, a->d, h);
    float *delta = scratch, *p = scratch + a->t, *dp = p + (size_t)tile_of(a->t) * a->t;
    const struct head_gradient g = {
        .dq = a->dqkv + at + (s.q - (a->qkv + at)),
        .dk = a->dqkv + at + (s.k - (a->qkv + at)),
        .dv = a->dqkv + at + (s.v - (a->qkv + at)),
        .dout = a->dout + out_at,
        .lse = a->lse + ((size_t)b * a->heads + h) * a->t,
        .delta = delta,
        .out_stride = out_stride,
        .beta = h % (a->heads / a->kv_heads) ? 1 : 0,
    };

    s.t = a->t;
    for (int i = 0; i < a->t; i++)
        delta[i] =
            r->dot(g.dout + (size_t)i * out_stride, a->out + out_at + (size_t)i * out_stride, a->d);
    for (int from = 0; from < a->t; from += tile_of(a->t))
        backward_tile(&s, &g, from, p, dp);
}

void kern_attention_backward(const struct kern_attention_backward *a)
{
    int group = a->heads / a->kv_heads;
    size_t scratch_n = thread_scratch(a->t);

    assert(a->heads % a->kv_heads == 0);
#pragma omp parallel
    {
        float *scratch = a->scratch + scratch_n * (size_t)omp_get_thread_num();

#pragma omp for schedule(dynamic)
        for (int task = 0; task < a->b * a->kv_heads; task++) {
            int b = task / a->kv_heads, first = task % a->kv_heads * group;

            for (int h = first; h < first + group; h++)
                backward_head(a, b, h, scratch);
        }
    }
}
