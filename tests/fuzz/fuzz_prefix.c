/* Lists of prefixes of addresses. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "daemon/clusters/relay/prefix.h"
#include "lib/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    BT_AUTO char *text = bt_new_n(char, n + 1);
    struct prefixes p = {.n = -1};

    memcpy(text, data, n);
    if (prefixes_parse(text, &p, NULL) < 0) {
        if (p.n != -1)
            abort();
        return 0;
    }
    if (p.n < 0 || p.n > PREFIXES_MAX)
        abort();
    for (int i = 0; i < p.n; i++) /* each has the address that names it */
        if (p.of[i].bits < 0 || p.of[i].bits > 128 || !prefixes_have(&p, p.of[i].address))
            abort();
    return 0;
}
