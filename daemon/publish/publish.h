/* publish.h - turns committed ledger entries into tiles and a signed checkpoint, never backwards.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Source: CORE contract, section 9. One commit is, in this order:
 *   1 write tiles and bundles below DIR/tile, fsync
 *   2 read them again and recompute the root
 *   3 save(): the checkpoint row in the database
 *   4 the `last-signed` file, outside the database, fsync
 *   5 sign, write and rename DIR/checkpoint, fsync the folder
 *   6 remove the partial tiles that full ones have replaced
 * After a crash anywhere the same tree is signed again (files and Ed25519 are deterministic).
 *
 * The rollback guard: what was ever signed must be contained in what the database holds. When the
 * database has fewer entries than `last-signed` or DIR/checkpoint says, or other ones, nothing is
 * signed (BT_ERR_STALE, BT_ERR_LEDGER; next step: a newer copy of the database).
 *
 * This folder sees no database: three callbacks stand for it. A publisher belongs to one thread;
 * publish_thread.h runs one. */
#ifndef BT_DAEMON_PUBLISH_PUBLISH_H
#define BT_DAEMON_PUBLISH_PUBLISH_H

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/ledger/note.h"
#include "lib/ledger/verify.h"

enum { PUBLISH_BATCH = 4096 /* entries between two commits at most: bounds memory and delay */ };

struct publisher;

/* What the database knows. */
struct publish_state {
    uint64_t committed;     /* ledger_head.size */
    struct tree_head saved; /* the newest checkpoint row; size 0 when there is none */
};

/* Where a test may stop a commit, as if the process had died there. */
enum publish_step {
    PUBLISH_WRITE, /* before each file of tiles or entries */
    PUBLISH_WRITTEN,
    PUBLISH_SYNCED,
    PUBLISH_CHECKED,
    PUBLISH_SAVED,
    PUBLISH_LAST_SIGNED,
    PUBLISH_SIGNED,
    PUBLISH_RENAMED,
    PUBLISH_STEPS
};

/* All run in the publisher's thread; `err` is filled on failure. */
struct publish_calls {
    int (*load)(void *arg, struct publish_state *ret, struct bt_err *err);
    /* Calls publish_add for the committed entries from index `from` on, in order, at most
     * PUBLISH_BATCH of them. */
    int (*read)(void *arg, uint64_t from, struct publisher *p, struct bt_err *err);
    /* Stores the checkpoint row, durably; the same row again is fine. */
    int (*save)(void *arg, const struct tree_frontier *frontier, const struct tree_hash *root,
                struct bt_err *err);
    /* The checkpoint of `head` is in place; note[n] is the signed file. May be NULL. */
    void (*published)(void *arg, const struct tree_head *head, const char *note, size_t n);
    /* The thread's: how many entries the newest signed checkpoint covers, once that is known and
     * after each commit; 0 when the guard refuses to sign. May be NULL. */
    void (*covers)(void *arg, int64_t size);
    /* Publishing failed and will be tried again, or not (final). For the log. May be NULL. */
    void (*failed)(void *arg, const struct bt_err *err, bool final);
    /* Tests only: non-zero stops here. May be NULL. */
    int (*step)(void *arg, enum publish_step step);
    void *arg;
};

struct publish_options {
    const char *dir;         /* served files: DIR/checkpoint, DIR/tile/… */
    const char *last_signed; /* the guard's file; best on another file system than the database */
    struct note_key key;     /* its name is the log's origin */
    const struct sign_key *sk;
    struct publish_calls calls;
};

/* Picks up where the last commit ended, or begins; runs the guard. The options' strings and key
 * must outlive the publisher. Files that are damaged or gone are written again from the entries.
 * BT_ERR_STALE, BT_ERR_LEDGER: the guard; BT_ERR_IO, BT_ERR_DISK_FULL; what the callbacks gave. */
int publish_open(const struct publish_options *o, struct publisher **ret,
                 struct bt_err *err) BT_MUSTUSE;
void publish_close(struct publisher *p);

/* The size it has reached: the index that publish_add wants next. */
uint64_t publish_size(const struct publisher *p);

/* How many entries the newest signed checkpoint covers. */
uint64_t publish_signed(const struct publisher *p);

/* True when publish_commit has something to do. */
bool publish_due(const struct publisher *p);

/* Adds the committed entry `index`, which must be publish_size(). BT_ERR_LEDGER when the entries
 * are not those that were signed. After any error the publisher is only to be closed. */
int publish_add(struct publisher *p, uint64_t index, const void *body, size_t n,
                struct bt_err *err) BT_MUSTUSE;

/* Signs and publishes everything that was added. */
int publish_commit(struct publisher *p, struct bt_err *err) BT_MUSTUSE;

/* read and commit until everything that was committed when it is called is published. */
int publish_catch_up(struct publisher *p, uint64_t committed, struct bt_err *err) BT_MUSTUSE;

/* For a recovery: gives the entries that were signed but that the database no longer
 * holds, in order, read from the served files once all of these were recomputed against the
 * newest head that was signed. put() stores each, durably before it returns from the last one;
 * publish_open then checks that the database holds what was signed. *ret_n counts them.
 * BT_ERR_LEDGER, BT_ERR_CORRUPT: the files do not prove what was signed. */
int publish_recover(const struct publish_options *o, const struct verify_visitor *put,
                    uint64_t *ret_n, struct bt_err *err) BT_MUSTUSE;

/* True for the guard's errors: trying again cannot help. */
bool publish_is_final(int rc);

#endif
