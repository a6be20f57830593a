/* A mark that an agent sends back: whatever is accepted is what the daemon would have written.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "daemon/mark.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* The seed of the corpus was written with this key: 7.42. */
static const struct mark_key *key(void)
{
    static struct mark_key made;
    static const uint8_t seed[SIGN_SEED_SIZE] = {1};
    struct sign_key *ledger = NULL;

    if (!made.name[0]) {
        if (sign_key_from_seed(seed, &ledger, NULL) < 0 || mark_key_make(ledger, &made, NULL) < 0)
            abort();
        sign_key_free(ledger);
    }
    return &made;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    BT_AUTO char *text = bt_strndup((const char *)p, n);
    char again[MARK_TEXT];
    uint64_t epoch, seq;

    if (mark_read(key(), text, &epoch, &seq, NULL) < 0)
        return 0;
    mark_write(key(), epoch, seq, again);
    if (!bt_streq(again, text))
        abort();
    return 0;
}
