/* tile.c - matrix tiles in AVX-512 registers: panels, turned on the way, and their product.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Compiled with the flags of AVX-512, called only where the processor has it. What a hardware
 * thread can count on beside a busy sibling is half of the core's instructions and loads, so
 * a tile of 6 x 64 spends few of both: 10 loads and 24 multiply-adds for each k (one of 14 x 32:
 * 16 and 28; 28 x 16: 29 and 28, half as fast beside a sibling). */
#include "kernels/tile.h"

#include <immintrin.h>
#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, COLUMNS = TILE_N / LANES };

static __mmask16 mask_of(int n)
{
    return (__mmask16)(n >= LANES ? 0xffff : n > 0 ? (1u << n) - 1 : 0);
}

/* ---- panels ---- */

static void copy_rows(float *panel, const struct tile_source *s, int depth, int n)
{
    for (int k = 0; k < depth; k++, panel += TILE_N) {
        const float *from = s->x + (size_t)k * s->k_step;

        for (int j = 0; j < TILE_N; j += LANES)
            _mm512_storeu_ps(panel + j, _mm512_maskz_loadu_ps(mask_of(n - j), from + j));
    }
}

INLINE __m512 unpack_low(__m512 a, __m512 b)
{
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

INLINE __m512 unpack_high(__m512 a, __m512 b)
{
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

/* Four k of sixteen rows that lie along k: lane L of the q-th register is row 4 L + q, then
 * 4 x 4 elements are turned in each lane. */
INLINE void turn_four(float *panel, const float *x, size_t i_step)
{
    __m512 r[4], lo0, lo1, hi0, hi1;

#pragma GCC unroll 4
    for (int q = 0; q < 4; q++) {
        const float *row = x + (size_t)q * i_step;

        r[q] = _mm512_castps128_ps512(_mm_loadu_ps(row));
        r[q] = _mm512_mask_broadcast_f32x4(r[q], 0x00f0, _mm_loadu_ps(row + 4 * i_step));
        r[q] = _mm512_mask_broadcast_f32x4(r[q], 0x0f00, _mm_loadu_ps(row + 8 * i_step));
        r[q] = _mm512_mask_broadcast_f32x4(r[q], 0xf000, _mm_loadu_ps(row + 12 * i_step));
    }
    lo0 = _mm512_unpacklo_ps(r[0], r[1]);
    hi0 = _mm512_unpackhi_ps(r[0], r[1]);
    lo1 = _mm512_unpacklo_ps(r[2], r[3]);
    hi1 = _mm512_unpackhi_ps(r[2], r[3]);
    _mm512_storeu_ps(panel, unpack_low(lo0, lo1));
    _mm512_storeu_ps(panel + (size_t)TILE_N, unpack_high(lo0, lo1));
    _mm512_storeu_ps(panel + (size_t)2 * TILE_N, unpack_low(hi0, hi1));
    _mm512_storeu_ps(panel + (size_t)3 * TILE_N, unpack_high(hi0, hi1));
}

/* Sixteen of the panel's columns, of which n exist. */
static void turn_rows(float *panel, const float *x, size_t i_step, int depth, int n)
{
    int k = 0;

    for (; n >= LANES && k + 4 <= depth; k += 4)
        turn_four(panel + (size_t)k * TILE_N, x + k, i_step);
    for (; k < depth; k++) {
        for (int i = 0; i < LANES; i++)
            panel[(size_t)k * TILE_N + i] = i < n ? x[(size_t)i * i_step + k] : 0;
    }
}

static void pack(float *panel, const struct tile_source *s, int depth, int n)
{
    if (s->i_step == 1) {
        copy_rows(panel, s, depth, n);
        return;
    }
    for (int j = 0; j < TILE_N; j += LANES)
        turn_rows(panel + j, s->x + (size_t)j * s->i_step, s->i_step, depth, n - j);
}

static void pack_left(float *panels, const struct tile_source *s, int depth, int m)
{
    __mmask8 mask[TILE_LEFT];

    for (int q = 0; q < TILE_LEFT; q++) {
        int n = m - q * TILE_M;

        mask[q] = (__mmask8)(n >= TILE_M ? (1u << TILE_M) - 1 : n > 0 ? (1u << n) - 1 : 0);
    }
    for (int k = 0; k < depth; k++) {
        const float *from = s->x + (size_t)k * s->k_step;

        for (int q = 0; q < TILE_LEFT; q++)
            _mm256_storeu_ps(panels + ((size_t)q * depth + k) * TILE_A,
                             _mm256_maskz_loadu_ps(mask[q], from + (size_t)q * TILE_M));
    }
}

/* ---- products ---- */

/* One k: a points to its first row, i_step apart. */
INLINE void step(__m512 acc[TILE_M][COLUMNS], const float *const a[TILE_M], size_t at,
                 const float *b)
{
    __m512 column[COLUMNS];

#pragma GCC unroll 4
    for (int j = 0; j < COLUMNS; j++)
        column[j] = _mm512_loadu_ps(b + (size_t)LANES * j);
#pragma GCC unroll 6
    for (int i = 0; i < TILE_M; i++) {
        __m512 x = _mm512_set1_ps(a[i][at]);

#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++)
            acc[i][j] = _mm512_fmadd_ps(x, column[j], acc[i][j]);
    }
}

/* k_step is a constant where this is inlined. */
INLINE void all_steps(__m512 acc[TILE_M][COLUMNS], const float *const a[TILE_M], size_t k_step,
                      const float *b, size_t depth)
{
    size_t k = 0;

    for (; k + 4 <= depth; k += 4, b += (size_t)4 * TILE_N) {
        step(acc, a, k * k_step, b);
        step(acc, a, (k + 1) * k_step, b + (size_t)TILE_N);
        step(acc, a, (k + 2) * k_step, b + (size_t)2 * TILE_N);
        step(acc, a, (k + 3) * k_step, b + (size_t)3 * TILE_N);
    }
    for (; k < depth; k++, b += (size_t)TILE_N)
        step(acc, a, k * k_step, b);
}

INLINE void put(float *c, __mmask16 mask, __m512 x, float beta)
{
    if (beta != 0)
        x = _mm512_fmadd_ps(_mm512_set1_ps(beta), _mm512_maskz_loadu_ps(mask, c), x);
    _mm512_mask_storeu_ps(c, mask, x);
}

/* Rows behind the last one are computed as that one again and not stored. */
static void multiply(const struct tile *t)
{
    __m512 acc[TILE_M][COLUMNS];
    const float *a[TILE_M];

#pragma GCC unroll 6
    for (int i = 0; i < TILE_M; i++) {
        size_t row = (size_t)(i < t->m ? i : t->m - 1);

        a[i] = t->a.x + row * t->a.i_step;
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++) {
            acc[i][j] = _mm512_setzero_ps();
            _mm_prefetch((const char *)(t->c + row * t->stride + (size_t)LANES * j), _MM_HINT_T0);
        }
    }
    if (t->a.k_step == 1)
        all_steps(acc, a, 1, t->b, (size_t)t->depth);
    else
        all_steps(acc, a, TILE_A, t->b, (size_t)t->depth);
#pragma GCC unroll 6
    for (int i = 0; i < TILE_M; i++) {
        float *c = t->c + (size_t)i * t->stride;

        if (i >= t->m)
            break;
#pragma GCC unroll 4
        for (int j = 0; j < COLUMNS; j++)
            put(c + (size_t)LANES * j, mask_of(t->n - LANES * j), acc[i][j], t->beta);
    }
}

const struct tiles tiles_avx512 = {.pack = pack, .pack_left = pack_left, .multiply = multiply};
