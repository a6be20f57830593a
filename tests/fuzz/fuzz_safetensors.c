/* fuzz_safetensors.c - a safetensors header: every entry that passes lies inside the data.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "agent/train/safetensors.h"

enum { DATA = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int each(void *arg, const char *name, const struct safetensors_entry *e, struct bt_err *err)
{
    (void)arg;
    (void)name;
    (void)err;
    if (e->begin > e->end || e->end > DATA)
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    (void)!safetensors_header((const char *)data, n, DATA, each, NULL, NULL);
    return 0;
}
