/* sched_property_test.c - random histories on small facilities against a model that checks all.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * BT_EVENTS sets the number of random events (30,000; a soak run takes 1,000,000). */
#include "tests/unit/check.h"

#include <stdlib.h>

#include "daemon/sched/plan.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { NODES = 64, JOBS = 48, NATIONS = 3, GRACE_S = 30, MAX_PARTS = NODES };
#define T0 (INT64_C(1790000000) * BT_US_PER_S)

enum state { NONE, PENDING, RUNNING };

struct job {
    enum state state;
    struct plan_pending ask;
    uint32_t acc, n_parts;
    struct plan_part parts[MAX_PARTS];
    int64_t start_us, end_us, limit_us;
    bool owned, stopping;
};

struct world {
    uint64_t seed;
    int64_t now_us;
    struct plan_node nodes[NODES];
    struct plan_nation nations[NATIONS];
    struct job jobs[JOBS];
    struct plan_output last;
    struct plan_moored *moored;      /* where what it started lies */
    struct plan_live *live;          /* of the last plan; NULL where only plans start jobs */
    uint32_t gone[2 * JOBS], n_gone; /* handles that ended since */
    uint32_t n_nodes, acc, per_leaf, per_pod, next_handle;
    bool exact, whole_only, owners, carries_on;
    /* Events come within seconds, as in life; plans know whole ones, and a turnaround of one. What
     * is checked to the second is then checked to two. */
    bool fractions;
    /* what happened */
    uint64_t events, starts, victims, moved, late, minimal_checked, earliest_checked,
        guarantees_checked;
    uint64_t between;             /* starts between plans */
    uint64_t promised, fragments; /* promises; moved though no owner was there */
    /* the snapshot */
    struct plan_running running[JOBS];
    struct plan_pending pending[JOBS];
    struct plan_part parts[JOBS * MAX_PARTS];
};

static uint64_t rnd(struct world *w)
{
    uint64_t z = w->seed += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Vigna 2015 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint32_t below(struct world *w, uint32_t n)
{
    return (uint32_t)(rnd(w) % n);
}

/* ---- the model ---- */

static uint64_t full(const struct world *w)
{
    return (UINT64_C(1) << w->acc) - 1;
}

/* What of a node nobody holds at a time, if the jobs of `gone` have stopped. */
static uint64_t free_at(const struct world *w, uint32_t node, int64_t at_us, const bool *gone)
{
    uint64_t mask = full(w);
    for (uint32_t i = 0; i < JOBS; i++) {
        const struct job *j = &w->jobs[i];
        if (j->state != RUNNING || (gone && gone[i]) || j->limit_us <= at_us)
            continue;
        for (uint32_t k = 0; k < j->n_parts; k++)
            if (j->parts[k].node == node)
                mask &= ~j->parts[k].mask;
    }
    return mask;
}

static bool may_use(const struct world *w, const struct plan_pending *p, uint32_t node)
{
    const struct plan_node *n = &w->nodes[node];
    return (p->accel_class == PLAN_CLASS_ANY || p->accel_class == n->accel_class) &&
           p->tier <= n->tier;
}

/* Group of a node at the job's required level, and of its class and enclave: a gang stays in one.
 */
static uint64_t group(const struct world *w, const struct plan_pending *p, uint32_t node)
{
    const struct plan_node *n = &w->nodes[node];
    uint64_t g = (uint64_t)n->accel_class << 8 | n->tier;
    if (!p->level_required || p->level < PLAN_POD)
        return g;
    return (uint64_t)(p->level == PLAN_POD    ? n->pod
                      : p->level == PLAN_LEAF ? n->leaf
                                              : node)
               << 16 |
           g;
}

/* Whether the job fits on what is free at a time: by trying each group of nodes. */
static bool fits_at(const struct world *w, const struct plan_pending *p, int64_t at_us,
                    const bool *gone)
{
    uint32_t need = (p->min_acc + w->acc - 1) / w->acc;
    for (uint32_t a = 0; a < w->n_nodes; a++) {
        if (!may_use(w, p, a))
            continue;
        uint32_t whole = 0;
        for (uint32_t b = 0; b < w->n_nodes; b++) {
            if (!may_use(w, p, b) || group(w, p, a) != group(w, p, b))
                continue;
            uint32_t free = (uint32_t)__builtin_popcountll(free_at(w, b, at_us, gone));
            if (p->min_acc < w->acc && free >= p->min_acc)
                return true;
            whole += free == w->acc;
        }
        if (whole >= need)
            return true;
    }
    return false;
}

static int64_t owned_by(const struct world *w, uint32_t nation)
{
    int64_t acc = 0;
    for (uint32_t i = 0; i < JOBS; i++)
        if (w->jobs[i].state == RUNNING && w->jobs[i].owned && w->jobs[i].ask.nation == nation)
            acc += w->jobs[i].acc;
    return acc;
}

/* ---- random histories ---- */

static void new_world(struct world *w, uint64_t seed)
{
    sched_plan_done(&w->last);
    sched_live_free(w->live);
    bt_free(w->moored);
    struct world keep = *w;
    *w = (struct world){.seed = seed, .now_us = T0};
    w->events = keep.events;
    w->starts = keep.starts;
    w->victims = keep.victims;
    w->moved = keep.moved;
    w->late = keep.late;
    w->minimal_checked = keep.minimal_checked;
    w->earliest_checked = keep.earliest_checked;
    w->guarantees_checked = keep.guarantees_checked;
    w->between = keep.between;
    w->promised = keep.promised;
    w->fragments = keep.fragments;
    w->n_nodes = 1 + below(w, NODES);
    w->acc = below(w, 3) ? 8 : 1 + below(w, 8);
    w->per_leaf = 1 + below(w, 8);
    w->per_pod = w->per_leaf * (1 + below(w, 4));
    w->whole_only = below(w, 2);
    w->exact = below(w, 2);
    w->owners = below(w, 3) == 0;
    w->carries_on = seed % 2;
    w->fractions = seed % 4 >= 2;
    uint32_t kinds = 1 + below(w, 3);
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        uint32_t pod = i / w->per_pod;
        w->nodes[i] = (struct plan_node){.usable_mask = full(w),
                                         .pod = pod,
                                         .leaf = i / w->per_leaf,
                                         .accel_class = (uint8_t)(pod % kinds),
                                         .tier = (uint8_t)(1 + pod % 2)};
    }
    for (uint32_t i = 0; w->owners && i < NATIONS; i++)
        w->nations[i].guaranteed = w->n_nodes * w->acc / NATIONS;
}

static struct job *find(struct world *w, uint32_t handle)
{
    for (uint32_t i = 0; i < JOBS; i++)
        if (w->jobs[i].state != NONE && w->jobs[i].ask.handle == handle)
            return &w->jobs[i];
    return NULL;
}

static void submit(struct world *w)
{
    struct job *j = NULL;
    for (uint32_t i = 0; i < JOBS && !j; i++)
        if (w->jobs[i].state == NONE)
            j = &w->jobs[i];
    if (!j)
        return;
    uint32_t nodes = 1 + below(w, below(w, 4) ? 4 : w->n_nodes);
    uint32_t acc = nodes * w->acc;
    if (!w->whole_only && nodes == 1)
        acc = 1 + below(w, w->acc);
    *j = (struct job){.state = PENDING,
                      .ask = {.submit_us = w->now_us,
                              .handle = ++w->next_handle,
                              .min_acc = acc,
                              .walltime_s = 60 + 60 * below(w, 120),
                              .nation = below(w, NATIONS),
                              .project = PLAN_NONE,
                              .person = PLAN_NONE,
                              .after = PLAN_NONE,
                              .accel_class = below(w, 3) ? PLAN_CLASS_ANY : (uint8_t)below(w, 3),
                              .tier = (uint8_t)below(w, 3),
                              .resolved = true}};
    if (!w->whole_only && below(w, 6) == 0) {
        j->ask.level = (uint8_t)(PLAN_POD + below(w, 3));
        j->ask.level_required = true;
    }
    j->ask.owned = w->owners && below(w, 2);
    const struct plan_input in = {.now_us = w->now_us, .nodes = w->nodes, .n_nodes = w->n_nodes};
    if (sched_possible(&in, &j->ask, NULL) < 0)
        j->state = NONE;
}

static void end_jobs(struct world *w)
{
    for (uint32_t i = 0; i < JOBS; i++) {
        struct job *j = &w->jobs[i];
        if (j->state == RUNNING && (j->end_us <= w->now_us || j->limit_us <= w->now_us)) {
            w->gone[w->n_gone++] = j->ask.handle;
            if (j->stopping) { /* comes back */
                j->state = PENDING;
                j->stopping = false;
                j->ask.front = true;
                j->ask.promise_us = 0;
                j->n_parts = 0;
                j->ask.handle = ++w->next_handle;
            } else {
                j->state = NONE;
            }
        }
    }
}

/* ---- one plan, checked ---- */

static int64_t loose_us(const struct world *w)
{
    return w->fractions ? 2 * BT_US_PER_S : 0;
}

static int by_handle(const void *x, const void *y)
{
    const struct job *const *a = x, *const *b = y;
    return ((*a)->ask.handle > (*b)->ask.handle) - ((*a)->ask.handle < (*b)->ask.handle);
}

static struct plan_input snapshot(struct world *w)
{
    struct job *sorted[JOBS];
    uint32_t n = 0, n_running = 0, n_pending = 0, n_parts = 0;
    for (uint32_t i = 0; i < JOBS; i++)
        if (w->jobs[i].state != NONE)
            sorted[n++] = &w->jobs[i];
    qsort(sorted, n, sizeof *sorted, by_handle);
    for (uint32_t i = 0; i < n; i++) {
        struct job *j = sorted[i];
        if (j->state == PENDING) {
            w->pending[n_pending++] = j->ask;
            continue;
        }
        w->running[n_running++] = (struct plan_running){.start_us = j->start_us,
                                                        .limit_us = j->limit_us,
                                                        .handle = j->ask.handle,
                                                        .parts_off = n_parts,
                                                        .n_parts = j->n_parts,
                                                        .nation = j->ask.nation,
                                                        .grace_s = GRACE_S,
                                                        .owned = j->owned,
                                                        .requeueable = true,
                                                        .stopping = j->stopping};
        for (uint32_t k = 0; k < j->n_parts; k++)
            w->parts[n_parts++] = j->parts[k];
    }
    for (uint32_t i = 0; i < w->n_nodes; i++)
        w->nodes[i].free_mask = free_at(w, i, w->now_us, NULL);
    bt_free(BT_TAKE(w->moored));
    uint32_t n_moored = w->live ? sched_live_moored(w->live, &w->moored) : 0;
    return (struct plan_input){.now_us = w->now_us,
                               .nodes = w->nodes,
                               .n_nodes = w->n_nodes,
                               .nations = w->nations,
                               .n_nations = NATIONS,
                               .running = w->running,
                               .n_running = n_running,
                               .parts = w->parts,
                               .pending = w->pending,
                               .n_pending = n_pending,
                               .last = w->last.timeline ? &w->last : NULL,
                               .turnaround_s = w->fractions,
                               .moored = w->moored,
                               .n_moored = n_moored,
                               .promise_slack_s = 600,
                               .promise_slack_percent = 50};
}

/* The parts are free, of the right size, kind and closeness. */
static void check_start(struct world *w, const struct plan_part *parts, const struct plan_slot *s)
{
    struct job *j = find(w, s->handle);
    uint32_t acc = 0;
    assert_non_null(j);
    assert_true(s->n_parts >= 1 && s->n_parts <= MAX_PARTS);
    const struct plan_part *p = &parts[s->parts_off];
    for (uint32_t k = 0; k < s->n_parts; k++) {
        assert_true(p[k].mask != 0);
        assert_int_equal(p[k].mask & ~free_at(w, p[k].node, w->now_us, NULL), 0);
        assert_true(may_use(w, &j->ask, p[k].node));
        assert_true(group(w, &j->ask, p[k].node) == group(w, &j->ask, p[0].node));
        acc += (uint32_t)__builtin_popcountll(p[k].mask);
        j->parts[k] = p[k];
    }
    assert_int_equal(acc, j->ask.min_acc);
    w->late += j->ask.promise_us && w->now_us > j->ask.promise_us + loose_us(w) && w->whole_only;
    j->n_parts = s->n_parts;
    j->state = RUNNING;
    j->acc = acc;
    j->owned = s->owned;
    j->start_us = w->now_us;
    j->limit_us = w->now_us + j->ask.walltime_s * BT_US_PER_S;
    j->end_us = j->limit_us;
    if (!w->exact)
        j->end_us = w->now_us + (1 + below(w, j->ask.walltime_s)) * BT_US_PER_S;
    if (j->owned)
        assert_true(owned_by(w, j->ask.nation) <= w->nations[j->ask.nation].guaranteed);
    w->starts++;
}

/* Victims are lent; with one of them spared, the owner would not fit. */
static void check_victims(struct world *w, const struct plan_output *out)
{
    bool gone[JOBS] = {false};
    uint32_t owners = 0;
    for (uint32_t i = 0; i < JOBS; i++)
        owners += w->jobs[i].state == PENDING && w->jobs[i].ask.owned;
    for (uint32_t v = 0; v < out->n_victims; v++) {
        struct job *j = find(w, out->victims[v].handle);
        assert_non_null(j);
        assert_true(j->state == RUNNING && !j->owned && !j->stopping);
        gone[j - w->jobs] = true;
    }
    int64_t by_us = w->now_us + GRACE_S * BT_US_PER_S + loose_us(w);
    for (uint32_t v = 0; v < out->n_victims; v++) {
        struct job *j = find(w, out->victims[v].handle);
        const struct job *owner = find(w, out->victims[v].for_handle);
        assert_non_null(owner);
        assert_true(owner->ask.owned && owner->ask.nation != PLAN_NONE);
        if (owners == 1) {
            assert_true(fits_at(w, &owner->ask, by_us, gone));
            gone[j - w->jobs] = false;
            assert_false(fits_at(w, &owner->ask, by_us, gone));
            gone[j - w->jobs] = true;
            w->minimal_checked++;
        }
        w->victims++;
    }
    for (uint32_t v = 0; v < out->n_victims; v++) {
        struct job *j = find(w, out->victims[v].handle);
        j->stopping = true;
        j->limit_us = BT_MIN(j->limit_us, out->victims[v].stop_by_us);
    }
}

/* A guarantee can always be used: if an owner fits once everything lent has stopped, it starts
 * within the time that stopping takes. */
static void check_guarantee(struct world *w, const struct plan_output *out)
{
    bool lent[JOBS];
    const struct job *owner = NULL;
    uint32_t owners = 0;
    for (uint32_t i = 0; i < JOBS; i++) {
        const struct job *j = &w->jobs[i];
        lent[i] = j->state == RUNNING && !j->owned;
        if (j->state != PENDING || !j->ask.owned)
            continue;
        owners++;
        owner = j;
    }
    int64_t by_us = w->now_us + GRACE_S * BT_US_PER_S + loose_us(w);
    if (owners != 1 || !w->whole_only ||
        owner->ask.min_acc + owned_by(w, owner->ask.nation) >
            w->nations[owner->ask.nation].guaranteed ||
        !fits_at(w, &owner->ask, by_us, lent) || !fits_at(w, &owner->ask, w->now_us, lent))
        return;
    for (uint32_t i = 0; i < out->n_slots; i++)
        if (out->slots[i].handle == owner->ask.handle)
            assert_true(out->slots[i].start_us <= by_us);
    w->guarantees_checked++;
}

/* A job that waits alone starts exactly when a search over all times says. */
static void check_earliest(struct world *w, const struct plan_slot *s, const struct plan_pending *p)
{
    if (s->starts_now) {
        assert_true(fits_at(w, p, w->now_us, NULL));
    } else {
        assert_false(fits_at(w, p, w->now_us, NULL));
        assert_true(fits_at(w, p, s->start_us, NULL));
        assert_false(fits_at(w, p, s->start_us - BT_US_PER_S - loose_us(w), NULL));
    }
    w->earliest_checked++;
}

static void plan(struct world *w)
{
    const int64_t part_us = w->fractions * (BT_US_PER_S - 1); /* of the second that has begun */
    struct plan_input in = snapshot(w);
    struct plan_output out;
    struct bt_err err = {0};
    if (sched_plan(&in, &out, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(out.n_slots, in.n_pending);
    if (in.n_pending == 1 && !w->owners)
        check_earliest(w, &out.slots[0], &in.pending[0]);
    check_guarantee(w, &out);
    check_victims(w, &out);
    for (uint32_t i = 0; i < out.n_slots; i++) {
        const struct plan_slot *s = &out.slots[i];
        assert_true(s->start_us >= w->now_us - part_us && s->start_us < INT64_MAX);
        assert_true(s->floor_us <= s->start_us && s->start_us <= s->promise_us + part_us);
        w->moved += s->moved_from_us != 0;
        w->fragments += s->moved_from_us != 0 && !w->owners;
        w->promised += !in.pending[i].promise_us && !s->starts_now;
        if (!w->owners && !(in.pending[i].level_required && in.pending[i].level == PLAN_LEAF))
            assert_int_equal(s->moved_from_us, 0); /* nothing here may move a promise */
        if (s->starts_now)
            check_start(w, out.parts, s);
        else
            find(w, s->handle)->ask.promise_us = s->promise_us;
    }
    sched_live_free(w->live);
    w->live = NULL;
    w->n_gone = 0;
    if (w->carries_on && sched_live_new(&in, &w->live, &err) < 0)
        fail_msg("%s", err.text);
    sched_plan_done(&w->last);
    w->last = out;
}

/* Jobs have ended and nobody plans yet: what starts there is checked as what plans start, and the
 * next plan must find each promise as it was. */
static void carry_on(struct world *w)
{
    struct plan_starts s;
    for (uint32_t i = 0; i < w->n_gone; i++)
        sched_live_remove(w->live, w->gone[i]);
    w->n_gone = 0;
    sched_live_quick(w->live, w->now_us, &s);
    for (uint32_t i = 0; i < s.n; i++)
        check_start(w, s.parts, &s.slots[i]);
    w->between += s.n;
}

static bool any_job(const struct world *w)
{
    for (uint32_t i = 0; i < JOBS; i++)
        if (w->jobs[i].state != NONE)
            return true;
    return false;
}

/* The next moment at which something is due: an end, a stop or a planned start. */
static int64_t next_us(struct world *w)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < JOBS; i++)
        if (w->jobs[i].state == RUNNING)
            at = BT_MIN(at, BT_MIN(w->jobs[i].end_us, w->jobs[i].limit_us));
    for (uint32_t i = 0; i < w->last.n_slots; i++) {
        const struct plan_slot *s = &w->last.slots[i];
        if (!s->starts_now && s->start_us > w->now_us)
            at = BT_MIN(at, s->start_us);
    }
    return at == INT64_MAX ? w->now_us + BT_US_PER_S : BT_MAX(at, w->now_us + BT_US_PER_S);
}

/* Somebody's planned start has come: that is a plan's business. */
static bool is_due(struct world *w)
{
    for (uint32_t i = 0; i < w->last.n_slots; i++) {
        const struct job *j = find(w, w->last.slots[i].handle);
        if (j && j->state == PENDING && w->last.slots[i].start_us <= w->now_us)
            return true;
    }
    return false;
}

static int64_t fraction(struct world *w)
{
    return w->fractions ? below(w, BT_US_PER_S) : 0;
}

static void step(struct world *w)
{
    uint32_t n = below(w, 3);
    for (uint32_t i = 0; i < n; i++)
        submit(w);
    plan(w);
    w->events += n + 1;
    int64_t next = next_us(w);
    int64_t early = w->now_us + (1 + below(w, 600)) * BT_US_PER_S;
    if (w->fractions)
        early = below(w, 4) ? early - fraction(w) : w->now_us + fraction(w);
    w->now_us = below(w, 3) ? next : BT_MIN(next, early);
    end_jobs(w);
    for (uint32_t k = below(w, 4); w->live && k > 0 && !is_due(w); k--) {
        carry_on(w);
        next = next_us(w);
        early = w->now_us + below(w, 120) * BT_US_PER_S + fraction(w);
        w->now_us = BT_MIN(next, early);
        end_jobs(w);
    }
}

/* No new jobs: all that wait must run and end. */
static void drain(struct world *w)
{
    for (int i = 0; any_job(w); i++) {
        assert_true(i < 4000);
        plan(w);
        w->now_us = next_us(w);
        end_jobs(w);
        w->events++;
    }
}

static uint64_t events_wanted(void)
{
    int64_t n = 30000;
    const char *s = getenv("BT_EVENTS");
    if (s && bt_parse_i64(s, "BT_EVENTS", 1, INT64_MAX, &n, NULL) < 0)
        n = 30000;
    return (uint64_t)n;
}

static void random_histories_keep_every_property(void **state)
{
    (void)state;
    struct world *w BT_AUTO = bt_new(struct world);
    for (uint64_t seed = 1; w->events < events_wanted(); seed++) {
        new_world(w, seed);
        for (int i = 0; i < 150; i++)
            step(w);
        drain(w);
    }
    sched_plan_done(&w->last);
    sched_live_free(w->live);
    bt_free(w->moored);
    print_message(
        "# %llu events, %llu starts, %llu victims (%llu checked minimal), %llu guarantees "
        "used at once, %llu plans against a search, %llu starts between plans\n",
        (unsigned long long)w->events, (unsigned long long)w->starts,
        (unsigned long long)w->victims, (unsigned long long)w->minimal_checked,
        (unsigned long long)w->guarantees_checked, (unsigned long long)w->earliest_checked,
        (unsigned long long)w->between);
    print_message(
        "# %llu promises to waiting jobs, %llu moved, %llu of them for lack of place on a "
        "leaf\n",
        (unsigned long long)w->promised, (unsigned long long)w->moved,
        (unsigned long long)w->fragments);
    assert_int_equal(w->late, 0);
    assert_true(w->victims > 10 && w->minimal_checked > 0 && w->earliest_checked > 100);
    assert_true(w->between > 10);
}

static void equal_histories_give_equal_plans(void **state)
{
    (void)state;
    struct world *a BT_AUTO = bt_new(struct world), *b BT_AUTO = bt_new(struct world);
    for (uint64_t seed = 500; seed < 510; seed++) {
        new_world(a, seed);
        new_world(b, seed);
        for (int i = 0; i < 100; i++) {
            step(a);
            step(b);
            assert_int_equal(a->last.n_slots, b->last.n_slots);
            assert_memory_equal(a->jobs, b->jobs, sizeof a->jobs);
        }
    }
    sched_plan_done(&a->last);
    sched_plan_done(&b->last);
    sched_live_free(a->live);
    sched_live_free(b->live);
    bt_free(a->moored);
    bt_free(b->moored);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_histories_keep_every_property),
        cmocka_unit_test(equal_histories_give_equal_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
