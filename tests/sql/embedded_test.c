/* embedded_test.c - the private PostgreSQL is made once, found again, and dies with its daemon.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/embedded.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static char *top;

static int setup(void **state)
{
    char path[] = "/tmp/bt-embedded-XXXXXX";

    (void)state;
    if (!mkdtemp(path) || chmod(path, 0711) < 0)
        return -1;
    top = bt_strdup(path);
    return 0;
}

static int teardown(void **state)
{
    int rc = bt_remove_tree(top, NULL);

    (void)state;
    bt_free(top);
    return rc;
}

static struct embedded *start(const char *dir)
{
    struct embedded_settings s = {.dir = dir};
    struct embedded *e = NULL;
    struct bt_err err = {0};

    if (embedded_start(&s, &e, &err) < 0)
        fail_msg("%s (%s)", err.text, err.next);
    return e;
}

static void stop(struct embedded *e)
{
    struct bt_err err = {0};

    if (embedded_stop(e, &err) < 0)
        fail_msg("%s", err.text);
    embedded_free(e);
}

static char *ask(const struct embedded *e, const char *sql)
{
    PGconn *conn = PQconnectdb(embedded_conninfo(e, EMBEDDED_OWNER));
    PGresult *res = PQexec(conn, sql);
    char *value;

    if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK)
        fail_msg("%s%s", PQerrorMessage(conn), PQresultErrorMessage(res));
    value = bt_strdup(PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
    PQclear(res);
    PQfinish(conn);
    return value;
}

static void assert_says(const struct embedded *e, const char *sql, const char *want)
{
    BT_AUTO char *got = ask(e, sql);

    assert_string_equal(got, want);
}

/* Waits for a process that is not our child to end. */
static void await_end(pid_t pid)
{
    int fd = pidfd_open(pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (fd < 0)
        return; /* it is gone */
    assert_int_equal(poll(&p, 1, 30000), 1);
    close(fd);
}

static void it_is_made_durable_and_private(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/a", top);
    BT_AUTO char *data = bt_printf("%s/pg", dir);
    struct embedded *e = start(dir);
    struct stat st;

    (void)state;
    assert_says(e, "SHOW fsync", "on");
    assert_says(e, "SHOW synchronous_commit", "on");
    assert_says(e, "SHOW full_page_writes", "on");
    assert_says(e, "SHOW data_checksums", "on");
    assert_says(e, "SHOW listen_addresses", "");
    assert_says(e, "SHOW client_connection_check_interval", "500ms");
    assert_says(e, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'peer'", "0");
    assert_int_equal(stat(data, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    if (geteuid() == 0)
        assert_int_not_equal(st.st_uid, 0);
    stop(e);
}

static void it_is_found_again_with_what_was_in_it(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/a", top);
    struct embedded *e = start(dir);

    (void)state;
    bt_free(ask(e, "CREATE TABLE kept (a integer)"));
    stop(e);
    e = start(dir);
    assert_says(e, "SELECT to_regclass('kept')", "kept");
    stop(e);
}

static void what_was_left_half_made_is_made_anew(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/half", top);
    BT_AUTO char *fresh = bt_printf("%s/half/pg.new", top);
    BT_AUTO char *junk = bt_printf("%s/half/pg.new/PG_VERSION", top);
    BT_AUTO char *data = bt_printf("%s/half/pg", top);
    struct embedded *e;

    (void)state;
    assert_int_equal(bt_mkdirs(fresh, 0700, NULL), 0);
    assert_int_equal(bt_file_write(junk, 0600, "15\n", 3, NULL), 0);
    e = start(dir);
    assert_says(e, "SELECT 1", "1");
    stop(e);
    assert_int_equal(access(fresh, F_OK), -1);
    assert_int_equal(access(data, F_OK), 0);
}

static void a_folder_too_long_for_a_socket_gets_a_short_one(void **state)
{
    static const char part[] = "a-folder-of-some-length-that-people-do-have/";
    BT_AUTO char *dir = bt_printf("%s/%s%s%s", top, part, part, part);
    struct embedded *e = start(dir);
    const char *conninfo = embedded_conninfo(e, EMBEDDED_OWNER);
    BT_AUTO char *host = bt_strndup(conninfo + 5, strcspn(conninfo + 5, " "));

    (void)state;
    assert_true(strlen(host) < 80);
    assert_says(e, "SELECT 1", "1");
    stop(e);
    assert_int_equal(bt_remove_tree(host, NULL), 0);
}

static void a_server_that_died_is_started_again(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/a", top);
    struct embedded *e = start(dir);
    pid_t first = embedded_pid(e);
    struct bt_err err = {0};

    (void)state;
    assert_int_equal(embedded_poll(e, &err), 0);
    kill(first, SIGKILL);
    await_end(first);
    do /* its sessions may still hold the memory: then it ends and is started again */
        assert_true(embedded_poll(e, &err) >= 0);
    while (PQping(embedded_conninfo(e, EMBEDDED_OWNER)) != PQPING_OK);
    assert_int_not_equal(embedded_pid(e), first);
    assert_says(e, "SELECT to_regclass('kept')", "kept");
    stop(e);
}

/* A daemon as a child: starts the server, tells its pid, and waits to be killed. */
static pid_t daemon_of(const char *dir, pid_t *ret_postmaster)
{
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        struct embedded_settings s = {.dir = dir};
        struct embedded *e;
        pid_t server;

        if (embedded_start(&s, &e, NULL) < 0)
            _exit(1);
        server = embedded_pid(e);
        if (write(fds[1], &server, sizeof server) != sizeof server)
            _exit(1);
        for (;;)
            pause();
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], ret_postmaster, sizeof *ret_postmaster), sizeof(pid_t));
    close(fds[0]);
    return pid;
}

static void it_stops_when_its_daemon_is_killed(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/a", top);
    BT_AUTO char *lock = bt_printf("%s/a/pg/postmaster.pid", top);
    pid_t server, daemon = daemon_of(dir, &server);

    (void)state;
    kill(daemon, SIGKILL);
    waitpid(daemon, NULL, 0);
    await_end(server);
    assert_int_equal(access(lock, F_OK), -1); /* it shut down cleanly */
}

static void a_daemon_that_follows_at_once_gets_a_server(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/a", top);
    pid_t server, daemon = daemon_of(dir, &server);
    struct embedded *e;

    (void)state;
    kill(daemon, SIGKILL);
    waitpid(daemon, NULL, 0);
    e = start(dir); /* the other one is just stopping */
    assert_says(e, "SELECT to_regclass('kept')", "kept");
    stop(e);
}

/* Its number stays taken as long as its parent, which stands still, has not reaped it. */
static void a_killed_server_that_nobody_reaps_is_succeeded(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/a", top);
    pid_t server, daemon = daemon_of(dir, &server);
    struct embedded *e;

    (void)state;
    kill(daemon, SIGSTOP);
    kill(server, SIGKILL);
    await_end(server);
    e = start(dir);
    assert_int_equal(kill(server, 0), 0);
    assert_int_not_equal(embedded_pid(e), server);
    assert_says(e, "SELECT to_regclass('kept')", "kept");
    stop(e);
    kill(daemon, SIGKILL);
    waitpid(daemon, NULL, 0);
}

static void a_running_server_is_adopted(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/a", top);
    pid_t server, daemon = daemon_of(dir, &server);
    struct embedded *e = start(dir);

    (void)state;
    assert_int_equal(embedded_pid(e), server);
    stop(e);
    kill(daemon, SIGKILL);
    waitpid(daemon, NULL, 0);
}

static pid_t starter_of(const char *dir)
{
    pid_t pid = fork();

    if (pid == 0) {
        struct embedded_settings s = {.dir = dir};
        struct embedded *e;

        _exit(embedded_start(&s, &e, NULL) < 0 ? 1 : embedded_adopted(e) ? 2 : 0);
    }
    return pid;
}

/* As a daemon and `beamtimed check` may. */
static void of_two_that_start_together_one_makes_the_cluster(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/two", top);
    pid_t pids[2] = {starter_of(dir), starter_of(dir)};
    struct embedded *e = start(dir);

    (void)state;
    for (int i = 0; i < 2; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 1);
    }
    stop(e);
    e = start(dir); /* whole also after a shutdown: nothing is only in a buffer */
    assert_says(e, "SELECT count(*) > 300 FROM pg_class WHERE pg_relation_size(oid) >= 0", "t");
    stop(e);
}

/* The socket of a long path lies outside of it: a server outlives the removal of its files. */
static void a_server_of_removed_files_is_not_taken_for_ours(void **state)
{
    char deep[120];
    struct embedded_settings s = {0};
    struct embedded *old, *e = NULL;
    struct bt_err err = {0};

    (void)state;
    memset(deep, 'd', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    BT_AUTO char *dir = bt_printf("%s/%s", top, deep);
    s.dir = dir;
    old = start(dir);
    assert_int_equal(bt_remove_tree(dir, NULL), 0);
    assert_int_equal(embedded_start(&s, &e, &err), -BT_ERR_LOCKED);
    assert_non_null(strstr(err.text, "whose files were removed still runs"));
    stop(old);
    e = start(dir);
    assert_says(e, "SELECT count(*) > 100 FROM pg_rewrite", "t");
    stop(e);
}

static void without_the_programs_it_says_what_to_install(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/none", top);
    struct embedded_settings s = {.dir = dir, .bindir = "/nonexistent"};
    struct embedded *e;
    struct bt_err err = {0};

    (void)state;
    assert_int_equal(embedded_start(&s, &e, &err), -BT_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.next, "postgresql"));
}

static void a_folder_that_the_server_cannot_reach_is_named(void **state)
{
    BT_AUTO char *closed = bt_printf("%s/closed", top);
    BT_AUTO char *dir = bt_printf("%s/closed/state", top);
    struct embedded_settings s = {.dir = dir};
    struct embedded *e;
    struct bt_err err = {0};

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(closed, 0700), 0);
    assert_int_equal(embedded_start(&s, &e, &err), -BT_ERR_FORBIDDEN);
    assert_non_null(strstr(err.text, closed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_durable_and_private),
        cmocka_unit_test(it_is_found_again_with_what_was_in_it),
        cmocka_unit_test(what_was_left_half_made_is_made_anew),
        cmocka_unit_test(a_folder_too_long_for_a_socket_gets_a_short_one),
        cmocka_unit_test(a_server_that_died_is_started_again),
        cmocka_unit_test(it_stops_when_its_daemon_is_killed),
        cmocka_unit_test(a_daemon_that_follows_at_once_gets_a_server),
        cmocka_unit_test(a_killed_server_that_nobody_reaps_is_succeeded),
        cmocka_unit_test(a_running_server_is_adopted),
        cmocka_unit_test(of_two_that_start_together_one_makes_the_cluster),
        cmocka_unit_test(a_server_of_removed_files_is_not_taken_for_ours),
        cmocka_unit_test(without_the_programs_it_says_what_to_install),
        cmocka_unit_test(a_folder_that_the_server_cannot_reach_is_named),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
