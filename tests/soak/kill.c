/* kill.c - bt-kill: a facility under load, of which something is killed −9 every round; afterwards
 * the invariants I1–I6 must hold (I7). SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The seed gives what is killed, when, and what the clients ask; how the processes interleave is
 * the machine's. A round: load for a random time, the kill, a supervisor's restart, a durable
 * write (its time counts), the checker, a job that must run. */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/bench/load.h"
#include "tests/checker/checker.h"
#include "tests/soak/soak.h"

enum {
    CLIENTS = 4,
    ACCELERATORS = 8,
    SLOW_EVERY = 4, /* rounds between looks at the ledger's files */
    JOB_S = 120,    /* a job that waits longer will never run */
    LOOK_S = 30,
    START_MS = 120000, /* a start that takes longer hangs */
};

enum kind {
    DAEMON,
    STARTING,
    STARTING_DATABASE,
    AGENT,
    BACKEND,
    POSTMASTER,
    SHEPHERD,
    ALL,
    N_KINDS
};

static const char *const kind_names[N_KINDS] = {"daemon",
                                                "daemon_while_starting",
                                                "postmaster_while_starting",
                                                "agent",
                                                "backend",
                                                "postmaster",
                                                "shepherd",
                                                "all"};

struct programme {
    int rounds;
    double seconds;
    uint64_t first_seed, seed;
    uint64_t picks; /* a seed of its own: how many processes there are may not move the others */
    struct site site;
    struct findings found;
    struct clients clients;
    struct client *own; /* the main thread's */
    const char *only;   /* a kind's name, to look closer; NULL: all */
    enum kind bag[N_KINDS];
    int in_bag;
    int64_t *restart_ms;
    int64_t n_restart, cap_restart;
    int64_t lost;
    int kills[N_KINDS];
    char *acks;
    bool over;
};

static struct programme *current; /* ended when the programme dies */

uint64_t soak_random(uint64_t *seed, uint64_t n)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

void soak_found(struct findings *f, const char *invariant, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&f->lock);
    f->n++;
    fprintf(stderr, "violation of %s: %s\n", invariant, text);
    pthread_mutex_unlock(&f->lock);
}

static void at_exit(void)
{
    if (!current || current->over)
        return;
    site_abandon(&current->site);
    fprintf(stderr, "again: bt-kill --rounds %d --seed %llu\n", current->rounds,
            (unsigned long long)current->first_seed);
}

/* ---- looking ---- */

static void tell(void *arg, const char *invariant, const char *what)
{
    struct programme *p = arg;

    p->lost += strstr(what, "was acknowledged and is not there") != NULL;
    soak_found(&p->found, invariant, "%s", what);
}

/* A look is cut when the database falls over under it: a durable write says that it is back, if it
 * is not one of the last ones by a backend that outlives its postmaster. */
static void check(struct programme *p, bool slow)
{
    BT_AUTO char *conninfo = site_conninfo(&p->site);
    BT_AUTO char *ledger = bt_printf("%s/ledger", p->site.rig.dir);
    BT_AUTO char *vkey = bt_printf("%s/pki/log.vkey", p->site.rig.dir);
    struct checker_settings s = {.conninfo = conninfo, .acks = p->acks};
    struct bt_err err = {0};
    struct bt_uuid id;
    int64_t until = bt_mono_us() + LOOK_S * BT_US_PER_S;
    int rc;

    if (slow) {
        s.ledger = ledger;
        s.vkey = vkey;
    }
    do
        rc = checker_run(&s, tell, p, NULL, &err);
    while (rc < 0 && bt_mono_us() < until && client_submit(p->own, SORT_TRUE, &id) == 0);
    if (rc < 0)
        soak_found(&p->found, "service", "the checker cannot look: %s", err.text);
}

/* The attempt of a job whose shepherd was killed while its rank ran. */
static void check_lost(struct programme *p, const char *id)
{
    BT_AUTO char *sql =
        bt_printf("SELECT string_agg(format('%%s %%s %%s', n, state, reason), ', ') "
                  "FROM attempt WHERE job = '%s'",
                  id);
    BT_AUTO char *attempts = site_ask(&p->site, sql);

    if (!bt_streq(attempts, "1 ended lost"))
        soak_found(&p->found, "I4", "job %s was killed with its shepherd: attempts %s", id,
                   attempts);
}

static void reap(struct programme *p)
{
    if (p->site.rig.pid > 0 && waitpid(p->site.rig.pid, NULL, WNOHANG) == p->site.rig.pid) {
        soak_found(&p->found, "service", "the daemon ended by itself, see %s.log", p->site.rig.dir);
        rig_restart(&p->site.rig);
    }
    if (waitpid(p->site.agent, NULL, WNOHANG) == p->site.agent) {
        soak_found(&p->found, "service", "the agent ended by itself, see %s/agent.log",
                   p->site.rig.ids);
        site_agent(&p->site);
    }
}

/* ---- killing ---- */

static void kill_agent(struct programme *p)
{
    kill(p->site.agent, SIGKILL);
    waitpid(p->site.agent, NULL, 0);
}

static void kill_postmaster(struct programme *p)
{
    pid_t pid = site_postmaster(&p->site);

    if (pid > 0)
        site_kill(pid);
}

static void kill_backend(struct programme *p)
{
    pid_t pid = site_pick(&p->picks, site_postmaster(&p->site), NULL);

    if (pid > 0)
        site_kill(pid);
}

/* Some shepherd at any moment of its life. */
static void kill_some_shepherd(struct programme *p)
{
    BT_AUTO char *needle = site_shepherds(&p->site, "");
    pid_t pid = site_pick(&p->picks, 0, needle);

    if (pid > 0)
        site_kill(pid);
}

/* The shepherd of a running job: the job must fail as lost, once. */
static void kill_a_shepherd_at_work(struct programme *p)
{
    struct bt_uuid id;
    char text[BT_UUID_TEXT];
    char state[16];
    BT_AUTO char *needle = NULL;
    pid_t pid;

    if (client_submit(p->own, SORT_LONG, &id) < 0)
        return;
    needle = site_shepherds(&p->site, bt_uuid_format(id, text));
    if (!client_wait(p->own, id, "running", JOB_S, state) || !bt_streq(state, "running")) {
        soak_found(&p->found, "service", "job %s does not run but is %s", text, state);
        return;
    }
    pid = site_pick(&p->picks, 0, needle);
    if (pid <= 0) {
        soak_found(&p->found, "I7", "job %s runs without a shepherd", text);
        return;
    }
    site_kill(pid);
    if (!client_wait(p->own, id, "failed", JOB_S, state) || !bt_streq(state, "failed"))
        soak_found(&p->found, "I7", "job %s lost its shepherd and is %s", text, state);
    else
        check_lost(p, text);
}

static void nap_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int64_t some_ms(struct programme *p)
{
    return (int64_t)soak_random(&p->seed, 400);
}

/* Starts the daemon as a supervisor does: again, if the database was killed under its start. */
static void start_daemon(struct programme *p, bool may_end)
{
    int rc = 0;

    for (int i = 0; rc == 0 && i <= may_end; i++) {
        if (p->site.rig.pid == 0)
            rig_spawn(&p->site.rig);
        rc = rig_await(&p->site.rig, START_MS);
    }
    if (rc != 1)
        rig_die("the daemon %s, see %s.log", rc ? "hangs while it starts" : "does not start",
                p->site.rig.dir);
}

static void kill_starting(struct programme *p, bool database)
{
    rig_kill(&p->site.rig, SIGKILL);
    rig_spawn(&p->site.rig);
    nap_ms(some_ms(p));
    if (database)
        kill_postmaster(p);
    else
        rig_kill(&p->site.rig, SIGKILL);
    start_daemon(p, database);
}

static void kill_all(struct programme *p)
{
    kill(p->site.agent, SIGKILL);
    kill(p->site.rig.pid, SIGSTOP); /* so that it cannot tell PostgreSQL to stop */
    if (soak_random(&p->seed, 2))
        site_kill_shepherds(&p->site);
    else
        kill_some_shepherd(p);
    kill_postmaster(p);
    kill_agent(p);
    rig_kill(&p->site.rig, SIGKILL);
    start_daemon(p, false);
    site_agent(&p->site);
}

static void kill_and_restart(struct programme *p, enum kind kind)
{
    switch (kind) {
    case STARTING:
    case STARTING_DATABASE:
        kill_starting(p, kind == STARTING_DATABASE);
        break;
    case DAEMON:
        rig_kill(&p->site.rig, SIGKILL);
        start_daemon(p, false);
        break;
    case AGENT:
        kill_agent(p);
        site_agent(&p->site);
        if (soak_random(&p->seed, 2)) {
            nap_ms(some_ms(p));
            kill_agent(p);
            site_agent(&p->site);
        }
        break;
    case BACKEND:
        kill_backend(p);
        break;
    case POSTMASTER:
        kill_postmaster(p);
        break;
    case SHEPHERD:
        if (soak_random(&p->seed, 2))
            kill_some_shepherd(p);
        else
            kill_a_shepherd_at_work(p);
        break;
    default:
        kill_all(p);
    }
}

/* Each kind once before any comes again. */
static enum kind next_kind(struct programme *p)
{
    enum kind k;
    int i;

    for (i = 0; p->only && i < N_KINDS; i++)
        if (bt_streq(p->only, kind_names[i]))
            return (enum kind)i;
    if (p->in_bag == 0)
        for (; p->in_bag < N_KINDS; p->in_bag++)
            p->bag[p->in_bag] = (enum kind)p->in_bag;
    i = (int)soak_random(&p->seed, (uint64_t)p->in_bag);
    k = p->bag[i];
    p->bag[i] = p->bag[--p->in_bag];
    return k;
}

static void round_of(struct programme *p, int n)
{
    enum kind kind = next_kind(p);
    int64_t wait_ms = 20 + (int64_t)soak_random(&p->seed, (uint64_t)(p->seconds * 1000));
    struct bt_uuid id;
    char text[BT_UUID_TEXT];
    char state[16];
    int64_t began;
    int64_t ms;

    nap_ms(wait_ms);
    reap(p);
    p->kills[kind]++;
    began = bt_mono_us();
    kill_and_restart(p, kind);
    if (client_submit(p->own, SORT_TRUE, &id) < 0)
        return;
    ms = (bt_mono_us() - began) / 1000;
    if (kind != AGENT && kind != SHEPHERD) {
        BT_GROW(p->restart_ms, p->n_restart, p->cap_restart);
        p->restart_ms[p->n_restart++] = ms;
    }
    check(p, n % SLOW_EVERY == SLOW_EVERY - 1);
    if (!client_wait(p->own, id, "completed", JOB_S, state) || !bt_streq(state, "completed"))
        soak_found(&p->found, "service", "after the kill job %s is %s", bt_uuid_format(id, text),
                   state);
    fprintf(stderr,
            "round %d: %s after %lld ms, written again after %lld ms, %lld acknowledged, %d "
            "violations\n",
            n + 1, kind_names[kind], (long long)wait_ms, (long long)ms,
            (long long)p->clients.totals.acked, p->found.n);
}

/* ---- the end ---- */

static void settle(struct programme *p)
{
    char *id;
    char state[16];
    bool ok = true;

    while (ok &&
           (id = site_ask(&p->site,
                          "SELECT id FROM job WHERE record_idx IS NULL ORDER BY id LIMIT 1"))) {
        struct bt_uuid job;

        ok = bt_uuid_parse(id, &job) == 0 && client_wait(p->own, job, "completed", JOB_S, state);
        if (!ok)
            soak_found(&p->found, "I4", "job %s is %s and does not end", id, state);
        bt_free(id);
    }
}

/* What ran undisturbed ended as its command does. */
static void check_outcomes(struct programme *p)
{
    static const char sql[] =
        "SELECT format('%s, %s, %s', id, name, state) FROM job WHERE state <> 'cancelled' AND "
        "state <> CASE WHEN name LIKE 'false-%' OR name LIKE 'long-%' THEN 'failed' "
        "ELSE 'completed' END AND NOT EXISTS (SELECT FROM attempt WHERE job = id AND "
        "attempt.reason = 'lost') LIMIT 1";
    BT_AUTO char *wrong = site_ask(&p->site, sql);

    if (wrong)
        soak_found(&p->found, "I1", "a job ended otherwise than its command: %s", wrong);
}

static void report(struct programme *p)
{
    struct load_totals *t = &p->clients.totals;
    int64_t p50 = load_percentile(p->restart_ms, p->n_restart, 50);
    int64_t max = load_percentile(p->restart_ms, p->n_restart, 100);

    printf("{\"soak\":\"kill\",\"rounds\":%d,\"seed\":%llu,\"kills\":{", p->rounds,
           (unsigned long long)p->first_seed);
    for (int k = 0; k < N_KINDS; k++)
        printf("%s\"%s\":%d", k ? "," : "", kind_names[k], p->kills[k]);
    printf("},\"acked\":%lld,\"cancelled\":%lld,\"queried\":%lld,\"repeated\":%lld,\"unknown\":%"
           "lld,\"lost\":%lld,\"violations\":%d,\"restart_ms_p50\":%lld,\"restart_ms_max\":%lld}\n",
           (long long)t->acked, (long long)t->cancels, (long long)t->queries,
           (long long)t->repeated, (long long)t->unknown, (long long)p->lost, p->found.n,
           (long long)p50, (long long)max);
}

static void soak(struct programme *p)
{
    site_start(&p->site, ACCELERATORS, CLIENTS + 1);
    p->acks = bt_printf("%s/acks", p->site.rig.ids);
    p->clients = (struct clients){.site = &p->site,
                                  .found = &p->found,
                                  .acks = fopen(p->acks, "we"),
                                  .acks_lock = PTHREAD_MUTEX_INITIALIZER,
                                  .n = CLIENTS,
                                  .seed = p->seed};
    if (!p->clients.acks)
        rig_die("cannot write %s", p->acks);
    p->own = client_new(&p->clients, 0);
    clients_start(&p->clients);
    for (int i = 0; i < p->rounds && p->found.n == 0; i++)
        round_of(p, i);
    clients_stop(&p->clients);
    settle(p);
    check_outcomes(p);
    if (!site_published(&p->site))
        soak_found(&p->found, "I5", "the ledger is not published to its end");
    check(p, true);
    if (site_verify(&p->site) != 0)
        soak_found(&p->found, "I5", "the public ledger does not verify");
    reap(p);
    client_free(p->own);
    fclose(p->clients.acks);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"rounds", required_argument, NULL, 'r'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"seconds-per-round", required_argument, NULL, 'x'},
                                            {"only", required_argument, NULL, 'o'},
                                            {NULL, 0, NULL, 0}};
    static struct programme p = {/* until the end of the process: at_exit looks at it */
                                 .rounds = 10,
                                 .seconds = 1,
                                 .seed = 1,
                                 .found.lock = PTHREAD_MUTEX_INITIALIZER};
    int status;
    int o;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (o == 'r')
            p.rounds = (int)strtol(optarg, NULL, 10);
        else if (o == 's')
            p.seed = strtoull(optarg, NULL, 10);
        else if (o == 'x')
            p.seconds = strtod(optarg, NULL);
        else if (o == 'o')
            p.only = optarg;
        else
            return 2;
    }
    if (optind < argc || p.rounds < 1 || p.seconds < 0.01) {
        fputs("usage: bt-kill [--rounds N] [--seed S] [--seconds-per-round X] [--only KIND]\n",
              stderr);
        return 2;
    }
    p.first_seed = p.seed;
    p.picks = ~p.seed;
    current = &p;
    atexit(at_exit);
    soak(&p);
    report(&p);
    status = p.found.n > 0;
    if (!status && !getenv("BT_KEEP")) {
        site_stop(&p.site);
        p.over = true;
    } else {
        at_exit();
        p.over = true;
    }
    bt_free(p.restart_ms);
    bt_free(p.acks);
    return status;
}
