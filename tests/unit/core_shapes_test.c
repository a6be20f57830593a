/* Arrays, singletons and sizes chosen at start, as the core keeps them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/unit/core_fixture.h"

enum { TASKS = 4 };

/* An array of one-accelerator tasks; their ids come back. */
static const struct reply *array(struct fixture *f, struct bt_uuid id, int32_t at_once,
                                 int32_t walltime_s, struct bt_uuid *ret)
{
    struct event *ev = fixture_ask(id, 1, walltime_s);
    struct ev_submit *s = &ev->u.submit;

    s->tasks = bt_new_n(struct ev_task, TASKS);
    s->n_tasks = TASKS;
    s->at_once = at_once;
    for (int i = 0; i < TASKS; i++) {
        if (bt_uuid_zero(ret[i]))
            ret[i] = fixture_id(f);
        s->tasks[i] = (struct ev_task){.id = ret[i], .task = 10 + i, .text = bt_strdup("{}")};
    }
    return fixture_step(f, ev);
}

static void cancel(struct fixture *f, struct bt_uuid id)
{
    struct event *ev = fixture_event(EV_CANCEL, ALICE);

    ev->u.cancel.job = id;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
}

static const char *state(struct fixture *f, struct bt_uuid id)
{
    return state_of(f, id)->state;
}

static void an_array_comes_whole_once_or_not_at_all(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid id = fixture_id(f), task[TASKS] = {{{0}}}, other[TASKS] = {{{0}}};
    const struct reply *r = array(f, id, 0, 600, task);
    int before = f->db.list[ROW_KIND_job].n;

    assert_int_equal(r->http, 201);
    assert_non_null(strstr(r->body, "\"tasks\":4"));
    assert_non_null(strstr(r->body, "\"hold_mras\":\"2400000\""));
    assert_int_equal(before, TASKS);
    r = array(f, id, 0, 600, task);
    assert_int_equal(r->http, 201);
    assert_int_equal(f->db.list[ROW_KIND_job].n, before);
    r = array(f, fixture_id(f), 0, 2592000, other); /* one would fit the quota, four do not */
    assert_int_equal(r->err.code, BT_ERR_QUOTA_EXCEEDED);
    assert_int_equal(f->db.list[ROW_KIND_job].n, before);
    fixture_plan(f);
    for (int i = 0; i < TASKS; i++)
        assert_string_equal(state(f, task[i]), "starting");
    fixture_compare(f);
}

static void of_an_array_with_a_bound_only_so_many_are_queued(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid task[TASKS] = {{{0}}}, after = fixture_id(f);
    struct event *ev;

    assert_int_equal(array(f, fixture_id(f), 2, 600, task)->http, 201);
    assert_string_equal(state(f, task[1]), "queued");
    assert_string_equal(state(f, task[2]), "held");
    ev = fixture_ask(after, 1, 600);
    ev->u.submit.spec.after = job_find(f->core, task[0], NULL)->array_of;
    ev->u.submit.spec.after_ok = false;
    assert_int_equal(fixture_step(f, ev)->http, 201);
    cancel(f, task[0]);
    assert_string_equal(state(f, task[2]), "queued");
    assert_string_equal(state(f, task[3]), "held");
    fixture_compare(f);
    for (int i = 1; i < TASKS; i++) {
        assert_string_equal(state(f, after), "held");
        cancel(f, task[i]);
    }
    assert_string_equal(state(f, after), "queued");
    fixture_compare(f);
}

static void what_waits_for_an_array_ends_with_its_first_failure(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid task[TASKS] = {{{0}}}, id = fixture_id(f), after = fixture_id(f);
    struct event *ev;

    assert_int_equal(array(f, id, 0, 600, task)->http, 201);
    for (int late = 0; late < 2; late++) {
        ev = fixture_ask(late ? fixture_id(f) : after, 1, 600);
        ev->u.submit.spec.after = id;
        ev->u.submit.spec.after_ok = true;
        assert_int_equal(fixture_step(f, ev)->err.code, late ? BT_ERR_CONFLICT : 0);
        cancel(f, task[late]);
    }
    assert_string_equal(state(f, after), "cancelled");
    fixture_compare(f);
}

static void a_singleton_waits_for_all_before_it(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid id[3];

    for (int i = 0; i < 3; i++) {
        struct event *ev = fixture_ask(id[i] = fixture_id(f), 1, 600);

        ev->u.submit.spec.singleton = i > 0;
        assert_int_equal(fixture_step(f, ev)->http, 201);
    }
    assert_string_equal(state(f, id[1]), "held");
    fixture_plan(f); /* dependents are planned, not started */
    assert_string_equal(state(f, id[0]), "starting");
    assert_string_equal(state(f, id[1]), "held");
    cancel(f, id[1]);
    assert_string_equal(state(f, id[2]), "held");
    fixture_compare(f);
    cancel(f, id[0]);
    assert_string_equal(state(f, id[2]), "queued");
}

static void an_elastic_job_holds_the_most_and_pays_for_what_it_got(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid one = fixture_id(f), some = fixture_id(f);
    struct event *ev;
    const struct row_attempt *a;

    assert_int_equal(fixture_submit(f, one, 1, 600)->http, 201);
    fixture_plan(f);
    ev = fixture_ask(some, 4, 600);
    ev->u.submit.spec.min_accelerators = 2;
    assert_int_equal(fixture_step(f, ev)->http, 201);
    assert_int_equal(state_of(f, some)->hold_mras, 4 * 600 * 1000);
    fixture_plan(f);
    assert_string_equal(state(f, some), "starting");
    a = (const struct row_attempt *)f->db.list[ROW_KIND_attempt].v +
        (f->db.list[ROW_KIND_attempt].n - 1);
    assert_int_equal(a->accelerators, 3);
    fixture_compare(f);
    ev = fixture_event(EV_CLAIM, NODE1);
    ev->u.claim.job = some;
    ev->u.claim.attempt = 1;
    bt_copy(ev->u.claim.foreign_id, sizeof ev->u.claim.foreign_id, "local:1");
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    f->now_us += 10 * BT_US_PER_S;
    ev = fixture_event(EV_STARTED, NODE1);
    ev->u.started.job = some;
    ev->u.started.attempt = 1;
    bt_copy(ev->u.started.foreign_id, sizeof ev->u.started.foreign_id, "local:1");
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    ev = fixture_event(EV_RANKS_ENDED, NODE1);
    ev->u.ranks_ended.job = some;
    ev->u.ranks_ended.attempt = 1;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    fixture_compare(f); /* what it was given is known although its places are gone */
    ev = fixture_event(EV_MANIFEST, NODE1);
    ev->u.manifest.job = some;
    ev->u.manifest.attempt = 1;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    assert_string_equal(state(f, some), "completed");
    assert_int_equal(state_of(f, some)->charged_mras, 3 * 10 * 1000);
    fixture_compare(f);
}

static const struct reply *asks(struct fixture *f, struct bt_uuid id, int32_t memory_gb,
                                int32_t bandwidth_gb)
{
    struct event *ev = fixture_ask(id, 1, 600);

    ev->u.submit.spec.memory_gb = memory_gb;
    ev->u.submit.spec.bandwidth_gb = bandwidth_gb;
    return fixture_step(f, ev);
}

static void a_job_gets_the_memory_and_bandwidth_it_asks_for_or_hears_what_there_is(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid one = fixture_id(f), none = fixture_id(f);
    struct event *ev = fixture_event(EV_NODE_REPORT, NODE1);
    const struct reply *r;

    bt_copy(ev->u.node_report.node, sizeof ev->u.node_report.node, "n1");
    bt_copy(ev->u.node_report.class, sizeof ev->u.node_report.class, "cpu");
    ev->u.node_report.n_acc = 4;
    ev->u.node_report.registers = true;
    ev->u.node_report.memory_gb = 80;
    assert_int_equal(fixture_step(f, ev)->http, 200);
    r = asks(f, none, 81, 0);
    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_non_null(strstr(r->err.text, "has 81 GB of memory; the largest has 80 GB"));
    assert_string_equal(r->err.next, "ask for --memory 80G or less");
    r = asks(f, none, 80, 300);
    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_non_null(strstr(r->err.text, "was ever measured"));
    ev = fixture_event(EV_MEASURED, NODE1);
    bt_copy(ev->u.measured.node, sizeof ev->u.measured.node, "n1");
    ev->u.measured.busbw_mbs = 300999;
    assert_int_equal(fixture_step(f, ev)->http, 200);
    r = asks(f, none, 0, 301);
    assert_non_null(strstr(r->err.text, "measured at 301 GB/s; the fastest has 300.9 GB/s"));
    assert_int_equal(asks(f, one, 80, 300)->http, 201);
    fixture_compare(f);
    fixture_plan(f);
    assert_string_equal(state(f, one), "starting");
    fixture_compare(f);
}

static const struct reply *keep(struct fixture *f, const char *name, const char *project,
                                int64_t from_s, int64_t until_s)
{
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);
    struct ev_admin *e = &ev->u.admin;

    e->op = ADMIN_OUTAGE;
    e->id = fixture_id(f);
    e->body_sha256[0] = 1;
    bt_copy(e->kind, sizeof e->kind, "reservation");
    bt_copy(e->name, sizeof e->name, name);
    bt_copy(e->nation, sizeof e->nation, "cz");
    bt_copy(e->project, sizeof e->project, project);
    bt_copy(e->text, sizeof e->text, "n1");
    e->from_us = f->now_us + from_s * BT_US_PER_S;
    e->until_us = f->now_us + until_s * BT_US_PER_S;
    return fixture_step(f, ev);
}

static const struct reply *asks_in(struct fixture *f, struct bt_uuid id, const char *name,
                                   int32_t walltime_s, int32_t acc)
{
    struct event *ev = fixture_ask(id, acc, walltime_s);

    bt_copy(ev->u.submit.spec.reservation, sizeof ev->u.submit.spec.reservation, name);
    return fixture_step(f, ev);
}

static void a_reservation_runs_the_jobs_that_name_it_and_no_others(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid in = fixture_id(f), out = fixture_id(f), late = fixture_id(f);
    struct event *ev;

    assert_int_equal(keep(f, "spring", "multilingual", 0, 3600)->http, 200);
    assert_int_equal(keep(f, "spring", "multilingual", 7200, 7300)->err.code, BT_ERR_CONFLICT);
    assert_int_equal(keep(f, "other", "multilingual", 3599, 7200)->err.code, BT_ERR_CONFLICT);
    assert_int_equal(keep(f, "none", "nosuch", 3600, 7200)->err.code, BT_ERR_NOT_FOUND);
    assert_int_equal(keep(f, "later", "", 3600, 7200)->http, 200);
    assert_int_equal(fixture_submit(f, out, 1, 600)->http, 201);
    assert_int_equal(asks_in(f, in, "spring", 600, 1)->http, 201);
    assert_int_equal(asks_in(f, late, "later", 600, 4)->http, 201);
    fixture_compare(f);
    fixture_plan(f);
    assert_string_equal(state(f, in), "starting");
    assert_string_equal(state(f, out), "queued"); /* it comes first, and is not asked for */
    assert_string_equal(state(f, late), "queued");
    cancel(f, in);
    cancel(f, late);
    ev = fixture_event(EV_ADMIN, CHAIR);
    ev->u.admin.op = ADMIN_OUTAGE;
    ev->u.admin.id = fixture_id(f);
    ev->u.admin.body_sha256[0] = 1;
    bt_copy(ev->u.admin.name, sizeof ev->u.admin.name, "spring");
    bt_copy(ev->u.admin.state, sizeof ev->u.admin.state, "over");
    assert_int_equal(fixture_step(f, ev)->http, 200);
    fixture_compare(f);
    fixture_plan(f);
    assert_string_equal(state(f, out), "starting");
}

/* Which reservation the planner is told of for the nth job that waits. */
static uint32_t reserved_for(struct fixture *f, uint32_t nth)
{
    struct plan *p = core_snapshot(f->core, 9);
    uint32_t number = p->pending[nth].reservation;

    plan_unref(p);
    return number;
}

static void who_may_not_or_cannot_use_a_reservation_hears_why(void **s)
{
    static const struct {
        const char *name;
        int32_t walltime_s, acc;
        enum bt_errno code;
        const char *why;
    } rows[] = {
        {"autumn", 60, 1, BT_ERR_NOT_FOUND, "there is no reservation 'autumn'"},
        {"spring", 3600, 1, BT_ERR_CONFLICT, "would not end before reservation spring does"},
        {"spring", 60, 5, BT_ERR_IMPOSSIBLE, "asks for 5 accelerators"},
        {"foreign", 60, 1, BT_ERR_FORBIDDEN, "reservation foreign is for jobs of fr"},
    };
    struct fixture *f = *s;
    struct bt_uuid waits = fixture_id(f);
    struct event *ev;

    assert_int_equal(keep(f, "spring", "multilingual", 0, 3600)->http, 200);
    ev = fixture_event(EV_ADMIN, CHAIR);
    ev->u.admin.op = ADMIN_NATION;
    ev->u.admin.id = fixture_id(f);
    ev->u.admin.body_sha256[0] = 1;
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, "fr");
    bt_copy(ev->u.admin.name, sizeof ev->u.admin.name, "France");
    assert_int_equal(fixture_step(f, ev)->http, 200);
    ev = fixture_event(EV_ADMIN, CHAIR);
    ev->u.admin.op = ADMIN_OUTAGE;
    ev->u.admin.id = fixture_id(f);
    ev->u.admin.body_sha256[0] = 1;
    bt_copy(ev->u.admin.kind, sizeof ev->u.admin.kind, "reservation");
    bt_copy(ev->u.admin.name, sizeof ev->u.admin.name, "foreign");
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, "fr");
    bt_copy(ev->u.admin.text, sizeof ev->u.admin.text, "n1");
    ev->u.admin.from_us = f->now_us + 3600 * BT_US_PER_S;
    ev->u.admin.until_us = f->now_us + 7200 * BT_US_PER_S;
    assert_int_equal(fixture_step(f, ev)->http, 200);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        const struct reply *r =
            asks_in(f, fixture_id(f), rows[i].name, rows[i].walltime_s, rows[i].acc);

        if ((enum bt_errno)r->err.code != rows[i].code) /* the facility has no 5 either */
            fail_msg("%s: %s", rows[i].name, r->err.text);
        assert_non_null(strstr(r->err.text, rows[i].why));
    }
    /* what waits for it when it is over is planned like any other */
    assert_int_equal(fixture_submit(f, fixture_id(f), 4, 600)->http, 201);
    assert_int_equal(asks_in(f, waits, "spring", 3000, 4)->http, 201);
    assert_int_equal(reserved_for(f, 1), 1);
    fixture_advance(f, 601); /* it could no longer end in time */
    assert_int_equal(reserved_for(f, 1), 0);
    fixture_compare(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, core_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_array_comes_whole_once_or_not_at_all),
        TEST(of_an_array_with_a_bound_only_so_many_are_queued),
        TEST(what_waits_for_an_array_ends_with_its_first_failure),
        TEST(a_singleton_waits_for_all_before_it),
        TEST(an_elastic_job_holds_the_most_and_pays_for_what_it_got),
        TEST(a_reservation_runs_the_jobs_that_name_it_and_no_others),
        TEST(who_may_not_or_cannot_use_a_reservation_hears_why),
        TEST(a_job_gets_the_memory_and_bandwidth_it_asks_for_or_hears_what_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
