/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/migrate.h"

#include <string.h>

#include "daemon/store/pg.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

enum { STEP_S = 600 }; /* an index over a long history takes its time */

static const char begin[] =
    "BEGIN;"
    "SELECT pg_advisory_xact_lock(hashtext('beamtime schema'));"
    "SET LOCAL client_min_messages = warning;"
    "SET LOCAL statement_timeout = 0;"
    "CREATE TABLE IF NOT EXISTS schema_migration ("
    " version integer PRIMARY KEY, sha256 text NOT NULL, applied timestamptz NOT NULL);"
    "COMMENT ON TABLE schema_migration IS 'Migrations applied to this database';"
    "COMMENT ON COLUMN schema_migration.version IS 'Number of the migration';"
    "COMMENT ON COLUMN schema_migration.sha256 IS 'SHA-256 of its text';"
    "COMMENT ON COLUMN schema_migration.applied IS 'When it was applied';";

static int64_t soon(void)
{
    return bt_mono_us() + STEP_S * BT_US_PER_S;
}

static int exec(PGconn *conn, const char *sql, struct bt_err *err)
{
    return pg_run(conn, sql, -1, NULL, soon(), NULL, err);
}

static void hash_of(const struct migration *m, char hex[65])
{
    uint8_t digest[BT_SHA256_SIZE];

    bt_sha256(m->sql, strlen(m->sql), digest);
    bt_hex(digest, sizeof digest, hex);
}

/* What the database has, against what this release knows; returns the last version there. */
static int compare(PGconn *conn, const struct migration *list, int n, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    int rc = pg_run(conn, "SELECT version, sha256 FROM schema_migration ORDER BY version", 0, NULL,
                    soon(), &res, err);

    if (rc < 0)
        return rc;
    for (int i = 0; i < PQntuples(res); i++) {
        char hex[65];

        if (i >= n)
            return bt_next(err,
                           bt_fail(err, BT_ERR_SCHEMA_NEWER,
                                   "the database has migration %s, this release ends at %04d",
                                   PQgetvalue(res, i, 0), list[n - 1].version),
                           "start the release that wrote it, or a later one");
        hash_of(&list[i], hex);
        if (!bt_streq(hex, PQgetvalue(res, i, 1)))
            return bt_fail(err, BT_ERR_CORRUPT,
                           "migration %s was applied with another text than this release's",
                           list[i].name);
    }
    return PQntuples(res);
}

static int apply(PGconn *conn, const struct migration *m, struct bt_err *err)
{
    char hex[65];
    BT_AUTO char *version = bt_printf("%d", m->version);
    const char *const params[] = {version, hex};
    int rc = exec(conn, m->sql, err);

    if (rc < 0)
        return rc;
    hash_of(m, hex);
    return pg_run(conn, "INSERT INTO schema_migration VALUES ($1::integer, $2, now())", 2, params,
                  soon(), NULL, err);
}

/* One transaction: 1 applied, 0 nothing was missing. */
static int step(PGconn *conn, const struct migration *list, int n, struct bt_err *err)
{
    int have, rc = exec(conn, begin, err);

    if (rc < 0)
        return rc;
    have = compare(conn, list, n, err);
    if (have < 0)
        return have;
    if (have < n) {
        rc = apply(conn, &list[have], err);
        if (rc < 0)
            return rc;
    }
    rc = exec(conn, "COMMIT", err);
    return rc < 0 ? rc : have < n;
}

int migrate(PGconn *conn, const struct migration *list, int n, struct bt_err *err)
{
    int done = 0, rc;

    while ((rc = step(conn, list, n, err)) == 1)
        done++;
    if (rc < 0) {
        if (exec(conn, "ROLLBACK", NULL) < 0)
            return rc; /* the connection is lost: so is the transaction */
        return rc;
    }
    return done;
}
