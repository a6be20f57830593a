/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/crypto/hash.h"
#include "lib/record/manifest.h"

static void add(struct manifest *m, const char *path, const char *content)
{
    uint8_t h[32];

    bt_sha256(content, strlen(content), h);
    assert_int_equal(manifest_add(m, path, (int64_t)strlen(content), h, NULL), 0);
}

static void lines_are_sorted_by_path_whatever_the_order_of_adding(void **state)
{
    MANIFEST_AUTO struct manifest m = {0};
    BT_BUF_AUTO struct bt_buf text = {0};

    (void)state;
    add(&m, "model.safetensors", "abc");
    add(&m, "checkpoint/step-10", "");
    add(&m, "metrics.jsonl", "{}");
    assert_int_equal(manifest_sort(&m, NULL), 0);
    manifest_text(&m, &text);
    assert_string_equal(
        bt_buf_text(&text),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 checkpoint/step-10\n"
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a 2 metrics.jsonl\n"
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3 model.safetensors\n");
    assert_int_equal(m.bytes, 5);
}

static void what_is_written_reads_back_with_the_same_root(void **state)
{
    MANIFEST_AUTO struct manifest m = {0}, again = {0};
    BT_BUF_AUTO struct bt_buf text = {0}, text2 = {0};
    struct tree_hash a, b;

    (void)state;
    for (int i = 0; i < 300; i++) {
        BT_AUTO char *path = bt_printf("part-%d/file %d.bin", i % 7, i);

        add(&m, path, path);
    }
    assert_int_equal(manifest_sort(&m, NULL), 0);
    manifest_text(&m, &text);
    assert_int_equal(manifest_parse(text.p, text.n, &again, NULL), 0);
    manifest_text(&again, &text2);
    assert_string_equal(bt_buf_text(&text), bt_buf_text(&text2));
    manifest_root(&m, &a);
    manifest_root(&again, &b);
    assert_true(tree_hash_eq(&a, &b));
    assert_int_equal(again.bytes, m.bytes);
}

static void one_file_is_proven_against_the_root(void **state)
{
    MANIFEST_AUTO struct manifest m = {0};
    struct tree_hash root, line;
    struct tree_proof p;
    int at;

    (void)state;
    for (int i = 0; i < 100; i++) {
        BT_AUTO char *path = bt_printf("f%03d", i);

        add(&m, path, path);
    }
    assert_int_equal(manifest_sort(&m, NULL), 0);
    manifest_root(&m, &root);
    at = manifest_find(&m, "f042", NULL);
    assert_int_equal(at, 42);
    assert_int_equal(manifest_prove(&m, (size_t)at, &p, NULL), 0);
    assert_int_equal(p.n, 7);
    manifest_line_hash(&m.files[at], &line);
    assert_int_equal(tree_verify_inclusion(42, m.n, &line, &p, &root, NULL), 0);
    m.files[at].bytes++; /* a file of another size is another line */
    manifest_line_hash(&m.files[at], &line);
    assert_int_equal(tree_verify_inclusion(42, m.n, &line, &p, &root, NULL), -BT_ERR_LEDGER);
    assert_int_equal(manifest_find(&m, "f100", NULL), -BT_ERR_NOT_FOUND);
}

static void an_empty_manifest_is_the_empty_tree(void **state)
{
    MANIFEST_AUTO struct manifest m = {0}, again = {0};
    struct tree_hash root, want;

    (void)state;
    assert_int_equal(manifest_sort(&m, NULL), 0);
    manifest_root(&m, &root);
    tree_empty_root(&want);
    assert_true(tree_hash_eq(&root, &want));
    assert_int_equal(manifest_parse("", 0, &again, NULL), 0);
    assert_int_equal(again.n, 0);
}

static void paths_that_could_escape_or_confuse_are_refused(void **state)
{
    static const char *const bad[] = {
        "",   "/etc/passwd", "../x", "a/../b", "a/./b", "a//b",
        "a/", ".",           "..",   "a\nb",   "a\x7f", "\xff\xfe",
    };
    static const char *const good[] = {"a", "..a", "a..", "a/b c", "ž/ü", "...", ".hidden"};
    uint8_t h[32] = {0};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++) {
        MANIFEST_AUTO struct manifest m = {0};

        assert_int_equal(manifest_add(&m, bad[i], 1, h, NULL), -BT_ERR_INVALID);
        assert_int_equal(m.n, 0);
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(good); i++) {
        MANIFEST_AUTO struct manifest m = {0};

        assert_int_equal(manifest_add(&m, good[i], 1, h, NULL), 0);
    }
}

static void sizes_are_bounded_and_paths_unique(void **state)
{
    MANIFEST_AUTO struct manifest m = {0};
    uint8_t h[32] = {0};

    (void)state;
    assert_int_equal(manifest_add(&m, "a", -1, h, NULL), -BT_ERR_INVALID);
    assert_int_equal(manifest_add(&m, "a", (INT64_C(1) << 53) - 1, h, NULL), 0);
    assert_int_equal(manifest_add(&m, "b", 1, h, NULL), -BT_ERR_INVALID); /* the sum overflows */
    assert_int_equal(manifest_add(&m, "a", 0, h, NULL), 0);
    assert_int_equal(manifest_sort(&m, NULL), -BT_ERR_CONFLICT);
}

#define H "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void other_spellings_of_a_manifest_are_refused(void **state)
{
    static const char *const bad[] = {
        H " 0 b\n" H " 0 a\n",
        H " 0 a\n" H " 0 a\n",
        H " 0 a",
        H " 00 a\n",
        H " -1 a\n",
        H " +1 a\n",
        H " 0  a/../b\n",
        H " 0\n",
        H "  a\n",
        H "\n",
        "\n",
        "E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 a\n",
        "x3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 a\n",
        H " 99999999999999999999 a\n",
    };
    struct manifest m;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        if (manifest_parse(bad[i], strlen(bad[i]), &m, NULL) != -BT_ERR_INVALID)
            fail_msg("case %zu", i);
    assert_int_equal(manifest_parse(H " 0 a\0b\n", 70, &m, NULL), -BT_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_sorted_by_path_whatever_the_order_of_adding),
        cmocka_unit_test(what_is_written_reads_back_with_the_same_root),
        cmocka_unit_test(one_file_is_proven_against_the_root),
        cmocka_unit_test(an_empty_manifest_is_the_empty_tree),
        cmocka_unit_test(paths_that_could_escape_or_confuse_are_refused),
        cmocka_unit_test(sizes_are_bounded_and_paths_unique),
        cmocka_unit_test(other_spellings_of_a_manifest_are_refused),
    };

    return cmocka_run_group_tests_name("record_manifest", tests, NULL, NULL);
}
