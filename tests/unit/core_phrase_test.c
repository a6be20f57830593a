/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>

#include "daemon/core/phrase.h"

static void one_text_has_one_place_while_it_is_used(void **state)
{
    struct phrases p = {0};
    char text[] = "cancelled by cz/alice";
    uint32_t a = phrase_use(&p, text);
    uint32_t b = phrase_use(&p, "it failed");

    (void)state;
    assert_int_not_equal(a, 0);
    assert_int_not_equal(a, b);
    assert_int_equal(phrase_use(&p, "cancelled by cz/alice"), a);
    text[0] = '!'; /* it was copied */
    assert_string_equal(phrase_text(&p, a), "cancelled by cz/alice");
    phrase_leave(&p, a);
    assert_string_equal(phrase_text(&p, a), "cancelled by cz/alice");
    phrase_leave(&p, a);
    assert_int_equal(phrase_use(&p, "a place that was given back"), a);
    assert_string_equal(phrase_text(&p, a), "a place that was given back");
    assert_string_equal(phrase_text(&p, b), "it failed");
    assert_int_equal(p.n, 2);
    phrases_done(&p);
}

static void no_text_is_nothing(void **state)
{
    struct phrases p = {0};

    (void)state;
    assert_null(phrase_text(&p, 0));
    phrase_leave(&p, 0);
    assert_int_equal(phrase_use(&p, ""), 1);
    assert_string_equal(phrase_text(&p, 1), "");
    phrases_done(&p);
}

static void what_all_have_left_takes_no_more_room(void **state)
{
    enum { N = 1000 };
    static uint32_t id[N];
    struct phrases p = {0};
    char text[32];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            snprintf(text, sizeof text, "round %d, text %d", round, i);
            id[i] = phrase_use(&p, text);
        }
        assert_int_equal(p.n, N);
        assert_int_equal(p.index.n, N);
        for (int i = 0; i < N; i++) {
            snprintf(text, sizeof text, "round %d, text %d", round, i);
            assert_string_equal(phrase_text(&p, id[i]), text);
            phrase_leave(&p, id[i]);
        }
        assert_int_equal(p.index.n, 0);
    }
    phrases_done(&p);
}

/* Of two texts with one hash the second has no place in the index, and goes alone. */
static void two_texts_with_one_hash_stay_two(void **state)
{
    struct phrases p = {0};
    uint32_t a = phrase_use(&p, "a");
    uint32_t b;
    uint32_t c;

    (void)state;
    bt_map_put(&p.index, bt_map_hash("b", 1), a - 1); /* as if "b" had the hash of "a" */
    b = phrase_use(&p, "b");
    c = phrase_use(&p, "b");
    assert_int_not_equal(b, a);
    assert_int_not_equal(c, b);
    assert_string_equal(phrase_text(&p, b), "b");
    phrase_leave(&p, b);
    assert_string_equal(phrase_text(&p, a), "a");
    assert_string_equal(phrase_text(&p, c), "b");
    assert_int_equal(phrase_use(&p, "a"), a);
    phrases_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_text_has_one_place_while_it_is_used),
        cmocka_unit_test(no_text_is_nothing),
        cmocka_unit_test(what_all_have_left_takes_no_more_room),
        cmocka_unit_test(two_texts_with_one_hash_stay_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
