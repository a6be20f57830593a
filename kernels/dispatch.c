/* dispatch.c - picks what this machine can do, once, at run time.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <cblas.h>
#include <omp.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "kernels/pages.h"
#include "kernels/product.h"
#include "kernels/rows.h"
#include "kernels/tile.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

static const struct rows *chosen = &rows_portable;

const struct rows *rows(void)
{
    return chosen;
}

const struct tiles *tiles(void)
{
#if defined(__x86_64__)
    if (chosen == &rows_avx512)
        return &tiles_avx512;
#endif
    return NULL;
}

const char *kern_isa(void)
{
    return chosen->isa;
}

int kern_threads(void)
{
    return omp_get_max_threads();
}

/* Moments of rarely used weights and tails of softmax fall below 1e-38, where processors take a
 * hundred cycles for an addition: they become 0 instead, in every thread. */
static void flush_denormals(void)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#endif
}

/* What the processor has, the best first. */
static int available(const struct rows *ret[3])
{
    int n = 0;

#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        ret[n++] = &rows_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        ret[n++] = &rows_avx2;
#endif
    ret[n++] = &rows_portable;
    return n;
}

static void use(const struct rows *r, int threads)
{
    chosen = r;
    product_init(threads);
    if (!tiles())
        pages_for_products(threads);
}

void kern_init(int threads)
{
    const struct rows *best[3];

    available(best);
    if (threads <= 0)
        threads = omp_get_num_procs();
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    openblas_set_num_threads(threads);
#pragma omp parallel num_threads(threads)
    flush_denormals();
    use(best[0], threads);
}

bool kern_pick(const char *isa)
{
    const struct rows *there[3];
    int n = available(there);

    for (int i = 0; i < n; i++) {
        if (strcmp(there[i]->isa, isa) == 0) {
            use(there[i], kern_threads());
            return true;
        }
    }
    return false;
}

void kern_wait_patiently(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
        return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0)
        execv("/proc/self/exe", argv); /* where it cannot, it runs as it is */
}

double kern_gemm_gflops(int m, int n, int k, int64_t budget_us)
{
    size_t na = (size_t)m * k, nb = (size_t)n * k, nc = (size_t)m * n;
    float *a = kern_floats(na), *b = kern_floats(nb), *c = kern_floats(nc);
    int64_t start, best = INT64_MAX;

    kern_normal(a, na, 1, 1, 1);
    kern_normal(b, nb, 1, 1, 2);
    kern_linear(c, a, b, m, k, n);
    start = bt_mono_us();
    do {
        int64_t t = bt_mono_us();

        kern_linear(c, a, b, m, k, n);
        t = bt_mono_us() - t;
        best = BT_MIN(best, BT_MAX(t, 1));
    } while (bt_mono_us() - start < budget_us);
    kern_free_floats(a, na);
    kern_free_floats(b, nb);
    kern_free_floats(c, nc);
    return 2e-3 * m * n * k / (double)best;
}
