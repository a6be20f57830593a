/* bench_ring.c - bus bandwidth and latency of the ring's all_reduce between threads on loopback.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench_ring [--ranks N]: sizes ascending, 64 MiB last. busbw = 2(n-1)/n * bytes / time
 * (nccl-tests, doc/PERFORMANCE.md); the best of the iterations, on rank 0. */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernels/collective.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

enum { RANKS_MAX = 16, LARGEST = 64 << 20, ITERATIONS = 10 };

struct rank {
    pthread_t thread;
    struct coll_config config;
    struct bt_err err;
    int rc;
};

static int one_size(struct coll *c, float *data, int64_t bytes, struct bt_err *err)
{
    int64_t best = INT64_MAX;
    double n = c->world;
    int rc = 0;

    for (int i = 0; rc == 0 && i < ITERATIONS; i++) {
        int64_t start;

        rc = c->ops->barrier(c, err);
        start = bt_mono_us();
        if (rc == 0)
            rc = c->ops->all_reduce(c, data, data, (size_t)bytes / sizeof *data, COLL_F32, COLL_MAX,
                                    err);
        best = BT_MIN(best, BT_MAX(bt_mono_us() - start, 1));
    }
    if (rc == 0 && c->rank == 0) {
        double bus = 2 * (n - 1) / n * (double)bytes / (double)best * 1e-3;

        printf("{\"bench\":\"ring\",\"ranks\":%d,\"bytes\":%lld,\"busbw_gb_per_s\":%.3f,"
               "\"latency_us\":%lld}\n",
               c->world, (long long)bytes, bus, (long long)best);
        fprintf(stderr, "%10lld bytes  %8.3f GB/s  %8lld us\n", (long long)bytes, bus,
                (long long)best);
    }
    return rc;
}

static void *run(void *arg)
{
    struct rank *r = arg;
    struct coll *c = NULL;
    float *data = bt_alloc(LARGEST, 1);

    r->rc = coll_ring.open(&r->config, &c, &r->err);
    for (int64_t bytes = 1024; r->rc == 0 && bytes <= LARGEST; bytes *= 4)
        r->rc = one_size(c, data, bytes, &r->err);
    coll_ring.close(c);
    bt_free(data);
    return NULL;
}

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        abort();
    close(fd);
    return ntohs(a.sin_port);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"ranks", required_argument, NULL, 'r'}, {0}};
    static struct rank ranks[RANKS_MAX];
    uint16_t port = free_port();
    int64_t world = 2;
    int rc = 0;

    if (getopt_long(argc, argv, "", options, NULL) == 'r' &&
        bt_parse_i64(optarg, "--ranks", 2, RANKS_MAX, &world, NULL) < 0) {
        fprintf(stderr, "bench_ring [--ranks 2..%d]\n", RANKS_MAX);
        return 2;
    }
    for (int i = 0; i < world; i++) {
        ranks[i].config = (struct coll_config){.rank = i,
                                               .world = (int)world,
                                               .host = "127.0.0.1",
                                               .port = port,
                                               .timeout_us = 60 * BT_US_PER_S,
                                               .mac = bt_hmac_sha256};
        if (pthread_create(&ranks[i].thread, NULL, run, &ranks[i]) != 0)
            abort();
    }
    for (int i = 0; i < world; i++) {
        pthread_join(ranks[i].thread, NULL);
        if (ranks[i].rc < 0)
            fprintf(stderr, "bench_ring: %s\n", ranks[i].err.text);
        rc |= ranks[i].rc;
    }
    return rc < 0;
}
