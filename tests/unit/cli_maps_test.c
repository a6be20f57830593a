/* Lists of Unix accounts as files. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "cli/maps.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"

static struct map_line maps[MAPS_MAX];

static void lines_are_read_with_their_numbers(void **unused)
{
    static const char text[] = "person,site,account\r\n"
                               "# of the first call\n"
                               "\n"
                               "cz/ana , geneva,adoe\r\n"
                               " fr/louis,geneva, lb";

    (void)unused;
    assert_int_equal(2, maps_parse(text, sizeof text - 1, maps, NULL));
    assert_int_equal(4, maps[0].line);
    assert_string_equal("cz/ana", maps[0].person);
    assert_string_equal("geneva", maps[0].site);
    assert_string_equal("adoe", maps[0].account);
    assert_int_equal(5, maps[1].line);
    assert_string_equal("lb", maps[1].account);
    assert_int_equal(0, maps_parse("", 0, maps, NULL));
}

static void what_is_wrong_names_its_line(void **unused)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"cz/ana,geneva", "line 1 has not three words between commas"},
        {"\ncz/ana,geneva,a,b", "line 2 has not three words between commas"},
        {"a,b,c\ncz/ana,,a", "line 2: the site is missing"},
        {"cz/ana,geneva, ", "line 1: the account is missing"},
        {"cz/ana,geneva,abcdefghijklmnopqrstuvwxyz0123456789", "line 1: the account is too long"},
        {"cz/\xff,geneva,a", "line 1: the person is no text"},
    };

    (void)unused;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};

        assert_int_equal(-BT_ERR_INVALID,
                         maps_parse(cases[i].text, strlen(cases[i].text), maps, &err));
        assert_string_equal(cases[i].error, err.text);
    }
}

static void a_list_ends_somewhere(void **unused)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct bt_err err = {0};

    (void)unused;
    for (int i = 0; i < MAPS_MAX; i++)
        bt_buf_str(&text, "cz/ana,geneva,adoe\n");
    assert_int_equal(MAPS_MAX, maps_parse(text.p, text.n, maps, &err));
    bt_buf_str(&text, "cz/ana,geneva,adoe\n");
    assert_int_equal(-BT_ERR_TOO_LARGE, maps_parse(text.p, text.n, maps, &err));
    assert_string_equal("line 2001 is one too many: 2000 at a time", err.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_with_their_numbers),
        cmocka_unit_test(what_is_wrong_names_its_line),
        cmocka_unit_test(a_list_ends_somewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
