/* agent_lab.h - a state folder, orders and waiting for the tests of agent/.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * As root the jobs run as uid 12345, else as the caller; below 1000 and not root nothing can run
 * and the tests are skipped. */
#ifndef BT_TESTS_UNIT_AGENT_LAB_H
#define BT_TESTS_UNIT_AGENT_LAB_H

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/environ.h"
#include "agent/shepherd.h"
#include "agent/spool.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"
#include "tests/unit/check.h"

enum { LAB_UID = 12345, LAB_PATIENCE_US = 30000000 };

struct lab {
    char state[256];
    char attempts[300];
    struct order order;
    char dir[400]; /* spool folder of the attempt */
    struct places places;
};

static inline bool lab_possible(void)
{
    return geteuid() == 0 || geteuid() >= 1000;
}

static inline void lab_open(struct lab *l)
{
    if (!lab_possible())
        skip();
    memset(l, 0, sizeof *l);
    bt_copy(l->state, sizeof l->state, "/tmp/bt-agent-XXXXXX");
    assert_non_null(mkdtemp(l->state));
    assert_int_equal(chmod(l->state, 0711), 0);
    (void)snprintf(l->attempts, sizeof l->attempts, "%s/attempts", l->state);
    assert_int_equal(mkdir(l->attempts, 0700), 0);
    struct order o = {.number = 7,
                      .attempt = 1,
                      .walltime_s = 60,
                      .grace_s = 5,
                      .tier = 1,
                      .accelerators = 1,
                      .pids_max = 256,
                      .log_max_bytes = 1 << 20,
                      .kind = "script",
                      .class = "cpu",
                      .mask = "1",
                      .node = "n1"};
    o.job = bt_uuid_new(bt_now_us());
    if (geteuid() == 0)
        (void)snprintf(o.user, sizeof o.user, "%d", (int)LAB_UID);
    (void)snprintf(o.work, sizeof o.work, "%s/work", l->state);
    assert_int_equal(mkdir(o.work, 0711), 0);
    assert_int_equal(chmod(o.work, 0711), 0);
    l->order = o;
}

static inline void lab_close(struct lab *l)
{
    assert_int_equal(bt_remove_tree(l->state, NULL), 0);
}

/* A job document around a script. */
static inline void lab_document(const char *script, struct bt_buf *to)
{
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_str(&w, "kind", "script");
    jw_str(&w, "name", "test");
    jw_object(&w, "code");
    jw_str(&w, "script", script);
    jw_end_object(&w);
    jw_end_object(&w);
}

static inline void lab_order(struct lab *l, const char *document)
{
    char name[SPOOL_NAME_MAX];

    assert_int_equal(spool_make(l->attempts, &l->order, document, strlen(document), NULL, NULL), 0);
    (void)snprintf(l->dir, sizeof l->dir, "%s/%s", l->attempts,
                   spool_name(l->order.job, l->order.attempt, name));
    places_of(&l->order, &l->places);
}

static inline void lab_script(struct lab *l, const char *script)
{
    BT_BUF_AUTO struct bt_buf b = {0};

    lab_document(script, &b);
    lab_order(l, b.p);
}

static inline void lab_put(struct lab *l, const char *file)
{
    assert_int_equal(spool_put(l->dir, file, "", NULL), 0);
}

/* A shepherd in a process of its own. */
static inline pid_t lab_shepherd(struct lab *l)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct bt_err e = {0};
        int rc = shepherd_run(l->dir, &e);

        if (rc < 0)
            (void)fprintf(stderr, "shepherd: %s\n", e.text);
        _exit(rc < 0);
    }
    return pid;
}

/* Until `file` exists; fails the test after LAB_PATIENCE_US. */
static inline void lab_await_path(const char *path)
{
    int64_t until = bt_mono_us() + LAB_PATIENCE_US;

    while (access(path, F_OK) < 0) {
        if (bt_mono_us() > until)
            fail_msg("%s does not come", path);
        (void)poll(NULL, 0, 5);
    }
}

static inline void lab_await(struct lab *l, const char *file)
{
    BT_AUTO char *path = bt_printf("%s/%s", l->dir, file);

    lab_await_path(path);
}

static inline void lab_join(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static inline struct verdict lab_verdict(struct lab *l)
{
    struct verdict v;

    assert_int_equal(spool_verdict(l->dir, &v, NULL), 0);
    return v;
}

/* From a granted claim to the end, in one go. */
static inline struct verdict lab_run(struct lab *l)
{
    lab_put(l, "granted");
    lab_join(lab_shepherd(l));
    return lab_verdict(l);
}

/* A file of the spool or of the job as text; "" if it is not there. Owned. */
static inline char *lab_text(const char *dir, const char *file)
{
    BT_AUTO char *path = bt_printf("%s/%s", dir, file);
    struct bt_buf b = {0};

    if (bt_file_read(path, 16 << 20, &b, NULL) < 0)
        return bt_strdup("");
    if (!b.p)
        return bt_strdup("");
    return bt_buf_take(&b);
}

static inline bool lab_alive(pid_t pid)
{
    char path[64], text[512];
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    const char *end = strrchr(text, ')');
    return end && end[2] != 'Z' && end[2] != 'X';
}

/* The process that wrote its number into `file` of the job's output folder. */
static inline pid_t lab_pid(struct lab *l, const char *file)
{
    BT_AUTO char *path = bt_printf("%s/%s", l->places.output, file);
    int64_t pid = 0;

    lab_await_path(path);
    BT_AUTO char *text = lab_text(l->places.output, file);
    text[strcspn(text, "\n")] = '\0';
    assert_int_equal(bt_parse_i64(text, "pid", 2, INT32_MAX, &pid, NULL), 0);
    return (pid_t)pid;
}

#endif
