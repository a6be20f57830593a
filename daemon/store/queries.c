/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/queries.h"

#include <string.h>

#include "lib/base/attr.h"

#define Q(name, text) {#name, text},
const struct query queries[] = {
#include "daemon/store/queries.def" /* made from the .sql files */
};
#undef Q
const int n_queries = (int)BT_ARRAY_LEN(queries);

const struct query *query_find(const char *name)
{
    for (int i = 0; i < n_queries; i++)
        if (!strcmp(queries[i].name, name))
            return &queries[i];
    return NULL;
}

const struct query *query_of_kind(const char *prefix, enum row_kind kind)
{
    char name[64];

    snprintf(name, sizeof name, "%s_%s", prefix, row_shapes[kind].name);
    return query_find(name);
}
