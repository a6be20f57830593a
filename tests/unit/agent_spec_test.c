/* What a shepherd takes from a document, and what it makes of it: no processes here.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "agent/account.h"
#include "agent/environ.h"
#include "agent/metrics.h"
#include "agent/shepherd.h"
#include "agent/spec.h"
#include "agent/start.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/unit/check.h"

static void a_document_is_read_or_refused(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } rows[] = {
        {"{\"kind\":\"script\",\"code\":{\"script\":\"#!/bin/sh\"}}", 0},
        {"{\"kind\":\"command\",\"code\":{\"argv\":[\"true\"]}}", 0},
        {"{\"kind\":\"train\",\"code\":{\"config\":\"steps = 4\"}}", 0},
        {"{\"kind\":\"coll\",\"code\":{\"config\":\"\"}}", 0},
        {"{\"kind\":\"coll\",\"code\":{\"script\":\"\"}}", -BT_ERR_INVALID},
        {"{\"kind\":\"command\",\"code\":{\"argv\":[]}}", -BT_ERR_INVALID},
        {"{\"kind\":\"command\",\"code\":{\"argv\":[\"\"]}}", -BT_ERR_INVALID},
        {"{\"kind\":\"command\",\"code\":{\"argv\":[1]}}", -BT_ERR_INVALID},
        {"{\"kind\":\"dance\",\"code\":{}}", -BT_ERR_INVALID},
        {"{}", -BT_ERR_INVALID},
        {"", -BT_ERR_INVALID},
        {"{\"kind\":\"script\",\"code\":{\"script\":\"\"},\"environment\":{\"A=B\":\"c\"}}",
         -BT_ERR_INVALID},
        {"{\"kind\":\"script\",\"code\":{\"script\":\"\"},\"environment\":{\"A\":1}}",
         -BT_ERR_INVALID},
        {"{\"kind\":\"script\",\"code\":{\"script\":\"\"},\"inputs\":[{\"path\":\"/data\"}]}", 0},
        {"{\"kind\":\"script\",\"code\":{\"script\":\"\"},\"inputs\":[{\"path\":\"data\"}]}",
         -BT_ERR_INVALID},
        {"{\"kind\":\"script\",\"code\":{\"script\":\"\"},\"inputs\":[{\"path\":\"/a:b\"}]}",
         -BT_ERR_INVALID},
        {"{\"kind\":\"script\",\"code\":{\"script\":\"\"},\"inputs\":[{\"record\":88}]}",
         -BT_ERR_UNSUPPORTED},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct spec s = {0};
        struct bt_err e = {0};

        assert_int_equal(spec_parse(rows[i].text, strlen(rows[i].text), &s, &e), rows[i].rc);
        assert_int_equal(-e.code, rows[i].rc);
        spec_done(&s);
    }
}

static void a_pattern_matches_as_in_the_shell(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool matches;
    } rows[] = {
        {"**", "a/b/c", true},
        {"*", "a", true},
        {"*", "a/b", false},
        {"*.pt", "m.pt", true},
        {"*.pt", "d/m.pt", false},
        {"**/*.pt", "d/e/m.pt", true},
        {"**/*.pt", "m.pt", true},
        {"**/*.pt", "m.pth", false},
        {"a/**", "a/b/c", true},
        {"a/**", "b/c", false},
        {"a/*/c", "a/b/c", true},
        {"a/*/c", "a/b/b/c", false},
        {"a/**/c", "a/b/b/c", true},
        {"a/**/c", "a/c", true},
        {"?.txt", "x.txt", true},
        {"?.txt", "/.txt", false},
        {"[a-c]x", "bx", true},
        {"[!a-c]x", "bx", false},
        {"[!a-c]x", "dx", true},
        {"[]]", "]", true},
        {"a*b*c", "aXbYc", true},
        {"a*b*c", "aXbY", false},
        {"", "", true},
        {"", "a", false},
        {"model", "model", true},
        {"model", "model2", false},
        {"**/x/**/y", "x/x/a/y", true},
        {"*/b/**", "a/b/c", true},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        if (spec_glob(rows[i].pattern, rows[i].path) != rows[i].matches)
            fail_msg("%s and %s", rows[i].pattern, rows[i].path);
}

static void a_grant_that_names_no_such_data_is_refused(void **state)
{
    static const struct {
        const char *text;
        int rc, n;
    } rows[] = {
        {"", 0, 0},
        {"{\"granted\":true}", 0, 0},
        {"{\"datasets\":[{\"name\":\"c4\",\"path\":\"/c4\"}]}", 0, 1},
        {"{\"datasets\":[{\"name\":\"c4\",\"path\":\"c4\"}]}", -BT_ERR_INVALID, 0},
        {"{\"datasets\":[{\"name\":\"C4\",\"path\":\"/c4\"}]}", -BT_ERR_INVALID, 0},
        {"{\"datasets\":[{\"name\":\"c4\",\"path\":\"/c4\\nA=1\"}]}", -BT_ERR_INVALID, 0},
        {"{\"datasets\":[7]}", -BT_ERR_INVALID, 0},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct spec s = {.root = NULL};

        assert_int_equal(spec_granted(rows[i].text, strlen(rows[i].text), &s, NULL), rows[i].rc);
        assert_int_equal(s.n_datasets, rows[i].n);
        spec_done(&s);
    }
}

static void a_job_cannot_replace_what_is_ours(void **state)
{
    static const char document[] =
        "{\"kind\":\"script\",\"code\":{\"script\":\"\"},\"environment\":{\"PATH\":\"/opt/bin\","
        "\"BEAM_TIER\":\"4\",\"CUDA_VISIBLE_DEVICES\":\"0,1,2,3\",\"USER\":\"root\",\"MINE\":\"x\"}"
        ","
        "\"inputs\":[{\"path\":\"/data/a\"},{\"path\":\"/data/b\"}]}";
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"PATH", "/opt/bin"},
        {"BEAM_TIER", "2"},
        {"CUDA_VISIBLE_DEVICES", "1"},
        {"USER", "lena"},
        {"MINE", "x"},
        {"LANG", "C.UTF-8"},
        {"TZ", "UTC"},
        {"HOME", "/home/lena"},
        {"BEAM_INPUT", "/data/a"},
        {"BEAM_ATTEMPT", "3"},
        {"BEAM_INPUTS", "/data/a:/data/b"},
        {"BEAM_RANK", "1"},
        {"BEAM_WORLD_SIZE", "2"},
        {"OMP_NUM_THREADS", "4"},
        {"BEAM_NUMBER", "12"},
        {"SHELL", "/bin/sh"},
        {"BEAM_DATASET_C4", "/data/c4"},
        {"BEAM_DATASET_WEB_2", "/lustre/w2"},
    };
    static const char grant[] =
        "{\"granted\":true,\"datasets\":[{\"name\":\"c4\",\"path\":\"/data/c4\",\"digest\":\"x\"},"
        "{\"name\":\"web-2\",\"path\":\"/lustre/w2\"}]}";
    struct order o = {.number = 12, .attempt = 3, .tier = 2, .devices = "1", .work = "/w"};
    struct account a = {.name = "lena", .home = "/home/lena"};
    struct rank rank = {.index = 1, .world = 2, .threads = 4};
    struct places p;
    struct environ e;
    struct spec s;

    (void)state;
    assert_int_equal(spec_parse(document, sizeof document - 1, &s, NULL), 0);
    assert_int_equal(spec_granted(grant, sizeof grant - 1, &s, NULL), 0);
    places_of(&o, &p);
    environ_build(&o, &s, &a, &p, &rank, &e);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        assert_string_equal(environ_get(&e, rows[i].name), rows[i].value);
    assert_string_equal(environ_get(&e, "BEAM_OUTPUT"), p.output);
    assert_string_equal(environ_get(&e, "TMPDIR"), p.scratch);
    environ_done(&e);
    spec_done(&s);
}

static void the_last_value_of_each_metric_counts(void **state)
{
    static const struct {
        const char *lines, *json;
    } rows[] = {
        {"", "{}"},
        {"cut off}\n{\"loss\":2}\n", "{\"loss\":\"2\"}"},
        {"{\"step\":1,\"loss\":5.5}\n{\"step\":2,\"loss\":1.930}\n",
         "{\"step\":\"2\",\"loss\":\"1.93\"}"},
        {"{\"step\":9}\n{\"bits\":2.5,\"by\":{\"cs\":1}}\n", "{\"step\":\"9\",\"bits\":\"2.5\"}"},
        {"{\"lr\":1e-7,\"flops\":3.1e13,\"zero\":-0.0}\n",
         "{\"lr\":\"0.0000001\",\"flops\":\"31000000000000\",\"zero\":\"0\"}"},
        {"{\"a\":9.99999999,\"b\":10.0000001,\"c\":10.0,\"d\":123456789.2,\"e\":0.9}\n",
         "{\"a\":\"9.99999999\",\"b\":\"10.0000001\",\"c\":\"10\",\"d\":\"123456789\",\"e\":\"0."
         "9\"}"},
        {"{\"Bad Name\":1,\"s\":\"text\",\"huge\":1e300,\"ok\":1}", "{\"ok\":\"1\"}"},
    };
    char out[METRICS_JSON_MAX];

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        metrics_last(rows[i].lines, strlen(rows[i].lines), out);
        assert_string_equal(out, rows[i].json);
    }
}

static void the_grace_lies_within_the_walltime(void **state)
{
    static const struct {
        int walltime_s, grace_s;
        int64_t signal_ms, kill_ms;
    } rows[] = {
        {600, 30, 570000, 600000}, {60, 30, 30000, 60000}, {10, 30, 5000, 10000},
        {1, 0, 1000, 1000},        {3, 3600, 1500, 3000},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct order o = {.walltime_s = rows[i].walltime_s, .grace_s = rows[i].grace_s};
        int64_t signal_us, kill_us;

        shepherd_times(&o, &signal_us, &kill_us);
        assert_int_equal(signal_us, rows[i].signal_ms * 1000);
        assert_int_equal(kill_us, rows[i].kill_ms * 1000);
    }
}

enum { OK = 0, CODE_3 = 3 << 8, CODE_85 = 85 << 8 }; /* as wait(2) gives them */

static void an_end_is_judged_by_its_cause(void **state)
{
    static const struct {
        enum stop_cause cause;
        int status;
        bool killed;
        const char *reason;
        bool checkpointed;
    } rows[] = {
        {STOP_NONE, OK, false, "exited", false},
        {STOP_NONE, CODE_3, false, "exited", false},
        {STOP_NONE, SIGKILL, false, "exited", false},
        {STOP_NONE, CODE_85, false, "exited", true},
        {STOP_WANTED, OK, false, "stopped", false},
        {STOP_WANTED, CODE_85, false, "stopped", true},
        {STOP_WANTED, SIGKILL, true, "stopped", false},
        {STOP_WALLTIME, OK, false, "exited", false},
        {STOP_WALLTIME, CODE_85, false, "exited", true},
        {STOP_WALLTIME, CODE_3, false, "walltime", false},
        {STOP_WALLTIME, SIGTERM, false, "walltime", false},
        {STOP_WALLTIME, SIGKILL, true, "walltime", false},
        {STOP_LEASE, SIGKILL, true, "lost", false},
        {STOP_SHUTDOWN, SIGTERM, false, "lost", false},
        {STOP_RANK, CODE_3, false, "exited", false},
    };
    struct order o = {.walltime_s = 60, .lease_s = 100};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct verdict v;

        shepherd_judge(rows[i].cause, rows[i].status, rows[i].killed, &o, &v);
        assert_string_equal(v.reason, rows[i].reason);
        assert_int_equal(v.checkpointed, rows[i].checkpointed);
        assert_true(*v.text);
    }
}

static void system_accounts_never_run_jobs(void **state)
{
    static const struct {
        const char *user;
        int as_root; /* what the root agent answers; another may not even try */
    } rows[] = {
        {"root", -BT_ERR_FORBIDDEN},         {"0", -BT_ERR_FORBIDDEN},
        {"daemon", -BT_ERR_FORBIDDEN},       {"999", -BT_ERR_FORBIDDEN},
        {"no-such-user", -BT_ERR_NOT_FOUND}, {"12345", 0},
    };
    struct account a;

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        int rc = account_find(rows[i].user, &a, NULL);

        if (geteuid() == 0)
            assert_int_equal(rc, rows[i].as_root);
        else
            assert_true(rc < 0);
    }
    assert_int_equal(account_find("", &a, NULL),
                     geteuid() >= ACCOUNT_UID_MIN ? 0 : -BT_ERR_FORBIDDEN);
}

static void lists_of_cores_are_read_strictly(void **state)
{
    static const struct {
        const char *list;
        int n; /* -1: refused */
    } rows[] = {{"0", 1},    {"0-3", 4}, {"0-1,4", 3}, {"", -1},   {"a", -1},
                {"3-1", -1}, {"1,", 1},  {"-1", -1},   {"0-", -1}, {"99999", -1}};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        cpu_set_t set;
        int rc = start_cpus(rows[i].list, &set);

        assert_int_equal(rc < 0 ? -1 : CPU_COUNT(&set), rows[i].n);
    }
}

static void a_spool_name_reads_back(void **state)
{
    static const char *const bad[] = {"",
                                      "new.x",
                                      "0192f0c1-0000-7000-8000-000000000001",
                                      "0192f0c1-0000-7000-8000-000000000001.0",
                                      "0192f0c1-0000-7000-8000-000000000001.1x",
                                      "0192f0c1x0000-7000-8000-000000000001.1"};
    struct bt_uuid id = bt_uuid_new(bt_now_us()), back;
    char name[SPOOL_NAME_MAX];
    int32_t attempt;

    (void)state;
    assert_int_equal(spool_name_parse(spool_name(id, 100, name), &back, &attempt), 0);
    assert_true(bt_uuid_eq(id, back));
    assert_int_equal(attempt, 100);
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        assert_int_equal(spool_name_parse(bad[i], &back, &attempt), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_is_read_or_refused),
        cmocka_unit_test(a_pattern_matches_as_in_the_shell),
        cmocka_unit_test(a_grant_that_names_no_such_data_is_refused),
        cmocka_unit_test(a_job_cannot_replace_what_is_ours),
        cmocka_unit_test(the_last_value_of_each_metric_counts),
        cmocka_unit_test(the_grace_lies_within_the_walltime),
        cmocka_unit_test(an_end_is_judged_by_its_cause),
        cmocka_unit_test(system_accounts_never_run_jobs),
        cmocka_unit_test(lists_of_cores_are_read_strictly),
        cmocka_unit_test(a_spool_name_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
