/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/start.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/str.h"

enum { NOFILE = 65536 };

/* What the child says through the pipe when a step fails: exec closes the pipe. */
struct failure {
    int error;
    bool program; /* it was the job's program that could not be entered */
    char step[59];
};

static int set_limit(int what, rlim_t value)
{
    struct rlimit r;

    if (getrlimit((__rlimit_resource_t)what, &r) < 0)
        return -1;
    if (r.rlim_max > value)
        r.rlim_max = value;
    r.rlim_cur = r.rlim_max;
    return setrlimit((__rlimit_resource_t)what, &r);
}

static int set_limits(const struct start *s)
{
    if (set_limit(RLIMIT_CORE, 0) < 0 || set_limit(RLIMIT_NOFILE, NOFILE) < 0)
        return -1;
    return s->nproc ? set_limit(RLIMIT_NPROC, (rlim_t)s->nproc) : 0;
}

/* A clean slate of signals: handlers fall away by exec, masks and ignored ones would stay. */
static int reset_signals(void)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        if (i != SIGKILL && i != SIGSTOP)
            (void)signal(i, SIG_DFL); /* those of the C library refuse: fine */
    sigemptyset(&none);
    errno = pthread_sigmask(SIG_SETMASK, &none, NULL);
    return errno ? -1 : 0;
}

static int set_streams(const struct start *s)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC); /* dup2 makes a copy that stays */

    if (null < 0 || dup2(null, 0) < 0 || dup2(s->out, 1) < 0 || dup2(s->err, 2) < 0)
        return -1;
    return 0;
}

/* Closes everything but 0..2 and `keep` (which is 3). */
static int close_rest(void)
{
    return close_range(4, ~0U, 0);
}

#define STEP(what, call) \
    do {                 \
        step = (what);   \
        if ((call) < 0)  \
            goto failed; \
    } while (0)

/* Its shepherd's end is its end, also when that came before the tie. */
static int tie(pid_t shepherd)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return -1;
    if (getppid() != shepherd)
        _exit(126);
    return 0;
}

static void BT_NORETURN child(const struct start *s, pid_t shepherd, int report)
{
    struct failure f = {0};
    const char *step;

    STEP("tie it to its shepherd", tie(shepherd));
    STEP("make a session", setsid());
    STEP("reset its signals", reset_signals());
    STEP("enter its control group", cage_enter(s->cage));
    if (s->binds)
        STEP("bind it to its cores", sched_setaffinity(0, sizeof s->cpus, &s->cpus));
    STEP("open its streams", set_streams(s));
    STEP("keep the report", report == 3 ? 3 : dup3(report, 3, O_CLOEXEC));
    STEP("close descriptors", close_rest());
    umask(077);
    STEP("become its user", account_become(s->account));
    STEP("set its limits", set_limits(s));
    STEP("forbid new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    STEP("tie it to its shepherd", tie(shepherd)); /* setuid untied it */
    STEP("enter its working folder", chdir(s->dir));
    environ = s->envp; /* its PATH is searched */
    f.program = true;
    STEP("run its program", execvpe(s->program, (char *const *)(uintptr_t)s->argv, s->envp));
failed:
    f.error = errno;
    (void)bt_copy(f.step, sizeof f.step, step);
    if (write(3, &f, sizeof f) < 0)
        _exit(126);
    _exit(127);
}

static int reap_failed(const struct start *s, pid_t pid, const struct failure *f,
                       struct bt_err *err)
{
    (void)waitpid(pid, NULL, 0);
    errno = f->error;
    return bt_fail_errno(err, f->program ? BT_ERR_USAGE : BT_ERR_IO,
                         "cannot start \"%.60s\" as %s: could not %s", s->program, s->account->name,
                         f->step);
}

int start_rank(const struct start *s, pid_t *ret_pid, struct bt_err *err)
{
    struct failure f;
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a pipe");
    pid_t shepherd = getpid();
    pid_t pid = fork();
    if (pid == 0)
        child(s, shepherd, p[1]);
    close(p[1]);
    BT_FD_AUTO int from = p[0];
    if (pid < 0)
        return bt_fail_errno(err, BT_ERR_BUSY, "cannot fork a rank");
    ssize_t n;
    do
        n = read(from, &f, sizeof f);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof f)
        return reap_failed(s, pid, &f, err);
    *ret_pid = pid;
    return 0;
}

int start_cpus(const char *list, cpu_set_t *ret)
{
    CPU_ZERO(ret);
    while (*list) {
        char *end;
        long from = strtol(list, &end, 10);
        long to = from;

        if (end == list || from < 0)
            return -1;
        if (*end == '-') {
            list = end + 1;
            to = strtol(list, &end, 10);
            if (end == list)
                return -1;
        }
        if (to < from || to >= CPU_SETSIZE || (*end && *end != ','))
            return -1;
        for (long i = from; i <= to; i++)
            CPU_SET((size_t)i, ret);
        list = *end ? end + 1 : end;
    }
    return CPU_COUNT(ret) ? 0 : -1;
}
