/* What nodes measure of themselves decides who is spared new work.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "tests/unit/core_fixture.h"

#define AGENT(i) (&"0123456789"[i]) /* the key of node m<i>'s agent */

static void name_of(char name[8], int i)
{
    (void)snprintf(name, 8, "m%d", i);
}

static const struct node *node_at(struct fixture *f, int i)
{
    char name[8];

    name_of(name, i);
    return node_find(f->core, name);
}

static const struct reply *report(struct fixture *f, int i, bool registers)
{
    struct event *ev = fixture_event(EV_NODE_REPORT, AGENT(i));
    struct ev_node_report *e = &ev->u.node_report;

    name_of(e->node, i);
    bt_copy(e->class, sizeof e->class, i < 8 ? "h200" : "b200");
    e->n_acc = 8;
    e->registers = registers;
    return fixture_step(f, ev);
}

static void begin(struct fixture *f)
{
    for (int i = 0; i < 9; i++) {
        char name[8];

        name_of(name, i);
        fixture_enrol(f, "", "agent", name, AGENT(i));
        assert_int_equal(200, report(f, i, true)->http);
    }
}

static const struct reply *measured(struct fixture *f, int i, int64_t mbs)
{
    struct event *ev = fixture_event(EV_MEASURED, AGENT(i));

    name_of(ev->u.measured.node, i);
    ev->u.measured.busbw_mbs = mbs;
    return fixture_step(f, ev);
}

static enum plan_node_state planned_as(struct fixture *f, int i)
{
    struct plan *p = core_snapshot(f->core, 1);
    enum plan_node_state state = p->nodes[node_at(f, i)->row.id - 1].state;

    plan_unref(p);
    return state;
}

static void a_slow_node_takes_no_new_work_until_it_measures_well_again(void **state)
{
    struct fixture *f = *state;

    begin(f);
    measured(f, 0, 300000);
    measured(f, 1, 100000);
    assert_string_equal("up", node_at(f, 1)->row.state); /* two say nothing of a class */
    measured(f, 2, 310000);
    assert_string_equal("degraded", node_at(f, 1)->row.state);
    assert_string_equal("measured: 100.00 GB/s, below 0.8 of its class's median 300.00",
                        node_at(f, 1)->row.reason);
    assert_int_equal(PLAN_DRAINING, planned_as(f, 1));
    assert_int_equal(PLAN_UP, planned_as(f, 0));
    measured(f, 1, 240000); /* 0.8 of the median of 240, 300, 310 */
    assert_string_equal("up", node_at(f, 1)->row.state);
    assert_int_equal(PLAN_UP, planned_as(f, 1));
    fixture_compare(f);
}

static void a_class_is_judged_by_itself_and_anew_with_each_value(void **state)
{
    struct fixture *f = *state;

    begin(f);
    measured(f, 8, 50); /* of another class */
    for (int i = 0; i < 3; i++)
        measured(f, i, 100);
    assert_string_equal("up", node_at(f, 8)->row.state);
    for (int i = 3; i < 7; i++)
        measured(f, i, 200);
    for (int i = 0; i < 3; i++) /* the median has moved above them */
        assert_string_equal("degraded", node_at(f, i)->row.state);
    assert_string_equal("up", node_at(f, 5)->row.state);
    fixture_compare(f);
}

static void what_people_say_of_a_node_stays(void **state)
{
    struct fixture *f = *state;
    struct event *ev = event_new(EV_ADMIN);

    begin(f);
    ev->who.kind = WHO_INSIDE;
    ev->u.admin.op = ADMIN_NODE;
    ev->u.admin.id = fixture_id(f);
    name_of(ev->u.admin.node, 1);
    bt_copy(ev->u.admin.state, sizeof ev->u.admin.state, "draining");
    assert_int_equal(200, fixture_step(f, ev)->http);
    for (int i = 0; i < 3; i++)
        measured(f, i, i == 1 ? 10 : 100);
    assert_string_equal("draining", node_at(f, 1)->row.state);
    measured(f, 1, 100);
    assert_string_equal("draining", node_at(f, 1)->row.state);
}

static void a_node_is_asked_until_it_has_measured(void **state)
{
    struct fixture *f = *state;
    struct event *ev = event_new(EV_ADMIN);

    begin(f);
    assert_string_equal("{}", report(f, 1, false)->body);
    ev->who.kind = WHO_INSIDE;
    ev->u.admin.op = ADMIN_MEASURE;
    ev->u.admin.id = fixture_id(f);
    name_of(ev->u.admin.node, 1);
    assert_int_equal(200, fixture_step(f, ev)->http);
    assert_string_equal("{\"measure\":true}", report(f, 1, false)->body);
    assert_string_equal("{\"measure\":true}", report(f, 1, false)->body);
    assert_string_equal("{}", report(f, 2, false)->body);
    fixture_compare(f); /* also after a restart */
    measured(f, 1, 100);
    assert_string_equal("{}", report(f, 1, false)->body);
}

static const struct reply *ask(struct fixture *f, const char *node)
{
    struct event *ev = event_new(EV_ADMIN);

    ev->who.kind = WHO_INSIDE;
    ev->u.admin.op = ADMIN_MEASURE;
    ev->u.admin.id = fixture_id(f);
    bt_copy(ev->u.admin.node, sizeof ev->u.admin.node, node);
    return fixture_step(f, ev);
}

/* It could never answer, so the request would be pending for ever. */
static void a_node_with_one_accelerator_is_not_asked(void **state)
{
    struct fixture *f = *state;
    struct event *ev = fixture_event(EV_NODE_REPORT, AGENT(1));
    const struct reply *r;

    begin(f);
    assert_int_equal(200, ask(f, "m1")->http);
    for (int n_acc = 1; n_acc >= 0; n_acc--) { /* also after it was asked */
        ev = ev ? ev : fixture_event(EV_NODE_REPORT, AGENT(1));
        bt_copy(ev->u.node_report.node, sizeof ev->u.node_report.node, "m1");
        bt_copy(ev->u.node_report.class, sizeof ev->u.node_report.class, "h200");
        ev->u.node_report.n_acc = n_acc;
        ev->u.node_report.registers = true;
        assert_int_equal(200, fixture_step(f, ev)->http);
        ev = NULL;
        assert_string_equal("{}", report(f, 1, false)->body);
        r = ask(f, "m1");
        assert_int_equal(BT_ERR_INVALID, r->err.code);
        assert_string_equal(n_acc ? "node m1 has one accelerator: there is nothing to measure "
                                    "inside it"
                                  : "node m1 has no accelerator: there is nothing to measure "
                                    "inside it",
                            r->err.text);
    }
    fixture_compare(f);
}

static int by_size(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* What a look at all nodes would say of one, however the values came. */
static void the_ladder_judges_as_a_look_at_all_nodes_would(void **state)
{
    enum { NODES = 8, STEPS = 2000 };
    struct fixture *f = *state;
    int64_t value[NODES] = {0}, sorted[NODES];
    uint64_t random = 88172645463325252;

    begin(f);
    for (int step = 0; step < STEPS; step++) {
        int n = 0;

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        int64_t mbs = 60 + (int64_t)(random >> 20) % 60;
        measured(f, (int)(random % NODES), mbs);
        value[random % NODES] = mbs;
        for (int i = 0; i < NODES; i++)
            if (value[i])
                sorted[n++] = value[i];
        qsort(sorted, (size_t)n, sizeof *sorted, by_size);
        int64_t median = n < 3 ? 0 : (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
        for (int i = 0; i < NODES; i++)
            assert_string_equal(value[i] && 5 * value[i] < 4 * median ? "degraded" : "up",
                                node_at(f, i)->row.state);
    }
    fixture_compare(f);
}

/* Its value goes with it. */
static void a_node_may_change_its_class(void **state)
{
    struct fixture *f = *state;
    struct event *ev = fixture_event(EV_NODE_REPORT, AGENT(0));

    begin(f);
    for (int i = 0; i < 4; i++)
        measured(f, i, i == 3 ? 70 : 100);
    assert_string_equal("degraded", node_at(f, 3)->row.state);
    name_of(ev->u.node_report.node, 0);
    bt_copy(ev->u.node_report.class, sizeof ev->u.node_report.class, "b200");
    ev->u.node_report.n_acc = 8;
    ev->u.node_report.registers = true;
    fixture_step(f, ev);
    measured(f, 1, 80); /* 70, 80, 100 are left: 70 is not below 0.8 of 80 */
    assert_string_equal("up", node_at(f, 3)->row.state);
    measured(f, 8, 10);
    assert_string_equal("up", node_at(f, 8)->row.state); /* two of b200 say nothing */
    fixture_compare(f);
}

static void an_agent_speaks_for_its_own_node_alone(void **state)
{
    struct fixture *f = *state;
    struct event *ev;

    begin(f);
    ev = fixture_event(EV_MEASURED, NODE1);
    name_of(ev->u.measured.node, 1);
    assert_int_equal(BT_ERR_FORBIDDEN, fixture_step(f, ev)->err.code);
    fixture_enrol(f, "", "helper", "geneva", "h");
    ev = fixture_event(EV_MEASURED, "h"); /* not even its site's helper */
    name_of(ev->u.measured.node, 1);
    assert_int_equal(BT_ERR_FORBIDDEN, fixture_step(f, ev)->err.code);
    fixture_enrol(f, "", "agent", "m9", AGENT(9));
    ev = fixture_event(EV_MEASURED, AGENT(9)); /* it has not registered */
    name_of(ev->u.measured.node, 9);
    assert_int_equal(BT_ERR_NOT_FOUND, fixture_step(f, ev)->err.code);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, core_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slow_node_takes_no_new_work_until_it_measures_well_again),
        TEST(a_class_is_judged_by_itself_and_anew_with_each_value),
        TEST(what_people_say_of_a_node_stays),
        TEST(a_node_is_asked_until_it_has_measured),
        TEST(a_node_with_one_accelerator_is_not_asked),
        TEST(the_ladder_judges_as_a_look_at_all_nodes_would),
        TEST(a_node_may_change_its_class),
        TEST(an_agent_speaks_for_its_own_node_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
