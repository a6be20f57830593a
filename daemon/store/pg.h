/* pg.h - one connection to PostgreSQL with deadlines of our own, and what its SQLSTATEs mean.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libpq waits for ever when a network or a backend is silent; so every call here is
 * non-blocking underneath and ends at a deadline. Deadlines are bt_mono_us() times. One thread
 * a connection. */
#ifndef BT_DAEMON_STORE_PG_H
#define BT_DAEMON_STORE_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

/* What becomes of a statement or transaction (CORE: the table of commit outcomes). */
enum pg_verdict {
    PG_FINE,
    PG_AGAIN,     /* 40001, 40P01, 55P03: the same bytes again */
    PG_DOUBT,     /* lost, silent, fenced: reconnect and read core_head */
    PG_RESOURCES, /* 53, 57, 58, and a server that only reads: later */
    PG_BUG,       /* everything else: ours */
};

/* Of an SQLSTATE; NULL or "" is a lost connection. `fatal`: the server ended the session. */
enum pg_verdict pg_verdict(const char *sqlstate, bool fatal);

/* Connects; the connection is non-blocking. `role` (may be NULL) overrides the user. */
int pg_open(const char *conninfo, const char *role, int64_t deadline_us, PGconn **ret,
            struct bt_err *err) BT_MUSTUSE;

/* Waits until the connection can be read (and written, if `write`); -BT_ERR_TIMEOUT, -BT_ERR_IO. */
int pg_wait(PGconn *conn, bool write, int64_t deadline_us, struct bt_err *err) BT_MUSTUSE;
/* Sends what is queued. */
int pg_flush(PGconn *conn, int64_t deadline_us, struct bt_err *err) BT_MUSTUSE;
/* The next result; *ret is NULL at the end of a statement. It belongs to the caller (PQclear). */
int pg_next(PGconn *conn, int64_t deadline_us, PGresult **ret, struct bt_err *err) BT_MUSTUSE;

/* Runs one statement outside a pipeline with text parameters. *ret (may be NULL: dropped) is
 * its result, to PQclear. An error of the server becomes a bt_err by pg_fail. */
int pg_run(PGconn *conn, const char *sql, int n, const char *const *params, int64_t deadline_us,
           PGresult **ret, struct bt_err *err) BT_MUSTUSE;

/* A failed result as an error: SQLSTATE, sentence, and the code that fits; res NULL: the
 * connection's own message. */
int pg_fail(struct bt_err *err, PGconn *conn, const PGresult *res, const char *what);

static inline void pg_clearp(PGresult **res)
{
    PQclear(*res);
}
#define PG_RESULT_AUTO BT_CLEANUP(pg_clearp)

#endif
