/* The ring with its ranks as threads on loopback: every collective, every size class, every mishap.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernels/collective.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "tests/unit/port.h"

enum { RANKS_MAX = 5 };

struct rank {
    pthread_t thread;
    struct coll_config config;
    int (*body)(struct rank *r, struct coll *c, struct bt_err *err);
    size_t count;
    int variant;
    int rc;
    int64_t took_us;
    struct bt_err err;
    uint64_t digest;
};

static void *run_rank(void *arg)
{
    struct rank *r = arg;
    struct coll *c = NULL;
    int64_t start = bt_mono_us();

    r->rc = coll_ring.open(&r->config, &c, &r->err);
    if (r->rc == 0 && r->body)
        r->rc = r->body(r, c, &r->err);
    coll_ring.close(c);
    r->took_us = bt_mono_us() - start;
    return NULL;
}

static void launch(struct rank *ranks, int world, const struct rank *like)
{
    uint16_t port = free_port();

    for (int i = 0; i < world; i++) {
        ranks[i] = *like;
        ranks[i].config = (struct coll_config){.rank = i,
                                               .world = world,
                                               .host = "127.0.0.1",
                                               .port = port,
                                               .timeout_us = 20 * BT_US_PER_S,
                                               .mac = bt_hmac_sha256};
        memset(ranks[i].config.secret, 7, COLL_SECRET_BYTES);
    }
}

static void run_all(struct rank *ranks, int world)
{
    for (int i = 0; i < world; i++)
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, run_rank, &ranks[i]), 0);
    for (int i = 0; i < world; i++)
        pthread_join(ranks[i].thread, NULL);
}

/* What rank `rank` contributes at place i: exact in float32 over five ranks. */
static float value(int rank, size_t i)
{
    return (float)((int)((i * 31 + (size_t)rank * 7) % 1000) - 400);
}

static float total(int world, size_t i)
{
    float sum = 0;

    for (int r = 0; r < world; r++)
        sum += value(r, i);
    return sum;
}

static float *filled(int rank, size_t n)
{
    float *x = bt_new_n(float, n + 1);

    for (size_t i = 0; i < n; i++)
        x[i] = value(rank, i);
    return x;
}

#define CHECK(condition)                                                               \
    do {                                                                               \
        if (!(condition))                                                              \
            return bt_fail(err, BT_ERR_INTERNAL, "line %d: %s", __LINE__, #condition); \
    } while (0)

/* ---- each collective, out of place and in place ---- */

static int body_all_reduce(struct rank *r, struct coll *c, struct bt_err *err)
{
    size_t n = r->count;
    BT_AUTO float *send = filled(c->rank, n), *recv = bt_new_n(float, n + 1);
    int rc = c->ops->all_reduce(c, send, recv, n, COLL_F32, COLL_SUM, err);

    for (size_t i = 0; rc == 0 && i < n; i++)
        CHECK(recv[i] == total(c->world, i) && send[i] == value(c->rank, i));
    if (rc == 0)
        rc = c->ops->all_reduce(c, send, send, n, COLL_F32, COLL_MAX, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        float max = value(0, i);

        for (int k = 1; k < c->world; k++)
            max = BT_MAX(max, value(k, i));
        CHECK(send[i] == max);
    }
    return rc;
}

static int body_reduce_scatter(struct rank *r, struct coll *c, struct bt_err *err)
{
    size_t n = r->count, own = n * (size_t)c->rank;
    BT_AUTO float *send = filled(c->rank, n * (size_t)c->world), *recv = bt_new_n(float, n + 1);
    int rc = c->ops->reduce_scatter(c, send, recv, n, COLL_F32, COLL_SUM, err);

    for (size_t i = 0; rc == 0 && i < n; i++)
        CHECK(recv[i] == total(c->world, own + i));
    for (size_t i = 0; rc == 0 && i < n * (size_t)c->world; i++)
        CHECK(send[i] == value(c->rank, i));
    if (rc == 0)
        rc = c->ops->reduce_scatter(c, send, send + own, n, COLL_F32, COLL_SUM, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        CHECK(send[own + i] == total(c->world, own + i));
    return rc;
}

static int body_all_gather(struct rank *r, struct coll *c, struct bt_err *err)
{
    size_t n = r->count;
    BT_AUTO float *send = filled(c->rank, n), *recv = bt_new_n(float, n *(size_t)c->world + 1);
    int rc = c->ops->all_gather(c, send, recv, n, COLL_F32, err);

    for (int pass = 0; rc == 0 && pass < 2; pass++) {
        for (int k = 0; k < c->world; k++)
            for (size_t i = 0; i < n; i++)
                CHECK(recv[n * (size_t)k + i] == value(k, i));
        if (pass == 0) /* in place */
            rc = c->ops->all_gather(c, recv + n * (size_t)c->rank, recv, n, COLL_F32, err);
    }
    return rc;
}

static int body_rooted(struct rank *r, struct coll *c, struct bt_err *err)
{
    size_t n = r->count;
    int rc = 0;

    for (int root = 0; rc == 0 && root < c->world; root++) {
        BT_AUTO float *send = filled(c->rank, n), *recv = bt_new_n(float, n + 1);

        rc = c->ops->reduce(c, send, recv, n, COLL_F32, (struct coll_fold){COLL_SUM, root}, err);
        for (size_t i = 0; rc == 0 && i < n; i++)
            CHECK(recv[i] == (c->rank == root ? total(c->world, i) : 0));
        if (rc == 0)
            rc = c->ops->broadcast(c, send, n, COLL_F32, root, err);
        for (size_t i = 0; rc == 0 && i < n; i++)
            CHECK(send[i] == value(root, i));
    }
    return rc;
}

static int body_pairs(struct rank *r, struct coll *c, struct bt_err *err)
{
    size_t n = r->count, w = (size_t)c->world;
    BT_AUTO float *send = filled(c->rank, n * w), *recv = bt_new_n(float, n *w + 1);
    int to = (c->rank + 1) % c->world, from = (c->rank + c->world - 1) % c->world;
    const struct coll_pair pair = {.to = to, .from = from};
    int rc = c->ops->alltoall(c, send, recv, n, COLL_F32, err);

    for (size_t k = 0; rc == 0 && k < w; k++)
        for (size_t i = 0; i < n; i++)
            CHECK(recv[n * k + i] == value((int)k, n * (size_t)c->rank + i));
    if (rc == 0)
        rc = c->ops->sendrecv(c, send, recv, n, COLL_F32, pair, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        CHECK(recv[i] == value(from, i));
    if (rc == 0)
        rc = c->ops->sendrecv(c, recv, recv, n, COLL_F32, pair, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        CHECK(recv[i] == value((from + c->world - 1) % c->world, i));
    if (rc == 0)
        rc = c->ops->alltoall(c, send, send, n, COLL_F32, err);
    for (size_t k = 0; rc == 0 && k < w; k++)
        for (size_t i = 0; i < n; i++)
            CHECK(send[n * k + i] == value((int)k, n * (size_t)c->rank + i));
    return rc == 0 ? c->ops->barrier(c, err) : rc;
}

/* Names the rank that failed first: those that only lost it say less. */
static void assert_all_fine(const struct rank *ranks, int world, size_t which, size_t count)
{
    int bad = -1;

    for (int i = 0; i < world; i++) {
        if (ranks[i].rc != 0 && (bad < 0 || ranks[bad].rc == -BT_ERR_RANK_LOST))
            bad = i;
    }
    if (bad >= 0)
        fail_msg("collective %zu, %zu elements, rank %d of %d: %s", which, count, bad, world,
                 ranks[bad].err.text);
}

static void every_collective_gives_what_it_says(void **state)
{
    static int (*const bodies[])(struct rank *, struct coll *, struct bt_err *) = {
        body_all_reduce, body_reduce_scatter, body_all_gather, body_rooted, body_pairs};
    static const size_t counts[] = {0, 1, 3, 1000, 70001, 700003};
    struct rank ranks[RANKS_MAX];

    (void)state;
    for (size_t b = 0; b < BT_ARRAY_LEN(bodies); b++) {
        for (int world = 1; world <= RANKS_MAX; world++) {
            for (size_t k = 0; k < BT_ARRAY_LEN(counts); k++) {
                const struct rank like = {.body = bodies[b], .count = counts[k]};

                if (counts[k] > 100000 && world != 3)
                    continue;
                launch(ranks, world, &like);
                run_all(ranks, world);
                assert_all_fine(ranks, world, b, counts[k]);
            }
        }
    }
}

/* ---- bits ---- */

static int body_bits(struct rank *r, struct coll *c, struct bt_err *err)
{
    BT_AUTO float *x = bt_new_n(float, r->count);
    int rc;

    for (size_t i = 0; i < r->count; i++)
        x[i] = 1.0f / (float)(1 + i * 3 + (size_t)c->rank * 11);
    rc = c->ops->all_reduce(c, x, x, r->count, COLL_F32, COLL_SUM, err);
    r->digest = 1469598103934665603u;
    for (size_t i = 0; i < r->count * sizeof *x; i++)
        r->digest = (r->digest ^ ((const uint8_t *)x)[i]) * 1099511628211u;
    return rc;
}

static void sums_have_the_same_bits_everywhere_and_always(void **state)
{
    const struct rank like = {.body = body_bits, .count = 300001};
    struct rank ranks[4];
    uint64_t first = 0;

    (void)state;
    for (int round = 0; round < 3; round++) {
        launch(ranks, 4, &like);
        run_all(ranks, 4);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(ranks[i].rc, 0);
            first = first ? first : ranks[i].digest;
            assert_true(ranks[i].digest == first);
        }
    }
}

/* ---- mishaps ---- */

static int body_barrier(struct rank *r, struct coll *c, struct bt_err *err)
{
    (void)r;
    return c->ops->barrier(c, err);
}

static void a_rank_without_the_secret_is_turned_away(void **state)
{
    const struct rank like = {.body = body_barrier};
    struct rank ranks[3];

    (void)state;
    launch(ranks, 3, &like);
    ranks[2].config.secret[31] ^= 1;
    for (int i = 0; i < 3; i++)
        ranks[i].config.timeout_us = 2 * BT_US_PER_S;
    run_all(ranks, 3);
    assert_int_equal(ranks[2].rc, -BT_ERR_UNAUTHENTICATED);
    assert_int_equal(ranks[0].rc, -BT_ERR_UNAUTHENTICATED);
    assert_true(ranks[1].rc < 0);
}

static void a_rank_that_never_comes_is_waited_for_until_the_deadline(void **state)
{
    const struct rank like = {.body = body_barrier};
    struct rank ranks[3];

    (void)state;
    launch(ranks, 3, &like);
    for (int i = 0; i < 2; i++)
        ranks[i].config.timeout_us = BT_US_PER_S / 2;
    run_all(ranks, 2);
    assert_int_equal(ranks[0].rc, -BT_ERR_TIMEOUT);
    assert_true(ranks[1].rc == -BT_ERR_TIMEOUT || ranks[1].rc == -BT_ERR_RANK_LOST);
}

static void two_of_one_rank_are_refused(void **state)
{
    const struct rank like = {.body = body_barrier};
    struct rank ranks[3];

    (void)state;
    launch(ranks, 3, &like);
    ranks[2].config.rank = 1;
    run_all(ranks, 3);
    assert_int_equal(ranks[0].rc, -BT_ERR_CONFLICT);
    assert_string_equal(ranks[0].err.text, "two processes call themselves rank 1");
}

/* Rank 1 leaves after a first barrier; the others' next call must end at once. */
static int body_leave(struct rank *r, struct coll *c, struct bt_err *err)
{
    BT_AUTO float *x = bt_new_n(float, 1 << 20);
    int rc = c->ops->barrier(c, err);

    (void)r;
    if (rc < 0 || c->rank == 1)
        return rc;
    rc = c->ops->all_reduce(c, x, x, 1 << 20, COLL_F32, COLL_SUM, err);
    CHECK(rc == -BT_ERR_RANK_LOST);
    CHECK(c->ops->barrier(c, NULL) == -BT_ERR_RANK_LOST); /* and stays broken */
    return rc;
}

static void a_lost_rank_is_noticed_at_once_by_all(void **state)
{
    const struct rank like = {.body = body_leave};
    struct rank ranks[4];

    (void)state;
    launch(ranks, 4, &like);
    run_all(ranks, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ranks[i].rc, i == 1 ? 0 : -BT_ERR_RANK_LOST);
        assert_true(ranks[i].took_us < 15 * BT_US_PER_S);
    }
}

static int body_disagree(struct rank *r, struct coll *c, struct bt_err *err)
{
    float x[8] = {0};

    (void)r;
    return c->ops->all_reduce(c, x, x, c->rank ? 8 : 7, COLL_F32, COLL_SUM, err);
}

static void different_calls_are_a_conflict(void **state)
{
    const struct rank like = {.body = body_disagree};
    struct rank ranks[2];

    (void)state;
    launch(ranks, 2, &like);
    run_all(ranks, 2);
    assert_int_equal(ranks[0].rc, -BT_ERR_CONFLICT);
    assert_int_equal(ranks[1].rc, -BT_ERR_CONFLICT);
}

static void impossible_arguments_break_nothing(void **state)
{
    struct coll_config config = {.rank = 0, .world = 1, .timeout_us = 1000};
    struct coll *c = NULL;
    int32_t x = 5;

    (void)state;
    assert_int_equal(coll_ring.open(&config, &c, NULL), 0);
    assert_int_equal(c->ops->broadcast(c, &x, 1, COLL_I32, 1, NULL), -BT_ERR_INVALID);
    assert_int_equal(c->ops->broadcast(c, &x, 1, COLL_I32, 0, NULL), 0);
    coll_ring.close(c);
    coll_ring.close(NULL);
    config.rank = 1;
    assert_int_equal(coll_ring.open(&config, &c, NULL), -BT_ERR_INVALID);
    config = (struct coll_config){.rank = 0, .world = 2, .timeout_us = 1000};
    assert_int_equal(coll_ring.open(&config, &c, NULL), -BT_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_collective_gives_what_it_says),
        cmocka_unit_test(sums_have_the_same_bits_everywhere_and_always),
        cmocka_unit_test(a_rank_without_the_secret_is_turned_away),
        cmocka_unit_test(a_rank_that_never_comes_is_waited_for_until_the_deadline),
        cmocka_unit_test(two_of_one_rank_are_refused),
        cmocka_unit_test(a_lost_rank_is_noticed_at_once_by_all),
        cmocka_unit_test(different_calls_are_a_conflict),
        cmocka_unit_test(impossible_arguments_break_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
