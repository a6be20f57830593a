/* sched_berth_test.c - nodes shared over time, against a table of every second.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "daemon/sched/berth.h"
#include "lib/base/attr.h"

enum { BERTHS = 6, NODES = 4, ACC = 8, SPAN = 200, LEN = 40 };

struct world {
    struct berths b;
    struct profile whole, acc;
    int32_t used[BERTHS][SPAN + LEN + 1], gangs[SPAN + LEN + 1]; /* the table */
    uint64_t seed;
};

static uint32_t below(struct world *w, uint32_t n)
{
    uint64_t z = w->seed += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Vigna 2015 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % n);
}

static int32_t nodes_free(const struct world *w, int32_t t)
{
    int32_t n = NODES - w->gangs[t];
    for (uint32_t i = 0; i < BERTHS; i++)
        n -= w->used[i][t] > 0;
    return n;
}

/* Whether n_acc fit into a berth over [t, t + len): where it is empty a node must be free. */
static bool fits(const struct world *w, uint32_t berth, uint32_t n_acc, int32_t t, int32_t len)
{
    for (int32_t k = t; k < t + len; k++)
        if (w->used[berth][k] + (int32_t)n_acc > ACC ||
            (w->used[berth][k] == 0 && nodes_free(w, k) < 1))
            return false;
    return true;
}

/* In one of these, or in one of its own. */
static bool fits_any(const struct world *w, uint32_t n_acc, int32_t t, int32_t len)
{
    bool own = true;
    for (int32_t k = t; k < t + len; k++)
        own &= nodes_free(w, k) >= 1;
    if (own)
        return true;
    for (uint32_t i = 0; i < BERTHS; i++)
        if (fits(w, i, n_acc, t, len))
            return true;
    return false;
}

static void add(struct world *w, uint32_t berth, int32_t t, int32_t len, int32_t x)
{
    berth_add(&w->b, berth, t, t + len, x);
    profile_add(&w->acc, t, t + len, -x);
    for (int32_t k = t; k < t + len; k++)
        w->used[berth][k] += x;
}

static void check_whole(const struct world *w)
{
    for (int32_t t = 0; t < SPAN; t++)
        assert_int_equal(profile_value(&w->whole, t), nodes_free(w, t));
}

static void begin(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed};
    berths_init(&w->b, ACC);
    profile_init(&w->whole, NODES);
    berths_take(&w->b, &w->whole);
    profile_init(&w->acc, NODES * ACC);
    for (uint32_t i = 0; i < BERTHS; i++)
        assert_int_equal(berth_append(&w->b), i);
    for (int i = 0; i < 5; i++) { /* gangs leave gaps */
        int32_t t = (int32_t)below(w, SPAN), len = 1 + (int32_t)below(w, LEN);
        int32_t n = 1 + (int32_t)below(w, 2);
        if (profile_min(&w->whole, t, t + len) < n)
            continue;
        profile_add(&w->whole, t, t + len, -n);
        profile_add(&w->acc, t, t + len, -n * ACC);
        for (int32_t k = t; k < t + len && k <= SPAN + LEN; k++)
            w->gangs[k] += n;
    }
}

static void end(struct world *w)
{
    berths_done(&w->b);
    profile_done(&w->whole);
    profile_done(&w->acc);
}

/* One random job: its earliest and latest slots are those of the table; it is booked. */
static void book(struct world *w)
{
    struct berth_ask ask = {.whole = &w->whole,
                            .acc = &w->acc,
                            .n_acc = 1 + below(w, ACC - 1),
                            .len = 1 + (int32_t)below(w, LEN),
                            .from = (int32_t)below(w, SPAN / 4),
                            .upto = SPAN - 1,
                            .now = -1};
    struct berth_slot s, late;
    int32_t first = ask.from, last = ask.upto;
    while (first <= ask.upto && !fits_any(w, ask.n_acc, first, ask.len))
        first++;
    while (last >= ask.from && !fits_any(w, ask.n_acc, last, ask.len))
        last--;
    bool found = berths_earliest(&w->b, &ask, &s);
    assert_int_equal(found, first <= ask.upto);
    assert_int_equal(berths_latest(&w->b, &ask, &late), found);
    if (!found)
        return;
    assert_int_equal(s.start, first);
    assert_int_equal(late.start, last);
    uint32_t berth = s.berth == BERTH_NONE ? berth_empty(&w->b) : s.berth;
    if (berth >= BERTHS)
        return;
    assert_true(fits(w, berth, ask.n_acc, s.start, ask.len));
    add(w, berth, s.start, ask.len, (int32_t)ask.n_acc);
    assert_true(berth_holds(&w->b, berth, 0));
    if (below(w, 4) == 0) /* and given back */
        add(w, berth, s.start, ask.len, -(int32_t)ask.n_acc);
}

static void slots_are_those_of_a_table_of_every_second(void **state)
{
    (void)state;
    static struct world w;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        begin(&w, seed);
        for (int i = 0; i < 40; i++)
            book(&w);
        check_whole(&w);
        end(&w);
    }
}

static void an_emptied_berth_is_given_out_again(void **state)
{
    (void)state;
    struct berths b;
    struct profile whole;
    berths_init(&b, ACC);
    profile_init(&whole, 1);
    berths_take(&b, &whole);
    uint32_t first = berth_empty(&b);
    berth_add(&b, first, 10, 20, 3);
    assert_int_not_equal(berth_empty(&b), first);
    assert_int_equal(profile_value(&whole, 15), 0);
    berth_add(&b, first, 10, 20, -3);
    assert_int_equal(profile_value(&whole, 15), 1);
    assert_int_equal(berth_empty(&b), first);
    berth_bind(&b, first, 7); /* a node stands for it */
    assert_int_not_equal(berth_empty(&b), first);
    berth_bind(&b, first, BERTH_NONE);
    berth_add(&b, first, 10, 20, 3);
    berths_trim(&b, 30);
    assert_int_equal(berth_empty(&b), first);
    berths_done(&b);
    profile_done(&whole);
}

static void at_once_only_a_node_that_is_there_is_used(void **state)
{
    (void)state;
    struct berths b;
    struct profile whole, acc;
    berths_init(&b, ACC);
    profile_init(&whole, 2);
    berths_take(&b, &whole);
    profile_init(&acc, 2 * ACC);
    uint32_t bound = berth_empty(&b);
    berth_bind(&b, bound, 0);
    berth_add(&b, bound, 0, 50, 6);
    b.v[bound].held = 6;
    struct berth_ask ask = {.whole = &whole, .acc = &acc, .n_acc = 2, .len = 10, .upto = 100};
    struct berth_slot s;
    assert_true(berths_earliest(&b, &ask, &s)); /* beside what runs, though no node is free */
    assert_int_equal(s.start, 0);
    assert_int_equal(s.berth, bound);
    ask.n_acc = 3;
    assert_true(berths_earliest(&b, &ask, &s));
    assert_int_equal(s.start, 1);
    ask.fresh = true;
    assert_true(berths_earliest(&b, &ask, &s));
    assert_int_equal(s.start, 0);
    assert_int_equal(s.berth, BERTH_NONE);
    berths_done(&b);
    profile_done(&whole);
    profile_done(&acc);
}

static void who_comes_later_gets_the_node_that_is_left_by_then(void **state)
{
    struct berths b;
    (void)state;
    berths_init(&b, ACC);
    uint32_t early = berth_empty(&b);
    berth_bind(&b, early, 3);
    berth_add(&b, early, 0, 50, ACC);
    uint32_t late = berth_empty(&b);
    berth_bind(&b, late, 1);
    berth_add(&b, late, 0, 90, 1);
    assert_int_equal(berth_after(&b, 50), early);
    assert_int_equal(berth_after(&b, 90), late);
    uint32_t own = berth_after(&b, 49); /* nobody has left by then */
    assert_true(own != early && own != late);
    berth_bind(&b, early, BERTH_NONE); /* its node may be anyone's */
    berth_bind(&b, late, BERTH_NONE);
    assert_int_equal(berth_after(&b, 90), own);
    berths_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_those_of_a_table_of_every_second),
        cmocka_unit_test(an_emptied_berth_is_given_out_again),
        cmocka_unit_test(who_comes_later_gets_the_node_that_is_left_by_then),
        cmocka_unit_test(at_once_only_a_node_that_is_there_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
