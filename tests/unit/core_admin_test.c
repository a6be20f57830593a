/* What administrators change, and what the audit says of it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/unit/core_fixture.h"

/* 2028-01-01T00:00:00Z */
#define NEW_YEAR_US INT64_C(1830297600000000)

static struct event *ask(struct fixture *f, enum admin_op op)
{
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);

    ev->u.admin.op = op;
    ev->u.admin.id = fixture_id(f);
    return ev;
}

#define SET(ev, member, value) bt_copy((ev)->u.admin.member, sizeof(ev)->u.admin.member, value)

static const struct row_event *last_event(const struct fixture *f)
{
    const struct row_list *l = &f->last->rows.list[ROW_KIND_event];

    assert_int_equal(l->n, 1);
    return l->v;
}

static void expect_event(const struct fixture *f, const char *subject, const char *body)
{
    const struct row_event *r = last_event(f);

    assert_string_equal(r->subject, subject);
    assert_string_equal(r->body, body);
    assert_string_equal(r->actor, "council/chair");
}

static void step(struct fixture *f, struct event *ev)
{
    const struct reply *r = fixture_step(f, ev);

    if (r->err.code)
        fail_msg("%s", r->err.text);
}

static void the_audit_says_what_was_changed(void **state)
{
    struct fixture *f = *state;
    struct event *ev = ask(f, ADMIN_CLEARANCE);

    SET(ev, nation, "cz");
    SET(ev, person, "alice");
    ev->u.admin.tier = 2;
    ev->u.admin.until_us = NEW_YEAR_US;
    step(f, ev);
    expect_event(f, "alice",
                 "{\"nation\":\"cz\",\"person\":\"alice\",\"tier\":2,"
                 "\"until\":\"2028-01-01T00:00:00Z\"}");

    ev = ask(f, ADMIN_RATE);
    SET(ev, class, "cpu");
    ev->u.admin.rate_milli = 2500;
    ev->u.admin.peak_gflops = 70;
    step(f, ev);
    expect_event(f, "cpu", "{\"class\":\"cpu\",\"rate_milli\":2500,\"peak_gflops\":70}");

    ev = ask(f, ADMIN_QUOTA);
    SET(ev, nation, "cz");
    ev->u.admin.amount_mras = INT64_C(2000) * 3600000;
    step(f, ev);
    expect_event(f, "cz", "{\"nation\":\"cz\",\"granted_mras\":\"7200000000\"}");

    ev = ask(f, ADMIN_PERSON);
    SET(ev, nation, "cz");
    SET(ev, person, "bob");
    ev->u.admin.roles = ROLE_LEAD | ROLE_NATION_ADMIN;
    step(f, ev);
    expect_event(f, "bob",
                 "{\"nation\":\"cz\",\"person\":\"bob\",\"roles\":[\"lead\",\"nation_admin\"]}");

    ev = ask(f, ADMIN_MEMBER);
    SET(ev, nation, "cz");
    SET(ev, project, "multilingual");
    SET(ev, person, "alice");
    step(f, ev);
    expect_event(f, "multilingual",
                 "{\"nation\":\"cz\",\"project\":\"multilingual\",\"person\":\"alice\","
                 "\"role\":\"\"}");

    ev = ask(f, ADMIN_SITE);
    SET(ev, site, "geneva");
    SET(ev, kind, "slurm");
    ev->u.admin.conf = bt_strdup("{\"slurm_conf\":\"/c\"}");
    step(f, ev);
    expect_event(f, "geneva",
                 "{\"kind\":\"slurm\",\"site\":\"geneva\",\"conf\":{\"slurm_conf\":\"/c\"}}");
    fixture_compare(f);
}

static void outages_are_found_by_what_they_are_called(void **state)
{
    struct fixture *f = *state;
    struct event *ev = ask(f, ADMIN_OUTAGE);

    SET(ev, kind, "reservation");
    SET(ev, name, "spring");
    SET(ev, nation, "cz");
    SET(ev, text, "n1");
    ev->u.admin.until_us = NEW_YEAR_US;
    step(f, ev);
    expect_event(f, "spring",
                 "{\"id\":1,\"nation\":\"cz\",\"kind\":\"reservation\",\"name\":\"spring\","
                 "\"nodes\":\"n1\",\"until\":\"2028-01-01T00:00:00Z\"}");
    ev = ask(f, ADMIN_OUTAGE);
    SET(ev, name, "spring");
    SET(ev, state, "over");
    step(f, ev);
    expect_event(f, "spring", "{\"id\":1,\"name\":\"spring\",\"state\":\"over\"}");
    ev = ask(f, ADMIN_OUTAGE);
    SET(ev, kind, "maintenance");
    SET(ev, text, "n1");
    SET(ev, reason, "new switch");
    ev->u.admin.until_us = NEW_YEAR_US;
    step(f, ev);
    assert_string_equal(last_event(f)->subject, "n1");
    ev = ask(f, ADMIN_OUTAGE);
    ev->u.admin.amount_mras = 2;
    SET(ev, state, "over");
    step(f, ev);
    expect_event(f, "n1", "{\"id\":2,\"state\":\"over\"}");
}

static struct event *about_project(struct fixture *f, int32_t tier, int64_t until_us)
{
    struct event *ev = ask(f, ADMIN_PROJECT);

    SET(ev, nation, "cz");
    SET(ev, project, "multilingual");
    ev->u.admin.tier = tier;
    ev->u.admin.until_us = until_us;
    return ev;
}

static void a_clearance_stays_when_something_else_is_changed(void **state)
{
    struct fixture *f = *state;
    const struct row_project *p = &f->core->projects[0].row;
    struct event *ev;

    assert_int_equal(fixture_step(f, about_project(f, 3, 0))->err.code, BT_ERR_INVALID);
    assert_int_equal(p->tier, 0);
    step(f, about_project(f, 3, NEW_YEAR_US));
    ev = about_project(f, -1, 0);
    SET(ev, name, "Thirty languages");
    step(f, ev);
    assert_string_equal(p->title, "Thirty languages");
    assert_int_equal(p->tier, 3);
    assert_int_equal(p->tier_until_us, NEW_YEAR_US);
    step(f, about_project(f, 2, 0));
    assert_int_equal(p->tier, 2);
    assert_int_equal(p->tier_until_us, NEW_YEAR_US);
    fixture_compare(f);
}

/* What only the council gives, only the council prolongs. */
static void an_administrator_does_not_prolong_what_the_council_gave(void **state)
{
    struct fixture *f = *state;
    struct event *ev;

    step(f, about_project(f, 3, NEW_YEAR_US));
    ev = about_project(f, -1, NEW_YEAR_US + 1);
    memset(ev->who.spki, ADMIN[0], sizeof ev->who.spki);
    assert_int_equal(fixture_step(f, ev)->err.code, BT_ERR_FORBIDDEN);
    ev = about_project(f, 1, NEW_YEAR_US + 1);
    memset(ev->who.spki, ADMIN[0], sizeof ev->who.spki);
    step(f, ev);
    assert_int_equal(f->core->projects[0].row.tier, 1);
    step(f, about_project(f, -1, NEW_YEAR_US + 2));
    assert_int_equal(f->core->projects[0].row.tier_until_us, NEW_YEAR_US + 2);
}

static void who_is_revoked_does_not_come_in_with_an_older_token(void **state)
{
    struct fixture *f = *state;
    struct event *ev = ask(f, ADMIN_TOKEN);

    SET(ev, nation, "cz");
    SET(ev, kind, "person");
    SET(ev, subject, "alice");
    memset(ev->u.admin.secret_sha256, 9, 32);
    ev->u.admin.until_us = INT64_MAX;
    step(f, ev);
    expect_event(f, "alice", "{\"nation\":\"cz\",\"kind\":\"person\",\"subject\":\"alice\"}");
    ev = ask(f, ADMIN_REVOKE);
    SET(ev, nation, "cz");
    SET(ev, person, "alice");
    step(f, ev);
    expect_event(f, "alice", "{\"nation\":\"cz\",\"person\":\"alice\"}");
    fixture_restart(f);
    ev = event_new(EV_ENROL);
    memset(ev->u.enrol.token_sha256, 9, 32);
    memset(ev->u.enrol.spki, 'A', 32);
    ev->u.enrol.not_after_us = INT64_MAX;
    assert_int_equal(fixture_step(f, ev)->err.code, BT_ERR_TOKEN);
}

/* Alice, her institution and her project are cleared for tier 1. */
static void clear_alice(struct fixture *f)
{
    struct event *ev = ask(f, ADMIN_INSTITUTION);

    SET(ev, nation, "cz");
    SET(ev, institution, "uni");
    ev->u.admin.tier = 1;
    ev->u.admin.until_us = INT64_MAX;
    step(f, ev);
    ev = ask(f, ADMIN_PERSON);
    SET(ev, nation, "cz");
    SET(ev, person, "alice");
    SET(ev, institution, "uni");
    step(f, ev);
    ev = ask(f, ADMIN_CLEARANCE);
    SET(ev, nation, "cz");
    SET(ev, person, "alice");
    ev->u.admin.tier = 1;
    ev->u.admin.until_us = INT64_MAX;
    step(f, ev);
    step(f, about_project(f, 1, INT64_MAX));
}

static void set_site(struct fixture *f, const char *site, int32_t tier, int64_t until_us)
{
    struct event *ev = ask(f, ADMIN_SITE);

    SET(ev, site, site);
    ev->u.admin.tier = tier;
    ev->u.admin.until_us = until_us;
    step(f, ev);
}

static void set_node(struct fixture *f, int32_t tier)
{
    struct event *ev = ask(f, ADMIN_NODE);

    SET(ev, node, "n1");
    ev->u.admin.tier = tier;
    step(f, ev);
    assert_string_equal(node_find(f->core, "n1")->row.state, "up");
}

static struct bt_uuid submit_research(struct fixture *f)
{
    struct bt_uuid id = fixture_id(f);
    struct event *ev = ask(f, ADMIN_RATE);
    const struct reply *r;

    SET(ev, class, "cpu");
    ev->u.admin.rate_milli = 1000;
    ev->u.admin.peak_gflops = INT64_C(1000000000);
    step(f, ev);
    ev = fixture_ask(id, 1, 600);
    ev->u.submit.spec.flops = 2e20; /* BASE-1: tier 1, where that can be done in 600 s */
    r = fixture_step(f, ev);
    if (r->err.code)
        fail_msg("%s", r->err.text);
    assert_int_equal(job_find(f->core, id, NULL)->tier, 1);
    return id;
}

static const char *planned(struct fixture *f, struct bt_uuid id)
{
    fixture_plan(f);
    return state_of(f, id)->state;
}

/* The daemon, and the node's agent speaks to the new one. */
static void restart(struct fixture *f)
{
    struct event *ev = fixture_event(EV_NODE_REPORT, NODE1);

    fixture_restart(f);
    bt_copy(ev->u.node_report.node, sizeof ev->u.node_report.node, "n1");
    bt_copy(ev->u.node_report.class, sizeof ev->u.node_report.class, "cpu");
    ev->u.node_report.n_acc = 4;
    ev->u.node_report.registers = true;
    assert_int_equal(fixture_step(f, ev)->http, 200);
}

/* There is another cleared site all the time, but without nodes. */
static void a_job_starts_where_site_and_node_are_cleared_for_it(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id;

    clear_alice(f);
    set_site(f, "away", 1, INT64_MAX);
    id = submit_research(f);
    set_site(f, "here", 0, INT64_MAX);
    assert_string_equal(planned(f, id), "queued");
    set_site(f, "here", 1, f->now_us + BT_US_PER_S);
    fixture_advance(f, 2);
    assert_string_equal(planned(f, id), "queued");
    set_site(f, "here", 1, INT64_MAX);
    set_node(f, 0);
    assert_string_equal(planned(f, id), "queued");
    restart(f);
    assert_string_equal(planned(f, id), "queued");
    set_node(f, 4);
    assert_string_equal(planned(f, id), "starting");
    assert_int_equal(job_find(f->core, id, NULL)->attempt, 1);
    fixture_compare(f);
}

/* A site whose own clearance has ended stands in nobody's way. */
static void a_site_that_is_cleared_serves_beside_one_that_is_no_longer(void **state)
{
    struct fixture *f = *state;
    struct clearance_report report;

    clear_alice(f);
    set_site(f, "away", 2, f->now_us + BT_US_PER_S);
    fixture_advance(f, 2);
    (void)locks_of(f->core, 3, 1, 0, 1, &report);
    assert_int_equal(report.fault[LOCK_SITE], CLEARANCE_FINE);
    (void)locks_of(f->core, 3, 1, 2, 1, &report);
    assert_int_not_equal(report.fault[LOCK_SITE], CLEARANCE_FINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_audit_says_what_was_changed, core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(outages_are_found_by_what_they_are_called, core_setup,
                                        core_teardown),
        cmocka_unit_test_setup_teardown(a_clearance_stays_when_something_else_is_changed,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(an_administrator_does_not_prolong_what_the_council_gave,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(who_is_revoked_does_not_come_in_with_an_older_token,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(a_job_starts_where_site_and_node_are_cleared_for_it,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(a_site_that_is_cleared_serves_beside_one_that_is_no_longer,
                                        core_setup, core_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
