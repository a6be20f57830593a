/* fuzz_proof.c - receipts from anybody: read and written back to the same, and never true of an
 * entry that nobody signed for.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <string.h>

#include "lib/ledger/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_BUF_AUTO struct bt_buf again = {0};
    struct checkpoint c;
    struct note_key key;
    struct receipt r;
    struct bt_err err;

    if (receipt_parse((const char *)p, n, &r, &err) < 0) {
        assert(err.code && err.text[0]);
        return 0;
    }
    receipt_format(&r, &again); /* without an "extra" line */
    assert(again.n <= n &&
           !memcmp(again.p + again.n - r.n_checkpoint, r.checkpoint, r.n_checkpoint));
    assert(note_vkey_parse("beamtime.example/ledger+14da03ed+"
                           "AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4",
                           &key, NULL) == 0);
    assert(receipt_verify(&r, "never logged", 12, &key, &c, &err) < 0);
    return 0;
}
