/* fuzz_maps.c - lists of Unix accounts, from anybody.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct map_line maps[MAPS_MAX];
    int rc = maps_parse((const char *)data, n, maps, NULL);

    for (int i = 0; i < rc; i++)
        if (!maps[i].line || !*maps[i].person || strchr(maps[i].site, ',') || !*maps[i].account)
            abort();
    return 0;
}
