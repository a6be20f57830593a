/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/vectors.h"

#include <string.h>

#include "lib/ledger/tile.h"

static void numbers_become_the_paths_of_the_worked_example(void **state)
{
    JSON_AUTO struct json *v = vector_json("worked/worked.json");
    const struct json *cases = json_get(v, "tile_path");

    (void)state;
    assert_true(json_len(cases) >= 12);
    for (size_t i = 0; i < json_len(cases); i++) {
        struct tile t = {.level = 2, .width = TILE_WIDTH}, back;
        const char *path = json_str(json_get(json_at(cases, i), "path"), "");
        BT_AUTO char *want = bt_printf("tile/2/%s", path);
        BT_AUTO char *entries = bt_printf("tile/entries/%s.p/17", path);
        char got[TILE_PATH_MAX];

        t.n = (uint64_t)json_i64(json_get(json_at(cases, i), "n"), -1);
        assert_string_equal(tile_path(&t, got), want);
        assert_int_equal(tile_path_parse(want, &back, NULL), 0);
        assert_int_equal(back.n, t.n);
        assert_int_equal(back.width, TILE_WIDTH);
        t.level = TILE_ENTRIES;
        t.width = 17;
        assert_string_equal(tile_path(&t, got), entries);
        assert_int_equal(tile_path_parse(entries, &back, NULL), 0);
        assert_int_equal(back.level, TILE_ENTRIES);
        assert_int_equal(back.n, t.n);
        assert_int_equal(back.width, 17);
    }
}

static void a_tile_has_no_second_path(void **state)
{
    static const char *const bad[] = {
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/1",
        "tile/0/01",
        "tile/0/0001",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/001/002",
        "tile/8/001",
        "tile/00/001",
        "tile/-1/001",
        "tile/0/001.p",
        "tile/0/001.p/",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/0/001.p/01",
        "tile/0/001.p/+1",
        "tile/0/001.p/1/",
        "tile/0/a01",
        "tile/0/001 ",
        "/tile/0/001",
        "tile/entries",
        "tile/entries/../0/001",
        "tile//001",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/X001/000",
        "checkpoint",
    };
    struct tile t;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        if (tile_path_parse(bad[i], &t, NULL) != -BT_ERR_INVALID)
            fail_msg("\"%s\"", bad[i]);
}

/* The example of tlog-tiles: 70,000 = 273 full level-0 tiles and 112, one full level-1 tile and
 * 17, and 1. */
static void widths_are_those_of_the_specification(void **state)
{
    static const struct {
        uint64_t size;
        int level;
        uint64_t full;
        unsigned partial;
    } cases[] = {
        {70000, 0, 273, 112}, {70000, 1, 1, 17}, {70000, 2, 0, 1},
        {70000, 3, 0, 0},     {256, 0, 1, 0},    {256, 1, 0, 1},
        {255, 0, 0, 255},     {255, 1, 0, 0},    {70000, TILE_ENTRIES, 273, 112},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        uint64_t hashes = tile_hashes(cases[i].size, cases[i].level);

        assert_int_equal(hashes / TILE_WIDTH, cases[i].full);
        assert_int_equal(hashes % TILE_WIDTH, cases[i].partial);
        if (hashes) {
            struct tile t = tile_of(cases[i].level, hashes - 1, cases[i].size);

            assert_int_equal(t.width, cases[i].partial ? cases[i].partial : TILE_WIDTH);
            assert_int_equal(t.n, (hashes - 1) / TILE_WIDTH);
            assert_int_equal(tile_of(cases[i].level, 0, cases[i].size).width,
                             cases[i].full ? TILE_WIDTH : cases[i].partial);
        }
    }
}

static void a_bundle_gives_its_entries_back(void **state)
{
    BT_BUF_AUTO struct bt_buf b = {0};
    BT_AUTO char *large = bt_alloc(ENTRY_MAX + 1, 1);
    const uint8_t *entry;
    size_t at = 0, n;

    (void)state;
    memset(large, 'x', ENTRY_MAX);
    assert_int_equal(bundle_add(&b, "one", 3, NULL), 0);
    assert_int_equal(bundle_add(&b, "", 0, NULL), 0);
    assert_int_equal(bundle_add(&b, large, ENTRY_MAX, NULL), 0);
    assert_int_equal(bundle_add(&b, large, ENTRY_MAX + 1, NULL), -BT_ERR_TOO_LARGE);
    assert_int_equal(bundle_next(b.p, b.n, &at, &entry, &n, NULL), 1);
    assert_int_equal(n, 3);
    assert_memory_equal(entry, "one", 3);
    assert_int_equal(bundle_next(b.p, b.n, &at, &entry, &n, NULL), 1);
    assert_int_equal(n, 0);
    assert_int_equal(bundle_next(b.p, b.n, &at, &entry, &n, NULL), 1);
    assert_int_equal(n, ENTRY_MAX);
    assert_int_equal(bundle_next(b.p, b.n, &at, &entry, &n, NULL), 0);
    at = 5;
    assert_int_equal(bundle_next(b.p, b.n - 1, &at, &entry, &n, NULL), 1);
    assert_int_equal(bundle_next(b.p, b.n - 1, &at, &entry, &n, NULL), -BT_ERR_CORRUPT);
    at = 0;
    assert_int_equal(bundle_next("\0", 1, &at, &entry, &n, NULL), -BT_ERR_CORRUPT);
    assert_int_equal(at, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_become_the_paths_of_the_worked_example),
        cmocka_unit_test(a_tile_has_no_second_path),
        cmocka_unit_test(widths_are_those_of_the_specification),
        cmocka_unit_test(a_bundle_gives_its_entries_back),
    };

    return cmocka_run_group_tests_name("ledger_tile", tests, NULL, NULL);
}
