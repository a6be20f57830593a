/* bench_sched.c - the scheduler on 100,000 accelerators: placement, plan, events, memory.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * bench_sched [--nodes 12500] [--per-node 8] [--pending 20000] [--seed 1] [--events 1000000]
 *   [--load 95]
 *
 * The machine: leaves of 32 nodes, pods of 16 leaves, five pairs of class and enclave over the
 * pods. It is filled by the planner itself; then a queue of seeded random jobs of 1..4,096
 * accelerators (at least a quarter as many shapes as jobs) is planned: first from nothing, then
 * again and again one second later with the promises outstanding, as the daemon does. Prose on
 * stderr, one JSON object on stdout. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/sched/engine.h"
#include "daemon/sim/sim.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { LEAF = 32, POD = 16, ROUNDS = 7, PLACES = 400000 };
#define T0 (INT64_C(1790000000) * BT_US_PER_S)

struct setup {
    int64_t nodes, per_node, pending, seed, events, load;
};

struct bench {
    struct setup set;
    struct plan_input in;
    struct plan_node *nodes;
    struct plan_running *running;
    struct plan_part *parts;
    struct plan_pending *pending;
    struct plan_nation *nations;
    struct plan_share *projects, *persons;
    uint32_t n_parts, cap_parts, cap_running, handle;
    uint64_t seed;
};

static uint64_t rnd(struct bench *b)
{
    uint64_t z = b->seed += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Vigna 2015 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint32_t below(struct bench *b, uint32_t n)
{
    return (uint32_t)(rnd(b) % n);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- the machine and the jobs ---- */

static void make_machine(struct bench *b)
{
    static const uint8_t class_of[] = {0, 0, 1, 1, 2}, tier_of[] = {2, 4, 1, 3, 4};
    uint32_t n = (uint32_t)b->set.nodes;
    b->nodes = bt_new_n(struct plan_node, n);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t pod = i / (LEAF * POD);
        uint64_t mask = b->set.per_node >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << b->set.per_node) - 1;
        b->nodes[i] = (struct plan_node){.usable_mask = mask,
                                         .free_mask = mask,
                                         .pod = pod,
                                         .leaf = i / LEAF,
                                         .accel_class = class_of[pod % 5],
                                         .tier = tier_of[pod % 5]};
    }
    b->nations = bt_new_n(struct plan_nation, 20);
    b->projects = bt_new_n(struct plan_share, 200);
    b->persons = bt_new_n(struct plan_share, 2000);
    for (uint32_t i = 0; i < 20; i++)
        b->nations[i] = (struct plan_nation){.used = below(b, 1000000), .weight = 1};
    for (uint32_t i = 0; i < 200; i++)
        b->projects[i] = (struct plan_share){.parent = i / 10, .used = below(b, 100000)};
    for (uint32_t i = 0; i < 2000; i++)
        b->persons[i] = (struct plan_share){.parent = i / 10, .used = below(b, 10000)};
    b->in = (struct plan_input){.now_us = T0,
                                .nodes = b->nodes,
                                .n_nodes = n,
                                .nations = b->nations,
                                .n_nations = 20,
                                .projects = b->projects,
                                .n_projects = 200,
                                .persons = b->persons,
                                .n_persons = 2000,
                                .turnaround_s = 5,
                                .promise_slack_s = 3600,
                                .promise_slack_percent = 100};
}

static uint32_t size_of(struct bench *b)
{
    static const uint16_t sizes[] = {1,  1,  1,  2,   4,   8,   8,   8,   16,   24,   32,  48,
                                     64, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096};
    return sizes[below(b, BT_ARRAY_LEN(sizes))];
}

static struct plan_pending make_job(struct bench *b)
{
    static const uint8_t classes[] = {PLAN_CLASS_ANY, 0, 1, 2};
    uint32_t acc = size_of(b), person = below(b, 2000);
    struct plan_pending p = {.submit_us = b->in.now_us,
                             .handle = ++b->handle,
                             .min_acc = acc,
                             .walltime_s = (10 + below(b, 1431)) * 60,
                             .nation = person / 100,
                             .project = person / 10,
                             .person = person,
                             .after = PLAN_NONE,
                             .accel_class = classes[below(b, 4)],
                             .tier = (uint8_t)below(b, 4),
                             .resolved = true};
    uint32_t level = below(b, 10);
    if (level == 0 && acc <= 256)
        p.level = PLAN_LEAF, p.level_required = true;
    else if (level <= 3)
        p.level = PLAN_POD, p.level_required = level <= 2 && acc < 4096;
    if (p.accel_class == 1)
        p.tier = (uint8_t)BT_MIN(p.tier, 3);
    return p;
}

static uint32_t count_shapes(const struct plan_pending *v, uint32_t n)
{
    struct bt_map seen = {0};
    for (uint32_t i = 0; i < n; i++) {
        const struct plan_pending *p = &v[i];
        uint64_t key = (uint64_t)p->min_acc << 40 | (uint64_t)p->walltime_s << 16 |
                       (uint64_t)p->accel_class << 8 | (uint64_t)p->tier << 4 |
                       (uint64_t)p->level << 1 | p->level_required;
        bt_map_put(&seen, key, 0);
    }
    uint32_t shapes = (uint32_t)seen.n;
    bt_map_done(&seen);
    return shapes;
}

/* What the plan starts runs, with a random rest of its walltime if `aged`. */
static void start_all(struct bench *b, const struct plan_output *out, bool aged)
{
    for (uint32_t i = 0; i < out->n_slots; i++) {
        const struct plan_slot *s = &out->slots[i];
        if (!s->starts_now)
            continue;
        BT_GROW(b->running, b->in.n_running, b->cap_running);
        uint32_t limit = b->pending[i].walltime_s;
        int64_t rest = aged ? 60 + below(b, limit) : limit;
        b->running[b->in.n_running++] =
            (struct plan_running){.start_us = b->in.now_us - (aged ? 3600 * BT_US_PER_S : 0),
                                  .limit_us = b->in.now_us + rest * BT_US_PER_S,
                                  .expected_us = b->in.now_us + rest / 2 * BT_US_PER_S,
                                  .handle = s->handle,
                                  .parts_off = b->n_parts,
                                  .n_parts = s->n_parts,
                                  .nation = b->pending[i].nation,
                                  .requeueable = true};
        for (uint32_t k = 0; k < s->n_parts; k++) {
            const struct plan_part *p = &out->parts[s->parts_off + k];
            BT_GROW(b->parts, b->n_parts, b->cap_parts);
            b->parts[b->n_parts++] = *p;
            b->nodes[p->node].free_mask &= ~p->mask;
        }
    }
    b->in.running = b->running;
    b->in.parts = b->parts;
}

static void make_queue(struct bench *b, uint32_t n)
{
    b->pending = bt_realloc(b->pending, n, sizeof *b->pending);
    for (uint32_t i = 0; i < n; i++)
        b->pending[i] = make_job(b);
    b->in.pending = b->pending;
    b->in.n_pending = n;
}

static int plan(struct bench *b, struct plan_output *ret)
{
    struct bt_err err = {0};
    int rc = sched_plan(&b->in, ret, &err);
    if (rc < 0)
        fprintf(stderr, "bench_sched: %s\n", err.text);
    return rc;
}

static int fill(struct bench *b)
{
    struct plan_output out;
    make_queue(b, 2 * (uint32_t)b->set.nodes);
    for (uint32_t i = 0; i < b->in.n_pending; i++) /* thousands of running jobs, not hundreds */
        if (b->pending[i].min_acc > 64 && below(b, 16))
            b->pending[i].min_acc = 1 + below(b, 64);
    if (plan(b, &out) < 0)
        return -1;
    start_all(b, &out, true);
    sched_plan_done(&out);
    return 0;
}

/* ---- placement ---- */

static int by_value(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

struct latency {
    int64_t p50, p99;
    uint32_t placed, failed;
};

/* Best zone, then the place in it, for random jobs on a machine that `percent` is busy; each is
 * given back at once. The clock is inside. */
static struct latency measure_places(struct bench *b, struct plan_timeline *e)
{
    int64_t *ns BT_AUTO = bt_new_n(int64_t, PLACES);
    struct fab_picks picks = {0};
    struct latency l = {0};
    for (uint32_t i = 0; i < PLACES; i++) {
        struct plan_pending p = make_job(b);
        uint32_t k = match_of(e, &p);
        const struct match m = e->matches[k];
        int64_t t = now_ns();
        uint32_t best = PLAN_NONE, best_fit = UINT32_MAX, acc = 0;
        struct need need = {0};
        for (uint32_t z = 0; z < m.n_zones; z++) {
            uint32_t zone = e->match_zones[m.zone_off + z];
            if (e->fabric.zones[zone].acc != acc)
                need = eng_need(&p, p.min_acc, acc = e->fabric.zones[zone].acc);
            uint32_t fit = fab_fit(&e->fabric, zone, need.nodes, false);
            if (fit < best_fit) {
                best = zone;
                best_fit = fit;
            }
        }
        bool ok = false;
        picks.n = 0;
        if (best != PLAN_NONE) {
            struct fab_ask ask = {.nodes = need.nodes, .rest = need.slack ? acc - need.slack : 0};
            ok = fab_place(&e->fabric, best, &ask, &picks);
        }
        ns[i] = now_ns() - t;
        l.placed += ok;
        l.failed += !ok;
        fab_release(&e->fabric, picks.v, picks.n);
    }
    fab_picks_done(&picks);
    qsort(ns, PLACES, sizeof *ns, by_value);
    l.p50 = ns[PLACES / 2];
    l.p99 = ns[(int64_t)PLACES * 99 / 100];
    return l;
}

/* ---- the plan ---- */

struct planned {
    double first_ms, ms, worst_ms, cpu_ms;
    double newcomer_us, twin_us; /* a slot for a job that comes between plans */
    uint32_t with_start, moved;
    size_t bytes;
};

/* One second later: some jobs ended, what started runs, as many have come. */
static void next_second(struct bench *b, const struct plan_output *out)
{
    start_all(b, out, false);
    uint32_t k = 0;
    for (uint32_t i = 0; i < b->in.n_pending; i++) {
        if (out->slots[i].starts_now)
            continue;
        b->pending[k] = b->pending[i];
        b->pending[k++].promise_us = out->slots[i].promise_us;
    }
    b->in.now_us += BT_US_PER_S;
    for (uint32_t i = 0; i < 4 && b->in.n_running; i++) { /* ends early */
        struct plan_running *r = &b->running[below(b, b->in.n_running)];
        for (uint32_t p = 0; p < r->n_parts; p++) {
            const struct plan_part *part = &b->parts[r->parts_off + p];
            b->nodes[part->node].free_mask |= part->mask;
        }
        size_t at = (size_t)(r - b->running);
        for (size_t j = at + 1; j < b->in.n_running; j++)
            b->running[j - 1] = b->running[j];
        b->in.n_running--;
    }
    while (k < b->in.n_pending)
        b->pending[k++] = make_job(b);
}

static int by_handle(const void *x, const void *y)
{
    const struct plan_running *a = x, *b = y;
    return (a->handle > b->handle) - (a->handle < b->handle);
}

/* Slots for jobs that come between two plans: each of another shape, or all alike. Microseconds of
 * cpu each. */
static double measure_newcomers(struct bench *b, const struct plan_output *last, bool mixed)
{
    enum { NEWCOMERS = 10000 };
    struct plan_spare *spare = sched_spare_new(last);
    struct plan_pending job = make_job(b);
    struct plan_slot slot;
    int64_t ns = 0;
    for (int i = 0; i < NEWCOMERS; i++) {
        if (mixed)
            job = make_job(b);
        int64_t c = cpu_ns();
        if (sched_spare_slot(spare, &job, b->in.now_us, &slot, NULL) < 0)
            return -1;
        ns += cpu_ns() - c;
    }
    sched_spare_free(spare);
    return (double)ns / NEWCOMERS / 1e3;
}

static int measure_plan(struct bench *b, struct planned *p)
{
    int64_t ns[ROUNDS], cpu[ROUNDS];
    struct plan_output last = {0}, out;
    for (int i = -1; i < ROUNDS; i++) {
        b->in.last = i < 0 ? NULL : &last;
        qsort(b->running, b->in.n_running, sizeof *b->running, by_handle);
        int64_t t = now_ns(), c = cpu_ns();
        if (plan(b, &out) < 0)
            return -1;
        t = now_ns() - t;
        c = cpu_ns() - c;
        if (i < 0)
            p->first_ms = (double)t / 1e6;
        else
            ns[i] = t, cpu[i] = c;
        p->moved += out.n_moved;
        p->bytes = BT_MAX(p->bytes, out.state_bytes);
        next_second(b, &out);
        sched_plan_done(&last);
        last = out;
    }
    p->newcomer_us = measure_newcomers(b, &last, true);
    p->twin_us = measure_newcomers(b, &last, false);
    p->with_start = 0;
    for (uint32_t i = 0; i < last.n_slots; i++)
        p->with_start += last.slots[i].start_us != INT64_MAX;
    sched_plan_done(&last);
    qsort(ns, ROUNDS, sizeof *ns, by_value);
    qsort(cpu, ROUNDS, sizeof *cpu, by_value);
    p->ms = (double)ns[ROUNDS / 2] / 1e6;
    p->worst_ms = (double)ns[ROUNDS - 1] / 1e6;
    p->cpu_ms = (double)cpu[ROUNDS / 2] / 1e6;
    return 0;
}

/* ---- events ---- */

/* A storm of short jobs, hundreds of submissions, starts and ends in each second, through the
 * scheduler with the daemon's planning rule: one full plan a second of facility time, and what fits
 * beside all promises starts at once in between. Returns events a second. */
static double measure_events(struct bench *b)
{
    struct sim s = {.nodes = b->nodes,
                    .n_nodes = b->in.n_nodes,
                    .slack_s = 3600,
                    .slack_percent = 100,
                    .plan_every_s = 1,
                    .fair_share = true};
    struct sim_nation nations[20] = {{0}};
    s.n_jobs = (uint32_t)b->set.events / 3;
    s.jobs = bt_new_n(struct sim_job, s.n_jobs);
    s.nations = nations;
    s.n_nations = BT_ARRAY_LEN(nations);
    for (uint32_t i = 0; i < s.n_nodes; i++) {
        b->nodes[i].free_mask = b->nodes[i].usable_mask;
        s.capacity += (uint32_t)__builtin_popcountll(b->nodes[i].usable_mask);
    }
    int64_t at_us = 0;
    for (uint32_t i = 0; i < s.n_jobs; i++) {
        uint32_t acc = 1U << below(b, 6), walltime = 60 + below(b, 120);
        int64_t run = 30 + below(b, walltime - 30);
        /* so much of the machine on average: the next comes when this one's share has passed */
        int64_t share_us = (int64_t)acc * run * BT_US_PER_S * 100 / b->set.load / s.capacity;
        at_us += share_us * (int64_t)below(b, 2001) / 1000;
        s.jobs[i] = (struct sim_job){.submit_s = at_us / BT_US_PER_S,
                                     .run_s = run,
                                     .walltime_s = walltime,
                                     .start_s = -1,
                                     .promise_s = -1,
                                     .first_plan_s = -1,
                                     .acc = acc,
                                     .nation = below(b, 20)};
    }
    struct bt_err err = {0};
    int64_t t = now_ns();
    int rc = sim_core(&s, &err);
    double wall = (double)(now_ns() - t) / 1e9;
    uint32_t started = 0;
    for (uint32_t i = 0; i < s.n_jobs; i++)
        started += s.jobs[i].start_s >= 0;
    fprintf(stderr,
            "%" PRIu32 " of %" PRIu32 " jobs ran in %" PRId64 " minutes of facility time, %" PRIu32
            " passes, %.1f s\n",
            started, s.n_jobs, at_us / (60 * BT_US_PER_S), s.passes, wall);
    bt_free(s.jobs);
    bt_free(s.samples);
    return rc < 0 || started != s.n_jobs ? 0 : 3.0 * s.n_jobs / wall;
}

/* ---- all of it ---- */

static struct latency places_at(struct bench *b, double busy)
{
    struct plan_timeline *e = eng_new(&b->in);
    struct fab_picks picks = {0};
    uint64_t total = 0, taken = 0;
    for (uint32_t i = 0; i < e->fabric.n_zones; i++)
        total += (uint64_t)e->fabric.zones[i].n_nodes * e->fabric.zones[i].acc;
    for (uint32_t tries = 0; (double)taken < busy * (double)total && tries < 100000; tries++) {
        uint32_t zone = below(b, e->fabric.n_zones), acc = BT_MIN(size_of(b), 512);
        struct plan_pending p = {.min_acc = acc};
        struct need need = eng_need(&p, acc, e->fabric.zones[zone].acc);
        struct fab_ask ask = {.nodes = need.nodes,
                              .rest = need.slack ? acc % e->fabric.zones[zone].acc : 0};
        if (fab_place(&e->fabric, zone, &ask, &picks))
            taken += acc;
    }
    fab_picks_done(&picks);
    struct latency l = measure_places(b, e);
    eng_free(e);
    return l;
}

static int parse(int argc, char **argv, struct bench *b)
{
    static const struct option longs[] = {{"nodes", 1, NULL, 'n'},
                                          {"per-node", 1, NULL, 'p'},
                                          {"pending", 1, NULL, 'q'},
                                          {"seed", 1, NULL, 's'},
                                          {"events", 1, NULL, 'e'},
                                          {"load", 1, NULL, 'l'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        int64_t *to = c == 'n'   ? &b->set.nodes
                      : c == 'p' ? &b->set.per_node
                      : c == 'q' ? &b->set.pending
                      : c == 'e' ? &b->set.events
                      : c == 'l' ? &b->set.load
                                 : &b->set.seed;
        if (c == '?' ||
            bt_parse_i64(optarg, "the option", 1, c == 'p' ? 64 : 1 << 20, to, NULL) < 0)
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct bench b = {.set = {12500, 8, 20000, 1, 1000000, 95}};
    struct planned p = {0};
    if (parse(argc, argv, &b) < 0) {
        fprintf(stderr, "bench_sched [--nodes N] [--per-node K] [--pending P] [--seed S] "
                        "[--events E] [--load PERCENT]\n");
        return 2;
    }
    b.seed = (uint64_t)b.set.seed;
    make_machine(&b);
    struct latency busy = places_at(&b, 0.97), part = places_at(&b, 0.7);
    fprintf(stderr,
            "placement: 97 %% busy p50 %" PRId64 " p99 %" PRId64 " ns (%" PRIu32 " placed, %" PRIu32
            " did not fit), 70 %% busy p50 %" PRId64 " p99 %" PRId64 " ns (%" PRIu32 ", %" PRIu32
            "), clock included\n",
            busy.p50, busy.p99, busy.placed, busy.failed, part.p50, part.p99, part.placed,
            part.failed);
    if (fill(&b) < 0)
        return 1;
    uint32_t filled = b.in.n_running;
    make_queue(&b, (uint32_t)b.set.pending);
    uint32_t shapes = count_shapes(b.pending, b.in.n_pending);
    if (measure_plan(&b, &p) < 0)
        return 1;
    fprintf(stderr,
            "%" PRIu32 " jobs fill the machine; plan of %" PRIu32 " waiting ones, %" PRIu32
            " shapes: from nothing %.1f ms, then %.1f ms (worst %.1f, cpu %.1f), %" PRIu32
            " promises moved\n",
            filled, b.in.n_pending, shapes, p.first_ms, p.ms, p.worst_ms, p.cpu_ms, p.moved);
    double events = measure_events(&b);
    printf("{\"bench\":\"sched\",\"nodes\":%" PRId64 ",\"per_node\":%" PRId64 ",\"shapes\":%" PRIu32
           ",\"place_p50_ns\":%" PRId64 ",\"place_p99_ns\":%" PRId64 ",",
           b.set.nodes, b.set.per_node, shapes, BT_MAX(busy.p50, part.p50),
           BT_MAX(busy.p99, part.p99));
    printf("\"plan_ms\":%.1f,\"plan_first_ms\":%.1f,\"plan_worst_ms\":%.1f,\"plan_cpu_ms\":%.1f,"
           "\"pending\":%" PRIu32 ",\"with_start_time\":%" PRIu32 ",\"promises_moved\":%" PRIu32
           ",\"state_bytes\":%zu,\"newcomer_us\":%.2f,\"twin_us\":%.2f,\"events_per_s\":%.0f}\n",
           p.ms, p.first_ms, p.worst_ms, p.cpu_ms, b.in.n_pending, p.with_start, p.moved, p.bytes,
           p.newcomer_us, p.twin_us, events);
    return 0;
}
