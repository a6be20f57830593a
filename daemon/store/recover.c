/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/recover.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "daemon/store/migrate.h"
#include "daemon/store/pg.h"
#include "daemon/store/queries.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { CONNECT_S = 10, STATEMENT_S = 60 };

struct recovery {
    PGconn *conn;
};

static int64_t in_s(int64_t s)
{
    return bt_mono_us() + s * BT_US_PER_S;
}

static int run(struct recovery *r, const char *name, int n, const char *const *params,
               PGresult **ret, struct bt_err *err)
{
    const struct query *q = query_find(name);

    assert(q);
    return pg_run(r->conn, q->text, n, params, in_s(STATEMENT_S), ret, err);
}

static int field(const PGresult *res, int column, uint64_t *ret, struct bt_err *err)
{
    int64_t v = 0;
    int rc = bt_parse_i64(PQgetvalue(res, 0, column), PQfname(res, column), 0, INT64_MAX, &v, err);

    *ret = (uint64_t)v;
    return rc;
}

int recovery_begin(const char *conninfo, struct recovery **ret, struct recovery_head *head,
                   struct bt_err *err)
{
    struct recovery *r = bt_new(struct recovery);
    PG_RESULT_AUTO PGresult *res = NULL;
    int rc = pg_open(conninfo, NULL, in_s(CONNECT_S), &r->conn, err);

    if (rc >= 0)
        rc = migrate(r->conn, migrations, n_migrations, err);
    if (rc >= 0)
        rc = pg_run(r->conn, "BEGIN", -1, NULL, in_s(CONNECT_S), NULL, err);
    if (rc >= 0)
        rc = run(r, "recover_head", 0, NULL, &res, err);
    if (rc >= 0)
        rc = field(res, 0, &head->epoch, err);
    if (rc >= 0)
        rc = field(res, 1, &head->seq, err);
    if (rc >= 0)
        rc = field(res, 2, &head->ledger_size, err);
    if (rc < 0) {
        recovery_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

int recovery_leaf(struct recovery *r, uint64_t idx, const void *text, size_t n, struct bt_err *err)
{
    /* What a record settles comes before the state that demands it. */
    static const char *const steps[] = {"recover_submit",  "recover_result",    "recover_alloc",
                                        "recover_attempt", "recover_overdraft", "recover_settle",
                                        "recover_record"};
    BT_AUTO char *body = bt_strndup(text, n);
    char index[24];
    const char *const params[] = {index, body};
    int rc;

    snprintf(index, sizeof index, "%" PRIu64, idx);
    rc = run(r, "recover_leaf", 2, params, NULL, err);
    for (size_t i = 0; rc >= 0 && i < BT_ARRAY_LEN(steps); i++)
        rc = run(r, steps[i], 1, params, NULL, err);
    return rc < 0 ? rc : 0;
}

int recovery_commit(struct recovery *r, uint64_t epoch, uint64_t seq, const char *body,
                    struct bt_err *err)
{
    char texts[2][24];
    const char *const done[] = {texts[0], texts[1]};
    const char *const event[] = {texts[1], body};
    int rc;

    snprintf(texts[0], sizeof texts[0], "%" PRIu64, epoch);
    snprintf(texts[1], sizeof texts[1], "%" PRIu64, seq);
    rc = run(r, "recover_done", 2, done, NULL, err);
    if (rc >= 0)
        rc = run(r, "recover_event", 2, event, NULL, err);
    if (rc >= 0)
        rc = pg_run(r->conn, "COMMIT", -1, NULL, in_s(STATEMENT_S), NULL, err);
    return rc < 0 ? rc : 0;
}

void recovery_free(struct recovery *r)
{
    if (!r)
        return;
    PQfinish(r->conn); /* the server undoes what is open */
    bt_free(r);
}
