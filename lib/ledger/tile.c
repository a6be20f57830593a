/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/ledger/tile.h"

#include <assert.h>
#include <inttypes.h>

#include "lib/base/str.h"

char *tile_path(const struct tile *t, char out[TILE_PATH_MAX])
{
    char digits[32], level[16];
    int groups = 1, at;

    for (uint64_t n = t->n; n >= 1000; n /= 1000)
        groups++;
    snprintf(digits, sizeof digits, "%0*" PRIu64, groups * 3, t->n);
    snprintf(level, sizeof level, "%d", t->level);
    at = snprintf(out, TILE_PATH_MAX, "tile/%s", t->level == TILE_ENTRIES ? "entries" : level);
    for (int g = 0; g < groups; g++)
        at += snprintf(out + at, (size_t)(TILE_PATH_MAX - at), "/%s%.3s", g + 1 < groups ? "x" : "",
                       digits + (ptrdiff_t)g * 3);
    if (t->width < TILE_WIDTH)
        snprintf(out + at, (size_t)(TILE_PATH_MAX - at), ".p/%u", t->width);
    return out;
}

static bool three_digits(const char *p)
{
    return strspn(p, "0123456789") >= 3;
}

/* "/x001/x234/067": moves *at behind it. */
static bool read_number(const char **at, uint64_t *ret)
{
    const char *p = *at;
    uint64_t n = 0;
    int groups = 0;
    bool last = false;

    while (!last && groups++ < 6) {
        if (*p++ != '/')
            return false;
        last = *p != 'x';
        p += !last;
        if (!three_digits(p))
            return false;
        n = n * 1000 + (uint64_t)(p[0] - '0') * 100 + (uint64_t)(p[1] - '0') * 10 +
            (uint64_t)(p[2] - '0');
        p += 3;
    }
    *at = p;
    *ret = n;
    return last;
}

int tile_path_parse(const char *path, struct tile *ret, struct bt_err *err)
{
    struct tile t = {.width = TILE_WIDTH};
    char again[TILE_PATH_MAX];
    const char *at = path;
    bool ok = strlen(path) < TILE_PATH_MAX && bt_starts(path, "tile/");

    if (ok && bt_starts(path, "tile/entries/")) {
        t.level = TILE_ENTRIES;
        at += strlen("tile/entries");
    } else if (ok) {
        t.level = path[5] - '0';
        at += strlen("tile/0");
        ok = t.level >= 0 && t.level < TILE_LEVELS;
    }
    ok = ok && read_number(&at, &t.n);
    if (ok && bt_starts(at, ".p/")) {
        int64_t width;

        ok = bt_parse_i64(at + 3, "width", 1, TILE_WIDTH - 1, &width, NULL) == 0;
        t.width = ok ? (unsigned)width : 0;
    } else {
        ok = ok && *at == '\0';
    }
    if (!ok || !bt_streq(tile_path(&t, again), path)) /* one tile, one path */
        return bt_fail(err, BT_ERR_INVALID, "\"%.63s\" is not the path of a tile", path);
    *ret = t;
    return 0;
}

uint64_t tile_hashes(uint64_t size, int level)
{
    return level == TILE_ENTRIES ? size : size >> TILE_HEIGHT * level;
}

struct tile tile_of(int level, uint64_t index, uint64_t size)
{
    uint64_t hashes = tile_hashes(size, level);
    struct tile t = {.level = level, .n = index / TILE_WIDTH, .width = TILE_WIDTH};

    assert(index < hashes);
    if (t.n == hashes / TILE_WIDTH)
        t.width = (unsigned)(hashes % TILE_WIDTH);
    return t;
}

void tile_subtree(const uint8_t *hashes, unsigned first, unsigned height, struct tree_hash *ret)
{
    struct tree_hash h[TILE_WIDTH];
    unsigned n = 1U << height;

    assert(first + n <= TILE_WIDTH);
    memcpy(h, hashes + (size_t)first * 32, (size_t)n * 32);
    for (; n > 1; n /= 2)
        for (unsigned i = 0; i < n / 2; i++)
            tree_node_hash(&h[2 * i], &h[2 * i + 1], &h[i]);
    *ret = h[0];
}

int bundle_add(struct bt_buf *to, const void *entry, size_t n, struct bt_err *err)
{
    uint8_t head[2] = {(uint8_t)(n >> 8), (uint8_t)n};

    if (n > ENTRY_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "an entry of %zu bytes", n);
    bt_buf_add(to, head, sizeof head);
    if (n)
        bt_buf_add(to, entry, n);
    return 0;
}

int bundle_next(const void *bundle, size_t n, size_t *at, const uint8_t **ret, size_t *ret_n,
                struct bt_err *err)
{
    const uint8_t *p = (const uint8_t *)bundle + *at;
    size_t left = n - *at, len;

    if (left == 0)
        return 0;
    len = left < 2 ? 0 : (size_t)p[0] << 8 | p[1];
    if (left < 2 || left - 2 < len)
        return bt_fail(err, BT_ERR_CORRUPT, "a bundle of entries is cut off");
    *ret = p + 2;
    *ret_n = len;
    *at += 2 + len;
    return 1;
}
