/* cmd_job.c - jobs seen and moved: lists, one job, cancel, hold, explain.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/domain/job.h"

static const struct out_col job_cols[] = {
    {"JOB", "number", OUT_NUM, 0},         {"NAME", "name", OUT_STR, 0},
    {"KIND", "kind", OUT_STR, 1},          {"PROJECT", "nation/project", OUT_STR, 0},
    {"PERSON", "person", OUT_STR, 0},      {"ACC", "accelerators", OUT_NUM, 0},
    {"CLASS", "class", OUT_STR, 1},        {"TIME", "walltime_s", OUT_SPAN, 0},
    {"TASK", "task", OUT_NUM, 1},          {"STATE", "state", OUT_STATE, 0},
    {"TIER", "tier", OUT_NUM, 1},          {"STARTS", "start_at", OUT_START, 0},
    {"BY", "promise_at", OUT_WHEN, 1},     {"STARTED", "started_at", OUT_WHEN, 1},
    {"ENDED", "ended_at", OUT_WHEN, 0},    {"RECORD", "record", OUT_NUM, 0},
    {"WAITS FOR", "waits_for", OUT_STR, 1}};
static const struct out_list job_list = {job_cols, BT_ARRAY_LEN(job_cols), "number", "no job"};

static const struct out_col queue_cols[] = {{"JOB", "number", OUT_NUM, 0},
                                            {"NAME", "name", OUT_STR, 0},
                                            {"PROJECT", "nation/project", OUT_STR, 0},
                                            {"PERSON", "person", OUT_STR, 0},
                                            {"ACC", "accelerators", OUT_NUM, 0},
                                            {"TIME", "walltime_s", OUT_SPAN, 0},
                                            {"STATE", "state", OUT_STATE, 0},
                                            {"STARTS", "start_at", OUT_START, 0},
                                            {"BY", "promise_at", OUT_WHEN, 0},
                                            {"WAITS FOR", "waits_for", OUT_STR, 0},
                                            {"TASK", "task", OUT_NUM, 1},
                                            {"TIER", "tier", OUT_NUM, 1},
                                            {"CLASS", "class", OUT_STR, 1}};
static const struct out_list queue_list = {queue_cols, BT_ARRAY_LEN(queue_cols), "number",
                                           "nothing waits and nothing runs"};

static int jobs(struct app *app, const struct cli_args *a, const char *state,
                const struct out_list *how, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf url = {0};
    REPLY_AUTO struct reply reply = {0};
    int rc;

    bt_buf_str(&url, "/v1/jobs");
    url_query(&url, "state", state);
    url_query(&url, "project", cli_value(a, "project"));
    url_query(&url, "nation", cli_value(a, "nation"));
    url_query(&url, "mine", cli_has(a, "mine") ? "1" : NULL);
    url_query(&url, "limit", cli_value(a, "limit"));
    url_query(&url, "cursor", cli_value(a, "cursor"));
    rc = app_get(app, bt_buf_text(&url), &reply, err);
    if (rc < 0)
        return rc;
    out_reply(app, &reply, how);
    return 0;
}

int cmd_queue(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return jobs(app, a, "held,queued,starting,running,finishing", &queue_list, err);
}

int cmd_job_list(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return jobs(app, a, cli_value(a, "state"), &job_list, err);
}

static int get_job(struct app *app, const char *job, const char *tail, struct reply *ret,
                   struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf url = {0};

    bt_buf_str(&url, "/v1/jobs/");
    net_escape(&url, job);
    bt_buf_str(&url, tail);
    return app_get(app, bt_buf_text(&url), ret, err);
}

static void add_time(struct bt_buf *to, const char *before, int64_t us)
{
    char out[TEXT_MAX];

    if (us)
        bt_buf_printf(to, "%s%s", before, text_time(us, bt_now_us(), out));
}

static void show_end(const struct json *j, struct bt_buf *to)
{
    int64_t code = json_i64(json_get(j, "exit_code"), -1);
    int64_t sig = json_i64(json_get(j, "signal"), 0);

    if (sig > 0)
        bt_buf_printf(to, " (signal %" PRId64 ")", sig);
    else if (code >= 0)
        bt_buf_printf(to, " (exit %" PRId64 ")", code);
    if (*out_str(j, "reason") && !bt_streq(out_str(j, "reason"), "none")) {
        bt_buf_str(to, ": ");
        text_clean(to, out_str(j, "reason"));
    }
}

static void show_times(const struct json *j, struct bt_buf *to)
{
    int64_t started = out_when(j, "started_at"), ended = out_when(j, "ended_at");
    char out[TEXT_MAX];

    bt_buf_str(to, "\n  times     ");
    add_time(to, "submitted ", out_when(j, "submitted_at"));
    add_time(to, " · started ", started);
    add_time(to, " · ended ", ended);
    if (started && ended)
        bt_buf_printf(to, " (%s)", text_duration((ended - started) / BT_US_PER_S, out));
    if (!started && out_when(j, "start_at")) {
        add_time(to, " · starts ", out_when(j, "start_at"));
        add_time(to, ", no later than ", out_when(j, "promise_at"));
    }
}

static void show_head(const struct json *j, struct bt_buf *to)
{
    char out[TEXT_MAX];

    bt_buf_printf(to, "job %" PRId64 "  ", json_i64(json_get(j, "number"), 0));
    text_clean(to, out_str(j, "name"));
    if (json_i64(json_get(j, "task"), -1) >= 0)
        bt_buf_printf(to, "  task %" PRId64, json_i64(json_get(j, "task"), 0));
    bt_buf_str(to, "  ");
    if (json_i64(json_get(j, "min_accelerators"), 0))
        bt_buf_printf(to, "%" PRId64 " to ", json_i64(json_get(j, "min_accelerators"), 0));
    bt_buf_printf(to, "%" PRId64 " × %s, ", json_i64(json_get(j, "accelerators"), 0),
                  *out_str(j, "class") ? out_str(j, "class") : "any");
    if (json_i64(json_get(j, "memory_gb"), 0))
        bt_buf_printf(to, "%" PRId64 " GB or more, ", json_i64(json_get(j, "memory_gb"), 0));
    if (json_i64(json_get(j, "bandwidth_gb_per_s"), 0))
        bt_buf_printf(to, "%" PRId64 " GB/s or more, ",
                      json_i64(json_get(j, "bandwidth_gb_per_s"), 0));
    bt_buf_printf(to, "%s      %s · %s · %s · tier %" PRId64,
                  text_duration(json_i64(json_get(j, "walltime_s"), 0), out), out_str(j, "nation"),
                  out_str(j, "project"), out_str(j, "person"), json_i64(json_get(j, "tier"), 0));
}

/* What it asks for, and where its last attempt found it. */
static void show_datasets(const struct json *j, struct bt_buf *to)
{
    const struct json *names = json_get(j, "datasets"), *attempts = json_get(j, "attempts");
    const struct json *found =
        json_len(attempts) ? json_get(json_at(attempts, json_len(attempts) - 1), "datasets") : NULL;

    for (size_t i = 0; i < json_len(names); i++) {
        bt_buf_str(to, i ? "\n            " : "\n  data      ");
        text_clean(to, json_str(json_at(names, i), ""));
        for (size_t k = 0; k < json_len(found); k++) {
            const struct json *one = json_at(found, k);

            if (!bt_streq(out_str(one, "name"), json_str(json_at(names, i), "")))
                continue;
            bt_buf_str(to, "  ");
            text_clean(to, out_str(one, "path"));
            if (*out_str(one, "digest"))
                bt_buf_printf(to, "  %.19s…", out_str(one, "digest"));
        }
    }
}

static void show_record(struct app *app, const struct json *j, struct bt_buf *to)
{
    int64_t record = json_i64(json_get(j, "record"), -1);

    if (record < 0)
        return;
    bt_buf_printf(to, "\n  record    %" PRId64, record);
    if (*app->profile.public_url)
        bt_buf_printf(to, "  %s/record/%" PRId64, app->profile.public_url, record);
}

static void show_result(struct app *app, const struct json *j, struct bt_buf *to)
{
    int64_t result = json_i64(json_get(j, "result"), -1);

    if (result < 0) {
        add_time(to, "\n  result    due ", out_when(j, "result_due_at"));
        return;
    }
    bt_buf_printf(to, "\n  result    %" PRId64, result);
    if (*app->profile.public_url)
        bt_buf_printf(to, "  %s/record/%" PRId64, app->profile.public_url, result);
}

/* Most reasons begin as their line does. */
static void show_wait(const char *text, struct bt_buf *to)
{
    static const char begin[] = "waits for ";
    bool same = bt_starts(text, begin);

    bt_buf_str(to, same ? "\n  waits for " : "\n  why       ");
    text_clean(to, same ? text + sizeof begin - 1 : text);
}

int cmd_job_show(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    const struct json *j;
    char out[TEXT_MAX];
    int rc = get_job(app, a->pos[0], "", &reply, err);

    if (rc < 0)
        return rc;
    if (app->format != OUT_TABLE) {
        out_reply(app, &reply, &job_list);
        return 0;
    }
    j = reply.json;
    show_head(j, &text);
    bt_buf_printf(&text, "\n  state     %s%s%s", out_color(app->color, out_str(j, "state")),
                  out_str(j, "state"), out_plain(app->color));
    show_end(j, &text);
    if (*out_str(j, "waits_for") && !out_when(j, "started_at") && !out_when(j, "ended_at"))
        show_wait(out_str(j, "waits_for"), &text);
    show_times(j, &text);
    show_datasets(j, &text);
    bt_buf_printf(&text, "\n  quota     %s acc-h held", text_hours(out_mras(j, "hold_mras"), out));
    bt_buf_printf(&text, ", %s charged", text_hours(out_mras(j, "charged_mras"), out));
    bt_buf_printf(&text, "\n  attempts  %" PRId64, json_i64(json_get(j, "attempt"), 0));
    show_record(app, j, &text);
    show_result(app, j, &text);
    bt_buf_printf(&text, "\n  id        %s\n", out_str(j, "id"));
    out_text(&text);
    return 0;
}

int each_job(const char *jobs, int (*f)(void *arg, const char *job, struct bt_err *err), void *arg,
             struct bt_err *err)
{
    const char *dash = strchr(jobs, '-');
    BT_AUTO char *low = dash ? bt_strndup(jobs, (size_t)(dash - jobs)) : NULL;
    int64_t first, last;
    int most = 0;

    if (!dash || strlen(jobs) == BT_UUID_TEXT - 1)
        return f(arg, jobs, err);
    if (bt_parse_i64(low, "the first job", 1, INT64_MAX - JOB_MAX_TASKS, &first, err) < 0 ||
        bt_parse_i64(dash + 1, "the last job", first, first + JOB_MAX_TASKS - 1, &last, err) < 0)
        return bt_fail(err, BT_ERR_USAGE, "'%.60s' is no job and no range of at most %d jobs", jobs,
                       JOB_MAX_TASKS);
    for (int64_t n = first; n <= last; n++) {
        BT_AUTO char *job = bt_printf("%" PRId64, n);
        int rc = f(arg, job, err);

        if (rc < 0)
            return rc;
        most = BT_MAX(most, rc);
    }
    return most;
}

struct verb {
    struct app *app;
    const char *name, *body;
};

static int move_one(void *arg, const char *job, struct bt_err *err)
{
    static const struct out_col cols[] = {{"JOB", "id", OUT_STR, 0},
                                          {"STATE", "state", OUT_STATE, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "id", NULL};
    const struct verb *v = arg;
    BT_BUF_AUTO struct bt_buf url = {0};
    REPLY_AUTO struct reply reply = {0};
    int rc;

    bt_buf_str(&url, "/v1/jobs/");
    net_escape(&url, job);
    bt_buf_printf(&url, "/%s", v->name);
    rc = app_send(v->app, "POST", bt_buf_text(&url), v->body, &reply, err);
    if (rc < 0)
        return rc;
    if (v->app->format == OUT_TABLE || v->app->format == OUT_WIDE)
        app_note(v->app, "job %s is %s", job, out_str(reply.json, "state"));
    else
        out_reply(v->app, &reply, &how);
    return 0;
}

static int move(struct app *app, const struct cli_args *a, const char *verb, const char *body,
                struct bt_err *err)
{
    struct verb v = {app, verb, body};

    return each_job(a->pos[0], move_one, &v, err);
}

int cmd_job_cancel(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    const char *reason = cli_value(a, "reason");

    if (reason && !bt_is_utf8(reason, strlen(reason)))
        return bt_fail(err, BT_ERR_INVALID, "--reason is not UTF-8");
    jw_object(&w, NULL);
    if (reason)
        jw_str(&w, "reason", reason);
    jw_end_object(&w);
    return move(app, a, "cancel", bt_buf_text(&body), err);
}

int cmd_job_hold(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return move(app, a, "hold", "{}", err);
}

int cmd_job_release(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return move(app, a, "release", "{}", err);
}

static int wait_one(void *arg, const char *job, struct bt_err *err)
{
    return follow_job(arg, job, "", FOLLOW_WAIT, err);
}

int cmd_job_wait(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return each_job(a->pos[0], wait_one, app, err);
}

/* ---- explain ---- */

static void explain_sooner(const struct json *list, struct bt_buf *to)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *s = json_at(list, i);
        char out[TEXT_MAX];

        bt_buf_str(to, i ? "\n            " : "\n  sooner    ");
        text_clean(to, out_str(s, "option"));
        for (int n = text_width(out_str(s, "option")); n < 20; n++)
            bt_buf_char(to, ' ');
        bt_buf_printf(to, " %s",
                      out_when(s, "start_at") ? text_time(out_when(s, "start_at"), bt_now_us(), out)
                                              : "");
    }
}

static void explain_front(const struct json *list, struct bt_buf *to)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *f = json_at(list, i);
        bool runs = bt_streq(out_str(f, "state"), "running");

        bt_buf_printf(to, "%sjob %" PRId64 " of %s", i ? "\n            " : "\n  before it ",
                      json_i64(json_get(f, "number"), 0), out_str(f, "nation"));
        add_time(to, runs ? ", runs until " : ", starts ",
                 out_when(f, runs ? "ends_by" : "start_at"));
        if (runs)
            bt_buf_str(to, " at the latest");
    }
}

/* Why its promise is not the first one. */
static void explain_moves(const struct json *promises, struct bt_buf *to)
{
    for (size_t i = 1; i < json_len(promises); i++) {
        const struct json *p = json_at(promises, i);

        if (!*out_str(p, "text"))
            continue;
        add_time(to, "\n  moved     ", out_when(p, "given_at"));
        add_time(to, " from ", out_when(json_at(promises, i - 1), "start_by"));
        add_time(to, " to ", out_when(p, "start_by"));
        bt_buf_str(to, ": ");
        text_clean(to, out_str(p, "text"));
    }
}

/* How many nodes have what it asks for, and why others have not. */
static void explain_fit(const struct json *fit, struct bt_buf *to)
{
    static const char *const why[][2] = {{"away", "are at sites without its data or an account"},
                                         {"small", "have less memory"},
                                         {"slow", "were measured slower"},
                                         {"unmeasured", "were never measured"}};
    const char *between = ": ";

    if (!fit)
        return;
    bt_buf_printf(to, "\n  fit       %" PRId64 " of the %" PRId64 " nodes of its class",
                  json_i64(json_get(fit, "fit"), 0), json_i64(json_get(fit, "nodes"), 0));
    for (size_t i = 0; i < BT_ARRAY_LEN(why); i++) {
        int64_t n = json_i64(json_get(fit, why[i][0]), 0);

        if (!n)
            continue;
        bt_buf_printf(to, "%s%" PRId64 " %s", between, n, why[i][1]);
        between = ", ";
    }
}

static void explain_plan(const struct json *e, struct bt_buf *to)
{
    int64_t in_front = json_i64(json_get(e, "in_front"), -1);

    if (out_when(e, "start_at")) {
        add_time(to, "\n  starts    ", out_when(e, "start_at"));
        bt_buf_str(to, "  (plan)");
        add_time(to, "   no later than ", out_when(e, "promise_at"));
    }
    if (out_when(e, "floor_at") && out_when(e, "floor_at") != out_when(e, "start_at")) {
        add_time(to, "\n            at the earliest ", out_when(e, "floor_at"));
        bt_buf_str(to, " if running jobs end as their owners' jobs usually do");
    }
    if (*out_str(json_get(e, "reason"), "text"))
        show_wait(out_str(json_get(e, "reason"), "text"), to);
    explain_fit(json_get(e, "fit"), to);
    if (in_front > 0)
        bt_buf_printf(to, "\n  in front  %" PRId64 " jobs of the plan", in_front);
    explain_front(json_get(e, "front"), to);
    explain_sooner(json_get(e, "sooner"), to);
}

void explain_dry(const struct json *e, struct bt_buf *to)
{
    explain_plan(e, to);
    bt_buf_char(to, '\n');
}

static void explain_text(const struct json *e, const struct json *j, struct bt_buf *to)
{
    show_head(j, to);
    bt_buf_printf(to, "\n  state     %s", out_str(e, "state"));
    if (out_when(j, "started_at") || out_when(j, "ended_at")) {
        show_end(j, to);
        show_times(j, to);
    }
    explain_plan(e, to);
    explain_moves(json_get(j, "promises"), to);
    bt_buf_char(to, '\n');
}

int cmd_explain(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"JOB", "number", OUT_NUM, 0},
                                          {"STATE", "state", OUT_STATE, 0},
                                          {"STARTS", "start_at", OUT_WHEN, 0},
                                          {"BY", "promise_at", OUT_WHEN, 0},
                                          {"WAITS FOR", "reason.text", OUT_STR, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "number", NULL};
    REPLY_AUTO struct reply reply = {0};
    REPLY_AUTO struct reply job = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = get_job(app, a->pos[0], "/explain", &reply, err);

    if (rc < 0)
        return rc;
    if (app->format != OUT_TABLE) {
        out_reply(app, &reply, &how);
        return 0;
    }
    rc = get_job(app, a->pos[0], "", &job, err);
    if (rc < 0)
        return rc;
    explain_text(reply.json, job.json, &text);
    out_text(&text);
    return 0;
}
