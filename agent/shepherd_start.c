/* The start of an attempt's ranks. SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/layout.h"
#include "agent/meet.h"
#include "agent/shepherd_own.h"
#include "agent/slurm.h"
#include "agent/start.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

/* One process, unless the kind or the job asks for a rank an accelerator. */
static int count_ranks(const struct shepherd *s, struct bt_err *err)
{
    int64_t most = BT_MAX(1, BT_MAX(s->order.accelerators, s->order.world));
    int64_t n = s->spec.kind == JOB_COLL ? most : BT_MAX(1, s->order.nodes);

    for (int i = 0; i < s->spec.n_env; i++)
        if (bt_streq(s->spec.env_name[i], "BEAM_RANKS")) {
            int rc = bt_parse_i64(s->spec.env_value[i], "BEAM_RANKS", 1, BT_MIN(RANKS_MAX, most),
                                  &n, err);
            if (rc < 0)
                return rc;
        }
    return (int)BT_MIN(n, RANKS_MAX);
}

/* How ranks find and know each other: an address, and a secret that only their user can read. */
struct meeting {
    char address[32];
    char secret[SPOOL_PATH_MAX + 8];
};

static int arrange(struct shepherd *s, struct meeting *m, struct bt_err *err)
{
    int port = meet_port(err), rc;

    if (port < 0)
        return port;
    (void)snprintf(m->address, sizeof m->address, "127.0.0.1:%d", port);
    /* Beside the home only the agent may write. */
    (void)snprintf(m->secret, sizeof m->secret, geteuid() == 0 ? "%s.secret" : "%s/.secret",
                   s->places.home);
    rc = meet_secret(m->secret, err);
    if (rc == 0 && geteuid() == 0 && lchown(m->secret, s->account.uid, s->account.gid) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot give %s to %s", m->secret, s->account.name);
    return rc;
}

static void add_env(struct environ *e, const char *name, const char *value)
{
    if (e->n < ENVIRON_MAX)
        e->v[e->n++] = bt_printf("%s=%s", name, value);
}

/* The program and its words; words are borrowed or the caller's `program`. */
static void command_of(struct shepherd *s, char *program, size_t size, const char *argv[4])
{
    const char *base = s->spec.kind == JOB_TRAIN ? "beamtime-train" : "beamtime-coll";

    if (s->spec.kind == JOB_SCRIPT) {
        bool shebang = bt_starts(s->spec.text, "#!");

        bt_copy(program, size, shebang ? s->places.code : "/bin/sh");
        argv[0] = program;
        argv[1] = shebang ? NULL : s->places.code;
        return;
    }
    meet_program(s->order.libexec, base, program, size);
    argv[0] = base;
    argv[1] = s->places.code;
}

/* One srun stands for all ranks: it ends when they have ended, and hands on signals. */
static int through_srun(struct shepherd *s, int world, struct start *start, struct bt_err *err)
{
    BT_AUTO struct slurm_words *words = bt_new(struct slurm_words);
    int rc;

    if (!slurm_started_us())
        return bt_fail(err, BT_ERR_UNSUPPORTED, "only a Slurm cluster runs a job on %d nodes",
                       s->order.nodes);
    rc = slurm_words(&s->order, world, start->program, start->argv, words, err);
    if (rc < 0)
        return rc;
    start->program = "srun";
    start->argv = words->v;
    return start_rank(start, &s->ranks[0].pid, err);
}

static int start_one(struct shepherd *s, const struct rank *rank, const struct meeting *m,
                     const struct start *base, struct bt_err *err)
{
    struct start start = *base;
    struct environ e;
    char program[SPOOL_PATH_MAX + 64];
    const char *words[4] = {0};

    environ_build(&s->order, &s->spec, &s->account, &s->places, rank, &e);
    if (rank->world > 1) {
        add_env(&e, "BEAM_RENDEZVOUS", m->address);
        add_env(&e, "BEAM_SECRET_FILE", m->secret);
    }
    if (s->order.slurm)
        slurm_environ(&e);
    start.envp = e.v;
    if (s->spec.kind == JOB_COMMAND) {
        start.program = s->spec.argv[0];
        start.argv = s->spec.argv;
    } else {
        command_of(s, program, sizeof program, words);
        start.program = program;
        start.argv = words;
    }
    int rc = s->order.nodes > 1 ? through_srun(s, rank->world, &start, err)
                                : start_rank(&start, &s->ranks[rank->index].pid, err);
    environ_done(&e);
    return rc;
}

static int make_pipes(struct shepherd *s, struct start *start, struct bt_err *err)
{
    int out[2], er[2];

    if (pipe2(out, O_CLOEXEC) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a pipe");
    if (pipe2(er, O_CLOEXEC) < 0) {
        close(out[0]);
        close(out[1]);
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a pipe");
    }
    s->out = out[0];
    s->err = er[0];
    (void)fcntl(s->out, F_SETFL, O_NONBLOCK);
    (void)fcntl(s->err, F_SETFL, O_NONBLOCK);
    start->out = out[1];
    start->err = er[1];
    return 0;
}

static int start_all(struct shepherd *s, int world, struct bt_err *err)
{
    struct meeting m = {0};
    struct start start = {.dir = s->places.home,
                          .account = &s->account,
                          .cage = &s->cage,
                          .nproc = s->order.pids_max};
    int rc = world > 1 ? arrange(s, &m, err) : 0;
    int threads = BT_MAX(1, s->order.accelerators);

    if (*s->order.cpus && start_cpus(s->order.cpus, &start.cpus) == 0) {
        start.binds = true;
        threads = CPU_COUNT(&start.cpus);
    }
    if (rc == 0)
        rc = make_pipes(s, &start, err);
    if (rc < 0)
        return rc;
    for (int i = 0; rc == 0 && i < (s->order.nodes > 1 ? 1 : world); i++) {
        struct rank rank = {.index = i, .world = world, .threads = BT_MAX(1, threads / world)};

        rc = start_one(s, &rank, &m, &start, err);
        s->n_ranks += rc == 0;
    }
    close(start.out);
    close(start.err);
    return rc;
}

int shepherd_start(struct shepherd *s, struct bt_err *err)
{
    struct cage_limits limits = {.pids = s->order.pids_max,
                                 .memory_bytes = s->order.memory_max_bytes};
    char name[SPOOL_NAME_MAX];
    int world = count_ranks(s, err);
    int rc = world < 0 ? world : layout_make(&s->places, &s->spec, &s->account, &s->metrics, err);

    if (rc < 0)
        return rc;
    if (s->inotify >= 0)
        s->metrics_watch = inotify_add_watch(s->inotify, s->places.metrics, IN_MODIFY);
    cage_make(&s->cage, spool_name(s->order.job, s->order.attempt, name), &limits);
    rc = spool_mark(s->dir, "ranks", true, err);
    if (rc == 0)
        rc = start_all(s, world, err);
    if (rc < 0) {
        struct bt_err kept = err ? *err : (struct bt_err){0};

        shepherd_kill_rest(s);
        if (err)
            *err = kept;
        return rc;
    }
    s->started_us = bt_mono_us();
    s->started_wall_us = bt_now_us();
    return 0;
}
