/* attention.cu - causal grouped-query attention that never writes its scores (Dao et al. 2022).
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A block of 4 warps takes a tile of queries (forward, dQ) or of keys (dK and dV) of one head;
 * each warp owns 16 rows, or twice 16, of that tile and walks over the other side, which
 * arrives in shared memory two tiles ahead (copy_later). All products are tensor-core products of
 * 16 x 8 x 16; the probabilities go from one product's result into the next one's operand without
 * leaving registers, which is why dK and dV are computed from S transposed (keys as
 * rows). Tiles behind the mask are not visited.
 *
 * Backward has no atomic additions: dQ and dK, dV are two kernels that both recompute S, 7 products
 * where an adding kernel has 5; in exchange the bits are the same every time.
 *
 * Rows of shared memory are 8 elements longer than a head, so that the 8 rows that ldmatrix
 * fetches lie in different banks. Reference: kernels/attention.c. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

enum { ATT_WARPS = 4, ATT_THREADS = ATT_WARPS * WARP, ROWS = 16 };

#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

/* Where one head's queries, keys and values lie; rows are `stride` apart. */
struct head {
    size_t q, k, v, stride;
};

DEVICE struct head head_at(int b, int h, int t, int heads, int kv_heads, int d)
{
    struct head r;

    r.stride = (size_t)(heads + 2 * kv_heads) * (size_t)d;
    r.q = (size_t)b * (size_t)t * r.stride + (size_t)h * (size_t)d;
    r.k = (size_t)b * (size_t)t * r.stride + (size_t)(heads + h / (heads / kv_heads)) * (size_t)d;
    r.v = r.k + (size_t)kv_heads * (size_t)d;
    return r;
}

/* Starts copying rows from .. from + rows of a head into a tile; rows behind t become zeros. */
DEVICE void fetch_tile(kern_bf16 *tile, const kern_bf16 *head, size_t stride, int from, int rows,
                       int t, const int d)
{
    const int packs = d / PACK;

    for (int i = (int)threadIdx.x; i < rows * packs; i += ATT_THREADS) {
        int r = i / packs, p = i % packs, row = from + r;
        const kern_bf16 *source = head + (size_t)(row < t ? row : t - 1) * stride;

        copy_later(tile + r * (d + PACK) + p * PACK, source + p * PACK, row < t);
    }
}

/* 16 rows of a tile, 16 columns from `column`: a left operand. */
DEVICE void left(uint32_t to[4], const kern_bf16 *tile, int row, int column, int ld)
{
    const int lane = (int)threadIdx.x % WARP;

    load_matrices(to, tile + (row + lane % 16) * ld + column + lane / 16 * 8);
}

/* Two right operands from a tile whose rows are the result's columns: rows row .. row + 15. */
DEVICE void right(uint32_t to[4], const kern_bf16 *tile, int row, int column, int ld)
{
    const int lane = (int)threadIdx.x % WARP;

    load_matrices(to, tile + (row + lane % 8 + lane / 16 * 8) * ld + column + lane / 8 % 2 * 8);
}

/* Two right operands from a tile whose rows are what is summed over: columns column .. column + 15.
 */
DEVICE void right_turned(uint32_t to[4], const kern_bf16 *tile, int row, int column, int ld)
{
    const int lane = (int)threadIdx.x % WARP;

    load_matrices_turned(to, tile + (row + lane % 16) * ld + column + lane / 16 * 8);
}

/* Results of two neighbouring column tiles become a left operand. */
DEVICE void as_left(uint32_t to[4], const float a[4], const float b[4])
{
    to[0] = pack_bf16(a[0], a[1]);
    to[1] = pack_bf16(a[2], a[3]);
    to[2] = pack_bf16(b[0], b[1]);
    to[3] = pack_bf16(b[2], b[3]);
}

/* Over the 4 lanes that hold one row of a result. */
DEVICE float row_max(float x)
{
    x = fmaxf(x, shuffle_xor(x, 1));
    return fmaxf(x, shuffle_xor(x, 2));
}

DEVICE float row_sum(float x)
{
    x += shuffle_xor(x, 1);
    return x + shuffle_xor(x, 2);
}

#define HEAD_DIM 64
#include "kernels/cuda/attention_body.h"
#undef HEAD_DIM
#define HEAD_DIM 128
#include "kernels/cuda/attention_body.h"
#undef HEAD_DIM

LAUNCHER int launch_attention(void *stream, const struct cuda_attention *a)
{
    return a->d == 64 ? launch_attention_64(stream, a) : launch_attention_128(stream, a);
}

/* delta[b,h,t] = sum over a head of dout out. A pack a thread; 8 or 16 neighbours are a head. */
KERNEL(attention_delta, struct cuda_attention_backward, 256, 1)
{
    const int packs = a.d / PACK;
    const size_t at = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) / (size_t)packs;
    const size_t row = at / (size_t)a.heads, b = row / (size_t)a.t;
    const int h = (int)(at % (size_t)a.heads);
    const bool there = row < (size_t)a.b * (size_t)a.t;
    float sum = 0;

    if (there) {
        size_t from = at * (size_t)a.d + threadIdx.x % (unsigned)packs * PACK;
        float x[PACK], y[PACK];

        unpack8(x, a.dout + from);
        unpack8(y, a.out + from);
        UNROLL
        for (int i = 0; i < PACK; i++)
            sum += x[i] * y[i];
    }
    for (int mask = packs / 2; mask; mask /= 2)
        sum += shuffle_xor(sum, mask);
    if (there && threadIdx.x % (unsigned)packs == 0)
        a.delta[(b * (size_t)a.heads + (size_t)h) * (size_t)a.t + row % (size_t)a.t] = sum;
}

LAUNCHER int launch_attention_backward(void *stream, const struct cuda_attention_backward *a)
{
    const size_t threads = (size_t)a->b * (size_t)a->t * (size_t)a->heads * (size_t)(a->d / PACK);

    LAUNCH(attention_delta, make_grid((threads + 255) / 256, 1), 256, 0, stream, *a);
    return a->d == 64 ? launch_attention_backward_64(stream, a)
                      : launch_attention_backward_128(stream, a);
}
