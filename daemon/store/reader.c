/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/reader.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/store/pg.h"
#include "daemon/store/queries.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

/* A connection that is opened when it is needed. */
struct line {
    char *conninfo;
    PGconn *conn;
    bool reads; /* only */
};

struct store_reader {
    struct line line;
};

struct ledger_store {
    struct line line;
};

static int64_t deadline(void)
{
    /* behind the server's own timeout, so that a slow query ends there and the line stays good */
    return bt_mono_us() + (READER_TIMEOUT_S + 2) * BT_US_PER_S;
}

static void hang_up(struct line *l)
{
    PQfinish(l->conn);
    l->conn = NULL;
}

/* What a reader may not: write, or work longer than anybody waits. */
static const char reading[] = "SET default_transaction_read_only = on;"
                              "SET statement_timeout = '10s'";

static int dial(struct line *l, struct bt_err *err)
{
    int rc;

    if (l->conn && PQstatus(l->conn) != CONNECTION_OK)
        hang_up(l);
    if (l->conn)
        return 0;
    rc = pg_open(l->conninfo, NULL, deadline(), &l->conn, err);
    if (rc >= 0 && l->reads)
        rc = pg_run(l->conn, reading, -1, NULL, deadline(), NULL, err);
    if (rc < 0)
        hang_up(l);
    return rc;
}

/* Runs a named statement; once more on a fresh connection if the old one turns out to be dead
 * (a read, or a write that may be repeated). */
static int ask(struct line *l, const char *name, const char *const *params, int n, PGresult **ret,
               struct bt_err *err)
{
    const struct query *q = query_find(name);
    bool fresh = !l->conn;
    int rc;

    if (!q)
        return bt_fail(err, BT_ERR_INTERNAL, "there is no statement '%s'", name);
    rc = dial(l, err);
    if (rc < 0)
        return rc;
    rc = pg_run(l->conn, q->text, n, params, deadline(), ret, err);
    if (rc < 0 && !fresh && PQstatus(l->conn) != CONNECTION_OK) {
        hang_up(l);
        rc = dial(l, err);
        if (rc >= 0)
            rc = pg_run(l->conn, q->text, n, params, deadline(), ret, err);
    }
    if (rc < 0 && l->conn && PQtransactionStatus(l->conn) == PQTRANS_ACTIVE)
        hang_up(l); /* an answer is still to come: not to the next question */
    return rc;
}

struct store_reader *reader_new(const char *conninfo)
{
    struct store_reader *r = bt_new(struct store_reader);

    r->line.conninfo = bt_strdup(conninfo);
    r->line.reads = true;
    return r;
}

void reader_free(struct store_reader *r)
{
    if (!r)
        return;
    hang_up(&r->line);
    bt_free(r->line.conninfo);
    bt_free(r);
}

int reader_query(struct store_reader *r, const char *name, const char *const *params, int n,
                 struct bt_buf *json, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    int rc = ask(&r->line, name, params, n, &res, err);

    if (rc < 0)
        return rc;
    if (PQntuples(res) != 1 || PQgetisnull(res, 0, 0))
        return bt_fail(err, BT_ERR_NOT_FOUND, "there is nothing of that name");
    bt_buf_add(json, PQgetvalue(res, 0, 0), (size_t)PQgetlength(res, 0, 0));
    return 0;
}

/* ---- the publisher's ---- */

struct ledger_store *ledger_store_new(const char *conninfo)
{
    struct ledger_store *s = bt_new(struct ledger_store);

    s->line.conninfo = bt_strdup(conninfo);
    return s;
}

void ledger_store_free(struct ledger_store *s)
{
    if (!s)
        return;
    hang_up(&s->line);
    bt_free(s->line.conninfo);
    bt_free(s);
}

static int number(const PGresult *res, int row, int column, uint64_t *ret, struct bt_err *err)
{
    int64_t v = 0;
    int rc = 0;

    if (!PQgetisnull(res, row, column))
        rc = bt_parse_i64(PQgetvalue(res, row, column), "a size", 0, INT64_MAX, &v, err);
    *ret = (uint64_t)v;
    return rc;
}

int ledger_store_state(struct ledger_store *s, struct ledger_state *ret, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    struct ledger_state st = {0};
    int rc = ask(&s->line, "publish_state", NULL, 0, &res, err);

    if (rc >= 0)
        rc = number(res, 0, 0, &st.committed, err);
    if (rc >= 0)
        rc = number(res, 0, 1, &st.saved_size, err);
    if (rc >= 0 && !PQgetisnull(res, 0, 2) &&
        bt_unhex(PQgetvalue(res, 0, 2), st.saved_root, 32) < 0)
        rc = bt_fail(err, BT_ERR_CORRUPT, "the newest checkpoint's root is no digest");
    if (rc < 0)
        return rc;
    *ret = st;
    return 0;
}

int ledger_store_read(struct ledger_store *s, uint64_t from, int max,
                      int (*leaf)(void *arg, uint64_t idx, const char *body, size_t n,
                                  struct bt_err *err),
                      void *arg, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    BT_AUTO char *first = bt_printf("%" PRIu64, from);
    BT_AUTO char *limit = bt_printf("%d", max);
    const char *const params[] = {first, limit};
    int rc = ask(&s->line, "publish_read", params, 2, &res, err);

    for (int i = 0; rc >= 0 && i < PQntuples(res); i++) {
        uint64_t idx;

        rc = number(res, i, 0, &idx, err);
        if (rc >= 0)
            rc = leaf(arg, idx, PQgetvalue(res, i, 1), (size_t)PQgetlength(res, i, 1), err);
    }
    return rc < 0 ? rc : 0;
}

int ledger_store_save(struct ledger_store *s, uint64_t epoch, uint64_t size, const uint8_t root[32],
                      const void *frontier, size_t n_frontier, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    struct ledger_state now;
    char hex[65];
    BT_AUTO char *n = bt_printf("%" PRIu64, size);
    BT_AUTO char *e = bt_printf("%" PRIu64, epoch);
    BT_AUTO char *edge = bt_alloc(2 * n_frontier + 1, 1);
    const char *const params[] = {n, bt_hex(root, 32, hex), bt_hex(frontier, n_frontier, edge), e};
    int rc = ask(&s->line, "publish_save", params, 4, &res, err);

    /* No row went in: it was there, or another daemon leads. */
    if (rc >= 0 && bt_streq(PQcmdTuples(res), "0")) {
        rc = ledger_store_state(s, &now, err);
        if (rc >= 0 && (now.saved_size != size || memcmp(now.saved_root, root, 32) != 0))
            rc = bt_fail(err, BT_ERR_FENCED, "another daemon leads, or has signed another tree");
    }
    return rc < 0 ? rc : 0;
}
