/* args.h - the arguments of the GPU's kernels, for C, CUDA C++ and the emulation alike.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shapes and meanings are those of kernels.h; see cuda.h for types, order and tolerances. */
#ifndef BT_KERNELS_CUDA_ARGS_H
#define BT_KERNELS_CUDA_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define KERN_BOTH static inline __host__ __device__
#else
#define KERN_BOTH static inline
#endif

enum {
    CUDA_WIDTH_MAX = 16384,     /* of a row that is normalised */
    CUDA_NORM_BLOCKS = 2048,    /* most parts of the norm's weight gradient */
    CUDA_NORM_ROWS = 16,        /* fewest rows of a part */
    CUDA_SUM_BLOCKS = 1024,     /* parts of a sum of squares */
    CUDA_LOSS_BYTES = 64 << 20, /* of the logits of one chunk, about */
};

typedef uint16_t kern_bf16; /* the upper half of a float32 */

struct cuda_add_norm {
    kern_bf16 *out, *sum;   /* [n,c] */
    float *rstd;            /* [n] */
    const kern_bf16 *x, *y; /* [n,c]; y NULL: sum = x */
    const kern_bf16 *w;     /* [c] */
    int n, c;
    float eps;
};

struct cuda_norm_backward {
    kern_bf16 *dsum; /* [n,c] in place */
    float *dw;       /* [c] */
    float *partial;  /* [cuda_norm_parts(n), c] */
    const kern_bf16 *dout, *sum, *w;
    const float *rstd;
    int n, c;
    bool dsum_is_empty, add; /* add: to what dw holds */
};

struct cuda_rope {
    kern_bf16 *x;
    const float *cos, *sin; /* [t, d/2] */
    int n, t, stride, heads, d;
    bool inverse;
};

struct cuda_attention {
    const kern_bf16 *qkv; /* [b*t, (heads + 2 kv_heads) d] */
    kern_bf16 *out;       /* [b*t, heads d] */
    float *lse;           /* [b, heads, t] */
    int b, t, heads, kv_heads, d;
};

struct cuda_attention_backward {
    kern_bf16 *dqkv;
    float *delta; /* [b, heads, t] scratch */
    const kern_bf16 *qkv, *out, *dout;
    const float *lse;
    int b, t, heads, kv_heads, d;
};

struct cuda_swiglu {
    kern_bf16 *h;        /* [n,f] */
    const kern_bf16 *gu; /* [n,2f] */
    int n, f;
};

struct cuda_swiglu_backward {
    kern_bf16 *gu; /* becomes its own gradient */
    const kern_bf16 *dh;
    int n, f;
};

struct cuda_embed {
    kern_bf16 *out;         /* [n,c] */
    const kern_bf16 *table; /* [v,c] */
    const int32_t *ids;
    int n, c;
};

/* The table's gradient is the product of a one-hot matrix with dout, in chunks of rows: exact, in
 * a fixed order, and fast while the vocabulary is small (bytes). */
struct cuda_embed_backward {
    float *dtable; /* [v,c], added to */
    const kern_bf16 *dout;
    const int32_t *ids;
    kern_bf16 *one_hot; /* [chunk, v] scratch */
    int n, c, v;
    int chunk; /* rows at once; 0: cuda_loss_rows(n, v) */
};

struct cuda_linear_loss {
    const kern_bf16 *x, *w; /* [n,c], [v,c] */
    const int32_t *target;
    float *loss;        /* [n] */
    kern_bf16 *dx;      /* [n,c] or NULL: loss only */
    float *dw;          /* [v,c]; used with dx */
    float *logits;      /* [chunk, v] scratch */
    kern_bf16 *dlogits; /* the same, used with dx */
    float scale;
    bool add; /* to what dw holds */
    int n, c, v;
    int chunk; /* rows at once; 0: cuda_loss_rows(n, v) */
};

struct cuda_adamw {
    float *master, *m, *v; /* [count] */
    kern_bf16 *w;          /* [count]: master rounded */
    const float *grad;
    size_t count, decayed; /* only the first `decayed` elements decay */
    double lr, beta1, beta2, eps, decay, grad_scale;
    int64_t step;
};

/* Which way round a product goes; the names are those of kernels.h. */
enum cuda_product_kind { CUDA_LINEAR, CUDA_LINEAR_DX, CUDA_LINEAR_DW };
struct cuda_product {
    enum cuda_product_kind kind;
    void *to;               /* bfloat16, or float32 where `wide` */
    const kern_bf16 *a, *b; /* LINEAR: x, w. DX: dy, w. DW: dy, x. */
    int n, in, out;
    bool wide, add; /* add: to what `to` holds; wide only */
};

/* Parts of the norm's weight gradient: from the number of rows alone. */
KERN_BOTH int cuda_norm_parts(int n)
{
    int parts = (n + CUDA_NORM_ROWS - 1) / CUDA_NORM_ROWS;

    return parts < CUDA_NORM_BLOCKS ? parts : CUDA_NORM_BLOCKS;
}

/* Rows of one chunk of logits. */
KERN_BOTH int cuda_loss_rows(int n, int v)
{
    int rows = (int)(CUDA_LOSS_BYTES / sizeof(float)) / v / 64 * 64;

    rows = rows < 64 ? 64 : rows;
    return rows < n ? rows : n;
}

KERN_BOTH float kern_from_bf16(kern_bf16 x)
{
    union {
        uint32_t bits;
        float f;
    } u = {(uint32_t)x << 16};

    return u.f;
}

/* Round to nearest even; NaN stays NaN. */
KERN_BOTH kern_bf16 kern_to_bf16(float x)
{
    union {
        float f;
        uint32_t bits;
    } u = {x};

    if ((u.bits & 0x7fffffffu) > 0x7f800000u)
        return (kern_bf16)(u.bits >> 16 | 0x40u);
    return (kern_bf16)((u.bits + 0x7fffu + (u.bits >> 16 & 1u)) >> 16);
}

#endif
