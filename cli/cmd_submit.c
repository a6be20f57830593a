/* cmd_submit.c - submit and run: flags and files become a job document, the answer is told.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/fail.h"
#include "cli/jobreq.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/api/jobdoc.h"
#include "lib/api/limits.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

/* "/a/train.sh" -> "train" */
static char *base_name(const char *path, bool cut_suffix)
{
    const char *slash = strrchr(path, '/');
    const char *from = slash ? slash + 1 : path;
    const char *dot = cut_suffix ? strrchr(from, '.') : NULL;
    size_t n = dot && dot != from ? (size_t)(dot - from) : strlen(from);

    return bt_strndup(from, BT_MIN(n, JOB_NAME_MAX - 1));
}

static int read_stdin(struct bt_buf *to, struct bt_err *err)
{
    char part[4096];
    ssize_t n;

    to->max = LIMIT_CODE_BYTES;
    while ((n = read(0, part, sizeof part)) > 0)
        bt_buf_add(to, part, (size_t)n);
    if (n < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read standard input");
    if (to->over)
        return bt_fail(err, BT_ERR_TOO_LARGE, "the script has more than %d bytes",
                       LIMIT_CODE_BYTES);
    return 0;
}

static int take_code(struct jobreq *r, const char *path, struct bt_err *err)
{
    struct bt_buf text = {0};
    int rc = !bt_streq(path, "-") ? bt_file_read(path, LIMIT_CODE_BYTES, &text, err)
                                  : read_stdin(&text, err);

    if (rc >= 0 && text.p && memchr(text.p, '\0', text.n))
        rc = bt_fail(err, BT_ERR_INVALID, "%s is not a text file", path);
    if (rc < 0) {
        bt_buf_done(&text);
        return rc;
    }
    r->code = bt_buf_take(&text);
    if (!r->code)
        r->code = bt_strdup("");
    if (!bt_streq(path, "-"))
        r->name = base_name(path, true);
    return jobreq_directives(r, err);
}

static int take_script(struct jobreq *r, const char *path, struct bt_err *err)
{
    int rc = take_code(r, path, err);

    r->kind = JOB_SCRIPT;
    if (rc >= 0 && !bt_starts(r->code, "#!"))
        return bt_fail(err, BT_ERR_USAGE,
                       "%s does not begin with #! and a shell, such as #!/bin/sh; a command goes "
                       "behind --",
                       !bt_streq(path, "-") ? path : "the script");
    return rc;
}

static int take_command(struct jobreq *r, const struct cli_args *a, struct bt_err *err)
{
    if (a->n_rest == 0)
        return bt_fail(err, BT_ERR_USAGE, "a command has to follow --");
    if (a->n_rest > LIMIT_ARGV)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a command has at most %d words", LIMIT_ARGV);
    r->kind = JOB_COMMAND;
    r->argv = a->rest;
    r->argc = a->n_rest;
    r->name = base_name(a->rest[0], false);
    return 0;
}

/* What is submitted: exactly one of --train, --coll, --wrap, -- COMMAND, SCRIPT. */
static int take_what(struct jobreq *r, const struct cli_args *a, struct bt_err *err)
{
    const char *train = cli_value(a, "train"), *coll = cli_value(a, "coll");
    const char *wrap = cli_value(a, "wrap");
    int n = (train != NULL) + (coll != NULL) + (wrap != NULL) + (a->rest != NULL) + (a->n_pos > 0);
    int rc;

    if (n > 1)
        return bt_fail(err, BT_ERR_USAGE,
                       "a job is one thing: a script, --train, --coll, --wrap or -- COMMAND");
    if (train || coll) {
        rc = take_code(r, train ? train : coll, err);
        r->kind = train ? JOB_TRAIN : JOB_COLL;
        return rc;
    }
    if (a->rest)
        return take_command(r, a, err);
    if (wrap) {
        r->kind = JOB_SCRIPT;
        r->code = bt_printf("#!/bin/sh\n%s\n", wrap);
        r->name = bt_strdup("wrap");
        return 0;
    }
    if (!a->n_pos && isatty(0))
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "nothing to submit"),
                       "beamtime submit --help");
    return take_script(r, a->n_pos ? a->pos[0] : "-", err);
}

static int take_flags(struct jobreq *r, const struct cli_args *a, struct bt_err *err)
{
    for (int i = 0; i < a->n_got; i++) {
        const char *name = a->got[i].opt->name;
        const struct directive_row *row = directive_find(LAYER_FLAG, name, strlen(name), 0);
        bool format = bt_streq(name, "output") && format_parse(a->got[i].value) >= 0;
        int rc;

        if (!row || format)
            continue;
        rc = jobreq_set(r, LAYER_FLAG, row, a->got[i].value, "", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The one project of a person who has only one. */
static int take_project(struct app *app, struct jobreq *r, struct bt_err *err)
{
    REPLY_AUTO struct reply who = {0};
    const struct json *list;
    int rc;

    if (r->project)
        return 0;
    if (app->project) {
        r->project = bt_strdup(app->project);
        return 0;
    }
    rc = app_get(app, "/v1/whoami", &who, err);
    if (rc < 0)
        return rc;
    list = json_get(who.json, "projects");
    if (json_len(list) == 1) {
        r->project = bt_strdup(out_str(json_at(list, 0), "name"));
        return 0;
    }
    return bt_next(err,
                   bt_fail(err, BT_ERR_USAGE,
                           "you are in %zu projects; say which one with --project", json_len(list)),
                   "beamtime whoami");
}

/* afterok:12 names a number, afterok:12-111 the tasks of an array; the document wants the id. */
static int find_after(struct app *app, const struct jobreq *r, struct bt_uuid *ret,
                      struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf url = {0};
    REPLY_AUTO struct reply job = {0};
    BT_AUTO char *first = NULL;
    bool array;
    int rc;

    if (!r->after || bt_uuid_parse(r->after, ret) == 0)
        return 0;
    first = bt_strndup(r->after, strcspn(r->after, "-"));
    array = strlen(first) < strlen(r->after);
    bt_buf_str(&url, "/v1/jobs/");
    net_escape(&url, first);
    rc = app_get(app, bt_buf_text(&url), &job, err);
    if (rc >= 0 && bt_uuid_parse(out_str(job.json, array ? "array" : "id"), ret) < 0)
        rc = array ? bt_fail(err, BT_ERR_INVALID, "job %s is no task of an array", first)
                   : bt_fail(err, BT_ERR_INTERNAL, "the facility gave no id for job %s", first);
    return rc;
}

/* The document, checked as the daemon will check it. */
static int make_document(struct app *app, struct jobreq *r, const struct cli_args *a,
                         struct bt_buf *doc, struct bt_err *err)
{
    struct bt_uuid after = {0};
    struct job_spec spec;
    int rc = take_what(r, a, err);

    if (rc >= 0)
        rc = take_flags(r, a, err);
    if (r->notes.n)
        app_note(app, "%.*s", (int)r->notes.n - 1, r->notes.p);
    if (rc >= 0 && cli_has(a, "print") && !r->project && !app->project) {
        app_note(app, "--print asks no facility: 'project' stands for your project");
        r->project = bt_strdup("project");
    }
    if (rc >= 0)
        rc = take_project(app, r, err);
    if (rc >= 0)
        rc = find_after(app, r, &after, err);
    if (rc >= 0)
        rc = jobreq_write(r, bt_uuid_new(bt_now_us()), after, doc, err);
    return rc < 0 ? rc : jobdoc_parse(bt_buf_text(doc), doc->n, &spec, NULL, err);
}

static void add_rules(const struct json *rules, struct bt_buf *to)
{
    for (size_t i = 0; i < json_len(rules); i++)
        bt_buf_printf(to, "%s%s", i ? ", " : " (", json_str(json_at(rules, i), ""));
    if (json_len(rules))
        bt_buf_char(to, ')');
}

/* "12", or "12-111" of an array, as the verbs on jobs take it. */
static const char *numbers(const struct json *j, char *to, size_t size)
{
    int64_t first = json_i64(json_get(j, "number"), 0), n = json_i64(json_get(j, "tasks"), 0);

    if (n)
        snprintf(to, size, "%" PRId64 "-%" PRId64, first, first + n - 1);
    else
        snprintf(to, size, "%" PRId64, first);
    return to;
}

static void tell(const struct app *app, const struct jobreq *r, const struct json *j, bool dry)
{
    BT_BUF_AUTO struct bt_buf t = {0};
    char out[TEXT_MAX], text[48];
    int64_t start = out_when(j, "start_at"), promise = out_when(j, "promise_at");
    int64_t now = bt_now_us();

    if (dry)
        bt_buf_str(&t, "would be accepted");
    else
        bt_buf_printf(&t, "job%s %s accepted", json_get(j, "tasks") ? "s" : "",
                      numbers(j, text, sizeof text));
    if (json_get(j, "tasks"))
        bt_buf_printf(&t, " · %" PRId64 " tasks", json_i64(json_get(j, "tasks"), 0));
    if (bt_streq(out_str(j, "state"), "held"))
        bt_buf_printf(&t, " · held: %s", out_str(j, "reason"));
    else if (start && start <= now + 5 * BT_US_PER_S)
        bt_buf_str(&t, " · starts now");
    else if (start)
        bt_buf_printf(&t, " · starts %s", text_time(start, now, out));
    if (promise)
        bt_buf_printf(&t, " (promise %s)", text_time(promise, now, out));
    bt_buf_printf(&t, " · tier %" PRId64, json_i64(json_get(j, "tier"), 0));
    add_rules(json_get(j, "rules"), &t);
    bt_buf_printf(&t, " · holds %s acc-h", text_hours(out_mras(j, "hold_mras"), out));
    if (r->walltime_s < 0)
        bt_buf_printf(&t, " · --time not given: %s", text_duration(JOBREQ_WALLTIME_S, out));
    if (dry && app->format == OUT_TABLE)
        explain_dry(j, &t);
    app_note(app, "%.*s", (int)(t.n - (t.n && t.p[t.n - 1] == '\n')), t.p);
}

/* What goes to stdout, for pipes: the number, or the facility's answer. */
static void answer(const struct app *app, const struct reply *reply, bool dry)
{
    static const struct out_col cols[] = {
        {"JOB", "number", OUT_NUM, 0},       {"STATE", "state", OUT_STATE, 0},
        {"TIER", "tier", OUT_NUM, 0},        {"HOLDS acc-h", "hold_mras", OUT_HOURS, 0},
        {"STARTS", "start_at", OUT_WHEN, 0}, {"BY", "promise_at", OUT_WHEN, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "number", NULL};
    char text[48];

    if (app->format != OUT_TABLE)
        out_reply(app, reply, &how);
    else if (!app->tty_out && !dry)
        printf("%s\n", numbers(reply->json, text, sizeof text));
    fflush(stdout);
}

static int wait_task(void *arg, const char *job, struct bt_err *err)
{
    return follow_job(arg, job, "", FOLLOW_WAIT, err);
}

static int submit(struct app *app, const struct cli_args *a, enum follow how, bool follow,
                  struct bt_err *err)
{
    bool dry = cli_has(a, "dry-run");
    BT_BUF_AUTO struct bt_buf doc = {0};
    REPLY_AUTO struct reply reply = {0};
    struct jobreq r;
    char text[48];
    int rc;

    jobreq_init(&r);
    r.environ_of = environ;
    rc = make_document(app, &r, a, &doc, err);
    if (rc >= 0 && cli_has(a, "print")) {
        bt_buf_char(&doc, '\n');
        out_text(&doc);
        jobreq_done(&r);
        return 0;
    }
    if (rc >= 0)
        rc = app_send(app, "POST", dry ? "/v1/jobs?dry_run=1" : "/v1/jobs", bt_buf_text(&doc),
                      &reply, err);
    if (rc >= 0) {
        tell(app, &r, reply.json, dry);
        if (!follow)
            answer(app, &reply, dry);
        rc = 0;
    }
    jobreq_done(&r);
    if (rc < 0 || !follow || dry)
        return rc;
    if (json_get(reply.json, "tasks"))
        return each_job(numbers(reply.json, text, sizeof text), wait_task, app, err);
    return follow_job(app, out_str(reply.json, "id"), out_str(reply.json, "state"), how, err);
}

int cmd_submit(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    bool log = cli_has(a, "follow");

    return submit(app, a, log ? FOLLOW_LOG : FOLLOW_WAIT, log || cli_has(a, "wait"), err);
}

int cmd_run(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    if (!a->rest)
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "run wants -- and a command"),
                       "beamtime run -n 1 -- echo hello");
    return submit(app, a, FOLLOW_LOG, true, err);
}
