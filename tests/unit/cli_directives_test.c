/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "cli/directives.h"
#include "lib/base/buf.h"

static int note(void *arg, const struct directive_row *row, const char *value, int line,
                struct bt_err *err)
{
    (void)err;
    bt_buf_printf(arg, "%d:%s%s%s ", line, row->name, value ? "=" : "", value ? value : "");
    return 0;
}

static void lines_become_options(void **state)
{
    static const struct {
        const char *text;
        enum layer layer;
        const char *want;
    } cases[] = {
        {"#!/bin/sh\n#BEAM --time=12h -n 8\n", LAYER_BEAM, "2:time=12h 2:accelerators=8 "},
        {"#!/bin/sh\n#SBATCH -n8\n#SBATCH -J 'a b'\n", LAYER_SBATCH, "2:ntasks=8 3:job-name=a b "},
        {"#SBATCH -n8\n#BEAM -n 9\n", LAYER_BEAM, "2:accelerators=9 "},
        {"#SBATCH --account proj # the paying one\n", LAYER_SBATCH, "1:account=proj "},
        {"#BEAM -A proj\n", LAYER_BEAM, "1:project=proj "},
        {"#BEAM --time=\"1-02:00:00\"\r\n\n# other\n#BEAM -H\n", LAYER_BEAM,
         "1:time=1-02:00:00 4:hold "},
        {"#BEAM --requeue\n#BEAM --requeue=never\n", LAYER_BEAM, "1:requeue 2:requeue=never "},
        {"#!/bin/sh\necho\n#BEAM -n 8\n", LAYER_BEAM, ""},
        {"  #BEAM -n 8\n##BEAM -n 9\n#BEAMS -n 7\n#BEAM\n", LAYER_BEAM, ""},
        {"#SBATCH hetjob\n", LAYER_SBATCH, "1:hetjob "},
        {"#SBATCH --gres=gpu:h200:4 -N2", LAYER_SBATCH, "1:gres=gpu:h200:4 1:nodes=2 "},
        {"#BEAM --export A=\"x y\",B=2\n", LAYER_BEAM, "1:export=A=x y,B=2 "},
        {"#BEAM -J a\\ b\n", LAYER_BEAM, "1:job-name=a b "},
        {"", LAYER_BEAM, ""},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf got = {0};
        struct bt_err err = {0};

        assert_int_equal(
            directives_read(cases[i].text, strlen(cases[i].text), cases[i].layer, note, &got, &err),
            0);
        assert_string_equal(bt_buf_text(&got), cases[i].want);
    }
}

static void a_wrong_line_is_named(void **state)
{
    static const struct {
        const char *text;
        enum layer layer;
        const char *want;
    } cases[] = {
        {"#!/bin/sh\n#BEAM --tmie=3\n", LAYER_BEAM,
         "line 2: there is no option --tmie; --time is the nearest"},
        {"#BEAM --zzzzzzz\n", LAYER_BEAM, "line 1: there is no option --zzzzzzz"},
        {"#BEAM -Z\n", LAYER_BEAM, "line 1: there is no option --Z"},
        {"#BEAM --time\n", LAYER_BEAM, "line 1: --time wants a value: TIME"},
        {"#BEAM --hold=1\n", LAYER_BEAM, "line 1: --hold takes no value"},
        {"#BEAM time=3\n", LAYER_BEAM, "line 1: 'time=3' is not an option; one begins with --"},
        {"#BEAM -J 'a\n", LAYER_BEAM, "line 1: a quotation does not end"},
        {"#SBATCH --accelerators=3\n", LAYER_SBATCH, "line 1: there is no option --accelerators"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf got = {0};
        struct bt_err err = {0};

        assert_int_equal(
            directives_read(cases[i].text, strlen(cases[i].text), cases[i].layer, note, &got, &err),
            -BT_ERR_USAGE);
        assert_string_equal(err.text, cases[i].want);
    }
}

static void flags_know_the_names_of_both(void **state)
{
    (void)state;
    assert_int_equal(directive_find(LAYER_FLAG, "accelerators", 12, 0)->action, DIR_ACCELERATORS);
    assert_int_equal(directive_find(LAYER_FLAG, "ntasks", 6, 0)->action, DIR_NTASKS);
    assert_int_equal(directive_find(LAYER_FLAG, NULL, 0, 'n')->action, DIR_ACCELERATORS);
    assert_int_equal(directive_find(LAYER_SBATCH, NULL, 0, 'n')->action, DIR_NTASKS);
    assert_int_equal(directive_find(LAYER_FLAG, "input", 5, 0)->action, DIR_INPUT);
    assert_int_equal(directive_find(LAYER_SBATCH, "input", 5, 0)->action, DIR_REFUSE);
    assert_null(directive_find(LAYER_FLAG, "accelerator", 11, 0));
    assert_null(directive_find(LAYER_FLAG, NULL, 0, '?'));
}

static void every_row_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_directive_rows; i++) {
        const struct directive_row *r = &directive_rows[i];

        assert_non_null(strchr("ABS", r->scope));
        assert_int_equal(r->note != NULL, r->action == DIR_IGNORE || r->action == DIR_REFUSE);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(r->name, directive_rows[j].name))
                assert_int_not_equal(r->scope, directive_rows[j].scope);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_options),
        cmocka_unit_test(a_wrong_line_is_named),
        cmocka_unit_test(flags_know_the_names_of_both),
        cmocka_unit_test(every_row_is_complete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
