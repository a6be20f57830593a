/* The agent's loop and couriers against a daemon that is a folder: both outlive kill -9.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>

#include "agent/courier.h"
#include "agent/node.h"
#include "agent/procs.h"
#include "lib/base/enc.h"
#include "lib/crypto/hash.h"
#include "lib/json/json.h"
#include "tests/unit/agent_lab.h"

/* ---- the daemon: <folder>/{wants.json, claim, ended, manifest, started, log.*, blob.*, down} ----
 */

static char daemon_dir[300];

static char *at(const char *file)
{
    return bt_printf("%s/%s", daemon_dir, file);
}

static bool has(const char *file)
{
    BT_AUTO char *path = at(file);

    return access(path, F_OK) == 0;
}

static void append(const char *file, const void *p, size_t n)
{
    BT_AUTO char *path = at(file);
    BT_FD_AUTO int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || bt_write_all(fd, p, n, NULL) < 0)
        abort();
}

static int64_t size_of(const char *file)
{
    BT_AUTO char *path = at(file);
    struct stat st;

    return stat(path, &st) < 0 ? 0 : st.st_size;
}

static void answer(struct link_answer *a, int status, const char *body)
{
    a->status = status;
    bt_buf_str(&a->body, body);
}

static void do_claim(const struct link_request *r, struct link_answer *a)
{
    BT_AUTO char *old = lab_text(daemon_dir, "claim");

    if (has("fenced") || (*old && (strlen(old) != r->n || memcmp(old, r->body, r->n)))) {
        answer(a, 409, "{\"code\":\"FENCED\",\"detail\":\"another claim was granted\"}");
        return;
    }
    if (!*old)
        append("claim", r->body, r->n);
    answer(a, 200, "{\"granted\":true}");
}

static int64_t number_in(const char *path, const char *key)
{
    const char *p = strstr(path, key);

    return p ? strtoll(p + strlen(key), NULL, 10) : 0;
}

static void do_log(const struct link_request *r, struct link_answer *a)
{
    char file[32], body[64];
    const char *name = strstr(r->path, "stream=") + 7;

    (void)snprintf(file, sizeof file, "log.%.*s", (int)strcspn(name, "&"), name);
    int64_t have = size_of(file);
    if (number_in(r->path, "offset=") != have) {
        (void)snprintf(body, sizeof body, "{\"code\":\"CONFLICT\",\"have\":%lld}", (long long)have);
        answer(a, 409, body);
        return;
    }
    append(file, r->body, r->n);
    if (strstr(r->path, "eof=1"))
        append("eof", file, strlen(file));
    (void)snprintf(body, sizeof body, "{\"have\":%lld}", (long long)(have + (int64_t)r->n));
    answer(a, 200, body);
}

static void do_blob(const struct link_request *r, struct link_answer *a)
{
    char file[80];

    if (bt_ends(r->path, "/kept")) {
        (void)snprintf(file, sizeof file, "kept.%.64s", r->path + strlen("/v1/agent/blobs/"));
        if (!has("no_address"))
            append(file, "", 0);
        answer(a, has("no_address") ? 404 : 200, "{}");
        return;
    }
    (void)snprintf(file, sizeof file, "blob.%.64s", r->path + strlen("/v1/agent/blobs/"));
    if (bt_streq(r->method, "HEAD")) {
        a->have = size_of(file);
        answer(a, has(file) ? 200 : 404, "");
        return;
    }
    append(file, r->body, r->n);
    answer(a, size_of(file) == number_in(r->path, "total=") ? 201 : 200, "{}");
}

/* The list when it is another than `after`, or after a short wait the same. */
static void do_wants(const struct link_request *r, struct link_answer *a)
{
    int64_t after = number_in(r->path, "after=");

    for (int i = 0; i < 50; i++) {
        BT_AUTO char *text = lab_text(daemon_dir, "wants.json");

        if (*text && number_in(text, "\"seq\":") != after) {
            answer(a, 200, text);
            return;
        }
        (void)poll(NULL, 0, 10);
    }
    BT_AUTO char *text = lab_text(daemon_dir, "wants.json");
    answer(a, 200, text);
}

static void hear(const char *file, const char *text, size_t n)
{
    append(file, text, n);
    append(file, "\n", 1);
}

/* An end that brings the manifest is heard as the two things that it says, and as "whole". A daemon
 * of an earlier release ("old") refuses it. */
static void do_ended(const struct link_request *r, struct link_answer *a)
{
    static const char member[] = ",\"manifest\":{";
    const char *body = r->body;
    const char *at_it = memmem(body, r->n, member, sizeof member - 1);
    size_t before = at_it ? (size_t)(at_it - body) : r->n;
    const char *id_ends = memmem(body, r->n, "\"reason\"", 8);

    if (at_it && has("old")) {
        answer(a, 400, "{\"code\":\"INVALID\",\"detail\":\"there is no member 'manifest'\"}");
        return;
    }
    if (memmem(body, r->n, "\"started\":[", 11))
        hear("along", body, r->n);
    if (at_it) {
        BT_AUTO char *ended = bt_printf("%.*s}", (int)before, body);
        BT_AUTO char *made =
            bt_printf("%.*s%.*s", (int)(id_ends - body), body,
                      (int)(r->n - 1 - before - (sizeof member - 1)), at_it + sizeof member - 1);

        append("whole", "", 0);
        hear("ended", ended, strlen(ended));
        hear("manifest", made, strlen(made));
    } else {
        hear("ended", body, r->n);
    }
    answer(a, 200, "{}");
}

static int fake_call(struct link *l, const struct link_request *r, struct link_answer *a,
                     struct bt_err *err)
{
    (void)l;
    if (has("down"))
        return bt_fail(err, BT_ERR_UNREACHABLE, "the daemon is away");
    if (strstr(r->path, "/claim")) {
        do_claim(r, a);
    } else if (strstr(r->path, "/log?")) {
        do_log(r, a);
    } else if (strstr(r->path, "/blobs/")) {
        do_blob(r, a);
    } else if (strstr(r->path, "/wants")) {
        do_wants(r, a);
    } else if (strstr(r->path, "/spec")) {
        BT_AUTO char *text = lab_text(daemon_dir, "spec.json");

        append("asked", "", 0);
        answer(a, *text ? 200 : 404, text);
    } else if (strstr(r->path, "/ended")) {
        do_ended(r, a);
    } else {
        hear(strrchr(r->path, '/') + 1, r->body, r->n);
        answer(a, 200, "{}");
    }
    return 0;
}

static void fake_close(struct link *l)
{
    bt_free(l);
}

static int fake_open(void *arg, struct link **ret, struct bt_err *err)
{
    (void)arg;
    (void)err;
    *ret = bt_new(struct link);
    **ret = (struct link){.call = fake_call, .close = fake_close};
    return 0;
}

/* ---- the agent ---- */

static void want_text(const struct lab *l, int seq, const char *action, char *out, size_t size)
{
    char id[BT_UUID_TEXT];

    if (!*action) {
        (void)snprintf(out, size, "{\"seq\":%d,\"wants\":[]}", seq);
        return;
    }
    (void)snprintf(out, size,
                   "{\"seq\":%d,\"wants\":[{\"job\":\"%s\",\"number\":7,\"attempt\":1,\"action\":"
                   "\"%s\",\"kind\":\"script\",\"walltime_s\":60,\"grace_s\":5,\"signal\":0,"
                   "\"tier\":1,\"accelerators\":1,\"mask\":\"1\",\"unixname\":\"\"}]%s}",
                   seq, bt_uuid_format(l->order.job, id), action,
                   has("takes") ? ",\"takes_started\":true" : "");
}

static void want(const struct lab *l, int seq, const char *action)
{
    BT_AUTO char *path = at("wants.json");
    char text[512];

    want_text(l, seq, action, text, sizeof text);
    assert_int_equal(bt_file_write(path, 0600, text, strlen(text), NULL), 0);
}

static void flag(const char *file)
{
    append(file, "", 0);
}

static void open_all(struct lab *l, const char *script)
{
    BT_BUF_AUTO struct bt_buf document = {0};
    char name[SPOOL_NAME_MAX];

    lab_open(l);
    (void)snprintf(daemon_dir, sizeof daemon_dir, "%s/daemon", l->state);
    assert_int_equal(mkdir(daemon_dir, 0700), 0);
    lab_document(script, &document);
    append("spec.json", document.p, document.n);
    (void)snprintf(l->dir, sizeof l->dir, "%s/%s", l->attempts,
                   spool_name(l->order.job, l->order.attempt, name));
    places_of(&l->order, &l->places);
}

static pid_t start_agent(const struct lab *l)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct settings set;
        struct node_plan plan = {.node = "n1",
                                 .class = "cpu",
                                 .accelerators = 1,
                                 .boot_id = "test",
                                 .inventory = bt_strdup("{}")};
        struct link_maker maker = {.open = fake_open};
        struct bt_err e = {0};

        conf_init(&settings_table, &set);
        BT_AUTO char *site = bt_printf("%s/site", l->state);

        if (conf_set(&settings_table, &set, "state_dir", l->state, &e) == 0 &&
            conf_set(&settings_table, &set, "blob_dir", has("keeps") ? site : "", &e) == 0 &&
            conf_set(&settings_table, &set, "blob_from", "8", &e) == 0 &&
            conf_set(&settings_table, &set, "job_user", l->order.user, &e) == 0)
            e.code = -node_run(&set, &plan, &maker, &e);
        (void)fprintf(stderr, "agent: %s\n", e.text);
        _exit(1);
    }
    return pid;
}

static void end_agent(pid_t pid)
{
    int status;

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void await_daemon(const char *file)
{
    BT_AUTO char *path = at(file);

    lab_await_path(path);
}

static void await_gone(const char *path)
{
    int64_t until = bt_mono_us() + LAB_PATIENCE_US;

    while (access(path, F_OK) == 0) {
        if (bt_mono_us() > until)
            fail_msg("%s stays", path);
        (void)poll(NULL, 0, 5);
    }
}

/* What the daemon heard once and only once. */
static void assert_heard(const char *file, const char *part)
{
    BT_AUTO char *text = lab_text(daemon_dir, file);

    if (!strstr(text, part))
        fail_msg("%s has not %s: %s", file, part, text);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void an_attempt_goes_from_want_to_manifest(void **state)
{
    struct lab l;
    uint8_t sha[32];
    char hex[65];

    (void)state;
    open_all(&l, "#!/bin/sh\necho hello; echo oh >&2; echo result > $BEAM_OUTPUT/r\n");
    want(&l, 5, "run");
    pid_t agent = start_agent(&l);
    await_daemon("manifest");
    await_gone(l.dir);
    assert_heard("register", "\"accelerators\":1");
    assert_heard("started", "local:");
    assert_heard("ended", "\"reason\":\"exited\",\"exit_code\":0");
    assert_heard("manifest", "\"files\":1,\"bytes\":7");
    BT_AUTO char *out = lab_text(daemon_dir, "log.out");
    assert_string_equal(out, "hello\n");
    BT_AUTO char *eof = lab_text(daemon_dir, "eof");
    assert_string_equal(eof, "log.outlog.err"); /* nothing is said of a stream without a byte */
    bt_sha256("result\n", 7, sha);
    BT_AUTO char *blob = bt_printf("blob.%s", bt_hex(sha, 32, hex));
    assert_true(has(blob));
    assert_int_equal(access(l.places.home, F_OK), -1);
    end_agent(agent);
    lab_close(&l);
}

/* "large" has 8 bytes, which is where files begin to stay. */
static void keep(struct lab *l, bool stays, bool mounted)
{
    uint8_t small_sha[32], large_sha[32];
    char hex[65];

    open_all(l, "#!/bin/sh\nprintf small >$BEAM_OUTPUT/s; printf 12345678 >$BEAM_OUTPUT/large\n");
    BT_AUTO char *site = bt_printf("%s/site%s", l->state, mounted ? "/sha256" : "");
    assert_int_equal(bt_mkdirs(site, 0755, NULL), 0);
    flag("keeps");
    if (mounted && !stays)
        flag("no_address");
    want(l, 5, "run");
    pid_t agent = start_agent(l);
    await_daemon("manifest");
    await_gone(l->dir);
    assert_heard("manifest", "\"files\":2,\"bytes\":13,\"incomplete\":false");
    bt_sha256("small", 5, small_sha);
    bt_sha256("12345678", 8, large_sha);
    BT_AUTO char *small = bt_printf("blob.%s", bt_hex(small_sha, 32, hex));
    BT_AUTO char *large = bt_printf("blob.%s", bt_hex(large_sha, 32, hex));
    BT_AUTO char *kept = bt_printf("kept.%s", hex);
    BT_AUTO char *there = bt_printf("%s/%.2s/%s", site, hex, hex);
    assert_true(has(small));
    assert_int_equal(has(large), !stays);
    assert_int_equal(has(kept), stays);
    assert_int_equal(access(there, F_OK) == 0, mounted);
    end_agent(agent);
    lab_close(l);
}

static void a_large_file_stays_at_the_site(void **state)
{
    struct lab l;

    (void)state;
    keep(&l, true, true);
}

static void what_the_site_cannot_keep_goes_to_the_facility(void **state)
{
    struct lab l;

    (void)state;
    keep(&l, false, true);
    keep(&l, false, false);
}

static void a_start_goes_along_with_what_is_said_next(void **state)
{
    struct lab l;

    (void)state;
    open_all(&l, "#!/bin/sh\nexit 0\n");
    flag("takes");
    want(&l, 5, "run");
    pid_t agent = start_agent(&l);
    await_daemon("manifest");
    await_gone(l.dir);
    assert_heard("along", "\"started\":[{");
    assert_heard("along", "\"foreign_id\":\"local:");
    assert_heard("along", "\"ago_ms\":");
    assert_heard("ended", "\"reason\":\"exited\",\"exit_code\":0");
    assert_false(has("started"));
    end_agent(agent);
    lab_close(&l);
}

static void a_start_does_not_wait_long_for_company(void **state)
{
    struct lab l;

    (void)state;
    open_all(&l, "#!/bin/sh\nwhile ! test -f $BEAM_CHECKPOINT/go; do sleep 0.02; done\n");
    flag("takes");
    want(&l, 5, "run");
    pid_t agent = start_agent(&l);
    await_daemon("started"); /* the job still runs */
    BT_AUTO char *go = bt_printf("%s/go", l.places.checkpoint);
    assert_int_equal(bt_file_write(go, 0644, "", 0, NULL), 0);
    await_daemon("manifest");
    await_gone(l.dir);
    assert_heard("started", "\"ago_ms\":");
    assert_false(has("along"));
    end_agent(agent);
    lab_close(&l);
}

/* The daemon is away until both lie in the spool. */
static void end_without_files(struct lab *l, const char *prepare)
{
    open_all(l, "#!/bin/sh\nwhile ! test -f $BEAM_CHECKPOINT/go; do sleep 0.02; done\n");
    if (*prepare)
        flag(prepare);
    want(l, 5, "run");
    pid_t agent = start_agent(l);
    await_daemon("started");
    flag("down");
    BT_AUTO char *go = bt_printf("%s/go", l->places.checkpoint);
    assert_int_equal(bt_file_write(go, 0644, "", 0, NULL), 0);
    lab_await(l, "manifest.json");
    BT_AUTO char *down = at("down");
    assert_int_equal(unlink(down), 0);
    await_daemon("manifest");
    await_gone(l->dir);
    end_agent(agent);
    assert_heard("ended", "\"reason\":\"exited\",\"exit_code\":0");
    assert_heard("manifest", "\"files\":0,\"bytes\":0");
}

static void an_end_without_files_brings_its_manifest(void **state)
{
    struct lab l;

    (void)state;
    end_without_files(&l, "");
    assert_true(has("whole"));
    assert_true(has("asked")); /* for the document, that did not come with the want */
    lab_close(&l);
}

static void a_daemon_of_an_earlier_release_hears_the_two_apart(void **state)
{
    struct lab l;

    (void)state;
    end_without_files(&l, "old");
    assert_false(has("whole"));
    lab_close(&l);
}

static void a_document_that_came_with_the_want_is_not_asked_for(void **state)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = &text};
    BT_AUTO char *path = NULL;
    struct lab l;

    (void)state;
    open_all(&l, "#!/bin/sh\necho with >&2\n");
    path = at("wants.json");
    BT_AUTO char *document = lab_text(daemon_dir, "spec.json");
    jw_object(&w, NULL);
    jw_i64(&w, "seq", 5);
    jw_array(&w, "wants");
    jw_object(&w, NULL);
    jw_uuid(&w, "job", &l.order.job);
    jw_i64(&w, "number", 7);
    jw_i64(&w, "attempt", 1);
    jw_str(&w, "action", "run");
    jw_str(&w, "kind", "script");
    jw_i64(&w, "walltime_s", 60);
    jw_i64(&w, "tier", 1);
    jw_i64(&w, "accelerators", 1);
    jw_str(&w, "mask", "1");
    jw_str(&w, "document", document);
    jw_end_object(&w);
    jw_end_array(&w);
    jw_end_object(&w);
    assert_int_equal(bt_file_write(path, 0600, text.p, text.n, NULL), 0);
    pid_t agent = start_agent(&l);
    await_daemon("manifest");
    await_gone(l.dir);
    end_agent(agent);
    assert_false(has("asked"));
    BT_AUTO char *err = lab_text(daemon_dir, "log.err");
    assert_string_equal(err, "with\n");
    lab_close(&l);
}

static void a_killed_agent_finds_its_attempt_again(void **state)
{
    struct lab l;

    (void)state;
    open_all(&l, "#!/bin/sh\necho one; touch $BEAM_OUTPUT/up\n"
                 "while ! test -f $BEAM_OUTPUT/go; do sleep 0.02; done; echo two\n");
    want(&l, 5, "run");
    for (int i = 0; i < 5; i++) {
        pid_t agent = start_agent(&l);

        if (i == 0) {
            BT_AUTO char *up = bt_printf("%s/up", l.places.output);
            lab_await_path(up);
        } else {
            (void)poll(NULL, 0, 20 * i); /* any moment will do */
        }
        end_agent(agent);
    }
    BT_AUTO char *go = bt_printf("%s/go", l.places.output);
    assert_int_equal(bt_file_write(go, 0644, "", 0, NULL), 0);
    lab_await(&l, "manifest.json");
    pid_t agent = start_agent(&l);
    await_daemon("manifest");
    await_gone(l.dir);
    assert_heard("ended", "\"reason\":\"exited\",\"exit_code\":0");
    BT_AUTO char *out = lab_text(daemon_dir, "log.out");
    assert_string_equal(out, "one\ntwo\n");
    end_agent(agent);
    lab_close(&l);
}

static void a_killed_shepherd_is_reported_lost_once(void **state)
{
    struct lab l;

    (void)state;
    open_all(&l, "#!/bin/sh\necho $$ > $BEAM_OUTPUT/p; mv $BEAM_OUTPUT/p $BEAM_OUTPUT/pid\n"
                 "exec sleep 300\n");
    want(&l, 5, "run");
    pid_t agent = start_agent(&l);
    pid_t rank = lab_pid(&l, "pid");
    await_daemon("started");
    assert_int_equal(kill(spool_shepherd(l.dir), SIGKILL), 0);
    await_daemon("manifest");
    await_gone(l.dir);
    assert_false(lab_alive(rank));
    assert_heard("ended", "\"reason\":\"lost\"");
    end_agent(agent);
    lab_close(&l);
}

/* Every line of a file of the daemon is the same one. */
static void assert_one_story(const char *file)
{
    BT_AUTO char *text = lab_text(daemon_dir, file);
    size_t n = strcspn(text, "\n");

    for (const char *p = text; p; p = strchr(p, '\n'), p = p && p[1] ? p + 1 : NULL)
        if (strncmp(p, text, n) != 0)
            fail_msg("%s tells two stories: %s", file, text);
}

static void kill_now_and_then(struct lab *l, unsigned *seed)
{
    for (int i = 0; i < 4; i++) {
        pid_t agent = start_agent(l);

        (void)poll(NULL, 0, rand_r(seed) % 60);
        pid_t shepherd = spool_has(l->dir, "order.json") ? spool_shepherd(l->dir) : 0;
        if (shepherd && rand_r(seed) % 3 == 0)
            (void)kill(shepherd, SIGKILL);
        end_agent(agent);
    }
}

/* Killed at any moment, an attempt ends once, with one verdict, and nothing of it is left. */
static void whoever_is_killed_the_attempt_ends_once(void **state)
{
    const char *rounds = getenv("BT_KILL_ROUNDS"); /* the soak asks for more */
    int n = rounds ? (int)strtol(rounds, NULL, 10) : 6;
    unsigned seed = 7;

    (void)state;
    for (int i = 0; i < n; i++) {
        struct lab l;

        open_all(&l, "#!/bin/sh\n(setsid sleep 60 &)\necho $$ >> $BEAM_CHECKPOINT/starts\n"
                     "sleep 0.05\necho x > $BEAM_OUTPUT/x\n");
        want(&l, 5, "run");
        kill_now_and_then(&l, &seed);
        pid_t agent = start_agent(&l);
        await_daemon("manifest");
        await_gone(l.dir);
        end_agent(agent);
        assert_one_story("claim");
        assert_one_story("ended");
        assert_one_story("manifest");
        BT_AUTO char *starts = lab_text(l.places.checkpoint, "starts");
        assert_true(strlen(starts) < 12 && (!*starts || strchr(starts, '\n')[1] == '\0'));
        struct pids left = {0};
        char id[BT_UUID_TEXT];
        BT_AUTO char *mark = bt_printf("BEAM_JOB=%s", bt_uuid_format(l.order.job, id));
        procs_marked(mark, "BEAM_ATTEMPT=1", &left);
        assert_int_equal(left.n, 0);
        pids_done(&left);
        lab_close(&l);
    }
}

static void an_absent_daemon_hears_everything_later(void **state)
{
    struct lab l;

    (void)state;
    open_all(&l, "#!/bin/sh\nwhile ! test -f $BEAM_OUTPUT/go; do sleep 0.02; done; echo done\n");
    want(&l, 5, "run");
    pid_t agent = start_agent(&l);
    await_daemon("started");
    flag("down");
    BT_AUTO char *go = bt_printf("%s/go", l.places.output);
    assert_int_equal(bt_file_write(go, 0644, "", 0, NULL), 0);
    lab_await(&l, "manifest.json");
    assert_false(has("ended"));
    BT_AUTO char *down = at("down");
    assert_int_equal(unlink(down), 0);
    await_daemon("manifest");
    await_gone(l.dir);
    assert_heard("ended", "\"exit_code\":0");
    end_agent(agent);
    lab_close(&l);
}

static void a_fenced_claim_runs_nothing(void **state)
{
    struct lab l;

    (void)state;
    open_all(&l, "#!/bin/sh\ntouch /tmp/never\n");
    flag("fenced");
    want(&l, 5, "run");
    pid_t agent = start_agent(&l);
    lab_await(&l, "gone");
    await_gone(l.dir);
    assert_int_equal(access(l.places.home, F_OK), -1);
    assert_false(has("ended"));
    end_agent(agent);
    lab_close(&l);
}

static void what_is_not_wanted_any_more_is_killed(void **state)
{
    static const char *const actions[] = {"", "gone"};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(actions); i++) {
        struct lab l;

        open_all(&l, "#!/bin/sh\necho $$ > $BEAM_OUTPUT/p; mv $BEAM_OUTPUT/p $BEAM_OUTPUT/pid\n"
                     "trap '' TERM; while :; do sleep 1; done\n");
        want(&l, 5, "run");
        pid_t agent = start_agent(&l);
        pid_t rank = lab_pid(&l, "pid");
        want(&l, 6, actions[i]);
        await_daemon("manifest");
        await_gone(l.dir);
        assert_false(lab_alive(rank));
        assert_heard("ended", "\"reason\":\"stopped\"");
        end_agent(agent);
        lab_close(&l);
    }
}

static void a_stop_for_something_unknown_is_answered(void **state)
{
    struct lab l;

    (void)state;
    open_all(&l, "#!/bin/sh\n");
    want(&l, 5, "stop");
    pid_t agent = start_agent(&l);
    await_daemon("ended");
    assert_heard("ended", "\"reason\":\"lost\"");
    end_agent(agent);
    lab_close(&l);
}

static void what_is_said_of_a_finished_attempt_leaves_no_trace(void **state)
{
    const struct link_maker maker = {.open = fake_open};
    struct attempt_id id;
    struct courier *c;
    struct lab l;

    (void)state;
    open_all(&l, "true");
    lab_script(&l, "true");
    id = (struct attempt_id){l.order.job, l.order.attempt};
    lab_put(&l, "gone"); /* before it ran: there is nothing to do but to clean */
    struct starts *starts = starts_new();
    assert_int_equal(courier_start(&id, l.dir, &maker, starts, &(struct keep){0}, &c, NULL), 0);
    await_gone(l.dir);
    while (!atomic_load(&c->over))
        (void)poll(NULL, 0, 1);
    assert_int_equal(courier_tell(c, "gone", NULL), 0);
    assert_int_equal(courier_tell(c, "stop", NULL), 0);
    assert_int_equal(access(l.dir, F_OK), -1);
    courier_free(c);
    starts_free(starts);
    lab_close(&l);
}

static void only_one_agent_has_a_state_folder(void **state)
{
    struct lab l;
    struct settings set;
    struct node_plan plan = {.node = "n1", .accelerators = 1};
    struct link_maker maker = {.open = fake_open};
    struct bt_err e = {0};

    (void)state;
    open_all(&l, "#!/bin/sh\n");
    want(&l, 5, "");
    pid_t agent = start_agent(&l);
    await_daemon("register");
    conf_init(&settings_table, &set);
    assert_int_equal(conf_set(&settings_table, &set, "state_dir", l.state, NULL), 0);
    assert_int_equal(node_run(&set, &plan, &maker, &e), -BT_ERR_LOCKED);
    conf_done(&settings_table, &set);
    end_agent(agent);
    lab_close(&l);
}

static void a_list_of_wants_is_taken_whole_or_not_at_all(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } rows[] = {
        {"{\"seq\":1,\"wants\":[]}", 0},
        {"{\"seq\":1,\"wants\":[],\"more\":true,\"takes_started\":true}", 0},
        {"{\"seq\":-1,\"wants\":[]}", -BT_ERR_INVALID},
        {"{\"seq\":1}", -BT_ERR_INVALID},
        {"{\"seq\":1,\"wants\":[{}]}", -BT_ERR_INVALID},
        {"{\"seq\":1,\"wants\":[{\"job\":\"0192f0c1-0000-7000-8000-000000000001\",\"attempt\":1,"
         "\"action\":\"run\",\"mask\":\"3\"}]}",
         0},
        {"{\"seq\":1,\"wants\":[{\"job\":\"0192f0c1-0000-7000-8000-000000000001\",\"attempt\":0,"
         "\"action\":\"run\",\"mask\":\"3\"}]}",
         -BT_ERR_INVALID},
        {"{\"seq\":1,\"wants\":[{\"job\":\"0192f0c1-0000-7000-8000-000000000001\",\"attempt\":1,"
         "\"action\":\"fly\",\"mask\":\"3\"}]}",
         -BT_ERR_INVALID},
        {"{\"seq\":1,\"wants\":[{\"job\":\"0192f0c1-0000-7000-8000-000000000001\",\"attempt\":1,"
         "\"action\":\"run\",\"mask\":\"0x3\"}]}",
         -BT_ERR_INVALID},
        {"[]", -BT_ERR_INVALID},
        {"{\"seq\":1,\"wants\":[],\"trial\":{\"id\":5,\"rank\":1,\"world\":2,"
         "\"deadline_s\":9,\"address\":\"\",\"secret\":\"\"}}",
         0},
        {"{\"seq\":1,\"wants\":[],\"trial\":{\"id\":5,\"rank\":2,\"world\":2,"
         "\"deadline_s\":9}}",
         -BT_ERR_INVALID},
        {"{\"seq\":1,\"wants\":[],\"trial\":{\"id\":5,\"rank\":1,\"world\":2,"
         "\"deadline_s\":9,\"address\":\"n1:7\",\"secret\":\"not hex\"}}",
         -BT_ERR_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct wants w = {0};

        assert_int_equal(wants_parse(rows[i].text, strlen(rows[i].text), &w, NULL), rows[i].rc);
        wants_done(&w);
    }
}

static void an_order_names_the_cores_of_its_accelerators(void **state)
{
    static const struct {
        uint64_t mask;
        int rc;
        const char *cpus, *devices;
        int accelerators;
    } rows[] = {
        {1, 0, "0-1", "0", 1},
        {6, 0, "2-3,4-5", "1,2", 2},
        {7, 0, "0-1,2-3,4-5", "0,1,2", 3},
        {8, -BT_ERR_INVALID, "", "", 0},
        {0, -BT_ERR_INVALID, "", "", 0},
    };
    struct node_plan plan = {.accelerators = 3, .gpus = true, .cpus = {"0-1", "2-3", "4-5"}};
    struct settings set;

    (void)state;
    conf_init(&settings_table, &set);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        struct want_item w = {.mask = rows[i].mask};
        struct order o = {0};

        assert_int_equal(order_make(&w, &plan, &set, &o, NULL), rows[i].rc);
        assert_string_equal(o.cpus, rows[i].cpus);
        assert_string_equal(o.devices, rows[i].devices);
        assert_int_equal(o.accelerators, rows[i].accelerators);
    }
    conf_done(&settings_table, &set);
}

static void waits_grow_and_stay_within_their_limit(void **state)
{
    int64_t most = 0;

    (void)state;
    for (int n = 0; n < 70; n++)
        for (int i = 0; i < 100; i++) {
            int64_t w = backoff_us(n, 1000, 50000);

            assert_in_range(w, 0, BT_MIN(50000, n < 6 ? 1000 << n : 50000));
            most = BT_MAX(most, w);
        }
    assert_true(most > 25000);
}

/* The agent starts its own program again as shepherd and cleaner. */
static int as_helper(int argc, char **argv)
{
    struct bt_err e = {0};
    int rc =
        bt_streq(argv[1], "shepherd") ? shepherd_run(argv[2], &e) : shepherd_clean(argv[2], &e);

    (void)argc;
    if (rc < 0)
        (void)fprintf(stderr, "%s: %s\n", argv[1], e.text);
    return rc < 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attempt_goes_from_want_to_manifest),
        cmocka_unit_test(a_large_file_stays_at_the_site),
        cmocka_unit_test(what_the_site_cannot_keep_goes_to_the_facility),
        cmocka_unit_test(a_start_goes_along_with_what_is_said_next),
        cmocka_unit_test(a_start_does_not_wait_long_for_company),
        cmocka_unit_test(an_end_without_files_brings_its_manifest),
        cmocka_unit_test(a_daemon_of_an_earlier_release_hears_the_two_apart),
        cmocka_unit_test(a_document_that_came_with_the_want_is_not_asked_for),
        cmocka_unit_test(a_killed_agent_finds_its_attempt_again),
        cmocka_unit_test(a_killed_shepherd_is_reported_lost_once),
        cmocka_unit_test(whoever_is_killed_the_attempt_ends_once),
        cmocka_unit_test(an_absent_daemon_hears_everything_later),
        cmocka_unit_test(a_fenced_claim_runs_nothing),
        cmocka_unit_test(what_is_not_wanted_any_more_is_killed),
        cmocka_unit_test(a_stop_for_something_unknown_is_answered),
        cmocka_unit_test(what_is_said_of_a_finished_attempt_leaves_no_trace),
        cmocka_unit_test(only_one_agent_has_a_state_folder),
        cmocka_unit_test(a_list_of_wants_is_taken_whole_or_not_at_all),
        cmocka_unit_test(an_order_names_the_cores_of_its_accelerators),
        cmocka_unit_test(waits_grow_and_stay_within_their_limit),
    };
    if (argc == 3)
        return as_helper(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
