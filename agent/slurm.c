/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/handover.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { FOLDER_WAIT_US = 60000000 };

static const char *env(const char *name)
{
    const char *v = getenv(name); /* NOLINT: one thread */

    return v ? v : "";
}

bool slurm_started_us(void)
{
    return *env("SLURM_JOB_ID") != '\0';
}

void slurm_identity(const char *boot, char out[FOREIGN_MAX])
{
    const char *restart = env("SLURM_RESTART_COUNT");

    (void)snprintf(out, FOREIGN_MAX, "slurm:%.12s.%.4s:%.8s:%d", env("SLURM_JOB_ID"),
                   *restart ? restart : "0", boot, (int)getpid());
}

int slurm_await_folder(const char *dir, struct bt_err *err)
{
    const char *slash = strrchr(dir, '/'); /* the folder itself may not be there: no ".." */
    BT_AUTO char *turn = bt_printf("%.*s" HANDOVER_TURN, slash ? (int)(slash - dir) + 1 : 0, dir);
    BT_AUTO char *order = bt_printf("%s/order.json", dir);
    BT_FD_AUTO int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int64_t until = bt_mono_us() + FOLDER_WAIT_US;
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

    if (fd >= 0 && inotify_add_watch(fd, turn, IN_MODIFY) < 0)
        return bt_next(err, bt_fail_errno(err, BT_ERR_NOT_FOUND, "cannot watch %s", turn),
                       "is agent_dir of the site the state_dir of this node's agent?");
    while (access(order, R_OK) < 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - bt_mono_us();

        if (left <= 0)
            return bt_fail(err, BT_ERR_FENCED, "nobody has prepared %s: the attempt is over", dir);
        if (poll(&p, 1, (int)(left / 1000) + 1) > 0)
            while (read(fd, events, sizeof events) > 0)
                ;
    }
    return 0;
}

void slurm_environ(struct environ *e)
{
    for (char **v = environ; *v && e->n < ENVIRON_MAX; v++)
        if (bt_starts(*v, "SLURM"))
            e->v[e->n++] = bt_strdup(*v);
    for (int i = 0; i < e->n; i++) {
        if (!bt_starts(e->v[i], "CUDA_VISIBLE_DEVICES=") &&
            !bt_starts(e->v[i], "HIP_VISIBLE_DEVICES="))
            continue;
        char *name = bt_strndup(e->v[i], strcspn(e->v[i], "="));

        bt_free(e->v[i]);
        e->v[i] = bt_printf("%s=%s", name, env(name));
        bt_free(name);
    }
}

int slurm_words(const struct order *o, int world, const char *program, const char *const *argv,
                struct slurm_words *ret, struct bt_err *err)
{
    ssize_t len = readlink("/proc/self/exe", ret->self, sizeof ret->self - 1);
    int n = 0;

    if (len < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot tell where this program lies");
    if (world % o->nodes)
        return bt_next(err,
                       bt_fail(err, BT_ERR_INVALID, "%d ranks do not divide evenly over %d nodes",
                               world, o->nodes),
                       "set BEAM_RANKS to a multiple of the nodes");
    ret->self[len] = '\0';
    (void)snprintf(ret->numbers[0], sizeof ret->numbers[0], "--nodes=%d", o->nodes);
    (void)snprintf(ret->numbers[1], sizeof ret->numbers[1], "--ntasks=%d", world);
    (void)snprintf(ret->numbers[2], sizeof ret->numbers[2], "--ntasks-per-node=%d",
                   world / o->nodes);
    (void)snprintf(ret->numbers[3], sizeof ret->numbers[3], "--mpi=%s", *o->mpi ? o->mpi : "none");
    const char *const words[] = {
        "srun",          ret->numbers[0], ret->numbers[1], ret->numbers[2], "--kill-on-bad-exit=1",
        ret->numbers[3], "--overcommit",  "--overlap",     "--quiet",       "--",
        ret->self,       "rank",          program};
    for (size_t i = 0; i < BT_ARRAY_LEN(words); i++)
        ret->v[n++] = words[i];
    for (int i = 1; argv[0] && argv[i]; i++)
        ret->v[n++] = argv[i];
    ret->v[n] = NULL;
    return 0;
}

/* ---- a rank ---- */

static void take(const char *from, const char *to)
{
    if (*env(from))
        (void)setenv(to, env(from), 1); /* NOLINT: one thread */
}

/* The shepherd named a port of its own node; over several nodes its address is Slurm's. */
static void meet(void)
{
    const char *port = strrchr(env("BEAM_RENDEZVOUS"), ':');
    const char *host = env("SLURM_LAUNCH_NODE_IPADDR");

    if (!port || !*host || bt_streq(env("SLURM_NNODES"), "1"))
        return;
    BT_AUTO char *both = bt_printf("%s%s", host, port);
    (void)setenv("BEAM_RENDEZVOUS", both, 1); /* NOLINT: one thread */
}

/* The first rank that fails says so in the shared home; srun itself only knows the highest of all
 * statuses, and those that it killed stand higher. */
static void say_failed(int status)
{
    BT_AUTO char *path = bt_printf("%s/../" SLURM_FAILED, env("BEAM_SCRATCH"));
    BT_FD_AUTO int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    char text[160];
    int len = snprintf(text, sizeof text, "%d %.8s %.63s\n", status, env("SLURM_PROCID"),
                       env("SLURMD_NODENAME"));

    if (fd >= 0 && write(fd, text, (size_t)len) < 0)
        (void)unlink(path);
}

static void BT_NORETURN follow(pid_t child)
{
    int status = 0;

    for (int i = 1; i < NSIG; i++) /* they are meant for the rank, which gets them too */
        if (i != SIGCHLD)
            (void)signal(i, SIG_IGN);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status)
        say_failed(status);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

bool slurm_failed(const struct places *p, int *ret_status, char *text, size_t size)
{
    BT_AUTO char *path = bt_printf("%s/" SLURM_FAILED, p->home);
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char said[160] = "";
    char node[64];
    int status;
    int rank;

    if (fd < 0 || read(fd, said, sizeof said - 1) <= 0 ||
        sscanf(said, "%d %d %63[a-z0-9._-]", &status, &rank, node) != 3 || /* NOLINT: bounded */
        status <= 0 || status > 0xffff)
        return false;
    *ret_status = status;
    if (WIFSIGNALED(status))
        (void)snprintf(text, size, "rank %d on %s was killed by signal %d", rank, node,
                       WTERMSIG(status));
    else
        (void)snprintf(text, size, "rank %d on %s exited with status %d", rank, node,
                       WEXITSTATUS(status));
    return true;
}

int slurm_rank(int n, char **words, struct bt_err *err)
{
    pid_t child;

    if (n < 1 || !*env("SLURM_PROCID"))
        return bt_fail(err, BT_ERR_USAGE, "rank is what srun runs in a job");
    take("SLURM_PROCID", "BEAM_RANK");
    take("SLURM_LOCALID", "BEAM_LOCAL_RANK");
    take("SLURM_NTASKS", "BEAM_WORLD_SIZE");
    meet();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot forbid new privileges");
    child = fork();
    if (child < 0)
        return bt_fail_errno(err, BT_ERR_BUSY, "cannot fork a rank");
    if (child > 0)
        follow(child);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)execvp(words[0], words);
    (void)fprintf(stderr, "beamtime: cannot run \"%.60s\": %m\n", words[0]);
    _exit(127);
}
