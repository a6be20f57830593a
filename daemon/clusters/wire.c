/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/wire.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

/* ---- frames ---- */

void wire_frame(struct bt_buf *to, const char *text, size_t n)
{
    const char head[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};

    bt_buf_add(to, head, sizeof head);
    bt_buf_add(to, text, n);
}

int wire_unframe(const char *p, size_t n, const char **ret, size_t *ret_n, struct bt_err *err)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t len;

    if (n < 4)
        return 0;
    len = (size_t)u[0] << 24 | (size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3];
    if (len == 0 || len > WIRE_MAX)
        return bt_fail(err, BT_ERR_INVALID, "a frame of %zu bytes is none", len);
    if (n - 4 < len)
        return 0;
    *ret = p + 4;
    *ret_n = len;
    return 1;
}

/* ---- tables ---- */

#define YEAR_9999_S INT64_C(253402300799)

static const char *const ops[] = {"nodes", "jobs",   "submit", "cancel", "conf",
                                  "queue", "resume", "fence",  NULL};
static const char *const acts[] = {"add account", "add qos", "set cap", "set qos",
                                   "add user",    "nothing", NULL};
static const char *const states[] = {"pending", "running", "over", NULL};

#define TEXT(s, m, needed)                                                       \
    {                                                                            \
#m, JSON_F_TEXT, offsetof(struct s, m), needed, sizeof((struct s *)0)->m \
    }
#define NUMBER(s, m, least, most)                                   \
    {                                                               \
#m, JSON_F_I32, offsetof(struct s, m), true, 0, least, most \
    }

#define FLAG(s, m)                                   \
    {                                                \
#m, JSON_F_BOOL, offsetof(struct s, m), true \
    }

static const struct json_field submit_fields[] = {
    TEXT(wire_submit, comment, true),
    TEXT(wire_submit, name, true),
    {"hosts", JSON_F_STRING, offsetof(struct wire_submit, hosts), true, WIRE_HOSTS_MAX},
    NUMBER(wire_submit, n_hosts, 1, 65536),
    NUMBER(wire_submit, per_host, 0, 64),
    NUMBER(wire_submit, cpus, 1, 65536),
    NUMBER(wire_submit, minutes, 1, 5256000),
    {"exclusive", JSON_F_BOOL, offsetof(struct wire_submit, exclusive), true},
    TEXT(wire_submit, user, true),
    TEXT(wire_submit, partition, true),
    TEXT(wire_submit, account, true),
    TEXT(wire_submit, qos, true),
    {"script", JSON_F_STRING, offsetof(struct wire_submit, script), true, WIRE_SCRIPT_MAX},
};

static const struct json_field job_fields[] = {
    {"id", JSON_F_I64, offsetof(struct wire_job, id), true, 0, 1, UINT32_MAX},
    {"submit_s", JSON_F_I64, offsetof(struct wire_job, submit_s), true, 0, 0, INT64_MAX},
    TEXT(wire_job, comment, true),
    TEXT(wire_job, name, true),
    {"pending", JSON_F_BOOL, offsetof(struct wire_job, pending), true},
    {"over", JSON_F_BOOL, offsetof(struct wire_job, over), true},
    {"suspended", JSON_F_BOOL, offsetof(struct wire_job, suspended)},
    TEXT(wire_job, state, true),
};

static const struct json_field node_fields[] = {
    TEXT(wire_node, name, true),     TEXT(wire_node, class, true),
    NUMBER(wire_node, n_acc, 0, 64), NUMBER(wire_node, cpus, 0, 65536),
    TEXT(wire_node, trouble, true),  FLAG(wire_node, duplicate),
    TEXT(wire_node, leaf, false),    TEXT(wire_node, pod, false),
};

static const struct json_field conf_fields[] = {
    TEXT(wire_conf, auth, true),
    TEXT(wire_conf, select, true),
    TEXT(wire_conf, proctrack, true),
    TEXT(wire_conf, task, true),
    TEXT(wire_conf, scheduler, true),
    TEXT(wire_conf, sched_params, true),
    TEXT(wire_conf, preempt, true),
    TEXT(wire_conf, propagate, true),
    TEXT(wire_conf, prolog, true),
    TEXT(wire_conf, epilog, true),
    TEXT(wire_conf, health, true),
    NUMBER(wire_conf, message_timeout_s, 0, INT32_MAX),
    NUMBER(wire_conf, min_job_age_s, 0, INT32_MAX),
    FLAG(wire_conf, memory_counts),
    FLAG(wire_conf, memory_default),
    FLAG(wire_conf, returns),
    FLAG(wire_conf, associations),
    FLAG(wire_conf, private_jobs),
    FLAG(wire_conf, privileged),
    TEXT(wire_conf, slurm_user, true),
    NUMBER(wire_conf, uid, 0, INT32_MAX),
    NUMBER(wire_conf, user_uid, -1, INT32_MAX),
    TEXT(wire_conf, partition, true),
    FLAG(wire_conf, partition_up),
    FLAG(wire_conf, exclusive),
    FLAG(wire_conf, may_preempt),
    NUMBER(wire_conf, partition_minutes, 0, INT32_MAX),
    NUMBER(wire_conf, partition_nodes, 0, INT32_MAX),
    TEXT(wire_conf, accounts, true),
    TEXT(wire_conf, qos, true),
};

static const struct json_field queued_fields[] = {
    {"id", JSON_F_I64, offsetof(struct wire_queued, id), true, 0, 1, UINT32_MAX},
    {"state", JSON_F_ENUM, offsetof(struct wire_queued, state), true, .values = states},
    FLAG(wire_queued, held),
    FLAG(wire_queued, exclusive),
    {"submit_s", JSON_F_I64, offsetof(struct wire_queued, submit_s), true, 0, 0, YEAR_9999_S},
    {"start_s", JSON_F_I64, offsetof(struct wire_queued, start_s), true, 0, 0, YEAR_9999_S},
    {"end_s", JSON_F_I64, offsetof(struct wire_queued, end_s), true, 0, 0, YEAR_9999_S},
    NUMBER(wire_queued, minutes, 0, INT32_MAX),
    NUMBER(wire_queued, n_hosts, 0, 65536),
    NUMBER(wire_queued, per_host, 0, 64),
    NUMBER(wire_queued, cpus, 0, 65536),
    {"hosts", JSON_F_STRING, offsetof(struct wire_queued, hosts), true, WIRE_HOSTS_MAX},
};

static const struct json_field fence_row_fields[] = {
    TEXT(fence_row, account, true),
    TEXT(fence_row, user, true),
    {"cap", JSON_F_I64, offsetof(struct fence_row, cap), true, 0, 0, INT64_MAX},
};

static const struct json_field fence_item_fields[] = {
    {"act", JSON_F_ENUM, offsetof(struct fence_item, act), true, .values = acts},
    TEXT(fence_item, account, true),
    TEXT(fence_item, user, true),
    {"cap", JSON_F_I64, offsetof(struct fence_item, cap), true, 0, FENCE_NO_QOS, INT64_MAX},
    TEXT(fence_item, what, true),
    TEXT(fence_item, expected, true),
    TEXT(fence_item, actual, true),
};

static void write_table(struct json_writer *w, const struct json_field *f, size_t n,
                        const void *from)
{
    for (size_t i = 0; i < n; i++) {
        const void *p = (const char *)from + f[i].offset;

        switch (f[i].kind) {
        case JSON_F_I32:
            jw_i64(w, f[i].name, *(const int32_t *)p);
            break;
        case JSON_F_I64:
            jw_i64(w, f[i].name, *(const int64_t *)p);
            break;
        case JSON_F_BOOL:
            jw_bool(w, f[i].name, *(const bool *)p);
            break;
        case JSON_F_STRING:
            jw_str(w, f[i].name, *(char *const *)p);
            break;
        case JSON_F_ENUM:
            jw_str(w, f[i].name, f[i].values[*(const int *)p]);
            break;
        default:
            jw_str(w, f[i].name, p);
        }
    }
}

#define WRITE(w, fields, from) write_table(w, fields, BT_ARRAY_LEN(fields), from)
#define READ(object, fields, to, err) json_read(object, fields, BT_ARRAY_LEN(fields), to, err)

/* ---- requests ---- */

void wire_request_write(const struct wire_request *r, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = &text};

    jw_object(&w, NULL);
    jw_i64(&w, "q", r->q);
    jw_str(&w, "op", ops[r->op]);
    if (r->op == WIRE_SUBMIT) {
        jw_object(&w, "submit");
        WRITE(&w, submit_fields, &r->submit);
        jw_end_object(&w);
    } else if (r->op == WIRE_CANCEL) {
        jw_i64(&w, "id", r->id);
        jw_str(&w, "comment", r->comment);
    } else if (r->op == WIRE_RESUME) {
        jw_str(&w, "node", r->node);
    } else if (r->op == WIRE_FENCE) {
        jw_bool(&w, "apply", r->apply);
        jw_array(&w, "fence");
        for (size_t i = 0; i < r->n_fence; i++) {
            jw_object(&w, NULL);
            WRITE(&w, fence_row_fields, &r->fence[i]);
            jw_end_object(&w);
        }
        jw_end_array(&w);
    } else if (r->op == WIRE_CONF) {
        jw_str(&w, "partition", r->partition);
        jw_str(&w, "user", r->user);
    } else {
        jw_bool(&w, "fresh", r->fresh);
        jw_str(&w, "partition", r->partition);
    }
    jw_end_object(&w);
    wire_frame(to, text.p, text.n);
}

static int read_fence(const struct json *list, struct wire_request *r, struct bt_err *err)
{
    int32_t n = 0;
    int rc;

    r->fence = bt_new_n(struct fence_row, json_len(list) + 1);
    rc = json_read_rows(list, fence_row_fields, BT_ARRAY_LEN(fence_row_fields), r->fence,
                        sizeof *r->fence, &n, err);
    r->n_fence = (size_t)n;
    return rc;
}

int wire_request_read(const char *text, size_t n, struct wire_request *ret, struct bt_err *err)
{
    struct {
        int64_t q;
        int op;
        bool fresh;
        const struct json *submit;
        int64_t id;
        char comment[WIRE_COMMENT];
        char partition[64];
        char user[33];
        char node[64];
        bool apply;
        const struct json *fence;
    } in = {.q = 0};
    const struct json_field fields[] = {
        {"q", JSON_F_I64, offsetof(typeof(in), q), true, 0, 1, INT64_MAX},
        {"op", JSON_F_ENUM, offsetof(typeof(in), op), true, .values = ops},
        {"fresh", JSON_F_BOOL, offsetof(typeof(in), fresh)},
        {"submit", JSON_F_VALUE, offsetof(typeof(in), submit)},
        {"id", JSON_F_I64, offsetof(typeof(in), id), false, 0, 1, UINT32_MAX},
        {"comment", JSON_F_TEXT, offsetof(typeof(in), comment), false, WIRE_COMMENT},
        {"partition", JSON_F_TEXT, offsetof(typeof(in), partition), false, 64},
        {"user", JSON_F_TEXT, offsetof(typeof(in), user), false, 33},
        {"node", JSON_F_TEXT, offsetof(typeof(in), node), false, 64},
        {"apply", JSON_F_BOOL, offsetof(typeof(in), apply)},
        {"fence", JSON_F_VALUE, offsetof(typeof(in), fence)},
    };
    JSON_AUTO struct json *j = NULL;
    struct wire_request r = {0};
    int rc = json_parse(text, n, WIRE_MAX, &j, err);

    if (rc == 0)
        rc = READ(j, fields, &in, err);
    if (rc == 0 && (in.op == WIRE_SUBMIT) != (in.submit != NULL))
        rc = bt_fail(err, BT_ERR_INVALID, "submit wants its job, and nothing else has one");
    if (rc == 0 && in.op == WIRE_CANCEL && !in.id)
        rc = bt_fail(err, BT_ERR_INVALID, "cancel wants an id");
    if (rc == 0 && in.op == WIRE_RESUME && !*in.node)
        rc = bt_fail(err, BT_ERR_INVALID, "resume wants a node");
    if (rc == 0 && in.submit)
        rc = READ(in.submit, submit_fields, &r.submit, err);
    if (rc == 0 && in.op == WIRE_FENCE)
        rc = read_fence(in.fence, &r, err);
    if (rc < 0) {
        wire_request_done(&r);
        return rc;
    }
    r.apply = in.apply;
    r.q = in.q;
    r.op = in.op;
    r.fresh = in.fresh;
    r.id = (uint32_t)in.id;
    bt_copy(r.comment, sizeof r.comment, in.comment);
    bt_copy(r.partition, sizeof r.partition, in.partition);
    bt_copy(r.user, sizeof r.user, in.user);
    bt_copy(r.node, sizeof r.node, in.node);
    *ret = r;
    return 0;
}

void wire_request_done(struct wire_request *r)
{
    bt_free(r->submit.hosts);
    bt_free(r->submit.script);
    bt_free(r->fence);
    *r = (struct wire_request){0};
}

/* ---- replies ---- */

static void write_jobs(const struct wire_reply *r, struct json_writer *w)
{
    jw_array(w, "jobs");
    for (size_t i = 0; i < r->n; i++) {
        jw_object(w, NULL);
        WRITE(w, job_fields, &r->jobs[i]);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_i64(w, "n_others", r->n_others);
    jw_str(w, "others", r->others ? r->others : "");
    jw_i64(w, "cost_us", r->cost_us);
}

static void write_nodes(const struct wire_reply *r, struct json_writer *w)
{
    jw_array(w, "nodes");
    for (size_t i = 0; i < r->n; i++) {
        jw_object(w, NULL);
        WRITE(w, node_fields, &r->nodes[i]);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void write_queue(const struct wire_reply *r, struct json_writer *w)
{
    jw_array(w, "queue");
    for (size_t i = 0; i < r->n; i++) {
        jw_object(w, NULL);
        WRITE(w, queued_fields, &r->queue[i]);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void write_fenced(const struct wire_fenced *f, struct json_writer *w)
{
    jw_object(w, "fenced");
    jw_bool(w, "enforced", f->enforced);
    jw_i64(w, "n_done", f->n_done);
    jw_array(w, "items");
    for (size_t i = 0; i < f->n; i++) {
        jw_object(w, NULL);
        WRITE(w, fence_item_fields, &f->items[i]);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_end_object(w);
}

void wire_reply_write(const struct wire_reply *r, enum wire_op op, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = &text};

    jw_object(&w, NULL);
    jw_i64(&w, "q", r->q);
    jw_bool(&w, "ok", r->ok);
    if (!r->ok) {
        jw_str(&w, "code", bt_err_name(r->code));
        jw_str(&w, "text", r->text);
        jw_str(&w, "next", r->next);
    } else if (r->q == 0) {
        jw_str(&w, "cluster", r->cluster);
        jw_str(&w, "version", r->version);
        jw_bool(&w, "maps", r->maps);
    } else if (r->unchanged) {
        jw_bool(&w, "unchanged", true);
    } else if (op == WIRE_SUBMIT) {
        jw_i64(&w, "id", r->id);
    } else if (op == WIRE_JOBS) {
        write_jobs(r, &w);
    } else if (op == WIRE_NODES) {
        write_nodes(r, &w);
    } else if (op == WIRE_QUEUE) {
        write_queue(r, &w);
    } else if (op == WIRE_FENCE && r->fenced) {
        write_fenced(r->fenced, &w);
    } else if (op == WIRE_CONF && r->conf) {
        jw_object(&w, "conf");
        WRITE(&w, conf_fields, r->conf);
        jw_end_object(&w);
    }
    jw_end_object(&w);
    wire_frame(to, text.p, text.n);
}

static int read_jobs(const struct json *list, struct wire_reply *r, struct bt_err *err)
{
    size_t n = json_len(list);

    r->jobs = bt_new_n(struct wire_job, n + 1);
    for (size_t i = 0; i < n; i++) {
        int rc = READ(json_at(list, i), job_fields, &r->jobs[i], err);

        if (rc < 0)
            return rc;
        r->n++;
    }
    return 0;
}

static int read_nodes(const struct json *list, struct wire_reply *r, struct bt_err *err)
{
    size_t n = json_len(list);

    r->nodes = bt_new_n(struct wire_node, n + 1);
    for (size_t i = 0; i < n; i++) {
        int rc = READ(json_at(list, i), node_fields, &r->nodes[i], err);

        if (rc < 0)
            return rc;
        if (!bt_is_name(r->nodes[i].name, 63)) /* such a one cannot be named here */
            continue;
        r->nodes[r->n++] = r->nodes[i];
    }
    return 0;
}

static int read_queue(const struct json *list, struct wire_reply *r, struct bt_err *err)
{
    size_t n = json_len(list);

    r->queue = bt_new_n(struct wire_queued, n + 1);
    for (size_t i = 0; i < n; i++) {
        int rc = READ(json_at(list, i), queued_fields, &r->queue[i], err);

        if (rc < 0)
            return rc;
        r->n++;
    }
    return 0;
}

static int read_fenced(const struct json *object, struct wire_reply *r, struct bt_err *err)
{
    struct {
        bool enforced;
        int64_t n_done;
        const struct json *items;
    } in = {.items = NULL};
    const struct json_field fields[] = {
        {"enforced", JSON_F_BOOL, offsetof(typeof(in), enforced), true},
        {"n_done", JSON_F_I64, offsetof(typeof(in), n_done), true, 0, 0, INT64_MAX},
        {"items", JSON_F_VALUE, offsetof(typeof(in), items), true},
    };
    int32_t n = 0;
    int rc = READ(object, fields, &in, err);

    if (rc < 0)
        return rc;
    r->fenced = bt_new(struct wire_fenced);
    *r->fenced = (struct wire_fenced){
        .enforced = in.enforced,
        .n_done = in.n_done,
        .items = bt_new_n(struct fence_item, json_len(in.items) + 1),
    };
    rc = json_read_rows(in.items, fence_item_fields, BT_ARRAY_LEN(fence_item_fields),
                        r->fenced->items, sizeof *r->fenced->items, &n, err);
    r->fenced->n = (size_t)n;
    return rc;
}

int wire_reply_read(const char *text, size_t n, struct wire_reply *ret, struct bt_err *err)
{
    struct {
        struct wire_reply r;
        char code[32];
        const struct json *jobs, *nodes, *conf, *queue, *fenced;
    } in = {.code = ""};
    const struct json_field fields[] = {
        {"q", JSON_F_I64, offsetof(typeof(in), r.q), true, 0, 0, INT64_MAX},
        {"ok", JSON_F_BOOL, offsetof(typeof(in), r.ok), true},
        {"unchanged", JSON_F_BOOL, offsetof(typeof(in), r.unchanged)},
        {"id", JSON_F_I64, offsetof(typeof(in), r.id), false, 0, 1, UINT32_MAX},
        {"cluster", JSON_F_TEXT, offsetof(typeof(in), r.cluster), false, 64},
        {"version", JSON_F_TEXT, offsetof(typeof(in), r.version), false, 32},
        {"maps", JSON_F_BOOL, offsetof(typeof(in), r.maps)},
        {"code", JSON_F_TEXT, offsetof(typeof(in), code), false, 32},
        {"text", JSON_F_TEXT, offsetof(typeof(in), r.text), false, 240},
        {"next", JSON_F_TEXT, offsetof(typeof(in), r.next), false, 160},
        {"jobs", JSON_F_VALUE, offsetof(typeof(in), jobs)},
        {"nodes", JSON_F_VALUE, offsetof(typeof(in), nodes)},
        {"conf", JSON_F_VALUE, offsetof(typeof(in), conf)},
        {"queue", JSON_F_VALUE, offsetof(typeof(in), queue)},
        {"fenced", JSON_F_VALUE, offsetof(typeof(in), fenced)},
        {"others", JSON_F_STRING, offsetof(typeof(in), r.others), false, WIRE_HOSTS_MAX},
        {"n_others", JSON_F_I64, offsetof(typeof(in), r.n_others), false, 0, 0, INT64_MAX},
        {"cost_us", JSON_F_I64, offsetof(typeof(in), r.cost_us), false, 0, 0, INT64_MAX},
    };
    JSON_AUTO struct json *j = NULL;
    int rc = json_parse(text, n, WIRE_MAX, &j, err);

    if (rc == 0)
        rc = READ(j, fields, &in, err);
    if (rc == 0 && in.jobs)
        rc = read_jobs(in.jobs, &in.r, err);
    if (rc == 0 && in.nodes && !in.jobs)
        rc = read_nodes(in.nodes, &in.r, err);
    if (rc == 0 && in.queue && !in.jobs && !in.nodes)
        rc = read_queue(in.queue, &in.r, err);
    if (rc == 0 && in.fenced)
        rc = read_fenced(in.fenced, &in.r, err);
    if (rc == 0 && in.conf) {
        in.r.conf = bt_new(struct wire_conf);
        rc = READ(in.conf, conf_fields, in.r.conf, err);
    }
    if (rc < 0) {
        wire_reply_done(&in.r);
        return rc;
    }
    in.r.code = in.r.ok ? 0 : bt_err_by_name(in.code);
    if (!in.r.ok && !in.r.code)
        in.r.code = BT_ERR_INTERNAL;
    *ret = in.r;
    return 0;
}

void wire_reply_done(struct wire_reply *r)
{
    bt_free(r->jobs);
    bt_free(r->nodes);
    bt_free(r->others);
    bt_free(r->conf);
    if (r->fenced)
        bt_free(r->fenced->items);
    bt_free(r->fenced);
    for (size_t i = 0; r->queue && i < r->n; i++)
        bt_free(r->queue[i].hosts);
    bt_free(r->queue);
    *r = (struct wire_reply){0};
}

/* ---- identity ---- */

void wire_comment(struct bt_uuid job, int32_t attempt, char out[WIRE_COMMENT])
{
    char id[BT_UUID_TEXT];

    (void)snprintf(out, WIRE_COMMENT, "bt:%s:%d", bt_uuid_format(job, id), attempt);
}

int wire_comment_parse(const char *comment, struct bt_uuid *job, int32_t *attempt)
{
    char id[BT_UUID_TEXT];
    int64_t n;

    if (!bt_starts(comment, "bt:") || strlen(comment) < 3 + BT_UUID_TEXT ||
        comment[3 + BT_UUID_TEXT - 1] != ':')
        return -1;
    bt_copy(id, sizeof id, comment + 3);
    if (bt_uuid_parse(id, job) < 0 ||
        bt_parse_i64(comment + 3 + BT_UUID_TEXT, "attempt", 1, INT32_MAX, &n, NULL) < 0)
        return -1;
    *attempt = (int32_t)n;
    return 0;
}
