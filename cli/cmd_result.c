/* cmd_result.c - what came out of a job, in its researcher's words: checked, signed, published.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/out.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/net/net.h"
#include "lib/record/jcs.h"
#include "lib/record/result.h"
#include "lib/record/sign.h"

enum { RESULT_FILE_MAX = 64 * 1024 };

/* Members that the facility knows; whoever writes them into a file is refused. */
static const char *const known[] = {"facility", "job", "person", "record"};

/* ---- the document: a file's members, and options that stand above them ---- */

struct doc {
    const struct cli_args *a;
    struct json_writer w;
    struct bt_err *err;
};

static int copy_member(void *arg, const char *key, const struct json *v)
{
    struct doc *d = arg;
    BT_BUF_AUTO struct bt_buf text = {0};
    const char *option = bt_streq(key, "languages")     ? "language"
                         : bt_streq(key, "evaluations") ? "evaluation"
                         : bt_streq(key, "links")       ? "link"
                                                        : key;

    for (size_t i = 0; i < BT_ARRAY_LEN(known); i++)
        if (bt_streq(key, known[i]))
            return bt_fail(d->err, BT_ERR_INVALID, "member '%s' is filled in from the job", key);
    if (cli_has(d->a, option))
        return 0;
    if (jcs_value(v, &text, d->err) < 0)
        return -d->err->code;
    jw_raw(&d->w, key, bt_buf_text(&text));
    return 0;
}

static int add_file(struct doc *d, const char *path)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *said = NULL;
    int rc = bt_file_read(path, RESULT_FILE_MAX, &text, d->err);

    if (rc >= 0)
        rc = json_parse(bt_buf_text(&text), text.n, RESULT_FILE_MAX, &said, d->err);
    if (rc >= 0 && json_is(said) != JSON_IS_OBJECT)
        rc = bt_fail(d->err, BT_ERR_INVALID, "%s does not hold a JSON object", path);
    return rc < 0 ? rc : json_each(said, copy_member, d);
}

static void add_evaluation(struct json_writer *w, const char *text)
{
    const char *value = strrchr(text, '=');
    size_t n = value ? (size_t)(value - text) : strlen(text);
    const char *at = memchr(text, '@', n);
    size_t n_name = at ? (size_t)(at - text) : n;

    jw_object(w, NULL);
    jw_strn(w, "name", text, n_name);
    jw_str(w, "value", value ? value + 1 : "");
    if (at)
        jw_strn(w, "dataset", at + 1, n - n_name - 1);
    jw_end_object(w);
}

static void add_list(struct doc *d, const char *option, const char *member)
{
    if (!cli_has(d->a, option))
        return;
    jw_array(&d->w, member);
    for (int i = 0; i < d->a->n_got; i++) {
        if (!bt_streq(d->a->got[i].opt->name, option))
            continue;
        if (bt_streq(option, "evaluation"))
            add_evaluation(&d->w, d->a->got[i].value);
        else
            jw_str(&d->w, NULL, d->a->got[i].value);
    }
    jw_end_array(&d->w);
}

static int write_doc(struct doc *d, const struct json *job, const struct json *me)
{
    static const char *const texts[] = {"title", "summary", "finding", "licence"};
    const char *file = cli_value(d->a, "file");
    int rc = 0;

    jw_object(&d->w, NULL);
    jw_str(&d->w, "facility", out_str(me, "facility"));
    jw_str(&d->w, "job", out_str(job, "id"));
    jw_str(&d->w, "person", out_str(me, "ledger_name"));
    jw_i64(&d->w, "record", json_i64(json_get(job, "record"), -1));
    if (file)
        rc = add_file(d, file);
    for (size_t i = 0; i < BT_ARRAY_LEN(texts); i++)
        if (cli_has(d->a, texts[i]))
            jw_str(&d->w, texts[i], cli_value(d->a, texts[i]));
    add_list(d, "language", "languages");
    add_list(d, "evaluation", "evaluations");
    add_list(d, "link", "links");
    jw_end_object(&d->w);
    return rc;
}

/* ---- signed and sent ---- */

/* One's own key of signatures; made when it is first needed, and kept beside the profile. */
static int signing_key(struct app *app, struct sign_key **ret, struct bt_err *err)
{
    BT_AUTO char *path = app_profile_path(app, "signing.pem");
    int rc;

    if (access(path, F_OK) == 0)
        return sign_key_load(path, ret, err);
    rc = sign_key_new(ret, err);
    if (rc == 0)
        rc = sign_key_save(*ret, path, err);
    if (rc == 0)
        app_note(app, "made the key of your signatures: %s", path);
    return rc;
}

static int envelope(struct app *app, const struct bt_buf *body, struct bt_buf *to,
                    struct bt_err *err)
{
    uint8_t sig[SIGN_SIZE], public[SIGN_PUBLIC_SIZE];
    BT_BUF_AUTO struct bt_buf text = {0};
    struct json_writer w = {.to = to};
    struct sign_key *key = NULL;
    int rc = signing_key(app, &key, err);

    if (rc == 0)
        rc = record_sign(key, bt_buf_text(body), body->n, sig, err);
    if (rc == 0) {
        sign_key_public(key, public);
        bt_base64(&text, sig, sizeof sig);
        jw_object(&w, NULL);
        jw_raw(&w, "body", bt_buf_text(body));
        jw_hex(&w, "key", public, sizeof public);
        jw_str(&w, "sig", bt_buf_text(&text));
        jw_end_object(&w);
    }
    sign_key_free(key);
    return rc;
}

static int publish(struct app *app, const struct json *job, const struct bt_buf *body,
                   struct bt_err *err)
{
    static const struct out_col cols[] = {{"ENTRY", "index", OUT_NUM, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "index", NULL};
    BT_AUTO char *path = bt_printf("/v1/jobs/%s/result", out_str(job, "id"));
    BT_BUF_AUTO struct bt_buf signed_body = {0};
    REPLY_AUTO struct reply reply = {0};
    int rc = envelope(app, body, &signed_body, err);

    if (rc == 0)
        rc = app_send(app, "POST", path, bt_buf_text(&signed_body), &reply, err);
    if (rc < 0)
        return rc;
    if (app->format != OUT_TABLE && app->format != OUT_WIDE)
        out_reply(app, &reply, &how);
    else
        app_note(app, "published as entry %" PRId64 "  %s/record/%" PRId64,
                 json_i64(json_get(reply.json, "index"), -1), app->profile.public_url,
                 json_i64(json_get(reply.json, "index"), -1));
    return 0;
}

/* What is missing is said with the whole command. */
static int told(const struct cli_args *a, const char *number, struct bt_err *err)
{
    if (cli_has(a, "file") ||
        (cli_has(a, "title") && cli_has(a, "summary") && cli_has(a, "finding")))
        return 0;
    return bt_next(err, bt_fail(err, BT_ERR_USAGE, "a result has a title, a summary and a finding"),
                   "beamtime result %.40s --finding positive --title '…' --summary '…'", number);
}

int cmd_result(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf url = {0}, text = {0}, body = {0};
    REPLY_AUTO struct reply job = {0}, me = {0};
    JSON_AUTO struct json *said = NULL;
    struct doc d = {.a = a, .w = {.to = &text}, .err = err};
    struct result_head head;
    int rc = told(a, a->pos[0], err);

    bt_buf_str(&url, "/v1/jobs/");
    net_escape(&url, a->pos[0]);
    if (rc == 0)
        rc = app_get(app, bt_buf_text(&url), &job, err);
    if (rc >= 0)
        rc = app_get(app, "/v1/whoami", &me, err);
    if (rc >= 0 && json_i64(json_get(job.json, "record"), -1) < 0)
        rc = bt_next(err, bt_fail(err, BT_ERR_JOB_STATE, "job %.40s has not ended yet", a->pos[0]),
                     "beamtime job wait %.40s", a->pos[0]);
    if (rc >= 0)
        rc = write_doc(&d, job.json, me.json);
    if (rc >= 0)
        rc = json_parse(bt_buf_text(&text), text.n, RESULT_FILE_MAX, &said, err);
    if (rc >= 0)
        rc = result_read(said, &head, &body, err);
    if (rc >= 0 && cli_has(a, "dry-run")) {
        bt_buf_char(&body, '\n');
        out_text(&body);
        return 0;
    }
    return rc < 0 ? rc : publish(app, job.json, &body, err);
}
