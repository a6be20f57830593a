/* migrate.h - brings a database's schema to this release's, or refuses.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_STORE_MIGRATE_H
#define BT_DAEMON_STORE_MIGRATE_H

#include <libpq-fe.h>

#include "lib/base/err.h"

struct migration {
    int version;
    const char *name;
    const char *sql;
};

extern const struct migration migrations[]; /* rising versions from 1, of schema/ */
extern const int n_migrations;

/* Applies what is missing, one transaction each, under an advisory lock; returns how many.
 * BT_ERR_SCHEMA_NEWER if the database has one that this release does not know,
 * BT_ERR_CORRUPT if one was changed after it was applied here. */
int migrate(PGconn *conn, const struct migration *list, int n, struct bt_err *err) BT_MUSTUSE;

#endif
