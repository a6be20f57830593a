/* sched_stores_test.c - jobs that run only where their data is.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "daemon/sched/plan.h"
#include "lib/base/attr.h"
#include "lib/base/time.h"

enum { NODES = 8, MAX = 8 };
#define NOW (INT64_C(1790000000) * BT_US_PER_S)
#define S(x) (NOW + (int64_t)(x)*BT_US_PER_S)
#define BIT(store) (UINT32_C(1) << ((store)-1))

/* Two sites of four nodes; the first keeps data in store 1, the second in store 2. */
struct world {
    struct plan_input in;
    struct plan_node nodes[NODES];
    struct plan_running running[MAX];
    struct plan_part parts[NODES];
    struct plan_pending pending[MAX];
};

static void world_init(struct world *w)
{
    *w = (struct world){.in = {.now_us = NOW, .n_nodes = NODES, .promise_slack_s = 600}};
    for (uint32_t i = 0; i < NODES; i++)
        w->nodes[i] = (struct plan_node){.usable_mask = 0xff,
                                         .free_mask = 0xff,
                                         .site = i / 4,
                                         .pod = i / 4,
                                         .leaf = i / 4,
                                         .store = (uint8_t)(1 + i / 4),
                                         .tier = 4};
    w->in.nodes = w->nodes;
    w->in.running = w->running;
    w->in.parts = w->parts;
    w->in.pending = w->pending;
}

static struct plan_pending *ask(struct world *w, uint32_t acc, uint32_t stores)
{
    struct plan_pending *p = &w->pending[w->in.n_pending++];
    *p = (struct plan_pending){.submit_us = NOW,
                               .handle = 10 + w->in.n_pending,
                               .min_acc = acc,
                               .walltime_s = 3600,
                               .nation = PLAN_NONE,
                               .project = PLAN_NONE,
                               .person = PLAN_NONE,
                               .after = PLAN_NONE,
                               .accel_class = PLAN_CLASS_ANY,
                               .stores = stores,
                               .resolved = true};
    return p;
}

/* A job that holds the first nodes of the site until so many hours from now. */
static void occupy_some(struct world *w, uint32_t site, uint32_t hours, uint32_t n)
{
    struct plan_running *r = &w->running[w->in.n_running];
    *r = (struct plan_running)
    {
        .start_us = S(-3600)
        , .limit_us = S(hours * 3600)
        , .handle = 1 + w->in.n_running, .parts_off = 4 * w->in.n_running, .n_parts = n,
          .nation = PLAN_NONE
    };
    for (uint32_t i = 0; i < n; i++) {
        w->parts[r->parts_off + i] = (struct plan_part){.node = 4 * site + i, .mask = 0xff};
        w->nodes[4 * site + i].free_mask = 0;
    }
    w->in.n_running++;
}

static void occupy(struct world *w, uint32_t site, uint32_t hours)
{
    occupy_some(w, site, hours, 4);
}

static struct plan_output plan(struct world *w)
{
    struct plan_output out;
    struct bt_err err = {0};
    if (sched_plan(&w->in, &out, &err) < 0)
        fail_msg("%s", err.text);
    return out;
}

static void a_job_runs_only_where_its_data_is(void **state)
{
    static const struct {
        uint32_t stores, acc;
        int start;        /* hours; -1: never */
        uint32_t at_once; /* nodes that it then starts on, as bits; 0: it waits */
    } rows[] = {
        {BIT(1), 8, 0, 0x0f},         {BIT(2), 8, 0, 0xf0},  {BIT(1) | BIT(2), 8, 0, 0xff},
        {BIT(2), 3, 0, 0xf0},         {BIT(1), 32, 0, 0x0f}, {BIT(2), 40, -1, 0},
        {BIT(1) | BIT(2), 33, -1, 0}, {0, 32, 0, 0xff},      {BIT(3), 1, -1, 0},
        {PLAN_NO_STORE, 1, -1, 0},    {0, 33, -1, 0},
    };
    struct world w;
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        world_init(&w);
        ask(&w, rows[i].acc, rows[i].stores);
        struct plan_output out = plan(&w);
        const struct plan_slot *s = &out.slots[0];
        assert_int_equal(s->start_us, rows[i].start < 0 ? INT64_MAX : S(rows[i].start * 3600));
        assert_int_equal(s->starts_now, rows[i].at_once != 0);
        for (uint32_t k = 0; k < s->n_parts; k++)
            assert_true(rows[i].at_once >> out.parts[s->parts_off + k].node & 1);
        if (rows[i].start < 0)
            assert_int_equal(s->reason, rows[i].stores == PLAN_NO_STORE ? PLAN_REASON_DATA
                                        : rows[i].stores                ? PLAN_REASON_DATA_DOWN
                                                                        : PLAN_REASON_IMPOSSIBLE);
        assert_int_equal(sched_possible(&w.in, &w.pending[0], NULL) == 0, rows[i].start >= 0);
        sched_plan_done(&out);
    }
}

/* Two nodes of each site are free, and no cluster could start a gang on all four. */
static void a_gang_never_spans_sites(void **state)
{
    static const enum plan_level levels[] = {PLAN_ANY, PLAN_SITE, PLAN_POD};
    struct world w;
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(levels); i++) {
        world_init(&w);
        occupy_some(&w, 0, 4, 2);
        occupy_some(&w, 1, 2, 2);
        ask(&w, 32, 0)->level = (uint8_t)levels[i];
        ask(&w, 16, 0)->walltime_s = 60;
        struct plan_output out = plan(&w);
        assert_int_equal(out.slots[0].start_us, S(2 * 3600));
        assert_int_equal(out.slots[0].need_nodes, 4);
        assert_true(out.slots[1].starts_now);
        sched_plan_done(&out);
    }
    struct bt_err err = {0};
    world_init(&w);
    assert_int_equal(sched_possible(&w.in, ask(&w, 33, 0), &err), -BT_ERR_IMPOSSIBLE);
    assert_string_equal(err.text,
                        "asks for 33 accelerators at one site; the largest that it may use "
                        "has 32");
}

static void it_waits_for_its_site_while_others_go_elsewhere(void **state)
{
    struct world w;
    struct plan_explain x;
    (void)state;
    world_init(&w);
    occupy(&w, 0, 4);
    ask(&w, 8, BIT(1));
    ask(&w, 8, 0);
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[0].start_us, S(4 * 3600));
    assert_int_equal(out.slots[0].reason, PLAN_REASON_DATA_BUSY);
    assert_true(out.slots[1].starts_now);
    assert_int_equal(sched_explain(&w.in, &out, 11, &x, NULL), 0);
    assert_int_equal(x.fit.nodes, 8);
    assert_int_equal(x.fit.fit, 4);
    assert_int_equal(x.fit.away, 4);
    sched_plan_done(&out);
}

/* Its data is taken from the site where it was to run, and comes back later at the other. */
static void a_promise_that_moves_with_the_data_names_it(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    occupy(&w, 0, 4);
    occupy(&w, 1, 9);
    struct plan_pending *p = ask(&w, 8, BIT(1));
    struct plan_output first = plan(&w);
    assert_int_equal(first.slots[0].start_us, S(4 * 3600));
    p->promise_us = first.slots[0].promise_us;
    p->stores = PLAN_NO_STORE;
    w.in.last = &first;
    struct plan_output none = plan(&w);
    assert_int_equal(none.slots[0].start_us, INT64_MAX);
    assert_int_equal(none.slots[0].reason, PLAN_REASON_DATA);
    p->stores = BIT(2);
    w.in.last = &none;
    struct plan_output then = plan(&w);
    assert_int_equal(then.slots[0].start_us, S(9 * 3600));
    assert_int_equal(then.slots[0].cause, PLAN_CAUSE_DATA);
    assert_int_equal(then.slots[0].moved_from_us, first.slots[0].promise_us);
    sched_plan_done(&first);
    sched_plan_done(&none);
    sched_plan_done(&then);
}

/* One more site has it: the place that it was promised stays its own until something better. */
static void a_second_site_may_only_help(void **state)
{
    struct world w;
    (void)state;
    world_init(&w);
    occupy(&w, 0, 4);
    occupy(&w, 1, 9);
    struct plan_pending *p = ask(&w, 8, BIT(2));
    struct plan_output first = plan(&w);
    assert_int_equal(first.slots[0].start_us, S(9 * 3600));
    p->promise_us = first.slots[0].promise_us;
    p->stores = BIT(1) | BIT(2);
    w.in.last = &first;
    struct plan_output then = plan(&w);
    assert_int_equal(then.slots[0].start_us, S(4 * 3600));
    assert_int_equal(then.slots[0].promise_us, p->promise_us);
    sched_plan_done(&first);
    sched_plan_done(&then);
}

static void what_no_site_of_its_data_could_run_is_refused(void **state)
{
    static const struct {
        uint32_t stores, acc;
        uint16_t memory;
        const char *why;
    } rows[] = {
        {BIT(1), 33, 0,
         "asks for 33 accelerators where its data sets are; the largest that it may use has 32"},
        {BIT(3), 1, 0, "no site that holds its data sets has nodes that it may use"},
        {BIT(1), 1, 100,
         "no accelerator that it may use has 100 GB of memory; the largest has 80 GB"},
    };
    struct world w;
    (void)state;
    world_init(&w);
    for (uint32_t i = 0; i < NODES; i++)
        w.nodes[i].memory_gb = i < 4 ? 80 : 141;
    struct plan_limits *l = sched_limits(&w.in);
    for (size_t i = 0; i < 2 * BT_ARRAY_LEN(rows); i++) { /* the second time from what is kept */
        size_t k = i % BT_ARRAY_LEN(rows);
        struct bt_err err = {0};
        w.in.n_pending = 0;
        struct plan_pending *p = ask(&w, rows[k].acc, rows[k].stores);
        p->memory_gb = rows[k].memory;
        assert_int_equal(sched_limits_allow(l, p, &err), -BT_ERR_IMPOSSIBLE);
        assert_string_equal(err.text, rows[k].why);
    }
    sched_limits_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_runs_only_where_its_data_is),
        cmocka_unit_test(a_gang_never_spans_sites),
        cmocka_unit_test(it_waits_for_its_site_while_others_go_elsewhere),
        cmocka_unit_test(a_promise_that_moves_with_the_data_names_it),
        cmocka_unit_test(a_second_site_may_only_help),
        cmocka_unit_test(what_no_site_of_its_data_could_run_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
