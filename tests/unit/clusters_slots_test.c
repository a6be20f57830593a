/* What follows from a cluster's list of jobs. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/clusters/slots.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

#define US BT_US_PER_S
#define OURS "beamtime.example"

static struct bt_uuid job_id(int n)
{
    struct bt_uuid id = {{0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc}};

    id.b[15] = (uint8_t)n;
    return id;
}

static void want(struct slots *s, int n, enum want_action action, bool claimed)
{
    char hosts[] = "n1,n2";
    struct want w = {.job = job_id(n),
                     .attempt = 1,
                     .action = action,
                     .claimed = claimed,
                     .walltime_s = 60,
                     .per_host = 8,
                     .hosts = action == WANT_RUN ? hosts : NULL};

    slots_want(s, &w, 0);
}

enum how { PENDING, RUNNING, OVER };

static struct wire_job listed(int64_t id, int n, enum how how)
{
    struct wire_job j = {.id = id, .pending = how == PENDING, .over = how == OVER};

    wire_comment(job_id(n), 1, j.comment);
    bt_copy(j.name, sizeof j.name, OURS);
    bt_copy(j.state, sizeof j.state, how == OVER ? "NODE_FAIL" : "-");
    return j;
}

static enum slot_state state(struct slots *s, int n)
{
    const struct slot *slot = slots_find(s, job_id(n), 1);

    assert_non_null(slot);
    return slot->state;
}

static void place(struct slots *s, int n, int64_t id)
{
    slots_find(s, job_id(n), 1)->state = SLOT_ASKED;
    slots_placed(s, job_id(n), 1, id, 0);
}

static void nothing_is_submitted_before_a_list_was_seen(void **unused)
{
    struct slots s = {0};
    struct wire_job there = listed(7, 2, RUNNING);

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    want(&s, 2, WANT_RUN, true);
    want(&s, 3, WANT_RUN, true);
    want(&s, 4, WANT_STOP, false);
    assert_int_equal(SLOT_DOUBT, state(&s, 1));
    slots_list(&s, &there, 1, OURS, 0);
    assert_int_equal(SLOT_WANTED, state(&s, 1)); /* absent and not claimed: submit it */
    assert_int_equal(SLOT_PLACED, state(&s, 2)); /* found by its comment */
    assert_int_equal(SLOT_LOST, state(&s, 3));   /* claimed: never a second time */
    assert_int_equal(SLOT_LOST, state(&s, 4));
    assert_int_equal(0, s.n_acts);
    want(&s, 5, WANT_RUN, false);
    assert_int_equal(SLOT_WANTED, state(&s, 5));
    slots_done(&s);
}

static void what_slurm_forgot_or_ended_is_told_once(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job over = listed(8, 2, OVER);

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    want(&s, 2, WANT_RUN, false);
    place(&s, 1, 7);
    place(&s, 2, 8);
    slots_list(&s, &over, 1, OURS, 0);
    assert_int_equal(2, s.n_acts);
    assert_int_equal(SLOT_UNPLACED, s.acts[0].kind);
    assert_string_equal("Slurm ended job 8 (NODE_FAIL) before a claim", s.acts[0].text);
    assert_string_equal("Slurm does not know job 7 any more", s.acts[1].text);
    slots_list(&s, &over, 1, OURS, 0);
    assert_int_equal(0, s.n_acts);
    want(&s, 1, WANT_GONE, false);
    assert_null(slots_find(&s, job_id(1), 1));
    slots_done(&s);
}

static void an_id_with_another_comment_is_another_job(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job other = listed(7, 9, RUNNING);

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    place(&s, 1, 7);
    slots_list(&s, &other, 1, OURS, 0);
    assert_int_equal(SLOT_LOST, state(&s, 1));
    slots_done(&s);
}

static void a_ghost_is_cancelled(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job ghosts[] = {listed(3, 1, PENDING), listed(4, 2, RUNNING)};

    (void)unused;
    slots_list(&s, ghosts, 2, OURS, 0);
    assert_int_equal(1, s.n_acts); /* a pending one at once */
    assert_int_equal(3, s.acts[0].id);
    assert_string_equal(ghosts[0].comment, s.acts[0].comment);
    slots_list(&s, ghosts + 1, 1, OURS, (SLOT_STRAY_S - 1) * US);
    assert_int_equal(0, s.n_acts); /* its shepherd finds out itself */
    slots_list(&s, ghosts + 1, 1, OURS, (SLOT_STRAY_S + 1) * US);
    assert_int_equal(1, s.n_acts);
    assert_int_equal(4, s.acts[0].id);
    slots_list(&s, ghosts, 2, "another.facility", 0);
    assert_int_equal(0, s.n_acts);
    slots_done(&s);
}

static void a_suspended_job_is_cancelled_when_it_shall_stop(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job there[] = {listed(7, 1, RUNNING), listed(8, 2, RUNNING)};

    (void)unused;
    there[0].suspended = true;
    want(&s, 1, WANT_RUN, true);
    want(&s, 2, WANT_STOP, true);
    slots_list(&s, there, 2, OURS, 0);
    assert_int_equal(0, s.n_acts); /* it goes on some day; the other's shepherd hears of it */
    assert_false(slots_frozen(&s));
    want(&s, 1, WANT_STOP, true);
    assert_true(slots_frozen(&s));
    slots_list(&s, there, 2, OURS, 0);
    assert_int_equal(1, s.n_acts);
    assert_int_equal(SLOT_CANCEL, s.acts[0].kind);
    assert_int_equal(7, s.acts[0].id);
    there[0].suspended = false; /* Slurm lets it go on, with a SIGTERM */
    slots_list(&s, there, 2, OURS, 0);
    assert_int_equal(0, s.n_acts);
    assert_false(slots_frozen(&s));
    slots_done(&s);
}

static void what_waits_behind_jobs_of_others_goes_elsewhere(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job there = listed(7, 1, PENDING);

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    place(&s, 1, 7);
    slots_list(&s, &there, 1, OURS, 0);
    slots_blocked(&s, NULL);
    slots_blocked(&s, "n11,n3,xn1");
    assert_int_equal(0, s.n_acts);
    slots_blocked(&s, "n3,n1");
    assert_int_equal(1, s.n_acts);
    assert_int_equal(SLOT_UNPLACED, s.acts[0].kind);
    assert_string_equal("Slurm's job 7 waited for jobs of others on n1", s.acts[0].text);
    assert_int_equal(SLOT_LOST, state(&s, 1));
    slots_blocked(&s, "n3,n1");
    assert_int_equal(1, s.n_acts); /* told once */
    there = listed(7, 1, RUNNING); /* its claim was faster */
    slots_list(&s, &there, 1, OURS, 0);
    assert_int_equal(SLOT_PLACED, state(&s, 1));
    slots_blocked(&s, "n3,n1");
    assert_int_equal(0, s.n_acts);
    slots_done(&s);
}

static void of_two_jobs_of_one_attempt_the_running_one_stays(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job two[] = {listed(3, 1, RUNNING), listed(4, 1, PENDING)};

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    place(&s, 1, 4); /* submitted again after a silence; 3 came all the same */
    slots_list(&s, two, 2, OURS, 0);
    assert_int_equal(SLOT_PLACED, state(&s, 1));
    assert_int_equal(3, slots_find(&s, job_id(1), 1)->id);
    assert_int_equal(1, s.n_acts);
    assert_int_equal(4, s.acts[0].id);
    slots_done(&s);
}

static void silence_and_a_lost_helper_leave_doubt(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job came = listed(5, 1, PENDING);

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    want(&s, 2, WANT_RUN, false);
    slots_find(&s, job_id(1), 1)->state = SLOT_ASKED;
    slots_doubt(&s, job_id(1), 1);
    assert_int_equal(SLOT_DOUBT, state(&s, 1));
    slots_list(&s, &came, 1, OURS, 0);
    assert_int_equal(SLOT_PLACED, state(&s, 1));
    slots_find(&s, job_id(2), 1)->state = SLOT_ASKED;
    slots_cut(&s);
    assert_false(s.listed);
    assert_int_equal(SLOT_DOUBT, state(&s, 2));
    slots_done(&s);
}

static void what_is_gone_leaves_gently(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job jobs[] = {listed(5, 1, PENDING), listed(6, 2, RUNNING)};

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    want(&s, 2, WANT_RUN, false);
    want(&s, 3, WANT_RUN, false);
    place(&s, 1, 5);
    place(&s, 2, 6);
    slots_find(&s, job_id(3), 1)->state = SLOT_ASKED;
    for (int i = 1; i <= 3; i++)
        want(&s, i, WANT_GONE, false);
    slots_placed(&s, job_id(3), 1, 7, 0);
    slots_list(&s, jobs, 2, OURS, 0);
    assert_int_equal(1, s.n_acts); /* only the pending one; 6 still gathers its files */
    assert_int_equal(5, s.acts[0].id);
    assert_null(slots_find(&s, job_id(3), 1)); /* Slurm knows it no more */
    slots_list(&s, jobs + 1, 1, OURS, (SLOT_LINGER_S + 1) * US);
    assert_int_equal(1, s.n_acts);
    assert_int_equal(6, s.acts[0].id);
    slots_list(&s, NULL, 0, OURS, 0);
    assert_int_equal(0, s.n);
    slots_done(&s);
}

static void settled(struct slots *s, int n)
{
    struct want w = {.job = job_id(n), .attempt = 1, .action = WANT_GONE, .settled = true};

    slots_want(s, &w, 0);
}

static void what_is_settled_is_cancelled_where_slurm_still_runs_it(void **unused)
{
    struct slots s = {.listed = true};
    struct wire_job jobs[] = {listed(6, 2, RUNNING), listed(7, 3, RUNNING)};

    (void)unused;
    want(&s, 2, WANT_RUN, false);
    place(&s, 2, 6);
    want(&s, 2, WANT_GONE, false);
    want(&s, 3, WANT_GONE, false); /* after a start: it was finishing then */
    slots_list(&s, jobs, 2, OURS, (SLOT_STRAY_S + SLOT_SETTLED_S + 1) * US);
    assert_int_equal(0, s.n_acts); /* both gather */
    settled(&s, 2);
    settled(&s, 3);
    settled(&s, 4);
    assert_null(slots_find(&s, job_id(4), 1));
    slots_list(&s, jobs, 2, OURS, (SLOT_SETTLED_S - 1) * US);
    assert_int_equal(0, s.n_acts);
    slots_list(&s, jobs, 2, OURS, (SLOT_SETTLED_S + 1) * US);
    assert_int_equal(2, s.n_acts);
    assert_int_equal(13, s.acts[0].id + s.acts[1].id);
    slots_list(&s, NULL, 0, OURS, 0);
    assert_int_equal(0, s.n);
    slots_done(&s);
}

static void a_number_given_to_two_of_ours_on_a_node_is_known(void **unused)
{
    struct slots s = {.listed = true};

    (void)unused;
    want(&s, 1, WANT_RUN, false); /* on n1 and n2, as all here */
    want(&s, 2, WANT_RUN, false);
    want(&s, 3, WANT_RUN, false);
    place(&s, 1, 7);
    place(&s, 3, 9);
    assert_false(slots_doubled(&s, "n1"));
    place(&s, 2, 7);
    assert_false(slots_doubled(&s, "n1")); /* the earlier one may still run there */
    want(&s, 2, WANT_GONE, false);
    settled(&s, 2);
    slots_list(&s, NULL, 0, OURS, 0);
    assert_false(slots_doubled(&s, "n1")); /* that was the later one */
    want(&s, 1, WANT_GONE, false);
    slots_list(&s, NULL, 0, OURS, 0);
    assert_true(slots_doubled(&s, "n1"));
    assert_true(slots_doubled(&s, "n2"));
    assert_false(slots_doubled(&s, "n"));
    slots_done(&s);
}

static void a_refusal_is_final_for_the_attempt(void **unused)
{
    struct slots s = {.listed = true};

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    slots_find(&s, job_id(1), 1)->state = SLOT_ASKED;
    slots_refused(&s, job_id(1), 1);
    assert_int_equal(SLOT_LOST, state(&s, 1));
    want(&s, 1, WANT_RUN, false);
    assert_int_equal(SLOT_LOST, state(&s, 1));
    slots_done(&s);
}

static void a_costly_list_is_read_less_often(void **unused)
{
    static const struct {
        int64_t cost_us, every_us;
    } cases[] = {
        {0, 2 * US},     {999, 2 * US},   {1250, 2500000},   {3500, 7 * US},
        {4999, 9998000}, {5000, 10 * US}, {900000, 10 * US}, {INT64_MAX, 10 * US},
    };

    (void)unused;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        assert_int_equal(cases[i].every_us, slots_list_every_us(cases[i].cost_us));
}

static void what_should_have_happened_does_not_wait_for_a_costly_list(void **unused)
{
    struct slots s = {0};
    struct wire_job job = listed(7, 1, PENDING);

    (void)unused;
    want(&s, 1, WANT_RUN, false);
    assert_true(slots_wait(&s, 0)); /* in doubt */
    slots_list(&s, NULL, 0, OURS, 0);
    assert_false(slots_wait(&s, 60 * US)); /* it is submitted without a list */
    place(&s, 1, 7);
    assert_false(slots_wait(&s, SLOT_CLAIM_S * US));
    assert_true(slots_wait(&s, SLOT_CLAIM_S * US + 1)); /* not begun, or not known to have */
    slots_list(&s, &job, 1, OURS, 5 * US);
    assert_true(slots_wait(&s, 5 * US));
    job = listed(7, 1, RUNNING);
    slots_list(&s, &job, 1, OURS, 6 * US);
    assert_false(slots_wait(&s, 3600 * US));
    job.suspended = true;
    slots_list(&s, &job, 1, OURS, 8 * US);
    assert_false(slots_wait(&s, 8 * US));
    want(&s, 1, WANT_STOP, true);
    assert_true(slots_wait(&s, 8 * US)); /* suspended, and to stop */
    job.suspended = false;
    slots_list(&s, &job, 1, OURS, 9 * US);
    want(&s, 1, WANT_GONE, true);
    assert_false(slots_wait(&s, SLOT_SETTLED_S * US));
    assert_true(slots_wait(&s, SLOT_SETTLED_S * US + 1)); /* still there */
    slots_list(&s, NULL, 0, OURS, 20 * US);
    assert_int_equal(0, s.n);
    assert_false(slots_wait(&s, 20 * US));
    job = listed(8, 2, RUNNING);
    slots_list(&s, &job, 1, OURS, 21 * US);
    assert_true(slots_wait(&s, 21 * US)); /* nobody's */
    slots_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_submitted_before_a_list_was_seen),
        cmocka_unit_test(what_slurm_forgot_or_ended_is_told_once),
        cmocka_unit_test(an_id_with_another_comment_is_another_job),
        cmocka_unit_test(a_ghost_is_cancelled),
        cmocka_unit_test(a_suspended_job_is_cancelled_when_it_shall_stop),
        cmocka_unit_test(what_waits_behind_jobs_of_others_goes_elsewhere),
        cmocka_unit_test(of_two_jobs_of_one_attempt_the_running_one_stays),
        cmocka_unit_test(silence_and_a_lost_helper_leave_doubt),
        cmocka_unit_test(what_is_gone_leaves_gently),
        cmocka_unit_test(what_is_settled_is_cancelled_where_slurm_still_runs_it),
        cmocka_unit_test(a_number_given_to_two_of_ours_on_a_node_is_known),
        cmocka_unit_test(a_refusal_is_final_for_the_attempt),
        cmocka_unit_test(a_costly_list_is_read_less_often),
        cmocka_unit_test(what_should_have_happened_does_not_wait_for_a_costly_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
