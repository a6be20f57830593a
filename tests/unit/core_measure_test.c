/* What nodes measure of themselves decides who is spared new work.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "tests/unit/core_fixture.h"

#define HELPER "h"

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
    struct event *ev = fixture_event(EV_NODE_REPORT, HELPER);
    struct ev_node_report *e = &ev->u.node_report;

    name_of(e->node, i);
    bt_copy(e->class, sizeof e->class, i < 8 ? "h200" : "b200");
    e->n_acc = 8;
    e->registers = registers;
    return fixture_step(f, ev);
}

static void begin(struct fixture *f)
{
    fixture_enrol(f, "", "helper", "geneva", HELPER);
    for (int i = 0; i < 9; i++)
        assert_int_equal(200, report(f, i, true)->http);
}

static const struct reply *measured(struct fixture *f, int i, int64_t mbs)
{
    struct event *ev = fixture_event(EV_MEASURED, HELPER);

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

static void an_agent_speaks_for_its_own_node_alone(void **state)
{
    struct fixture *f = *state;
    struct event *ev;

    begin(f);
    ev = fixture_event(EV_MEASURED, NODE1);
    name_of(ev->u.measured.node, 1);
    assert_int_equal(BT_ERR_FORBIDDEN, fixture_step(f, ev)->err.code);
    ev = fixture_event(EV_MEASURED, HELPER);
    bt_copy(ev->u.measured.node, sizeof ev->u.measured.node, "nobody");
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
        TEST(an_agent_speaks_for_its_own_node_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
