/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/upkeep.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/publish/publish.h"
#include "daemon/statedir.h"
#include "daemon/store/backup.h"
#include "daemon/store/embedded.h"
#include "daemon/store/recover.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

bool upkeep_knows(const char *command, int n_words)
{
    return bt_streq(command, "check") || bt_streq(command, "recover")
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

/* ---- recover ---- */

struct recovering {
    struct statedir dir;
    struct recovery *db;
    struct recovery_head head;
    uint64_t epoch, seq; /* that were seen committed */
    uint64_t n_leaves;
};

static int load(void *arg, struct publish_state *ret, struct bt_err *err)
{
    const struct recovering *r = arg;

    (void)err;
    *ret = (struct publish_state){.committed = r->head.ledger_size};
    return 0;
}

static int put_leaf(void *arg, uint64_t index, const void *p, size_t n, struct bt_err *err)
{
    struct recovering *r = arg;

    return recovery_leaf(r->db, index, p, n, err);
}

/* What was signed and is missing, out of the served files. */
static int put_leaves_back(struct recovering *r, struct bt_err *err)
{
    BT_AUTO char *last_signed = bt_printf("%s/last-signed", r->dir.path);
    BT_AUTO char *vkey = bt_printf("%s/log.vkey", r->dir.pki);
    struct publish_options o = {
        .dir = r->dir.ledger, .last_signed = last_signed, .calls = {.load = load, .arg = r}};
    const struct verify_visitor put = {put_leaf, r};
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = bt_file_read(vkey, 4096, &text, err);

    if (rc == -BT_ERR_NOT_FOUND)
        return 0; /* nothing was ever published */
    if (rc < 0)
        return rc;
    text.p[strcspn(text.p, "\n")] = '\0';
    rc = note_vkey_parse(text.p, &o.key, err);
    return rc < 0 ? rc : publish_recover(&o, &put, &r->n_leaves, err);
}

static int finish(struct recovering *r, struct bt_err *err)
{
    uint64_t seq = BT_MAX(r->seq, r->head.seq) + 1;
    BT_AUTO char *body =
        bt_printf("{\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"leaves\":%" PRIu64 "}", r->head.seq,
                  seq, r->n_leaves);
    int rc;

    if (r->n_leaves == 0 && r->seq <= r->head.seq) {
        printf("the database has all that is known: nothing to recover\n");
        return 0;
    }
    rc = recovery_commit(r->db, BT_MAX(r->epoch, r->head.epoch), seq, body, err);
    if (rc == 0)
        rc = statedir_know(&r->dir, BT_MAX(r->epoch, r->head.epoch), seq, err);
    if (rc < 0)
        return rc;
    printf("%" PRIu64 " entries of the ledger are back\n", r->n_leaves);
    if (r->seq > r->head.seq)
        printf("batches %" PRIu64 " to %" PRIu64
               " are lost: what they acknowledged and the ledger does"
               " not hold must be asked for again\n",
               r->head.seq + 1, r->seq);
    return 0;
}

static int recover(const struct settings *set, const char *conninfo, struct bt_err *err)
{
    struct recovering r = {.db = NULL};
    int rc = statedir_open(set->state_dir, &r.dir, err);

    if (rc < 0)
        return rc;
    rc = statedir_known(&r.dir, &r.epoch, &r.seq, err);
    if (rc == -BT_ERR_CORRUPT) { /* then the ledger alone says what is missing */
        fprintf(stderr, "beamtimed: %s\n", err->text);
        *err = (struct bt_err){0};
        rc = statedir_know(&r.dir, 0, 0, err);
    }
    if (rc == 0)
        rc = recovery_begin(conninfo, &r.db, &r.head, err);
    if (rc == 0)
        rc = put_leaves_back(&r, err);
    if (rc == 0)
        rc = finish(&r, err);
    recovery_free(r.db);
    statedir_close(&r.dir);
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
    rc = bt_streq(command, "recover") ? recover(set, db.conninfo, err)
                                      : act(&db, command, file, err);
    if (pg && !embedded_adopted(pg) && embedded_stop(pg, &late) < 0 && rc >= 0) {
        rc = -late.code;
        if (err)
            *err = late;
    }
    embedded_free(pg);
    return rc;
}
