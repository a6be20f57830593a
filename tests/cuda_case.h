/* cuda_case.h - each GPU kernel run on fresh random inputs and compared with its CPU reference.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by the unit test (odd shapes, emulated GPU, real one where there is
 * one) and by bench_kernels --device cuda (large shapes, timed). Inputs are
 * rounded to bfloat16 first, so that both sides see the same numbers; outputs
 * begin as NaN, so that an element nobody wrote is an error. */
#ifndef BT_TESTS_CUDA_CASE_H
#define BT_TESTS_CUDA_CASE_H

#include "kernels/cuda/cuda.h"

struct cuda_result {
    double error, tolerance; /* the worst ratio of the two over a kernel's outputs */
    double us;               /* of the fastest call; 0 when repetitions were 0 */
    double bytes, flops;     /* that a call must move, or must do; one of them 0 */
    char shape[64];
};

enum { CUDA_CASE_DIMS = 6 };
struct cuda_case {
    const char *name;
    const char *dims; /* what the numbers are, for people */
    int (*run)(const struct cuda_ops *o, struct cuda *c, const int *dims, int repetitions,
               struct cuda_result *ret, struct bt_err *err);
};

extern const struct cuda_case cuda_cases[];
extern const int n_cuda_cases;
const struct cuda_case *cuda_case_find(const char *name); /* NULL: no such kernel */

#endif
