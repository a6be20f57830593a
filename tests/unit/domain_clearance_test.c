/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/time.h"
#include "lib/domain/clearance.h"

enum { NOW = 1000 };

static const struct clearance fine3 = {true, 3, CLEARANCE_FOREVER};

static void a_lock_opens_by_tier_and_date(void **state)
{
    static const struct {
        struct clearance lock;
        int need;
        enum clearance_fault want;
    } cases[] = {
        {{true, 3, NOW + 1}, 3, CLEARANCE_FINE},
        {{true, 4, CLEARANCE_FOREVER}, 3, CLEARANCE_FINE},
        {{true, 2, NOW + 1}, 3, CLEARANCE_LOW},
        {{true, 3, NOW}, 3, CLEARANCE_EXPIRED}, /* the end itself is outside */
        {{true, 2, NOW - 1}, 3, CLEARANCE_LOW},
        {{false, 4, CLEARANCE_FOREVER}, 0, CLEARANCE_MISSING},
        {{true, 0, NOW + 1}, 0, CLEARANCE_FINE},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        for (int k = 0; k < LOCKS; k++) {
            struct clearance_locks locks = {{fine3, fine3, fine3, fine3}};
            struct clearance_report r;

            locks.lock[k] = cases[i].lock;
            assert_int_equal(clearance_check(&locks, cases[i].need, NOW, &r),
                             cases[i].want != CLEARANCE_FINE);
            assert_int_equal(r.fault[k], cases[i].want);
        }
}

static void every_failing_lock_is_named_with_its_cure(void **state)
{
    static const char want[] =
        "person            your clearance is tier 2 until 2027-03-01"
        "       ask your nation:  beamtime clearance request --tier 3\n"
        "project protocol  the safety protocol of CZ/multilingual was never given"
        "  ask your nation:  beamtime clearance request --project CZ/multilingual --tier 3\n"
        "site              the certification of se-1 is tier 3 but ended 2026-10-01"
        "  choose a certified site:  beamtime site list --tier 3\n"
        "fine: institution (tier 3)\n";
    const struct clearance_names names = {"fr-cnrs", "CZ/multilingual", "se-1"};
    struct clearance_locks locks = {{{true, 2, 0}, fine3, {0}, {true, 3, 0}}};
    BT_BUF_AUTO struct bt_buf text = {0};
    struct clearance_report r;
    int64_t now_us;

    (void)state;
    assert_int_equal(bt_time_parse("2026-11-21", "now", &now_us, NULL), 0);
    assert_int_equal(bt_time_parse("2027-03-01", "end", &locks.lock[LOCK_PERSON].expires_us, NULL),
                     0);
    assert_int_equal(bt_time_parse("2026-10-01", "end", &locks.lock[LOCK_SITE].expires_us, NULL),
                     0);
    assert_int_equal(clearance_check(&locks, 3, now_us, &r), 3);
    clearance_print(&r, &names, &text);
    assert_string_equal(bt_buf_text(&text), want);
}

static void tiers_have_names(void **state)
{
    (void)state;
    for (int t = 0; t < TIERS; t++)
        assert_int_equal(tier_by_name(tier_name(t)), t);
    assert_int_equal(tier_by_name("secret"), -1);
    assert_string_equal(tier_name(TIERS), "unknown");
    assert_string_equal(tier_name(-1), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_opens_by_tier_and_date),
        cmocka_unit_test(every_failing_lock_is_named_with_its_cure),
        cmocka_unit_test(tiers_have_names),
    };

    return cmocka_run_group_tests_name("domain_clearance", tests, NULL, NULL);
}
