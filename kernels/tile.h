/* tile.h - the innermost part of a matrix product, for instruction sets where we have our own.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Private to kernels/. The right operand is read from panels: for each k, TILE_N columns stand
 * together, so that a panel is walked from front to back. The left one is read where it lies when
 * its rows are contiguous, else from a panel of TILE_A rows a k. */
#ifndef BT_KERNELS_TILE_H
#define BT_KERNELS_TILE_H

#include <stddef.h>

enum { TILE_M = 6, TILE_A = 8, TILE_N = 64, TILE_LEFT = 8 };

/* An operand as it lies in memory: element (k, i) at k * k_step + i * i_step; one of both is 1. */
struct tile_source {
    const float *x;
    size_t k_step, i_step;
};

/* c[i * stride + j] = sum over k of a(k, i) b[k * TILE_N + j] + beta c, for i < m <= TILE_M and
 * j < n <= TILE_N; with beta 0 whatever c held does not matter. a is (rows, k_step 1) or a panel
 * (i_step 1, k_step TILE_A). Each element is one chain of fused multiply-adds in order of k,
 * whatever m and n are. */
struct tile {
    struct tile_source a;
    const float *b;
    float *c;
    size_t stride;
    int m, n, depth;
    float beta;
};

struct tiles {
    /* panel[k * TILE_N + i] = source(k, i) for k < depth and i < n; 0 for n <= i < TILE_N */
    void (*pack)(float *panel, const struct tile_source *s, int depth, int n);
    /* TILE_LEFT panels of TILE_A * depth floats from a source with i_step 1, whose lines are thus
     * read once: panel[k * TILE_A + i] of the q-th is source(k, q * TILE_M + i), for rows below
     * m <= TILE_LEFT * TILE_M. */
    void (*pack_left)(float *panels, const struct tile_source *s, int depth, int m);
    void (*multiply)(const struct tile *t);
};

#if defined(__x86_64__)
extern const struct tiles tiles_avx512;
#endif

const struct tiles *tiles(void); /* what kern_init picked; NULL: products go through BLAS */

#endif
