/* xblock.h - a transformer block that attends to rows of another array: the one part that a vision
 * tower, a resampler and gated cross-attention are made of.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * x' = x + g attention(norm(x), context), x'' = x' + g' ffn(norm(x')), with g = tanh of a weight
 * that starts at 0 (Alayrac et al. 2022) or 1 where the block is not gated. Weights lie in arenas
 * like model.h's: matrices in front, vectors behind. */
#ifndef BT_TRAIN_XBLOCK_H
#define BT_TRAIN_XBLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/kernels.h"

struct xblock {
    int c, context, inner, heads, ffn; /* widths of x, of the context, of attention; ffn's inner */
    bool gated;
    size_t q, kv, o, gate_up, down; /* matrices: floats from the arena's start */
    size_t norm1, norm2, gates;     /* vectors; gates: 2 */
};

enum { XBLOCK_GATES = 2 };

/* Counts floats of an arena under construction, or of an array of activations (then the pieces). */
struct xcarve {
    float *base;
    size_t at;
};
float *xcarve_take(struct xcarve *k, size_t n);

/* Gives the block its places behind *matrices and *vectors. */
void xblock_place(struct xblock *b, size_t *matrices, size_t *vectors);

/* What the block keeps between forward and backward. */
struct xacts {
    int n, m;                  /* rows of x and of the context */
    float *x1, *norm1, *rstd1; /* before attention */
    float *q, *kv, *att, *lse, *z1;
    float *x2, *norm2, *rstd2; /* before the feed-forward part */
    float *gu, *h, *z2;
    const float *ctx; /* borrowed */
    const struct kern_span *spans;
    int n_spans;
};
void xacts_carve(struct xacts *a, const struct xblock *b, int n, int m, struct xcarve *k);

/* Scratch that all blocks of a model share. */
struct xscratch {
    float *attend, *dnorm, *dwide, *dq, *dkv, *dz, *partial;
    float eps, beta; /* beta: 0 overwrites the arena's gradients, 1 adds to them */
};
/* Sizes grow to what this block of n and m rows needs. */
struct xneed {
    size_t attend, narrow, wide, inner, kv, partial;
};
void xneed_add(struct xneed *need, const struct xblock *b, int n, int m, int most_keys);
void xscratch_carve(struct xscratch *s, const struct xneed *need, struct xcarve *k);

/* First half of forward: a->norm1 from x[n,c]. The caller then makes a->ctx, a->spans, a->n_spans.
 */
void xblock_norm(const struct xblock *b, const float *w, struct xacts *a, const struct xscratch *s,
                 const float *x);
/* The rest: x becomes x''. */
void xblock_forward(const struct xblock *b, const float *w, struct xacts *a,
                    const struct xscratch *s, float *x);

/* dx in place from x'' to x', but for the first norm: s->dnorm then holds what reached norm1 by
 * the queries and dctx[m, context] what reached the context. */
void xblock_backward(const struct xblock *b, const float *w, float *grad, struct xacts *a,
                     const struct xscratch *s, float *dx, float *dctx);
/* The first norm: s->dnorm into dx. */
void xblock_norm_backward(const struct xblock *b, const float *w, float *grad, struct xacts *a,
                          const struct xscratch *s, float *dx);

#endif
