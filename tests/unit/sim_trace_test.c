/* sim_trace_test.c - histories in three formats, and policies whose outcome is known by hand.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "daemon/sim/sim.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

static int parse(const char *text, struct trace *t, struct bt_err *err)
{
    char *copy BT_AUTO = bt_strdup(text);
    return trace_parse(copy, strlen(copy), t, err);
}

static void each_format_gives_the_same_jobs(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "submit_s,duration_s,requested_s,accelerators,user,group,status\n"
        "100,60,120,8,u7,g3,done\n"
        "50,30,,4,u8,g3,done\n"
        "60,30,,0.5,u8,g3,done\n",
        "; a comment\n"
        "1 100 5 60 8 -1 -1 8 120 -1 1 7 3 -1 -1 -1 -1 -1\n"
        "2 50 5 30 -1 -1 -1 4 -1 -1 1 8 3 -1 -1 -1 -1 -1\n"
        "3 70 5 -1 4 -1 -1 4 -1 -1 0 8 3 -1 -1 -1 -1 -1\n",
        "JobID|User|Account|Submit|ElapsedRaw|Timelimit|AllocTRES|NNodes\n"
        "1|u7|g3|2026-01-01T00:01:40|60|00:02:00|billing=1,gres/gpu=8,node=1|1\n"
        "1.batch|u7|g3|2026-01-01T00:01:40|60||gres/gpu=8|1\n"
        "2|u8|g3|2026-01-01T00:00:50|30|||4\n"
        "3|u8|g3|2026-01-01T00:00:55|0|||4\n",
    };
    for (size_t i = 0; i < BT_ARRAY_LEN(texts); i++) {
        struct trace t;
        struct bt_err err = {0};
        if (parse(texts[i], &t, &err) < 0)
            fail_msg("%zu: %s", i, err.text);
        assert_int_equal(t.n_jobs, 2);
        assert_int_equal(t.n_skipped, 1);
        assert_true(t.has_walltimes);
        assert_int_equal(t.jobs[0].submit_s, 0);
        assert_int_equal(t.jobs[0].acc, 4);
        assert_int_equal(t.jobs[0].walltime_s, 30);
        assert_int_equal(t.jobs[1].submit_s, 50);
        assert_int_equal(t.jobs[1].duration_s, 60);
        assert_int_equal(t.jobs[1].walltime_s, 120);
        assert_int_equal(t.jobs[1].acc, 8);
        assert_string_equal(t.names[t.jobs[1].user], "u7");
        assert_int_equal(t.jobs[0].group, t.jobs[1].group);
        trace_done(&t);
    }
}

static void a_malformed_line_is_named(void **state)
{
    (void)state;
    const struct {
        const char *text, *says;
    } cases[] = {
        {"submit_s,duration_s,requested_s,accelerators,user,group,status\n1,x,,8,,,\n",
         "line 2: duration_s \"x\" is no number"},
        {"submit_s,duration_s,requested_s,accelerators,user,group,status\n1,2\n",
         "line 2 has fewer than 7 columns"},
        {"; c\n1 2 3\n", "line 2 has 3 of 18 fields"},
        {"JobID|User\n", "the export lacks Submit, Elapsed or AllocTRES/NNodes"},
    };
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct trace t;
        struct bt_err err = {0};
        assert_int_equal(parse(cases[i].text, &t, &err), -BT_ERR_CORRUPT);
        assert_string_equal(err.text, cases[i].says);
    }
}

/* 4 accelerators: A (3 for 10 s) runs, B (4 for 10 s) waits, C (1 for 10 s) fits beside A, D (1 for
 * 12 s) would delay B, E (1 for 2 s) comes late. */
static const struct sim_job plot[] = {
    {.submit_s = 0, .run_s = 10, .walltime_s = 10, .acc = 3},
    {.submit_s = 0, .run_s = 10, .walltime_s = 10, .acc = 4},
    {.submit_s = 0, .run_s = 10, .walltime_s = 10, .acc = 1},
    {.submit_s = 0, .run_s = 12, .walltime_s = 12, .acc = 1},
    {.submit_s = 11, .run_s = 2, .walltime_s = 2, .acc = 1},
};

static void each_policy_starts_whom_it_should(void **state)
{
    (void)state;
    const struct {
        enum sim_policy policy;
        int64_t start_s[5];
    } cases[] = {
        {SIM_FIFO, {0, 10, 20, 20, 20}},
        {SIM_SJF, {0, 10, 20, 20, 20}},
        {SIM_EASY, {0, 10, 0, 20, 20}},
        {SIM_CONSERVATIVE, {0, 10, 0, 20, 20}},
        {SIM_BEAMTIME, {0}}, /* only its promises are fixed */
    };
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct plan_node nodes[4];
        struct sim s = {.capacity = 4,
                        .n_jobs = 5,
                        .nodes = nodes,
                        .n_nodes = 4,
                        .slack_s = 3600,
                        .plan_every_s = 1};
        s.jobs = bt_memdup(plot, sizeof plot);
        for (int k = 0; k < 4; k++)
            nodes[k] = (struct plan_node){.usable_mask = 1, .free_mask = 1, .tier = 1};
        for (int k = 0; k < 5; k++) {
            s.jobs[k].start_s = s.jobs[k].promise_s = s.jobs[k].first_plan_s = -1;
            s.jobs[k].nation = PLAN_NONE;
        }
        if (cases[i].policy == SIM_BEAMTIME)
            assert_int_equal(sim_core(&s, NULL), 0);
        else
            sim_pool(&s, cases[i].policy);
        for (int k = 0; k < 5; k++) {
            if (cases[i].policy != SIM_BEAMTIME)
                assert_int_equal(s.jobs[k].start_s, cases[i].start_s[k]);
            assert_true(s.jobs[k].start_s >= s.jobs[k].submit_s);
            assert_true(s.jobs[k].promise_s < 0 || s.jobs[k].start_s <= s.jobs[k].promise_s);
        }
        bt_free(s.jobs);
        bt_free(s.samples);
    }
}

static void filling_up_counts_what_fits(void **state)
{
    (void)state;
    struct plan_node nodes[2];
    struct sim_job jobs[1] = {{.run_s = 1, .walltime_s = 1, .acc = 3}};
    struct sim s = {.capacity = 16, .n_jobs = 1, .jobs = jobs, .nodes = nodes, .n_nodes = 2};
    for (uint32_t k = 0; k < 2; k++)
        nodes[k] = (struct plan_node){.usable_mask = 255, .free_mask = 255, .leaf = k};
    assert_int_equal(sim_fill(&s, SIM_BESTFIT, 100, 1), 12);
    assert_int_equal(sim_fill(&s, SIM_BEAMTIME, 100, 1), 12);
    assert_int_equal(sim_fill(&s, SIM_BEAMTIME, 30, 1), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_format_gives_the_same_jobs),
        cmocka_unit_test(a_malformed_line_is_named),
        cmocka_unit_test(each_policy_starts_whom_it_should),
        cmocka_unit_test(filling_up_counts_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
