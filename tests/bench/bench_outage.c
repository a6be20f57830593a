/* bench_outage - what people notice of a Slurm controller that is frozen or gone.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A site of 4 nodes with running jobs; its slurmctld is stopped (SIGSTOP: it takes connections and
 * answers none), and later killed, each for --seconds. Meanwhile one person asks for lists, the
 * plan, the site itself and submits more jobs to it, one request every 5 ms. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/base/uuid.h"
#include "lib/json/json.h"
#include "tests/bench/bed.h"

enum { NODES = 4, REQUESTS_MAX = 200000, PACE_US = 5000, RUNNING = 16, SOON_S = 30 };

struct tally {
    double *ms;
    size_t n;
};

static void submit(struct net_client *c, int seconds)
{
    char id[BT_UUID_TEXT];

    rig_call(c, "POST", "/v1/jobs",
             "{\"id\":\"%s\",\"name\":\"outage\",\"project\":\"p0\",\"kind\":\"command\","
             "\"code\":{\"argv\":[\"/bin/sleep\",\"%d\"]},\"accelerators\":{\"count\":1,"
             "\"class\":\"h200\"},\"walltime_s\":600,\"purpose\":\"benchmark\",\"domains\":"
             "[\"general\"],\"data\":[\"public\"],\"params\":1000}",
             bt_uuid_format(bt_uuid_new(bt_now_us()), id), seconds);
}

static void ask(struct net_client *c, const char *path)
{
    struct net_reply reply = {0};
    struct bt_err err = {0};

    if (net_get(c, path, &reply, &err) < 0)
        rig_die("GET %s: %s", path, err.text);
    net_reply_done(&reply);
}

/* Whether the site's page says that the cluster answers; *ret_since when it says since when not. */
static bool reachable(struct net_client *c, bool *ret_since)
{
    struct net_reply reply = {0};
    JSON_AUTO struct json *doc = NULL;
    struct bt_err err = {0};

    if (net_get(c, "/v1/sites/bench", &reply, &err) < 0 ||
        json_parse(reply.body, reply.n, JSON_MAX_BYTES, &doc, &err) < 0)
        rig_die("the site: %s", err.text);
    const struct json *cluster = json_get(doc, "cluster");
    bool yes = json_bool(json_get(cluster, "reachable"), false);
    *ret_since = json_get(cluster, "since") != NULL;
    net_reply_done(&reply);
    return yes;
}

static void await_reachable(struct net_client *c, bool wanted)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    int64_t until = bt_mono_us() + SOON_S * BT_US_PER_S;
    bool since;

    while (reachable(c, &since) != wanted || since == wanted) {
        if (bt_mono_us() > until)
            rig_die("the site is not %s after %d s", wanted ? "reachable" : "unreachable", SOON_S);
        nanosleep(&moment, NULL);
    }
}

static void load(struct net_client *c, int seconds, struct tally *t)
{
    static const char *const paths[] = {"/v1/jobs?limit=20", "/v1/sites", "/v1/sites/bench",
                                        "/v1/nodes", "/v1/quota"};
    int64_t until = bt_mono_us() + seconds * BT_US_PER_S;

    t->n = 0;
    for (unsigned i = 0; bt_mono_us() < until && t->n < REQUESTS_MAX; i++) {
        const struct timespec pace = {.tv_nsec = PACE_US * 1000};
        int64_t began = bt_mono_us();

        if (i % 8 == 7)
            submit(c, 1);
        else
            ask(c, paths[i % BT_ARRAY_LEN(paths)]);
        t->ms[t->n++] = (double)(bt_mono_us() - began) / 1e3;
        nanosleep(&pace, NULL);
    }
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x;
    double b = *(const double *)y;

    return (a > b) - (a < b);
}

static void print(const char *mode, int seconds, struct tally *t)
{
    qsort(t->ms, t->n, sizeof *t->ms, by_value);
    printf("{\"bench\":\"outage\",\"controller\":\"%s\",\"seconds\":%d,\"requests\":%zu,"
           "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f}\n",
           mode, seconds, t->n, t->ms[t->n / 2], t->ms[t->n * 99 / 100], t->ms[t->n - 1]);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", 1, NULL, 's'}, {0}};
    struct tally t = {.ms = bt_new_n(double, REQUESTS_MAX)};
    struct rig rig;
    struct bed bed;
    int seconds = 10;
    int o;

    while ((o = getopt_long(argc, argv, "s:", options, NULL)) != -1) {
        if (o != 's')
            return 2;
        seconds = (int)strtol(optarg, NULL, 10);
    }
    rig_start(&rig);
    rig_people(&rig, 1, 1);
    bed_start(&bed, rig.ids, NODES, false, "");
    bed_join(&bed, &rig);
    struct net_client *c = rig_client(&rig, "u0", rig.people);
    for (int i = 0; i < RUNNING; i++)
        submit(c, 600);
    await_reachable(c, true);
    load(c, seconds, &t);
    print("answers", seconds, &t);
    pid_t controller = (pid_t)bed_number(&bed, "cat %s/run/slurmctld.pid", bed.dir);
    kill(controller, SIGSTOP);
    await_reachable(c, false);
    load(c, seconds, &t);
    print("frozen", seconds, &t);
    await_reachable(c, false); /* it still says so */
    kill(controller, SIGCONT);
    await_reachable(c, true);
    kill(controller, SIGKILL);
    await_reachable(c, false);
    load(c, seconds, &t);
    print("gone", seconds, &t);
    await_reachable(c, false);
    net_client_free(c);
    bed_stop(&bed);
    rig_stop(&rig);
    bt_free(t.ms);
    return 0;
}
