/* emulate.h - a GPU's blocks, warps and barriers on the CPU, so that tests run the kernels' text.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * emu_launch runs a grid block by block. Each thread of a block is a fiber that
 * runs until it waits; a warp's operations wait for the 32 lanes, block_sync for
 * the block. Waiting at different places is a bug of the kernel and ends the
 * process with a sentence. What a machine would leave to chance is made hostile:
 * - shared memory begins as bytes 0xff (NaN), per block, of exactly the size
 *   that was asked for, so that the sanitizer sees what lies beyond;
 * - a warp runs as far as it can before another begins; launches take turns in
 *   running blocks, warps and lanes forwards and backwards: a missing barrier
 *   or a race between blocks changes results;
 * - copy_later's bytes arrive, launches in turn, at once or only when the thread
 *   waits for their group.
 *
 * Not shown: the speed of anything, races between lanes inside a warp that a
 * GPU runs in lockstep, and the exact roundings of ex2.approx and mma.sync
 * (which sum in an order of their own). */
#ifndef BT_KERNELS_CUDA_EMULATE_H
#define BT_KERNELS_CUDA_EMULATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/args.h"
#include "lib/base/attr.h"

enum { EMU_THREADS_MAX = 1024 };

struct emu_dim {
    unsigned x, y;
};

struct emu_fiber; /* private to emulate.c, but for its first member */
struct emu_place {
    struct emu_dim thread, block, block_dim, grid_dim;
};
extern struct emu_place *emu_self; /* the thread that runs */

/* One launch; returns when all blocks are done. entry(args) is one thread's way. */
void emu_launch(struct emu_dim grid, int threads, size_t shared, void (*entry)(const void *args),
                const void *args);

void *emu_shared(void);
void emu_block_sync(void);
void emu_warp_sync(void);
float emu_shuffle_xor(float x, int mask);
double emu_shuffle_xor_double(double x, int mask);
void emu_copy_later(void *to, const void *from, bool there);
void emu_copies_end_group(void);
void emu_copies_wait(int left);
void emu_load_matrices(uint32_t r[4], const kern_bf16 *row);
void emu_load_matrices_turned(uint32_t r[4], const kern_bf16 *row);
void emu_multiply_add(float c[4], const uint32_t a[4], const uint32_t b[2]);

#endif
