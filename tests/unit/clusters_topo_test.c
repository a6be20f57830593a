/* The switches that a cluster names beside those that agents were told.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/clusters/site_topo.h"
#include "lib/base/str.h"

/* "node what: expected | actual; …" */
static void compare(const struct topo_node *v, size_t n, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = &text};
    JSON_AUTO struct json *list = NULL;
    int found;

    jw_array(&w, NULL);
    found = topo_diff(v, n, &w);
    jw_end_array(&w);
    assert_int_equal(0, json_parse(text.p, text.n, text.n, &list, NULL));
    assert_int_equal(found, json_len(list));
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *d = json_at(list, i);

        assert_true(strlen(json_str(json_get(d, "fix"), "")) > 10);
        bt_buf_printf(to, "%s%s %s: %s | %s", i ? "; " : "", json_str(json_get(d, "node"), "?"),
                      json_str(json_get(d, "what"), "?"), json_str(json_get(d, "expected"), "?"),
                      json_str(json_get(d, "actual"), "?"));
    }
}

static void a_difference_is_named_with_what_is_expected(void **unused)
{
    static const struct {
        struct topo_node v[4];
        size_t n;
        const char *text;
    } rows[] = {
        {.n = 0, .text = ""},
        /* no topology: what agents say is all there is */
        {{{"n1", "", "", 1, 1}, {"n2", "", "", 2, 1}}, 2, ""},
        /* agents that say nothing differ in nothing */
        {{{"n1", "a", "top", 0, 0}, {"n2", "b", "top", 0, 0}}, 2, ""},
        {{{"n1", "a", "top", 7, 3}, {"n2", "a", "top", 7, 3}, {"n3", "b", "top", 8, 3}}, 3, ""},
        {{{"n1", "a", "top", 6, 3},
          {"n2", "a", "top", 7, 3},
          {"n3", "a", "top", 7, 4},
          {"n4", "b", "top", 0, 3}},
         4,
         "n1 leaf: 7, as other nodes of switch a | its agent says 6; "
         "n3 pod: 3, as other nodes of switch top | its agent says 4"},
        {{{"n1", "a", "x", 7, 3}, {"n2", "b", "y", 7, 3}},
         2,
         "- leaf: switch b has another number than a | agents below both say 7; "
         "- pod: switch y has another number than x | agents below both say 3"},
        {{{"n1", "a", "a", 0, 0}, {"n2", "", "", 0, 0}},
         2,
         "n2 leaf: on a switch | topology.conf leaves it out"},
    };

    (void)unused;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        BT_BUF_AUTO struct bt_buf got = {0};

        compare(rows[i].v, rows[i].n, &got);
        assert_string_equal(rows[i].text, bt_buf_text(&got));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_difference_is_named_with_what_is_expected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
