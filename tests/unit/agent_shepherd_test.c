/* One attempt under its shepherd, with real processes. SPDX-License-Identifier: GPL-3.0-or-later */
#include <sys/prctl.h>

#include "agent/procs.h"
#include "lib/record/manifest.h"
#include "tests/unit/agent_lab.h"

static void a_job_runs_as_an_ordinary_user_in_a_clean_place(void **state)
{
    struct lab l;

    (void)state;
    lab_open(&l);
    assert_int_equal(setenv("BT_SECRET", "canary", 1), 0);
    lab_script(&l, "#!/bin/sh\n"
                   "id -u; umask; pwd; echo $BEAM_NUMBER.$BEAM_ATTEMPT.$BEAM_TIER\n"
                   "echo \"[${BT_SECRET}]\"; grep NoNewPrivs /proc/self/status | tr -d '\\t'\n"
                   "ulimit -c; test \"$(ps -o pgid= -p $$ | tr -d ' ')\" = $$ && echo leads\n"
                   "ls /proc/self/fd | wc -l\n"
                   "echo problem >&2\n");
    struct verdict v = lab_run(&l);
    assert_string_equal(v.reason, "exited");
    assert_int_equal(v.exit_code, 0);
    BT_AUTO char *out = lab_text(l.dir, "log.out");
    BT_AUTO char *err = lab_text(l.dir, "log.err");
    BT_AUTO char *want = bt_printf("%d\n0077\n%s\n7.1.1\n[]\nNoNewPrivs:1\n0\nleads\n4\n",
                                   geteuid() == 0 ? LAB_UID : (int)geteuid(), l.places.home);
    assert_string_equal(out, want);
    assert_string_equal(err, "problem\n");
    assert_int_equal(shepherd_clean(l.dir, NULL), 0);
    assert_int_equal(access(l.places.home, F_OK), -1);
    lab_close(&l);
}

static void no_rank_starts_before_the_claim_is_granted(void **state)
{
    struct lab l;

    (void)state;
    lab_open(&l);
    lab_script(&l, "#!/bin/sh\necho ran\n");
    pid_t pid = lab_shepherd(&l);
    lab_await(&l, "identity");
    assert_false(spool_has(l.dir, "ranks"));
    lab_put(&l, "gone");
    lab_join(pid);
    assert_false(spool_has(l.dir, "ranks"));
    assert_false(spool_has(l.dir, "ended.json"));
    lab_close(&l);
}

static void an_attempt_ends_as_its_ranks_end(void **state)
{
    static const struct {
        const char *script;
        int walltime_s, grace_s;
        const char *reason;
        int exit_code, signal;
        bool checkpointed;
    } rows[] = {
        {"#!/bin/sh\nexit 3\n", 60, 5, "exited", 3, 0, false},
        {"#!/bin/sh\nexit 85\n", 60, 5, "exited", 85, 0, true},
        {"#!/bin/sh\nkill -SEGV $$\n", 60, 5, "exited", 0, SIGSEGV, false},
        {"exit 4\n", 60, 5, "exited", 4, 0, false},
        {"#!/no/such/interpreter\n", 60, 5, "exited", 127, 0, false},
        {"#!/bin/sh\nexec sleep 60\n", 2, 1, "walltime", 0, SIGTERM, false},
        {"#!/bin/sh\ntrap 'exit 0' TERM\nsleep 60 & wait\n", 2, 1, "exited", 0, 0, false},
        {"#!/bin/sh\ntrap 'exit 85' TERM\nsleep 60 & wait\n", 2, 1, "exited", 85, 0, true},
        {"#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n", 2, 1, "walltime", 0, SIGKILL,
         false},
        {"#!/bin/sh\ntrap 'touch $BEAM_CHECKPOINT/new; exit 1' TERM\nsleep 60 & wait\n", 2, 1,
         "walltime", 1, 0, true},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct lab l;

        lab_open(&l);
        l.order.walltime_s = rows[i].walltime_s;
        l.order.grace_s = rows[i].grace_s;
        lab_script(&l, rows[i].script);
        struct verdict v = lab_run(&l);
        assert_string_equal(v.reason, rows[i].reason);
        assert_int_equal(v.exit_code, rows[i].exit_code);
        assert_int_equal(v.signal, rows[i].signal);
        assert_int_equal(v.checkpointed, rows[i].checkpointed);
        lab_close(&l);
    }
}

/* Starts a job that writes `pid` and one that escapes by two forks and a new session. */
static pid_t start_with_escapee(struct lab *l, pid_t *ret_rank, pid_t *ret_escapee)
{
    lab_script(l, "#!/bin/sh\n"
                  "echo $$ > $BEAM_OUTPUT/pid.new; mv $BEAM_OUTPUT/pid.new $BEAM_OUTPUT/pid\n"
                  "(env -i setsid sh -c 'echo $$ > $0.new; mv $0.new $0; exec sleep 300' "
                  "$BEAM_OUTPUT/escaped </dev/null >/dev/null 2>&1 &) &\n"
                  "sleep 300 & wait\n");
    lab_put(l, "granted");
    pid_t shepherd = lab_shepherd(l);
    *ret_rank = lab_pid(l, "pid");
    *ret_escapee = lab_pid(l, "escaped");
    assert_true(lab_alive(*ret_rank));
    assert_true(lab_alive(*ret_escapee));
    return shepherd;
}

static void a_stop_ends_every_process_of_the_job(void **state)
{
    struct lab l;
    pid_t rank, escapee;

    (void)state;
    lab_open(&l);
    pid_t shepherd = start_with_escapee(&l, &rank, &escapee);
    lab_put(&l, "stop");
    lab_await(&l, "ended.json");
    assert_false(lab_alive(rank));
    assert_false(lab_alive(escapee));
    lab_join(shepherd);
    assert_string_equal(lab_verdict(&l).reason, "stopped");
    lab_close(&l);
}

static void a_killed_shepherd_is_lost_once_and_leaves_nobody(void **state)
{
    struct lab l;
    pid_t rank, escapee;
    int status;

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* as the agent is */
    lab_open(&l);
    pid_t shepherd = start_with_escapee(&l, &rank, &escapee);
    assert_int_equal(kill(shepherd, SIGKILL), 0);
    assert_int_equal(waitpid(shepherd, &status, 0), shepherd);
    assert_int_equal(spool_shepherd(l.dir), 0);
    lab_join(lab_shepherd(&l)); /* the next one starts no rank again */
    assert_false(lab_alive(rank));
    assert_false(lab_alive(escapee));
    assert_string_equal(lab_verdict(&l).reason, "lost");
    BT_AUTO char *first = lab_text(l.dir, "ended.json");
    lab_join(lab_shepherd(&l));
    BT_AUTO char *second = lab_text(l.dir, "ended.json");
    assert_string_equal(first, second);
    while (waitpid(-1, &status, WNOHANG) > 0)
        ;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    lab_close(&l);
}

static void only_one_shepherd_has_an_attempt(void **state)
{
    struct lab l;
    struct bt_err e = {0};

    (void)state;
    lab_open(&l);
    lab_script(&l, "#!/bin/sh\n");
    pid_t pid = lab_shepherd(&l);
    lab_await(&l, "identity");
    assert_int_equal(spool_shepherd(l.dir), pid);
    assert_int_equal(shepherd_run(l.dir, &e), -BT_ERR_LOCKED);
    lab_put(&l, "gone");
    lab_join(pid);
    lab_close(&l);
}

static void without_contact_the_ranks_end_with_their_lease(void **state)
{
    struct lab l;

    (void)state;
    lab_open(&l);
    l.order.lease_s = 1;
    lab_script(&l, "#!/bin/sh\nexec sleep 60\n");
    BT_AUTO char *contact = bt_printf("%s/contact", l.attempts);
    assert_int_equal(bt_file_write(contact, 0600, "1000000\n", 8, NULL), 0);
    struct verdict v = lab_run(&l);
    assert_string_equal(v.reason, "lost");
    assert_non_null(strstr(v.text, "no contact"));
    lab_close(&l);
}

/* The agent has made the file, and not written it yet. */
static void an_empty_contact_says_nothing_of_the_lease(void **state)
{
    struct lab l;

    (void)state;
    lab_open(&l);
    l.order.lease_s = 1;
    lab_script(&l, "#!/bin/sh\nexit 0\n");
    BT_AUTO char *contact = bt_printf("%s/contact", l.attempts);
    assert_int_equal(bt_file_write(contact, 0600, "", 0, NULL), 0);
    struct verdict v = lab_run(&l);
    assert_string_equal(v.reason, "exited");
    assert_int_equal(v.exit_code, 0);
    lab_close(&l);
}

static void a_flood_of_output_is_cut_with_a_note(void **state)
{
    struct lab l;

    (void)state;
    lab_open(&l);
    l.order.log_max_bytes = 10000;
    lab_script(&l, "#!/bin/sh\nyes beam | head -c 1000000\n");
    assert_int_equal(lab_run(&l).exit_code, 0);
    BT_AUTO char *out = lab_text(l.dir, "log.out");
    assert_true(strlen(out) > 10000 && strlen(out) < 10200);
    assert_non_null(strstr(out + 10000, "cut here"));
    lab_close(&l);
}

static void metrics_reach_the_log_and_the_manifest(void **state)
{
    struct lab l;
    struct yield y;

    (void)state;
    lab_open(&l);
    lab_script(&l, "#!/bin/sh\n"
                   "echo '{\"step\":1,\"loss\":5.5}' >> $BEAM_METRICS\n"
                   "echo '{\"step\":2,\"loss\":1.93}' >> $BEAM_METRICS\n");
    assert_int_equal(lab_run(&l).exit_code, 0);
    BT_AUTO char *log = lab_text(l.dir, "log.metrics");
    assert_string_equal(log, "{\"step\":1,\"loss\":5.5}\n{\"step\":2,\"loss\":1.93}\n");
    assert_int_equal(spool_yield(l.dir, &y, NULL), 0);
    assert_string_equal(y.metrics, "{\"step\":\"2\",\"loss\":\"1.93\"}");
    lab_close(&l);
}

static void only_true_files_of_the_job_are_published(void **state)
{
    struct lab l;
    struct yield y;
    MANIFEST_AUTO struct manifest m = {0};

    (void)state;
    lab_open(&l);
    lab_script(&l, "#!/bin/sh\ncd $BEAM_OUTPUT\n"
                   "mkdir -p a/b; echo x > a/b/good; echo y > 'with space'\n"
                   "ln -s /etc/shadow stolen; ln -s ../../.. a/up; mkfifo pipe\n"
                   "echo z > \"$(printf 'line\\nbreak')\"; echo z > \"$(printf 'bad\\377')\"\n"
                   "mkdir -m 000 closed\n");
    assert_int_equal(lab_run(&l).exit_code, 0);
    BT_AUTO char *text = lab_text(l.dir, "manifest.txt");
    BT_AUTO char *err = lab_text(l.dir, "log.err");
    assert_int_equal(manifest_parse(text, strlen(text), &m, NULL), 0);
    assert_int_equal(m.n, 2);
    assert_string_equal(m.files[0].path, "a/b/good");
    assert_string_equal(m.files[1].path, "with space");
    assert_int_equal(spool_yield(l.dir, &y, NULL), 0);
    assert_int_equal(y.files, 2);
    assert_int_equal(y.bytes, 4);
    assert_non_null(strstr(err, "stolen: is a symbolic link"));
    assert_non_null(strstr(err, "pipe: is a special file"));
    assert_non_null(strstr(err, "line?break: has a name"));
    assert_int_equal(shepherd_clean(l.dir, NULL), 0);
    assert_int_equal(access(l.places.home, F_OK), -1);
    lab_close(&l);
}

/* No program is needed where nothing is left; where there is, it is left to one. */
static void a_home_without_anything_in_it_goes_at_once(void **state)
{
    static const struct {
        const char *script;
        bool bare;
    } rows[] = {
        {"#!/bin/sh\necho '{\"loss\":1}' >$BEAM_METRICS; echo x >$TMPDIR/x; rm $TMPDIR/x\n", true},
        {"#!/bin/sh\nrmdir $BEAM_OUTPUT\n", true},
        {"#!/bin/sh\necho x >$BEAM_OUTPUT/x\n", false},
        {"#!/bin/sh\necho x >$TMPDIR/x\n", false},
        {"#!/bin/sh\necho x >x\n", false},
        {"#!/bin/sh\nrmdir $BEAM_OUTPUT; ln -s \"$PWD/../kept\" $BEAM_OUTPUT\n", false},
        {"#!/bin/sh\nrm $BEAM_METRICS; ln -s \"$PWD/../kept/file\" $BEAM_METRICS\n", true},
        {"#!/bin/sh\nrm $BEAM_METRICS; mkdir $BEAM_METRICS\n", false},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct lab l;

        lab_open(&l);
        BT_AUTO char *kept = bt_printf("%s/work/kept", l.state);
        BT_AUTO char *file = bt_printf("%s/file", kept);
        assert_int_equal(mkdir(kept, 0777), 0);
        assert_int_equal(bt_file_make(file, 0666, "kept", 4, false, NULL), 0);
        lab_script(&l, rows[i].script);
        assert_int_equal(lab_run(&l).exit_code, 0);
        assert_int_equal(shepherd_clean_bare(l.dir), rows[i].bare);
        assert_int_equal(access(l.places.home, F_OK), rows[i].bare ? -1 : 0);
        assert_int_equal(shepherd_clean(l.dir, NULL), 0);
        assert_int_equal(access(l.places.home, F_OK), -1);
        assert_int_equal(access(file, F_OK), 0);
        lab_close(&l);
    }
}

static void what_the_facility_lacks_is_no_fault_of_the_job(void **state)
{
    static const char *const documents[] = {
        "{\"kind\":\"train\",\"code\":{\"config\":\"\"}}", /* libexec has no trainer */
        "{\"kind\":\"script\",\"code\":{\"script\":\"\"},\"inputs\":[{\"record\":1}]}",
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(documents); i++) {
        struct lab l;

        lab_open(&l);
        lab_order(&l, documents[i]);
        struct verdict v = lab_run(&l);
        assert_string_equal(v.reason, "start-failed");
        BT_AUTO char *err = lab_text(l.dir, "log.err");
        assert_non_null(strstr(err, "beamtime: "));
        lab_close(&l);
    }
}

static void when_a_rank_fails_the_others_end(void **state)
{
    struct lab l;
    static const char document[] =
        "{\"kind\":\"script\",\"environment\":{\"BEAM_RANKS\":\"3\"},\"code\":{\"script\":"
        "\"#!/bin/sh\\necho $BEAM_RANK/$BEAM_WORLD_SIZE > $BEAM_OUTPUT/$BEAM_RANK\\n"
        "test ${#BEAM_RENDEZVOUS} -gt 10 || exit 9\\n"
        "test $(wc -c < $BEAM_SECRET_FILE) = 64 || exit 8\\n"
        "while ! test -f $BEAM_OUTPUT/2; do sleep 0.01; done\\n"
        "if test $BEAM_RANK = 1; then exit 5; fi; exec sleep 60\\n\"}}";

    (void)state;
    lab_open(&l);
    l.order.accelerators = 4;
    lab_order(&l, document);
    struct verdict v = lab_run(&l);
    assert_string_equal(v.reason, "exited");
    assert_int_equal(v.exit_code, 5);
    BT_AUTO char *text = lab_text(l.places.output, "2");
    assert_string_equal(text, "2/3\n");
    lab_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_runs_as_an_ordinary_user_in_a_clean_place),
        cmocka_unit_test(no_rank_starts_before_the_claim_is_granted),
        cmocka_unit_test(an_attempt_ends_as_its_ranks_end),
        cmocka_unit_test(a_stop_ends_every_process_of_the_job),
        cmocka_unit_test(a_killed_shepherd_is_lost_once_and_leaves_nobody),
        cmocka_unit_test(only_one_shepherd_has_an_attempt),
        cmocka_unit_test(without_contact_the_ranks_end_with_their_lease),
        cmocka_unit_test(an_empty_contact_says_nothing_of_the_lease),
        cmocka_unit_test(a_flood_of_output_is_cut_with_a_note),
        cmocka_unit_test(metrics_reach_the_log_and_the_manifest),
        cmocka_unit_test(only_true_files_of_the_job_are_published),
        cmocka_unit_test(a_home_without_anything_in_it_goes_at_once),
        cmocka_unit_test(what_the_facility_lacks_is_no_fault_of_the_job),
        cmocka_unit_test(when_a_rank_fails_the_others_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
