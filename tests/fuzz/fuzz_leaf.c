/* fuzz_leaf.c - ledger entries and manifests from anybody: one spelling or none.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "lib/record/jcs.h"
#include "lib/record/leaf.h"
#include "lib/record/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void manifest(const char *text, size_t n)
{
    MANIFEST_AUTO struct manifest m = {0};
    BT_BUF_AUTO struct bt_buf again = {0};

    if (manifest_parse(text, n, &m, NULL) < 0)
        return;
    manifest_text(&m, &again);
    assert(again.n == n && (!n || !memcmp(again.p, text, n)));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_BUF_AUTO struct bt_buf body = {0}, again = {0};
    LEAF_AUTO struct leaf leaf = {0};
    struct bt_err err;

    manifest((const char *)p, n);
    if (leaf_parse((const char *)p, n, &leaf, &err) < 0) {
        assert(err.code && err.text[0]);
        return 0;
    }
    assert(jcs_value(leaf.body, &body, NULL) == 0);
    if (n <= LEAF_MAX) {
        assert(leaf_build(leaf.kind, body.p, body.n, leaf.sigs, leaf.n_sigs, &again, NULL) == 0);
        assert(again.n == n && !memcmp(again.p, p, n));
    }
    return 0;
}
