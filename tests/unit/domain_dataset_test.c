/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/attr.h"
#include "lib/domain/dataset.h"

static void a_path_means_nothing_to_a_shell(void **state)
{
    static const struct {
        const char *path;
        bool fine;
    } cases[] = {
        {"/", true},           {"/data/c4", true},   {"/lustre/FW-2/v1.0_a+b=c@d,e", true},
        {"/a/..b/...", true},  {"", false},          {"data", false},
        {"~/data", false},     {"/data/..", false},  {"/../data", false},
        {"/data/../x", false}, {"/a b", false},      {"/a:b", false},
        {"/$HOME", false},     {"/a;b", false},      {"/a`b`", false},
        {"/a'b", false},       {"/a\"b", false},     {"/a\nb", false},
        {"/a\x1b[2J", false},  {"/\xc3\xa9", false}, {"/a*", false},
    };
    char path[DATASET_PATH_MAX + 1];

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        if (dataset_is_path(cases[i].path) != cases[i].fine)
            fail_msg("%s", cases[i].path);
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[DATASET_PATH_MAX - 1] = '\0';
    assert_true(dataset_is_path(path));
    path[DATASET_PATH_MAX - 1] = 'a';
    path[DATASET_PATH_MAX] = '\0';
    assert_false(dataset_is_path(path));
}

static void a_name_becomes_a_variable(void **state)
{
    char out[DATASET_VARIABLE_MAX], name[DATASET_NAME_MAX];

    (void)state;
    assert_string_equal(dataset_variable("c4", out), "BEAM_DATASET_C4");
    assert_string_equal(dataset_variable("fineweb-2.v1_b", out), "BEAM_DATASET_FINEWEB_2_V1_B");
    memset(name, 'z', sizeof name);
    name[DATASET_NAME_MAX - 1] = '\0';
    assert_true(dataset_is_name(name));
    assert_int_equal(strlen(dataset_variable(name, out)), strlen("BEAM_DATASET_") + 63);
    assert_false(dataset_is_name("C4"));
    assert_false(dataset_is_name("-c4"));
    assert_false(dataset_is_name("a b"));
    assert_false(dataset_is_name(""));
}

static void a_digest_is_read_as_it_is_written(void **state)
{
    static const char text[] =
        "sha256:00000000000000000000000000000000000000000000000000000000000000ff";
    uint8_t digest[32] = {0};
    char out[DATASET_DIGEST_TEXT];

    (void)state;
    assert_int_equal(dataset_digest_parse(text, digest, NULL), 0);
    assert_int_equal(digest[31], 255);
    assert_string_equal(dataset_digest_format(digest, out), text);
    assert_int_equal(dataset_digest_parse(text + 7, digest, NULL), -BT_ERR_INVALID);
    assert_int_equal(dataset_digest_parse("sha256:ff", digest, NULL), -BT_ERR_INVALID);
    memset(out + 7, '0', 64);
    assert_int_equal(dataset_digest_parse(out, digest, NULL), -BT_ERR_INVALID);
    assert_int_equal(digest[31], 255);
}

static void a_list_is_sorted_and_names_each_once(void **state)
{
    static const char *const said[] = {"web", "c4", "web", "a", "zz", "c4.1"};
    char list[JOB_DATASETS_TEXT] = "", name[DATASET_NAME_MAX], long_name[DATASET_NAME_MAX];
    const char *at = list;
    int n = 0;

    (void)state;
    assert_false(dataset_next(&at, name));
    for (size_t i = 0; i < BT_ARRAY_LEN(said); i++)
        assert_int_equal(dataset_add(list, said[i], NULL), 0);
    assert_string_equal(list, "a c4 c4.1 web zz");
    assert_int_equal(dataset_add(list, "Web", NULL), -BT_ERR_INVALID);
    for (at = list; dataset_next(&at, name); n++)
        assert_true(dataset_is_name(name));
    assert_int_equal(n, 5);
    assert_string_equal(name, "zz");
    for (int i = 0; i < 3; i++) {
        memset(long_name, 'b' + i, sizeof long_name);
        long_name[DATASET_NAME_MAX - 1] = '\0';
        assert_int_equal(dataset_add(list, long_name, NULL), 0);
    }
    assert_int_equal(dataset_add(list, "one-more", NULL), -BT_ERR_TOO_LARGE);
    assert_int_equal(dataset_add(list, "web", NULL), 0); /* it is in it already */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_means_nothing_to_a_shell),
        cmocka_unit_test(a_name_becomes_a_variable),
        cmocka_unit_test(a_digest_is_read_as_it_is_written),
        cmocka_unit_test(a_list_is_sorted_and_names_each_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
