/* Long polls by the thousand: a change wakes those who wait for it, and nobody else.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "daemon/http/own.h"
#include "lib/base/mem.h"

enum { AGENTS = 12500 };

static uint64_t key_of(int i)
{
    return hub_key('w', &i, sizeof i);
}

static void a_change_wakes_only_who_waits_for_it(void **state)
{
    struct http h = {.hub = hub_new()};
    BT_AUTO struct call *calls = bt_new_n(struct call, AGENTS + 1);

    (void)state;
    for (int i = 0; i < AGENTS; i++) {
        calls[i].h = &h;
        hub_register(&calls[i], key_of(i));
    }
    calls[AGENTS].h = &h;
    hub_register(&calls[AGENTS], key_of(7)); /* a second one for the same key */
    hub_wake(&h, key_of(7));
    hub_wake(&h, key_of(AGENTS)); /* of nobody */
    for (int i = 0; i <= AGENTS; i++)
        assert_int_equal(calls[i].hub_state, i == 7 || i == AGENTS ? HUB_WOKEN : HUB_AWAKE);
    for (int i = 0; i <= AGENTS; i++)
        hub_leave(&calls[i]);
    for (int i = 0; i <= AGENTS; i++)
        assert_int_equal(calls[i].hub_state, HUB_OUT);
    hub_wake(&h, key_of(3)); /* all have left */
    assert_int_equal(calls[3].hub_state, HUB_OUT);
    hub_free(h.hub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_wakes_only_who_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
