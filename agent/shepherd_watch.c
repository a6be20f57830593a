/* What a shepherd does while its ranks run, and how it ends them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/procs.h"
#include "agent/shepherd_own.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum {
    RANK_GRACE_US = 10000000, /* for the others when one rank failed */
    RECHECK_US = 1000000,     /* at most so long between two looks at the spool folder */
    LOST_LOOKS = 3,           /* without a find, at orphans that only their marks betray */
    KILL_STEP_US = 20000,     /* between two looks for processes that are being killed */
    CHUNK = 65536,
};

int shepherd_listen(struct shepherd *s, struct bt_err *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot block signals");
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a descriptor of signals");
    /* Without inotify (its instances are bounded a user) the recheck alone finds the files. */
    s->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (s->inotify >= 0)
        s->spool_watch = inotify_add_watch(s->inotify, s->dir, IN_MOVED_TO | IN_CREATE);
    return 0;
}

static void read_signals(struct shepherd *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD && s->cause == STOP_NONE)
            s->cause = STOP_SHUTDOWN;
}

/* Everything that died: ranks are noted, orphans that came to us as their subreaper forgotten. */
static void reap(struct shepherd *s)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < s->n_ranks; i++) {
            if (s->ranks[i].pid != pid || s->ranks[i].over)
                continue;
            s->ranks[i].over = true;
            s->ranks[i].status = status;
            s->n_over++;
            if (status != 0 && s->first_bad < 0)
                s->first_bad = i;
        }
}

static void pump_pipe(int *fd, struct stream *to)
{
    char chunk[CHUNK];

    while (*fd >= 0) {
        ssize_t n = read(*fd, chunk, sizeof chunk);

        if (n > 0) {
            stream_add(to, chunk, (size_t)n);
            if (n < (ssize_t)sizeof chunk)
                return; /* let the others have their turn */
        } else if (n == 0) {
            close(*fd);
            *fd = -1;
        } else if (errno != EINTR) {
            return;
        }
    }
}

static void pump_metrics(struct shepherd *s)
{
    char chunk[CHUNK];
    ssize_t n;

    while (s->metrics >= 0 && (n = read(s->metrics, chunk, sizeof chunk)) > 0)
        stream_add(&s->log_metrics, chunk, (size_t)n);
}

static void read_inotify(struct shepherd *s)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

    while (s->inotify >= 0 && read(s->inotify, events, sizeof events) > 0)
        ; /* which file it was does not matter: all are looked at */
}

void shepherd_await(struct shepherd *s, int64_t until_us)
{
    struct pollfd p[] = {
        {.fd = s->signals, .events = POLLIN},
        {.fd = s->inotify, .events = POLLIN},
        {.fd = s->out, .events = POLLIN},
        {.fd = s->err, .events = POLLIN},
    };
    int64_t left = BT_MIN(until_us - bt_mono_us(), RECHECK_US);
    struct timespec t = {.tv_sec = left / BT_US_PER_S, .tv_nsec = left % BT_US_PER_S * 1000};

    if (left < 0)
        t = (struct timespec){0};
    (void)ppoll(p, BT_ARRAY_LEN(p), &t, NULL);
    read_signals(s);
    read_inotify(s);
    reap(s);
    pump_pipe(&s->out, &s->log_out);
    pump_pipe(&s->err, &s->log_err);
    pump_metrics(s);
}

static void signal_ranks(struct shepherd *s, int signo)
{
    for (int i = 0; i < s->n_ranks; i++)
        if (!s->ranks[i].over)
            (void)kill(-s->ranks[i].pid, signo); /* its whole process group */
}

static int64_t boot_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * BT_US_PER_S + t.tv_nsec / 1000;
}

/* The agent writes beside the spool folders when it last had an answer of the facility. */
static bool lease_is_over(const struct shepherd *s)
{
    BT_AUTO char *path = bt_printf("%s/../contact", s->dir);
    BT_BUF_AUTO struct bt_buf text = {0};
    int64_t at;

    if (!s->order.lease_s || bt_file_line(path, 64, &text, NULL) < 0)
        return false;
    if (bt_parse_i64(bt_buf_text(&text), "contact", 0, INT64_MAX, &at, NULL) < 0)
        return false;
    return boot_us() > at + s->order.lease_s * BT_US_PER_S;
}

/* The clock of files' times, which lags the exact one by up to a tick. */
static int64_t file_clock_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return t.tv_sec * BT_US_PER_S + t.tv_nsec / 1000;
}

static void begin_stop(struct shepherd *s, enum stop_cause cause, int64_t grace_us)
{
    int64_t now = bt_mono_us();

    s->cause = cause;
    s->signalled_wall_us = file_clock_us();
    s->kill_due_us = BT_MIN(s->kill_due_us, now + grace_us);
    signal_ranks(s, s->order.signal ? s->order.signal : SIGTERM);
}

/* Whether the ranks shall end now, and how gently. */
static void decide(struct shepherd *s)
{
    int64_t now = bt_mono_us();
    int64_t grace_us = s->order.grace_s * BT_US_PER_S;

    if (spool_has(s->dir, "gone") && !s->killed) {
        s->cause = s->cause == STOP_NONE ? STOP_WANTED : s->cause;
        s->kill_due_us = now;
    }
    if (!s->signalled_wall_us) {
        if (s->cause == STOP_SHUTDOWN)
            begin_stop(s, STOP_SHUTDOWN, grace_us);
        else if (spool_has(s->dir, "stop"))
            begin_stop(s, STOP_WANTED, grace_us);
        else if (lease_is_over(s))
            begin_stop(s, STOP_LEASE, 0);
        else if (s->first_bad >= 0)
            begin_stop(s, STOP_RANK, BT_MIN(grace_us, RANK_GRACE_US));
        else if (now >= s->signal_due_us)
            begin_stop(s, STOP_WALLTIME, s->kill_due_us - now);
    }
    if (now >= s->kill_due_us && !s->killed) {
        s->killed = true;
        s->cause = s->cause == STOP_NONE ? STOP_WALLTIME : s->cause;
        cage_kill(&s->cage);
        signal_ranks(s, SIGKILL);
    }
}

void shepherd_watch(struct shepherd *s)
{
    shepherd_times(&s->order, &s->signal_due_us, &s->kill_due_us);
    s->signal_due_us += s->started_us;
    s->kill_due_us += s->started_us;
    for (;;) {
        reap(s);
        if (s->n_over == s->n_ranks)
            return;
        decide(s);
        int64_t due = s->signalled_wall_us ? s->kill_due_us : s->signal_due_us;
        shepherd_await(s, s->killed ? INT64_MAX : BT_MIN(due, s->kill_due_us));
    }
}

/* Kills what `find` finds until it has found nothing `calm` times in a row. A process in the
 * kernel's hands (a dead file server) keeps us here: its accelerator is not free. */
static void hunt(struct shepherd *s, void (*find)(struct shepherd *, struct pids *), int calm)
{
    for (int empty = 0; empty < calm;) {
        struct pids left = {0};

        reap(s);
        find(s, &left);
        empty = left.n ? 0 : empty + 1;
        if (empty == calm)
            continue;
        if (left.n)
            cage_kill(&s->cage);
        for (size_t i = 0; i < left.n; i++)
            (void)kill(left.v[i], SIGKILL);
        pids_done(&left);
        shepherd_await(s, bt_mono_us() + KILL_STEP_US);
    }
}

/* We are the subreaper of everything below us: without a child there is nobody, and /proc need not
 * be searched. */
static bool has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

static void find_rest(struct shepherd *s, struct pids *to)
{
    if (has_children())
        procs_below(getpid(), to);
    cage_pids(&s->cage, to);
}

void shepherd_kill_rest(struct shepherd *s)
{
    hunt(s, find_rest, 1); /* a tree and a group miss nothing */
}

static void find_lost(struct shepherd *s, struct pids *to)
{
    BT_AUTO char *attempt = bt_printf("BEAM_ATTEMPT=%d", s->order.attempt);
    char id[BT_UUID_TEXT];
    BT_AUTO char *job = bt_printf("BEAM_JOB=%s", bt_uuid_format(s->order.job, id));

    cage_pids(&s->cage, to);
    procs_marked(job, attempt, to);
    if (procs_runs_us(getppid()))
        procs_orphans_of(getppid(), to);
}

void shepherd_kill_lost(struct shepherd *s)
{
    hunt(s, find_lost, LOST_LOOKS); /* in the middle of execve(2) a process shows no environment */
}

void shepherd_drain(struct shepherd *s)
{
    /* All writers are gone, so what the pipes hold ends with an end of file. */
    while (s->out >= 0 || s->err >= 0)
        shepherd_await(s, bt_mono_us() + KILL_STEP_US);
    pump_metrics(s);
}
