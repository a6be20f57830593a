/* Why a job waits, when it starts, what would start it sooner: of one that waits, and of one that
 * is not submitted. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "daemon/http/own.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/domain/job.h"

/* To explain, the planner tries changes on the plan itself: one question at a time. */
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

static void when(struct json_writer *w, const char *key, int64_t us)
{
    if (us > 0 && us != INT64_MAX)
        jw_time(w, key, us);
    else
        jw_null(w, key);
}

static void write_change(struct json_writer *w, const struct plan_change *ch)
{
    static const char *const levels[] = {"any", "site", "pod", "leaf", "node"};
    char option[80];

    switch (ch->kind) {
    case PLAN_FEWER:
        snprintf(option, sizeof option, "--accelerators %u", ch->value);
        break;
    case PLAN_LOOSER:
        snprintf(option, sizeof option, "--level %s", ch->value < 5 ? levels[ch->value] : "any");
        break;
    case PLAN_SHORTER:
        snprintf(option, sizeof option, "--time %us", ch->value);
        break;
    case PLAN_LESS_MEMORY:
        snprintf(option, sizeof option, ch->value ? "--memory %uG" : "no --memory", ch->value);
        break;
    case PLAN_LESS_BANDWIDTH:
        snprintf(option, sizeof option, ch->value ? "--min-bandwidth %u" : "no --min-bandwidth",
                 ch->value);
        break;
    default:
        snprintf(option, sizeof option, "another class of accelerators");
        break;
    }
    jw_object(w, NULL);
    jw_str(w, "option", option);
    when(w, "start_at", ch->start_us);
    jw_end_object(w);
}

static void write_front(struct json_writer *w, const struct plan *p, const struct plan_front *f)
{
    jw_object(w, NULL);
    jw_i64(w, "number", plan_number_of(p, f->handle));
    jw_str(w, "nation", plan_nation_of(p, f->nation));
    jw_str(w, "state", f->running ? "running" : "queued");
    when(w, f->running ? "ends_by" : "start_at", f->until_us);
    jw_end_object(w);
}

static void write_fit(struct json_writer *w, const struct plan_fit *f)
{
    jw_object(w, "fit");
    jw_i64(w, "nodes", f->nodes);
    jw_i64(w, "fit", f->fit);
    jw_i64(w, "away", f->away);
    jw_i64(w, "small", f->small);
    jw_i64(w, "slow", f->slow);
    jw_i64(w, "unmeasured", f->unmeasured);
    jw_end_object(w);
}

/* What the plan says: of a job that waits, or would. */
static void write_plan(struct json_writer *w, const struct plan *p, const struct plan_explain *ex)
{
    const struct plan_slot *s = &ex->slot;
    BT_BUF_AUTO struct bt_buf why = {0};
    int64_t behind = s->blocker == PLAN_NONE ? 0 : plan_number_of(p, s->blocker);

    plan_reason(p, s, &why);
    when(w, "floor_at", s->floor_us);
    when(w, "start_at", s->start_us);
    when(w, "promise_at", s->promise_us);
    jw_object(w, "reason");
    jw_str(w, "code", sched_reason_name(s->reason));
    jw_str(w, "text", bt_buf_text(&why));
    jw_end_object(w);
    if (behind) {
        jw_object(w, "behind");
        jw_i64(w, "number", behind);
        jw_end_object(w);
    } else {
        jw_null(w, "behind");
    }
    jw_i64(w, "in_front", s->ahead);
    if (ex->fit.nodes)
        write_fit(w, &ex->fit);
    jw_array(w, "front");
    for (uint32_t i = 0; i < ex->n_front; i++)
        write_front(w, p, &ex->front[i]);
    jw_end_array(w);
    jw_array(w, "sooner");
    for (uint32_t i = 0; i < ex->n_change; i++)
        write_change(w, &ex->change[i]);
    jw_end_array(w);
}

static void write_waiting(struct json_writer *w, const struct plan *p, const struct plan_slot *s)
{
    struct plan_explain ex = {.slot = *s};
    struct bt_err err;

    pthread_mutex_lock(&asking);
    if (sched_explain(&p->in, &p->out, s->handle, &ex, &err) < 0)
        ex = (struct plan_explain){.slot = *s};
    pthread_mutex_unlock(&asking);
    write_plan(w, p, &ex);
}

void send_explain(struct call *c)
{
    struct read q = {.name = "job_brief", .param = {c->match.param[0]}, .n = 1};
    BT_BUF_AUTO struct bt_buf brief = {0};
    JSON_AUTO struct json *job = NULL;
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    struct bt_err err = {0};
    struct bt_uuid id;
    struct plan *p;
    const struct plan_slot *slot;
    const char *state;
    int64_t fresh;

    if (read_json(c->h, &q, &brief, &err) < 0 ||
        json_parse(brief.p, brief.n, LIMIT_BODY_BYTES, &job, &err) < 0 ||
        bt_uuid_parse(json_str(json_get(job, "id"), ""), &id) < 0) {
        http_fail(c, &err);
        return;
    }
    p = c->h->set.plan(c->h->set.arg);
    slot = p ? plan_slot_of(p, id) : NULL;
    fresh = slot ? 0 : http_newcomer(c->h, id);
    state = json_str(json_get(job, "state"), "");
    jw_object(&w, NULL);
    jw_str(&w, "id", json_str(json_get(job, "id"), ""));
    jw_i64(&w, "number", json_i64(json_get(job, "number"), 0));
    jw_str(&w, "state", state);
    if (slot && (bt_streq(state, "queued") || bt_streq(state, "held"))) {
        write_waiting(&w, p, slot);
    } else if (fresh && bt_streq(state, "queued")) {
        when(&w, "start_at", fresh);
        jw_object(&w, "reason");
        jw_str(&w, "code", "PLAN");
        jw_str(&w, "text", NEWCOMER_WAITS);
        jw_end_object(&w);
    } else {
        int held = held_reason_parse(json_str(json_get(job, "reason"), "none"));

        jw_object(&w, "reason");
        jw_str(&w, "code", json_str(json_get(job, "reason"), "none"));
        jw_str(&w, "text", held > 0 ? held_reason_sentence((enum held_reason)held) : "");
        jw_end_object(&w);
    }
    jw_end_object(&w);
    plan_unref(p);
    http_json(c, &body);
}

/* ---- a dry run: the core's verdict, and the plan's ---- */

struct dry {
    char *verdict; /* JSON object */
    struct plan_pending ask;
};

static void drop_dry(void *data)
{
    struct dry *d = data;

    bt_free(d->verdict);
    bt_free(d);
}

/* What would be promised: as the planner does. */
static int64_t promise_of(const struct plan_input *in, int64_t start_us)
{
    int64_t wait = BT_MAX(start_us - in->now_us, 0);

    if (start_us == INT64_MAX)
        return 0;
    return start_us + BT_MAX(in->promise_slack_s * BT_US_PER_S,
                             wait / 100 * (int64_t)in->promise_slack_percent);
}

static void send_dry(struct call *c)
{
    struct dry *d = c->data;
    struct plan *p = c->h->set.plan(c->h->set.arg);
    struct bt_buf body = {0};
    BT_BUF_AUTO struct bt_buf plan = {0};
    struct json_writer w = {.to = &plan};
    struct plan_explain ex;
    int rc = -1;

    if (p) {
        pthread_mutex_lock(&asking);
        rc = sched_explain_new(&p->in, &p->out, &d->ask, &ex, NULL);
        pthread_mutex_unlock(&asking);
    }
    bt_buf_add(&body, d->verdict, strlen(d->verdict));
    if (rc == 0 && body.n > 2) { /* {"dry_run":true} and {"start_at":…} become one object */
        ex.slot.promise_us = promise_of(&p->in, ex.slot.start_us);
        jw_object(&w, NULL);
        write_plan(&w, p, &ex);
        jw_end_object(&w);
        body.p[body.n - 1] = ',';
        bt_buf_add(&body, plan.p + 1, plan.n - 1);
    }
    plan_unref(p);
    http_json(c, &body);
}

void dry_run_answer(struct call *c, const struct reply *r)
{
    struct dry *d;

    if (r->err.code || !r->ask || !r->body) {
        http_answer(c, r);
        return;
    }
    d = bt_new(struct dry);
    d->verdict = bt_strdup(r->body);
    d->ask = *r->ask;
    c->data = d;
    c->drop_data = drop_dry;
    tasks_add(c, send_dry);
}
