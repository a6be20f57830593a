/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/upkeep.h"

#include <stdio.h>

#include "daemon/store/backup.h"
#include "daemon/store/embedded.h"
#include "lib/base/str.h"

bool upkeep_knows(const char *command, int n_words)
{
    return bt_streq(command, "check")
               ? n_words == 1
               : n_words == 2 && (bt_streq(command, "backup") || bt_streq(command, "restore"));
}

static void print(void *arg, const char *what)
{
    (void)arg;
    printf("%s\n", what);
}

static int act(const struct backup_db *db, const char *command, const char *file,
               struct bt_err *err)
{
    int rc;

    if (bt_streq(command, "check")) {
        rc = backup_check(db, print, NULL, err);
        if (rc >= 0)
            printf("%d violations\n", rc);
        return rc;
    }
    rc = bt_streq(command, "backup") ? backup_write(db, file, err) : backup_read(db, file, err);
    if (rc >= 0 && bt_streq(command, "backup"))
        printf("%s holds the database; copy pki, blobs, logs and ledger beside it\n", file);
    else if (rc >= 0)
        printf("restored from %s\n", file);
    return rc;
}

int upkeep(const struct settings *set, const char *command, const char *file, struct bt_err *err)
{
    struct embedded_settings s = {.dir = set->state_dir, .bindir = set->pg_bindir};
    struct backup_db db = {.conninfo = set->database, .bindir = set->pg_bindir};
    struct embedded *pg = NULL;
    struct bt_err late = {0};
    int rc;

    if (!set->embedded && !set->database)
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "there is no database"),
                       "beamtimed --embedded --state-dir DIR %s, or --database CONNINFO", command);
    if (set->embedded) {
        rc = embedded_start(&s, &pg, err);
        if (rc < 0)
            return rc;
        db.conninfo = embedded_conninfo(pg, EMBEDDED_OWNER);
    }
    rc = act(&db, command, file, err);
    if (pg && !embedded_adopted(pg) && embedded_stop(pg, &late) < 0 && rc >= 0) {
        rc = -late.code;
        if (err)
            *err = late;
    }
    embedded_free(pg);
    return rc;
}
