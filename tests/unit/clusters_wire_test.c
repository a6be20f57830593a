/* Frames between daemon and helper, and what the helper answers to them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/clusters/helper/serve.h"
#include "daemon/clusters/site_conf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static void frames_are_bounded(void **unused)
{
    static const struct {
        const char *bytes;
        size_t n;
        int rc;
    } rows[] = {
        {"", 0, 0},
        {"\0\0\0", 3, 0},
        {"\0\0\0\0", 4, -BT_ERR_INVALID},
        {"\0\0\0\2x", 5, 0},
        {"\0\0\0\2xy", 6, 1},
        {"\0\200\0\0", 4, 0},               /* 8 MiB is the most */
        {"\0\200\0\1", 4, -BT_ERR_INVALID}, /* a byte more is none */
        {"\377\377\377\377xxxx", 8, -BT_ERR_INVALID},
    };
    const char *text;
    size_t n;

    (void)unused;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        assert_int_equal(rows[i].rc, wire_unframe(rows[i].bytes, rows[i].n, &text, &n, NULL));
}

static struct wire_request a_submit(void)
{
    struct wire_request r = {.q = 3, .op = WIRE_SUBMIT};

    wire_comment((struct bt_uuid){{1}}, 2, r.submit.comment);
    bt_copy(r.submit.name, sizeof r.submit.name, "beamtime.example");
    bt_copy(r.submit.user, sizeof r.submit.user, "ana");
    r.submit.hosts = bt_strdup("n1,n2");
    r.submit.script = bt_strdup("#!/bin/sh\nexec 'x'\n");
    r.submit.n_hosts = 2;
    r.submit.per_host = 8;
    r.submit.cpus = 4;
    r.submit.minutes = 5;
    r.submit.exclusive = true;
    return r;
}

static void a_request_reads_back(void **unused)
{
    struct wire_request r = a_submit();
    struct wire_request back;
    BT_BUF_AUTO struct bt_buf b = {0};
    const char *text;
    size_t n;

    (void)unused;
    wire_request_write(&r, &b);
    assert_int_equal(1, wire_unframe(b.p, b.n, &text, &n, NULL));
    assert_int_equal(b.n, n + 4);
    assert_int_equal(0, wire_request_read(text, n, &back, NULL));
    assert_int_equal(3, back.q);
    assert_int_equal(WIRE_SUBMIT, back.op);
    assert_string_equal("n1,n2", back.submit.hosts);
    assert_string_equal(r.submit.script, back.submit.script);
    assert_string_equal("bt:01000000-0000-0000-0000-000000000000:2", back.submit.comment);
    assert_true(back.submit.exclusive);
    wire_request_done(&back);
    wire_request_done(&r);
}

static void a_comment_reads_back_or_is_not_ours(void **unused)
{
    static const char *const others[] = {"",
                                         "bt:",
                                         "bt:01000000-0000-0000-0000-000000000000",
                                         "training",
                                         "bt:01000000-0000-0000-0000-000000000000:0",
                                         "bt:01000000-0000-0000-0000-00000000000x:1",
                                         "bt:01000000-0000-0000-0000-000000000000:1 "};
    struct bt_uuid id;
    int32_t attempt;

    (void)unused;
    assert_int_equal(
        0, wire_comment_parse("bt:01000000-0000-0000-0000-000000000000:7", &id, &attempt));
    assert_int_equal(1, id.b[0]);
    assert_int_equal(7, attempt);
    for (size_t i = 0; i < BT_ARRAY_LEN(others); i++)
        assert_int_equal(-1, wire_comment_parse(others[i], &id, &attempt));
}

/* ---- the helper's answers, without a cluster ---- */

static int two_nodes(void *arg, bool fresh, const char *partition, struct wire_reply *ret,
                     struct bt_err *err)
{
    (void)arg;
    (void)partition;
    (void)err;
    ret->unchanged = !fresh;
    if (!fresh)
        return 0;
    ret->nodes = bt_new_n(struct wire_node, 2);
    bt_copy(ret->nodes[0].name, 64, "n1");
    bt_copy(ret->nodes[0].class, 16, "h200");
    ret->nodes[0].n_acc = 8;
    bt_copy(ret->nodes[1].name, 64, "n2");
    bt_copy(ret->nodes[1].class, 16, "cpu");
    bt_copy(ret->nodes[1].trouble, 64, "drained: fan");
    bt_copy(ret->nodes[1].leaf, 64, "leaf1");
    bt_copy(ret->nodes[1].pod, 64, "spine");
    ret->n = 2;
    return 0;
}

static int fence(void *arg, bool apply, struct fence_row *want, size_t n_want,
                 struct wire_fenced *ret, struct bt_err *err)
{
    static const struct fence_row has[] = {
        {.account = "bt_cz_moon", .cap = 3, .there = true, .own_qos = true}};
    struct fence_row copy = has[0];

    (void)arg;
    (void)err;
    ret->enforced = !apply;
    ret->n_done = 7;
    ret->items = fence_compare(want, n_want, &copy, 1, &ret->n);
    return 0;
}

static int a_job(void *arg, bool fresh, struct wire_reply *ret, struct bt_err *err)
{
    (void)arg;
    (void)fresh;
    (void)err;
    ret->jobs = bt_new_n(struct wire_job, 1);
    ret->jobs[0].id = 41;
    ret->jobs[0].pending = true;
    bt_copy(ret->jobs[0].state, 24, "PENDING");
    ret->n = 1;
    ret->n_others = 3;
    ret->others = bt_strdup("n2,n7");
    return 0;
}

static int refuse(void *arg, const struct wire_submit *job, int64_t *ret_id, struct bt_err *err)
{
    (void)arg;
    (void)ret_id;
    return bt_next(err, bt_fail(err, BT_ERR_IMPOSSIBLE, "no account %s", job->user), "map it");
}

static int end(void *arg, uint32_t id, const char *comment, struct bt_err *err)
{
    (void)err;
    *(uint32_t *)arg = bt_streq(comment, "bt:x") ? id : 0;
    return 0;
}

static int settings(void *arg, const char *partition, const char *user, struct wire_conf *ret,
                    struct bt_err *err)
{
    (void)arg;
    (void)err;
    bt_copy(ret->partition, sizeof ret->partition, partition);
    bt_copy(ret->slurm_user, sizeof ret->slurm_user, user);
    ret->user_uid = -1;
    ret->memory_counts = true;
    return 0;
}

static int queue(void *arg, bool fresh, const char *partition, struct wire_reply *ret,
                 struct bt_err *err)
{
    (void)arg;
    (void)fresh;
    (void)err;
    ret->queue = bt_new_n(struct wire_queued, 2);
    ret->queue[0] = (struct wire_queued){
        .id = 5, .state = WIRE_RUNNING, .n_hosts = 2, .end_s = 77, .hosts = bt_strdup("n[1-2]")};
    ret->queue[1] = (struct wire_queued){.id = 6, .held = true, .hosts = bt_strdup(partition)};
    ret->n = 2;
    return 0;
}

static int resume(void *arg, const char *node, struct bt_err *err)
{
    (void)err;
    *(uint32_t *)arg = bt_streq(node, "n2") ? 2 : 0;
    return 0;
}

static struct wire_reply ask(struct wire_request *r, uint32_t *cancelled)
{
    struct calls calls = {two_nodes, a_job, refuse, end, settings, queue, resume, fence, cancelled};
    BT_BUF_AUTO struct bt_buf in = {0};
    BT_BUF_AUTO struct bt_buf out = {0};
    struct wire_reply back;
    struct bt_err err = {0};
    const char *text;
    size_t n;

    wire_request_write(r, &in);
    wire_request_write(r, &in);
    assert_int_equal(1, serve_frame(&calls, &in, &out, &err));
    assert_int_equal(1, serve_frame(&calls, &in, &out, &err));
    assert_int_equal(0, serve_frame(&calls, &in, &out, &err));
    assert_int_equal(0, in.n);
    assert_int_equal(1, wire_unframe(out.p, out.n, &text, &n, &err));
    assert_int_equal(0, wire_reply_read(text, n, &back, &err));
    assert_int_equal(r->q, back.q);
    return back;
}

static void what_a_list_cost_reads_back(void **unused)
{
    struct wire_reply r = {.q = 7, .ok = true, .cost_us = 14000};
    struct wire_reply back;
    BT_BUF_AUTO struct bt_buf out = {0};
    const char *text;
    size_t n;

    (void)unused;
    wire_reply_write(&r, WIRE_JOBS, &out);
    assert_int_equal(1, wire_unframe(out.p, out.n, &text, &n, NULL));
    assert_int_equal(0, wire_reply_read(text, n, &back, NULL));
    assert_int_equal(14000, back.cost_us);
    wire_reply_done(&back);
}

static void a_hello_reads_back(void **unused)
{
    for (int maps = 0; maps < 2; maps++) {
        struct wire_reply r = {.ok = true, .cluster = "geneva", .version = "22.05.8", .maps = maps};
        struct wire_reply back;
        BT_BUF_AUTO struct bt_buf out = {0};
        const char *text;
        size_t n;

        wire_reply_write(&r, WIRE_OPS, &out);
        assert_int_equal(1, wire_unframe(out.p, out.n, &text, &n, NULL));
        assert_int_equal(0, wire_reply_read(text, n, &back, NULL));
        assert_string_equal("geneva", back.cluster);
        assert_string_equal("22.05.8", back.version);
        assert_int_equal(maps, back.maps);
        wire_reply_done(&back);
    }
    (void)unused;
}

static void a_fence_and_what_differs_read_back(void **unused)
{
    struct fence_row rows[] = {{.account = "bt_cz_moon", .cap = 12},
                               {.account = "bt_cz_moon", .user = "ana"}};
    struct wire_request r = {.q = 5, .op = WIRE_FENCE, .apply = true, .fence = rows, .n_fence = 2};
    uint32_t cancelled = 0;
    struct wire_reply back = ask(&r, &cancelled);

    (void)unused;
    assert_true(back.ok);
    assert_non_null(back.fenced);
    assert_false(back.fenced->enforced);
    assert_int_equal(7, back.fenced->n_done);
    assert_int_equal(2, back.fenced->n);
    assert_int_equal(FENCE_SET_CAP, back.fenced->items[0].act);
    assert_string_equal("gres/gpu=12", back.fenced->items[0].expected);
    assert_string_equal("gres/gpu=3", back.fenced->items[0].actual);
    assert_int_equal(FENCE_ADD_USER, back.fenced->items[1].act);
    assert_string_equal("ana", back.fenced->items[1].user);
    wire_reply_done(&back);
}

static void the_helper_answers_each_request_once_in_order(void **unused)
{
    struct wire_request r = {.q = 1, .op = WIRE_NODES, .fresh = true};
    struct wire_request submit = a_submit();
    uint32_t cancelled = 0;
    struct wire_reply back = ask(&r, &cancelled);

    (void)unused;
    assert_true(back.ok);
    assert_int_equal(2, back.n);
    assert_string_equal("h200", back.nodes[0].class);
    assert_string_equal("drained: fan", back.nodes[1].trouble);
    assert_string_equal("", back.nodes[0].leaf);
    assert_string_equal("leaf1", back.nodes[1].leaf);
    assert_string_equal("spine", back.nodes[1].pod);
    wire_reply_done(&back);
    r.fresh = false;
    back = ask(&r, &cancelled);
    assert_true(back.unchanged);
    wire_reply_done(&back);
    r.op = WIRE_JOBS;
    back = ask(&r, &cancelled);
    assert_int_equal(41, back.jobs[0].id);
    assert_int_equal(3, back.n_others);
    assert_string_equal("n2,n7", back.others);
    wire_reply_done(&back);
    back = ask(&submit, &cancelled);
    assert_false(back.ok);
    assert_int_equal(BT_ERR_IMPOSSIBLE, back.code);
    assert_string_equal("no account ana", back.text);
    assert_string_equal("map it", back.next);
    wire_reply_done(&back);
    wire_request_done(&submit);
    r = (struct wire_request){.q = 9, .op = WIRE_CANCEL, .id = 77, .comment = "bt:x"};
    back = ask(&r, &cancelled);
    assert_true(back.ok);
    assert_int_equal(77, cancelled);
    wire_reply_done(&back);
    r = (struct wire_request){.q = 10, .op = WIRE_CONF, .partition = "gpu", .user = "ana"};
    back = ask(&r, &cancelled);
    assert_true(back.ok);
    assert_non_null(back.conf);
    assert_string_equal("gpu", back.conf->partition);
    assert_string_equal("ana", back.conf->slurm_user);
    assert_int_equal(-1, back.conf->user_uid);
    assert_true(back.conf->memory_counts);
    wire_reply_done(&back);
    r = (struct wire_request){.q = 11, .op = WIRE_QUEUE, .partition = "gpu"};
    back = ask(&r, &cancelled);
    assert_int_equal(2, back.n);
    assert_int_equal(WIRE_RUNNING, back.queue[0].state);
    assert_int_equal(77, back.queue[0].end_s);
    assert_string_equal("n[1-2]", back.queue[0].hosts);
    assert_true(back.queue[1].held);
    assert_string_equal("gpu", back.queue[1].hosts);
    wire_reply_done(&back);
    r = (struct wire_request){.q = 12, .op = WIRE_RESUME, .node = "n2"};
    back = ask(&r, &cancelled);
    assert_true(back.ok);
    assert_int_equal(2, cancelled);
    wire_reply_done(&back);
}

static void a_site_s_configuration_lets_no_shell_in(void **unused)
{
    static const struct {
        const char *json;
        int rc;
    } rows[] = {
        {"{\"slurm_conf\":\"/etc/slurm/slurm.conf\"}", 0},
        {"{\"slurm_conf\":\"/c\",\"agent_dir\":\"/var/%n/x\",\"partition\":\"gpu-1\"}", 0},
        {"{\"remote\":true}", 0},
        {"{\"remote\":false}", -BT_ERR_INVALID},
        {"{}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"slurm.conf\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"/a b\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"/c\",\"agent\":\"/x'; rm\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"/c\",\"agent_dir\":\"/$(id)\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"/c\",\"colour\":\"red\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"/c\",\"blobs\":\"https://blobs.example.org/a/\"}", 0},
        {"{\"slurm_conf\":\"/c\",\"blobs\":\"http://[::1]:80\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"/c\",\"blobs\":\"blobs.example.org\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"/c\",\"blobs\":\"javascript:x\"}", -BT_ERR_INVALID},
        {"{\"slurm_conf\":\"/c\",\"blobs\":\"https://a\\r\\nSet-Cookie:x\"}", -BT_ERR_INVALID},
    };
    struct site_conf c;

    (void)unused;
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++)
        assert_int_equal(rows[i].rc, site_conf_parse(rows[i].json, &c, NULL));
    assert_int_equal(
        site_conf_parse("{\"slurm_conf\":\"/c\",\"blobs\":\"https://a.org/\"}", &c, NULL), 0);
    assert_string_equal(c.blobs, "https://a.org");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_bounded),
        cmocka_unit_test(a_request_reads_back),
        cmocka_unit_test(a_hello_reads_back),
        cmocka_unit_test(a_comment_reads_back_or_is_not_ours),
        cmocka_unit_test(the_helper_answers_each_request_once_in_order),
        cmocka_unit_test(what_a_list_cost_reads_back),
        cmocka_unit_test(a_fence_and_what_differs_read_back),
        cmocka_unit_test(a_site_s_configuration_lets_no_shell_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
