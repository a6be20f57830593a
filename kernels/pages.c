/* pages.c - memory for large arrays, in large pages where the machine has them.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A virtual machine pays for each missing page-table entry twice, and products walk through
 * megabytes: with 4 KiB pages whole training steps took 9 % longer. Where
 * transparent huge pages are only given on request, this is the request. */
#include <cblas.h>
#include <omp.h>
#include <sys/mman.h>

#include "kernels/kernels.h"
#include "kernels/pages.h"
#include "lib/base/mem.h"

/* Zeroed lazily by the operating system. */
float *kern_floats(size_t count)
{
    size_t bytes = count * sizeof(float);
    void *p;

    if (count > SIZE_MAX / sizeof(float) / 2)
        abort();
    if (!bytes)
        bytes = sizeof(float);
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "out of memory: %zu bytes\n", bytes);
        abort();
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void kern_free_floats(float *p, size_t count)
{
    if (p)
        munmap(p, count ? count * sizeof(float) : sizeof(float));
}

/* OpenBLAS maps 32 to 128 MiB for the panels of each thread; nothing else here is of that size. */
#define PANELS_MIN ((size_t)32 << 20)
#define PANELS_MAX ((size_t)512 << 20)
enum { MAPPINGS_MAX = 64 };

struct mappings {
    void *at[MAPPINGS_MAX];
    size_t bytes[MAPPINGS_MAX];
    int n;
};

static void list_mappings(struct mappings *m)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512];

    m->n = 0;
    while (f && m->n < MAPPINGS_MAX && fgets(line, sizeof line, f)) {
        char *next, *rights;
        uintptr_t from = strtoull(line, &next, 16), to;

        if (*next != '-')
            continue;
        to = strtoull(next + 1, &rights, 16);
        if (strncmp(rights, " rw-p 00000000 00:00 0", 22) != 0 || to - from < PANELS_MIN ||
            to - from > PANELS_MAX)
            continue;
        m->at[m->n] = (void *)from; /* NOLINT(performance-no-int-to-ptr): text of the system */
        m->bytes[m->n++] = to - from;
    }
    if (f)
        fclose(f);
}

static bool was_there(const struct mappings *m, const void *at)
{
    for (int i = 0; i < m->n; i++) {
        if (m->at[i] == at)
            return true;
    }
    return false;
}

/* One product large enough that every thread maps its panels, all of them at once. */
static void first_product(int threads)
{
    enum { N = 160 };
    size_t one = (size_t)N * N;
    float *x = kern_floats(one * (size_t)(threads + 1));

#pragma omp parallel num_threads(threads)
    {
        float *y = x + one * (size_t)(omp_get_thread_num() + 1);

#pragma omp barrier
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, N, N, 1, x, N, x, N, 0, y, N);
    }
    kern_free_floats(x, one * (size_t)(threads + 1));
}

void pages_for_products(int threads)
{
    struct mappings before, after;

    list_mappings(&before);
    first_product(threads);
    list_mappings(&after);
    for (int i = 0; i < after.n; i++) {
        if (!was_there(&before, after.at[i]))
            madvise(after.at[i], after.bytes[i], MADV_HUGEPAGE);
    }
}
