/* cmd_ledger.c - the ledger and the facility as the API shows them.
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

static const struct out_col cols[] = {{"INDEX", "index", OUT_NUM, 0},
                                      {"KIND", "kind", OUT_STR, 0},
                                      {"JOB", "body.body.number", OUT_NUM, 1},
                                      {"PROJECT", "body.body.nation/body.body.project", OUT_STR, 0},
                                      {"NAME", "body.body.name", OUT_STR, 0},
                                      {"OUTCOME", "body.body.outcome", OUT_STATE, 0},
                                      {"ENDED", "body.body.ended", OUT_WHEN, 0},
                                      {"CHARGED acc-h", "body.body.charged_mras", OUT_HOURS, 0},
                                      {"LEAF", "leaf_sha256", OUT_STR, 1}};
static const struct out_list entries = {cols, BT_ARRAY_LEN(cols), "index", "the ledger is empty"};

int cmd_ledger_list(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const char *const filters[] = {"from", "kind", "job", "nation", "limit"};
    BT_BUF_AUTO struct bt_buf url = {0};
    REPLY_AUTO struct reply reply = {0};
    int rc;

    bt_buf_str(&url, "/v1/ledger");
    for (size_t i = 0; i < BT_ARRAY_LEN(filters); i++)
        url_query(&url, filters[i], cli_value(a, filters[i]));
    if (!cli_has(a, "from")) /* a cursor of the ledger is an index */
        url_query(&url, "from", cli_value(a, "cursor"));
    rc = app_get(app, bt_buf_text(&url), &reply, err);
    if (rc < 0)
        return rc;
    out_reply(app, &reply, &entries);
    return 0;
}

static int each_member(void *arg, const char *key, const struct json *v)
{
    struct bt_buf *to = arg;
    size_t n = json_len(v);

    if (json_is(v) == JSON_IS_OBJECT) {
        bt_buf_printf(to, "  %s\n", key);
        for (const char *const *k =
                 (const char *const[]){"status", "files", "bytes", "root", "sha256", "loss", NULL};
             *k; k++) {
            const struct json *m = json_get(v, *k);

            if (json_is(m) == JSON_IS_STR)
                bt_buf_printf(to, "    %-16s %s\n", *k, json_str(m, ""));
            else if (json_is(m) == JSON_IS_INT)
                bt_buf_printf(to, "    %-16s %" PRId64 "\n", *k, json_i64(m, 0));
        }
        return 0;
    }
    bt_buf_printf(to, "  %-18s ", key);
    if (json_is(v) == JSON_IS_STR)
        text_clean(to, json_str(v, ""));
    else if (json_is(v) == JSON_IS_INT)
        bt_buf_printf(to, "%" PRId64, json_i64(v, 0));
    for (size_t i = 0; json_is(v) == JSON_IS_ARRAY && i < n; i++)
        bt_buf_printf(to, "%s%s", i ? ", " : "", json_str(json_at(v, i), ""));
    bt_buf_char(to, '\n');
    return 0;
}

int cmd_ledger_show(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf url = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    REPLY_AUTO struct reply reply = {0};
    const struct json *body;
    int rc;

    bt_buf_str(&url, "/v1/ledger/");
    net_escape(&url, a->pos[0]);
    rc = app_get(app, bt_buf_text(&url), &reply, err);
    if (rc < 0)
        return rc;
    if (app->format != OUT_TABLE) {
        out_reply(app, &reply, &entries);
        return 0;
    }
    body = json_get(reply.json, "body");
    if (json_is(json_get(body, "body")) == JSON_IS_OBJECT)
        body = json_get(body, "body");
    bt_buf_printf(&text, "entry %" PRId64 "  %s\n", json_i64(json_get(reply.json, "index"), 0),
                  out_str(reply.json, "kind"));
    json_each(body, each_member, &text);
    bt_buf_printf(&text, "  %-18s %s\n", "leaf_sha256", out_str(reply.json, "leaf_sha256"));
    out_text(&text);
    return 0;
}

/* ---- the facility ---- */

static int count_member(void *arg, const char *key, const struct json *v)
{
    struct bt_buf *to = arg;

    if (json_is(v) != JSON_IS_INT || json_i64(v, 0) == 0)
        return 0;
    bt_buf_printf(to, "%s%" PRId64 " %s", to->n ? ", " : "", json_i64(v, 0), key);
    return 0;
}

static void counts(const char *title, const struct json *o, struct bt_buf *to)
{
    BT_BUF_AUTO struct bt_buf line = {0};

    json_each(o, count_member, &line);
    bt_buf_printf(to, "  %-9s %s\n", title, line.n ? bt_buf_text(&line) : "none");
}

int cmd_status(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col status_cols[] = {{"FACILITY", "facility", OUT_STR, 0},
                                                 {"VERSION", "version", OUT_STR, 0},
                                                 {"EPOCH", "epoch", OUT_NUM, 0},
                                                 {"SEQ", "seq", OUT_NUM, 0}};
    static const struct out_list how = {status_cols, BT_ARRAY_LEN(status_cols), "facility", NULL};
    BT_BUF_AUTO struct bt_buf text = {0};
    REPLY_AUTO struct reply reply = {0};
    const struct json *problems, *ledger;
    int rc = app_get(app, "/v1/status", &reply, err);

    (void)a;
    if (rc < 0)
        return rc;
    if (app->format != OUT_TABLE) {
        out_reply(app, &reply, &how);
        return 0;
    }
    bt_buf_printf(&text, "%s  beamtimed %s, epoch %" PRId64 ", batch %" PRId64 "\n",
                  out_str(reply.json, "facility"), out_str(reply.json, "version"),
                  json_i64(json_get(reply.json, "epoch"), 0),
                  json_i64(json_get(reply.json, "seq"), 0));
    counts("jobs", json_get(reply.json, "jobs"), &text);
    counts("nodes", json_get(reply.json, "nodes"), &text);
    ledger = json_get(reply.json, "ledger");
    bt_buf_printf(
        &text, "  ledger    %" PRId64 " entries, %" PRId64 " under the newest checkpoint\n",
        json_i64(json_get(ledger, "size"), 0), json_i64(json_get(ledger, "checkpoint_size"), 0));
    problems = json_get(reply.json, "problems");
    for (size_t i = 0; i < json_len(problems); i++) {
        bt_buf_str(&text, "  problem   ");
        text_clean(&text, out_str(json_at(problems, i), "text"));
        bt_buf_str(&text, "\n            ");
        text_clean(&text, out_str(json_at(problems, i), "next"));
        bt_buf_char(&text, '\n');
    }
    if (!json_len(problems))
        bt_buf_str(&text, "  no problem is known\n");
    out_text(&text);
    return 0;
}

int cmd_policy(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    REPLY_AUTO struct reply reply = {0};
    char out[TEXT_MAX];
    int rc = app_get(app, "/v1/policy", &reply, err);

    (void)a;
    if (rc < 0)
        return rc;
    if (app->format == OUT_JSON) {
        out_json(&reply);
        return 0;
    }
    app_note(app, "policy %.16s…, in force since %s", out_str(reply.json, "digest"),
             text_time(out_when(reply.json, "at"), bt_now_us(), out));
    bt_buf_str(&text, out_str(reply.json, "text"));
    bt_buf_char(&text, '\n');
    out_text(&text);
    return 0;
}
