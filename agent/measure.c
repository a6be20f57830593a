/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "agent/meet.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

enum { RESULT_BYTES = 65536, SAID = 400 };

struct measure {
    char program[1100];
    char *dir, *secret, *result;
    int64_t bytes;
    int world;
    pthread_t thread;
    atomic_bool over;
    struct bt_err err; /* the thread's, until it is over */
    int64_t mbs;
};

static void measure_free(struct measure *m)
{
    bt_free(m->dir);
    bt_free(m->secret);
    bt_free(m->result);
    bt_free(m);
}

/* ---- the ranks ---- */

struct rank_run {
    pid_t pid;
    int out; /* closes when it has ended; -1: it has */
};

/* Nothing of the agent's own environment. */
static char **environ_of(const struct measure *m, int rank, int port)
{
    char **e = bt_new_n(char *, 10);
    int n = 0;

    e[n++] = bt_strdup("PATH=/usr/local/bin:/usr/bin:/bin");
    e[n++] = bt_strdup("LANG=C.UTF-8");
    e[n++] = bt_strdup("OMP_NUM_THREADS=1");
    e[n++] = bt_printf("HOME=%s", m->dir);
    e[n++] = bt_printf("BEAM_RANK=%d", rank);
    e[n++] = bt_printf("BEAM_LOCAL_RANK=%d", rank);
    e[n++] = bt_printf("BEAM_WORLD_SIZE=%d", m->world);
    e[n++] = bt_printf("BEAM_RENDEZVOUS=127.0.0.1:%d", port);
    e[n++] = bt_printf("BEAM_SECRET_FILE=%s", m->secret);
    return e;
}

static int spawn_rank(const struct measure *m, int rank, int port, struct rank_run *ret,
                      struct bt_err *err)
{
    char bytes[24];
    char *argv[] = {(char[]){"beamtime-coll"},
                    (char[]){"all_reduce"},
                    (char[]){"-b"},
                    bytes,
                    (char[]){"-e"},
                    bytes,
                    (char[]){"-n"},
                    (char[]){"10"},
                    (char[]){"-T"},
                    (char[]){"60"},
                    (char[]){"-J"},
                    m->result,
                    NULL};
    char **env = environ_of(m, rank, port);
    posix_spawn_file_actions_t files;
    int pipes[2], rc;

    (void)snprintf(bytes, sizeof bytes, "%lld", (long long)m->bytes);
    if (pipe2(pipes, O_CLOEXEC) < 0)
        rc = errno;
    else {
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&files, pipes[1], 1);
        posix_spawn_file_actions_adddup2(&files, pipes[1], 2);
        rc = posix_spawn(&ret->pid, m->program, &files, NULL, argv, env);
        posix_spawn_file_actions_destroy(&files);
        close(pipes[1]);
        ret->out = pipes[0];
        if (rc)
            close(pipes[0]);
    }
    for (char **e = env; *e; e++)
        bt_free(*e);
    bt_free(env);
    if (rc) {
        errno = rc;
        ret->out = -1;
        return bt_fail_errno(err, BT_ERR_IO, "cannot start %s", m->program);
    }
    return 0;
}

/* Reads what a rank says; the first line about a failure is kept. */
static void hear(struct rank_run *r, char said[SAID])
{
    char text[SAID];
    ssize_t n = read(r->out, text, sizeof text - 1);

    if (n <= 0) {
        close(r->out);
        r->out = -1;
        return;
    }
    text[n] = '\0';
    const char *at = strstr(text, "beamtime-coll: ");
    if (at && !*said) {
        bt_copy(said, SAID, at + strlen("beamtime-coll: "));
        said[strcspn(said, "\n")] = '\0';
    }
}

/* Until all ranks are gone; at the deadline they are killed. */
static int watch(struct measure *m, struct rank_run *ranks, char said[SAID], struct bt_err *err)
{
    int64_t deadline = bt_mono_us() + MEASURE_DEADLINE_S * BT_US_PER_S;
    bool late = false;

    for (;;) {
        struct pollfd p[MEASURE_RANKS];
        int n = 0, left_ms = (int)((deadline - bt_mono_us()) / 1000);

        for (int i = 0; i < m->world; i++) {
            p[i] = (struct pollfd){.fd = ranks[i].out, .events = POLLIN};
            n += ranks[i].out >= 0;
        }
        if (!n)
            return late ? bt_fail(err, BT_ERR_TIMEOUT, "it did not end within %d s",
                                  MEASURE_DEADLINE_S)
                        : 0;
        if (poll(p, (nfds_t)m->world, late ? -1 : BT_MAX(left_ms, 0)) == 0) {
            for (int i = 0; i < m->world; i++)
                if (ranks[i].out >= 0)
                    kill(ranks[i].pid, SIGKILL);
            late = true;
        }
        for (int i = 0; i < m->world; i++)
            if (p[i].fd >= 0 && p[i].revents)
                hear(&ranks[i], said);
    }
}

static int read_result(struct measure *m, const char *said, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *j = NULL;
    struct bt_err why = {0};
    int rc = bt_file_read(m->result, RESULT_BYTES, &text, &why);

    if (rc == 0)
        rc = json_parse(text.p, text.n, RESULT_BYTES, &j, &why);
    if (rc < 0)
        return bt_fail(err, BT_ERR_IO, "the benchmark left no result: %s", *said ? said : why.text);
    if (json_i64(json_get(j, "errors"), 1))
        return bt_fail(err, BT_ERR_IO, "the benchmark failed: %s", *said ? said : "wrong values");
    m->mbs = (int64_t)(json_f64(json_get(j, "average_bus_bandwidth"), 0) * 1e3 + 0.5);
    return 0;
}

static int run(struct measure *m, struct bt_err *err)
{
    struct rank_run ranks[MEASURE_RANKS];
    char said[SAID] = "";
    int rc = meet_port(err), port = rc;

    for (int i = 0; i < MEASURE_RANKS; i++)
        ranks[i] = (struct rank_run){.out = -1};
    if (rc > 0)
        rc = meet_secret(m->secret, err);
    (void)unlink(m->result);
    for (int i = 0; rc == 0 && i < m->world; i++)
        rc = spawn_rank(m, i, port, &ranks[i], err);
    if (rc < 0) /* those that began will not find the others */
        for (int i = 0; i < m->world; i++)
            if (ranks[i].out >= 0)
                kill(ranks[i].pid, SIGKILL);
    int waited = watch(m, ranks, said, rc < 0 ? NULL : err);
    if (rc == 0)
        rc = waited;
    if (rc == 0)
        rc = read_result(m, said, err);
    (void)unlink(m->secret);
    (void)unlink(m->result);
    return rc;
}

static void *thread(void *arg)
{
    struct measure *m = arg;

    (void)run(m, &m->err);
    atomic_store(&m->over, true);
    return NULL;
}

int measure_start(const struct settings *set, const struct node_plan *plan, struct measure **ret,
                  struct bt_err *err)
{
    struct measure *m;
    int rc;

    if (plan->accelerators < 2)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "one accelerator has nobody to talk to");
    m = bt_new(struct measure);
    meet_program(set->libexec_dir ? set->libexec_dir : "", "beamtime-coll", m->program,
                 sizeof m->program);
    m->dir = bt_printf("%s/measure", set->state_dir);
    m->secret = bt_printf("%s/secret", m->dir);
    m->result = bt_printf("%s/result.json", m->dir);
    m->bytes = set->measure_bytes;
    m->world = BT_MIN(plan->accelerators, MEASURE_RANKS);
    rc = bt_mkdirs(m->dir, 0700, err);
    if (rc == 0 && pthread_create(&m->thread, NULL, thread, m) != 0)
        rc = bt_fail(err, BT_ERR_IO, "cannot start a thread");
    if (rc < 0)
        measure_free(m);
    else
        *ret = m;
    return rc;
}

bool measure_over(const struct measure *m)
{
    return atomic_load(&m->over);
}

int measure_end(struct measure *m, int64_t *ret_mbs, struct bt_err *err)
{
    int rc;

    pthread_join(m->thread, NULL);
    rc = -m->err.code;
    if (rc < 0 && err)
        *err = m->err;
    if (rc == 0)
        *ret_mbs = m->mbs;
    measure_free(m);
    return rc;
}
