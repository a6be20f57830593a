/* Jobs: submitted, ended, held, watched. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "daemon/http/own.h"
#include "lib/api/jobdoc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "lib/record/leaf.h"

void job_submit(struct call *c)
{
    struct event *ev = http_event(c, EV_SUBMIT);
    struct ev_submit *s = &ev->u.submit;
    struct bt_err err = {0};
    size_t n;
    const char *text = serve_body(c->r, &n);
    const char *dry = serve_query(c->r, "dry_run");

    if (jobdoc_parse(text ? text : "", n, &s->spec, NULL, &err) < 0) {
        event_free(ev);
        http_fail(c, &err);
        return;
    }
    s->dry_run = dry && bt_streq(dry, "1");
    s->text = bt_strndup(text, n);
    bt_sha256(text, n, s->body_sha256);
    bt_random(s->spec_salt, sizeof s->spec_salt);
    leaf_commit(s->spec_salt, text, n, s->spec_commit);
    http_post(c, ev, NULL);
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

/* Fills the nulls of start_at and waits_for, which only the plan in memory knows. */
static void merge_plan(struct call *c, struct bt_uuid job, struct bt_buf *json)
{
    struct plan *p = c->h->set.plan(c->h->set.arg);
    const struct plan_slot *slot = p ? plan_slot_of(p, job) : NULL;
    static const char start[] = "\"start_at\":null";
    static const char waits[] = "\"waits_for\":null";
    BT_BUF_AUTO struct bt_buf out = {0};
    const char *at;

    if (slot && slot->start_us != INT64_MAX && (at = strstr(bt_buf_text(json), start))) {
        char when[BT_TIME_MAX];

        bt_buf_add(&out, json->p, (size_t)(at - json->p));
        bt_buf_printf(&out, "\"start_at\":\"%s\"", bt_time_format(slot->start_us, when));
        bt_buf_str(&out, at + sizeof start - 1);
        bt_buf_clear(json);
        bt_buf_add(json, out.p, out.n);
    }
    if (slot && (at = strstr(bt_buf_text(json), waits))) {
        BT_BUF_AUTO struct bt_buf why = {0};
        struct json_writer w = {.to = &out};

        bt_buf_clear(&out);
        sched_reason_text(slot, &why);
        bt_buf_add(&out, json->p, (size_t)(at - json->p));
        jw_str(&w, "waits_for", bt_buf_text(&why));
        bt_buf_str(&out, at + sizeof waits - 1);
        bt_buf_clear(json);
        bt_buf_add(json, out.p, out.n);
    }
    plan_unref(p);
}

static void send_job(struct call *c)
{
    struct read q = {.name = "job", .param = {c->match.param[0]}, .n = 1};
    struct bt_buf json = {0};
    struct bt_err err = {0};
    struct bt_uuid job;

    if (read_json(c->h, &q, &json, &err) < 0 ||
        read_job_id(c->h, c->match.param[0], &job, &err) < 0) {
        bt_buf_done(&json);
        http_fail(c, &err);
        return;
    }
    merge_plan(c, job, &json);
    serve_json(c->r, 200, json.p, json.n);
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
    hub_wait(c, hub_key('j', job.b, sizeof job.b), (int)wait_s * 1000, send_job);
    if (read_json(c->h, &q, &state, &err) < 0 || !bt_streq(bt_buf_text(&state), c->text) ||
        wait_s == 0)
        if (hub_take(c))
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
