/* db.h - what the SQL tests share: a private PostgreSQL, and a small facility as rows.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_SQL_DB_H
#define BT_TESTS_SQL_DB_H

#include <libpq-fe.h>

#include "daemon/core/batch.h"
#include "daemon/store/embedded.h"
#include "daemon/store/store.h"

/* For cmocka_run_group_tests: starts a server in a temporary folder; *state stays as it is. */
int db_start(void **state);
int db_stop(void **state);

struct embedded *db_server(void);
const char *db_dir(void);

/* Drops all and migrates anew. */
void db_fresh(void);
/* A store on the database that leads it. */
struct store *db_store(const struct store_hooks *hooks);
uint64_t db_next_seq(void); /* core_head.seq + 1 */

PGconn *db_connect(void);
/* Runs SQL; returns its SQLSTATE, "" if it worked; static until the next call. */
const char *db_try(PGconn *conn, const char *sql);
/* Runs SQL that must work; the first value as text, "" if there is none; static. */
const char *db_ask(PGconn *conn, const char *sql);

/* Rows of a facility: nation 1 "cz", institution 1, person 1 "ada", project 1 "lang", site 1,
 * nodes 1..n_nodes with 8 accelerators, accounts 1 (nation), 2 (project), 3 (person), a grant
 * of `grant` to each. */
void db_facility(struct batch *b, int n_nodes, int64_t grant);
/* A job that asks for `accelerators`; its state row is to be added by db_job_state. */
struct bt_uuid db_job(struct batch *b, int64_t number, int accelerators);
struct row_job_state *db_job_state(struct batch *b, struct bt_uuid id, const char *state);
void db_entry(struct batch *b, struct bt_uuid op, const char *kind, int part, int64_t d_free,
              int64_t d_held, int64_t d_spent);
void db_leaf(struct batch *b, int64_t idx, const char *kind, struct bt_uuid job);
void db_alloc(struct batch *b, struct bt_uuid job, int node, int64_t mask);
void db_event(struct batch *b, const char *kind, const char *subject);

/* A job's whole life in four batches: submitted and held, started, ended, recorded. */
struct bt_uuid db_life(struct store *store, int64_t number, int64_t ledger_size);

/* Commits, asserts STORE_COMMITTED and frees the batch. */
void db_commit(struct store *store, struct batch *b);

#endif
