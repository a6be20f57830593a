/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "lib/base/attr.h"
#include "lib/base/map.h"

/* A plain array is the oracle: the map must agree after every random step. */
static void a_map_agrees_with_an_array(void **state)
{
    enum { KEYS = 300, STEPS = 200000 };
    static int64_t want[KEYS];
    struct bt_map m = {0};
    uint64_t x = 88172645463325252u;
    size_t n = 0;

    (void)state;
    for (int i = 0; i < KEYS; i++)
        want[i] = -1;
    for (int step = 0; step < STEPS; step++) {
        uint32_t got;
        int k;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        k = (int)(x % KEYS);
        if (x >> 32 & 1) {
            n += want[k] < 0;
            want[k] = (int64_t)(x >> 40);
            bt_map_put(&m, (uint64_t)k << 20, (uint32_t)want[k]);
        } else {
            assert_int_equal(bt_map_del(&m, (uint64_t)k << 20), want[k] >= 0);
            n -= want[k] >= 0;
            want[k] = -1;
        }
        k = (int)(x >> 8) % KEYS;
        if (k < 0)
            k = -k;
        assert_int_equal(bt_map_get(&m, (uint64_t)k << 20, &got) ? (int64_t)got : -1, want[k]);
        assert_int_equal(m.n, n);
    }
    bt_map_done(&m);
}

static void hashes_depend_on_every_byte(void **state)
{
    char a[20] = {0};
    uint64_t h = bt_map_hash(a, sizeof a);

    (void)state;
    assert_int_equal(h, bt_map_hash(a, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        a[i] = 1;
        assert_true(bt_map_hash(a, sizeof a) != h);
        a[i] = 0;
    }
    assert_true(bt_map_hash(a, sizeof a - 1) != h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_agrees_with_an_array),
        cmocka_unit_test(hashes_depend_on_every_byte),
    };

    return cmocka_run_group_tests_name("base_map", tests, NULL, NULL);
}
