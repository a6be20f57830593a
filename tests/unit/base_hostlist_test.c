/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "lib/base/hostlist.h"
#include "lib/base/mem.h"

static int join(void *arg, const char *name)
{
    struct bt_buf *to = arg;

    bt_buf_printf(to, "%s%s", to->n ? " " : "", name);
    return 0;
}

static void a_list_with_ranges_names_each_node(void **state)
{
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {{"n1", "n1"},
                 {"n[1-3]", "n1 n2 n3"},
                 {"n[08-11,20],m", "n08 n09 n10 n11 n20 m"},
                 {"r1-n[01-02]-gpu,x", "r1-n01-gpu r1-n02-gpu x"},
                 {"n[9-10]", "n9 n10"},
                 {"", ""},
                 {"n[1-", NULL},
                 {"n[]", NULL},
                 {"n[a]", NULL},
                 {"n[3-1]", NULL},
                 {"n[10-1]", NULL},
                 {"n[1-2][3-4]", NULL},
                 {"a,,b", NULL},
                 {"a,", NULL},
                 {",a", NULL},
                 {"n]1", NULL},
                 {"n[1-99]", NULL},
                 {"n[0000000001-2]", NULL}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf got = {0};
        int rc = bt_hostlist_each(cases[i].text, 40, join, &got, NULL);

        assert_int_equal(rc >= 0, cases[i].want != NULL);
        if (cases[i].want)
            assert_string_equal(bt_buf_text(&got), cases[i].want);
    }
}

static void names_are_folded_into_ranges(void **state)
{
    static const char *const names[] = {"m", "n08", "n09", "n10", "n20", "n100", "x7"};
    BT_BUF_AUTO struct bt_buf got = {0};
    BT_BUF_AUTO struct bt_buf back = {0};

    (void)state;
    bt_hostlist_format(names, BT_ARRAY_LEN(names), &got);
    assert_string_equal(bt_buf_text(&got), "m,n[08-10,20],n100,x7");
    assert_int_equal(bt_hostlist_each(bt_buf_text(&got), 40, join, &back, NULL), 7);
    assert_string_equal(bt_buf_text(&back), "m n08 n09 n10 n20 n100 x7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_with_ranges_names_each_node),
        cmocka_unit_test(names_are_folded_into_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
