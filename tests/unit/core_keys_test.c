/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/unit/core_fixture.h"

#define DAY_US (INT64_C(86400) * BT_US_PER_S)
#define NODE2 "m"

static const struct reply *renew(struct fixture *f, const char *who, const char *key,
                                 int64_t until_us)
{
    struct event *ev = fixture_event(EV_RENEW, who);

    memset(ev->u.renew.spki, key[0], sizeof ev->u.renew.spki);
    ev->u.renew.not_after_us = until_us;
    return fixture_step(f, ev);
}

/* An agent whose certificate lasts a day. */
static void enrol_for_a_day(struct fixture *f)
{
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);

    ev->u.admin.op = ADMIN_TOKEN;
    ev->u.admin.id = fixture_id(f);
    bt_copy(ev->u.admin.kind, sizeof ev->u.admin.kind, "agent");
    bt_copy(ev->u.admin.subject, sizeof ev->u.admin.subject, "n2");
    memset(ev->u.admin.secret_sha256, 7, 32);
    ev->u.admin.until_us = f->now_us + DAY_US;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    ev = event_new(EV_ENROL);
    memset(ev->u.enrol.token_sha256, 7, 32);
    memset(ev->u.enrol.spki, NODE2[0], 32);
    ev->u.enrol.not_after_us = f->now_us + DAY_US;
    assert_int_equal(fixture_step(f, ev)->http, 201);
}

static int64_t end_of(struct fixture *f, const char *key)
{
    uint8_t spki[32];
    const struct credential *cr;

    memset(spki, key[0], sizeof spki);
    cr = credential_find(f->core, spki);
    assert_non_null(cr);
    return cr->row.not_after_us;
}

static void a_certificate_is_renewed_for_its_own_key(void **state)
{
    struct fixture *f = *state;
    const struct reply *r;
    int64_t later = f->now_us + 90 * DAY_US;

    enrol_for_a_day(f);
    r = renew(f, NODE2, NODE2, later);
    assert_int_equal(r->http, 200);
    assert_string_equal(r->kind, "agent");
    assert_string_equal(r->subject, "n2");
    assert_int_equal(end_of(f, NODE2), later);
    assert_int_equal(f->last->n_credentials, 1); /* the HTTP threads hear of it */
    fixture_compare(f);
    assert_int_equal(renew(f, NODE2, NODE1, later + DAY_US)->err.code, BT_ERR_FORBIDDEN);
    assert_int_equal(renew(f, "?", "?", later)->err.code, BT_ERR_UNAUTHENTICATED);
    assert_int_equal(end_of(f, NODE1), INT64_MAX);
}

static void who_asks_again_gets_an_answer_and_nothing_is_written(void **state)
{
    struct fixture *f = *state;
    int64_t later = f->now_us + 90 * DAY_US;

    enrol_for_a_day(f);
    assert_int_equal(renew(f, NODE2, NODE2, later)->http, 200);
    assert_int_equal(renew(f, NODE2, NODE2, later + 60 * BT_US_PER_S)->http, 200);
    assert_int_equal(end_of(f, NODE2), later);
    assert_int_equal(f->last->n_credentials, 0);
    assert_int_equal(renew(f, NODE2, NODE2, f->now_us)->http, 200); /* never shorter */
    assert_int_equal(end_of(f, NODE2), later);
}

static void what_has_ended_or_was_revoked_is_not_renewed(void **state)
{
    struct fixture *f = *state;
    int64_t later = f->now_us + 90 * DAY_US;
    struct event *ev;

    enrol_for_a_day(f);
    f->now_us += DAY_US;
    assert_int_equal(renew(f, NODE2, NODE2, later)->err.code, BT_ERR_UNAUTHENTICATED);
    ev = fixture_event(EV_ADMIN, CHAIR);
    ev->u.admin.op = ADMIN_REVOKE;
    ev->u.admin.id = fixture_id(f);
    memset(ev->u.admin.spki, NODE1[0], 32);
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    assert_int_equal(renew(f, NODE1, NODE1, later)->err.code, BT_ERR_REVOKED);
    fixture_compare(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, core_setup, core_teardown)
    const struct CMUnitTest tests[] = {
        T(a_certificate_is_renewed_for_its_own_key),
        T(who_asks_again_gets_an_answer_and_nothing_is_written),
        T(what_has_ended_or_was_revoked_is_not_renewed),
    };

    return cmocka_run_group_tests_name("core_keys", tests, NULL, NULL);
}
