/* bench_start - how long until a facility answers, and what it holds in memory.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cold: no data directory → first 201. warm: a clean stop, then start → serving. crash: kill −9
 * of the daemon and of PostgreSQL, then start → serving. All with --jobs jobs in the database but
 * cold, a day's work: 1 % of the jobs wait, the others have ended within the day, so that the
 * core still knows their ids. rss_waiting_mb is the heaviest case: all of them wait, and the
 * planner holds them too. */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/base/uuid.h"
#include "tests/bench/load.h"
#include "tests/bench/rig.h"

enum { PERSONS = 16, PROJECTS = 4, CONNECTIONS = 64, AGENT_IDLE_S = 12 };

enum { WAITING_PERCENT = 1, SLICE_S = 10 };

struct bench {
    struct rig rig;
    int64_t wanted, asked, done;
    struct bt_uuid *id; /* of the jobs that were accepted */
    int64_t n_id, cap_id;
    int64_t to_cancel, next_cancel, cancelled;
    struct bt_uuid in_flight[CONNECTIONS];
};

static void identity(void *arg, int i, char *cert, char *key, size_t size)
{
    struct bench *b = arg;

    snprintf(cert, size, "%s/u%d.pem", b->rig.ids, i % PERSONS);
    snprintf(key, size, "%s/u%d.key", b->rig.ids, i % PERSONS);
}

static void request(void *arg, int i, struct bt_buf *to)
{
    struct bench *b = arg;
    char id[BT_UUID_TEXT];
    char body[512];
    int n;

    if (b->asked == b->wanted)
        return;
    b->asked++;
    b->in_flight[i] = bt_uuid_new(bt_now_us());
    n = snprintf(
        body, sizeof body,
        "{\"id\":\"%s\",\"name\":\"start-%d\",\"project\":\"p%d\",\"kind\":\"command\","
        "\"code\":{\"argv\":[\"/bin/true\"]},\"accelerators\":{\"count\":%d,\"class\":\"cpu\"},"
        "\"walltime_s\":%d}",
        bt_uuid_format(b->in_flight[i], id), i, i % PERSONS % PROJECTS, 1 + i % 8,
        60 + 60 * (i % 16));
    bt_buf_printf(to, "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s",
                  n, body);
}

static void answer(void *arg, const struct load_answer *a)
{
    struct bench *b = arg;

    if (a->status != 201)
        rig_die("status %d: %.*s", a->status, (int)a->n, a->body);
    b->done++;
    BT_GROW(b->id, b->n_id, b->cap_id);
    b->id[b->n_id++] = b->in_flight[a->connection];
}

/* Any member of the council may end any job. */
static void council(void *arg, int i, char *cert, char *key, size_t size)
{
    struct bench *b = arg;

    (void)i;
    snprintf(cert, size, "%s/council.pem", b->rig.ids);
    snprintf(key, size, "%s/council.key", b->rig.ids);
}

static void cancel(void *arg, int i, struct bt_buf *to)
{
    struct bench *b = arg;
    char id[BT_UUID_TEXT];

    (void)i;
    if (b->next_cancel == b->to_cancel)
        return;
    bt_buf_printf(
        to, "POST /v1/jobs/%s/cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
        bt_uuid_format(b->id[b->next_cancel++], id));
}

static void cancelled(void *arg, const struct load_answer *a)
{
    struct bench *b = arg;

    if (a->status != 200)
        rig_die("status %d: %.*s", a->status, (int)a->n, a->body);
    b->cancelled++;
}

/* Ends jobs until WAITING_PERCENT are left. */
static void end_jobs(struct bench *b)
{
    BT_AUTO char *ca = bt_printf("%s/pki/root.pem", b->rig.dir);
    struct load load = {.host = "127.0.0.1",
                        .port = b->rig.people,
                        .ca_file = ca,
                        .connections = CONNECTIONS,
                        .at_once = true,
                        .identity = council,
                        .request = cancel,
                        .answer = cancelled,
                        .arg = b};
    struct load_result got;

    b->to_cancel = b->n_id * (100 - WAITING_PERCENT) / 100;
    while (b->next_cancel < b->to_cancel) {
        fprintf(stderr, "%lld jobs have ended\n", (long long)b->cancelled);
        load_run(&load, SLICE_S, &got);
    }
}

static void submit_jobs(struct bench *b)
{
    BT_AUTO char *ca = bt_printf("%s/pki/root.pem", b->rig.dir);
    struct load load = {.host = "127.0.0.1",
                        .port = b->rig.people,
                        .ca_file = ca,
                        .connections = CONNECTIONS,
                        .at_once = true,
                        .identity = identity,
                        .request = request,
                        .answer = answer,
                        .arg = b};
    struct load_result got;

    while (b->done < b->wanted) {
        fprintf(stderr, "%lld of %lld jobs\n", (long long)b->done, (long long)b->wanted);
        load_run(&load, SLICE_S, &got);
    }
}

/* The postmaster's process id, from its own lock file. */
static pid_t postmaster(struct rig *r)
{
    BT_AUTO char *path = bt_printf("%s/pg/postmaster.pid", r->dir);
    long pid = 0;
    FILE *f = fopen(path, "re");

    if (!f || fscanf(f, "%ld", &pid) != 1)
        rig_die("cannot read %s", path);
    fclose(f);
    return (pid_t)pid;
}

/* Every process of the session of `leader`, at once. */
static void kill_session(pid_t leader)
{
    DIR *proc = opendir("/proc");
    struct dirent *d;

    while (proc && (d = readdir(proc))) {
        pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);

        if (pid > 0 && getsid(pid) == leader)
            kill(pid, SIGKILL);
    }
    closedir(proc);
}

struct agent {
    int64_t anon_kb;
    double cpu_percent;
};

static pid_t start_agent(struct rig *r, const char *bench_dir, const char *dir)
{
    BT_AUTO char *exe = bt_printf("%s/../../agent/beamtime-agent", bench_dir);
    BT_AUTO char *url = bt_printf("https://127.0.0.1:%d", r->agents);
    BT_AUTO char *people = bt_printf("https://127.0.0.1:%d", r->people);
    BT_AUTO char *ca = bt_printf("%s/pki/root.pem", r->dir);
    BT_AUTO char *token = bt_printf("%s/agent.token", r->dir);
    pid_t pid = fork();

    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 2);
        dup2(null, 1);
        if (fork() == 0) {
            execl(exe, exe, "enrol", "--state-dir", dir, "--enrol-url", people, "--url", url,
                  "--ca-file", ca, "--token-file", token, (char *)NULL);
            _exit(127);
        }
        if (wait(&null) < 0 || null != 0)
            _exit(126);
        execl(exe, exe, "--state-dir", dir, "--url", url, "--enrol-url", people, "--ca-file", ca,
              (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* An agent that has registered and has nothing to do. */
static struct agent measure_agent(struct rig *r)
{
    BT_AUTO char *dir = bt_printf("%s/agent", r->ids);
    struct agent a = {0};
    struct timespec nap = {.tv_sec = AGENT_IDLE_S};
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 32);
    int64_t cpu;
    pid_t pid;

    exe[n > 0 ? n : 0] = '\0';
    *strrchr(exe, '/') = '\0';
    pid = start_agent(r, exe, dir);
    nanosleep(&(struct timespec){.tv_sec = 4}, NULL); /* measuring idleness takes time */
    cpu = rig_cpu_us(pid);
    nanosleep(&nap, NULL);
    a.cpu_percent = (double)(rig_cpu_us(pid) - cpu) / (AGENT_IDLE_S * 1e6) * 100;
    a.anon_kb = rig_rss_kb(pid, "RssAnon");
    if (a.anon_kb < 0)
        rig_die("the agent did not stay");
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    return a;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"jobs", required_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    struct bench b = {.wanted = 100000};
    struct agent agent;
    int64_t began;
    int64_t cold_ms;
    int64_t warm_ms;
    int64_t crash_ms;
    double empty_mb;
    double full_mb;
    double waiting_mb;
    pid_t pg;
    int o;

    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (o != 'j')
            return 2;
        b.wanted = strtoll(optarg, NULL, 10);
    }
    began = bt_mono_us();
    rig_start(&b.rig);
    empty_mb = (double)rig_rss_kb(b.rig.pid, "VmRSS") / 1024;
    rig_people(&b.rig, 1, 1);
    cold_ms = (bt_mono_us() - began) / 1000; /* the council's first writes are answered */
    agent = measure_agent(&b.rig);
    net_client_free(b.rig.council);
    rig_kill(&b.rig, SIGTERM);
    rig_restart(&b.rig);
    b.rig.council = rig_client(&b.rig, "council", b.rig.people);
    rig_more_people(&b.rig, 1, PERSONS, PROJECTS);
    rig_node(&b.rig, "big", 64);
    submit_jobs(&b);
    waiting_mb = (double)rig_rss_kb(b.rig.pid, "VmRSS") / 1024;
    end_jobs(&b);
    rig_kill(&b.rig, SIGTERM);
    warm_ms = rig_restart(&b.rig);
    nanosleep(&(struct timespec){.tv_sec = 3}, NULL); /* plans have run, caches are warm */
    full_mb = (double)rig_rss_kb(b.rig.pid, "VmRSS") / 1024;
    fprintf(stderr, "kill -9 of daemon and PostgreSQL\n");
    pg = postmaster(&b.rig);
    kill(b.rig.pid, SIGSTOP); /* so that it cannot tell PostgreSQL to stop */
    kill_session(pg);
    rig_kill(&b.rig, SIGKILL);
    crash_ms = rig_restart(&b.rig);
    printf("{\"bench\":\"start\",\"jobs\":%lld,\"cold_ms\":%lld,\"warm_ms\":%lld,\"crash_ms\":%lld,"
           "\"rss_empty_mb\":%.1f,\"rss_mb\":%.1f,\"rss_waiting_mb\":%.1f,"
           "\"agent_anon_mb\":%.2f,\"agent_cpu_percent\":%.3f}\n",
           (long long)b.done, (long long)cold_ms, (long long)warm_ms, (long long)crash_ms, empty_mb,
           full_mb, waiting_mb, (double)agent.anon_kb / 1024, agent.cpu_percent);
    bt_free(b.id);
    rig_stop(&b.rig);
    return 0;
}
