/* queries.h - every SQL statement of the daemon by its name; the text lives in the .sql files.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_STORE_QUERIES_H
#define BT_DAEMON_STORE_QUERIES_H

#include "daemon/core/rows.h"

struct query {
    const char *name;
    const char *text; /* put_ and load_ statements still have their braces */
};

extern const struct query queries[];
extern const int n_queries;

const struct query *query_find(const char *name); /* NULL if there is none */
/* put_<kind> or load_<kind>; NULL if there is none. */
const struct query *query_of_kind(const char *prefix, enum row_kind kind);

#endif
