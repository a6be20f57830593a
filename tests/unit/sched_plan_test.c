/* sched_plan_test.c - what sched_plan answers to small snapshots.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "daemon/sched/plan.h"
#include "lib/base/attr.h"
#include "lib/base/time.h"

enum { MAX = 64 };
#define NOW (INT64_C(1790000000) * BT_US_PER_S)
#define S(x) (NOW + (int64_t)(x)*BT_US_PER_S)

/* A snapshot that a test fills. */
struct world {
    struct plan_input in;
    struct plan_node nodes[MAX];
    struct plan_nation nations[4];
    struct plan_running running[MAX];
    struct plan_part parts[4 * MAX];
    struct plan_pending pending[MAX];
    struct plan_window windows[4];
    uint32_t window_nodes[MAX];
    uint32_t n_parts;
};

static void world_init(struct world *w, uint32_t n_nodes, uint32_t acc, uint32_t per_leaf,
                       uint32_t per_pod)
{
    *w = (struct world){0};
    for (uint32_t i = 0; i < n_nodes; i++) {
        uint64_t mask = acc == 64 ? ~UINT64_C(0) : (UINT64_C(1) << acc) - 1;
        w->nodes[i] = (struct plan_node){.usable_mask = mask,
                                         .free_mask = mask,
                                         .pod = i / per_pod,
                                         .leaf = i / per_leaf,
                                         .tier = 4};
    }
    w->in = (struct plan_input){.now_us = NOW,
                                .nodes = w->nodes,
                                .n_nodes = n_nodes,
                                .nations = w->nations,
                                .running = w->running,
                                .parts = w->parts,
                                .pending = w->pending,
                                .windows = w->windows,
                                .window_nodes = w->window_nodes,
                                .promise_slack_s = 600};
}

static struct plan_pending *ask(struct world *w, uint32_t handle, uint32_t acc, uint32_t hours)
{
    struct plan_pending *p = &w->pending[w->in.n_pending++];
    *p = (struct plan_pending){.submit_us = NOW,
                               .handle = handle,
                               .min_acc = acc,
                               .walltime_s = hours * 3600,
                               .nation = PLAN_NONE,
                               .project = PLAN_NONE,
                               .person = PLAN_NONE,
                               .after = PLAN_NONE,
                               .accel_class = PLAN_CLASS_ANY,
                               .resolved = true};
    return p;
}

/* A job that runs on whole nodes [first, first + n). */
static struct plan_running *run(struct world *w, uint32_t handle, uint32_t first, uint32_t n,
                                uint32_t hours)
{
    struct plan_running *r = &w->running[w->in.n_running++];
    *r = (struct plan_running)
    {
        .start_us = S(-3600)
        , .limit_us = S(hours * 3600)
        , .handle = handle, .parts_off = w->n_parts, .n_parts = n, .nation = PLAN_NONE,
          .requeueable = true
    };
    for (uint32_t i = first; i < first + n; i++) {
        w->parts[w->n_parts++] = (struct plan_part){.node = i, .mask = w->nodes[i].usable_mask};
        w->nodes[i].free_mask = 0;
    }
    return r;
}

static struct plan_output plan(struct world *w)
{
    struct plan_output out;
    struct bt_err err = {0};
    if (sched_plan(&w->in, &out, &err) < 0)
        fail_msg("%s", err.text);
    return out;
}

static void two_jobs_share_one_small_node(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1, 2, 1, 1);
    ask(&w, 1, 1, 1);
    ask(&w, 2, 1, 2);
    ask(&w, 3, 1, 3);
    struct plan_output out = plan(&w);
    assert_true(out.slots[0].starts_now && out.slots[1].starts_now);
    assert_false(out.slots[2].starts_now);
    assert_int_equal(out.n_starts, 2);
    assert_int_equal(
        out.parts[out.slots[0].parts_off].mask ^ out.parts[out.slots[1].parts_off].mask, 3);
    assert_int_equal(out.slots[2].start_us, S(3600));
    assert_int_equal(out.slots[2].blocker, 1);
    assert_int_equal(out.slots[2].ahead, 2);
    assert_true(out.slots[2].promise_us >= S(3600));
    sched_plan_done(&out);
}

static void a_wide_job_waits_for_the_last_node_it_needs(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 8, 8, 4, 8);
    run(&w, 1, 0, 3, 5);
    run(&w, 2, 3, 3, 9);
    ask(&w, 3, 40, 2);
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[0].start_us, S(5 * 3600));
    assert_int_equal(out.slots[0].blocker, 1);
    assert_int_equal(out.slots[0].reason, PLAN_REASON_RESOURCES);
    assert_int_equal(out.slots[0].need_nodes, 5);
    struct bt_buf text BT_BUF_AUTO = {0};
    const struct plan_names names = {4711, "cz"};
    sched_reason_text(&out.slots[0], &names, &text);
    assert_string_equal(bt_buf_text(&text), "waits for 5 nodes, next to be freed by job 4711");
    sched_plan_done(&out);
}

static void backfill_does_not_move_a_promise(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 8, 4, 4);
    run(&w, 1, 0, 2, 4);
    ask(&w, 2, 32, 2);
    struct plan_output first = plan(&w);
    assert_int_equal(first.slots[0].start_us, S(4 * 3600));
    w.pending[0].promise_us = first.slots[0].promise_us;
    ask(&w, 3, 16, 4); /* ends just in time */
    ask(&w, 4, 16, 5); /* does not */
    w.in.last = &first;
    struct plan_output out = plan(&w);
    assert_true(out.slots[1].starts_now);
    assert_false(out.slots[2].starts_now);
    assert_int_equal(out.slots[0].start_us, S(4 * 3600));
    assert_int_equal(out.slots[0].promise_us, first.slots[0].promise_us);
    assert_int_equal(out.n_moved, 0);
    sched_plan_done(&first);
    sched_plan_done(&out);
}

static void a_gang_takes_the_tightest_leaf(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 12, 8, 4, 12);
    run(&w, 1, 0, 1, 1);
    run(&w, 2, 4, 2, 1);
    ask(&w, 3, 16, 1); /* leaf 1 has just two */
    ask(&w, 4, 24, 1)->level = PLAN_LEAF;
    struct plan_output out = plan(&w);
    const struct plan_slot *a = &out.slots[0], *b = &out.slots[1];
    assert_int_equal(a->n_parts, 2);
    assert_int_equal(out.parts[a->parts_off].node, 6);
    assert_int_equal(out.parts[a->parts_off + 1].node, 7);
    assert_int_equal(b->n_parts, 3);
    assert_int_equal(out.parts[b->parts_off].node / 4, 0);
    sched_plan_done(&out);
}

static void maintenance_keeps_long_jobs_off_and_lets_short_ones_in(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 4, 2, 2);
    w.window_nodes[0] = 0;
    w.window_nodes[1] = 1;
    w.windows[0] = (struct plan_window)
    {
        S(7200)
        , S(10800)
        , 0, 2
    };
    w.in.n_windows = 1;
    ask(&w, 1, 8, 3);
    ask(&w, 2, 4, 2);
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[0].start_us, S(10800));
    assert_int_equal(out.slots[0].reason, PLAN_REASON_MAINTENANCE);
    assert_true(out.slots[1].starts_now);
    sched_plan_done(&out);
}

static void a_class_and_an_enclave_narrow_the_choice(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 8, 2, 4);
    for (int i = 0; i < 4; i++) {
        w.nodes[i].accel_class = (uint8_t)(i / 2);
        w.nodes[i].tier = (uint8_t)(i % 2 ? 4 : 1);
    }
    ask(&w, 1, 8, 1)->accel_class = 1;
    struct plan_pending *p = ask(&w, 2, 8, 1);
    p->accel_class = 0;
    p->tier = 3;
    ask(&w, 3, 8, 1)->tier = 5;
    struct plan_output out = plan(&w);
    assert_int_equal(out.parts[out.slots[0].parts_off].node, 2); /* the lower enclave first */
    assert_int_equal(out.parts[out.slots[1].parts_off].node, 1);
    assert_int_equal(out.slots[2].reason, PLAN_REASON_IMPOSSIBLE);
    sched_plan_done(&out);
}

static void an_owner_gets_lent_nodes_back_from_who_loses_least(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 8, 4, 4);
    w.nations[0].guaranteed = 16;
    w.in.n_nations = 2;
    for (uint32_t i = 0; i < 4; i++) {
        struct plan_running *r = run(&w, 10 + i, i, 1, 10);
        r->nation = 1;
        r->ckpt_us = S(-100 * (int)(1 + (i ^ 1)));
        r->grace_s = 60;
    }
    struct plan_pending *p = ask(&w, 20, 16, 2);
    p->nation = 0;
    p->owned = true;
    struct plan_output out = plan(&w);
    assert_int_equal(out.n_victims, 2);
    assert_int_equal(out.victims[0].handle, 11); /* 100 s since its checkpoint */
    assert_int_equal(out.victims[1].handle, 10); /* 200 s */
    assert_int_equal(out.victims[0].for_handle, 20);
    assert_int_equal(out.victims[0].lost_acc_s, 800);
    assert_int_equal(out.slots[0].start_us, S(60));
    assert_true(out.slots[0].owned);
    assert_int_equal(out.slots[0].reason, PLAN_REASON_RECLAIM);
    sched_plan_done(&out);
}

/* Times are rounded up to seconds: who began in this one, or says that it wrote a checkpoint later
 * than now, has lost nothing, and not less than that. */
static void who_began_a_moment_ago_gives_its_nodes_back_too(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct world w;
        world_init(&w, 2, 8, 2, 2);
        w.nations[0].guaranteed = 8;
        w.in.n_nations = 2;
        w.in.now_us = NOW + BT_US_PER_S / 2;
        for (uint32_t i = 0; i < 2; i++) {
            struct plan_running *r = run(&w, 10 + i, i, 1, 10);
            r->nation = 1;
            r->start_us = NOW + BT_US_PER_S / 4;
            r->ckpt_us = late ? S(7) : 0;
        }
        struct plan_pending *p = ask(&w, 20, 8, 2);
        p->nation = 0;
        p->owned = true;
        struct plan_output out = plan(&w);
        assert_int_equal(out.n_victims, 1);
        assert_int_equal(out.victims[0].lost_acc_s, 0);
        assert_int_equal(out.slots[0].reason, PLAN_REASON_RECLAIM);
        sched_plan_done(&out);
    }
}

static void an_owned_job_is_never_a_victim(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 8, 2, 2);
    w.nations[0].guaranteed = 8;
    w.nations[1].guaranteed = 16;
    w.in.n_nations = 2;
    for (uint32_t i = 0; i < 2; i++) {
        struct plan_running *r = run(&w, 10 + i, i, 1, 10);
        r->nation = 1;
        r->owned = true;
    }
    struct plan_pending *p = ask(&w, 20, 8, 2);
    p->nation = 0;
    p->owned = true;
    struct plan_output out = plan(&w);
    assert_int_equal(out.n_victims, 0);
    assert_int_equal(out.slots[0].start_us, S(36000));
    sched_plan_done(&out);
}

static void an_owner_moves_a_lent_promise_and_is_named(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 8, 2, 2);
    w.nations[0].guaranteed = 16;
    w.in.n_nations = 2;
    run(&w, 1, 0, 2, 1)->requeueable = false;
    ask(&w, 2, 16, 4)->nation = 1;
    struct plan_output first = plan(&w);
    assert_int_equal(first.slots[0].start_us, S(3600));
    w.pending[0].promise_us = first.slots[0].promise_us;
    struct plan_pending *p = ask(&w, 3, 16, 4);
    p->nation = 0;
    p->owned = true;
    w.in.last = &first;
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[1].start_us, S(3600));
    assert_int_equal(out.slots[0].start_us, S(5 * 3600));
    assert_int_equal(out.slots[0].moved_from_us, first.slots[0].promise_us);
    assert_int_equal(out.slots[0].cause, PLAN_CAUSE_OWNED);
    assert_int_equal(out.slots[0].cause_job, 3);
    assert_int_equal(out.slots[0].cause_nation, 0);
    sched_plan_done(&first);
    sched_plan_done(&out);
}

static void the_frugal_nation_goes_first(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1, 8, 1, 1);
    w.nations[0].used = 9000000;
    w.nations[1].used = 1000000;
    w.in.n_nations = 2;
    run(&w, 1, 0, 1, 1);
    ask(&w, 2, 8, 2)->nation = 0;
    ask(&w, 3, 8, 2)->nation = 1;
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[1].start_us, S(3600));
    assert_int_equal(out.slots[0].start_us, S(3 * 3600));
    assert_int_equal(out.slots[0].reason, PLAN_REASON_FAIR_SHARE);
    assert_int_equal(out.slots[0].reason_nation, 1);
    sched_plan_done(&out);
}

static void a_dependent_is_planned_behind_and_never_started(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 8, 4, 4);
    ask(&w, 1, 8, 3);
    struct plan_pending *p = ask(&w, 2, 8, 1);
    p->after = 1;
    p->resolved = false;
    struct plan_output out = plan(&w);
    assert_true(out.slots[0].starts_now);
    assert_false(out.slots[1].starts_now);
    assert_int_equal(out.slots[1].start_us, S(3 * 3600));
    assert_int_equal(out.slots[1].reason, PLAN_REASON_DEPENDENCY);
    assert_int_equal(out.slots[1].blocker, 1);
    sched_plan_done(&out);
}

static void a_dependent_has_no_earlier_floor_than_the_end_it_waits_for(void **state)
{
    (void)state;
    struct world w;
    struct bt_buf why = {0};
    const struct plan_names names = {.job = 41, .nation = "?"};
    world_init(&w, 4, 8, 4, 4);
    run(&w, 1, 0, 1, 5);
    ask(&w, 2, 8, 3);
    for (uint32_t i = 0; i < 2; i++) { /* behind what runs, and behind what is planned */
        struct plan_pending *p = ask(&w, 3 + i, 8, 1);
        p->after = 1 + i;
        p->resolved = false;
    }
    struct plan_output out = plan(&w);
    for (uint32_t i = 0; i < 2; i++) {
        const struct plan_slot *s = &out.slots[1 + i];
        int64_t end = i ? S(3 * 3600) : S(5 * 3600);
        assert_int_equal(s->blocker, 1 + i);
        assert_int_equal(s->reason_us, end);
        assert_int_equal(s->floor_us, end); /* three nodes are free all the time */
        assert_int_equal(s->start_us, end);
        assert_int_equal(s->promise_us, 0);
    }
    sched_reason_text(&out.slots[2], &names, &why);
    assert_string_equal(bt_buf_text(&why),
                        "waits for job 41 to end, which is planned for 2026-09-21T17:13:20Z");
    bt_buf_done(&why);
    sched_plan_done(&out);
}

static void an_elastic_job_takes_what_is_there(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 6, 8, 6, 6);
    run(&w, 1, 0, 2, 9);
    struct plan_pending *p = ask(&w, 2, 8, 3);
    p->max_acc = 64;
    struct plan_output out = plan(&w);
    assert_true(out.slots[0].starts_now);
    assert_int_equal(out.slots[0].n_acc, 32);
    assert_int_equal(out.slots[0].n_parts, 4);
    sched_plan_done(&out);
}

static void a_gang_larger_than_a_pod_spans_pods(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 12, 8, 2, 4);
    run(&w, 1, 0, 2, 5);
    ask(&w, 2, 80, 1);
    ask(&w, 3, 80, 1)->level_required = true;
    w.pending[1].level = PLAN_POD;
    struct plan_output out = plan(&w);
    assert_true(out.slots[0].starts_now);
    assert_int_equal(out.slots[0].n_parts, 10);
    assert_int_equal(out.slots[1].reason, PLAN_REASON_IMPOSSIBLE);
    sched_plan_done(&out);
}

static void newcomers_get_different_provisional_slots(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1, 8, 1, 1);
    run(&w, 1, 0, 1, 1);
    struct plan_output out = plan(&w);
    struct plan_pending *p = ask(&w, 2, 8, 1);
    struct plan_slot a, b, c;
    struct plan_spare *spare = sched_spare_new(&out);
    assert_int_equal(sched_provisional(&out, p, S(1), &a, NULL), 0);
    p->handle = 3;
    assert_int_equal(sched_provisional(&out, p, S(1), &b, NULL), 0);
    assert_int_equal(a.start_us, S(3600));
    assert_int_equal(b.start_us, S(7200));
    for (int i = 1; i <= 3; i++) { /* what others took of the plan is not seen in its copy */
        assert_int_equal(sched_spare_slot(spare, p, S(1), &c, NULL), 0);
        assert_int_equal(c.start_us, S(3600 * i));
    }
    sched_spare_free(spare);
    sched_plan_done(&out);
}

static void an_explanation_names_who_is_in_front_and_what_would_help(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 8, 2, 2);
    run(&w, 1, 0, 2, 6);
    run(&w, 2, 2, 1, 3);
    struct plan_pending *p = ask(&w, 3, 16, 4);
    p->level = PLAN_POD;
    p->level_required = true;
    ask(&w, 4, 8, 3);
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[0].start_us, S(3 * 3600));
    assert_true(out.slots[1].starts_now);
    struct plan_explain x;
    assert_int_equal(sched_explain(&w.in, &out, 3, &x, NULL), 0);
    assert_int_equal(x.n_front, 2);
    assert_true(x.front[0].handle == 2 && x.front[0].running);
    assert_int_equal(x.n_change, 0); /* its pod is full until then, whatever it asks */
    p = ask(&w, 5, 32, 4);
    assert_int_equal(sched_explain_new(&w.in, &out, p, &x, NULL), 0);
    assert_int_equal(x.slot.start_us, S(7 * 3600));
    assert_int_equal(x.n_change, 1);
    assert_int_equal(x.change[0].kind, PLAN_FEWER);
    assert_int_equal(x.change[0].value, 16);
    assert_int_equal(x.change[0].start_us, S(6 * 3600));
    assert_int_equal(sched_explain(&w.in, &out, 77, &x, NULL), -BT_ERR_NOT_FOUND);
    sched_plan_done(&out);
}

static void a_shorter_walltime_fits_before_a_promise(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 8, 4, 4);
    run(&w, 1, 0, 2, 4);
    ask(&w, 2, 32, 2);
    struct plan_output first = plan(&w);
    w.pending[0].promise_us = first.slots[0].promise_us;
    ask(&w, 3, 16, 9);
    w.in.last = &first;
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[1].start_us, S(6 * 3600));
    assert_int_equal(out.slots[1].reason, PLAN_REASON_ORDER);
    assert_int_equal(out.slots[1].blocker, 2);
    struct plan_explain x;
    assert_int_equal(sched_explain(&w.in, &out, 3, &x, NULL), 0);
    assert_int_equal(x.n_change, 1);
    assert_int_equal(x.change[0].kind, PLAN_SHORTER);
    assert_int_equal(x.change[0].value, 4 * 3600);
    assert_int_equal(x.change[0].start_us, NOW);
    sched_plan_done(&first);
    sched_plan_done(&out);
}

static void impossible_requests_are_refused_with_the_limit(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 8, 8, 2, 4);
    w.nodes[0].state = PLAN_DOWN;
    const struct {
        struct plan_pending p;
        int rc;
        const char *text;
    } cases[] = {
        {{.min_acc = 64, .walltime_s = 60, .accel_class = 255}, 0, ""},
        {{.min_acc = 65, .walltime_s = 60, .accel_class = 255},
         -BT_ERR_IMPOSSIBLE,
         "asks for 65 accelerators; the largest that it may use has 64"},
        {{.min_acc = 33, .walltime_s = 60, .accel_class = 255, .level = 2, .level_required = 1},
         -BT_ERR_IMPOSSIBLE,
         "asks for 33 accelerators in one pod; the largest that it may use has 32"},
        {{.min_acc = 64, .walltime_s = 60, .accel_class = 255, .per_node = 8}, 0, ""},
        {{.min_acc = 64,
          .walltime_s = 60,
          .accel_class = 255,
          .per_node = 8,
          .level = 1,
          .level_required = 1},
         0,
         ""},
        {{.min_acc = 16, .walltime_s = 60, .accel_class = 255, .per_node = 4}, 0, ""},
        {{.min_acc = 17, .walltime_s = 60, .accel_class = 255, .per_node = 4},
         -BT_ERR_IMPOSSIBLE,
         "asks for 17 accelerators on parts of nodes of one pod; the largest that it may use has "
         "16"},
        {{.min_acc = 8, .walltime_s = 60, .accel_class = 3},
         -BT_ERR_IMPOSSIBLE,
         "the facility has no accelerators of class 3"},
        {{.min_acc = 8, .walltime_s = 60, .accel_class = 255, .tier = 5},
         -BT_ERR_IMPOSSIBLE,
         "no such node lies in an enclave of tier 5"},
        {{.min_acc = 0, .walltime_s = 60}, -BT_ERR_INVALID, "asks for 0 to 0 accelerators"},
    };
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        assert_int_equal(sched_possible(&w.in, &cases[i].p, &err), cases[i].rc);
        assert_string_equal(err.text, cases[i].text);
    }
}

static void what_may_be_asked_for_is_planned(void **state)
{
    static const struct {
        uint32_t acc;
        uint8_t per_node, level;
    } rows[] = {{64, 8, PLAN_SITE}, {64, 8, PLAN_ANY},  {64, 0, PLAN_SITE},
                {16, 4, PLAN_SITE}, {17, 4, PLAN_ANY},  {32, 4, PLAN_SITE},
                {20, 5, PLAN_POD},  {12, 4, PLAN_LEAF}, {8, 8, PLAN_LEAF}};
    static struct world w;
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        world_init(&w, 8, 8, 2, 4);
        struct plan_pending *p = ask(&w, 1, rows[i].acc, 1);
        p->per_node = rows[i].per_node;
        p->level = rows[i].level;
        p->level_required = rows[i].level != PLAN_ANY;
        struct plan_output out = plan(&w);
        bool possible = sched_possible(&w.in, p, NULL) == 0;
        assert_int_equal(possible, out.slots[0].start_us < INT64_MAX);
        sched_plan_done(&out);
    }
}

static void memory_and_bandwidth_narrow_the_choice(void **state)
{
    static const struct {
        uint16_t memory, busbw;
        uint32_t acc;
    } rows[] = {
        {0, 0, 8},   {100, 0, 8},  {80, 300, 8}, {100, 300, 8},
        {0, 301, 8}, {100, 0, 16}, {0, 1, 3},    {101, 0, 16},
    };
    static struct world w;
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        world_init(&w, 5, 8, 5, 5);
        for (uint32_t n = 0; n < 5; n++)
            w.nodes[n].memory_gb = n < 2 ? 80 : n == 2 ? 100 : 141;
        w.nodes[1].busbw_mbs = 300000; /* 0 and 2 were never measured */
        w.nodes[3].busbw_mbs = w.nodes[4].busbw_mbs = 450000;
        struct plan_pending *p = ask(&w, 1, rows[i].acc, 1);
        p->memory_gb = rows[i].memory;
        p->busbw_gb = rows[i].busbw;
        struct plan_output out = plan(&w);
        assert_true(out.slots[0].starts_now);
        for (uint32_t k = 0; k < out.slots[0].n_parts; k++) {
            const struct plan_node *n = &w.nodes[out.parts[out.slots[0].parts_off + k].node];
            assert_true(n->memory_gb >= rows[i].memory);
            assert_true(n->busbw_mbs >= rows[i].busbw * 1000U);
        }
        assert_int_equal(sched_possible(&w.in, p, NULL), 0);
        sched_plan_done(&out);
    }
}

static void a_gang_that_asks_for_nothing_spans_what_others_divide(void **state)
{
    static struct world w;
    (void)state;
    world_init(&w, 4, 8, 4, 4);
    w.nodes[0].busbw_mbs = w.nodes[1].busbw_mbs = 400000;
    w.nodes[2].busbw_mbs = w.nodes[3].busbw_mbs = 299999;
    run(&w, 1, 0, 4, 1);
    struct plan_pending *all = ask(&w, 2, 32, 1), *fast = ask(&w, 3, 16, 1);
    all->level = PLAN_POD;
    all->level_required = true;
    fast->busbw_gb = 300;
    struct plan_output out = plan(&w);
    assert_true(out.slots[0].start_us < S(2 * 3600));
    assert_int_equal(out.slots[0].need_nodes, 4);
    assert_true(out.slots[1].start_us < INT64_MAX);
    sched_plan_done(&out);
}

static void more_than_the_facility_has_is_refused_with_what_there_is(void **state)
{
    static const struct {
        uint16_t memory, busbw;
        uint8_t tier, class;
        uint32_t acc;
        const char *why, *next;
    } rows[] = {
        {142, 0, 0, PLAN_CLASS_ANY, 8,
         "no accelerator that it may use has 142 GB of memory; the largest has 141 GB",
         "ask for --memory 141G or less"},
        {0, 500, 0, PLAN_CLASS_ANY, 8,
         "no node that it may use was measured at 500 GB/s; the fastest has 450.2 GB/s, 1 were "
         "never "
         "measured",
         "ask for --min-bandwidth 450 or less"},
        {141, 0, 3, PLAN_CLASS_ANY, 8, /* the enclave of tier 3 has small ones only */
         "no accelerator that it may use has 141 GB of memory; the largest has 80 GB",
         "ask for --memory 80G or less"},
        {0, 10, 0, 1, 8, "the bandwidth of none of the 1 nodes that it may use was ever measured",
         "ask an operator: beamtime node measure"},
        {100, 400, 0, PLAN_CLASS_ANY, 17,
         "asks for 17 accelerators of such memory and bandwidth; the largest that it may use has "
         "16",
         "ask for at most 16 or a looser level"},
    };
    static struct world w;
    (void)state;
    world_init(&w, 4, 8, 4, 4);
    for (uint32_t n = 0; n < 4; n++) {
        w.nodes[n].memory_gb = n < 2 ? 80 : 141;
        w.nodes[n].busbw_mbs = n == 1 ? 300000 : n > 1 ? 450200 : 0;
        w.nodes[n].tier = n < 2 ? 4 : 2;
    }
    w.nodes[0].accel_class = 1;
    struct plan_limits *l = sched_limits(&w.in);
    for (size_t i = 0; i < 2 * BT_ARRAY_LEN(rows); i++) { /* the second time from what is kept */
        size_t k = i % BT_ARRAY_LEN(rows);
        struct bt_err err = {0};
        w.in.n_pending = 0;
        struct plan_pending *p = ask(&w, 1, rows[k].acc, 1);
        p->memory_gb = rows[k].memory;
        p->busbw_gb = rows[k].busbw;
        p->tier = rows[k].tier;
        p->accel_class = rows[k].class;
        assert_int_equal(sched_limits_allow(l, p, &err), -BT_ERR_IMPOSSIBLE);
        assert_string_equal(err.text, rows[k].why);
        assert_string_equal(err.next, rows[k].next);
    }
    w.in.n_pending = 0;
    struct plan_pending *p = ask(&w, 1, 8, 1);
    p->busbw_gb = 500;
    sched_limits_measured(l, 2, 500000);
    assert_int_equal(sched_limits_allow(l, p, NULL), 0);
    sched_limits_free(l);
}

static void an_explanation_counts_the_nodes_that_fit_and_says_what_less_would_do(void **state)
{
    static struct world w;
    struct plan_explain x;
    bool memory = false, bandwidth = false;
    (void)state;
    world_init(&w, 5, 8, 5, 5);
    for (uint32_t n = 0; n < 5; n++) {
        w.nodes[n].memory_gb = n < 1 ? 80 : 141;
        w.nodes[n].busbw_mbs = n == 2 ? 200000 : n == 3 || n == 0 ? 450000 : 0;
    }
    run(&w, 1, 3, 1, 4);
    struct plan_pending *p = ask(&w, 2, 8, 1);
    p->memory_gb = 100;
    p->busbw_gb = 400;
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[0].reason, PLAN_REASON_FILTER);
    assert_int_equal(sched_explain(&w.in, &out, 2, &x, NULL), 0);
    assert_int_equal(x.fit.nodes, 5);
    assert_int_equal(x.fit.fit, 1);
    assert_int_equal(x.fit.small, 1);
    assert_int_equal(x.fit.slow, 1);
    assert_int_equal(x.fit.unmeasured, 2);
    for (uint32_t i = 0; i < x.n_change; i++) {
        memory |= x.change[i].kind == PLAN_LESS_MEMORY && x.change[i].value == 80;
        bandwidth |= x.change[i].kind == PLAN_LESS_BANDWIDTH && x.change[i].value == 0;
    }
    assert_true(memory);
    assert_true(bandwidth);
    sched_plan_done(&out);
    w.in.n_pending = 0; /* a dry run: nobody before it told the nodes apart */
    out = plan(&w);
    p = ask(&w, 7, 8, 1);
    p->busbw_gb = 400;
    p->memory_gb = 100;
    w.in.n_pending = 0;
    assert_int_equal(sched_explain_new(&w.in, &out, p, &x, NULL), 0);
    assert_true(x.slot.start_us >= S(4 * 3600) && x.slot.start_us < S(5 * 3600));
    assert_int_equal(x.fit.fit, 1);
    sched_plan_done(&out);
}

/* Nodes [first, first + n) are a reservation's from..until hours. */
static void reserve(struct world *w, uint32_t number, uint32_t first, uint32_t n, int from,
                    int until)
{
    struct plan_window *win = &w->windows[w->in.n_windows++];
    uint32_t off = 0;
    for (uint32_t i = 0; i + 1 < w->in.n_windows; i++)
        off += w->windows[i].n_nodes;
    *win = (struct plan_window)
    {
        .from_us = S(from * 3600)
        , .until_us = S(until * 3600)
        , .nodes_off = off, .n_nodes = n, .reservation = number
    };
    for (uint32_t i = 0; i < n; i++)
        w->window_nodes[off + i] = first + i;
}

static void a_reservation_is_for_who_names_it_and_for_nobody_else(void **state)
{
    static const struct {
        int from, until; /* of the reservation on nodes 2 and 3, hours */
        uint32_t named;  /* of the job */
        uint32_t acc, hours;
        int start;            /* hours; -1 = never */
        uint32_t least, most; /* nodes that it may start on now */
    } rows[] = {
        {0, 4, 9, 16, 4, 0, 2, 3},  /* whole of it */
        {0, 4, 9, 3, 4, 0, 2, 3},   /* less than a node */
        {0, 4, 0, 16, 4, 0, 0, 1},  /* others go elsewhere */
        {0, 4, 0, 32, 1, 4, 0, 0},  /* or wait until it is over */
        {2, 4, 0, 32, 2, 0, 0, 3},  /* or end before it begins */
        {2, 4, 0, 32, 3, 4, 0, 0},  /* who cannot, does not begin */
        {2, 4, 9, 16, 2, 2, 0, 0},  /* its own wait for it */
        {2, 4, 9, 16, 3, -1, 0, 0}, /* and must fit in */
        {0, 4, 9, 17, 1, -1, 0, 0}, /* in number, too */
        {0, 4, 8, 8, 1, -1, 0, 0},  /* of another there is nothing */
    };
    static struct world w;
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        world_init(&w, 4, 8, 4, 4);
        reserve(&w, 9, 2, 2, rows[i].from, rows[i].until);
        struct plan_pending *p = ask(&w, 1, rows[i].acc, rows[i].hours);
        p->reservation = rows[i].named;
        if (rows[i].named && rows[i].from)
            p->eligible_us = S(rows[i].from * 3600);
        struct plan_output out = plan(&w);
        const struct plan_slot *s = &out.slots[0];
        if (rows[i].start < 0) {
            assert_true(s->start_us == INT64_MAX && !s->starts_now);
            assert_int_equal(s->reason, PLAN_REASON_RESERVED_FULL);
        } else {
            if (s->start_us != S(rows[i].start * 3600))
                fail_msg("row %zu starts %d s from now", i, (int)((s->start_us - NOW) / 1000000));
            assert_int_equal(s->starts_now, rows[i].start == 0);
        }
        for (uint32_t k = 0; k < s->n_parts; k++) {
            assert_true(out.parts[s->parts_off + k].node >= rows[i].least);
            assert_true(out.parts[s->parts_off + k].node <= rows[i].most);
        }
        if (rows[i].start > 0)
            assert_int_equal(s->reason, rows[i].named ? PLAN_REASON_RESERVED : PLAN_REASON_AWAY);
        sched_plan_done(&out);
    }
}

static void jobs_of_a_reservation_share_it_as_others_share_the_rest(void **state)
{
    static struct world w;
    (void)state;
    world_init(&w, 4, 8, 4, 4);
    reserve(&w, 9, 2, 2, 0, 8);
    reserve(&w, 10, 2, 2, 8, 12);
    run(&w, 1, 2, 1, 2); /* began before: its node is missing until it ends */
    ask(&w, 2, 16, 3)->reservation = 9;
    ask(&w, 3, 8, 2)->reservation = 9;
    ask(&w, 4, 16, 3); /* of no reservation */
    struct plan_pending *last = ask(&w, 5, 16, 4);
    last->reservation = 10;
    last->eligible_us = S(8 * 3600);
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[0].start_us, S(2 * 3600));
    assert_true(out.slots[1].starts_now);
    assert_int_equal(out.parts[out.slots[1].parts_off].node, 3);
    assert_true(out.slots[2].starts_now);
    assert_true(out.parts[out.slots[2].parts_off].node < 2);
    assert_int_equal(out.slots[3].start_us, S(8 * 3600));
    w.in.last = &out; /* again: certificates of reservations are carried over */
    struct plan_output again = plan(&w);
    assert_int_equal(again.n_moved, 0);
    assert_int_equal(again.slots[0].start_us, S(2 * 3600));
    sched_plan_done(&again);
    w.in.last = NULL;
    sched_plan_done(&out);
}

static void lost_nodes_move_promises_and_say_so(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4, 8, 4, 4);
    run(&w, 1, 0, 2, 2);
    ask(&w, 2, 32, 2);
    ask(&w, 3, 24, 2);
    struct plan_output first = plan(&w);
    for (int i = 0; i < 2; i++)
        w.pending[i].promise_us = first.slots[i].promise_us;
    w.nodes[3].state = PLAN_DOWN;
    w.nodes[3].back_us = S(20 * 3600);
    w.in.last = &first;
    struct plan_output out = plan(&w);
    assert_int_equal(out.slots[0].start_us, S(20 * 3600));
    assert_int_equal(out.slots[0].cause, PLAN_CAUSE_CAPACITY);
    assert_int_equal(out.slots[1].start_us, S(2 * 3600));
    assert_int_equal(out.slots[1].cause, PLAN_CAUSE_NONE);
    sched_plan_done(&first);
    sched_plan_done(&out);
}

static void a_malformed_snapshot_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2, 8, 2, 2);
    struct plan_output out;
    struct bt_err err = {0};
    ask(&w, 5, 8, 1);
    ask(&w, 5, 8, 1);
    assert_int_equal(sched_plan(&w.in, &out, &err), -BT_ERR_INVALID);
    assert_string_equal(err.text, "pending job 5 is out of order");
    w.in.n_pending = 1;
    w.pending[0].walltime_s = 0;
    assert_int_equal(sched_plan(&w.in, &out, &err), -BT_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_jobs_share_one_small_node),
        cmocka_unit_test(a_wide_job_waits_for_the_last_node_it_needs),
        cmocka_unit_test(backfill_does_not_move_a_promise),
        cmocka_unit_test(a_gang_takes_the_tightest_leaf),
        cmocka_unit_test(maintenance_keeps_long_jobs_off_and_lets_short_ones_in),
        cmocka_unit_test(a_class_and_an_enclave_narrow_the_choice),
        cmocka_unit_test(an_owner_gets_lent_nodes_back_from_who_loses_least),
        cmocka_unit_test(who_began_a_moment_ago_gives_its_nodes_back_too),
        cmocka_unit_test(an_owned_job_is_never_a_victim),
        cmocka_unit_test(an_owner_moves_a_lent_promise_and_is_named),
        cmocka_unit_test(the_frugal_nation_goes_first),
        cmocka_unit_test(a_dependent_is_planned_behind_and_never_started),
        cmocka_unit_test(a_dependent_has_no_earlier_floor_than_the_end_it_waits_for),
        cmocka_unit_test(an_elastic_job_takes_what_is_there),
        cmocka_unit_test(a_gang_larger_than_a_pod_spans_pods),
        cmocka_unit_test(newcomers_get_different_provisional_slots),
        cmocka_unit_test(an_explanation_names_who_is_in_front_and_what_would_help),
        cmocka_unit_test(a_shorter_walltime_fits_before_a_promise),
        cmocka_unit_test(impossible_requests_are_refused_with_the_limit),
        cmocka_unit_test(what_may_be_asked_for_is_planned),
        cmocka_unit_test(memory_and_bandwidth_narrow_the_choice),
        cmocka_unit_test(a_gang_that_asks_for_nothing_spans_what_others_divide),
        cmocka_unit_test(more_than_the_facility_has_is_refused_with_what_there_is),
        cmocka_unit_test(an_explanation_counts_the_nodes_that_fit_and_says_what_less_would_do),
        cmocka_unit_test(a_reservation_is_for_who_names_it_and_for_nobody_else),
        cmocka_unit_test(jobs_of_a_reservation_share_it_as_others_share_the_rest),
        cmocka_unit_test(lost_nodes_move_promises_and_say_so),
        cmocka_unit_test(a_malformed_snapshot_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
