/* fuzz_checkpoint.c - a checkpoint's text: what is read is written back as it was.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "lib/ledger/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_BUF_AUTO struct bt_buf again = {0};
    struct checkpoint c;
    struct bt_err err;

    if (checkpoint_parse((const char *)p, n, &c, &err) < 0) {
        assert(err.code && err.text[0]);
        return 0;
    }
    checkpoint_format(&c, &again); /* extension lines follow */
    assert(again.n <= n && !memcmp(again.p, p, again.n));
    assert(c.head.size <= TREE_SIZE_MAX);
    return 0;
}
