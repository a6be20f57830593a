/* bench_kernels_cuda.h - bench_kernels --device cuda.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_BENCH_KERNELS_CUDA_H
#define BT_TESTS_BENCH_KERNELS_CUDA_H

/* The program's exit status: 0 measured, 1 an error above its tolerance, 2 no device. */
int bench_kernels_cuda(void);

#endif
