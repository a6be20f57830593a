/* What slurmdbd should know beside what it knows. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/clusters/fence.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { MOST = 4 };

/* "what expected | actual: fix" a line. */
static void compare(const struct fence_row *want, size_t n_want, const struct fence_row *has,
                    size_t n_has, struct bt_buf *to)
{
    struct fence_row w[MOST], h[MOST];
    struct fence_item *items;
    size_t n;

    memcpy(w, want, sizeof w);
    memcpy(h, has, sizeof h);
    items = fence_compare(w, n_want, h, n_has, &n);
    for (size_t i = 0; i < n; i++) {
        char fix[200];

        fence_fix(&items[i], fix, sizeof fix);
        bt_buf_printf(to, "%s %s | %s: %s\n", items[i].what, items[i].expected, items[i].actual,
                      fix);
    }
    bt_free(items);
}

#define MOON "bt_cz_moon"
#define FULL .there = true, .own_qos = true

static void each_difference_has_its_fix(void **unused)
{
    static const struct {
        struct fence_row want[MOST];
        size_t n_want;
        struct fence_row has[MOST];
        size_t n_has;
        const char *text;
    } rows[] = {
        {.text = ""},
        /* in any order, and nothing differs */
        {{{MOON, "ana"}, {MOON, "", 8}},
         2,
         {{MOON, "", 8, FULL}, {MOON, "ana", .there = true}},
         2,
         ""},
        {{{MOON, "ana"}, {MOON, "", 8}},
         2,
         {{""}},
         0,
         "QOS gres/gpu=8 | no QOS: sacctmgr add qos " MOON " grptres=gres/gpu=8\n"
         "account " MOON " | none: sacctmgr add account " MOON " defaultqos=" MOON " qos=" MOON "\n"
         "user ana | none: sacctmgr add user ana account=" MOON "\n"},
        {{{MOON, "", 8}},
         1,
         {{MOON, "", FENCE_NO_CAP, .there = true}},
         1,
         "GrpTRES gres/gpu=8 | no limit: sacctmgr modify qos " MOON " set grptres=gres/gpu=8\n"
         "default QOS " MOON " | another: sacctmgr modify account " MOON " set defaultqos=" MOON
         " qos=" MOON "\n"},
        {{{MOON, "", 0}},
         1,
         {{MOON, "", 3, FULL}},
         1,
         "GrpTRES gres/gpu=0 | gres/gpu=3: sacctmgr modify qos " MOON " set grptres=gres/gpu=0\n"},
        /* of a project that is none any more nothing may run, and who it was stays for people */
        {{{""}},
         0,
         {{MOON, "", 3, FULL}, {MOON, "ivo", .there = true}, {"bt_fr_x", "", 0, FULL}},
         3,
         "GrpTRES gres/gpu=0 | gres/gpu=3: sacctmgr modify qos " MOON " set grptres=gres/gpu=0\n"
         "user no member of the project | ivo: sacctmgr remove user ivo account=" MOON "\n"},
    };

    (void)unused;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        BT_BUF_AUTO struct bt_buf got = {0};

        compare(rows[i].want, rows[i].n_want, rows[i].has, rows[i].n_has, &got);
        assert_string_equal(rows[i].text, bt_buf_text(&got));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_difference_has_its_fix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
