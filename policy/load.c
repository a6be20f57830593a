/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy/load.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/attr.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "policy/child.h"
#include "policy/wire.h"

const struct policy_limits policy_limits_default = {
    .cpu_s = 2,
    .deadline_ms = 30000,
    .memory_bytes = (size_t)8 << 20,
    .steps = 10 * 1000 * 1000,
};

/* Takes from the child everything but its memory and the pipe. The limits are hard (that of
 * processor time a second after SIGXCPU), and what fails here is only one fence of several. */
static void confine(int fd, int cpu_s)
{
    const struct {
        __rlimit_resource_t what;
        rlim_t soft, hard;
    } limits[] = {
        {RLIMIT_CPU, (rlim_t)cpu_s, (rlim_t)cpu_s + 1},
        {RLIMIT_CORE, 0, 0},
        {RLIMIT_FSIZE, 0, 0},
        {RLIMIT_NPROC, 0, 0},
        {RLIMIT_NOFILE, 0, 0},
    };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (fd > 0)
        close_range(0, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0U, 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(limits); i++)
        setrlimit(limits[i].what, &(struct rlimit){limits[i].soft, limits[i].hard});
}

/* The child's whole life. It runs in a copy of a process that may have had
 * other threads: glibc keeps malloc usable after fork, and nothing else that
 * other threads could have held is touched. */
BT_NORETURN static void be_child(int fd, const char *tiers, const char *rules,
                                 const struct policy_limits *limits)
{
    struct bt_buf out = {.max = POLICY_WIRE_MAX};
    bool failed;

    confine(fd, limits->cpu_s);
    policy_child_run(tiers, rules, limits, &out);
    failed = bt_write_all(fd, out.p, out.n, NULL) < 0;
    bt_buf_done(&out);
    _exit(failed);
}

/* Reads until the child closes its end, or the deadline. */
static int read_answer(int fd, const struct policy_limits *limits, struct bt_buf *to,
                       struct bt_err *err)
{
    int64_t deadline_us = bt_mono_us() + limits->deadline_ms * INT64_C(1000);
    char part[4096];

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left_us = deadline_us - bt_mono_us();
        ssize_t n;
        int ready = left_us > 0 ? poll(&p, 1, (int)(left_us / 1000) + 1) : 0;

        if (ready == 0)
            return bt_fail(err, BT_ERR_TIMEOUT,
                           "policy_timeout: the rules were not read within %d ms",
                           limits->deadline_ms);
        n = ready < 0 ? -1 : read(fd, part, sizeof part);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return bt_fail_errno(err, BT_ERR_IO, "reading from the policy's child");
        if (n > 0)
            bt_buf_add(to, part, (size_t)n);
        if (to->over)
            return bt_fail(err, BT_ERR_TOO_LARGE, "the policy is larger than %d bytes",
                           POLICY_WIRE_MAX);
    }
}

/* The signal that had ended it before, 0 if none had. */
static int end_child(pid_t pid)
{
    int status = 0;

    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL ? WTERMSIG(status) : 0;
}

static int ask_child(const char *tiers, const char *rules, const struct policy_limits *limits,
                     struct bt_buf *answer, struct bt_err *err)
{
    BT_FD_AUTO int from = -1;
    int to;
    int fds[2];
    int ended_by;
    pid_t pid;
    int rc;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "no pipe for the policy's child");
    from = fds[0];
    to = fds[1];
    pid = fork();
    if (pid == 0)
        be_child(to, tiers, rules, limits);
    rc = pid < 0 ? bt_fail_errno(err, BT_ERR_IO, "no child for the policy") : 0;
    close(to);
    if (rc < 0)
        return rc;
    rc = read_answer(from, limits, answer, err);
    ended_by = end_child(pid);
    if (rc == 0 && ended_by == SIGXCPU)
        return bt_fail(err, BT_ERR_TIMEOUT,
                       "policy_timeout: the rules take more than %d s of processor time to read",
                       limits->cpu_s);
    return rc;
}

int policy_load_text(const char *tiers, const char *rules, policy_hash_fn *hash,
                     const struct policy_limits *limits, struct policy **ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf answer = {.max = POLICY_WIRE_MAX};
    BT_BUF_AUTO struct bt_buf source = {0};
    struct policy *p = NULL;
    int rc = ask_child(tiers, rules, limits, &answer, err);

    if (rc < 0)
        return rc;
    if (answer.n == 0)
        return bt_fail(err, BT_ERR_INVALID, "the policy's child died without an answer");
    if (answer.p[0] != POLICY_CHILD_OK)
        return bt_fail(err, BT_ERR_INVALID, "%.*s", (int)BT_MIN(answer.n - 1, 230), answer.p + 1);
    if ((rc = policy_decode(answer.p + 1, answer.n - 1, &p, err)) < 0)
        return rc;
    bt_buf_str(&source, tiers);
    bt_buf_str(&source, rules);
    hash(bt_buf_text(&source), source.n, p->digest);
    *ret = p;
    return 0;
}

static int read_source(const char *dir, const char *name, struct bt_buf *to, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/%s", dir, name);
    int rc = bt_file_read(path, POLICY_SOURCE_MAX, to, err);

    if (rc < 0)
        return rc;
    if (strlen(bt_buf_text(to)) != to->n)
        return bt_fail(err, BT_ERR_INVALID, "%s holds a NUL byte", path);
    return 0;
}

int policy_load(const char *dir, policy_hash_fn *hash, struct policy **ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf tiers = {0};
    BT_BUF_AUTO struct bt_buf rules = {0};
    int rc;

    if ((rc = read_source(dir, "tiers.lua", &tiers, err)) < 0 ||
        (rc = read_source(dir, "rules.lua", &rules, err)) < 0)
        return rc;
    return policy_load_text(bt_buf_text(&tiers), bt_buf_text(&rules), hash, &policy_limits_default,
                            ret, err);
}
