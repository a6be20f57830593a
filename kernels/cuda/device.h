/* device.h - what a kernel's source needs, under nvcc and under the emulation alike.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The .cu files of this folder are written in what C and CUDA C++ have in common.
 * nvcc makes them kernels; a C compiler makes the same text into functions that
 * emulate.c runs thread by thread, so that tests without a GPU (and under
 * sanitizers) execute the very index arithmetic. All shared memory is dynamic;
 * a kernel takes one struct by value.
 *
 * Tensor-core fragments: PTX ISA 8, "Matrix fragments for mma.m16n8k16 with
 * floating point type", and "ldmatrix". */
#ifndef BT_KERNELS_CUDA_DEVICE_H
#define BT_KERNELS_CUDA_DEVICE_H

#include "kernels/cuda/args.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>

#define DEVICE static __device__ __forceinline__
#define KERNEL(name, type, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const type a)
#define SHARED_MEMORY(type, name)                             \
    extern __shared__ __align__(128) unsigned char shared_[]; \
    type *name = (type *)shared_
#define LAUNCHER extern "C"
#define UNROLL _Pragma("unroll")

/* Launches; returns cudaError_t as int when that fails. (The run time's last error may be that of
 * an earlier call which was not a failure: a stream that was not ready.) */
#define LAUNCH(name, grid, threads, shared, stream, args)                                          \
    do {                                                                                           \
        void *list_[] = {(void *)&(args)};                                                         \
        cudaError_t code_ = cudaSuccess;                                                           \
        if ((shared) > 48 * 1024)                                                                  \
            code_ = cudaFuncSetAttribute(                                                          \
                (const void *)(name), cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(shared)); \
        if (code_ == cudaSuccess)                                                                  \
            code_ = cudaLaunchKernel((const void *)(name), (grid), dim3((unsigned)(threads)),      \
                                     list_, (size_t)(shared), (cudaStream_t)(stream));             \
        if (code_ != cudaSuccess)                                                                  \
            return (int)code_;                                                                     \
    } while (0)

static inline dim3 make_grid(size_t x, size_t y)
{
    return dim3((unsigned)x, (unsigned)y, 1);
}

DEVICE float float_of(uint32_t bits)
{
    return __uint_as_float(bits);
}

DEVICE uint32_t pack_bf16(float low, float high)
{
    uint32_t r;

    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

DEVICE float exp2_fast(float x)
{
    float r;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

DEVICE float shuffle_xor(float x, int mask)
{
    return __shfl_xor_sync(0xffffffffu, x, mask);
}

DEVICE double shuffle_xor_double(double x, int mask)
{
    return __shfl_xor_sync(0xffffffffu, x, mask);
}

DEVICE void warp_sync(void)
{
    __syncwarp();
}

DEVICE void block_sync(void)
{
    __syncthreads();
}

/* 16 bytes from global to shared memory, later; `there` false writes zeros and reads nothing. */
DEVICE void copy_later(void *to, const void *from, bool there)
{
    unsigned at = (unsigned)__cvta_generic_to_shared(to);

    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

DEVICE void copies_end_group(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most `left` groups of this thread are under way; a block_sync then shows them to all. */
#define COPIES_WAIT(left) asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory")

/* Four 8x8 matrices: lane l names row l % 8 of matrix l / 8, and receives of each matrix row
 * l / 4, elements 2 (l % 4) and the next; turned: column l / 4, rows 2 (l % 4) and the next. */
DEVICE void load_matrices(uint32_t r[4], const kern_bf16 *row)
{
    unsigned at = (unsigned)__cvta_generic_to_shared(row);

    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

DEVICE void load_matrices_turned(uint32_t r[4], const kern_bf16 *row)
{
    unsigned at = (unsigned)__cvta_generic_to_shared(row);

    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

/* c[16x8] += a[16x16] b[16x8] */
DEVICE void multiply_add(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else
#include <math.h>

#include "kernels/cuda/emulate.h"

#define ENTRY_(name) name##_entry
#define ENTRY(name) ENTRY_(name)
#define DEVICE static inline BT_UNUSED
#define KERNEL(name, type, threads, blocks)   \
    static void name(type a);                 \
    static void ENTRY(name)(const void *args) \
    {                                         \
        name(*(const type *)args);            \
    }                                         \
    static void name(const type a)
#define SHARED_MEMORY(type, name) type *name = (type *)emu_shared()
#define LAUNCHER
#define UNROLL
#define LAUNCH(name, grid, threads, shared, stream, args)                           \
    do {                                                                            \
        (void)(stream);                                                             \
        emu_launch((grid), (int)(threads), (size_t)(shared), ENTRY(name), &(args)); \
    } while (0)

#define threadIdx (emu_self->thread)
#define blockIdx (emu_self->block)
#define blockDim (emu_self->block_dim)
#define gridDim (emu_self->grid_dim)

static inline struct emu_dim make_grid(size_t x, size_t y)
{
    return (struct emu_dim){(unsigned)x, (unsigned)y};
}

DEVICE float float_of(uint32_t bits)
{
    union {
        uint32_t bits;
        float f;
    } u = {bits};

    return u.f;
}

DEVICE uint32_t pack_bf16(float low, float high)
{
    return (uint32_t)kern_to_bf16(high) << 16 | kern_to_bf16(low);
}

#define exp2_fast exp2f
#define shuffle_xor emu_shuffle_xor
#define shuffle_xor_double emu_shuffle_xor_double
#define warp_sync emu_warp_sync
#define block_sync emu_block_sync
#define copy_later emu_copy_later
#define copies_end_group emu_copies_end_group
#define COPIES_WAIT(left) emu_copies_wait(left)
#define load_matrices emu_load_matrices
#define load_matrices_turned emu_load_matrices_turned
#define multiply_add emu_multiply_add
#endif

/* ---- the same on both sides ---- */

enum { WARP = 32, PACK = 8 };

/* Eight bfloat16, four floats: 16 bytes as they cross memory. */
struct __attribute__((aligned(16))) pack8 {
    uint32_t w[4];
};
struct __attribute__((aligned(16))) pack4f {
    float f[4];
};

DEVICE void unpack8(float to[PACK], const kern_bf16 *from)
{
    const struct pack8 p = *(const struct pack8 *)(const void *)from;

    UNROLL
    for (int i = 0; i < 4; i++) {
        to[2 * i] = float_of(p.w[i] << 16);
        to[2 * i + 1] = float_of(p.w[i] & 0xffff0000u);
    }
}

DEVICE void pack8_to(kern_bf16 *to, const float from[PACK])
{
    struct pack8 p;

    UNROLL
    for (int i = 0; i < 4; i++)
        p.w[i] = pack_bf16(from[2 * i], from[2 * i + 1]);
    *(struct pack8 *)(void *)to = p;
}

/* What x becomes when it is kept as bfloat16. */
DEVICE void round8(float x[PACK])
{
    UNROLL
    for (int i = 0; i < 4; i++) {
        uint32_t w = pack_bf16(x[2 * i], x[2 * i + 1]);

        x[2 * i] = float_of(w << 16);
        x[2 * i + 1] = float_of(w & 0xffff0000u);
    }
}

/* Sums over the lanes of a warp, the same bits in each. */
DEVICE float warp_sum(float x)
{
    UNROLL
    for (int mask = WARP / 2; mask; mask /= 2)
        x += shuffle_xor(x, mask);
    return x;
}

/* Sum over a block of whole warps, the same bits in each thread. scratch: 32 floats shared. */
DEVICE float block_sum(float x, float *scratch)
{
    int warps = (int)(blockDim.x / WARP);
    float sum = 0;

    x = warp_sum(x);
    block_sync(); /* scratch may still be read by whoever used it before */
    if (threadIdx.x % WARP == 0)
        scratch[threadIdx.x / WARP] = x;
    block_sync();
    for (int i = 0; i < warps; i++)
        sum += scratch[i];
    return sum;
}

DEVICE float block_max(float x, float *scratch)
{
    int warps = (int)(blockDim.x / WARP);
    float most;

    UNROLL
    for (int mask = WARP / 2; mask; mask /= 2)
        x = fmaxf(x, shuffle_xor(x, mask));
    block_sync();
    if (threadIdx.x % WARP == 0)
        scratch[threadIdx.x / WARP] = x;
    block_sync();
    most = scratch[0];
    for (int i = 1; i < warps; i++)
        most = fmaxf(most, scratch[i]);
    return most;
}

#endif
