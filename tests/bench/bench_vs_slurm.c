/* bench_vs_slurm - one plan of the broker beside one backfill cycle of slurmctld: same machine,
 * same running jobs, same queue. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * 12,500 nodes of 8 accelerators, emulated in Debian's own slurmctld (State=CLOUD: nodes are known
 * to the controller only), all busy with 50 jobs of 250 nodes; a seeded queue of 50 % jobs of 1
 * accelerator, 25 % of 8, 15 % of 64, 8 % of 512, 2 % of 4,096, 10 minutes to a day each. Slurm's
 * figures are sdiag's own of its backfill cycle, whose sleeps it does not count, and which ends
 * after bf_max_time; ours is the median of three plans of the whole queue. What differs: Slurm's
 * cycle also yields its locks to requests; ours also keeps promises, rights and reasons.
 *
 * The queue is prepared where a submission is cheap: at 640 nodes, in a partition that is down.
 * The same state is then loaded at full size, the machine filled through another partition, and
 * only then the queue's partition opened: so a cycle begins on a full machine and a whole queue. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/sched/plan.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/bench/bed.h"

enum { PER_NODE = 8, GANG = 250, SMALL = 640, CYCLE_S = 260, ROUNDS = 3, SUBMITTERS = 4 };
#define T0 (INT64_C(1790000000) * BT_US_PER_S)

struct queue {
    struct plan_pending *v;
    uint32_t n;
    uint64_t seed;
};

static uint32_t below(struct queue *q, uint32_t n)
{
    uint64_t z = q->seed += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Vigna 2015 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % n);
}

static void make_queue(struct queue *q, uint32_t n)
{
    q->v = bt_new_n(struct plan_pending, n);
    q->n = n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t dice = below(q, 100);
        uint32_t acc = dice < 50 ? 1 : dice < 75 ? 8 : dice < 90 ? 64 : dice < 98 ? 512 : 4096;

        q->v[i] = (struct plan_pending){.submit_us = T0,
                                        .handle = 100000 + i,
                                        .min_acc = acc,
                                        .walltime_s = (10 + below(q, 1431)) * 60,
                                        .after = PLAN_NONE,
                                        .accel_class = PLAN_CLASS_ANY,
                                        .resolved = true};
    }
}

/* ---- Slurm ---- */

static void run_lines(struct bed *b, const char *path, int n)
{
    /* Several at a time: most of an sbatch is its own start. */
    if (bed_shell(b, "split -n r/%d %s %s. && for f in %s.*; do sh $f & done; wait", n, path, path,
                  path) != 0)
        rig_die("jobs could not be submitted");
}

static void submit_queue(struct bed *b, const struct queue *q)
{
    BT_AUTO char *path = bt_printf("%s/queue", b->base);
    FILE *f = fopen(path, "we");

    for (uint32_t i = 0; f && i < q->n; i++) {
        uint32_t acc = q->v[i].min_acc;

        fprintf(f, "sbatch -Q -D / -o /dev/null -N %u --gres=gpu:%u -t %u --wrap true >/dev/null\n",
                BT_MAX(1, acc / PER_NODE), BT_MIN(acc, PER_NODE), q->v[i].walltime_s / 60);
    }
    if (!f || fclose(f) != 0)
        rig_die("cannot write %s", path);
    run_lines(b, path, SUBMITTERS);
}

static void fill(struct bed *b, const uint32_t *minutes)
{
    BT_AUTO char *path = bt_printf("%s/gangs", b->base);
    FILE *f = fopen(path, "we");
    int tries = 0;

    for (int i = 0; f && i < b->n_nodes / GANG; i++)
        fprintf(f,
                "sbatch -Q -p fill -D / -o /dev/null --exclusive --gres=gpu:8 -N %d -w 'b[%d-%d]' "
                "-t %u --wrap true >/dev/null\n",
                GANG, i * GANG + 1, (i + 1) * GANG, minutes[i]);
    if (!f || fclose(f) != 0)
        rig_die("cannot write %s", path);
    run_lines(b, path, 2);
    while (bed_number(b, "squeue -h -p fill -t PENDING | wc -l") > 0) {
        if (tries++ == CYCLE_S)
            rig_die("the machine is not full after %d s", CYCLE_S);
        sleep(1);
    }
}

struct cycle {
    int64_t n, us, tested;
    bool begun; /* the figures are of one that goes on */
};

static struct cycle backfill(struct bed *b)
{
    BT_AUTO char *path = bt_printf("%s/sdiag", b->base);
    struct cycle c = {0};

    if (bed_shell(b, "sdiag | sed -n '/^Backfilling/,/^Latency/p' >%s", path) != 0)
        rig_die("sdiag does not answer");
    c.begun = bed_number(b, "grep -c 'middle of backfilling' %s", path) > 0;
    c.n = bed_number(b, "sed -n 's/.*Total cycles: *//p' %s", path);
    c.us = bed_number(b, "sed -n 's/.*Last cycle: *//p' %s", path);
    c.tested = bed_number(b, "sed -n 's/.*Last depth cycle: *//p' %s", path);
    return c;
}

/* The first whole cycle over the open queue. */
static struct cycle await_cycle(struct bed *b)
{
    int64_t until = bt_mono_us() + (int64_t)CYCLE_S * BT_US_PER_S;
    struct cycle before = backfill(b);
    struct cycle c = before;

    if (bed_shell(b, "scontrol update partitionname=main state=up") != 0)
        rig_die("the queue cannot be opened");
    /* One that had begun before the queue was open may have seen a part of it. */
    while (c.begun || c.n <= before.n || c.tested < 2) {
        if (bt_mono_us() > until)
            rig_die("slurmctld finished no backfill cycle in %d s", CYCLE_S);
        sleep(1);
        c = backfill(b);
    }
    return c;
}

/* ---- the broker's plan ---- */

struct machine {
    struct plan_input in;
    struct plan_node *nodes;
    struct plan_running *running;
    struct plan_part *parts;
};

static void make_machine(struct machine *m, const struct queue *q, const uint32_t *minutes, int n)
{
    static struct plan_nation nation = {.weight = 1};
    static struct plan_share share;

    m->nodes = bt_new_n(struct plan_node, (size_t)n);
    m->parts = bt_new_n(struct plan_part, (size_t)n);
    m->running = bt_new_n(struct plan_running, (size_t)(n / GANG));
    for (int i = 0; i < n; i++) {
        m->nodes[i] = (struct plan_node){.usable_mask = 0xff, .leaf = (uint32_t)i / 16};
        m->parts[i] = (struct plan_part){.node = (uint32_t)i, .mask = 0xff};
    }
    for (int i = 0; i < n / GANG; i++)
        m->running[i] = (struct plan_running){.start_us = T0,
                                              .limit_us = T0 + minutes[i] * 60 * BT_US_PER_S,
                                              .expected_us = T0 + minutes[i] * 60 * BT_US_PER_S,
                                              .handle = (uint32_t)i + 1,
                                              .parts_off = (uint32_t)(i * GANG),
                                              .n_parts = GANG};
    m->in = (struct plan_input){.now_us = T0,
                                .nodes = m->nodes,
                                .n_nodes = (uint32_t)n,
                                .nations = &nation,
                                .n_nations = 1,
                                .projects = &share,
                                .n_projects = 1,
                                .persons = &share,
                                .n_persons = 1,
                                .running = m->running,
                                .n_running = (uint32_t)(n / GANG),
                                .parts = m->parts,
                                .pending = q->v,
                                .n_pending = q->n,
                                .turnaround_s = 5,
                                .promise_slack_s = 3600,
                                .promise_slack_percent = 100};
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x;
    double b = *(const double *)y;

    return (a > b) - (a < b);
}

static double plan_s(const struct machine *m, uint32_t *ret_planned)
{
    double s[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        struct plan_output out;
        struct bt_err err = {0};
        int64_t t = bt_mono_us();

        if (sched_plan(&m->in, &out, &err) < 0)
            rig_die("%s", err.text);
        s[i] = (double)(bt_mono_us() - t) / 1e6;
        *ret_planned = 0;
        for (uint32_t k = 0; k < out.n_slots; k++)
            *ret_planned += out.slots[k].start_us != INT64_MAX;
        sched_plan_done(&out);
    }
    qsort(s, ROUNDS, sizeof *s, by_value);
    return s[ROUNDS / 2];
}

static void compare(struct bed *b, const struct queue *q, const uint32_t *minutes)
{
    double load_s, refresh_s;
    struct machine m;
    uint32_t planned;
    int64_t t = bt_mono_us();
    int n = bed_inventory(b, &load_s, &refresh_s);

    fprintf(stderr, "%d nodes read in %.2f s, asked again in %.4f s\n", n, load_s, refresh_s);
    fill(b, minutes);
    fprintf(stderr, "%u jobs wait on %d busy nodes (%.0f s); waiting for a backfill cycle\n", q->n,
            b->n_nodes, (double)(bt_mono_us() - t) / 1e6);
    struct cycle c = await_cycle(b);
    double slurm_s = (double)c.us / 1e6;
    make_machine(&m, q, minutes, b->n_nodes);
    double ours_s = plan_s(&m, &planned);
    printf("{\"bench\":\"vs_slurm\",\"nodes\":%d,\"pending\":%u,\"slurm_tested\":%lld,"
           "\"slurm_backfill_s\":%.3f,\"beamtime_planned\":%u,\"beamtime_plan_s\":%.6f,"
           "\"ratio\":%.0f,\"inventory_s\":%.3f,\"refresh_s\":%.4f}\n",
           b->n_nodes, q->n, (long long)c.tested, slurm_s, planned, ours_s,
           slurm_s / (double)c.tested / (ours_s / planned), load_s, refresh_s);
    bt_free(m.nodes);
    bt_free(m.parts);
    bt_free(m.running);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"nodes", 1, NULL, 'n'}, {"pending", 1, NULL, 'p'}, {0}};
    struct queue q = {.seed = 1};
    struct bed bed;
    char base[] = "/tmp/bt-bench-XXXXXX";
    int nodes = 12500;
    int pending = 2000;
    int o;

    while ((o = getopt_long(argc, argv, "n:p:", options, NULL)) != -1) {
        if (o != 'n' && o != 'p')
            return 2;
        *(o == 'n' ? &nodes : &pending) = (int)strtol(optarg, NULL, 10);
    }
    if (nodes < GANG || nodes % GANG || pending < 1 || !mkdtemp(base))
        rig_die("--nodes must be a multiple of %d, --pending at least 1", GANG);
    BT_AUTO uint32_t *minutes = bt_new_n(uint32_t, (size_t)(nodes / GANG));
    for (int i = 0; i < nodes / GANG; i++)
        minutes[i] = 10 + below(&q, 1431);
    make_queue(&q, (uint32_t)pending);
    setenv("TB_STATE", "DOWN", 1); /* of the queue's partition, until the machine is full */
    bed_start(&bed, base, SMALL, true, "MessageTimeout=100");
    submit_queue(&bed, &q);
    fprintf(stderr, "%u jobs wait\n", q.n);
    bed_resize(&bed, nodes,
               "PartitionName=fill Nodes=ALL MaxTime=INFINITE DefMemPerCPU=100\\n"
               "MessageTimeout=100\\nSchedulerType=sched/backfill\\n"
               "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,"
               "default_queue_depth=100,bf_interval=5,bf_max_time=100,bf_resolution=600,"
               "bf_window=20160,bf_max_job_test=10000,bf_continue");
    compare(&bed, &q, minutes);
    bt_free(q.v);
    bed_stop(&bed);
    if (bt_remove_tree(base, NULL) < 0)
        fprintf(stderr, "%s is left behind\n", base);
    return 0;
}
