/* sched_twin_test.c - jobs below a node beside reservations: nodes that a zone shares with its
 * twins are never booked twice, and no promise moves. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdlib.h>

#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

enum { NODES = 6, ACC = 8, JOBS = 40, FIRST = 2, LAST = 4, HOUR = 3600 };
#define T0 (INT64_C(1790000000) * BT_US_PER_S)

/* Two reservations of nodes FIRST..LAST, one after the other. */
static const struct {
    uint32_t number;
    int32_t from, until; /* s */
} kept[] = {{9, 2 * HOUR, 5 * HOUR}, {10, 5 * HOUR, 7 * HOUR}};
enum { KEPT = BT_ARRAY_LEN(kept) };

enum state { NONE, PENDING, RUNNING };

struct job {
    enum state state;
    struct plan_pending ask;
    uint32_t n_parts;
    struct plan_part parts[NODES];
    int64_t start_us, end_us, limit_us;
};

struct world {
    uint64_t seed;
    int32_t now; /* s since T0 */
    bool exact;  /* jobs run to their limits */
    struct plan_node nodes[NODES];
    struct plan_window windows[KEPT];
    uint32_t window_nodes[NODES];
    struct job jobs[JOBS];
    struct plan_output last;
    struct plan_moored *moored; /* where what it started lies */
    struct plan_live *live;
    uint32_t gone[2 * JOBS], n_gone, next_handle;
    uint32_t starts, named, between, promised, shared; /* what happened */
    struct plan_running running[JOBS];
    struct plan_pending pending[JOBS];
    struct plan_part parts[JOBS * NODES];
};

static uint32_t below(struct world *w, uint32_t n)
{
    uint64_t z = w->seed += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Vigna 2015 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) % n);
}

static int64_t us(int32_t s)
{
    return T0 + s * BT_US_PER_S;
}

/* The reservation that has the nodes FIRST..LAST at a time; 0 = none. */
static uint32_t kept_at(int32_t t)
{
    for (uint32_t i = 0; i < KEPT; i++)
        if (t >= kept[i].from && t < kept[i].until)
            return kept[i].number;
    return 0;
}

static bool is_kept(uint32_t node)
{
    return node >= FIRST && node <= LAST;
}

static uint64_t free_mask(const struct world *w, uint32_t node)
{
    uint64_t mask = (UINT64_C(1) << ACC) - 1;
    for (uint32_t i = 0; i < JOBS; i++)
        for (uint32_t k = 0; w->jobs[i].state == RUNNING && k < w->jobs[i].n_parts; k++)
            if (w->jobs[i].parts[k].node == node)
                mask &= ~w->jobs[i].parts[k].mask;
    return mask;
}

/* ---- random histories ---- */

static void begin(struct world *w, uint64_t seed)
{
    w->seed = seed;
    w->now = 0;
    w->exact = seed % 2;
    w->n_gone = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i] = (struct plan_node){
            .usable_mask = (UINT64_C(1) << ACC) - 1, .pod = i / 4, .leaf = i / 2, .tier = 4};
        w->window_nodes[i] = FIRST + i;
    }
    for (uint32_t i = 0; i < JOBS; i++)
        w->jobs[i].state = NONE;
}

static void submit(struct world *w)
{
    struct job *j = w->jobs;
    while (j < w->jobs + JOBS && j->state != NONE)
        j++;
    if (j == w->jobs + JOBS)
        return;
    uint32_t k = below(w, 2 * KEPT);
    uint32_t acc = below(w, 4) ? 1 + below(w, ACC - 1) : ACC + below(w, ACC + 1);
    uint32_t per = below(w, 8) ? 0 : 2 + below(w, 3);
    if (per)
        acc = per * (1 + below(w, 2));
    *j = (struct job){.state = PENDING,
                      .ask = {.submit_us = us(w->now),
                              .handle = ++w->next_handle,
                              .min_acc = acc,
                              .per_node = per,
                              .walltime_s = 60 + 60 * below(w, 90),
                              .nation = PLAN_NONE,
                              .project = PLAN_NONE,
                              .person = PLAN_NONE,
                              .after = PLAN_NONE,
                              .accel_class = PLAN_CLASS_ANY,
                              .resolved = true}};
    if (k < KEPT && w->now < kept[k].until) {
        j->ask.reservation = kept[k].number;
        j->ask.eligible_us = us(kept[k].from);
    }
}

static void withdraw(struct world *w, struct job *j)
{
    w->gone[w->n_gone++] = j->ask.handle;
    j->state = NONE;
}

static void end_jobs(struct world *w)
{
    for (uint32_t i = 0; i < JOBS; i++) {
        struct job *j = &w->jobs[i];
        if (j->state == RUNNING && j->end_us <= us(w->now))
            withdraw(w, j);
    }
}

static int by_handle(const void *x, const void *y)
{
    const struct job *const *a = x, *const *b = y;
    return ((*a)->ask.handle > (*b)->ask.handle) - ((*a)->ask.handle < (*b)->ask.handle);
}

static struct plan_input snapshot(struct world *w)
{
    struct job *sorted[JOBS];
    struct plan_input in = {.now_us = us(w->now),
                            .nodes = w->nodes,
                            .n_nodes = NODES,
                            .windows = w->windows,
                            .window_nodes = w->window_nodes,
                            .running = w->running,
                            .parts = w->parts,
                            .pending = w->pending,
                            .last = w->last.timeline ? &w->last : NULL,
                            .promise_slack_s = 600,
                            .promise_slack_percent = 50};
    uint32_t n = 0, n_parts = 0;
    bt_free(BT_TAKE(w->moored));
    if (w->live)
        in.n_moored = sched_live_moored(w->live, &w->moored);
    in.moored = w->moored;
    for (uint32_t i = 0; i < KEPT; i++)
        if (kept[i].until > w->now) /* what has passed is not there any longer */
            w->windows[in.n_windows++] = (struct plan_window){.from_us = us(kept[i].from),
                                                              .until_us = us(kept[i].until),
                                                              .n_nodes = LAST - FIRST + 1,
                                                              .reservation = kept[i].number};
    for (uint32_t i = 0; i < NODES; i++)
        w->nodes[i].free_mask = free_mask(w, i);
    for (uint32_t i = 0; i < JOBS; i++)
        if (w->jobs[i].state != NONE)
            sorted[n++] = &w->jobs[i];
    qsort(sorted, n, sizeof *sorted, by_handle);
    for (uint32_t i = 0; i < n; i++) {
        const struct job *j = sorted[i];
        if (j->state == PENDING) {
            w->pending[in.n_pending++] = j->ask;
            continue;
        }
        w->running[in.n_running++] = (struct plan_running){.start_us = j->start_us,
                                                           .limit_us = j->limit_us,
                                                           .handle = j->ask.handle,
                                                           .parts_off = n_parts,
                                                           .n_parts = j->n_parts,
                                                           .nation = PLAN_NONE,
                                                           .requeueable = true};
        for (uint32_t k = 0; k < j->n_parts; k++)
            w->parts[n_parts++] = j->parts[k];
    }
    return in;
}

/* ---- what is checked ---- */

static struct job *find(struct world *w, uint32_t handle)
{
    for (uint32_t i = 0; i < JOBS; i++)
        if (w->jobs[i].state != NONE && w->jobs[i].ask.handle == handle)
            return &w->jobs[i];
    return NULL;
}

/* Its accelerators are free, and its nodes those of its reservation, or of nobody's, throughout. */
static void check_start(struct world *w, const struct plan_part *parts, const struct plan_slot *s)
{
    struct job *j = find(w, s->handle);
    uint32_t acc = 0;
    assert_non_null(j);
    assert_true(s->n_parts >= 1 && s->n_parts <= NODES);
    for (uint32_t k = 0; k < s->n_parts; k++) {
        const struct plan_part *p = &parts[s->parts_off + k];
        uint64_t free = free_mask(w, p->node);
        assert_true(p->mask && !(p->mask & ~free));
        assert_true(is_kept(p->node) || !j->ask.reservation);
        for (int32_t t = w->now; is_kept(p->node) && t < w->now + (int32_t)j->ask.walltime_s; t++)
            assert_int_equal(kept_at(t), j->ask.reservation);
        w->shared += free != (UINT64_C(1) << ACC) - 1;
        acc += (uint32_t)__builtin_popcountll(p->mask);
        j->parts[k] = *p;
    }
    assert_int_equal(acc, j->ask.min_acc);
    j->n_parts = s->n_parts;
    j->state = RUNNING;
    j->start_us = us(w->now);
    j->limit_us = j->end_us = us(w->now + (int32_t)j->ask.walltime_s);
    if (!w->exact)
        j->end_us = us(w->now + 1 + (int32_t)below(w, j->ask.walltime_s));
    w->starts++;
    w->named += j->ask.reservation != 0;
}

/* What a zone's profile of whole nodes must say at t: its nodes, less those of its gangs, of
 * running jobs' whole nodes, and one for each berth that something is on. `used` is filled:
 * [berth]. */
static int32_t nodes_left(const struct plan_timeline *e, uint32_t zone, int32_t t, uint32_t *used)
{
    const struct fab_zone *z = &e->fabric.zones[zone];
    int32_t abs = t + (int32_t)(e->origin_s - T0 / BT_US_PER_S);
    bool open = !z->window || kept_at(abs) == z->reservation;
    int32_t n = open ? (int32_t)z->n_nodes : 0;
    uint32_t n_berths = e->time[zone].berths->n;
    for (uint32_t b = 0; b < n_berths; b++)
        used[b] = 0;
    for (uint32_t i = 0; i < e->n_jobs; i++) {
        const struct eng_job *j = &e->jobs[i];
        const struct resv *r = &j->cert;
        bool runs = j->state == JOB_RUNNING && t < j->limit;
        for (uint32_t k = 0; runs && k < j->picks.n; k++) {
            const struct fab_pick *p = &j->picks.v[k];
            if (e->fabric.racks[p->rack].zone != z->real)
                continue;
            uint32_t slot = p->rack * FAB_RACK + (uint32_t)__builtin_ctzll(p->nodes);
            if (p->mask)
                used[e->berth_of[slot]] += (uint32_t)__builtin_popcountll(p->mask);
            else
                n -= __builtin_popcountll(p->nodes);
        }
        if (j->state != JOB_PENDING || !j->cert_charged || t < r->start || t >= r->start + j->len)
            continue;
        if (r->mode == RESV_BELOW && e->fabric.zones[r->zone].real == z->real)
            used[r->berth] += r->acc;
        if (r->mode == RESV_WHOLE && r->zone == zone)
            n -= (int32_t)r->nodes;
        for (uint32_t k = 0; k < r->n_span; k++)
            n -= r->span[k].zone == zone ? (int32_t)r->span[k].nodes : 0;
    }
    for (uint32_t b = 0; b < n_berths; b++)
        n -= used[b] > 0;
    return n;
}

/* The certificates and what runs, at random times: a node of a zone and of its twins is one node.
 */
static void check_certificates(struct world *w, const struct plan_timeline *e)
{
    for (uint32_t zone = 0; zone < e->fabric.n_zones; zone++) {
        const struct fab_zone *z = &e->fabric.zones[zone];
        uint32_t n = e->time[zone].berths->n;
        uint32_t *used BT_AUTO = bt_new_n(uint32_t, n + 1);
        assert_ptr_equal(e->time[zone].berths, e->time[z->real].berths);
        for (int i = 0; i < 8; i++) {
            int32_t t = (int32_t)below(w, 3 * HOUR);
            int32_t abs = t + (int32_t)(e->origin_s - T0 / BT_US_PER_S);
            int32_t left = nodes_left(e, zone, t, used);
            assert_int_equal(profile_value(&e->time[zone].whole, t), left);
            assert_true(left >= 0 || (z->window && kept_at(abs) != z->reservation));
            for (uint32_t b = 0; b < n; b++)
                assert_true(used[b] <= ACC);
        }
    }
}

static void plan(struct world *w)
{
    struct plan_output out;
    struct bt_err err = {0};
    struct plan_input in = snapshot(w);
    if (sched_plan(&in, &out, &err) < 0)
        fail_msg("%s", err.text);
    check_certificates(w, out.timeline);
    w->n_gone = 0;
    for (uint32_t i = 0; i < out.n_slots; i++) {
        const struct plan_slot *s = &out.slots[i];
        struct job *j = find(w, s->handle);
        assert_int_equal(s->moved_from_us, 0); /* nothing here may move a promise */
        w->promised += !j->ask.promise_us && !s->starts_now && s->start_us != INT64_MAX;
        if (s->starts_now)
            check_start(w, out.parts, s);
        else if (s->start_us != INT64_MAX)
            j->ask.promise_us = s->promise_us;
        else if (j->ask.reservation && !j->ask.promise_us)
            withdraw(w, j); /* there is no room in what it names */
        else
            fail_msg("job %u has no start", s->handle);
    }
    sched_live_free(w->live);
    w->live = NULL;
    if (sched_live_new(&in, &w->live, &err) < 0)
        fail_msg("%s", err.text);
    sched_plan_done(&w->last);
    w->last = out;
}

/* The next moment at which something is due: an end or a planned start. */
static int32_t next_time(struct world *w)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < JOBS; i++)
        if (w->jobs[i].state == RUNNING)
            at = BT_MIN(at, w->jobs[i].end_us);
    for (uint32_t i = 0; i < w->last.n_slots; i++)
        if (!w->last.slots[i].starts_now && w->last.slots[i].start_us > us(w->now))
            at = BT_MIN(at, w->last.slots[i].start_us);
    return at == INT64_MAX ? w->now + 300 : (int32_t)((at - T0) / BT_US_PER_S);
}

/* Jobs have ended and nobody plans yet; what starts is checked as what plans start. */
static void carry_on(struct world *w)
{
    struct plan_starts s;
    for (uint32_t i = 0; i < w->n_gone; i++)
        sched_live_remove(w->live, w->gone[i]);
    w->n_gone = 0;
    sched_live_quick(w->live, us(w->now), &s);
    for (uint32_t i = 0; i < s.n; i++)
        check_start(w, s.parts, &s.slots[i]);
    w->between += s.n;
}

static void step(struct world *w)
{
    for (uint32_t n = below(w, 4); n > 0; n--)
        submit(w);
    plan(w);
    int32_t next = next_time(w), early = w->now + 1 + (int32_t)below(w, 600);
    bool ends = false;
    w->now = below(w, 3) ? next : BT_MIN(next, early);
    end_jobs(w);
    for (uint32_t i = 0; i < w->last.n_slots; i++) /* a planned start is a plan's business */
        ends |= !w->last.slots[i].starts_now && w->last.slots[i].start_us <= us(w->now);
    if (!ends)
        carry_on(w);
}

static void no_node_is_booked_twice_by_a_zone_and_its_twins(void **state)
{
    (void)state;
    struct world *w BT_AUTO = bt_new(struct world);
    for (uint64_t seed = 1; seed <= 24; seed++) {
        begin(w, seed);
        while (w->now < 9 * HOUR)
            step(w);
        sched_plan_done(&w->last);
        sched_live_free(w->live);
        w->live = NULL;
    }
    bt_free(w->moored);
    print_message("# %u starts, %u in reservations, %u between plans, %u parts beside others, %u "
                  "promises\n",
                  w->starts, w->named, w->between, w->shared, w->promised);
    assert_true(w->starts > 500 && w->named > 50 && w->between > 10 && w->shared > 100);
    assert_true(w->promised > 200);
}

/* A job that began before a reservation and one inside it share a node: it is charged once. */
static void a_node_shared_over_the_edge_of_a_reservation_is_charged_once(void **state)
{
    (void)state;
    struct berths b;
    struct profile real, twin;
    berths_init(&b, ACC);
    profile_init(&real, 2);
    profile_init(&twin, 0);
    profile_add(&twin, 100, 200, 2);
    profile_add(&real, 100, 200, -2);
    berths_take(&b, &real);
    berths_take(&b, &twin);
    uint32_t berth = berth_empty(&b);
    berth_add(&b, berth, 0, 120, 3); /* runs into the reservation */
    berth_add(&b, berth, 110, 150, 5);
    assert_int_equal(profile_value(&real, 50), 1);
    assert_int_equal(profile_value(&twin, 115), 1);
    assert_int_equal(profile_value(&twin, 149), 1);
    assert_int_equal(profile_value(&twin, 150), 2);
    assert_true(berth_holds(&b, berth, 0));
    berth_add(&b, berth, 20, 120, -3); /* ends early */
    assert_int_equal(profile_value(&real, 50), 2);
    assert_int_equal(profile_value(&twin, 105), 2);
    assert_int_equal(profile_value(&twin, 115), 1);
    berth_add(&b, berth, 110, 150, -5);
    for (int32_t t = 20; t < 220; t += 10) {
        assert_int_equal(profile_value(&real, t), t >= 100 && t < 200 ? 0 : 2);
        assert_int_equal(profile_value(&twin, t), t >= 100 && t < 200 ? 2 : 0);
    }
    berths_done(&b);
    profile_done(&real);
    profile_done(&twin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_shared_over_the_edge_of_a_reservation_is_charged_once),
        cmocka_unit_test(no_node_is_booked_twice_by_a_zone_and_its_twins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
