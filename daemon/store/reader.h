/* reader.h - what is asked of the database without changing it: named queries that give one JSON
 * text. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Its own connection, of a role that may only read, with a statement timeout; reads go on while the
 * writer waits. One thread at a time. */
#ifndef BT_DAEMON_STORE_READER_H
#define BT_DAEMON_STORE_READER_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

struct store_reader;

enum { READER_TIMEOUT_S = 10 };

/* Does not connect yet: the first query does, and a lost connection is opened again. */
struct store_reader *reader_new(const char *conninfo);
void reader_free(struct store_reader *r); /* NULL is fine */

/* Runs the statement `name` of read.sql with text parameters (NULL is SQL's NULL) and appends its
 * one value. BT_ERR_NOT_FOUND when there is no row or it is NULL; BT_ERR_INVALID for a parameter
 * that PostgreSQL cannot read; else the way is blocked (503). */
int reader_query(struct store_reader *r, const char *name, const char *const *params, int n,
                 struct bt_buf *json, struct bt_err *err) BT_MUSTUSE;

/* ---- the publisher's side of the ledger: its own connection, which writes only checkpoints ----
 */

struct ledger_store;

struct ledger_state {
    uint64_t committed;  /* ledger_head.size */
    uint64_t saved_size; /* of the newest checkpoint row; 0: none */
    uint8_t saved_root[32];
};

struct ledger_store *ledger_store_new(const char *conninfo);
void ledger_store_free(struct ledger_store *s);
int ledger_store_state(struct ledger_store *s, struct ledger_state *ret,
                       struct bt_err *err) BT_MUSTUSE;
/* Calls leaf(arg, idx, body, n) for at most `max` entries from `from` on, in order. */
int ledger_store_read(struct ledger_store *s, uint64_t from, int max,
                      int (*leaf)(void *arg, uint64_t idx, const char *body, size_t n,
                                  struct bt_err *err),
                      void *arg, struct bt_err *err) BT_MUSTUSE;
/* Stores the checkpoint row unless somebody else leads by now (BT_ERR_FENCED). */
int ledger_store_save(struct ledger_store *s, uint64_t epoch, uint64_t size, const uint8_t root[32],
                      const void *frontier, size_t n_frontier, struct bt_err *err) BT_MUSTUSE;

#endif
