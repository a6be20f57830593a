/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/measure.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/meet.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "lib/json/json.h"

enum { RESULT_BYTES = 1 << 20, SAID = 400, STOP_LOOK_MS = 200 };

struct measure {
    char program[1100];
    char *dir, *secret, *result;
    int64_t bytes, deadline_us; /* of the whole run */
    int world, first, n;        /* ranks [first, first + n) run here */
    bool trial;
    char address[160];
    pthread_t thread;
    atomic_bool over, stopped;
    struct bt_err err; /* the thread's, until it is over */
    int64_t mbs;
    struct bt_buf links;
};

static void measure_free(struct measure *m)
{
    bt_free(m->dir);
    bt_free(m->secret);
    bt_free(m->result);
    bt_buf_done(&m->links);
    bt_free(m);
}

/* ---- the ranks ---- */

struct rank_run {
    pid_t pid;
    int out; /* closes when it has ended; -1: it has */
};

/* Nothing of the agent's own environment. */
static char **environ_of(const struct measure *m, int rank)
{
    char **e = bt_new_n(char *, 10);
    int n = 0;

    e[n++] = bt_strdup("PATH=/usr/local/bin:/usr/bin:/bin");
    e[n++] = bt_strdup("LANG=C.UTF-8");
    e[n++] = bt_strdup("OMP_NUM_THREADS=1");
    e[n++] = bt_printf("HOME=%s", m->dir);
    e[n++] = bt_printf("BEAM_RANK=%d", rank);
    e[n++] = bt_printf("BEAM_LOCAL_RANK=%d", rank - m->first);
    e[n++] = bt_printf("BEAM_WORLD_SIZE=%d", m->world);
    e[n++] = bt_printf("BEAM_RENDEZVOUS=%s", m->address);
    e[n++] = bt_printf("BEAM_SECRET_FILE=%s", m->secret);
    return e;
}

/* A rank goes with the agent, however that ends: nobody would hear it, and its
 * node is taken for idle. It is tied to the thread that waits for it, which
 * outlives it. */
static void BT_NORETURN become_rank(const struct measure *m, char **argv, char **env, int out,
                                    pid_t agent)
{
    sigset_t none;
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGCHLD, SIG_DFL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != agent || setpgid(0, 0) < 0)
        _exit(126); /* a group of its own: it is ended whole */
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    execve(m->program, argv, env);
    _exit(127);
}

static int spawn_rank(const struct measure *m, int rank, struct rank_run *ret, struct bt_err *err)
{
    char bytes[24];
    char *argv[] = {(char[]){"beamtime-coll"},
                    m->trial ? (char[]){"links"} : (char[]){"all_reduce"},
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
    char **env = environ_of(m, rank);
    pid_t agent = getpid();
    int pipes[2], rc = 0;

    (void)snprintf(bytes, sizeof bytes, "%lld", (long long)m->bytes);
    if (access(m->program, X_OK) < 0 || pipe2(pipes, O_CLOEXEC) < 0) {
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot start %s", m->program);
    } else {
        ret->pid = fork();
        if (ret->pid == 0)
            become_rank(m, argv, env, pipes[1], agent);
        close(pipes[1]);
        ret->out = pipes[0];
        if (ret->pid < 0) {
            rc = bt_fail_errno(err, BT_ERR_IO, "cannot start %s", m->program);
            close(pipes[0]);
            ret->out = -1;
        } else {
            (void)setpgid(ret->pid, ret->pid); /* whoever of the two is first */
        }
    }
    for (char **e = env; *e; e++)
        bt_free(*e);
    bt_free(env);
    return rc;
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
    bool late = false, stopped = false;

    for (;;) {
        struct pollfd p[MEASURE_RANKS];
        int n = 0, left_ms = (int)((m->deadline_us - bt_mono_us()) / 1000);

        for (int i = 0; i < m->n; i++) {
            p[i] = (struct pollfd){.fd = ranks[i].out, .events = POLLIN};
            n += ranks[i].out >= 0;
        }
        if (!n)
            return late ? bt_fail(err, BT_ERR_TIMEOUT, "it did not end in time") : 0;
        stopped = atomic_load(&m->stopped);
        late |= !stopped && left_ms <= 0;
        if (late || stopped)
            for (int i = 0; i < m->n; i++)
                if (ranks[i].out >= 0)
                    kill(-ranks[i].pid, SIGKILL);
        (void)poll(p, (nfds_t)m->n, late || stopped ? -1 : BT_MIN(left_ms, STOP_LOOK_MS));
        for (int i = 0; i < m->n; i++)
            if (p[i].fd >= 0 && p[i].revents)
                hear(&ranks[i], said);
    }
}

/* What beamtime-coll says in -J of a run that failed. */
static int read_failure(const struct json *j, struct bt_err *err)
{
    const char *name = json_str(json_get(j, "error"), "");
    enum bt_errno code = bt_streq(name, bt_err_name(BT_ERR_RANK_LOST)) ? BT_ERR_RANK_LOST
                         : bt_streq(name, bt_err_name(BT_ERR_TIMEOUT)) ? BT_ERR_TIMEOUT
                                                                       : BT_ERR_IO;

    return bt_fail(err, code, "%.160s", json_str(json_get(j, "text"), "it failed"));
}

static int read_links(struct measure *m, const struct json *links, struct bt_err *err)
{
    struct json_writer w = {.to = &m->links};
    size_t n = json_len(links);

    if (!n)
        return bt_fail(err, BT_ERR_IO, "the benchmark told of no link");
    jw_array(&w, NULL);
    for (size_t i = 0; i < n; i++) {
        const struct json *l = json_at(links, i);

        jw_object(&w, NULL);
        jw_i64(&w, "busbw_mb_per_s", (int64_t)(json_f64(json_get(l, "bus_bw"), 0) * 1e3 + 0.5));
        jw_i64(&w, "wrong", BT_MAX(json_i64(json_get(l, "nwrong"), 0), 0));
        jw_end_object(&w);
    }
    jw_end_array(&w);
    return 0;
}

static int read_result(struct measure *m, const char *said, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *j = NULL;
    struct bt_err why = {0};
    int rc = bt_file_read(m->result, RESULT_BYTES, &text, &why);

    if (rc == 0)
        rc = json_parse(text.p, text.n, RESULT_BYTES, &j, &why);
    if (rc == -BT_ERR_NOT_FOUND && !*said) /* it was killed */
        return bt_fail(err, BT_ERR_IO, "%s", "");
    if (rc < 0)
        return bt_fail(err, BT_ERR_IO, "the benchmark left no result: %s", *said ? said : why.text);
    if (json_str(json_get(j, "error"), NULL))
        return read_failure(j, err);
    if (m->trial)
        return read_links(m, json_get(j, "links"), err);
    if (json_i64(json_get(j, "errors"), 1))
        return bt_fail(err, BT_ERR_IO, "the benchmark failed: %s", *said ? said : "wrong values");
    m->mbs = (int64_t)(json_f64(json_get(j, "average_bus_bandwidth"), 0) * 1e3 + 0.5);
    return 0;
}

/* Where the ranks of one node meet. */
static int meet_here(struct measure *m, struct bt_err *err)
{
    int port = meet_port(err);

    if (port < 0)
        return port;
    (void)snprintf(m->address, sizeof m->address, "127.0.0.1:%d", port);
    return meet_secret(m->secret, err);
}

static int run(struct measure *m, struct bt_err *err)
{
    struct rank_run ranks[MEASURE_RANKS];
    char said[SAID] = "";
    int rc = m->trial ? 0 : meet_here(m, err);

    for (int i = 0; i < MEASURE_RANKS; i++)
        ranks[i] = (struct rank_run){.out = -1};
    (void)unlink(m->result);
    for (int i = 0; rc == 0 && i < m->n; i++)
        rc = spawn_rank(m, m->first + i, &ranks[i], err);
    if (rc < 0) /* those that began will not find the others */
        for (int i = 0; i < m->n; i++)
            if (ranks[i].out >= 0)
                kill(-ranks[i].pid, SIGKILL);
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

static struct measure *measure_new(const struct settings *set)
{
    struct measure *m = bt_new(struct measure);

    meet_program(set->libexec_dir ? set->libexec_dir : "", "beamtime-coll", m->program,
                 sizeof m->program);
    m->dir = bt_printf("%s/measure", set->state_dir);
    m->secret = bt_printf("%s/secret", m->dir);
    m->result = bt_printf("%s/result.json", m->dir);
    m->bytes = set->measure_bytes;
    m->deadline_us = bt_mono_us() + MEASURE_DEADLINE_S * BT_US_PER_S;
    return m;
}

/* Takes m over. */
static int begin(struct measure *m, const char *secret, struct measure **ret, struct bt_err *err)
{
    int rc = bt_mkdirs(m->dir, 0700, err);

    (void)unlink(m->secret);
    if (rc == 0 && secret)
        rc = bt_file_write(m->secret, 0600, secret, strlen(secret), err);
    if (rc == 0 && pthread_create(&m->thread, NULL, thread, m) != 0)
        rc = bt_fail(err, BT_ERR_IO, "cannot start a thread");
    if (rc < 0)
        measure_free(m);
    else
        *ret = m;
    return rc;
}

int measure_start(const struct settings *set, const struct node_plan *plan, struct measure **ret,
                  struct bt_err *err)
{
    struct measure *m;

    if (plan->accelerators < 2)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "one accelerator has nobody to talk to");
    m = measure_new(set);
    m->world = m->n = BT_MIN(plan->accelerators, MEASURE_RANKS);
    return begin(m, NULL, ret, err);
}

/* ---- trials ---- */

int measure_invite(const struct settings *set, struct trial_part *part, struct bt_err *err)
{
    uint8_t random[32];
    char host[128];
    const char *facility = set->relay && *set->relay ? set->relay : set->url;
    int rc = set->address && *set->address ? (bt_copy(host, sizeof host, set->address) ? 0 : -1)
                                           : meet_address(facility, host, sizeof host, err);
    int port = rc < 0 ? rc : meet_port(err);

    if (port < 0)
        return port;
    (void)snprintf(part->address, sizeof part->address, strchr(host, ':') ? "[%s]:%d" : "%s:%d",
                   host, port);
    bt_random(random, sizeof random);
    bt_hex(random, sizeof random, part->secret);
    bt_wipe(random, sizeof random);
    return 0;
}

int measure_join(const struct settings *set, const struct trial_part *part, struct measure **ret,
                 struct bt_err *err)
{
    struct measure *m = measure_new(set);

    m->trial = true;
    m->world = part->world;
    m->first = part->rank;
    m->n = 1;
    m->deadline_us = bt_mono_us() + part->deadline_s * BT_US_PER_S;
    bt_copy(m->address, sizeof m->address, part->address);
    return begin(m, part->secret, ret, err);
}

void measure_stop(struct measure *m)
{
    atomic_store(&m->stopped, true);
}

bool measure_over(const struct measure *m)
{
    return atomic_load(&m->over);
}

int measure_end(struct measure *m, int64_t *ret_mbs, struct bt_buf *ret_links, struct bt_err *err)
{
    int rc;

    pthread_join(m->thread, NULL);
    rc = -m->err.code;
    if (rc < 0 && err)
        *err = m->err;
    if (rc == 0)
        *ret_mbs = m->mbs;
    if (rc == 0 && ret_links)
        bt_buf_add(ret_links, bt_buf_text(&m->links), m->links.n);
    measure_free(m);
    return rc;
}
