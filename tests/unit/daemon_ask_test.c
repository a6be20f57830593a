/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/ask.h"

static void what_was_asked_is_answered_once(void **state)
{
    struct ask a;
    struct bt_err err = {0};

    (void)state;
    ask_init(&a);
    for (int i = 0; i < 3; i++) {
        struct reply r[2] = {{.to = 99}, {.to = ask_begin(&a)}};

        if (i == 1)
            r[1].err.code = BT_ERR_CONFLICT;
        ask_answer(&a, r, 2);
        assert_int_equal(ask_wait(&a, 1000000, &err), i == 1 ? -BT_ERR_CONFLICT : 0);
    }
    ask_done(&a);
}

static void an_answer_that_never_comes_ends_in_a_sentence(void **state)
{
    struct ask a;
    struct bt_err err = {0};
    struct reply late = {.to = 0};

    (void)state;
    ask_init(&a);
    late.to = ask_begin(&a);
    assert_int_equal(ask_wait(&a, 0, &err), -BT_ERR_TIMEOUT);
    assert_non_null(strstr(err.text, "the database has not taken"));
    assert_non_null(strstr(err.next, "PostgreSQL's log"));
    ask_answer(&a, &late, 1); /* nobody waits for it any more */
    ask_begin(&a);
    assert_int_equal(ask_wait(&a, 0, &err), -BT_ERR_TIMEOUT);
    ask_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_asked_is_answered_once),
        cmocka_unit_test(an_answer_that_never_comes_ends_in_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
