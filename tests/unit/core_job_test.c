/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/record/sign.h"
#include "tests/unit/core_fixture.h"

static const struct row_balance *project_account(struct fixture *f)
{
    const struct row_list *l = &f->db.list[ROW_KIND_account];

    for (int i = 0; i < l->n; i++) {
        const struct row_account *a = &((struct row_account *)l->v)[i];

        if (bt_streq(a->level, "project"))
            for (int k = 0; k < f->db.list[ROW_KIND_balance].n; k++)
                if (((struct row_balance *)f->db.list[ROW_KIND_balance].v)[k].id == a->id)
                    return &((struct row_balance *)f->db.list[ROW_KIND_balance].v)[k];
    }
    fail_msg("no account");
    return NULL;
}

static const struct reply *claim(struct fixture *f, struct bt_uuid id, int attempt, const char *who)
{
    struct event *ev = fixture_event(EV_CLAIM, NODE1);

    ev->u.claim.job = id;
    ev->u.claim.attempt = attempt;
    bt_copy(ev->u.claim.foreign_id, sizeof ev->u.claim.foreign_id, who);
    return fixture_step(f, ev);
}

static const struct reply *started(struct fixture *f, struct bt_uuid id, int attempt,
                                   const char *who)
{
    struct event *ev = fixture_event(EV_STARTED, NODE1);

    ev->u.started.job = id;
    ev->u.started.attempt = attempt;
    bt_copy(ev->u.started.foreign_id, sizeof ev->u.started.foreign_id, who);
    return fixture_step(f, ev);
}

static const struct reply *started_before(struct fixture *f, struct bt_uuid id, int64_t ago_ms)
{
    struct event *ev = fixture_event(EV_STARTED, NODE1);

    ev->u.started.job = id;
    ev->u.started.attempt = 1;
    ev->u.started.ago_ms = ago_ms;
    bt_copy(ev->u.started.foreign_id, sizeof ev->u.started.foreign_id, "local:1");
    return fixture_step(f, ev);
}

static const struct reply *ended(struct fixture *f, struct bt_uuid id, int attempt,
                                 enum end_reason reason, int status)
{
    struct event *ev = fixture_event(EV_RANKS_ENDED, NODE1);

    ev->u.ranks_ended.job = id;
    ev->u.ranks_ended.attempt = attempt;
    ev->u.ranks_ended.reason = reason;
    ev->u.ranks_ended.exit_code = status;
    return fixture_step(f, ev);
}

static const struct reply *manifest(struct fixture *f, struct bt_uuid id, int attempt)
{
    struct event *ev = fixture_event(EV_MANIFEST, NODE1);

    ev->u.manifest.job = id;
    ev->u.manifest.attempt = attempt;
    ev->u.manifest.files = 2;
    ev->u.manifest.bytes = 10;
    bt_copy(ev->u.manifest.metrics, sizeof ev->u.manifest.metrics, "{\"loss\":\"1.93\"}");
    return fixture_step(f, ev);
}

/* The end of ranks that left nothing to be uploaded. */
static const struct reply *ended_whole(struct fixture *f, struct bt_uuid id, int attempt,
                                       int status)
{
    struct event *ev = fixture_event(EV_RANKS_ENDED, NODE1);
    struct ev_ranks_ended *e = &ev->u.ranks_ended;

    *e = (struct ev_ranks_ended){
        .job = id, .attempt = attempt, .exit_code = status, .has_manifest = true};
    e->manifest.job = id;
    e->manifest.attempt = attempt;
    return fixture_step(f, ev);
}

static void an_end_with_its_manifest_is_one_transaction(void **state)
{
    static const struct {
        bool said_before; /* the end alone, whose answer was lost with the agent */
        int status;
        const char *then;
        int attempt, leaves;
    } rows[] = {
        {false, 0, "completed", 1, 2},
        {true, 0, "completed", 1, 2},
        {false, 3, "failed", 1, 2},
        {false, 85, "queued", 2, 1}, /* nothing is fixed: there is another attempt */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_uuid id = fixture_id(f);
        int leaves = f->db.list[ROW_KIND_ledger].n;

        fixture_submit(f, id, 1, 60);
        fixture_plan(f);
        claim(f, id, 1, "x");
        started(f, id, 1, "x");
        f->now_us += BT_US_PER_S;
        if (rows[i].said_before)
            assert_int_equal(ended(f, id, 1, END_EXITED, rows[i].status)->err.code, 0);
        assert_int_equal(ended_whole(f, id, 1, rows[i].status)->err.code, 0);
        assert_string_equal(state_of(f, id)->state, rows[i].then);
        assert_int_equal(state_of(f, id)->attempt, rows[i].attempt);
        assert_int_equal(f->db.list[ROW_KIND_ledger].n - leaves, rows[i].leaves);
        assert_int_equal(f->db.list[ROW_KIND_alloc].n, 0);
        fixture_compare(f);
        /* said again */
        assert_int_equal(ended_whole(f, id, 1, rows[i].status)->err.code,
                         rows[i].attempt == 1 ? 0 : BT_ERR_FENCED);
        assert_int_equal(f->db.list[ROW_KIND_ledger].n - leaves, rows[i].leaves);
        fixture_compare(f);
    }
}

static void a_job_runs_and_is_recorded(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    const struct reply *r = fixture_submit(f, id, 2, 600);

    assert_int_equal(r->http, 201);
    assert_non_null(strstr(r->body, "\"state\":\"queued\""));
    assert_int_equal(project_account(f)->held, 2 * 600 * 1000);
    fixture_plan(f);
    assert_string_equal(state_of(f, id)->state, "starting");
    assert_int_equal(f->last->n_wants, 1);
    assert_int_equal(f->last->wants[0].action, WANT_RUN);
    assert_int_equal(claim(f, id, 1, "local:1")->err.code, 0);
    assert_int_equal(started(f, id, 1, "local:1")->err.code, 0);
    assert_string_equal(state_of(f, id)->state, "running");
    fixture_compare(f);
    f->now_us += 10 * BT_US_PER_S;
    assert_int_equal(ended(f, id, 1, END_EXITED, 0)->err.code, 0);
    assert_string_equal(state_of(f, id)->state, "finishing");
    assert_int_equal(f->db.list[ROW_KIND_alloc].n, 0);
    fixture_compare(f);
    assert_int_equal(manifest(f, id, 1)->err.code, 0);
    assert_string_equal(state_of(f, id)->state, "completed");
    assert_int_equal(state_of(f, id)->record_idx, 1);
    assert_int_equal(project_account(f)->held, 0);
    assert_int_equal(project_account(f)->spent, 2 * 10 * 1000);
    assert_int_equal(manifest(f, id, 1)->err.code, 0); /* said again */
    assert_int_equal(f->db.list[ROW_KIND_ledger].n, 2);
    fixture_compare(f);
}

static void a_start_that_is_told_late_is_dated_back(void **state)
{
    static const struct {
        int64_t ago_ms, start_s; /* since the claim, 10 s before it is told */
    } rows[] = {{0, 10}, {2000, 8}, {10000, 0}, {3600000, 0}};
    struct fixture *f = *state;

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct bt_uuid id = fixture_id(f);
        int64_t claimed_us;

        fixture_submit(f, id, 1, 600);
        fixture_plan(f);
        claim(f, id, 1, "local:1");
        claimed_us = f->now_us;
        f->now_us += 10 * BT_US_PER_S;
        assert_int_equal(started_before(f, id, rows[i].ago_ms)->err.code, 0);
        assert_int_equal(state_of(f, id)->start_us, claimed_us + rows[i].start_s * BT_US_PER_S);
        ended_whole(f, id, 1, 0);
        fixture_compare(f);
    }
}

static void the_same_id_gets_the_same_answer_and_another_body_is_refused(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    int64_t number = f->db.list[ROW_KIND_job].n;

    assert_int_equal(fixture_submit(f, id, 1, 60)->http, 201);
    assert_int_equal(fixture_submit(f, id, 1, 60)->http, 201);
    assert_int_equal(f->db.list[ROW_KIND_job].n, number + 1);
    assert_int_equal(fixture_submit(f, id, 2, 60)->err.code, BT_ERR_DUPLICATE_ID);
    id.b[1]--; /* 2^32 ms: some seven weeks earlier */
    assert_int_equal(fixture_submit(f, id, 1, 60)->err.code, BT_ERR_ID_TOO_OLD);
}

static void a_refusal_names_everything_that_is_missing(void **state)
{
    struct fixture *f = *state;
    const struct reply *r = fixture_submit(f, fixture_id(f), 80, 360000);

    assert_true(r->err.code != 0);
    assert_non_null(strstr(r->more, "\"lock\":\"person\""));
    assert_non_null(strstr(r->more, "\"lock\":\"quota\""));
    assert_non_null(strstr(r->more, "\"lock\":\"size\""));
    assert_non_null(strstr(r->more, "BASE-1"));
    assert_int_equal(project_account(f)->held, 0);
    fixture_compare(f);
}

static void only_one_shepherd_gets_the_claim(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);

    fixture_submit(f, id, 1, 60);
    assert_int_equal(claim(f, id, 1, "local:1")->err.code, BT_ERR_FENCED);
    fixture_plan(f);
    assert_int_equal(claim(f, id, 2, "local:1")->err.code, BT_ERR_FENCED);
    assert_int_equal(claim(f, id, 1, "local:1")->err.code, 0);
    assert_int_equal(claim(f, id, 1, "local:2")->err.code, BT_ERR_FENCED);
    assert_int_equal(claim(f, id, 1, "local:1")->err.code, 0);
    fixture_compare(f);
}

static void an_unclaimed_attempt_is_closed_and_tried_again(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);

    fixture_submit(f, id, 1, 60);
    fixture_plan(f);
    fixture_advance(f, 95);
    assert_string_equal(state_of(f, id)->state, "queued");
    assert_int_equal(state_of(f, id)->attempt, 2);
    assert_int_equal(claim(f, id, 1, "late")->err.code, BT_ERR_FENCED);
    assert_int_equal(project_account(f)->held, 60 * 1000);
    assert_int_equal(project_account(f)->spent, 0);
    fixture_compare(f);
}

static void a_silent_node_loses_its_job_after_the_lease(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);

    fixture_submit(f, id, 1, 3600);
    fixture_plan(f);
    claim(f, id, 1, "local:1");
    started(f, id, 1, "local:1");
    fixture_advance(f, 150);
    assert_string_equal(state_of(f, id)->state, "running");
    fixture_advance(f, 100);
    assert_string_equal(state_of(f, id)->state, "queued");
    assert_int_equal(project_account(f)->spent, 0);
    fixture_compare(f);
}

static void cancelling_refunds_what_never_ran(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    struct event *ev;

    fixture_submit(f, id, 1, 60);
    ev = fixture_event(EV_CANCEL, ADMIN);
    ev->u.cancel.job = id;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    assert_string_equal(state_of(f, id)->state, "cancelled");
    assert_int_equal(project_account(f)->held, 0);
    assert_int_equal(project_account(f)->spent, 0);
    assert_int_equal(f->db.list[ROW_KIND_ledger].n, 1);
    fixture_compare(f);
}

static void a_running_job_is_asked_to_stop_and_then_recorded(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    struct event *ev = fixture_event(EV_CANCEL, ALICE);

    ev->u.cancel.job = id;
    fixture_submit(f, id, 1, 60);
    fixture_plan(f);
    claim(f, id, 1, "x");
    started(f, id, 1, "x");
    fixture_step(f, ev);
    assert_int_equal(f->last->wants[0].action, WANT_STOP);
    assert_string_equal(state_of(f, id)->state, "running");
    f->now_us += BT_US_PER_S;
    ended(f, id, 1, END_STOPPED, 0);
    manifest(f, id, 1);
    assert_string_equal(state_of(f, id)->state, "cancelled");
    fixture_compare(f);
}

static void status_85_means_requeue_me(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);

    fixture_submit(f, id, 1, 60);
    fixture_plan(f);
    claim(f, id, 1, "x");
    started(f, id, 1, "x");
    f->now_us += 5 * BT_US_PER_S;
    ended(f, id, 1, END_EXITED, 85);
    assert_string_equal(state_of(f, id)->state, "queued");
    assert_int_equal(state_of(f, id)->attempt, 2);
    assert_int_equal(project_account(f)->spent, 5 * 1000);
    assert_int_equal(project_account(f)->held, 60 * 1000);
    fixture_compare(f);
}

static void a_missing_manifest_ends_the_job_as_incomplete(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    struct row_ledger *l;

    fixture_submit(f, id, 1, 60);
    fixture_plan(f);
    claim(f, id, 1, "x");
    started(f, id, 1, "x");
    ended(f, id, 1, END_EXITED, 1);
    f->now_us += 3601 * BT_US_PER_S;
    fixture_step(f, event_new(EV_TICK));
    assert_string_equal(state_of(f, id)->state, "failed");
    l = f->db.list[ROW_KIND_ledger].v;
    assert_non_null(strstr(l[f->db.list[ROW_KIND_ledger].n - 1].body, "incomplete"));
    fixture_compare(f);
}

static void what_cannot_be_told_is_entered_as_an_error_of_its_job(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id[2] = {fixture_id(f), fixture_id(f)};
    const struct row_list *l = &f->db.list[ROW_KIND_ledger];
    char want[2][128];

    f->core->facility[0] = '\xff'; /* no text that JSON can hold */
    for (int i = 0; i < 2; i++) {
        char text[BT_UUID_TEXT];

        fixture_submit(f, id[i], 1, 60);
        fixture_plan(f);
        (void)snprintf(
            want[i], sizeof want[i],
            "{\"body\":{\"error\":\"INVALID\",\"job\":\"%s\"},\"kind\":\"submit\",\"v\":1}",
            bt_uuid_format(id[i], text));
    }
    assert_int_equal(l->n, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(((const struct row_ledger *)l->v)[i].body, want[i]);
        assert_int_equal(state_of(f, id[i])->submit_idx, i);
    }
}

static void strangers_may_not_touch_a_job(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    struct event *ev = fixture_event(EV_CANCEL, "?");

    fixture_submit(f, id, 1, 60);
    ev->u.cancel.job = id;
    assert_int_equal(fixture_step(f, ev)->err.code, BT_ERR_UNAUTHENTICATED);
    ev = fixture_event(EV_ADMIN, ALICE);
    ev->u.admin.op = ADMIN_QUOTA;
    ev->u.admin.id = fixture_id(f);
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, "cz");
    assert_int_equal(fixture_step(f, ev)->err.code, BT_ERR_FORBIDDEN);
    ev = fixture_event(EV_CLAIM, ALICE);
    ev->u.claim.job = id;
    ev->u.claim.attempt = 1;
    assert_true(fixture_step(f, ev)->err.code != 0);
}

static const struct reply *ask_quota(struct fixture *f, struct bt_uuid id, int64_t hours)
{
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);

    ev->u.admin.op = ADMIN_QUOTA;
    ev->u.admin.id = id;
    memset(ev->u.admin.body_sha256, (int)(hours & 0xff), sizeof ev->u.admin.body_sha256);
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, "cz");
    ev->u.admin.amount_mras = hours * 3600000;
    return fixture_step(f, ev);
}

static int64_t granted(struct fixture *f)
{
    const struct row_list *l = &f->db.list[ROW_KIND_balance];
    int64_t most = 0;

    for (int i = 0; i < l->n; i++)
        most = BT_MAX(most, ((struct row_balance *)l->v)[i].granted);
    return most / 3600000;
}

static void a_change_is_done_once_however_often_it_is_asked_for(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid first = fixture_id(f), second = fixture_id(f);
    BT_AUTO char *answer = bt_strdup(ask_quota(f, first, 2000)->body);

    assert_int_equal(granted(f), 2000);
    assert_int_equal(ask_quota(f, second, 3000)->err.code, 0);
    assert_string_equal(ask_quota(f, first, 2000)->body, answer); /* late, and told what was */
    assert_int_equal(granted(f), 3000);
    assert_int_equal(ask_quota(f, first, 4000)->err.code, BT_ERR_DUPLICATE_ID);
    assert_int_equal(granted(f), 3000);
    fixture_compare(f); /* a core that starts now knows both */
    first.b[2] -= 6;    /* more than a day: 2^24 ms each */
    assert_int_equal(ask_quota(f, first, 2000)->err.code, BT_ERR_ID_TOO_OLD);
    assert_int_equal(f->db.list[ROW_KIND_request].n, 2);
}

static void what_was_refused_or_only_tried_may_be_asked_again(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);

    ev->u.admin.op = ADMIN_QUOTA;
    ev->u.admin.id = id;
    ev->u.admin.dry_run = true;
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, "cz");
    ev->u.admin.amount_mras = INT64_C(2000) * 3600000;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    assert_int_equal(ask_quota(f, id, 1)->err.code, BT_ERR_CONFLICT); /* its projects have 40 */
    assert_int_equal(f->db.list[ROW_KIND_request].n, 0);
    assert_int_equal(ask_quota(f, id, 2000)->err.code, 0);
    assert_int_equal(granted(f), 2000);
}

/* Signed by whom the entry shall name. */
static struct event *a_result(struct fixture *f, struct bt_uuid job, const char *who,
                              const char *person, int64_t record)
{
    static const uint8_t seed[SIGN_SEED_SIZE] = {7};
    struct event *ev = fixture_event(EV_RESULT, who);
    struct ev_result *e = &ev->u.result;
    struct sign_key *key = NULL;

    e->id = fixture_id(f);
    e->job = job;
    e->record = record;
    memset(e->body_sha256, 0x5a, sizeof e->body_sha256);
    bt_copy(e->person, sizeof e->person, person);
    e->body = bt_strdup("{\"title\":\"T\"}");
    assert_int_equal(sign_key_from_seed(seed, &key, NULL), 0);
    assert_int_equal(record_sign(key, e->body, strlen(e->body), e->sig, NULL), 0);
    sign_key_public(key, e->key);
    sign_key_free(key);
    return ev;
}

static const char *leaf_of(struct fixture *f, int64_t idx)
{
    return ((struct row_ledger *)f->db.list[ROW_KIND_ledger].v)[idx].body;
}

static void a_result_is_entered_once_and_only_by_who_signed_it(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f), request;
    struct event *ev, *again;
    int64_t record, result;

    fixture_submit(f, id, 1, 60);
    assert_int_equal(fixture_step(f, a_result(f, id, ALICE, "p3", 0))->err.code, BT_ERR_JOB_STATE);
    ev = fixture_event(EV_CANCEL, ALICE);
    ev->u.cancel.job = id;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
    record = state_of(f, id)->record_idx;
    assert_non_null(strstr(leaf_of(f, record), "\"person\":\"p3\""));
    assert_int_equal(fixture_step(f, a_result(f, id, "?", "p3", record))->err.code,
                     BT_ERR_UNAUTHENTICATED);
    assert_int_equal(fixture_step(f, a_result(f, id, CHAIR, "p3", record))->err.code,
                     BT_ERR_FORBIDDEN);
    assert_int_equal(fixture_step(f, a_result(f, id, ALICE, "p3", record + 1))->err.code,
                     BT_ERR_INVALID);
    ev = a_result(f, id, ALICE, "p3", record);
    ev->u.result.sig[0] ^= 1;
    assert_int_equal(fixture_step(f, ev)->err.code, BT_ERR_SIGNATURE);
    assert_true(state_of(f, id)->result_idx == ROW_NULL64);
    ev = a_result(f, id, ALICE, "p3", record);
    request = ev->u.result.id;
    assert_int_equal(fixture_step(f, ev)->http, 201);
    result = state_of(f, id)->result_idx;
    assert_int_equal(result, record + 1);
    assert_non_null(strstr(leaf_of(f, result), "\"kind\":\"result\""));
    again = a_result(f, id, ALICE, "p3", record);
    again->u.result.id = request; /* its answer was lost */
    assert_int_equal(fixture_step(f, again)->http, 201);
    assert_int_equal(fixture_step(f, a_result(f, id, ALICE, "p3", record))->err.code,
                     BT_ERR_CONFLICT);
    assert_int_equal(f->db.list[ROW_KIND_ledger].n, result + 1);
    fixture_compare(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, core_setup, core_teardown)
    const struct CMUnitTest tests[] = {
        T(a_job_runs_and_is_recorded),
        T(a_start_that_is_told_late_is_dated_back),
        T(the_same_id_gets_the_same_answer_and_another_body_is_refused),
        T(a_refusal_names_everything_that_is_missing),
        T(a_change_is_done_once_however_often_it_is_asked_for),
        T(what_was_refused_or_only_tried_may_be_asked_again),
        T(a_result_is_entered_once_and_only_by_who_signed_it),
        T(only_one_shepherd_gets_the_claim),
        T(an_unclaimed_attempt_is_closed_and_tried_again),
        T(a_silent_node_loses_its_job_after_the_lease),
        T(cancelling_refunds_what_never_ran),
        T(a_running_job_is_asked_to_stop_and_then_recorded),
        T(status_85_means_requeue_me),
        T(an_end_with_its_manifest_is_one_transaction),
        T(a_missing_manifest_ends_the_job_as_incomplete),
        T(what_cannot_be_told_is_entered_as_an_error_of_its_job),
        T(strangers_may_not_touch_a_job),
    };

    return cmocka_run_group_tests_name("core_job", tests, NULL, NULL);
}
