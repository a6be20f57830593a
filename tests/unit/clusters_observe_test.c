/* Promised beside actual starts of a cluster that is only watched.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/clusters/observe.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

#define T0 INT64_C(1790000000)
#define AT(s) ((T0 + (s)) * BT_US_PER_S)

static const struct wire_node nodes[] = {
    {.name = "n1", .class = "h200", .n_acc = 8, .cpus = 16},
    {.name = "n2", .class = "h200", .n_acc = 8, .cpus = 16},
};

static struct wire_queued job(int64_t id, int state, int32_t hosts, int32_t per_host,
                              int32_t minutes)
{
    return (struct wire_queued){.id = id,
                                .state = state,
                                .submit_s = T0,
                                .n_hosts = hosts,
                                .per_host = per_host,
                                .cpus = 1,
                                .minutes = minutes};
}

/* Runs on these nodes since T0, for at most an hour. */
static struct wire_queued running(int64_t id, char *hosts, int32_t per_host)
{
    struct wire_queued j = job(id, WIRE_RUNNING, 1, per_host, 60);

    j.start_s = T0;
    j.end_s = T0 + 3600;
    j.hosts = hosts;
    return j;
}

static struct json *report(const struct observer *o)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = &text};
    struct json *j = NULL;

    jw_object(&w, NULL);
    observe_report(o, &w);
    jw_end_object(&w);
    assert_int_equal(0, json_parse(text.p, text.n, text.n, &j, NULL));
    return j;
}

static int64_t number(const struct json *j, const char *key)
{
    return json_i64(json_get(j, key), -1);
}

static void a_job_is_planned_when_it_first_waits_and_judged_when_it_starts(void **unused)
{
    struct observer o = {0};
    char all[] = "n[1-2]";
    char one[] = "n2";
    struct wire_queued first[] = {running(1, all, 8), job(2, WIRE_PENDING, 1, 8, 30)};
    struct wire_queued then[] = {running(2, one, 8), job(3, WIRE_PENDING, 2, 8, 10)};
    JSON_AUTO struct json *j = NULL;

    (void)unused;
    first[1].start_s = T0 + 7200; /* Slurm's own estimate */
    observe_list(&o, nodes, 2, first, 2, AT(0));
    assert_int_equal(1, o.n_waiting);
    assert_int_equal(8, o.waiting[0].acc);
    assert_true(o.waiting[0].planned_us >= AT(3600) && o.waiting[0].planned_us <= AT(3605));
    assert_true(o.waiting[0].promised_us > o.waiting[0].planned_us);
    then[0].start_s = T0 + 600; /* job 1 ended early */
    then[0].end_s = T0 + 600 + 1800;
    observe_list(&o, nodes, 2, then, 2, AT(605));
    assert_int_equal(1, o.compared);
    assert_int_equal(1, o.on_time);
    assert_int_equal(1, o.n_waiting); /* job 3 wants both nodes: after job 2 */
    assert_true(o.waiting[0].planned_us >= AT(2400) && o.waiting[0].planned_us <= AT(2405));
    j = report(&o);
    assert_int_equal(1, number(j, "compared"));
    assert_int_equal(1, number(j, "waiting"));
    assert_true(json_f64(json_get(j, "wait_s"), 0) == 600);
    assert_true(json_f64(json_get(j, "slurm_error_s"), 0) == 6600);
    assert_int_equal(2, json_len(json_get(j, "items")));
    assert_string_equal("in time",
                        json_str(json_get(json_at(json_get(j, "items"), 0), "state"), ""));
    observe_done(&o);
}

static void what_starts_late_or_never_is_told_apart(void **unused)
{
    struct observer o = {0};
    char one[] = "n1";
    struct wire_queued wait[] = {job(4, WIRE_PENDING, 1, 1, 5), job(5, WIRE_PENDING, 1, 1, 5),
                                 job(6, WIRE_PENDING, 1, 1, 5)};
    struct wire_queued late = running(4, one, 1);
    struct wire_queued over = job(6, WIRE_OVER, 1, 1, 5);
    struct wire_queued end[] = {late, over};

    (void)unused;
    wait[2].held = true;
    observe_list(&o, nodes, 2, wait, 3, AT(0));
    assert_int_equal(2, o.n_waiting); /* nobody plans for a job that is held */
    assert_true(o.waiting[0].planned_us <= AT(1));
    end[0].start_s = T0 + 900; /* Slurm let it wait beside free nodes */
    observe_list(&o, nodes, 2, end, 2, AT(901));
    assert_int_equal(1, o.compared);
    assert_int_equal(0, o.on_time);
    assert_int_equal(1, o.cancelled); /* job 5 has gone */
    assert_int_equal(0, o.n_waiting);
    observe_done(&o);
}

static void a_number_that_is_given_again_is_another_job(void **unused)
{
    struct observer o = {0};
    struct wire_queued j = job(7, WIRE_PENDING, 1, 1, 5);

    (void)unused;
    observe_list(&o, nodes, 2, &j, 1, AT(0));
    j.submit_s = T0 + 50;
    observe_list(&o, nodes, 2, &j, 1, AT(51));
    assert_int_equal(1, o.cancelled);
    assert_int_equal(1, o.n_waiting);
    assert_int_equal(AT(50), o.waiting[0].submit_us);
    observe_done(&o);
}

static void what_no_machine_could_run_is_not_compared(void **unused)
{
    struct observer o = {0};
    char one[] = "n1";
    struct wire_queued j = job(8, WIRE_PENDING, 3, 8, 5);

    (void)unused;
    observe_list(&o, nodes, 2, &j, 1, AT(0));
    assert_int_equal(INT64_MAX, o.waiting[0].planned_us);
    j = running(8, one, 8);
    observe_list(&o, nodes, 2, &j, 1, AT(9));
    assert_int_equal(0, o.compared);
    observe_done(&o);
}

static void comparisons_outlive_the_process_as_lines(void **unused)
{
    struct observer o = {0};
    struct observer again = {0};
    BT_BUF_AUTO struct bt_buf lines = {0};
    char one[] = "n1";

    (void)unused;
    for (int64_t id = 1; id <= 3; id++) {
        struct wire_queued j = job(id, WIRE_PENDING, 1, 1, 5);

        observe_list(&o, nodes, 2, &j, 1, AT(id * 10));
        j = running(id, one, 1);
        j.start_s = T0 + id * 10 + 5;
        observe_list(&o, nodes, 2, &j, 1, AT(id * 10 + 6));
        observe_new(&o, &lines);
    }
    observe_new(&o, &lines); /* nothing twice */
    bt_buf_str(&lines, "{\"job\":9}\nnonsense\n{\"half");
    observe_load(&again, lines.p, lines.n);
    assert_int_equal(3, again.compared);
    assert_int_equal(o.on_time, again.on_time);
    assert_int_equal(AT(10), again.since_us);
    assert_memory_equal(&o.done[2].planned_us, &again.done[2].planned_us, sizeof(int64_t));
    lines.n = 0;
    observe_new(&again, &lines); /* they are in the file already */
    assert_int_equal(0, lines.n);
    observe_done(&o);
    observe_done(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_planned_when_it_first_waits_and_judged_when_it_starts),
        cmocka_unit_test(what_starts_late_or_never_is_told_apart),
        cmocka_unit_test(a_number_that_is_given_again_is_another_job),
        cmocka_unit_test(what_no_machine_could_run_is_not_compared),
        cmocka_unit_test(comparisons_outlive_the_process_as_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
