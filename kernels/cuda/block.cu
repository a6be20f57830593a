/* block.cu - what else stands between the products: rotation, SwiGLU, embedding rows.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Each thread takes packs of 8 elements (16 bytes); nothing is reduced.
 * References: kernels/block.c, kernels/linear.c. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

enum { FLAT_THREADS = 256 };

static size_t flat_grid(size_t packs)
{
    return (packs + FLAT_THREADS - 1) / FLAT_THREADS;
}

DEVICE size_t flat_index(void)
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* Pack p of a row: 8 pairs (i, i + d/2) of one head. */
KERNEL(rope_kernel, struct cuda_rope, FLAT_THREADS, 1)
{
    const int half = a.d / 2, per_head = half / PACK, per_row = a.heads * per_head;
    const size_t at = flat_index(), row = at / (size_t)per_row;
    const int p = (int)(at % (size_t)per_row), head = p / per_head, i = p % per_head * PACK;
    const float sign = a.inverse ? -1.0f : 1.0f;
    kern_bf16 *x = a.x + row * (size_t)a.stride + (size_t)head * (size_t)a.d + (size_t)i;
    const size_t angle = row % (size_t)a.t * (size_t)half + (size_t)i;
    float low[PACK], high[PACK];

    if (row >= (size_t)a.n)
        return;
    unpack8(low, x);
    unpack8(high, x + half);
    UNROLL
    for (int k = 0; k < PACK; k++) {
        float c = a.cos[angle + (size_t)k], s = sign * a.sin[angle + (size_t)k];
        float turned = low[k] * c - high[k] * s;

        high[k] = high[k] * c + low[k] * s;
        low[k] = turned;
    }
    pack8_to(x, low);
    pack8_to(x + half, high);
}

LAUNCHER int launch_rope(void *stream, const struct cuda_rope *a)
{
    size_t packs = (size_t)a->n * (size_t)a->heads * (size_t)(a->d / 2 / PACK);

    LAUNCH(rope_kernel, make_grid(flat_grid(packs), 1), FLAT_THREADS, 0, stream, *a);
    return 0;
}

DEVICE float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

KERNEL(swiglu_kernel, struct cuda_swiglu, FLAT_THREADS, 1)
{
    const size_t per_row = (size_t)a.f / PACK, at = flat_index(), row = at / per_row;
    const size_t i = at % per_row * PACK;
    float gate[PACK], up[PACK];

    if (row >= (size_t)a.n)
        return;
    unpack8(gate, a.gu + row * 2 * (size_t)a.f + i);
    unpack8(up, a.gu + row * 2 * (size_t)a.f + (size_t)a.f + i);
    UNROLL
    for (int k = 0; k < PACK; k++)
        gate[k] = gate[k] * sigmoid(gate[k]) * up[k];
    pack8_to(a.h + row * (size_t)a.f + i, gate);
}

LAUNCHER int launch_swiglu(void *stream, const struct cuda_swiglu *a)
{
    LAUNCH(swiglu_kernel, make_grid(flat_grid((size_t)a->n * (size_t)(a->f / PACK)), 1),
           FLAT_THREADS, 0, stream, *a);
    return 0;
}

KERNEL(swiglu_backward_kernel, struct cuda_swiglu_backward, FLAT_THREADS, 1)
{
    const size_t per_row = (size_t)a.f / PACK, at = flat_index(), row = at / per_row;
    const size_t i = at % per_row * PACK;
    float gate[PACK], up[PACK], dh[PACK];

    if (row >= (size_t)a.n)
        return;
    unpack8(gate, a.gu + row * 2 * (size_t)a.f + i);
    unpack8(up, a.gu + row * 2 * (size_t)a.f + (size_t)a.f + i);
    unpack8(dh, a.dh + row * (size_t)a.f + i);
    UNROLL
    for (int k = 0; k < PACK; k++) {
        float s = sigmoid(gate[k]), silu = gate[k] * s;
        float dgate = dh[k] * up[k] * (s + silu * (1.0f - s));

        up[k] = dh[k] * silu;
        gate[k] = dgate;
    }
    pack8_to(a.gu + row * 2 * (size_t)a.f + i, gate);
    pack8_to(a.gu + row * 2 * (size_t)a.f + (size_t)a.f + i, up);
}

LAUNCHER int launch_swiglu_backward(void *stream, const struct cuda_swiglu_backward *a)
{
    LAUNCH(swiglu_backward_kernel, make_grid(flat_grid((size_t)a->n * (size_t)(a->f / PACK)), 1),
           FLAT_THREADS, 0, stream, *a);
    return 0;
}

KERNEL(embed_kernel, struct cuda_embed, FLAT_THREADS, 1)
{
    const size_t per_row = (size_t)a.c / PACK, at = flat_index(), row = at / per_row;
    const size_t i = at % per_row * PACK;

    if (row >= (size_t)a.n)
        return;
    *(struct pack8 *)(void *)(a.out + row * (size_t)a.c + i) =
        *(const struct pack8 *)(const void *)(a.table + (size_t)a.ids[row] * (size_t)a.c + i);
}

LAUNCHER int launch_embed(void *stream, const struct cuda_embed *a)
{
    LAUNCH(embed_kernel, make_grid(flat_grid((size_t)a->n * (size_t)(a->c / PACK)), 1),
           FLAT_THREADS, 0, stream, *a);
    return 0;
}

KERNEL(one_hot_kernel, struct cuda_one_hot, FLAT_THREADS, 1)
{
    const size_t per_row = (size_t)a.v / PACK, at = flat_index(), row = at / per_row;
    const int i = (int)(at % per_row) * PACK;
    float x[PACK];

    if (row >= (size_t)a.n)
        return;
    UNROLL
    for (int k = 0; k < PACK; k++)
        x[k] = a.ids[row] == i + k ? 1.0f : 0.0f;
    pack8_to(a.to + row * (size_t)a.v + (size_t)i, x);
}

LAUNCHER int launch_one_hot(void *stream, const struct cuda_one_hot *a)
{
    LAUNCH(one_hot_kernel, make_grid(flat_grid((size_t)a->n * (size_t)(a->v / PACK)), 1),
           FLAT_THREADS, 0, stream, *a);
    return 0;
}
