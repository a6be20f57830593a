/* backup.h - a copy of the database while it runs, its way back, and a look whether it is sound.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The copy is pg_dump's custom format: one consistent snapshot. It holds no private key and no
 * blob; those are files of the state directory. */
#ifndef BT_DAEMON_STORE_BACKUP_H
#define BT_DAEMON_STORE_BACKUP_H

#include "lib/base/err.h"

struct backup_db {
    const char *conninfo; /* of the tables' owner; a password in it reaches the tools unseen */
    const char *bindir;   /* folder of pg_dump and pg_restore; NULL: meson's pg_bindir */
};

/* Writes FILE (0600), whole or not at all. BT_ERR_IO with the tool's last words. */
int backup_write(const struct backup_db *db, const char *file, struct bt_err *err) BT_MUSTUSE;

/* Fills a database that has no tables of ours (BT_ERR_CONFLICT), in one transaction. What was
 * acknowledged since the copy is gone, and the publisher signs nothing if it signed more before. */
int backup_read(const struct backup_db *db, const char *file, struct bt_err *err) BT_MUSTUSE;

/* Calls found() for every violation of an invariant and every damaged page or index (those only
 * where the owner may create the extension amcheck); returns how many. */
int backup_check(const struct backup_db *db, void (*found)(void *arg, const char *what), void *arg,
                 struct bt_err *err) BT_MUSTUSE;

#endif
