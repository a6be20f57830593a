/* What the core makes of plans: stops for owners, slots for newcomers, outages, refusals.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/unit/core_fixture.h"

static const struct row_attempt *attempt_of(struct fixture *f, struct bt_uuid id, int n)
{
    const struct row_list *l = &f->db.list[ROW_KIND_attempt];

    for (int i = 0; i < l->n; i++) {
        const struct row_attempt *a = &((struct row_attempt *)l->v)[i];

        if (bt_uuid_eq(a->job, id) && a->n == n)
            return a;
    }
    fail_msg("no such attempt in the database");
    return NULL;
}

static int64_t spent(struct fixture *f)
{
    int64_t sum = 0;

    for (int i = 0; i < f->db.list[ROW_KIND_balance].n; i++)
        sum += ((struct row_balance *)f->db.list[ROW_KIND_balance].v)[i].spent;
    return sum / 3; /* nation, project, person */
}

static const struct reply *admin(struct fixture *f, struct event *ev)
{
    ev->kind = EV_ADMIN;
    ev->u.admin.id = fixture_id(f);
    return fixture_step(f, ev);
}

static const struct reply *guarantee(struct fixture *f, int64_t accelerators)
{
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);

    ev->u.admin.op = ADMIN_GUARANTEE;
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, "cz");
    ev->u.admin.amount_mras = accelerators;
    return admin(f, ev);
}

static const struct reply *outage(struct fixture *f, const char *nodes, int64_t from_s,
                                  int64_t until_s)
{
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);

    ev->u.admin.op = ADMIN_OUTAGE;
    bt_copy(ev->u.admin.kind, sizeof ev->u.admin.kind, "maintenance");
    bt_copy(ev->u.admin.text, sizeof ev->u.admin.text, nodes);
    ev->u.admin.from_us = f->now_us + from_s * BT_US_PER_S;
    ev->u.admin.until_us = f->now_us + until_s * BT_US_PER_S;
    return admin(f, ev);
}

static void run(struct fixture *f, struct bt_uuid id, int attempt)
{
    struct event *ev = fixture_event(EV_CLAIM, NODE1);

    ev->u.claim.job = id;
    ev->u.claim.attempt = attempt;
    bt_copy(ev->u.claim.foreign_id, sizeof ev->u.claim.foreign_id, "local:1");
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    ev = fixture_event(EV_STARTED, NODE1);
    ev->u.started.job = id;
    ev->u.started.attempt = attempt;
    bt_copy(ev->u.started.foreign_id, sizeof ev->u.started.foreign_id, "local:1");
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
}

static void heartbeat(struct fixture *f, struct bt_uuid id, int attempt, int64_t ckpt_us)
{
    struct event *ev = fixture_event(EV_NODE_REPORT, NODE1);
    struct ev_node_report *e = &ev->u.node_report;

    bt_copy(e->node, sizeof e->node, "n1");
    e->live = bt_new(struct live_attempt);
    e->n_live = 1;
    *e->live = (struct live_attempt){id, attempt, ckpt_us};
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
}

static void exited(struct fixture *f, struct bt_uuid id)
{
    struct event *ev = fixture_event(EV_RANKS_ENDED, NODE1);

    ev->u.ranks_ended.job = id;
    ev->u.ranks_ended.attempt = 1;
    ev->u.ranks_ended.reason = END_EXITED;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
}

static void finished(struct fixture *f, struct bt_uuid id)
{
    struct event *ev = fixture_event(EV_MANIFEST, NODE1);

    ev->u.manifest.job = id;
    ev->u.manifest.attempt = 1;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    assert_string_equal(state_of(f, id)->state, "completed");
}

static void ended(struct fixture *f, struct bt_uuid id, int attempt, bool checkpointed)
{
    struct event *ev = fixture_event(EV_RANKS_ENDED, NODE1);

    ev->u.ranks_ended.job = id;
    ev->u.ranks_ended.attempt = attempt;
    ev->u.ranks_ended.reason = END_STOPPED;
    ev->u.ranks_ended.signal = 15;
    ev->u.ranks_ended.checkpointed = checkpointed;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
}

static bool wants_stop(const struct fixture *f, struct bt_uuid id)
{
    for (int i = 0; i < f->last->n_wants; i++)
        if (bt_uuid_eq(f->last->wants[i].job, id) && f->last->wants[i].action == WANT_STOP)
            return true;
    return false;
}

/* A lent job holds the whole node, an owned one asks for half: both come back as ids. */
static void displace(struct fixture *f, struct bt_uuid *lent, struct bt_uuid *owned)
{
    *lent = fixture_id(f);
    assert_int_equal(guarantee(f, 2)->err.code, 0);
    assert_int_equal(fixture_submit(f, *lent, 4, 600)->http, 201);
    fixture_plan(f);
    run(f, *lent, 1);
    f->now_us += 10 * BT_US_PER_S;
    *owned = fixture_id(f);
    assert_int_equal(fixture_submit(f, *owned, 2, 300)->http, 201);
}

static void an_owned_job_stops_a_lent_one_which_comes_back(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid lent, owned;

    displace(f, &lent, &owned);
    fixture_plan(f);
    assert_true(wants_stop(f, lent));
    assert_string_equal(attempt_of(f, lent, 1)->state, "preempting");
    assert_string_equal(state_of(f, owned)->state, "queued");
    fixture_compare(f);
    fixture_plan(f);
    assert_false(wants_stop(f, lent)); /* once is enough */
    ended(f, lent, 1, false);
    assert_string_equal(state_of(f, lent)->state, "queued");
    assert_int_equal(state_of(f, lent)->attempt, 2);
    assert_int_equal(state_of(f, lent)->hold_mras, 4 * 600 * 1000);
    assert_int_equal(spent(f), 0); /* no checkpoint: all of it was lost, all is given back */
    fixture_plan(f);
    assert_string_equal(state_of(f, owned)->state, "starting");
    assert_int_equal(attempt_of(f, owned, 1)->owned, 1);
    assert_string_equal(state_of(f, lent)->state, "queued");
    assert_true(promised_of(f, lent) > f->now_us);
    fixture_compare(f);
}

static void work_up_to_the_last_checkpoint_is_paid(void **state)
{
    static const struct {
        int64_t ckpt_s; /* after its start; 0: none */
        bool after_signal;
        int64_t paid_s;
    } cases[] = {{0, false, 0}, {7, false, 7}, {0, true, 15}, {7, true, 15}};

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct fixture *f = *state;
        struct bt_uuid lent, owned;

        if (i) {
            fixture_stop(f);
            fixture_start(f);
        }
        displace(f, &lent, &owned);
        if (cases[i].ckpt_s)
            heartbeat(f, lent, 1,
                      attempt_of(f, lent, 1)->wanted_us + cases[i].ckpt_s * BT_US_PER_S);
        fixture_plan(f);
        assert_true(wants_stop(f, lent));
        f->now_us += 5 * BT_US_PER_S;
        ended(f, lent, 1, cases[i].after_signal);
        assert_int_equal(spent(f), 4 * cases[i].paid_s * 1000);
        fixture_compare(f);
    }
}

static void an_owned_job_is_never_stopped(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid first = fixture_id(f), second;

    assert_int_equal(guarantee(f, 4)->err.code, 0);
    fixture_submit(f, first, 4, 600);
    fixture_plan(f);
    run(f, first, 1);
    assert_int_equal(attempt_of(f, first, 1)->owned, 1);
    second = fixture_id(f);
    fixture_submit(f, second, 2, 300);
    for (int i = 0; i < 3; i++) {
        fixture_plan(f);
        assert_false(wants_stop(f, first));
    }
    assert_string_equal(state_of(f, second)->state, "queued");
}

static void what_was_not_claimed_yields_at_once(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid lent = fixture_id(f), owned;

    assert_int_equal(guarantee(f, 2)->err.code, 0);
    fixture_submit(f, lent, 4, 600);
    fixture_plan(f);
    f->now_us += BT_US_PER_S;
    owned = fixture_id(f);
    fixture_submit(f, owned, 2, 300);
    fixture_plan(f);
    assert_string_equal(state_of(f, lent)->state, "queued");
    assert_string_equal(attempt_of(f, lent, 1)->state, "ended");
    fixture_compare(f);
    fixture_plan(f);
    assert_string_equal(state_of(f, owned)->state, "starting");
    assert_int_equal(spent(f), 0);
}

static void a_newcomer_has_a_start_at_once(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid first = fixture_id(f), second;
    const struct reply *r;

    fixture_submit(f, first, 4, 600);
    fixture_plan(f);
    second = fixture_id(f);
    r = fixture_submit(f, second, 4, 300);
    assert_int_equal(r->http, 201);
    assert_non_null(strstr(r->body, "\"start_at\":\"2"));
    for (int i = 0; i < f->last->n_jobs; i++)
        if (f->last->jobs[i].start_us) {
            assert_true(f->last->jobs[i].start_us >= f->now_us + 600 * BT_US_PER_S);
            return;
        }
    fail_msg("readers are not told");
}

static void a_job_is_planned_around_an_outage(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f), small;
    int64_t begins = f->now_us;

    assert_int_equal(outage(f, "n1", 400, 900)->err.code, 0);
    fixture_submit(f, id, 2, 600);
    small = fixture_id(f);
    fixture_submit(f, small, 2, 300);
    fixture_plan(f);
    assert_string_equal(state_of(f, id)->state, "queued");
    assert_true(promised_of(f, id) >= begins + 900 * BT_US_PER_S);
    assert_string_equal(state_of(f, small)->state, "starting");
    fixture_compare(f);
}

static void an_outage_that_is_called_off_is_in_nobodys_way(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);

    assert_int_equal(outage(f, "n[1]", 400, 900)->err.code, 0);
    ev->u.admin.op = ADMIN_OUTAGE;
    ev->u.admin.amount_mras = 1;
    bt_copy(ev->u.admin.state, sizeof ev->u.admin.state, "over");
    assert_int_equal(admin(f, ev)->err.code, 0);
    fixture_submit(f, id, 2, 600);
    fixture_plan(f);
    assert_string_equal(state_of(f, id)->state, "starting");
    fixture_compare(f);
}

static void what_cannot_be_given_is_not_guaranteed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(guarantee(f, 5)->err.code, BT_ERR_CONFLICT);
    assert_int_equal(guarantee(f, 4)->err.code, 0);
    assert_int_equal(outage(f, "n1,n2", 10, 20)->err.code, BT_ERR_NOT_FOUND);
    assert_int_equal(outage(f, "n1", 20, 10)->err.code, BT_ERR_INVALID);
    assert_int_equal(outage(f, "n[1-", 10, 20)->err.code, BT_ERR_INVALID);
    fixture_compare(f);
}

static void what_can_never_run_is_refused_with_its_reason(void **state)
{
    struct fixture *f = *state;
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);
    const struct reply *r = fixture_submit(f, fixture_id(f), 5, 600);

    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_non_null(strstr(r->err.text, "5 accelerators"));
    ev->u.admin.op = ADMIN_QUOTA;
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, "cz");
    ev->u.admin.amount_mras = 1000 * INT64_C(3600000);
    ev->u.admin.until_us = f->now_us + 500 * BT_US_PER_S;
    assert_int_equal(admin(f, ev)->err.code, 0);
    r = fixture_submit(f, fixture_id(f), 2, 600);
    assert_int_equal(r->err.code, BT_ERR_QUOTA_EXCEEDED);
    assert_non_null(strstr(r->err.text, "beyond the quota of the nation"));
    assert_int_equal(fixture_submit(f, fixture_id(f), 2, 400)->http, 201);
}

/* ---- between plans ---- */

static bool wants_run(const struct fixture *f, struct bt_uuid id)
{
    for (int i = 0; i < f->last->n_wants; i++)
        if (bt_uuid_eq(f->last->wants[i].job, id) && f->last->wants[i].action == WANT_RUN)
            return true;
    return false;
}

/* The node's agent speaks to a daemon that was restarted. */
static void revive(struct fixture *f)
{
    struct event *ev = fixture_event(EV_NODE_REPORT, NODE1);
    struct ev_node_report *e = &ev->u.node_report;

    bt_copy(e->node, sizeof e->node, "n1");
    bt_copy(e->class, sizeof e->class, "cpu");
    e->n_acc = 4;
    e->registers = true;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
}

static struct bt_uuid asks(struct fixture *f, int32_t accelerators, int32_t walltime_s)
{
    struct bt_uuid id = fixture_id(f);

    assert_int_equal(fixture_submit(f, id, accelerators, walltime_s)->http, 201);
    return id;
}

static void who_waits_starts_with_the_end_of_another(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid first = asks(f, 4, 600);
    struct bt_uuid second = asks(f, 4, 600);
    struct bt_uuid third = asks(f, 4, 600);
    int64_t promised;

    f->carries_on = true;
    fixture_plan(f);
    run(f, first, 1);
    promised = promised_of(f, third);
    f->now_us += BT_US_PER_S / 2;
    exited(f, first);
    assert_string_equal(state_of(f, second)->state, "starting");
    assert_true(wants_run(f, second));
    assert_string_equal(state_of(f, third)->state, "queued");
    fixture_compare(f);
    fixture_plan(f);
    assert_string_equal(state_of(f, third)->state, "queued");
    assert_int_equal(promised_of(f, third), promised);
    run(f, second, 1);
    exited(f, second);
    assert_string_equal(state_of(f, third)->state, "starting");
    fixture_compare(f);
}

/* Five jobs of ten minutes each end after one; who waits for the sixth may hope for the same. */
static void the_earliest_start_follows_what_peoples_jobs_usually_do(void **state)
{
    struct fixture *f = *state;
    const struct plan_slot *slot;
    struct bt_uuid id, first;
    int64_t began;

    for (int i = 0; i < 5; i++) {
        id = asks(f, 4, 600);
        fixture_plan(f);
        run(f, id, 1);
        for (int k = 0; k < 6; k++) {
            fixture_advance(f, 10);
            heartbeat(f, id, 1, 0);
        }
        exited(f, id);
        finished(f, id);
    }
    fixture_restart(f);
    revive(f);
    first = asks(f, 4, 600);
    fixture_plan(f);
    began = f->now_us;
    run(f, first, 1);
    id = asks(f, 4, 600);
    fixture_plan(f);
    slot = plan_slot_of(f->core->plan, id);
    assert_non_null(slot);
    assert_true(slot->start_us >= began + 600 * BT_US_PER_S);
    assert_in_range(slot->floor_us - began, 55 * BT_US_PER_S, 70 * BT_US_PER_S);
    for (int k = 0; k < 10; k++) { /* it runs longer than most: at any moment */
        fixture_advance(f, 10);
        heartbeat(f, first, 1, 0);
    }
    fixture_plan(f);
    slot = plan_slot_of(f->core->plan, id);
    assert_non_null(slot);
    assert_in_range(slot->floor_us - f->now_us, 0, 5 * BT_US_PER_S);
}

static void what_would_break_a_promise_waits_for_its_turn(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid early = asks(f, 2, 600);
    struct bt_uuid late = asks(f, 2, 1200);
    struct bt_uuid whole, slow, brief;

    f->carries_on = true;
    fixture_plan(f);
    run(f, early, 1);
    run(f, late, 1);
    whole = asks(f, 4, 600); /* promised for the end of `late` */
    slow = asks(f, 2, 7200);
    brief = asks(f, 2, 300);
    fixture_plan(f);
    exited(f, early);
    assert_string_equal(state_of(f, whole)->state, "queued");
    assert_string_equal(state_of(f, slow)->state, "queued");
    assert_string_equal(state_of(f, brief)->state, "starting");
    fixture_compare(f);
}

static void who_was_cancelled_leaves_the_place_to_the_next(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid first = asks(f, 4, 600);
    struct bt_uuid second = asks(f, 4, 600);
    struct bt_uuid third = asks(f, 4, 600);
    struct event *ev = fixture_event(EV_CANCEL, ALICE);

    f->carries_on = true;
    fixture_plan(f);
    run(f, first, 1);
    ev->u.cancel.job = second;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    exited(f, first);
    assert_string_equal(state_of(f, second)->state, "cancelled");
    assert_string_equal(state_of(f, third)->state, "starting");
    fixture_compare(f);
}

static void nothing_starts_that_a_plan_in_the_making_does_not_know(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid first = asks(f, 4, 600);
    struct bt_uuid second = asks(f, 4, 600);
    struct plan *p;

    f->carries_on = true;
    fixture_plan(f);
    run(f, first, 1);
    p = core_snapshot(f->core, 1); /* the planner has it */
    exited(f, first);
    assert_string_equal(state_of(f, second)->state, "queued");
    assert_true(core_plan_is_due(f->core));
    plan_unref(p);
    fixture_plan(f);
    assert_string_equal(state_of(f, second)->state, "starting");
    fixture_compare(f);
}

static void who_ends_while_a_plan_is_made_makes_room_with_it(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid first = asks(f, 4, 600);
    struct bt_uuid second = asks(f, 4, 600);
    struct event *ev;

    f->carries_on = true;
    fixture_plan(f);
    run(f, first, 1);
    ev = fixture_planned(f); /* the planner has looked */
    exited(f, first);
    assert_string_equal(state_of(f, second)->state, "queued");
    fixture_step(f, ev);
    assert_string_equal(state_of(f, second)->state, "starting");
    fixture_compare(f);
}

static void one_accelerator_that_is_freed_is_given_to_the_next(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid jobs[12];
    int n_starting;

    for (size_t i = 0; i < BT_ARRAY_LEN(jobs); i++)
        jobs[i] = asks(f, 1, 600);
    f->carries_on = true;
    fixture_plan(f);
    for (int i = 0; i < 4; i++)
        run(f, jobs[i], 1);
    f->now_us += BT_US_PER_S / 2;
    fixture_plan(f);
    for (int ended = 1; ended <= 4; ended++) {
        f->now_us += BT_US_PER_S / 4;
        exited(f, jobs[ended - 1]);
        n_starting = 0;
        for (size_t i = 4; i < BT_ARRAY_LEN(jobs); i++)
            n_starting += bt_streq(state_of(f, jobs[i])->state, "starting");
        assert_int_equal(n_starting, ended);
    }
    fixture_compare(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, core_setup, core_teardown)
    const struct CMUnitTest tests[] = {
        T(an_owned_job_stops_a_lent_one_which_comes_back),
        T(work_up_to_the_last_checkpoint_is_paid),
        T(an_owned_job_is_never_stopped),
        T(what_was_not_claimed_yields_at_once),
        T(a_newcomer_has_a_start_at_once),
        T(a_job_is_planned_around_an_outage),
        T(an_outage_that_is_called_off_is_in_nobodys_way),
        T(what_cannot_be_given_is_not_guaranteed),
        T(what_can_never_run_is_refused_with_its_reason),
        T(who_waits_starts_with_the_end_of_another),
        T(the_earliest_start_follows_what_peoples_jobs_usually_do),
        T(what_would_break_a_promise_waits_for_its_turn),
        T(who_was_cancelled_leaves_the_place_to_the_next),
        T(nothing_starts_that_a_plan_in_the_making_does_not_know),
        T(who_ends_while_a_plan_is_made_makes_room_with_it),
        T(one_accelerator_that_is_freed_is_given_to_the_next),
    };

    return cmocka_run_group_tests_name("core_plan", tests, NULL, NULL);
}
