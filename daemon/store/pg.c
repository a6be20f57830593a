/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/pg.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/base/time.h"

enum pg_verdict pg_verdict(const char *sqlstate, bool fatal)
{
    static const struct {
        const char *prefix;
        enum pg_verdict verdict;
    } table[] = {
        {"BT001", PG_DOUBT},     /* fenced, or committed before the answer was lost */
        {"40003", PG_DOUBT},     /* statement completion unknown */
        {"40", PG_AGAIN},        /* serialization failure, deadlock */
        {"55P03", PG_AGAIN},     /* lock not available */
        {"08", PG_DOUBT},        /* connection exceptions */
        {"25006", PG_RESOURCES}, /* the server only reads */
        {"53", PG_RESOURCES},    /* disk full, out of memory, too many connections */
        {"57", PG_RESOURCES},    /* shutdown, cancelled */
        {"58", PG_RESOURCES},    /* input or output failed */
    };

    if (!sqlstate || !*sqlstate)
        return PG_DOUBT;
    if (fatal)
        return PG_DOUBT;
    for (size_t i = 0; i < BT_ARRAY_LEN(table); i++)
        if (bt_starts(sqlstate, table[i].prefix))
            return table[i].verdict;
    return PG_BUG;
}

static enum bt_errno code_of(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        enum bt_errno code;
    } table[] = {
        {"BT001", BT_ERR_FENCED},    {"40", BT_ERR_DB_RETRY},     {"55P03", BT_ERR_DB_RETRY},
        {"53100", BT_ERR_DISK_FULL}, {"53", BT_ERR_BUSY},         {"57014", BT_ERR_TIMEOUT},
        {"57", BT_ERR_BUSY},         {"58", BT_ERR_IO},           {"25006", BT_ERR_BUSY},
        {"08", BT_ERR_UNREACHABLE},  {"22", BT_ERR_INVALID},      {"XX", BT_ERR_CORRUPT},
        {"28", BT_ERR_FORBIDDEN},    {"42501", BT_ERR_FORBIDDEN},
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(table); i++)
        if (bt_starts(sqlstate, table[i].prefix))
            return table[i].code;
    return BT_ERR_INTERNAL;
}

/* libpq's messages end in a line break and may hold several lines: the first one tells. */
static int first_line(const char *s)
{
    return s ? (int)strcspn(s, "\n") : 0;
}

int pg_fail(struct bt_err *err, PGconn *conn, const PGresult *res, const char *what)
{
    const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *text;

    if (state) {
        text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
        return bt_fail(err, code_of(state), "%s: SQLSTATE %s: %.*s", what, state, first_line(text),
                       text ? text : "");
    }
    text = PQerrorMessage(conn);
    return bt_fail(err, BT_ERR_UNREACHABLE, "%s: %.*s", what, first_line(text), text);
}

int pg_wait(PGconn *conn, bool write, int64_t deadline_us, struct bt_err *err)
{
    struct pollfd fd = {.fd = PQsocket(conn), .events = (short)(POLLIN | (write ? POLLOUT : 0))};

    if (fd.fd < 0)
        return bt_fail(err, BT_ERR_IO, "the connection to PostgreSQL is closed");
    for (;;) {
        int64_t left = deadline_us - bt_mono_us();
        int rc;

        if (left <= 0)
            return bt_fail(err, BT_ERR_TIMEOUT, "PostgreSQL gave no answer in time");
        rc = poll(&fd, 1, (int)(left / 1000) + 1);
        if (rc > 0)
            return 0;
        if (rc < 0 && errno != EINTR)
            return bt_fail_errno(err, BT_ERR_IO, "poll");
    }
}

static int wait_connected(PGconn *conn, int64_t deadline_us, struct bt_err *err)
{
    PostgresPollingStatusType now = PGRES_POLLING_WRITING;

    while (now != PGRES_POLLING_OK) {
        struct pollfd fd = {.fd = PQsocket(conn),
                            .events = now == PGRES_POLLING_WRITING ? POLLOUT : POLLIN};
        int64_t left = deadline_us - bt_mono_us();

        if (left <= 0)
            return bt_fail(err, BT_ERR_UNREACHABLE, "PostgreSQL did not answer in time");
        if (poll(&fd, 1, (int)(left / 1000) + 1) < 0 && errno != EINTR)
            return bt_fail_errno(err, BT_ERR_IO, "poll");
        if (!fd.revents)
            continue;
        now = PQconnectPoll(conn);
        if (now == PGRES_POLLING_FAILED)
            return pg_fail(err, conn, NULL, "connect");
    }
    return 0;
}

static void drop_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

int pg_open(const char *conninfo, const char *role, int64_t deadline_us, PGconn **ret,
            struct bt_err *err)
{
    /* what stands before dbname gives way to the caller's own settings, what stands behind does not
     */
    const char *keys[] = {"tcp_user_timeout",
                          "keepalives_idle",
                          "keepalives_interval",
                          "keepalives_count",
                          "application_name",
                          "dbname",
                          "client_encoding",
                          "user",
                          NULL};
    const char *values[] = {"3000", "1", "1", "2", "beamtimed", conninfo, "UTF8", role, NULL};
    PGconn *conn;
    int rc;

    if (!role)
        keys[7] = NULL;
    conn = PQconnectStartParams(keys, values, 1);
    if (!conn || PQstatus(conn) == CONNECTION_BAD)
        rc = bt_fail(err, BT_ERR_UNREACHABLE, "connect: %.*s",
                     conn ? first_line(PQerrorMessage(conn)) : 0, conn ? PQerrorMessage(conn) : "");
    else
        rc = wait_connected(conn, deadline_us, err);
    if (rc >= 0 && PQsetnonblocking(conn, 1) < 0)
        rc = pg_fail(err, conn, NULL, "connect");
    if (rc < 0) {
        PQfinish(conn);
        return rc;
    }
    PQsetNoticeReceiver(conn, drop_notice, NULL); /* a library prints nothing */
    *ret = conn;
    return 0;
}

int pg_flush(PGconn *conn, int64_t deadline_us, struct bt_err *err)
{
    for (;;) {
        int more = PQflush(conn);

        if (more < 0)
            return pg_fail(err, conn, NULL, "send");
        if (!more)
            return 0;
        if (pg_wait(conn, true, deadline_us, err) < 0)
            return err ? -err->code : -BT_ERR_IO;
        /* read too: a server whose output is blocked reads nothing */
        if (!PQconsumeInput(conn))
            return pg_fail(err, conn, NULL, "receive");
    }
}

int pg_next(PGconn *conn, int64_t deadline_us, PGresult **ret, struct bt_err *err)
{
    while (PQisBusy(conn)) {
        int rc = pg_wait(conn, false, deadline_us, err);

        if (rc < 0)
            return rc;
        if (!PQconsumeInput(conn))
            return pg_fail(err, conn, NULL, "receive");
    }
    *ret = PQgetResult(conn);
    return 0;
}

int pg_run(PGconn *conn, const char *sql, int n, const char *const *params, int64_t deadline_us,
           PGresult **ret, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *kept = NULL;
    PGresult *res = NULL;
    int rc = 0;

    if (!(n < 0 ? PQsendQuery(conn, sql)
                : PQsendQueryParams(conn, sql, n, NULL, params, NULL, NULL, 0)))
        return pg_fail(err, conn, NULL, "send");
    rc = pg_flush(conn, deadline_us, err);
    while (rc >= 0) {
        rc = pg_next(conn, deadline_us, &res, err);
        if (rc < 0 || !res)
            break;
        PQclear(kept);
        kept = res;
    }
    if (rc < 0)
        return rc;
    if (PQresultStatus(kept) != PGRES_TUPLES_OK && PQresultStatus(kept) != PGRES_COMMAND_OK)
        return pg_fail(err, conn, kept, "query");
    if (ret)
        *ret = BT_TAKE(kept);
    return 0;
}
