/* What is said of a cluster's own settings. SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/clusters/site_check.h"
#include "lib/base/str.h"

/* As deploy/slurm recommends it. */
static const struct wire_conf good = {.auth = "auth/munge",
                                      .select = "select/cons_tres",
                                      .proctrack = "proctrack/cgroup",
                                      .task = "task/cgroup,task/affinity",
                                      .scheduler = "sched/builtin",
                                      .sched_params = "batch_sched_delay=0,sched_min_interval=0,"
                                                      "sched_interval=5",
                                      .preempt = "preempt/none",
                                      .propagate = "NONE",
                                      .prolog = "/p",
                                      .epilog = "/e",
                                      .health = "/h",
                                      .message_timeout_s = 10,
                                      .min_job_age_s = 300,
                                      .memory_counts = true,
                                      .memory_default = true,
                                      .returns = true,
                                      .privileged = true,
                                      .slurm_user = "slurm",
                                      .uid = 64030,
                                      .user_uid = 2000,
                                      .partition = "gpu",
                                      .partition_up = true,
                                      .partition_nodes = 4};
static const struct site_conf site = {.slurm_conf = "/c", .user = "beamjobs", .account = "beam"};

/* "wrong what; advice what; …" */
static void findings(const struct wire_conf *c, const struct site_look *more, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = &text};
    struct site_look look = *more;
    JSON_AUTO struct json *list = NULL;

    look.conf = c;
    jw_array(&w, NULL);
    assert_true(site_check(&look, &w) > 20 || !*c->partition);
    jw_end_array(&w);
    assert_int_equal(0, json_parse(text.p, text.n, text.n, &list, NULL));
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *f = json_at(list, i);

        assert_true(strlen(json_str(json_get(f, "text"), "")) > 10);
        assert_true(strlen(json_str(json_get(f, "fix"), "")) > 5);
        bt_buf_printf(to, "%s%s %s", i ? "; " : "", json_str(json_get(f, "level"), "-"),
                      json_str(json_get(f, "what"), "-"));
    }
}

static void each_setting_that_is_bad_is_named(void **unused)
{
    static const struct site_look plain = {&site, NULL, "geneva", "22.05.8", 0, 0};
    static const struct site_conf nobody = {.slurm_conf = "/c", .account = "beam"};
    static const struct site_look unmapped = {&nobody, NULL, "geneva", "22.05.8", 0, 0};
    static const struct site_look other = {&site, NULL, "geneva", "23.11.1", 5, 2};
    struct wire_conf c[30];
    int n = 0;
    const char *expected[30];

    (void)unused;
#define CASE(text, ...)                   \
    do {                                  \
        c[n] = good;                      \
        expected[n] = text;               \
        struct wire_conf *with = &c[n++]; \
        __VA_ARGS__;                      \
    } while (0)
    CASE("", (void)with);
    CASE("wrong user", with->user_uid = -1);
    CASE("wrong user", with->user_uid = 64);
    CASE("wrong user", bt_copy(with->slurm_user, 33, "beamjobs"));
    CASE("advice user", bt_copy(with->slurm_user, 33, "beamjobs"), with->user_uid = 64030);
    CASE("wrong rights; advice rights", with->privileged = false);
    CASE("advice rights", with->privileged = false, with->user_uid = 64030);
    CASE("wrong rights; advice rights; wrong PrivateData", with->privileged = false,
         with->private_jobs = true);
    CASE("wrong AuthType", bt_copy(with->auth, 32, "auth/none"));
    CASE("wrong partition", with->partition[0] = '\0');
    CASE("wrong partition", with->partition_up = false);
    CASE("wrong partition", with->partition_nodes = 0);
    CASE("wrong OverSubscribe", with->exclusive = true);
    CASE("advice MaxTime", with->partition_minutes = 60);
    CASE("wrong AllowAccounts", bt_copy(with->accounts, 128, "physics,beams"));
    CASE("", bt_copy(with->accounts, 128, "physics,beam"));
    CASE("wrong AllowQos", bt_copy(with->qos, 128, "high"));
    CASE("", with->associations = true);
    CASE("advice PreemptMode", bt_copy(with->preempt, 32, "preempt/qos"), with->may_preempt = true);
    CASE("wrong SelectType", bt_copy(with->select, 32, "select/linear"));
    CASE("wrong DefMemPerCPU", with->memory_default = false);
    CASE("advice ProctrackType; advice TaskPlugin", bt_copy(with->proctrack, 32, "proctrack/pgid"),
         bt_copy(with->task, 64, "task/none"));
    CASE("advice PropagateResourceLimits", bt_copy(with->propagate, 128, "ALL"));
    CASE("advice SchedulerParameters",
         bt_copy(with->sched_params, 256, "batch_sched_delay=0,sched_min_interval=0"));
    CASE("advice SchedulerParameters",
         bt_copy(with->sched_params, 256, "bf_sched_interval=5,batch_sched_delay=0"));
    CASE("advice SchedulerParameters",
         bt_copy(with->sched_params, 256, "sched_interval=-1,batch_sched_delay=0"));
    CASE("", bt_copy(with->sched_params, 256, "sched_interval=10,batch_sched_delay=0,bf_continue"));
    CASE("advice SchedulerParameters; advice SchedulerParameters; advice SchedulerType",
         with->sched_params[0] = '\0', bt_copy(with->scheduler, 32, "sched/backfill"));
    CASE("advice MessageTimeout; advice MinJobAge; advice ReturnToService",
         with->message_timeout_s = 100, with->min_job_age_s = 2, with->returns = false);
    CASE("advice Prolog; advice Epilog; advice HealthCheckProgram",
         with->prolog[0] = with->epilog[0] = with->health[0] = '\0');
    assert_int_equal(30, n);
    for (int i = 0; i < n; i++) {
        BT_BUF_AUTO struct bt_buf text = {0};

        findings(&c[i], &plain, &text);
        assert_string_equal(expected[i], bt_buf_text(&text));
    }
    BT_BUF_AUTO struct bt_buf nobodys = {0};
    findings(&c[0], &unmapped, &nobodys);
    assert_string_equal("advice user", bt_buf_text(&nobodys));
    BT_BUF_AUTO struct bt_buf text = {0};
    bt_copy(c[0].scheduler, 32, "sched/backfill"); /* needed by the others' jobs */
    findings(&c[0], &other, &text);
    assert_string_equal("advice version; advice nodes", bt_buf_text(&text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_setting_that_is_bad_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
