/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "agent/starts.h"
#include "lib/base/str.h"

static struct attempt_id attempt(int n)
{
    return (struct attempt_id){.job.b = {[15] = (uint8_t)n}, .attempt = 1};
}

static void add(struct starts *s, int n)
{
    struct attempt_id id = attempt(n);
    char foreign[16];

    (void)snprintf(foreign, sizeof foreign, "slurm:%d:0", n);
    starts_add(s, &id, foreign);
}

static bool take(struct starts *s, int own, struct start_list *to)
{
    struct attempt_id id = attempt(own);

    return starts_take(s, &id, to);
}

static bool has(struct starts *s, int n)
{
    struct attempt_id id = attempt(n);

    return starts_has(s, &id);
}

/* The last bytes of the jobs, as a number in decimal: {1, 2} is 12. */
static int jobs(const struct start_list *list)
{
    int n = 0;

    for (int i = 0; i < list->n; i++)
        n = n * 10 + list->v[i].id.job.b[15];
    return n;
}

static void what_no_other_request_tells_goes_along_and_ones_own_last(void **state)
{
    struct starts *s = starts_new();
    struct start_list a, b, c;

    (void)state;
    starts_allow(s, true);
    assert_false(take(s, 9, &a));
    assert_int_equal(a.n, 0);
    for (int n = 1; n <= 3; n++)
        add(s, n);
    add(s, 2); /* once is enough */
    assert_true(take(s, 2, &a));
    assert_int_equal(jobs(&a), 132);
    assert_string_equal(a.v[2].foreign, "slurm:2:0");
    add(s, 4);
    assert_false(take(s, 9, &b));
    assert_int_equal(jobs(&b), 4);
    assert_true(take(s, 3, &c)); /* its own, though the first request is telling it */
    assert_int_equal(jobs(&c), 3);
    starts_settle(s, &c, true);
    starts_settle(s, &b, false);
    assert_false(has(s, 3));
    assert_true(has(s, 4));
    starts_settle(s, &a, true); /* 3 has gone meanwhile */
    assert_false(has(s, 1));
    assert_false(take(s, 9, &a));
    assert_int_equal(jobs(&a), 4);
    starts_free(s);
}

static void what_was_not_told_waits_for_the_next_request(void **state)
{
    struct starts *s = starts_new();
    struct attempt_id two = attempt(2);
    struct start_list a;

    (void)state;
    starts_allow(s, true);
    add(s, 1);
    add(s, 2);
    for (int i = 0; i < 3; i++) {
        assert_false(take(s, 9, &a));
        assert_int_equal(jobs(&a), 12);
        starts_settle(s, &a, false);
    }
    starts_drop(s, &two);
    starts_drop(s, &two);
    assert_false(take(s, 9, &a));
    assert_int_equal(jobs(&a), 1);
    starts_free(s);
}

static void to_an_earlier_daemon_nothing_goes_along(void **state)
{
    struct starts *s = starts_new();
    struct start_list a;

    (void)state;
    assert_false(starts_allowed(s));
    add(s, 1);
    add(s, 2);
    assert_false(take(s, 9, &a));
    assert_int_equal(a.n, 0);
    assert_true(take(s, 1, &a));
    assert_int_equal(jobs(&a), 1);
    starts_free(s);
}

static void more_than_a_request_holds_go_with_several(void **state)
{
    struct starts *s = starts_new();
    struct start_list a, b;

    (void)state;
    starts_allow(s, true);
    for (int n = 0; n < START_LIST_MAX + 4; n++)
        add(s, n);
    assert_true(take(s, 0, &a));
    assert_int_equal(a.n, START_LIST_MAX);
    assert_int_equal(a.v[START_LIST_MAX - 1].id.job.b[15], 0);
    assert_false(take(s, 99, &b));
    assert_int_equal(b.n, 4);
    starts_settle(s, &a, true);
    starts_settle(s, &b, true);
    assert_false(has(s, START_LIST_MAX + 3));
    starts_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_other_request_tells_goes_along_and_ones_own_last),
        cmocka_unit_test(what_was_not_told_waits_for_the_next_request),
        cmocka_unit_test(to_an_earlier_daemon_nothing_goes_along),
        cmocka_unit_test(more_than_a_request_holds_go_with_several),
    };

    return cmocka_run_group_tests_name("agent_starts", tests, NULL, NULL);
}
