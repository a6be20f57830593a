/* Jobs: submitted, ended, held, watched. SPDX-License-Identifier: GPL-3.0-or-later */
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "daemon/http/own.h"
#include "lib/api/jobdoc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "lib/record/leaf.h"

/* A task's id comes from its array's, so that the same request always makes the same jobs. */
static struct bt_uuid task_id(struct bt_uuid array, int32_t task)
{
    uint8_t digest[32], in[20];
    struct bt_uuid id = array; /* the time stays */

    memcpy(in, array.b, 16);
    memcpy(in + 16, &(uint32_t){htobe32((uint32_t)task)}, 4);
    bt_sha256(in, sizeof in, digest);
    memcpy(id.b + 6, digest, 10);
    id.b[6] = (uint8_t)(0x70 | (id.b[6] & 0x0f)); /* RFC 9562: version 7, variant 10 */
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

/* Each task gets a document of its own, as if it had been submitted alone. */
static int make_tasks(struct ev_submit *s, const struct job_code *code, struct bt_err *err)
{
    struct job_spec spec = s->spec;
    struct job_tasks tasks;
    size_t bytes = 0;
    int rc = job_tasks_parse(s->spec.tasks, &tasks, err);

    if (rc < 0)
        return rc;
    s->at_once = tasks.at_once;
    s->tasks = bt_new_n(struct ev_task, (size_t)tasks.n);
    spec.tasks[0] = '\0';
    spec.array_of = s->spec.id;
    while (s->n_tasks < tasks.n) {
        struct ev_task *t = &s->tasks[s->n_tasks];
        struct bt_buf text = {0};

        t->task = spec.array_task = tasks.index[s->n_tasks++];
        t->id = spec.id = task_id(spec.array_of, t->task);
        jobdoc_write(&text, &spec, code);
        bytes += text.n;
        bt_random(t->spec_salt, sizeof t->spec_salt);
        leaf_commit(t->spec_salt, bt_buf_text(&text), text.n, t->spec_commit);
        t->text = bt_buf_take(&text);
        if (bytes > LIMIT_ARRAY_BYTES)
            return bt_fail(err, BT_ERR_TOO_LARGE,
                           "the documents of %d tasks have more than %d bytes: name a file of the "
                           "nodes instead of a long script",
                           tasks.n, (int)LIMIT_ARRAY_BYTES);
    }
    return 0;
}

void job_submit(struct call *c)
{
    struct event *ev = http_event(c, EV_SUBMIT);
    struct ev_submit *s = &ev->u.submit;
    struct job_code code = {0};
    struct bt_err err = {0};
    size_t n;
    const char *text = serve_body(c->r, &n);
    const char *dry = serve_query(c->r, "dry_run");
    int rc = jobdoc_parse(text ? text : "", n, &s->spec, &code, &err);

    if (rc == 0 && s->spec.tasks[0])
        rc = make_tasks(s, &code, &err);
    else if (rc == 0 && !bt_uuid_zero(s->spec.array_of))
        rc = bt_fail(&err, BT_ERR_INVALID,
                     "member 'array': a request names 'tasks'; 'of' is the facility's");
    job_code_done(&code);
    if (rc < 0) {
        event_free(ev);
        http_fail(c, &err);
        return;
    }
    s->dry_run = dry && bt_streq(dry, "1");
    s->text = bt_strndup(text, n);
    bt_sha256(text, n, s->body_sha256);
    bt_random(s->spec_salt, sizeof s->spec_salt);
    leaf_commit(s->spec_salt, text, n, s->spec_commit);
    http_post_turn(c, NULL, ev, s->dry_run ? dry_run_answer : NULL);
}

/* ---- verbs on one job: the id may be a number, which only the database can resolve ---- */

static void verb(struct call *c)
{
    struct bt_err err = {0};
    struct bt_uuid job;
    struct event *ev;

    if (read_job_id(c->h, c->match.param[0], &job, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    if (c->match.route->id == ROUTE_JOB_CANCEL) {
        ev = http_event(c, EV_CANCEL);
        ev->u.cancel.job = job;
        ev->u.cancel.reason = bt_strdup(json_str(json_get(c->body, "reason"), ""));
    } else {
        ev = http_event(c, EV_HOLD);
        ev->u.hold.job = job;
        ev->u.hold.release = c->match.route->id == ROUTE_JOB_RELEASE;
    }
    http_post(c, ev, NULL);
}

void job_cancel(struct call *c)
{
    tasks_add(c, verb);
}

void job_hold(struct call *c)
{
    tasks_add(c, verb);
}

void job_release(struct call *c)
{
    tasks_add(c, verb);
}

/* ---- what the plan says of it ---- */

/* Replaces the first `"key" : null` behind *from; moves *from behind it. */
static void fill_null(struct bt_buf *json, size_t *from, const char *key, const char *value)
{
    BT_AUTO char *gap = bt_printf("\"%s\" : null", key);
    BT_AUTO char *tight = bt_printf("\"%s\": null", key);
    BT_BUF_AUTO struct bt_buf rest = {0};
    struct json_writer w = {.to = json};
    const char *at = strstr(bt_buf_text(json) + *from, gap);
    size_t n = strlen(gap);
    size_t start;

    if (!at) {
        at = strstr(bt_buf_text(json) + *from, tight);
        n = strlen(tight);
    }
    if (!at)
        return;
    start = (size_t)(at - json->p);
    bt_buf_str(&rest, at + n);
    json->n = start;
    jw_str(&w, key, value);
    *from = json->n;
    bt_buf_add(json, rest.p, rest.n);
}

struct said {
    struct bt_uuid id;
    const struct plan_slot *slot; /* NULL: the plan does not know it */
};

/* The ids of a JSON text, in its order. */
static struct said *ids_in(const char *json, uint32_t *ret_n)
{
    static const char key[] = "\"id\"";
    struct said *v = NULL;
    uint32_t n = 0, cap = 0;

    for (const char *at = json; (at = strstr(at, key));) {
        char text[BT_UUID_TEXT];

        at += sizeof key - 1;
        at += strspn(at, " :\"");
        BT_GROW(v, n, cap);
        v[n] = (struct said){.slot = NULL};
        snprintf(text, sizeof text, "%.*s", BT_UUID_TEXT - 1, at);
        n += bt_uuid_parse(text, &v[n].id) == 0;
    }
    *ret_n = n;
    return v;
}

static void find_slots(const struct plan *p, struct said *v, uint32_t n)
{
    struct bt_map at = {0};

    for (uint32_t i = 0; i < n; i++)
        bt_map_put(&at, bt_map_hash(v[i].id.b, sizeof v[i].id.b), i);
    for (uint32_t i = 0; i < p->out.n_slots; i++) {
        uint32_t k;

        if (bt_map_get(&at, bt_map_hash(p->who[i].id.b, sizeof p->who[i].id.b), &k) &&
            bt_uuid_eq(v[k].id, p->who[i].id))
            v[k].slot = &p->out.slots[i];
    }
    bt_map_done(&at);
}

/* Each job's text holds its id, then start_at, then waits_for. */
void merge_plans(struct call *c, struct bt_buf *json)
{
    struct plan *p = c->h->set.plan(c->h->set.arg);
    uint32_t n;
    struct said *v = ids_in(bt_buf_text(json), &n);
    size_t from = 0;

    if (p)
        find_slots(p, v, n);
    for (uint32_t i = 0; v && i < n; i++) {
        const struct plan_slot *s = v[i].slot;
        BT_BUF_AUTO struct bt_buf why = {0};
        char id[BT_UUID_TEXT], when[BT_TIME_MAX];
        const char *at = strstr(bt_buf_text(json) + from, bt_uuid_format(v[i].id, id));
        int64_t start = s ? s->start_us : http_newcomer(c->h, v[i].id);

        if (!at || !start)
            continue;
        from = (size_t)(at - json->p);
        if (start != INT64_MAX)
            fill_null(json, &from, "start_at", bt_time_format(start, when));
        if (s)
            plan_reason(p, s, &why);
        fill_null(json, &from, "waits_for", s ? bt_buf_text(&why) : NEWCOMER_WAITS);
    }
    bt_free(v);
    plan_unref(p);
}

static void send_job(struct call *c)
{
    struct read q = {.name = "job", .param = {c->match.param[0]}, .n = 1};
    struct bt_buf json = {0};
    struct bt_err err = {0};

    if (read_json(c->h, &q, &json, &err) < 0) {
        bt_buf_done(&json);
        http_fail(c, &err);
        return;
    }
    merge_plans(c, &json);
    http_json(c, &json);
}

void job_get(struct call *c)
{
    tasks_add(c, send_job);
}

void job_explain(struct call *c)
{
    tasks_add(c, send_explain);
}

/* ---- watching ---- */

static void watch(struct call *c)
{
    struct read q = {.name = "job_state", .param = {c->match.param[0]}, .n = 1};
    BT_BUF_AUTO struct bt_buf state = {0};
    struct bt_err err = {0};
    struct bt_uuid job;
    int64_t wait_s = c->after;

    if (read_job_id(c->h, c->match.param[0], &job, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    hub_register(c, hub_key('j', job.b, sizeof job.b));
    if (wait_s > 0 && read_json(c->h, &q, &state, &err) == 0 &&
        bt_streq(bt_buf_text(&state), c->text) && hub_sleep(c, (int)wait_s * 1000, send_job))
        return;
    hub_leave(c);
    send_job(c);
}

void job_watch(struct call *c)
{
    const char *after = serve_query(c->r, "after");
    const char *wait = serve_query(c->r, "wait");
    struct bt_err err = {0};

    c->after = LIMIT_LONG_POLL_S;
    if (wait && bt_parse_i64(wait, "wait", 0, LIMIT_LONG_POLL_S, &c->after, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    snprintf(c->text, sizeof c->text, "\"%s\"", after ? after : "");
    tasks_add(c, watch);
}
