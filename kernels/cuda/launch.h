/* launch.h - one function a kernel: grid, threads, shared memory. For ops.c alone.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * stream is a cudaStream_t (or nothing, emulated). Each returns cudaError_t as int: 0 is
 * success. Arguments were checked by the caller. */
#ifndef BT_KERNELS_CUDA_LAUNCH_H
#define BT_KERNELS_CUDA_LAUNCH_H

#include "kernels/cuda/args.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cuda_rows_loss {  /* one chunk of logits */
    const float *logits; /* [n,v] */
    kern_bf16 *dlogits;  /* [n,v] or NULL */
    const int32_t *target;
    float *loss;
    float scale;
    int n, v;
};
struct cuda_one_hot {
    kern_bf16 *to; /* [n,v] */
    const int32_t *ids;
    int n, v;
};
struct cuda_squares {
    double *result, *partial; /* partial [CUDA_SUM_BLOCKS] */
    const float *x;
    size_t count;
};
struct cuda_round {
    kern_bf16 *to;
    const float *from;
    size_t count;
};

int launch_add_norm(void *stream, const struct cuda_add_norm *a);
int launch_norm_backward(void *stream, const struct cuda_norm_backward *a);
int launch_rope(void *stream, const struct cuda_rope *a);
int launch_attention(void *stream, const struct cuda_attention *a);
int launch_attention_backward(void *stream, const struct cuda_attention_backward *a);
int launch_swiglu(void *stream, const struct cuda_swiglu *a);
int launch_swiglu_backward(void *stream, const struct cuda_swiglu_backward *a);
int launch_embed(void *stream, const struct cuda_embed *a);
int launch_one_hot(void *stream, const struct cuda_one_hot *a);
int launch_rows_loss(void *stream, const struct cuda_rows_loss *a);
int launch_adamw(void *stream, const struct cuda_adamw *a);
int launch_squares(void *stream, const struct cuda_squares *a);
int launch_round(void *stream, const struct cuda_round *a);

#ifdef __cplusplus
}
#endif

#endif
