/* product.c - a matrix product in bands of threads, blocks of the second cache, and tiles.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Each thread has a band of rows or columns to itself and packs what it needs by itself: packing
 * twice costs 2 %, waiting for each other costs far more as soon as anything else runs on the
 * machine (OpenBLAS' own threads spin on each other's flags). */
#include "kernels/product.h"

#include <cblas.h>
#include <omp.h>

#include "kernels/kernels.h"
#include "kernels/tile.h"
#include "lib/base/mem.h"

enum {
    DEPTH = 384,   /* most k of a block: chosen by k alone, so that bits are, too */
    BLOCK_N = 384, /* columns of a block: with DEPTH half of a second cache of 1.25 MiB */
    BLAS_BAND = 48,
};

#define PANELS ((size_t)DEPTH * (BLOCK_N + TILE_LEFT * TILE_A))

static struct {
    float *panels;  /* PANELS floats a thread; touched when first used */
    size_t threads; /* 0: products go through BLAS */
} memory;

void product_init(int threads)
{
    size_t n = tiles() ? (size_t)threads : 0;

    if (n == memory.threads)
        return;
    if (memory.threads)
        kern_free_floats(memory.panels, PANELS * memory.threads);
    memory.panels = n ? kern_floats(PANELS * n) : NULL;
    memory.threads = n;
}

static struct tile_source left(const struct product *p, int k, int i)
{
    if (p->ta)
        return (struct tile_source){p->a + (size_t)k * p->lda + i, (size_t)p->lda, 1};
    return (struct tile_source){p->a + (size_t)i * p->lda + k, 1, (size_t)p->lda};
}

static struct tile_source right(const struct product *p, int k, int j)
{
    if (p->tb)
        return (struct tile_source){p->b + (size_t)j * p->ldb + k, 1, (size_t)p->ldb};
    return (struct tile_source){p->b + (size_t)k * p->ldb + j, (size_t)p->ldb, 1};
}

/* Rows of c against the packed block of columns from .. to, k .. k + depth. */
static void block(const struct product *p, int from, int to, int k, int depth, float *panels)
{
    const struct tiles *t = tiles();
    float *left_panels = panels + (size_t)DEPTH * BLOCK_N;

    for (int i = 0; i < p->m; i += TILE_M) {
        struct tile_source a = left(p, k, i);
        int turn = i / TILE_M % TILE_LEFT;

        if (p->ta) {
            if (turn == 0)
                t->pack_left(left_panels, &a, depth, BT_MIN(TILE_LEFT * TILE_M, p->m - i));
            a = (struct tile_source){left_panels + (size_t)turn * depth * TILE_A, TILE_A, 1};
        }
        for (int j = from; j < to; j += TILE_N)
            t->multiply(&(struct tile){.a = a,
                                       .b = panels + (size_t)(j - from) * depth,
                                       .c = p->c + (size_t)i * p->ldc + j,
                                       .stride = (size_t)p->ldc,
                                       .m = BT_MIN(TILE_M, p->m - i),
                                       .n = BT_MIN(TILE_N, to - j),
                                       .depth = depth,
                                       .beta = k ? 1 : p->beta});
    }
}

static void by_tiles(const struct product *p, float *panels)
{
    const struct tiles *t = tiles();
    int chunks = (p->k + DEPTH - 1) / DEPTH, most = ((p->k + chunks - 1) / chunks + 3) / 4 * 4;

    for (int k = 0; k < p->k; k += most) {
        int depth = BT_MIN(most, p->k - k);

        for (int from = 0; from < p->n; from += BLOCK_N) {
            int to = BT_MIN(from + BLOCK_N, p->n);

            for (int j = from; j < to; j += TILE_N) {
                struct tile_source b = right(p, k, j);

                t->pack(panels + (size_t)(j - from) * depth, &b, depth, BT_MIN(TILE_N, to - j));
            }
            block(p, from, to, k, depth, panels);
        }
    }
}

static void by_blas(const struct product *p)
{
    cblas_sgemm(CblasRowMajor, p->ta ? CblasTrans : CblasNoTrans, p->tb ? CblasTrans : CblasNoTrans,
                p->m, p->n, p->k, 1, p->a, p->lda, p->b, p->ldb, p->beta, p->c, p->ldc);
}

void product_alone(const struct product *p)
{
    if (p->m <= 0 || p->n <= 0)
        return;
    if (tiles())
        by_tiles(p, memory.panels + PANELS * (size_t)omp_get_thread_num());
    else
        by_blas(p);
}

/* Rows from .. to of c, or columns. */
static void band(const struct product *p, bool by_rows, int from, int to)
{
    struct product part = *p;

    if (by_rows) {
        part.a += p->ta ? (size_t)from : (size_t)from * p->lda;
        part.c += (size_t)from * p->ldc;
        part.m = to - from;
    } else {
        part.b += p->tb ? (size_t)from * p->ldb : (size_t)from;
        part.c += from;
        part.n = to - from;
    }
    product_alone(&part);
}

/* By columns nothing of b is packed twice, and a is only packed where it stands in columns; by rows
 * where columns are too few to give each thread its share. */
static bool by_rows(const struct product *p, int threads)
{
    int bands = (p->n + TILE_N - 1) / TILE_N;

    if (!tiles())
        return 4 * (int64_t)p->m >= p->n; /* keeps OpenBLAS' panels small */
    return (p->ta && p->m >= p->n) || (bands % threads && bands < 8 * threads);
}

void product_shared(const struct product *p)
{
    bool rows = by_rows(p, omp_get_max_threads());
    int unit = tiles() ? rows ? TILE_M : TILE_N : BLAS_BAND;
    int size = rows ? p->m : p->n, bands = (size + unit - 1) / unit;

#pragma omp parallel if (bands > 1)
    {
        int threads = omp_get_num_threads(), me = omp_get_thread_num();
        int from = (int)((int64_t)bands * me / threads) * unit;
        int to = (int)((int64_t)bands * (me + 1) / threads) * unit;

        band(p, rows, from, BT_MIN(to, size));
    }
}
