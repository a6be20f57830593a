/* kernels.h - the arithmetic of a decoder-only transformer, forward and backward, on the CPU.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Everything is float32, row-major and contiguous unless a stride is given; a
 * `stride` counts floats from one row to the next. n is the number of rows
 * (tokens), c the width of a row. Buffers belong to the caller, none may
 * overlap unless a comment says in place; a kernel writes every element of its
 * outputs. Where gradients of weights are "added", the caller has zeroed or
 * filled the target before; where `beta` is 0 they are overwritten.
 *
 * Threads: kernels use all OpenMP threads set by kern_init; only one thread of
 * the program may call them. Results do not depend on timing: on one machine,
 * with one number of threads, the same inputs give the same bits. Reductions
 * over rows go through blocks of fixed size that are summed in order.
 *
 * Tolerances against a float64 evaluation, as max |got - want| / max |want|
 * over a tensor: element-wise kernels 2e-6, products and attention 2e-5,
 * gradients through attention and cross-entropy 5e-5 (KERN_TOL_x). NaN never
 * passes. Impossible shapes are the caller's bug (assert): the trainer checks
 * its configuration before it comes here. */
#ifndef BT_KERNELS_KERNELS_H
#define BT_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/attr.h"

#define KERN_TOL_ELEMENT 2e-6
#define KERN_TOL_PRODUCT 2e-5
#define KERN_TOL_GRADIENT 5e-5

/* Picks the instruction set of this processor and the number of threads (0: as many as the
 * process may use). Call once before anything else; may be called again to change threads.
 * Denormal numbers count as 0 in these threads from then on. */
void kern_init(int threads);
int kern_threads(void);
/* For tests and comparisons: another of kern_isa's sets from then on, if the processor has it. */
bool kern_pick(const char *isa);

/* First call of a program's main: has the OpenMP run time wait by sleeping almost at once instead
 * of spinning for milliseconds, which stalls all threads as soon as anything else wants a processor
 * (40 steps of a small model beside a busy machine: 96 s spinning, 14 s so). libgomp reads that
 * setting before main, so the program executes itself anew with it, once; a setting of the user
 * (OMP_WAIT_POLICY, GOMP_SPINCOUNT) stays. */
void kern_wait_patiently(char **argv);
const char *kern_isa(void); /* "avx512", "avx2" or "portable"; static */

/* Page-aligned zeroed memory for large arrays, released by kern_free_floats. Aborts when
 * there is none: sizes come from a checked configuration. */
float *kern_floats(size_t count);
void kern_free_floats(float *p, size_t count);

/* ---- products (our own on AVX-512, else BLAS) ---- */

/* y[n,out] = x[n,in] w[out,in]^T: a linear layer with the weight as checkpoints store it. */
void kern_linear(float *y, const float *x, const float *w, int n, int in, int out);
/* dx[n,in] = dy[n,out] w[out,in] */
void kern_linear_dx(float *dx, const float *dy, const float *w, int n, int in, int out);
/* dw[out,in] = dy[n,out]^T x[n,in] + beta dw */
void kern_linear_dw(float *dw, const float *dy, const float *x, int n, int in, int out, float beta);

/* ---- embedding ---- */

/* out[n,c] = table[ids[i],c]; ids are within the table (the caller's duty). */
void kern_embed(float *out, const float *table, const int32_t *ids, int n, int c);
/* dtable[ids[i]] += dout[i], in order of i for each element: reproducible. */
void kern_embed_backward(float *dtable, const float *dout, const int32_t *ids, int n, int c);

/* ---- residual add + RMSNorm (Zhang and Sennrich 2019), fused ---- */

/* sum = x + y (y NULL: sum = x; sum may be x), rstd[i] = 1/sqrt(mean(sum[i]^2) + eps),
 * out = sum * rstd * w[c]. */
struct kern_add_norm {
    float *out, *sum, *rstd;
    const float *x, *y, *w;
    int n, c;
    float eps;
};
void kern_add_norm(const struct kern_add_norm *a);
/* With dout the gradient of out: dsum (in place: it holds what reaches sum from elsewhere,
 * NULL dsum_in means none and dsum is overwritten) += through the norm; dw[c] = ... + beta dw.
 * Two stages: blocks of KERN_NORM_ROWS rows into `partial`, then the blocks in order.
 * partial: kern_norm_partial(n, c) floats. */
enum { KERN_NORM_ROWS = 64 };
size_t kern_norm_partial(int n, int c);
struct kern_norm_backward {
    float *dsum;        /* [n,c] in place */
    bool dsum_is_empty; /* dsum holds nothing yet */
    float *dw;          /* [c]; NULL: the weight is frozen */
    float beta;         /* of dw: 0 or 1 */
    float *partial;
    const float *dout; /* [n,c] */
    const float *sum;  /* [n,c] */
    const float *rstd; /* [n] */
    const float *w;    /* [c] */
    int n, c;
};
void kern_norm_backward(const struct kern_norm_backward *a);

/* ---- rotary position embedding (Su et al. 2021), rotate_half layout: pairs (i, i + d/2) ---- */

/* cos and sin [t, d/2]: angle = pos * theta^(-2i/d), computed in float64. */
void kern_rope_table(float *cos, float *sin, int t, int d, double theta);
/* Rotates `heads` heads of width d at the head of each row of x[n, stride], in place; row i is at
 * position i % t. inverse: the transposed rotation, which is the gradient's. */
struct kern_rope {
    float *x;
    const float *cos, *sin;
    int n, t, stride, heads, d;
    bool inverse;
};
void kern_rope(const struct kern_rope *a);

/* ---- causal attention, grouped-query (Ainslie et al. 2023), blocked ---- */

/* qkv[b*t, stride]: a row holds `heads` queries, then kv_heads keys, then kv_heads values, each
 * of width d; stride = (heads + 2 kv_heads) d; heads % kv_heads == 0. Query head h reads
 * key/value head h / (heads / kv_heads). Scores are scaled by 1/sqrt(d). Tiles that the
 * mask hides are skipped; scores live in scratch, one tile a thread, never all at once. */
struct kern_attention {
    const float *qkv;
    float *out;     /* [b*t, heads*d] */
    float *lse;     /* [b, heads, t]: log of the sum of exp of each query's scores */
    float *scratch; /* kern_attention_scratch(t) floats */
    int b, t, heads, kv_heads, d;
};
void kern_attention(const struct kern_attention *a);

/* dqkv of qkv's shape from dout of out's shape; recomputes the scores from lse. */
struct kern_attention_backward {
    float *dqkv;
    const float *qkv, *out, *lse, *dout;
    float *scratch; /* kern_attention_scratch(t) floats */
    int b, t, heads, kv_heads, d;
};
void kern_attention_backward(const struct kern_attention_backward *a);

size_t kern_attention_scratch(int t); /* for the threads of kern_init, either direction */

/* ---- attention without a mask between spans of two arrays (Vaswani et al. 2017) ---- */

/* Rows q .. q+n_q of the queries see rows k .. k+n_k of keys and values and no others: an image
 * sees itself, latents their image, text the image before it (Alayrac et al. 2022). A row
 * of queries lies in at most one span, a row of keys too; n_k > 0. */
struct kern_span {
    int q, n_q, k, n_k;
};
/* Head h of a row lies at column h d of q, k, v and out; out's rows are q_stride apart as q's are,
 * and rows in no span become 0. lse[heads, q_rows]: log of the sum of exp of a query's scores. */
struct kern_attend {
    const float *q, *k, *v;
    float *out, *lse;
    const struct kern_span *spans;
    float *scratch; /* kern_attend_scratch(most n_k of a span) floats */
    int n_spans, q_rows, kv_rows, q_stride, kv_stride, heads, d;
};
size_t kern_attend_scratch(int n_k);
void kern_attend(const struct kern_attend *a);
/* forward: as it was, with its out and lse. dq like q, dk and dv like k and v; 0 in no span. */
struct kern_attend_backward {
    struct kern_attend forward;
    const float *dout;
    float *dq, *dk, *dv;
};
void kern_attend_backward(const struct kern_attend_backward *b);

/* ---- a branch behind a gate (Alayrac et al. 2022): 0 lets nothing through ---- */

/* x += tanh(gate) z */
void kern_gate(float *x, const float *z, float gate, size_t n);
/* dz = tanh(gate) dx (dz may be z); returns the gate's gradient. */
double kern_gate_backward(float *dz, const float *dx, const float *z, float gate, size_t n);

/* ---- patches of an image (Dosovitskiy et al. 2021) ---- */

/* image[size, size, 3] becomes out[(size/patch)^2, patch * patch * 3], patch by patch. */
void kern_patches(float *out, const float *image, int size, int patch);
/* x[i] += table[i % cycle]: positions of patches; latents that each image starts with. */
void kern_add_cycle(float *x, const float *table, int n, int cycle, int c);
/* dtable[i % cycle] += dx[i], in order of i. */
void kern_sum_cycle(float *dtable, const float *dx, int n, int cycle, int c);

/* ---- SwiGLU (Shazeer 2020) ---- */

/* gu[n,2f] holds gate then up in each row; h[n,f] = silu(gate) * up. */
void kern_swiglu(float *h, const float *gu, int n, int f);
/* gu becomes its own gradient. */
void kern_swiglu_backward(float *gu, const float *dh, int n, int f);

/* ---- linear + cross-entropy over chunks of rows: logits never exist as a whole ---- */

/* logits = x w^T; loss[i] = -log softmax(logits[i])[target[i]], 0 where target[i] < 0 (and no
 * gradient). With dx: dx = scale * dlogits w, dw = scale * dlogits^T x + beta dw, summed in float32
 * over the chunks in order. Returns the sum of loss in float64. Log-sum-exp
 * is taken relative to the row's maximum. */
struct kern_linear_loss {
    const float *x;        /* [n,c] */
    const float *w;        /* [v,c] */
    const int32_t *target; /* [n] */
    float *loss;           /* [n] or NULL */
    float *dx;             /* [n,c] or NULL: loss only */
    float *dw;             /* [v,c]; used with dx; NULL: the weight is frozen */
    float scale, beta;
    float *chunk; /* kern_linear_loss_chunk(n, v) floats */
    int n, c, v;
};
size_t kern_linear_loss_chunk(int n, int v);
double kern_linear_loss(const struct kern_linear_loss *a);

/* ---- optimizer over a flat arena ---- */

/* Sum of squares in float64, blocks of fixed size summed in order. */
double kern_sum_squares(const float *x, size_t count);

/* AdamW (Loshchilov and Hutter 2019), bias-corrected; the gradient is multiplied by grad_scale
 * first (global-norm clipping and averaging folded in). step counts from 1. */
struct kern_adamw {
    float *w, *m, *v;
    const float *grad;
    size_t count;
    double lr, beta1, beta2, eps, decay, grad_scale;
    int64_t step;
};
void kern_adamw(const struct kern_adamw *a);

struct kern_matrix {
    float *x; /* [rows,cols] */
    int rows, cols;
};
/* In place, each of n matrices: its singular values become 0.7 .. 1.2 while its singular vectors
 * stay, by five rounds of Newton and Schulz (Jordan et al. 2024, "Muon"); zeros stay zeros. A
 * matrix is one thread's, so its bits do not depend on the number of threads or on the others.
 * scratch: kern_threads() x `each` floats, each = the most that kern_orthogonal_scratch says of
 * one. */
size_t kern_orthogonal_scratch(int rows, int cols);
void kern_orthogonal(const struct kern_matrix *list, int n, float *scratch, size_t each);

/* y += x */
void kern_add(float *y, const float *x, size_t count);

/* ---- counter-based random numbers: Philox4x32-10 (Salmon et al. 2011) ---- */

/* Four 32-bit words from a 64-bit key and a 128-bit counter; pure, any thread. */
void kern_philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo, uint32_t out[4]);
/* x[i] ~ N(0, sd^2), element i from counter (stream, i / 4): independent of threads. */
void kern_normal(float *x, size_t count, double sd, uint64_t key, uint64_t stream);

/* GFLOP/s of one m*n*k product as the trainer runs it, best of the repetitions within
 * about budget_us: the ceiling that utilisation is measured against. */
double kern_gemm_gflops(int m, int n, int k, int64_t budget_us);

#endif
