/* cmd_report.c - accounts of a period: shares of the nations, promises kept.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

static int get_period(struct app *app, const struct cli_args *a, const char *path,
                      struct reply *ret, struct bt_err *err)
{
    static const char *const ends[] = {"since", "until"};
    BT_BUF_AUTO struct bt_buf url = {0};

    bt_buf_str(&url, path);
    for (size_t i = 0; i < BT_ARRAY_LEN(ends); i++) {
        char text[BT_TIME_MAX];
        int64_t us;

        if (!cli_has(a, ends[i]))
            continue;
        if (past_arg(cli_value(a, ends[i]), ends[i], &us, err) < 0)
            return -(int)BT_ERR_INVALID;
        url_query(&url, ends[i], bt_time_format(us, text));
    }
    return app_get(app, bt_buf_text(&url), ret, err);
}

int cmd_report_fairness(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"NATION", "nation", OUT_STR, 0},
                                          {"JOBS", "jobs", OUT_NUM, 0},
                                          {"ENTITLED acc-h", "entitled_acc_s", OUT_ACC_S, 0},
                                          {"USED", "used_acc_s", OUT_ACC_S, 0},
                                          {"OWNED", "owned_acc_s", OUT_ACC_S, 1},
                                          {"LENT", "lent_acc_s", OUT_ACC_S, 0},
                                          {"BORROWED", "borrowed_acc_s", OUT_ACC_S, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "nation", "there is no nation"};
    REPLY_AUTO struct reply reply = {0};
    int rc = get_period(app, a, "/v1/reports/fairness", &reply, err);

    if (rc >= 0)
        out_reply(app, &reply, &how);
    return BT_MIN(rc, 0);
}

static void line(struct bt_buf *to, const char *name, const struct json *r, const char *key)
{
    bt_buf_printf(to, "  %-36s %10" PRId64 "\n", name, json_i64(json_get(r, key), 0));
}

int cmd_report_promises(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {
        {"STARTS", "starts", OUT_NUM, 0},       {"AT ONCE", "at_once", OUT_NUM, 0},
        {"PROMISED", "promised", OUT_NUM, 0},   {"KEPT", "kept", OUT_NUM, 0},
        {"MOVED", "moved", OUT_NUM, 0},         {"BROKEN", "broken", OUT_NUM, 0},
        {"KEPT %", "kept_percent", OUT_STR, 0}, {"PLAN ERROR", "plan_error_s", OUT_SPAN, 0},
        {"SINCE", "since", OUT_WHEN, 0},        {"UNTIL", "until", OUT_WHEN, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "kept_percent", NULL};
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    const struct json *r, *causes;
    char out[TEXT_MAX];
    int rc = get_period(app, a, "/v1/reports/promises", &reply, err);

    if (rc < 0 || app->format != OUT_TABLE) {
        if (rc >= 0)
            out_reply(app, &reply, &how);
        return BT_MIN(rc, 0);
    }
    r = reply.json;
    line(&text, "starts", r, "starts");
    line(&text, "at once, without a promise", r, "at_once");
    line(&text, "no later than first promised", r, "kept");
    line(&text, "later, for a named cause", r, "moved");
    causes = json_get(r, "causes");
    for (size_t i = 0; i < json_len(causes); i++) {
        char name[64];

        snprintf(name, sizeof name, "  %.50s", out_str(json_at(causes, i), "cause"));
        line(&text, name, json_at(causes, i), "starts");
    }
    line(&text, "later than promised", r, "broken");
    if (json_is(json_get(r, "kept_percent")) != JSON_IS_NULL)
        bt_buf_printf(&text, "  %-36s %10.2f\n", "% kept, of those that no cause moved",
                      json_f64(json_get(r, "kept_percent"), 0));
    if (json_is(json_get(r, "plan_error_s")) != JSON_IS_NULL)
        bt_buf_printf(&text, "  %-36s %10s\n", "mean distance from the first plan",
                      text_duration(json_i64(json_get(r, "plan_error_s"), 0), out));
    out_text(&text);
    return 0;
}
