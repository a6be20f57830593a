/* random.c - Philox4x32-10: random numbers that depend only on a key and a counter.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include <math.h>

#include "kernels/kernels.h"

void kern_philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo, uint32_t out[4])
{
    uint32_t c[4] = {(uint32_t)counter_lo, (uint32_t)(counter_lo >> 32), (uint32_t)counter_hi,
                     (uint32_t)(counter_hi >> 32)};
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);

    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};

        memcpy(c, next, sizeof c);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

/* Box and Muller 1958: two uniforms in (0, 1) give two normals. */
static void normal_pair(const uint32_t u[2], double sd, float out[2])
{
    double radius = sd * sqrt(-2 * log((u[0] + 0.5) * 0x1p-32));
    double angle = 2 * M_PI * (u[1] + 0.5) * 0x1p-32;

    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

void kern_normal(float *x, size_t count, double sd, uint64_t key, uint64_t stream)
{
    size_t quads = (count + 3) / 4;

#pragma omp parallel for schedule(static)
    for (size_t q = 0; q < quads; q++) {
        uint32_t u[4];
        float z[4];

        kern_philox(key, stream, q, u);
        normal_pair(u, sd, z);
        normal_pair(u + 2, sd, z + 2);
        memcpy(x + q * 4, z, BT_MIN((size_t)4, count - q * 4) * sizeof(float));
    }
}
