/* tile.h - how a log is cut into files: tiles of hashes and bundles of entries.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Source: C2SP tlog-tiles v0.1.0.
 *   tile/<L>/<N>[.p/<W>]        256 (or W < 256) hashes of 32 bytes; hash i of tile (L, N) is
 *                               MTH(D[(N*256+i)*256^L : (N*256+i+1)*256^L])
 *   tile/entries/<N>[.p/<W>]    the entries of tile (0, N): uint16 big-endian length, bytes
 * N in groups of three digits, all but the last behind an x: 1234067 -> x001/x234/067.
 * Pure; thread safe. */
#ifndef BT_LEDGER_TILE_H
#define BT_LEDGER_TILE_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/ledger/tree.h"

enum {
    TILE_HEIGHT = 8,
    TILE_WIDTH = 256,
    TILE_LEVELS = 8, /* 256^8 entries */
    TILE_BYTES = TILE_WIDTH * 32,
    TILE_PATH_MAX = 64,
    TILE_ENTRIES = -1, /* the level of a bundle */
    ENTRY_MAX = 65535,
    BUNDLE_MAX = TILE_WIDTH * (2 + ENTRY_MAX),
};

struct tile {
    int level; /* 0 to TILE_LEVELS - 1, or TILE_ENTRIES */
    uint64_t n;
    unsigned width; /* 1 to 256; 256 is a full one */
};

/* "tile/0/x001/234.p/5"; returns out. */
char *tile_path(const struct tile *t, char out[TILE_PATH_MAX]);
/* BT_ERR_INVALID unless path is what tile_path writes. */
int tile_path_parse(const char *path, struct tile *ret, struct bt_err *err) BT_MUSTUSE;

/* Hashes at `level` of a tree of `size`: full tiles are the first n / 256, the rest a partial. */
uint64_t tile_hashes(uint64_t size, int level);

/* The tile that holds hash `index` of `level` in a tree of `size`: width 256, or the partial's. */
struct tile tile_of(int level, uint64_t index, uint64_t size);

/* The root of 2^height neighbouring hashes of a tile from hash `first`. */
void tile_subtree(const uint8_t *hashes, unsigned first, unsigned height, struct tree_hash *ret);

/* ---- bundles ---- */

/* BT_ERR_TOO_LARGE above ENTRY_MAX. */
int bundle_add(struct bt_buf *to, const void *entry, size_t n, struct bt_err *err) BT_MUSTUSE;

/* The entry at *at, which moves behind it: 1, 0 at the end, BT_ERR_CORRUPT. *ret is borrowed. */
int bundle_next(const void *bundle, size_t n, size_t *at, const uint8_t **ret, size_t *ret_n,
                struct bt_err *err) BT_MUSTUSE;

#endif
