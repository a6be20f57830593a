/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/xblock.h"

#include "lib/base/mem.h"

float *xcarve_take(struct xcarve *k, size_t n)
{
    float *p = k->base ? k->base + k->at : NULL;

    k->at += (n + 15) & ~(size_t)15;
    return p;
}

static size_t place(size_t *at, size_t n)
{
    size_t from = *at;

    *at += (n + 15) & ~(size_t)15;
    return from;
}

void xblock_place(struct xblock *b, size_t *matrices, size_t *vectors)
{
    size_t c = (size_t)b->c, inner = (size_t)b->inner, ffn = (size_t)b->ffn;

    b->q = place(matrices, inner * c);
    b->kv = place(matrices, 2 * inner * (size_t)b->context);
    b->o = place(matrices, c * inner);
    b->gate_up = place(matrices, 2 * ffn * c);
    b->down = place(matrices, c * ffn);
    b->norm1 = place(vectors, c);
    b->norm2 = place(vectors, c);
    b->gates = place(vectors, XBLOCK_GATES);
}

void xacts_carve(struct xacts *a, const struct xblock *b, int n, int m, struct xcarve *k)
{
    size_t rows = (size_t)n, c = (size_t)b->c, inner = (size_t)b->inner;

    a->n = n;
    a->m = m;
    a->x1 = xcarve_take(k, rows * c);
    a->norm1 = xcarve_take(k, rows * c);
    a->rstd1 = xcarve_take(k, rows);
    a->q = xcarve_take(k, rows * inner);
    a->kv = xcarve_take(k, (size_t)m * 2 * inner);
    a->att = xcarve_take(k, rows * inner);
    a->lse = xcarve_take(k, rows * (size_t)b->heads);
    a->z1 = xcarve_take(k, rows * c);
    a->x2 = xcarve_take(k, rows * c);
    a->norm2 = xcarve_take(k, rows * c);
    a->rstd2 = xcarve_take(k, rows);
    a->gu = xcarve_take(k, rows * 2 * (size_t)b->ffn);
    a->h = xcarve_take(k, rows * (size_t)b->ffn);
    a->z2 = xcarve_take(k, rows * c);
}

static void grow(size_t *at, size_t to)
{
    *at = BT_MAX(*at, to);
}

void xneed_add(struct xneed *need, const struct xblock *b, int n, int m, int most_keys)
{
    size_t rows = (size_t)n;

    grow(&need->attend, kern_attend_scratch(most_keys));
    grow(&need->narrow, rows * (size_t)b->c);
    grow(&need->wide, rows * (size_t)BT_MAX(b->ffn, b->inner));
    grow(&need->inner, rows * (size_t)b->inner);
    grow(&need->kv, (size_t)m * 2 * (size_t)b->inner);
    grow(&need->partial, kern_norm_partial(n, b->c));
}

void xscratch_carve(struct xscratch *s, const struct xneed *need, struct xcarve *k)
{
    s->attend = xcarve_take(k, need->attend);
    s->dnorm = xcarve_take(k, need->narrow);
    s->dwide = xcarve_take(k, need->wide);
    s->dq = xcarve_take(k, need->inner);
    s->dkv = xcarve_take(k, need->kv);
    s->dz = xcarve_take(k, need->narrow);
    s->partial = xcarve_take(k, need->partial);
}

void xblock_norm(const struct xblock *b, const float *w, struct xacts *a, const struct xscratch *s,
                 const float *x)
{
    kern_add_norm(&(struct kern_add_norm){.out = a->norm1,
                                          .sum = a->x1,
                                          .rstd = a->rstd1,
                                          .x = x,
                                          .w = w + b->norm1,
                                          .n = a->n,
                                          .c = b->c,
                                          .eps = s->eps});
}

static struct kern_attend attention(const struct xblock *b, const struct xacts *a,
                                    const struct xscratch *s)
{
    return (struct kern_attend){.q = a->q,
                                .k = a->kv,
                                .v = a->kv + b->inner,
                                .out = a->att,
                                .lse = a->lse,
                                .spans = a->spans,
                                .scratch = s->attend,
                                .n_spans = a->n_spans,
                                .q_rows = a->n,
                                .kv_rows = a->m,
                                .q_stride = b->inner,
                                .kv_stride = 2 * b->inner,
                                .heads = b->heads,
                                .d = b->inner / b->heads};
}

static void join(const struct xblock *b, const float *w, int gate, float *x, const float *z, int n)
{
    size_t size = (size_t)n * (size_t)b->c;

    if (b->gated)
        kern_gate(x, z, w[b->gates + (size_t)gate], size);
    else
        kern_add(x, z, size);
}

void xblock_forward(const struct xblock *b, const float *w, struct xacts *a,
                    const struct xscratch *s, float *x)
{
    struct kern_attend attend = attention(b, a, s);
    int n = a->n;

    kern_linear(a->q, a->norm1, w + b->q, n, b->c, b->inner);
    kern_linear(a->kv, a->ctx, w + b->kv, a->m, b->context, 2 * b->inner);
    kern_attend(&attend);
    kern_linear(a->z1, a->att, w + b->o, n, b->inner, b->c);
    join(b, w, 0, x, a->z1, n);
    kern_add_norm(&(struct kern_add_norm){.out = a->norm2,
                                          .sum = a->x2,
                                          .rstd = a->rstd2,
                                          .x = x,
                                          .w = w + b->norm2,
                                          .n = n,
                                          .c = b->c,
                                          .eps = s->eps});
    kern_linear(a->gu, a->norm2, w + b->gate_up, n, b->c, 2 * b->ffn);
    kern_swiglu(a->h, a->gu, n, b->ffn);
    kern_linear(a->z2, a->h, w + b->down, n, b->ffn, b->c);
    join(b, w, 1, x, a->z2, n);
}

/* What reaches z when dx reaches x + g z. */
static const float *part(const struct xblock *b, const float *w, float *grad, int gate,
                         const struct xacts *a, const struct xscratch *s, const float *dx)
{
    size_t at = b->gates + (size_t)gate;
    double d;

    if (!b->gated)
        return dx;
    d = kern_gate_backward(s->dz, dx, gate ? a->z2 : a->z1, w[at], (size_t)a->n * (size_t)b->c);
    grad[at] = (s->beta > 0 ? grad[at] : 0) + (float)d;
    return s->dz;
}

static void norm_backward(const struct xblock *b, const float *w, float *grad,
                          const struct xacts *a, const struct xscratch *s, bool second, float *dx)
{
    size_t weight = second ? b->norm2 : b->norm1;

    kern_norm_backward(&(struct kern_norm_backward){.dsum = dx,
                                                    .dw = grad + weight,
                                                    .beta = s->beta,
                                                    .partial = s->partial,
                                                    .dout = s->dnorm,
                                                    .sum = second ? a->x2 : a->x1,
                                                    .rstd = second ? a->rstd2 : a->rstd1,
                                                    .w = w + weight,
                                                    .n = a->n,
                                                    .c = b->c});
}

void xblock_backward(const struct xblock *b, const float *w, float *grad, struct xacts *a,
                     const struct xscratch *s, float *dx, float *dctx)
{
    const float *dz = part(b, w, grad, 1, a, s, dx);
    int n = a->n;

    kern_linear_dx(s->dwide, dz, w + b->down, n, b->ffn, b->c);
    kern_linear_dw(grad + b->down, dz, a->h, n, b->ffn, b->c, s->beta);
    kern_swiglu_backward(a->gu, s->dwide, n, b->ffn);
    kern_linear_dx(s->dnorm, a->gu, w + b->gate_up, n, b->c, 2 * b->ffn);
    kern_linear_dw(grad + b->gate_up, a->gu, a->norm2, n, b->c, 2 * b->ffn, s->beta);
    norm_backward(b, w, grad, a, s, true, dx);

    dz = part(b, w, grad, 0, a, s, dx);
    kern_linear_dx(s->dwide, dz, w + b->o, n, b->inner, b->c);
    kern_linear_dw(grad + b->o, dz, a->att, n, b->inner, b->c, s->beta);
    kern_attend_backward(&(struct kern_attend_backward){.forward = attention(b, a, s),
                                                        .dout = s->dwide,
                                                        .dq = s->dq,
                                                        .dk = s->dkv,
                                                        .dv = s->dkv + b->inner});
    kern_linear_dx(s->dnorm, s->dq, w + b->q, n, b->c, b->inner);
    kern_linear_dw(grad + b->q, s->dq, a->norm1, n, b->c, b->inner, s->beta);
    kern_linear_dx(dctx, s->dkv, w + b->kv, a->m, b->context, 2 * b->inner);
    kern_linear_dw(grad + b->kv, s->dkv, a->ctx, a->m, b->context, 2 * b->inner, s->beta);
}

void xblock_norm_backward(const struct xblock *b, const float *w, float *grad, struct xacts *a,
                          const struct xscratch *s, float *dx)
{
    norm_backward(b, w, grad, a, s, false, dx);
}
