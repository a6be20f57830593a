/* store.h - the only writer of the facility's tables: loads the core at start, commits its batches.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One connection, one thread at a time (CORE of the daemon: write protocol, start, leadership).
 * Life: store_open (connects, migrates), store_lead (epoch + 1), store_load (every row the core
 * needs), then store_commit a batch after the other, with seq rising by one from store_lead's.
 *
 * What a batch must be: statements run in the order of rows.def, one a kind, so no kind has two
 * rows of one key, and an allocation that the batch itself takes and gives back is not in it. */
#ifndef BT_DAEMON_STORE_STORE_H
#define BT_DAEMON_STORE_STORE_H

#include <stdint.h>

#include "daemon/core/batch.h"
#include "daemon/core/rows.h"
#include "lib/base/err.h"

struct store;

enum store_outcome {
    STORE_COMMITTED, /* durable: let replies, wants and views go */
    STORE_RETRY,     /* rolled back by PostgreSQL (serialization, deadlock): call again at once */
    STORE_BUG,       /* rolled back: our rows are wrong; err says which statement and SQLSTATE.
                      * Reload, step the kept events one a batch */
    STORE_DOWN,      /* not known to be committed: call again with the same batch after a back-off;
                      * meanwhile new writes get err's 503 or 507, reads go on */
    STORE_FENCED,    /* somebody else leads or has written: end the process */
};

/* Where a test may break a commit. */
enum store_point {
    STORE_AT_BEGIN,   /* nothing was sent */
    STORE_AT_MESSAGE, /* `kind`'s statement was queued */
    STORE_AT_COMMIT,  /* all is queued but COMMIT */
    STORE_AT_FLUSH,   /* COMMIT was sent, no answer read */
    STORE_AT_ANSWER,  /* COMMIT was answered, nobody was told */
};

/* For tests. `at` returns NULL to go on, "" to cut the connection there, or (up to
 * STORE_AT_COMMIT) SQL that runs there inside the transaction. */
struct store_hooks {
    const char *(*at)(void *arg, enum store_point point, enum row_kind kind);
    void *arg;
};

struct store_settings {
    const char *conninfo;      /* libpq's; of the owner of the tables (embedded.h gives one) */
    int64_t answer_timeout_us; /* silence longer than this is a lost connection; 0: 3 s */
    struct store_hooks hooks;
};

/* Connects and migrates. BT_ERR_UNREACHABLE, BT_ERR_SCHEMA_NEWER, BT_ERR_CORRUPT. */
int store_open(const struct store_settings *settings, struct store **ret,
               struct bt_err *err) BT_MUSTUSE;
void store_close(struct store *store); /* NULL is fine */

/* Takes the lead: waits up to 3 s for a former leader's session to go (BT_ERR_LOCKED if it
 * stays), raises the epoch. *ret_seq is the last batch that is there. */
int store_lead(struct store *store, uint64_t *ret_epoch, uint64_t *ret_seq,
               struct bt_err *err) BT_MUSTUSE;

struct store_loaded {
    int64_t ledger_size;
    int64_t last_number; /* highest job number given so far; 0: none */
    uint64_t epoch, seq;
    int64_t n_rows;
    int64_t pg_clock_us; /* PostgreSQL's clock, for setting the core's against it */
};

/* Reads every row that the core keeps, kinds in the order of rows.def, in one snapshot: of jobs
 * those that are not over, that were submitted since since_us, or
 * whose result is due. `row` gets struct row_<kind>; texts belong to the call; it returns < 0 to
 * stop. */
int store_load(struct store *store, int64_t since_us,
               int (*row)(void *arg, enum row_kind kind, const void *row, struct bt_err *err),
               void *arg, struct store_loaded *ret, struct bt_err *err) BT_MUSTUSE;

/* One transaction; batch->seq must be the next. A batch without rows is committed at once
 * without a word to PostgreSQL, whatever its seq. Blocks; silence counts as a lost connection,
 * and after one core_head tells what became of the batch. */
enum store_outcome store_commit(struct store *store, const struct batch *batch,
                                struct bt_err *err) BT_MUSTUSE;

/* The same for who must not block. store_send puts a batch with rows on its way; false: not all of
 * it, and store_commit of the same batch does the rest. While it is on its way nothing else may be
 * asked of the store but these, and store_commit of the same batch, which then waits. */
bool store_send(struct store *store, const struct batch *batch) BT_MUSTUSE;
int store_socket(const struct store *store); /* readable: something came */

enum store_answer {
    STORE_NOT_YET,
    STORE_SAYS_DONE, /* it is committed */
    STORE_SAYS_ELSE, /* it is over, or lost: store_commit tells how */
};
enum store_answer store_answered(struct store *store) BT_MUSTUSE;

#endif
