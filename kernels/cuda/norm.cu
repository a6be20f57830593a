/* norm.cu - residual add + RMSNorm, forward and backward. Reference: kernels/block.c, rows.c.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A block takes a row; a thread keeps its columns (up to NORM_KEEP packs of 8) in
 * registers between the reduction and the write, so that every element crosses
 * memory once: 8 bytes an element each way (bfloat16 in, in, out, out).
 * The weight's gradient has two stages: up to CUDA_NORM_BLOCKS blocks,
 * each over its own run of rows, the sums in registers; then a block sums 32 columns of the
 * parts in a fixed order. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

enum { NORM_KEEP = 4, NORM_THREADS = 512 };

DEVICE void add_norm(const struct cuda_add_norm *a, float *scratch, const int keep)
{
    const int packs = a->c / PACK;
    const size_t row = (size_t)blockIdx.x * (size_t)a->c;
    float s[NORM_KEEP][PACK], squares = 0, rstd;

    UNROLL
    for (int k = 0; k < keep; k++) {
        int p = (int)(threadIdx.x + (unsigned)k * blockDim.x);

        if (p >= packs)
            continue;
        unpack8(s[k], a->x + row + (size_t)p * PACK);
        if (a->y) {
            float y[PACK];

            unpack8(y, a->y + row + (size_t)p * PACK);
            UNROLL
            for (int i = 0; i < PACK; i++)
                s[k][i] += y[i];
            round8(s[k]);
        }
        pack8_to(a->sum + row + (size_t)p * PACK, s[k]);
        UNROLL
        for (int i = 0; i < PACK; i++)
            squares += s[k][i] * s[k][i];
    }
    rstd = 1.0f / sqrtf(block_sum(squares, scratch) / (float)a->c + a->eps);
    if (threadIdx.x == 0)
        a->rstd[blockIdx.x] = rstd;
    UNROLL
    for (int k = 0; k < keep; k++) {
        int p = (int)(threadIdx.x + (unsigned)k * blockDim.x);
        float w[PACK];

        if (p >= packs)
            continue;
        unpack8(w, a->w + (size_t)p * PACK);
        UNROLL
        for (int i = 0; i < PACK; i++)
            s[k][i] *= rstd;
        round8(s[k]); /* cast down before the factor, as published models do */
        UNROLL
        for (int i = 0; i < PACK; i++)
            s[k][i] *= w[i];
        pack8_to(a->out + row + (size_t)p * PACK, s[k]);
    }
}

KERNEL(add_norm_1, struct cuda_add_norm, NORM_THREADS, 1)
{
    SHARED_MEMORY(float, scratch);

    add_norm(&a, scratch, 1);
}

KERNEL(add_norm_4, struct cuda_add_norm, NORM_THREADS, 1)
{
    SHARED_MEMORY(float, scratch);

    add_norm(&a, scratch, NORM_KEEP);
}

/* Whole warps that hold c elements, a pack a thread while that is possible. */
static int norm_threads(int c)
{
    int threads = (c / PACK + WARP - 1) / WARP * WARP;

    return threads < NORM_THREADS ? threads : NORM_THREADS;
}

LAUNCHER int launch_add_norm(void *stream, const struct cuda_add_norm *a)
{
    const int threads = norm_threads(a->c), shared = WARP * (int)sizeof(float);

    if (a->c <= threads * PACK)
        LAUNCH(add_norm_1, make_grid((size_t)a->n, 1), threads, shared, stream, *a);
    else
        LAUNCH(add_norm_4, make_grid((size_t)a->n, 1), threads, shared, stream, *a);
    return 0;
}

/* With xhat = sum rstd and g = dout w: dsum += rstd (g - xhat mean(g xhat)); dw = sum dout xhat.
 * The old dsum is fetched before the reduction so that nobody waits for it afterwards. */
DEVICE void norm_row(const struct cuda_norm_backward *a, int r, float dw[NORM_KEEP][PACK],
                     float *scratch, const int keep)
{
    const int packs = a->c / PACK;
    const size_t row = (size_t)r * (size_t)a->c;
    const float rstd = a->rstd[r];
    float g[NORM_KEEP][PACK], x[NORM_KEEP][PACK], d[NORM_KEEP][PACK], dot = 0;

    UNROLL
    for (int k = 0; k < keep; k++) {
        int p = (int)(threadIdx.x + (unsigned)k * blockDim.x);
        float w[PACK];

        if (p >= packs)
            continue;
        unpack8(g[k], a->dout + row + (size_t)p * PACK);
        unpack8(x[k], a->sum + row + (size_t)p * PACK);
        unpack8(w, a->w + (size_t)p * PACK);
        UNROLL
        for (int i = 0; i < PACK; i++)
            d[k][i] = 0;
        if (!a->dsum_is_empty)
            unpack8(d[k], a->dsum + row + (size_t)p * PACK);
        UNROLL
        for (int i = 0; i < PACK; i++) {
            x[k][i] *= rstd;
            dw[k][i] += g[k][i] * x[k][i];
            g[k][i] *= w[i];
            dot += g[k][i] * x[k][i];
        }
    }
    dot = block_sum(dot, scratch) / (float)a->c;
    UNROLL
    for (int k = 0; k < keep; k++) {
        int p = (int)(threadIdx.x + (unsigned)k * blockDim.x);

        if (p >= packs)
            continue;
        UNROLL
        for (int i = 0; i < PACK; i++)
            d[k][i] += rstd * (g[k][i] - x[k][i] * dot);
        pack8_to(a->dsum + row + (size_t)p * PACK, d[k]);
    }
}

DEVICE void norm_backward(const struct cuda_norm_backward *a, float *scratch, const int keep)
{
    const int parts = cuda_norm_parts(a->n), per = (a->n + parts - 1) / parts;
    const int from = (int)blockIdx.x * per, to = from + per < a->n ? from + per : a->n;
    float dw[NORM_KEEP][PACK];

    UNROLL
    for (int k = 0; k < keep; k++) {
        UNROLL
        for (int i = 0; i < PACK; i++)
            dw[k][i] = 0;
    }
    for (int r = from; r < to; r++)
        norm_row(a, r, dw, scratch, keep);
    UNROLL
    for (int k = 0; k < keep; k++) {
        int p = (int)(threadIdx.x + (unsigned)k * blockDim.x);

        if (p >= a->c / PACK)
            continue;
        UNROLL
        for (int i = 0; i < PACK; i++)
            a->partial[(size_t)blockIdx.x * (size_t)a->c + (size_t)p * PACK + (size_t)i] = dw[k][i];
    }
}

KERNEL(norm_backward_1, struct cuda_norm_backward, NORM_THREADS, 1)
{
    SHARED_MEMORY(float, scratch);

    norm_backward(&a, scratch, 1);
}

KERNEL(norm_backward_4, struct cuda_norm_backward, NORM_THREADS, 1)
{
    SHARED_MEMORY(float, scratch);

    norm_backward(&a, scratch, NORM_KEEP);
}

/* A block of 32 columns x 32 groups: each thread sums every 32nd part, then a thread a column
 * sums the groups. */
KERNEL(norm_weight, struct cuda_norm_backward, WARP *WARP, 1)
{
    SHARED_MEMORY(float, part); /* [32][33] */
    const int lane = (int)threadIdx.x % WARP, group = (int)threadIdx.x / WARP;
    const int column = (int)blockIdx.x * WARP + lane, parts = cuda_norm_parts(a.n);
    float sum = 0;

    if (column < a.c) {
        for (int b = group; b < parts; b += WARP)
            sum += a.partial[(size_t)b * (size_t)a.c + (size_t)column];
    }
    part[group * (WARP + 1) + lane] = sum;
    block_sync();
    if (group != 0 || column >= a.c)
        return;
    sum = a.add ? a.dw[column] : 0;
    for (int g = 0; g < WARP; g++)
        sum += part[g * (WARP + 1) + lane];
    a.dw[column] = sum;
}

LAUNCHER int launch_norm_backward(void *stream, const struct cuda_norm_backward *a)
{
    const int threads = norm_threads(a->c), shared = WARP * (int)sizeof(float);
    const size_t parts = (size_t)cuda_norm_parts(a->n);

    if (a->c <= threads * PACK)
        LAUNCH(norm_backward_1, make_grid(parts, 1), threads, shared, stream, *a);
    else
        LAUNCH(norm_backward_4, make_grid(parts, 1), threads, shared, stream, *a);
    LAUNCH(norm_weight, make_grid(((size_t)a->c + WARP - 1) / WARP, 1), WARP * WARP,
           WARP * (WARP + 1) * (int)sizeof(float), stream, *a);
    return 0;
}
