/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/pg.h"
#include "daemon/store/queries.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { CONNECT_S = 10, CHECK_S = 3600 };

/* ---- PostgreSQL's tools ---- */

/* The connection string without its password, for the command line, and the password as a file of
 * libpq's form in memory that the tool inherits (fd -1: there is none). */
struct secret {
    char *conninfo;
    int fd;
};

static void add_quoted(struct bt_buf *to, const char *s, char quote)
{
    for (; *s; s++) {
        if (*s == '\\' || *s == quote)
            bt_buf_char(to, '\\');
        bt_buf_char(to, *s);
    }
}

static int keep_password(const char *password, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf line = {0};
    int fd = memfd_create("pgpass", MFD_CLOEXEC), rc;

    if (fd < 0 || fchmod(fd, 0600) < 0) {
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot hand the password over");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    bt_buf_str(&line, "*:*:*:*:");
    add_quoted(&line, password, ':');
    bt_buf_char(&line, '\n');
    rc = bt_write_all(fd, line.p, line.n, err);
    bt_wipe(line.p, line.n);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}

static void secret_done(struct secret *s)
{
    bt_free(s->conninfo);
    if (s->fd >= 0)
        close(s->fd);
}

static int secret_of(const char *conninfo, struct secret *ret, struct bt_err *err)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &why);
    struct bt_buf plain = {0};
    int rc = 0;

    ret->fd = -1;
    ret->conninfo = NULL;
    if (!options) {
        rc = bt_fail(err, BT_ERR_INVALID, "the connection string: %s", why ? why : "");
        PQfreemem(why);
        return rc;
    }
    for (PQconninfoOption *o = options; rc >= 0 && o->keyword; o++) {
        if (!o->val)
            continue;
        if (bt_streq(o->keyword, "password")) {
            rc = ret->fd = keep_password(o->val, err);
            continue;
        }
        bt_buf_printf(&plain, "%s='", o->keyword);
        add_quoted(&plain, o->val, '\'');
        bt_buf_str(&plain, "' ");
    }
    PQconninfoFree(options);
    ret->conninfo = bt_buf_take(&plain);
    if (rc < 0)
        secret_done(ret);
    return rc < 0 ? rc : 0;
}

/* In the child: fds are its first three and the password (-1: none). */
static void BT_NORETURN become(char *const *argv, const int fds[4], char *const *env)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            _exit(126);
    if (fds[3] >= 0 && fcntl(fds[3], F_SETFD, 0) < 0) /* the password's file is inherited */
        _exit(126);
    execve(argv[0], argv, env);
    _exit(127);
}

static int last_words(int log, const char *what, struct bt_err *err)
{
    char text[1024];
    ssize_t n = pread(log, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return bt_fail(err, BT_ERR_IO, "%s", text[0] ? text : what);
}

static int run_tool(const struct backup_db *db, const char *tool, const char *const *options,
                    int in, int out, struct bt_err *err)
{
    BT_AUTO char *program = bt_printf("%s/%s", db->bindir ? db->bindir : BT_PG_BINDIR, tool);
    BT_FD_AUTO int log = memfd_create("log", MFD_CLOEXEC);
    struct secret secret;
    char passfile[48] = "BT=", lc[] = "LC_ALL=C.UTF-8", d[] = "-d";
    char *env[] = {lc, passfile, NULL};
    char *argv[16] = {program, d};
    int status = 0, rc = secret_of(db->conninfo, &secret, err);
    pid_t pid;

    if (rc < 0)
        return rc;
    argv[2] = secret.conninfo;
    for (int i = 0; options[i]; i++)
        argv[3 + i] = (char *)(uintptr_t)options[i]; /* execve's old signature */
    if (secret.fd >= 0)
        snprintf(passfile, sizeof passfile, "PGPASSFILE=/proc/self/fd/%d", secret.fd);
    pid = fork();
    if (pid == 0)
        become(argv, (const int[]){in, out, log, secret.fd}, env);
    if (pid < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "fork");
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            break;
    secret_done(&secret);
    if (rc >= 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        rc = WIFEXITED(status) && WEXITSTATUS(status) == 127
                 ? bt_next(err, bt_fail(err, BT_ERR_UNSUPPORTED, "there is no %s", program),
                           "install postgresql-15, or set pg_bindir")
                 : last_words(log, tool, err);
    return rc;
}

/* ---- there and back ---- */

int backup_write(const struct backup_db *db, const char *file, struct bt_err *err)
{
    static const char *const options[] = {"--format=custom", "--compress=6", "--schema=public",
                                          NULL};
    BT_AUTO char *part = bt_printf("%s.part", file);
    BT_FD_AUTO int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    BT_FD_AUTO int out = -1;
    int rc;

    if (unlink(part) < 0 && errno != ENOENT)
        return bt_fail_errno(err, BT_ERR_IO, "cannot remove %s", part);
    out = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0 || null < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot write %s", part);
    rc = run_tool(db, "pg_dump", options, null, out, err);
    if (rc >= 0 && fsync(out) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot write %s", part);
    if (rc >= 0 && rename(part, file) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot name %s", file);
    if (rc < 0)
        unlink(part);
    return rc;
}

static int64_t in_s(int64_t s)
{
    return bt_mono_us() + s * BT_US_PER_S;
}

/* Roles belong to the cluster and are not in the copy, but its grants name them. */
static const char roles[] = "DO $$ DECLARE r text; BEGIN "
                            "FOREACH r IN ARRAY ARRAY['beamtime_read', 'beamtime_public'] LOOP "
                            "IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN "
                            "EXECUTE format('CREATE ROLE %I LOGIN', r); END IF; END LOOP; END $$";

static int make_ready(const struct backup_db *db, struct bt_err *err)
{
    PG_RESULT_AUTO PGresult *res = NULL;
    PGconn *conn;
    int rc = pg_open(db->conninfo, NULL, in_s(CONNECT_S), &conn, err);

    if (rc < 0)
        return rc;
    rc = pg_run(conn,
                "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                "AND relkind = 'r'",
                0, NULL, in_s(CONNECT_S), &res, err);
    if (rc >= 0 && !bt_streq(PQgetvalue(res, 0, 0), "0"))
        rc = bt_next(err, bt_fail(err, BT_ERR_CONFLICT, "the database is not empty"),
                     "restore into a new state directory or database");
    if (rc >= 0)
        rc = pg_run(conn, roles, -1, NULL, in_s(CONNECT_S), NULL, err);
    PQfinish(conn);
    return rc;
}

int backup_read(const struct backup_db *db, const char *file, struct bt_err *err)
{
    static const char *const options[] = {"--single-transaction", "--exit-on-error", "--clean",
                                          "--if-exists",          "--no-owner",      NULL};
    BT_FD_AUTO int in = open(file, O_RDONLY | O_CLOEXEC);
    BT_FD_AUTO int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int rc;

    if (in < 0 || null < 0)
        return bt_fail_errno(err, in < 0 && errno == ENOENT ? BT_ERR_NOT_FOUND : BT_ERR_IO,
                             "cannot read %s", file);
    rc = make_ready(db, err);
    return rc < 0 ? rc : run_tool(db, "pg_restore", options, in, null, err);
}

/* ---- looking ---- */

struct looking {
    PGconn *conn;
    void (*found)(void *arg, const char *what);
    void *arg;
    int n;
};

/* Runs every statement of that prefix; each row is a violation. */
static int look(struct looking *l, const char *prefix, struct bt_err *err)
{
    for (int i = 0; i < n_queries; i++) {
        PG_RESULT_AUTO PGresult *res = NULL;
        int rc;

        if (!bt_starts(queries[i].name, prefix))
            continue;
        rc = pg_run(l->conn, queries[i].text, 0, NULL, in_s(CHECK_S), &res, err);
        if (rc < 0)
            return rc;
        for (int k = 0; k < PQntuples(res); k++) {
            if (PQgetisnull(res, k, 0))
                continue;
            l->found(l->arg, PQgetvalue(res, k, 0));
            l->n++;
        }
    }
    return 0;
}

/* An index that is damaged is an error of bt_index_check, not a row. */
static int look_at_pages(struct looking *l, struct bt_err *err)
{
    struct bt_err why = {0};
    int rc = pg_run(l->conn, "BEGIN; CREATE EXTENSION IF NOT EXISTS amcheck", -1, NULL,
                    in_s(CONNECT_S), NULL, &why);

    if (rc == -BT_ERR_FORBIDDEN)
        rc = 0; /* not ours to create */
    else if (rc >= 0)
        rc = look(l, "pages_", &why);
    if (rc == -BT_ERR_CORRUPT) {
        l->found(l->arg, why.text);
        l->n++;
        rc = 0;
    }
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    return pg_run(l->conn, "ROLLBACK", -1, NULL, in_s(CONNECT_S), NULL, err);
}

int backup_check(const struct backup_db *db, void (*found)(void *arg, const char *what), void *arg,
                 struct bt_err *err)
{
    struct looking l = {.found = found, .arg = arg};
    int rc = pg_open(db->conninfo, NULL, in_s(CONNECT_S), &l.conn, err);

    if (rc < 0)
        return rc;
    rc = pg_run(l.conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", -1, NULL,
                in_s(CONNECT_S), NULL, err);
    if (rc >= 0)
        rc = look(&l, "check_", err);
    if (rc >= 0)
        rc = pg_run(l.conn, "COMMIT", -1, NULL, in_s(CONNECT_S), NULL, err);
    if (rc >= 0)
        rc = look_at_pages(&l, err);
    PQfinish(l.conn);
    return rc < 0 ? rc : l.n;
}
