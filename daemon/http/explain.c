/* Why a job waits, when it starts, what would start it sooner.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "daemon/http/own.h"
#include "lib/base/str.h"
#include "lib/domain/job.h"

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
    default:
        snprintf(option, sizeof option, "another class of accelerators");
        break;
    }
    jw_object(w, NULL);
    jw_str(w, "option", option);
    when(w, "start_at", ch->start_us);
    jw_end_object(w);
}

static void write_plan(struct json_writer *w, const struct plan *p, const struct plan_slot *s)
{
    struct plan_explain ex = {.slot = *s};
    BT_BUF_AUTO struct bt_buf why = {0};
    struct bt_err err;
    int64_t behind = s->blocker == PLAN_NONE ? 0 : plan_number_of(p, s->blocker);

    if (sched_explain(&p->in, &p->out, s->handle, &ex, &err) < 0)
        ex = (struct plan_explain){.slot = *s};
    sched_reason_text(s, &why);
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
    jw_array(w, "sooner");
    for (uint32_t i = 0; i < ex.n_change; i++)
        write_change(w, &ex.change[i]);
    jw_end_array(w);
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

    if (read_json(c->h, &q, &brief, &err) < 0 ||
        json_parse(brief.p, brief.n, LIMIT_BODY_BYTES, &job, &err) < 0 ||
        bt_uuid_parse(json_str(json_get(job, "id"), ""), &id) < 0) {
        http_fail(c, &err);
        return;
    }
    p = c->h->set.plan(c->h->set.arg);
    slot = p ? plan_slot_of(p, id) : NULL;
    jw_object(&w, NULL);
    jw_str(&w, "id", json_str(json_get(job, "id"), ""));
    jw_i64(&w, "number", json_i64(json_get(job, "number"), 0));
    jw_str(&w, "state", json_str(json_get(job, "state"), ""));
    int64_t fresh = slot ? 0 : http_newcomer(c->h, id);

    if (slot) {
        write_plan(&w, p, slot);
    } else if (fresh && bt_streq(json_str(json_get(job, "state"), ""), "queued")) {
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
