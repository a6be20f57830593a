/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/store/embedded.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

enum {
    READY_S = 60, /* crash recovery of a long log */
    AGAIN_S = 5,  /* a dead postmaster may be a zombie of somebody else for a while */
    STOP_S = 30,
    POLL_MS = 5,
    MAX_GROUPS = 64,
};

/* A name of its own for each process: what a killed one's initdb still writes is never in ours. */
#define FRESH "pg.new"

static const char *const role_names[] = {"beamtime", "beamtime_read", "beamtime_public"};

struct embedded {
    char *dir, *data, *fresh, *log, *lock, *socket_dir, *bindir;
    char *conninfo[EMBEDDED_ROLES];
    char *user;
    uid_t uid;
    gid_t gid;
    gid_t groups[MAX_GROUPS];
    int n_groups;
    pid_t pid; /* of the postmaster; 0: none */
    bool ours; /* our child, to be reaped */
    int pidfd; /* -1: none */
};

/* ---- who, where ---- */

static int find_user(struct embedded *e, const char *wanted, struct bt_err *err)
{
    bool root = geteuid() == 0;
    struct passwd *pw;

    if (!root) {
        pw = getpwuid(geteuid());
        if (!pw)
            return bt_fail(err, BT_ERR_UNSUPPORTED, "user id %d has no name: PostgreSQL needs one",
                           (int)geteuid());
    } else {
        pw = getpwnam(wanted ? wanted : "postgres");
        if (!pw && !wanted)
            pw = getpwnam("nobody");
        if (!pw || pw->pw_uid == 0)
            return bt_next(err,
                           bt_fail(err, BT_ERR_UNSUPPORTED, "there is no unprivileged user %s",
                                   wanted ? wanted : "postgres"),
                           "install postgresql-15, or start as an ordinary user");
    }
    e->user = bt_strdup(pw->pw_name);
    e->uid = pw->pw_uid;
    e->gid = pw->pw_gid;
    e->n_groups = MAX_GROUPS;
    /* here, because after a fork of a process with threads nothing may allocate */
    if (root && getgrouplist(e->user, e->gid, e->groups, &e->n_groups) < 0)
        e->n_groups = 0;
    return 0;
}

/* A folder that the server's user owns alone. */
static int own_dir(const struct embedded *e, const char *path, struct bt_err *err)
{
    struct stat st;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make %s", path);
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return bt_fail(err, BT_ERR_IO, "%s is not a folder", path);
    if (st.st_uid != e->uid && (st.st_uid != geteuid() || lchown(path, e->uid, e->gid) < 0))
        return bt_fail(err, BT_ERR_FORBIDDEN, "%s belongs to another user", path);
    if ((st.st_mode & 07777) != 0700 && chmod(path, 0700) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot protect %s", path);
    return 0;
}

/* Every folder above must let the server's user pass. */
static int reachable(const struct embedded *e, struct bt_err *err)
{
    BT_AUTO char *path = bt_strdup(e->dir);

    for (char *end = path; (end = strchr(end + 1, '/'));) {
        struct stat st;
        bool passes;

        *end = '\0';
        if (stat(path, &st) < 0)
            return bt_fail_errno(err, BT_ERR_IO, "cannot look at %s", path);
        passes = st.st_uid == e->uid   ? st.st_mode & S_IXUSR
                 : st.st_gid == e->gid ? st.st_mode & S_IXGRP
                                       : st.st_mode & S_IXOTH;
        if (!passes)
            return bt_next(err,
                           bt_fail(err, BT_ERR_FORBIDDEN,
                                   "user %s, who runs PostgreSQL, may not "
                                   "pass %s",
                                   e->user, path),
                           "choose a state directory elsewhere, or chmod o+x %s", path);
        *end = '/';
    }
    return 0;
}

static int make_dirs(struct embedded *e, struct bt_err *err)
{
    BT_AUTO char *run = bt_printf("%s/run", e->dir);
    struct stat st;
    int rc = bt_mkdirs(e->dir, 0700, err);

    if (rc >= 0)
        rc = bt_mkdirs(run, 0711, err);
    if (rc < 0)
        return rc;
    /* another user must be able to pass through ours to its own folder */
    if (e->uid != geteuid() && stat(e->dir, &st) == 0 && !(st.st_mode & S_IXOTH) &&
        chmod(e->dir, (st.st_mode & 07777) | S_IXGRP | S_IXOTH) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s", e->dir);
    return own_dir(e, e->socket_dir, err);
}

/* DIR/run/pg, or a name made from DIR's where that is too long for a socket. */
static char *choose_socket_dir(const char *dir)
{
    char *path = bt_printf("%s/run/pg", dir);
    uint8_t digest[BT_SHA256_SIZE];
    char hex[2 * 6 + 1];

    if (strlen(path) + strlen("/.s.PGSQL.5432.lock") < sizeof((struct sockaddr_un *)0)->sun_path)
        return path;
    bt_sha256(dir, strlen(dir), digest);
    bt_hex(digest, 6, hex);
    bt_free(path);
    return bt_printf("%s/beamtime-pg-%d-%s", geteuid() == 0 ? "/run" : "/tmp", (int)geteuid(), hex);
}

/* ---- children ---- */

/* In the child, after fork: only async-signal-safe calls. */
static void BT_NORETURN become(const struct embedded *e, char *const *argv, int out, int log,
                               pid_t parent, int death)
{
    static char *const env[] = {
        (char *)(uintptr_t) "PATH=/usr/bin:/bin", (char *)(uintptr_t) "LANG=C.UTF-8",
        (char *)(uintptr_t) "LC_ALL=C.UTF-8", (char *)(uintptr_t) "TZ=UTC", NULL};
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    umask(077);
    if (geteuid() == 0 &&
        (setgroups((size_t)e->n_groups, e->groups) < 0 || setresgid(e->gid, e->gid, e->gid) < 0 ||
         setresuid(e->uid, e->uid, e->uid) < 0))
        _exit(126);
    /* after the change of user, which clears it */
    if (death && (prctl(PR_SET_PDEATHSIG, death) < 0 || getppid() != parent))
        _exit(126);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    close_range(3, ~0u, 0);
    if (chdir("/") < 0)
        _exit(126);
    execve(argv[0], argv, env);
    _exit(127);
}

static pid_t spawn(const struct embedded *e, char *const *argv, int out, int death,
                   struct bt_err *err)
{
    BT_FD_AUTO int log = open(e->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    pid_t parent = getpid(), pid;

    if (log < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s", e->log);
    pid = fork();
    if (pid < 0)
        return bt_fail_errno(err, BT_ERR_IO, "fork");
    if (pid == 0)
        become(e, argv, out < 0 ? log : out, log, parent, death);
    return pid;
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int embedded_run(const struct embedded *e, const char *const *argv, int out, struct bt_err *err)
{
    BT_AUTO char *program = bt_printf("%s/%s", e->bindir, argv[0]);
    char *list[32] = {program};
    pid_t pid;

    for (size_t i = 1; i < BT_ARRAY_LEN(list) - 1 && argv[i]; i++)
        list[i] = (char *)(uintptr_t)argv[i]; /* execve's old signature */
    if (access(program, X_OK) < 0)
        return bt_next(err, bt_fail(err, BT_ERR_UNSUPPORTED, "there is no %s", program),
                       "install postgresql-15, or set pg_bindir");
    pid = spawn(e, list, out, SIGKILL, err);
    return pid < 0 ? (int)pid : wait_for(pid);
}

/* The last line that the server or initdb wrote. */
static void last_words(const struct embedded *e, char out[160])
{
    BT_FD_AUTO int fd = open(e->log, O_RDONLY | O_CLOEXEC);
    char tail[1024];
    ssize_t n = 0;
    char *line;

    out[0] = '\0';
    if (fd < 0)
        return;
    if (lseek(fd, -(off_t)(sizeof tail - 1), SEEK_END) < 0 && lseek(fd, 0, SEEK_SET) < 0)
        return;
    n = read(fd, tail, sizeof tail - 1);
    while (n > 0 && tail[n - 1] == '\n')
        n--;
    tail[n > 0 ? n : 0] = '\0';
    line = strrchr(tail, '\n');
    bt_copy(out, 160, line ? line + 1 : tail);
}

static int fail_with_log(const struct embedded *e, struct bt_err *err, const char *what)
{
    char words[160];

    last_words(e, words);
    return bt_next(err, bt_fail(err, BT_ERR_IO, "%s: %s", what, words), "read %s", e->log);
}

/* ---- the cluster's files ---- */

static int write_file(const char *dir, const char *name, const struct bt_buf *text,
                      struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/%s", dir, name);

    return bt_file_write(path, 0644, text->p, text->n, err);
}

static int write_config(const struct embedded *e, const char *dir, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf conf = {0}, hba = {0}, ident = {0};
    const char *users[] = {e->user, geteuid() == 0 ? "root" : NULL};
    int rc;

    bt_buf_printf(&conf,
                  "# written by beamtimed at each start\n"
                  "listen_addresses = ''\n"
                  "unix_socket_directories = '%s'\n"
                  "unix_socket_permissions = 0700\n"
                  "max_connections = 20\n"
                  "shared_buffers = 128MB\n"
                  "work_mem = 16MB\n"
                  "fsync = on\n"
                  "synchronous_commit = on\n"
                  "full_page_writes = on\n"
                  "wal_compression = lz4\n"
                  "min_wal_size = 1GB\n"
                  "max_wal_size = 4GB\n"
                  "checkpoint_timeout = 15min\n"
                  "wal_level = replica\n"
                  "max_wal_senders = 4\n"
                  "jit = off\n"
                  "timezone = 'UTC'\n"
                  "log_timezone = 'UTC'\n"
                  "client_connection_check_interval = 500ms\n"
                  "idle_in_transaction_session_timeout = 60s\n"
                  "log_min_duration_statement = 2000\n"
                  "logging_collector = off\n",
                  e->socket_dir);
    bt_buf_str(&hba, "local all,replication beamtime,beamtime_read,beamtime_public peer map=bt\n");
    for (size_t u = 0; u < BT_ARRAY_LEN(users); u++)
        for (int r = 0; users[u] && r < EMBEDDED_ROLES; r++)
            bt_buf_printf(&ident, "bt \"%s\" %s\n", users[u], role_names[r]);
    rc = write_file(dir, "postgresql.auto.conf", &conf, err);
    if (rc >= 0)
        rc = write_file(dir, "pg_hba.conf", &hba, err);
    return rc < 0 ? rc : write_file(dir, "pg_ident.conf", &ident, err);
}

/* Who listens on our socket: the kernel remembers the process that called listen(2). */
static pid_t listener(const struct embedded *e)
{
    BT_FD_AUTO int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct ucred who = {.pid = 0};
    socklen_t n = sizeof who;

    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s/.s.PGSQL.5432", e->socket_dir);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
        return 0;
    return who.pid;
}

/* A server outlives its files where its socket lies outside of them, and when it ends it writes
 * into what has their name by then (pg_control by its absolute path). */
static int refuse_ghost(const struct embedded *e, struct bt_err *err)
{
    pid_t pid = listener(e);

    if (!pid)
        return 0;
    return bt_next(err,
                   bt_fail(err, BT_ERR_LOCKED,
                           "a PostgreSQL whose files were removed still runs for %s, process id %d",
                           e->dir, (int)pid),
                   "kill -QUIT %d", (int)pid);
}

/* Makes the cluster beside its place and renames it there when it is whole. */
static int make_cluster(const struct embedded *e, struct bt_err *err)
{
    const char *const argv[] = {"initdb",
                                "-D",
                                e->fresh,
                                "-U",
                                "beamtime",
                                "-E",
                                "UTF8",
                                "--locale=C.UTF-8",
                                "--auth-local=peer",
                                "--auth-host=reject",
                                "--data-checksums",
                                "--no-instructions",
                                NULL};
    int rc = refuse_ghost(e, err);

    if (rc >= 0)
        rc = bt_remove_tree(e->fresh, err);
    if (rc >= 0)
        rc = own_dir(e, e->fresh, err);
    if (rc < 0)
        return rc;
    rc = embedded_run(e, argv, -1, err);
    if (rc < 0)
        return rc;
    if (rc > 0)
        return bt_next(err, fail_with_log(e, err, "initdb failed"),
                       "see %s; every folder above %s must let user %s pass", e->log, e->dir,
                       e->user);
    if (rename(e->fresh, e->data) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot rename %s", e->fresh);
    return bt_fsync_dir(e->dir, err);
}

static bool has_cluster(const struct embedded *e)
{
    BT_AUTO char *version = bt_printf("%s/PG_VERSION", e->data);

    return access(version, F_OK) == 0;
}

/* What starts that were killed left half made. Returns how many stay: one that is still written to
 * goes at a later start, for initdb's own children may outlive it for a moment. */
static int drop_half_made(const struct embedded *e)
{
    int stay = 0;
    DIR *dir = opendir(e->dir);
    const struct dirent *d;

    while (dir && (d = readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a stream of our own */)
        if (bt_starts(d->d_name, FRESH)) {
            BT_AUTO char *path = bt_printf("%s/%s", e->dir, d->d_name);

            stay += bt_remove_tree(path, NULL) < 0;
        }
    if (dir)
        closedir(dir);
    return stay;
}

/* Makes the cluster if there is none. One at a time: of two that began together (a daemon and
 * `beamtimed check`), one would clear away what the other's initdb is writing. */
static int need_cluster(const struct embedded *e, struct bt_err *err)
{
    BT_FD_AUTO int lock = open(e->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc;

    if (lock < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s", e->lock);
    do
        rc = flock(lock, LOCK_EX);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot lock %s", e->lock);
    if (has_cluster(e))
        return 0;
    (void)drop_half_made(e);
    return make_cluster(e, err);
}

/* ---- the postmaster ---- */

static void forget_process(struct embedded *e)
{
    if (e->pidfd >= 0)
        close(e->pidfd);
    e->pidfd = -1;
    e->pid = 0;
    e->ours = false;
}

/* True when the process has ended, waiting up to ms for it; reaps our own. */
static bool ended(struct embedded *e, int ms)
{
    struct pollfd fd = {.fd = e->pidfd, .events = POLLIN};

    if (e->pidfd < 0)
        return true;
    if (poll(&fd, 1, ms) <= 0 || !fd.revents)
        return false;
    if (e->ours)
        waitpid(e->pid, NULL, 0);
    forget_process(e);
    return true;
}

/* A server that answers may be that of a folder which was removed under it: then our own has not
 * got the socket, and what the other one says is of files that are no more. */
static bool answers(const struct embedded *e)
{
    return PQping(e->conninfo[EMBEDDED_OWNER]) == PQPING_OK && listener(e) == e->pid;
}

/* A server stands in its data folder; by inode, for a folder of that name may be another by now. */
static bool serves(const struct embedded *e, pid_t pid)
{
    BT_AUTO char *path = bt_printf("/proc/%d/cwd", (int)pid);
    struct stat its, ours;

    return stat(path, &its) == 0 && stat(e->data, &ours) == 0 && its.st_dev == ours.st_dev &&
           its.st_ino == ours.st_ino;
}

static bool is_postgres(pid_t pid)
{
    BT_AUTO char *path = bt_printf("/proc/%d/comm", (int)pid);
    BT_BUF_AUTO struct bt_buf name = {0};

    return bt_file_read(path, 64, &name, NULL) >= 0 && bt_streq(bt_buf_text(&name), "postgres\n");
}

/* A postmaster that is there already, or is just ending. */
static void find_other(struct embedded *e)
{
    BT_AUTO char *path = bt_printf("%s/postmaster.pid", e->data);
    BT_BUF_AUTO struct bt_buf text = {0};
    int64_t pid;

    if (bt_file_read(path, 4096, &text, NULL) < 0 || !text.p)
        return;
    text.p[strcspn(text.p, "\n")] = '\0';
    if (bt_parse_i64(text.p, "pid", 2, INT32_MAX, &pid, NULL) < 0 || !is_postgres((pid_t)pid) ||
        !serves(e, (pid_t)pid))
        return; /* none, or the number is somebody else's by now */
    e->pidfd = pidfd_open((pid_t)pid, 0);
    if (e->pidfd >= 0)
        e->pid = (pid_t)pid;
}

/* A process that has ended and waits for its parent to notice. */
static bool is_unburied(pid_t pid)
{
    BT_AUTO char *path = bt_printf("/proc/%d/stat", (int)pid);
    BT_BUF_AUTO struct bt_buf stat = {0};
    const char *behind_name;

    if (bt_file_read(path, 4096, &stat, NULL) < 0)
        return false;
    behind_name = strrchr(bt_buf_text(&stat), ')');
    return behind_name && (!strncmp(behind_name, ") Z", 3) || !strncmp(behind_name, ") X", 3));
}

/* A killed postmaster keeps its number until its parent has reaped it, which need not be soon, and
 * PostgreSQL takes the number in a lock file for a living server. The lock passes to us, the next
 * postmaster's parent, whom it overlooks; it still looks whether any process has the old one's
 * shared memory, as it would not if the file were gone (miscinit.c, CreateLockFile). */
static int inherit_lock(const struct embedded *e, const char *path, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    BT_AUTO char *line = NULL;
    BT_AUTO char *now = NULL;
    int64_t pid;
    size_t n;
    int rc;

    if (bt_file_read(path, 4096, &text, NULL) < 0)
        return 0;
    n = strcspn(bt_buf_text(&text), "\n");
    line = bt_strndup(bt_buf_text(&text), n);
    if (bt_parse_i64(line, "pid", 2, INT32_MAX, &pid, NULL) < 0 || !is_unburied((pid_t)pid))
        return 0;
    now = bt_printf("%d%s", (int)getpid(), bt_buf_text(&text) + n);
    rc = bt_file_write(path, 0600, now, strlen(now), err);
    if (rc == 0 && geteuid() == 0 && chown(path, e->uid, e->gid) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot hand over %s", path);
    return rc;
}

static int inherit_locks(const struct embedded *e, struct bt_err *err)
{
    BT_AUTO char *data = bt_printf("%s/postmaster.pid", e->data);
    BT_AUTO char *sock = bt_printf("%s/.s.PGSQL.5432.lock", e->socket_dir);
    int rc = inherit_lock(e, data, err);

    return rc < 0 ? rc : inherit_lock(e, sock, err);
}

static int launch(struct embedded *e, struct bt_err *err)
{
    BT_AUTO char *program = bt_printf("%s/postgres", e->bindir);
    char d[] = "-D";
    char *const argv[] = {program, d, e->data, NULL};
    pid_t pid;
    int rc = write_config(e, e->data, err);

    if (rc == 0)
        rc = inherit_locks(e, err);
    if (rc < 0)
        return rc;
    if (access(program, X_OK) < 0)
        return bt_next(err, bt_fail(err, BT_ERR_UNSUPPORTED, "there is no %s", program),
                       "install postgresql-15, or set pg_bindir");
    pid = spawn(e, argv, -1, SIGINT, err);
    if (pid < 0)
        return (int)pid;
    e->pid = pid;
    e->ours = true;
    e->pidfd = pidfd_open(pid, 0);
    if (e->pidfd < 0) {
        rc = bt_fail_errno(err, BT_ERR_IO, "pidfd_open");
        kill(pid, SIGINT);
        wait_for(pid);
        forget_process(e);
        return rc;
    }
    return 0;
}

/* Starts or adopts, and waits until it answers. */
static int bring_up(struct embedded *e, struct bt_err *err)
{
    int64_t begin = bt_mono_us();

    for (;;) {
        int64_t waited = bt_mono_us() - begin;
        int rc;

        find_other(e);
        if (ended(e, 0)) {
            rc = launch(e, err);
            if (rc < 0)
                return rc;
        }
        while (!ended(e, POLL_MS)) {
            if (answers(e))
                return 0;
            if (bt_mono_us() - begin > READY_S * BT_US_PER_S)
                return fail_with_log(e, err, "PostgreSQL is not ready");
        }
        /* it ended before it answered: an orphan that was just stopping, or our own because a
         * dead predecessor is not buried yet, or a true failure */
        if (waited > AGAIN_S * BT_US_PER_S)
            return fail_with_log(e, err, "PostgreSQL does not start");
        poll(NULL, 0, 10 * POLL_MS);
    }
}

static void set_paths(struct embedded *e, char *dir, const char *bindir)
{
    e->dir = dir;
    e->data = bt_printf("%s/pg", dir);
    e->fresh = bt_printf("%s/" FRESH "%d", dir, (int)getpid());
    e->lock = bt_printf("%s/pg.lock", dir);
    e->log = bt_printf("%s/pg.log", dir);
    e->bindir = bt_strdup(bindir ? bindir : BT_PG_BINDIR);
    e->socket_dir = choose_socket_dir(dir);
    for (int i = 0; i < EMBEDDED_ROLES; i++)
        e->conninfo[i] = bt_printf("host=%s user=%s dbname=postgres connect_timeout=2",
                                   e->socket_dir, role_names[i]);
}

/* The state directory as an absolute path: the server leaves the folder it was started in. */
static int resolve(const char *dir, char **ret, struct bt_err *err)
{
    BT_AUTO char *above = bt_strdup(dir);
    char *slash = strrchr(above, '/');
    char *real;
    int rc = 0;

    if (slash && slash > above) { /* what lies above is not ours to close */
        *slash = '\0';
        rc = bt_mkdirs(above, 0755, err);
    }
    if (rc >= 0)
        rc = bt_mkdirs(dir, 0700, err);
    if (rc < 0)
        return rc;
    real = realpath(dir, NULL);
    if (!real)
        return bt_fail_errno(err, BT_ERR_IO, "cannot resolve %s", dir);
    *ret = bt_strdup(real);
    free(real);
    return 0;
}

int embedded_start(const struct embedded_settings *s, struct embedded **ret, struct bt_err *err)
{
    struct embedded *e;
    char *dir = NULL;
    int rc = resolve(s->dir, &dir, err);

    if (rc < 0)
        return rc;
    e = bt_new(struct embedded);
    e->pidfd = -1;
    set_paths(e, dir, s->bindir);
    rc = find_user(e, s->user, err);
    if (rc >= 0)
        rc = reachable(e, err);
    if (rc >= 0)
        rc = make_dirs(e, err);
    if (rc >= 0)
        rc = need_cluster(e, err);
    if (rc >= 0)
        rc = bring_up(e, err);
    if (rc < 0) {
        embedded_free(e);
        return rc;
    }
    *ret = e;
    return 0;
}

const char *embedded_conninfo(const struct embedded *e, enum embedded_role role)
{
    return e->conninfo[role];
}

const char *embedded_bindir(const struct embedded *e)
{
    return e->bindir;
}

pid_t embedded_pid(const struct embedded *e)
{
    return e->pid;
}

bool embedded_adopted(const struct embedded *e)
{
    return e->pid && !e->ours;
}

int embedded_poll(struct embedded *e, struct bt_err *err)
{
    int rc;

    if (!ended(e, 0))
        return 0;
    rc = launch(e, err);
    return rc < 0 ? rc : 1;
}

int embedded_stop(struct embedded *e, struct bt_err *err)
{
    if (ended(e, 0))
        return 0;
    kill(e->pid, SIGINT);
    if (ended(e, STOP_S * 1000))
        return 0;
    kill(e->pid, SIGQUIT);
    if (ended(e, STOP_S * 1000))
        return 0;
    return fail_with_log(e, err, "PostgreSQL does not stop");
}

void embedded_free(struct embedded *e)
{
    if (!e)
        return;
    forget_process(e);
    for (int i = 0; i < EMBEDDED_ROLES; i++)
        bt_free(e->conninfo[i]);
    bt_free(e->dir);
    bt_free(e->data);
    bt_free(e->fresh);
    bt_free(e->log);
    bt_free(e->lock);
    bt_free(e->socket_dir);
    bt_free(e->bindir);
    bt_free(e->user);
    bt_free(e);
}
