/* adamw.cu - the optimizer over a flat arena in one launch, and sums of squares.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * AdamW reads gradient, master weight and both moments and writes the latter
 * three and the rounded weight: 30 bytes an element, each once. Decay ends at
 * an index (matrices lie first), clipping is a factor of the gradient.
 * References: kernels/block.c, rows.c. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

enum { ADAMW_THREADS = 256, SQUARES_THREADS = 256, QUAD = 4 };

struct adamw_terms {
    float *master, *m, *v;
    kern_bf16 *w;
    const float *grad;
    size_t count, decayed;
    float beta1, beta2, step_size, inv_correction2, eps, decay, grad_scale;
};

DEVICE float adamw_one(const struct adamw_terms *a, float w, float g, float *m, float *v,
                       bool decays)
{
    g *= a->grad_scale;
    *m = a->beta1 * *m + (1.0f - a->beta1) * g;
    *v = a->beta2 * *v + (1.0f - a->beta2) * g * g;
    return w - (decays ? a->decay * w : 0.0f) -
           a->step_size * *m / (sqrtf(*v * a->inv_correction2) + a->eps);
}

KERNEL(adamw_kernel, struct adamw_terms, ADAMW_THREADS, 1)
{
    const size_t at = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * QUAD;

    if (at + QUAD <= a.count) {
        struct pack4f w = *(struct pack4f *)(void *)(a.master + at);
        struct pack4f m = *(struct pack4f *)(void *)(a.m + at);
        struct pack4f v = *(struct pack4f *)(void *)(a.v + at);
        const struct pack4f g = *(const struct pack4f *)(const void *)(a.grad + at);

        UNROLL
        for (int i = 0; i < QUAD; i++)
            w.f[i] = adamw_one(&a, w.f[i], g.f[i], &m.f[i], &v.f[i], at + (size_t)i < a.decayed);
        *(struct pack4f *)(void *)(a.master + at) = w;
        *(struct pack4f *)(void *)(a.m + at) = m;
        *(struct pack4f *)(void *)(a.v + at) = v;
        ((uint32_t *)(void *)(a.w + at))[0] = pack_bf16(w.f[0], w.f[1]);
        ((uint32_t *)(void *)(a.w + at))[1] = pack_bf16(w.f[2], w.f[3]);
        return;
    }
    for (size_t i = at; i < a.count; i++) {
        a.master[i] = adamw_one(&a, a.master[i], a.grad[i], &a.m[i], &a.v[i], i < a.decayed);
        a.w[i] = (kern_bf16)(pack_bf16(a.master[i], 0) & 0xffffu);
    }
}

LAUNCHER int launch_adamw(void *stream, const struct cuda_adamw *a)
{
    const size_t blocks =
        (a->count + (size_t)ADAMW_THREADS * QUAD - 1) / ((size_t)ADAMW_THREADS * QUAD);
    struct adamw_terms k;

    k.master = a->master;
    k.m = a->m;
    k.v = a->v;
    k.w = a->w;
    k.grad = a->grad;
    k.count = a->count;
    k.decayed = a->decayed;
    k.beta1 = (float)a->beta1;
    k.beta2 = (float)a->beta2;
    k.step_size = (float)(a->lr / (1 - pow(a->beta1, (double)a->step)));
    k.inv_correction2 = (float)(1 / (1 - pow(a->beta2, (double)a->step)));
    k.eps = (float)a->eps;
    k.decay = (float)(a->lr * a->decay);
    k.grad_scale = (float)a->grad_scale;
    LAUNCH(adamw_kernel, make_grid(blocks, 1), ADAMW_THREADS, 0, stream, k);
    return 0;
}

/* Block b sums its run of quads in float64, threads interleaved, then in order of threads. */
KERNEL(squares_kernel, struct cuda_squares, SQUARES_THREADS, 1)
{
    SHARED_MEMORY(double, part);
    const size_t quads = a.count / QUAD, per = (quads + CUDA_SUM_BLOCKS - 1) / CUDA_SUM_BLOCKS;
    const size_t from = (size_t)blockIdx.x * per, end = from + per < quads ? from + per : quads;
    double sum = 0;

    for (size_t i = from + threadIdx.x; i < end; i += blockDim.x) {
        const struct pack4f x = *(const struct pack4f *)(const void *)(a.x + i * QUAD);

        UNROLL
        for (int k = 0; k < QUAD; k++)
            sum += (double)x.f[k] * (double)x.f[k];
    }
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        for (size_t i = quads * QUAD; i < a.count; i++)
            sum += (double)a.x[i] * (double)a.x[i];
    }
    UNROLL
    for (int mask = WARP / 2; mask; mask /= 2)
        sum += shuffle_xor_double(sum, mask);
    if (threadIdx.x % WARP == 0)
        part[threadIdx.x / WARP] = sum;
    block_sync();
    if (threadIdx.x != 0)
        return;
    sum = 0;
    for (int i = 0; i < SQUARES_THREADS / WARP; i++)
        sum += part[i];
    a.partial[blockIdx.x] = sum;
}

/* One warp: lane l sums its run of 32 parts, then the lanes together. */
KERNEL(squares_end_kernel, struct cuda_squares, WARP, 1)
{
    double sum = 0;

    for (int i = 0; i < CUDA_SUM_BLOCKS / WARP; i++)
        sum += a.partial[(int)threadIdx.x * (CUDA_SUM_BLOCKS / WARP) + i];
    UNROLL
    for (int mask = WARP / 2; mask; mask /= 2)
        sum += shuffle_xor_double(sum, mask);
    if (threadIdx.x == 0)
        *a.result = sum;
}

LAUNCHER int launch_squares(void *stream, const struct cuda_squares *a)
{
    LAUNCH(squares_kernel, make_grid(CUDA_SUM_BLOCKS, 1), SQUARES_THREADS, 256, stream, *a);
    LAUNCH(squares_end_kernel, make_grid(1, 1), WARP, 0, stream, *a);
    return 0;
}

KERNEL(round_kernel, struct cuda_round, ADAMW_THREADS, 1)
{
    const size_t at = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * QUAD;

    for (size_t i = at; i < at + QUAD && i < a.count; i++)
        a.to[i] = (kern_bf16)(pack_bf16(a.from[i], 0) & 0xffffu);
}

LAUNCHER int launch_round(void *stream, const struct cuda_round *a)
{
    const size_t per = (size_t)ADAMW_THREADS * QUAD;

    LAUNCH(round_kernel, make_grid((a->count + per - 1) / per, 1), ADAMW_THREADS, 0, stream, *a);
    return 0;
}
