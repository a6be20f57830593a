/* fuzz_hostlist.c - lists of names with ranges, from anybody.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "lib/base/hostlist.h"
#include "lib/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int count(void *arg, const char *name)
{
    size_t *bytes = arg;

    *bytes += strlen(name);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = bt_new_n(char, n + 1);
    size_t bytes = 0;
    int rc;

    memcpy(text, data, n);
    rc = bt_hostlist_each(text, 5000, count, &bytes, NULL);
    if (rc > 5000 || bytes > 5000 * (size_t)HOSTLIST_NAME_MAX)
        abort();
    bt_free(text);
    return 0;
}
