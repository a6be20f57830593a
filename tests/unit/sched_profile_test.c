/* sched_profile_test.c - the step function of free capacity against a plain array.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "daemon/sched/profile.h"
#include "lib/base/attr.h"

enum { SPAN = 700 };

struct model {
    struct profile p;
    int v[SPAN];
    uint64_t seed;
};

static uint32_t below(struct model *m, uint32_t n)
{
    m->seed = m->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(m->seed >> 33) % n;
}

static void add(struct model *m, int from, int until, int x)
{
    profile_add(&m->p, from, until, x);
    for (int i = from; i < until && i < SPAN; i++)
        m->v[i] += x;
}

static int fits(const struct model *m, int need, int s, int len)
{
    for (int i = s; i < s + len; i++)
        if (m->v[BT_MIN(i, SPAN - 1)] < need)
            return 0;
    return 1;
}

static int earliest(const struct model *m, int need, int len, int from, int upto)
{
    for (int s = from; s <= upto; s++)
        if (fits(m, need, s, len))
            return s;
    return PROFILE_NEVER;
}

static int latest(const struct model *m, int need, int len, int from, int upto)
{
    for (int s = upto; s >= from; s--)
        if (fits(m, need, s, len))
            return s;
    return PROFILE_NEVER;
}

static int least(const struct model *m, int from, int until)
{
    int x = INT32_MAX;
    for (int i = from; i < until; i++)
        x = BT_MIN(x, m->v[i]);
    return x;
}

static void ask(struct model *m)
{
    int from = (int)below(m, SPAN / 2), upto = from + (int)below(m, SPAN / 2 - 1);
    int len = 1 + (int)below(m, 200), need = (int)below(m, 60);
    assert_int_equal(profile_earliest(&m->p, need, len, from, upto),
                     earliest(m, need, len, from, upto));
    assert_int_equal(profile_latest(&m->p, need, len, from, upto),
                     latest(m, need, len, from, upto));
    assert_int_equal(profile_value(&m->p, from), m->v[from]);
    assert_int_equal(profile_min(&m->p, from, from + BT_MIN(len, SPAN - from)),
                     least(m, from, from + BT_MIN(len, SPAN - from)));
}

static void a_profile_equals_an_array(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct model m = {.seed = seed};
        profile_init(&m.p, 50);
        for (int i = 0; i < SPAN; i++)
            m.v[i] = 50;
        for (int round = 0; round < 3000; round++) {
            int from = (int)below(&m, SPAN - 1), until = from + 1 + (int)below(&m, SPAN);
            add(&m, from, BT_MIN(until, SPAN - 1), (int)below(&m, 9) - 4);
            if (round % 500 == 499) {
                struct profile copy;
                profile_copy(&copy, &m.p);
                profile_done(&m.p);
                m.p = copy;
            }
            ask(&m);
        }
        profile_done(&m.p);
    }
}

/* Its first step becomes part of the chunk before, and was the only one of its value: what is left
 * must not be thought to be as low. */
static void a_chunk_forgets_a_value_that_it_lost(void **state)
{
    (void)state;
    struct model m = {.seed = 1};
    int until;
    profile_init(&m.p, 9);
    for (int i = 0; i < SPAN; i++)
        m.v[i] = 9;
    for (int t = 0; t < 400; t += 2)
        add(&m, t, t + 1, -1);
    assert_true(m.p.n_chunks > 3);
    for (uint32_t k = 1; k < 3; k++) {
        int t = m.p.first[k];
        add(&m, t, t + 1, -m.v[t]); /* 0, here alone */
        add(&m, t - 1, t, -m.v[t - 1]);
        assert_true(m.p.first[k] > t);
        for (int from = t - 3; from < t + 70; from++) {
            assert_int_equal(profile_min(&m.p, from, from + 90), least(&m, from, from + 90));
            assert_int_equal(profile_open(&m.p, 1, from, &until), m.v[from] >= 1);
        }
    }
    profile_done(&m.p);
}

static void what_is_taken_and_given_back_leaves_no_trace(void **state)
{
    (void)state;
    struct model m = {.seed = 7};
    profile_init(&m.p, 9);
    int span[400][2];
    for (int i = 0; i < 400; i++) {
        span[i][0] = (int)below(&m, 100000);
        span[i][1] = span[i][0] + 1 + (int)below(&m, 100000);
        profile_add(&m.p, span[i][0], span[i][1], -1);
    }
    assert_true(m.p.n_chunks > 8);
    for (int i = 0; i < 400; i++)
        profile_add(&m.p, span[i][0], span[i][1], 1);
    assert_int_equal(m.p.n_chunks, 1);
    assert_int_equal(m.p.n[0], 1);
    assert_int_equal(profile_next(&m.p, 5), PROFILE_NEVER);
    profile_done(&m.p);
}

static void a_trimmed_profile_keeps_the_future(void **state)
{
    (void)state;
    struct model m = {.seed = 11};
    profile_init(&m.p, 20);
    for (int i = 0; i < SPAN; i++)
        m.v[i] = 20;
    for (int i = 0; i < 500; i++) {
        int from = (int)below(&m, SPAN - 2);
        add(&m, from, from + 1 + (int)below(&m, (uint32_t)(SPAN - 1 - from)), -1);
    }
    for (int now = 0; now < SPAN; now += 97) {
        profile_trim(&m.p, now);
        for (int t = now; t < SPAN; t++)
            assert_int_equal(profile_value(&m.p, t), m.v[t]);
    }
    profile_done(&m.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_equals_an_array),
        cmocka_unit_test(a_chunk_forgets_a_value_that_it_lost),
        cmocka_unit_test(what_is_taken_and_given_back_leaves_no_trace),
        cmocka_unit_test(a_trimmed_profile_keeps_the_future),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
