/* fuzz_tile.c - tile paths have one spelling; bundles are read to their end or refused.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/ledger/tile.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_AUTO char *text = bt_strndup((const char *)p, n);
    BT_BUF_AUTO struct bt_buf again = {0};
    char path[TILE_PATH_MAX];
    const uint8_t *entry;
    size_t at = 0, len;
    struct tile t;
    int rc;

    if (tile_path_parse(text, &t, NULL) == 0)
        assert(!strcmp(tile_path(&t, path), text));
    while ((rc = bundle_next(p, n, &at, &entry, &len, NULL)) == 1) {
        assert(entry >= p && entry + len <= p + n);
        assert(bundle_add(&again, entry, len, NULL) == 0);
    }
    assert(rc < 0 || at == n);
    assert(again.n == at && (!at || !memcmp(again.p, p, at)));
    return 0;
}
