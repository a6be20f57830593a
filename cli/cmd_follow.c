/* cmd_follow.c - a job watched to its end: its states, its log, a training's progress.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/curve.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/domain/job.h"

enum { EXIT_TIMED_OUT = 124, EXIT_SIGNAL = 128, PLAIN_EVERY_US = 5000000 };

/* ---- one stream ---- */

void stream_stdout(void *arg, const char *p, size_t n)
{
    (void)arg;
    fwrite(p, 1, n, stdout);
    fflush(stdout);
}

int stream_copy(struct app *app, const struct stream_ask *ask,
                void (*to)(void *arg, const char *p, size_t n), void *arg, struct bt_err *err)
{
    int64_t offset = 0;

    for (;;) {
        BT_BUF_AUTO struct bt_buf url = {0};
        REPLY_AUTO struct reply reply = {0};
        int rc;

        bt_buf_str(&url, "/v1/jobs/");
        net_escape(&url, ask->job);
        bt_buf_printf(&url, "/log?stream=%s&offset=%" PRId64 "&wait=%d", ask->stream, offset,
                      ask->on ? 25 : 0);
        if (ask->attempt)
            bt_buf_printf(&url, "&attempt=%" PRId64, ask->attempt);
        rc = app_get(app, bt_buf_text(&url), &reply, err);
        if (rc < 0)
            return rc;
        if (reply.body.n)
            to(arg, reply.body.p, reply.body.n);
        if (reply.eof || (!ask->on && !reply.body.n) || ferror(stdout))
            return 0;
        offset = reply.offset >= 0 ? reply.offset : offset + (int64_t)reply.body.n;
    }
}

/* ---- states ---- */

struct watch {
    struct app *app;
    const char *job;
    char state[24];
    struct reply last; /* the job as last seen */
};

static bool terminal(const char *state)
{
    int s = job_state_parse(state);

    return s >= 0 && job_state_terminal((enum job_state)s);
}

static bool waiting(const char *state)
{
    return bt_streq(state, "held") || bt_streq(state, "queued") || bt_streq(state, "starting");
}

/* Looks at the job, with `wait` until its state differs from the known one. */
static int look(struct watch *w, bool wait, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf url = {0};
    struct reply reply = {0};
    int rc;

    bt_buf_str(&url, "/v1/jobs/");
    net_escape(&url, w->job);
    if (wait) {
        bt_buf_str(&url, "/watch");
        url_query(&url, "after", w->state);
        url_query(&url, "wait", "25");
    }
    rc = app_get(w->app, bt_buf_text(&url), &reply, err);
    if (rc < 0) {
        reply_done(&reply);
        return rc;
    }
    reply_done(&w->last);
    w->last = reply;
    bt_copy(w->state, sizeof w->state, out_str(reply.json, "state"));
    return 0;
}

/* Waits while `stay` holds of the state, telling each change. */
static int wait_while(struct watch *w, bool (*stay)(const char *state), struct bt_err *err)
{
    char told[24];
    int rc = w->last.json ? 0 : look(w, false, err);

    told[0] = '\0';
    while (rc >= 0 && stay(w->state)) {
        if (!bt_streq(told, w->state) && !bt_streq(w->state, "starting") &&
            !bt_streq(w->state, "finishing") && !bt_streq(w->state, "running")) {
            const char *why = out_str(w->last.json, "waits_for");

            if (!*why && bt_streq(w->state, "held"))
                why = out_str(w->last.json, "reason");
            if (*why && !bt_streq(why, "none") && !bt_streq(why, "starts now"))
                app_note(w->app, "%s: %s", w->state, why);
            bt_copy(told, sizeof told, w->state);
        }
        rc = look(w, true, err);
    }
    return rc;
}

static bool not_terminal(const char *state)
{
    return !terminal(state);
}

/* ---- a training's metrics ---- */

struct progress {
    struct app *app;
    struct lines lines;
    struct metric last;
    bool any;
    int64_t told_step;
    int64_t told_us;
};

static int columns(void)
{
    struct winsize size;

    return ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static void show_progress(struct progress *p, bool end)
{
    BT_BUF_AUTO struct bt_buf text = {0};

    if (p->app->tty_err) {
        bt_buf_str(&text, "\r");
        progress_bar(&p->last, columns(), &text);
        bt_buf_str(&text, end ? "\x1b[K\n" : "\x1b[K");
    } else {
        progress_line(&p->last, &text);
        bt_buf_char(&text, '\n');
    }
    fwrite(text.p, 1, text.n, stderr);
    p->told_us = bt_mono_us();
    p->told_step = p->last.step;
}

static void metrics_line(void *arg, const char *line, size_t n)
{
    struct progress *p = arg;
    struct metric m;

    if (!metric_read(line, n, &m))
        return;
    p->last = m;
    p->any = true;
}

static void metrics_part(void *arg, const char *part, size_t n)
{
    struct progress *p = arg;

    lines_feed(&p->lines, part, n, metrics_line, p);
    if (!p->any || p->app->quiet)
        return;
    if (p->told_step != p->last.step &&
        (p->app->tty_err || bt_mono_us() - p->told_us >= PLAIN_EVERY_US))
        show_progress(p, false);
}

static int follow_metrics(struct watch *w, int64_t attempt, struct bt_err *err)
{
    struct stream_ask ask = {w->job, "metrics", attempt, true};
    struct progress p = {.app = w->app, .told_step = -1};
    int rc = stream_copy(w->app, &ask, metrics_part, &p, err);

    if (p.any && !w->app->quiet && (w->app->tty_err || p.told_step != p.last.step))
        show_progress(&p, true);
    lines_done(&p.lines);
    return rc;
}

/* ---- both logs ---- */

struct other {
    struct app app;
    struct stream_ask ask;
    struct bt_err err;
    int rc;
};

static void to_stderr(void *arg, const char *p, size_t n)
{
    (void)arg;
    fwrite(p, 1, n, stderr);
}

static void *other_stream(void *arg)
{
    struct other *o = arg;

    o->rc = stream_copy(&o->app, &o->ask, to_stderr, NULL, &o->err);
    return NULL;
}

/* Standard output here, standard error in a second thread over its own connection. */
static int follow_logs(struct watch *w, int64_t attempt, struct bt_err *err)
{
    struct stream_ask out = {w->job, "out", attempt, true};
    struct other o = {.ask = {w->job, "err", attempt, true}};
    pthread_t thread;
    int rc = app_twin(w->app, &o.app, err);

    if (rc < 0)
        return rc;
    if (pthread_create(&thread, NULL, other_stream, &o) != 0) {
        app_done(&o.app);
        return bt_fail(err, BT_ERR_INTERNAL, "no thread could be made for the second stream");
    }
    rc = stream_copy(w->app, &out, stream_stdout, NULL, err);
    pthread_join(thread, NULL);
    if (rc >= 0 && o.rc < 0)
        rc = bt_fail(err, o.err.code, "%s", o.err.text);
    app_done(&o.app);
    return rc;
}

/* ---- the end ---- */

/* A training that failed said why on its standard error, which its progress does not show. */
static void show_why(struct watch *w)
{
    struct stream_ask ask = {w->job, "err", 0, false};

    if (!bt_streq(out_str(w->last.json, "kind"), "train") || bt_streq(w->state, "completed"))
        return;
    if (stream_copy(w->app, &ask, to_stderr, NULL, NULL) < 0)
        app_note(w->app, "its standard error cannot be read");
}

static int status_of(const struct json *j)
{
    const char *state = out_str(j, "state");
    int64_t code = json_i64(json_get(j, "exit_code"), 0);
    int64_t sig = json_i64(json_get(j, "signal"), 0);

    if (bt_streq(state, "completed"))
        return 0;
    if (bt_streq(state, "timeout"))
        return EXIT_TIMED_OUT;
    if (sig > 0 && sig < 64)
        return EXIT_SIGNAL + (int)sig;
    return code > 0 && code < 256 ? (int)code : 1;
}

static void tell_end(struct app *app, const struct json *j)
{
    int64_t started = out_when(j, "started_at"), ended = out_when(j, "ended_at");
    int64_t record = json_i64(json_get(j, "record"), -1);
    BT_BUF_AUTO struct bt_buf t = {0};
    char out[TEXT_MAX];

    bt_buf_printf(&t, "done    %s", out_str(j, "state"));
    if (!bt_streq(out_str(j, "state"), "completed") && *out_str(j, "reason") &&
        !bt_streq(out_str(j, "reason"), "none")) {
        bt_buf_str(&t, ": ");
        text_clean(&t, out_str(j, "reason"));
    }
    if (started && ended)
        bt_buf_printf(&t, " in %s", text_duration((ended - started) / BT_US_PER_S, out));
    bt_buf_printf(&t, " · %s acc-h charged", text_hours(out_mras(j, "charged_mras"), out));
    if (record >= 0)
        bt_buf_printf(&t, " · record %" PRId64, record);
    app_note(app, "%s", bt_buf_text(&t));
}

static int follow_attempt(struct watch *w, struct bt_err *err)
{
    int64_t attempt = json_i64(json_get(w->last.json, "attempt"), 0);
    int rc;

    if (bt_streq(out_str(w->last.json, "kind"), "train"))
        rc = follow_metrics(w, attempt, err);
    else
        rc = follow_logs(w, attempt, err);
    /* The log is complete; the job may run again, so look where it stands. */
    return rc < 0 ? rc : look(w, false, err);
}

static bool running(const char *state)
{
    return bt_streq(state, "running") || bt_streq(state, "finishing");
}

int follow_job(struct app *app, const char *job, const char *state, enum follow how,
               struct bt_err *err)
{
    struct watch w = {.app = app, .job = job};
    int64_t followed = 0;
    int rc = look(&w, false, err);

    (void)state;
    while (rc >= 0 && how == FOLLOW_LOG) {
        rc = wait_while(&w, waiting, err);
        if (rc < 0)
            break;
        if (json_i64(json_get(w.last.json, "attempt"), 0) != followed) {
            followed = json_i64(json_get(w.last.json, "attempt"), 0);
            rc = follow_attempt(&w, err);
        } else if (running(w.state)) {
            rc = wait_while(&w, running, err);
        }
        if (terminal(w.state) && json_i64(json_get(w.last.json, "attempt"), 0) == followed)
            break;
    }
    if (rc >= 0)
        rc = wait_while(&w, not_terminal, err);
    if (rc >= 0) {
        if (how == FOLLOW_WAIT && app->format == OUT_JSON)
            out_json(&w.last);
        if (how == FOLLOW_LOG)
            show_why(&w);
        tell_end(app, w.last.json);
        rc = status_of(w.last.json);
    }
    reply_done(&w.last);
    return rc;
}

/* ---- commands ---- */

int cmd_job_log(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    const char *stream = cli_has(a, "stream") ? cli_value(a, "stream") : "out";
    struct stream_ask ask = {a->pos[0], stream, 0, cli_has(a, "follow")};
    int rc = 0;

    if (!bt_streq(stream, "out") && !bt_streq(stream, "err") && !bt_streq(stream, "metrics"))
        return bt_fail(err, BT_ERR_USAGE, "--stream is '%.20s', not out, err or metrics", stream);
    if (cli_has(a, "attempt"))
        rc = bt_parse_i64(cli_value(a, "attempt"), "--attempt", 1, 1000, &ask.attempt, err);
    return rc < 0 ? rc : stream_copy(app, &ask, stream_stdout, NULL, err);
}

struct drawing {
    struct lines lines;
    struct curve curve;
    struct bt_buf evaluation; /* the last one, as a line */
};

enum { LANGUAGES_NAMED = 7 };

static void draw_line(void *arg, const char *line, size_t n)
{
    struct drawing *d = arg;
    struct bt_buf evaluation = {0};
    struct metric m;

    if (metric_read(line, n, &m))
        curve_add(&d->curve, m.loss);
    if (metric_evaluation(line, n, LANGUAGES_NAMED, &evaluation)) {
        bt_buf_done(&d->evaluation);
        d->evaluation = evaluation;
    }
}

static void draw_part(void *arg, const char *p, size_t n)
{
    struct drawing *d = arg;

    lines_feed(&d->lines, p, n, draw_line, d);
}

int cmd_job_curve(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    struct stream_ask ask = {a->pos[0], "metrics", 0, false};
    BT_BUF_AUTO struct bt_buf text = {0};
    struct drawing d = {0};
    int rc = stream_copy(app, &ask, draw_part, &d, err);

    if (rc >= 0 && d.curve.n < 2)
        rc = bt_fail(err, BT_ERR_NOT_FOUND, "job %s has told no loss yet", a->pos[0]);
    if (rc >= 0) {
        curve_draw(&d.curve, 60, 7, &text);
        bt_buf_add(&text, bt_buf_text(&d.evaluation), d.evaluation.n);
        out_text(&text);
    }
    lines_done(&d.lines);
    curve_done(&d.curve);
    bt_buf_done(&d.evaluation);
    return rc;
}
