/* bench_broker - what the broker costs over sbatch: short jobs through a real slurmctld.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The same jobs (`sleep 1`, one accelerator of 32 each) once by sbatch, once through the whole
 * facility on the same cluster, one after the other. The broker's own CPU is that of the daemon
 * and its helper; agents and shepherds are the site's. Every job must have run once. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/base/uuid.h"
#include "tests/bench/bed.h"

enum { NODES = 4 };

static void moment(void)
{
    const struct timespec t = {.tv_nsec = 200000000};

    nanosleep(&t, NULL);
}

/* Wall time from the first sbatch to the moment when none is left. */
static double by_sbatch(struct bed *b, int jobs)
{
    int64_t began = bt_mono_us();
    bool root = geteuid() == 0;

    if (bed_shell(b,
                  "for i in $(seq %d); do sbatch -Q %s -D / -o /dev/null --gres=gpu:1 -t 2 "
                  "--wrap 'sleep 1' || exit 1; done >/dev/null",
                  jobs, root ? "--uid=nobody" : "") != 0)
        rig_die("sbatch failed");
    while (bed_number(b, "squeue -h | wc -l") > 0)
        moment();
    return (double)(bt_mono_us() - began) / 1e6;
}

static void submit(struct net_client *c, int i)
{
    char id[BT_UUID_TEXT];

    rig_call(c, "POST", "/v1/jobs",
             "{\"id\":\"%s\",\"name\":\"broker-%d\",\"project\":\"p0\",\"kind\":\"command\","
             "\"code\":{\"argv\":[\"/bin/sleep\",\"1\"]},\"accelerators\":{\"count\":1,"
             "\"class\":\"h200\"},\"walltime_s\":60,\"purpose\":\"benchmark\",\"domains\":"
             "[\"general\"],\"data\":[\"public\"],\"params\":1000}",
             bt_uuid_format(bt_uuid_new(bt_now_us()), id), i);
}

struct result {
    double wall_s, daemon_ms, helper_ms; /* of CPU a job */
    int64_t completed, attempts;
    int64_t claim_ms, start_ms, run_ms; /* from want to claim, to the ranks' start, to their end */
    double agents_ms, postgres_ms;      /* of CPU a job: not the broker's, but beside it */
};

/* CPU of the agents, and of PostgreSQL with its children that have ended. */
static int64_t agents_us(const struct bed *b)
{
    int64_t sum = 0;

    for (int i = 0; i < b->n_nodes; i++)
        sum += rig_cpu_us(b->agents[i]);
    return sum;
}

static int64_t postgres_us(struct bed *b, struct rig *r)
{
    return 10000 * bed_number(b,
                              "cat /proc/$(head -1 %s/pg/postmaster.pid)/stat $(for p in $(pgrep "
                              "-P $(head -1 %s/pg/postmaster.pid)); do echo /proc/$p/stat; done) "
                              "2>/dev/null | sed 's/.*) //' | awk '{s += $12 + $13 + $14 + $15} "
                              "END {print s}'",
                              r->dir, r->dir);
}

static struct result through_broker(struct bed *b, struct rig *r, int jobs)
{
    struct net_client *c = rig_client(r, "u0", r->people);
    pid_t helper = (pid_t)bed_number(b, "pgrep -P %d -f beamtime-slurm", (int)r->pid);
    int64_t daemon_us = rig_cpu_us(r->pid);
    int64_t helper_us = rig_cpu_us(helper);
    int64_t agents = agents_us(b);
    int64_t postgres = postgres_us(b, r);
    struct result res = {0};

    fprintf(stderr, "brokered: daemon %d, helper %d\n", (int)r->pid, (int)helper);
    for (int i = 0; i < jobs; i++)
        submit(c, i);
    while (rig_ask(r, "SELECT count(*) FROM job WHERE record_idx IS NULL") > 0)
        moment();
    fprintf(stderr, "brokered: over\n");
    res.daemon_ms = (double)(rig_cpu_us(r->pid) - daemon_us) / 1e3 / jobs;
    res.helper_ms = (double)(rig_cpu_us(helper) - helper_us) / 1e3 / jobs;
    res.agents_ms = (double)(agents_us(b) - agents) / 1e3 / jobs;
    res.postgres_ms = (double)(postgres_us(b, r) - postgres) / 1e3 / jobs;
    res.claim_ms = rig_ask(r, "SELECT avg(claimed_us - wanted_us)::bigint / 1000 FROM attempt");
    res.start_ms = rig_ask(r, "SELECT avg(started_us - claimed_us)::bigint / 1000 FROM attempt");
    res.run_ms = rig_ask(r, "SELECT avg(ended_us - started_us)::bigint / 1000 FROM attempt");
    res.wall_s =
        (double)rig_ask(r, "SELECT max(ended_us) - (SELECT min(submit_us) FROM job) FROM attempt") /
        1e6;
    res.completed = rig_ask(r, "SELECT count(*) FROM job WHERE state = 'completed'");
    res.attempts = rig_ask(r, "SELECT count(*) FROM attempt");
    net_client_free(c);
    return res;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"jobs", 1, NULL, 'j'}, {0}};
    struct rig rig;
    struct bed bed;
    int jobs = 1000;
    int o;

    while ((o = getopt_long(argc, argv, "j:", options, NULL)) != -1) {
        if (o != 'j')
            return 2;
        jobs = (int)strtol(optarg, NULL, 10);
    }
    rig_start(&rig);
    rig_people(&rig, 1, 1);
    bed_start(&bed, rig.ids, NODES, false, "");
    double sbatch_s = by_sbatch(&bed, jobs);
    bed_join(&bed, &rig);
    struct result r = through_broker(&bed, &rig, jobs);
    fprintf(stderr, "%d jobs of `sleep 1` on 32 slots: %.1f s by sbatch, %.1f s brokered\n", jobs,
            sbatch_s, r.wall_s);
    printf("{\"bench\":\"broker\",\"jobs\":%d,\"completed\":%lld,\"attempts\":%lld,"
           "\"broker_cpu_ms_per_job\":%.3f,\"helper_cpu_ms_per_job\":%.3f,\"wall_s\":%.2f,\"sbatch_"
           "wall_s\":%.2f,"
           "\"overhead_percent\":%.1f,\"claim_ms\":%lld,\"start_ms\":%lld,\"run_ms\":%lld,"
           "\"agents_cpu_ms_per_job\":%.3f,\"postgres_cpu_ms_per_job\":%.3f}\n",
           jobs, (long long)r.completed, (long long)r.attempts, r.daemon_ms + r.helper_ms,
           r.helper_ms, r.wall_s, sbatch_s, (r.wall_s / sbatch_s - 1) * 100, (long long)r.claim_ms,
           (long long)r.start_ms, (long long)r.run_ms, r.agents_ms, r.postgres_ms);
    bed_stop(&bed);
    rig_stop(&rig);
    return r.completed == jobs && r.attempts == jobs ? 0 : 1;
}
