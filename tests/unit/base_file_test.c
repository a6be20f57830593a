/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

static int make_dir(void **state)
{
    char *dir = bt_strdup("/tmp/bt-file-XXXXXX");

    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int drop_dir(void **state)
{
    int rc = bt_remove_tree(*state, NULL);

    bt_free(*state);
    return rc;
}

static void a_written_file_reads_back_with_its_mode(void **state)
{
    BT_AUTO char *path = bt_printf("%s/a/b", (char *)*state);
    BT_AUTO char *dir = bt_printf("%s/a", (char *)*state);
    BT_BUF_AUTO struct bt_buf b = {0};
    struct stat st;

    assert_int_equal(bt_mkdirs(dir, 0700, NULL), 0);
    assert_int_equal(bt_file_write(path, 0600, "one", 3, NULL), 0);
    assert_int_equal(bt_file_write(path, 0600, "two!", 4, NULL), 0);
    assert_int_equal(bt_file_read(path, 100, &b, NULL), 0);
    assert_string_equal(bt_buf_text(&b), "two!");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void reading_is_bounded_and_names_the_file(void **state)
{
    BT_AUTO char *path = bt_printf("%s/big", (char *)*state);
    BT_BUF_AUTO struct bt_buf b = {0};
    struct bt_err err;

    bt_buf_str(&b, "kept");
    assert_int_equal(bt_file_write(path, 0644, "0123456789", 10, NULL), 0);
    assert_int_equal(bt_file_read(path, 9, &b, &err), -BT_ERR_TOO_LARGE);
    assert_non_null(strstr(err.text, path));
    assert_string_equal(bt_buf_text(&b), "kept");
    assert_int_equal(bt_file_read(path, 10, &b, &err), 0);
    assert_string_equal(bt_buf_text(&b), "kept0123456789");
    assert_int_equal(bt_file_read("/nonexistent", 9, &b, &err), -BT_ERR_NOT_FOUND);
}

static void a_line_ends_where_the_file_or_its_first_line_does(void **state)
{
    static const char *const texts[][2] = {
        {"", ""}, {"\n", ""}, {"one", "one"}, {"one\n", "one"}, {"one\ntwo\n", "one"}};
    BT_AUTO char *path = bt_printf("%s/line", (char *)*state);

    for (size_t i = 0; i < BT_ARRAY_LEN(texts); i++) {
        BT_BUF_AUTO struct bt_buf b = {0};

        assert_int_equal(bt_file_make(path, 0600, texts[i][0], strlen(texts[i][0]), i % 2, NULL),
                         0);
        assert_int_equal(bt_file_line(path, 100, &b, NULL), 0);
        assert_string_equal(bt_buf_text(&b), texts[i][1]);
        bt_buf_clear(&b);
        bt_buf_str(&b, "kept ");
        assert_int_equal(bt_file_line(path, 100, &b, NULL), 0);
        assert_memory_equal(b.p, "kept ", 5);
        assert_string_equal(b.p + 5, texts[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_written_file_reads_back_with_its_mode, make_dir,
                                        drop_dir),
        cmocka_unit_test_setup_teardown(reading_is_bounded_and_names_the_file, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(a_line_ends_where_the_file_or_its_first_line_does, make_dir,
                                        drop_dir),
    };

    return cmocka_run_group_tests_name("base_file", tests, NULL, NULL);
}
