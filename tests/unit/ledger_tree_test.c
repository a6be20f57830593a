/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/vectors.h"

#include <stdlib.h>
#include <string.h>

#include "lib/ledger/tree.h"

enum { BIG = 1100 };
static struct tree_hash leaves[BIG];

static int naive_node(void *arg, unsigned level, uint64_t index, struct tree_hash *ret,
                      struct bt_err *err)
{
    struct tree_hash l, r;

    assert_true((index + 1) << level <= *(uint64_t *)arg); /* nothing beyond the tree is asked */
    if (level == 0) {
        *ret = leaves[index];
        return 0;
    }
    assert_int_equal(naive_node(arg, level - 1, 2 * index, &l, err), 0);
    assert_int_equal(naive_node(arg, level - 1, 2 * index + 1, &r, err), 0);
    tree_node_hash(&l, &r, ret);
    return 0;
}

/* MTH of RFC 6962 as it is written. */
static struct tree_hash mth(size_t begin, size_t end)
{
    struct tree_hash l, r, h;
    size_t k = 1;

    if (begin == end) {
        tree_empty_root(&h);
        return h;
    }
    if (end - begin == 1)
        return leaves[begin];
    while (2 * k < end - begin)
        k *= 2;
    l = mth(begin, begin + k);
    r = mth(begin + k, end);
    tree_node_hash(&l, &r, &h);
    return h;
}

static int make_leaves(void **state)
{
    (void)state;
    for (size_t i = 0; i < BIG; i++)
        tree_leaf_hash(&i, sizeof i, &leaves[i]);
    return 0;
}

static void the_reference_tree_of_rfc_6962_comes_out(void **state)
{
    JSON_AUTO struct json *v = vector_json("rfc6962-reference-tree.json");
    const struct json *inputs = json_get(v, "leaf_inputs_hex");
    const struct json *hashes = json_get(v, "leaf_hashes_hex");
    const struct json *roots = json_get(v, "roots_hex_by_size");
    struct tree_frontier f = {0};
    struct tree_hash h, want;

    (void)state;
    assert_int_equal(json_len(inputs), 8);
    for (size_t i = 0; i <= 8; i++) {
        uint8_t in[16];
        const char *hex = json_str(json_at(inputs, i), "");

        vector_hex32(json_at(roots, i), &want);
        tree_frontier_root(&f, &h);
        assert_memory_equal(&h, &want, 32);
        if (i == 8)
            break;
        assert_int_equal(bt_unhex(hex, in, strlen(hex) / 2), 0);
        tree_leaf_hash(in, strlen(hex) / 2, &h);
        vector_hex32(json_at(hashes, i), &want);
        assert_memory_equal(&h, &want, 32);
        tree_frontier_add(&f, &h);
    }
}

static void growing_leaf_by_leaf_gives_the_recursive_root(void **state)
{
    struct tree_frontier f = {0}, again;
    BT_BUF_AUTO struct bt_buf saved = {0};

    (void)state;
    for (size_t n = 0; n < BIG; n++) {
        struct tree_hash got, want = mth(0, n);

        assert_int_equal(f.size, n);
        tree_frontier_root(&f, &got);
        assert_true(tree_hash_eq(&got, &want));
        tree_frontier_add(&f, &leaves[n]);
    }
    tree_frontier_save(&f, &saved);
    assert_int_equal(tree_frontier_restore(BIG, saved.p, saved.n, &again, NULL), 0);
    assert_memory_equal(again.h, f.h, f.n * 32);
    assert_int_equal(tree_frontier_restore(BIG, saved.p, saved.n - 32, &again, NULL),
                     -BT_ERR_CORRUPT);
}

static void every_inclusion_proof_verifies_and_no_other(void **state)
{
    static const uint64_t sizes[] = {1, 2, 3, 5, 8, 31, 32, 33, 100, 257};

    (void)state;
    for (size_t s = 0; s < BT_ARRAY_LEN(sizes); s++) {
        uint64_t size = sizes[s];
        struct tree_hash root = mth(0, size);
        const struct tree_reader r = {naive_node, &size};

        for (uint64_t i = 0; i < size; i++) {
            struct tree_proof p;

            assert_int_equal(tree_inclusion_proof(&r, i, size, &p, NULL), 0);
            assert_int_equal(tree_verify_inclusion(i, size, &leaves[i], &p, &root, NULL), 0);
            assert_int_equal(tree_verify_inclusion(i, size, &leaves[i + 1], &p, &root, NULL),
                             -BT_ERR_LEDGER);
            assert_int_not_equal(
                tree_verify_inclusion((i + 1) % size, size, &leaves[i], &p, &root, NULL),
                size == 1 ? 1 : 0);
            if (p.n) {
                p.h[p.n / 2].b[5] ^= 1;
                assert_int_equal(tree_verify_inclusion(i, size, &leaves[i], &p, &root, NULL),
                                 -BT_ERR_LEDGER);
            }
        }
        assert_int_equal(tree_inclusion_proof(&r, size, size, &(struct tree_proof){0}, NULL),
                         -BT_ERR_INVALID);
    }
}

static void every_pair_of_sizes_is_consistent_and_other_roots_are_not(void **state)
{
    (void)state;
    for (uint64_t size = 1; size <= 70; size++) {
        const struct tree_reader r = {naive_node, &size};
        struct tree_head now = {size, mth(0, size)};

        for (uint64_t old = 1; old <= size; old++) {
            struct tree_head before = {old, mth(0, old)};
            struct tree_proof p;

            assert_int_equal(tree_consistency_proof(&r, old, size, &p, NULL), 0);
            assert_int_equal(tree_verify_consistency(&before, &now, &p, NULL), 0);
            before.root.b[31] ^= 1;
            assert_int_equal(tree_verify_consistency(&before, &now, &p, NULL), -BT_ERR_LEDGER);
            before.root.b[31] ^= 1;
            if (old < size) {
                before.size++;
                assert_int_equal(tree_verify_consistency(&before, &now, &p, NULL), -BT_ERR_LEDGER);
                p.n--;
                before.size--;
                assert_int_equal(tree_verify_consistency(&before, &now, &p, NULL), -BT_ERR_LEDGER);
            }
        }
    }
}

static void an_empty_tree_has_the_empty_proof_but_proves_nothing(void **state)
{
    uint64_t size = 5;
    const struct tree_reader r = {naive_node, &size};
    struct tree_head none = {.size = 0}, now = {5, mth(0, 5)};
    struct tree_proof p = {.n = 7};

    (void)state;
    tree_empty_root(&none.root);
    assert_int_equal(tree_consistency_proof(&r, 0, 5, &p, NULL), 0);
    assert_int_equal(p.n, 0);
    assert_int_equal(tree_verify_consistency(&none, &now, &p, NULL), -BT_ERR_LEDGER);
    assert_int_equal(tree_consistency_proof(&r, 6, 5, &p, NULL), -BT_ERR_INVALID);
}

static void the_right_edge_is_read_back_from_nodes(void **state)
{
    struct tree_frontier grown = {0};

    (void)state;
    for (uint64_t size = 0; size < 300; size++) {
        const struct tree_reader r = {naive_node, &size};
        struct tree_frontier read;

        assert_int_equal(tree_read_frontier(&r, size, &read, NULL), 0);
        assert_int_equal(read.n, grown.n);
        assert_memory_equal(read.h, grown.h, grown.n * 32);
        tree_frontier_add(&grown, &leaves[size]);
    }
}

/* ---- the vectors of transparency-dev ---- */

static bool read_hash(const struct json *v, struct tree_hash *ret)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    const char *text = json_str(v, "");

    if (bt_unbase64(&b, text, strlen(text)) < 0 || b.n != sizeof ret->b)
        return false;
    memcpy(ret->b, b.p, b.n);
    return true;
}

static uint64_t read_u64(const struct json *v)
{
    return strtoull(json_str(v, "0"), NULL, 10);
}

/* False when a hash has not 32 bytes: what a parser refuses before anything is verified. */
static bool read_case(const struct json *c, const char *a, const char *b, struct tree_hash h[2],
                      struct tree_proof *p)
{
    const struct json *proof = json_get(c, "proof");

    p->n = 0;
    for (size_t i = 0; i < json_len(proof); i++)
        if (!read_hash(json_at(proof, i), &p->h[p->n++]))
            return false;
    return read_hash(json_get(c, a), &h[0]) && read_hash(json_get(c, b), &h[1]);
}

static bool passes(const struct json *c, bool inclusion)
{
    struct tree_hash h[2];
    struct tree_proof p;

    if (inclusion)
        return read_case(c, "leafHash", "root", h, &p) &&
               tree_verify_inclusion(read_u64(json_get(c, "leafIdx")),
                                     read_u64(json_get(c, "treeSize")), &h[0], &p, &h[1],
                                     NULL) == 0;
    if (!read_case(c, "root1", "root2", h, &p))
        return false;
    return tree_verify_consistency(&(struct tree_head){read_u64(json_get(c, "size1")), h[0]},
                                   &(struct tree_head){read_u64(json_get(c, "size2")), h[1]}, &p,
                                   NULL) == 0;
}

static void all_cases_of_transparency_dev_are_judged_as_they_say(void **state)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    size_t n[2] = {0, 0}, good = 0;
    /* Its roots have 12 bytes ("don't care 2"): a comparison of strings passes, a hash cannot. */
    static const char stricter[] =
        "consistency/additional/sizes-are-equal-one-and-proof-is-empty.json";

    (void)state;
    vector_read("merkle-testdata.jsonl", &text);
    for (char *line = text.p, *lf; (lf = strchr(line, '\n')); line = lf + 1) {
        JSON_AUTO struct json *c = NULL;
        const char *file;
        bool inclusion, want;

        assert_int_equal(json_parse(line, (size_t)(lf - line), 1 << 16, &c, NULL), 0);
        file = json_str(json_get(c, "file"), "");
        inclusion = strncmp(file, "inclusion/", 10) == 0;
        want = !json_bool(json_get(c, "wantErr"), true) && strcmp(file, stricter) != 0;
        if (passes(c, inclusion) != want)
            fail_msg("%s: %s", file, json_str(json_get(c, "desc"), ""));
        n[inclusion]++;
        good += want;
    }
    assert_int_equal(n[0], 98);
    assert_int_equal(n[1], 98);
    assert_true(good >= 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_tree_of_rfc_6962_comes_out),
        cmocka_unit_test(growing_leaf_by_leaf_gives_the_recursive_root),
        cmocka_unit_test(every_inclusion_proof_verifies_and_no_other),
        cmocka_unit_test(every_pair_of_sizes_is_consistent_and_other_roots_are_not),
        cmocka_unit_test(an_empty_tree_has_the_empty_proof_but_proves_nothing),
        cmocka_unit_test(the_right_edge_is_read_back_from_nodes),
        cmocka_unit_test(all_cases_of_transparency_dev_are_judged_as_they_say),
    };

    return cmocka_run_group_tests_name("ledger_tree", tests, make_leaves, NULL);
}
