/* cmd_quota.c - what nations, projects and people may use.
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

static int who_parse(const char *text, struct quota_who *ret, struct bt_err *err)
{
    char copy[160];
    char *part[3] = {copy, NULL, NULL};
    int n = 1;

    *ret = (struct quota_who){0};
    if (!bt_copy(copy, sizeof copy, text))
        return bt_fail(err, BT_ERR_USAGE, "'%.60s…' is too long", text);
    for (char *p = copy; *p; p++) {
        if (*p == '/' && n < 3) {
            *p = '\0';
            part[n++] = p + 1;
        } else if (n == 1 && *p >= 'A' && *p <= 'Z') {
            *p = (char)(*p - 'A' + 'a');
        }
    }
    for (int i = 0; i < n; i++)
        if (!bt_is_name(part[i], 63))
            return bt_fail(err, BT_ERR_USAGE,
                           "'%.80s' is not a nation, nation/project or nation/project/person",
                           text);
    if (!bt_copy(ret->nation, sizeof ret->nation, part[0]))
        return bt_fail(err, BT_ERR_USAGE, "'%.60s' is not a nation's code", part[0]);
    bt_copy(ret->project, sizeof ret->project, part[1] ? part[1] : "");
    bt_copy(ret->person, sizeof ret->person, part[2] ? part[2] : "");
    return 0;
}

int cmd_quota_show(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"ACCOUNT", "nation/project/person", OUT_STR, 0},
                                          {"GRANTED acc-h", "granted_mras", OUT_HOURS, 0},
                                          {"FREE", "free_mras", OUT_LEFT, 0},
                                          {"HELD", "held_mras", OUT_HOURS, 0},
                                          {"SPENT", "spent_mras", OUT_HOURS, 0},
                                          {"FROM", "from", OUT_WHEN, 1},
                                          {"UNTIL", "until", OUT_WHEN, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "nation/project/person",
                                        "no quota is granted"};
    BT_BUF_AUTO struct bt_buf url = {0};
    REPLY_AUTO struct reply reply = {0};
    struct quota_who who = {0};
    const char *asked = a->n_pos ? a->pos[0] : cli_value(a, "nation");
    int rc = asked ? who_parse(asked, &who, err) : 0;

    if (rc < 0)
        return rc;
    bt_buf_str(&url, "/v1/quota");
    url_query(&url, "nation", *who.nation ? who.nation : NULL);
    url_query(&url, "project", *who.project ? who.project : NULL);
    url_query(&url, "person", *who.person ? who.person : NULL);
    rc = app_get(app, bt_buf_text(&url), &reply, err);
    if (rc < 0)
        return rc;
    out_reply(app, &reply, &how);
    return 0;
}

static void diff_row(const char *name, int64_t before, int64_t after)
{
    char now[TEXT_MAX], then[TEXT_MAX], change[TEXT_MAX];

    printf("  %-24s %14s h %14s h", name, text_hours(before, now), text_hours(after, then));
    if (after != before)
        printf(" %12s%s h", after > before ? "+" : "", text_hours(after - before, change));
    putchar('\n');
}

static void diff(const struct quota_who *who, const struct json *reply)
{
    const struct json *before = json_get(reply, "before");
    const struct json *after = json_get(reply, "after");
    int64_t granted[2] = {out_mras(before, "granted_mras"), out_mras(after, "granted_mras")};
    char title[160];

    snprintf(title, sizeof title, "%s%s%s%s%s", who->nation, *who->project ? " / " : "",
             who->project, *who->person ? " / " : "", who->person);
    printf("  %-24s %16s %16s %14s\n", title, "now", "then", "change");
    diff_row("granted", granted[0], granted[1]);
    diff_row("held + spent", out_mras(before, "held_mras") + out_mras(before, "spent_mras"),
             out_mras(after, "held_mras") + out_mras(after, "spent_mras"));
    diff_row("free", out_mras(before, "free_mras"), out_mras(after, "free_mras"));
    if (json_get(reply, "unassigned_mras")) {
        BT_AUTO char *name = bt_printf("%s unassigned afterwards", who->nation);
        char out[TEXT_MAX];

        printf("  %-24s %33s h\n", name, text_hours(out_mras(reply, "unassigned_mras"), out));
    }
}

static int put_body(const struct cli_args *a, const struct quota_who *who, struct bt_buf *to,
                    struct bt_err *err)
{
    static const char *const times[] = {"from", "until"};
    struct json_writer w = {.to = to};
    int64_t mras;
    int rc = text_amount(cli_value(a, "amount"), "--amount", &mras, err);

    jw_object(&w, NULL);
    jw_str(&w, "nation", who->nation);
    if (*who->project)
        jw_str(&w, "project", who->project);
    if (*who->person)
        jw_str(&w, "person", who->person);
    if (rc >= 0)
        jw_decimal(&w, "granted_mras", mras);
    for (size_t i = 0; rc >= 0 && i < BT_ARRAY_LEN(times); i++) {
        const char *text = cli_value(a, times[i]);
        int64_t us;

        if (!text)
            continue;
        rc = when_arg(text, times[i], &us, err);
        if (rc >= 0)
            jw_time(&w, times[i], us);
    }
    jw_end_object(&w);
    return rc;
}

enum { EXIT_CHANGES = 8 };

int cmd_quota_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    bool simulate = cli_has(a, "simulate"), dry = simulate || cli_has(a, "dry-run"), changes;
    int64_t since_us = bt_now_us() - 30 * 86400 * BT_US_PER_S;
    BT_BUF_AUTO struct bt_buf body = {0};
    REPLY_AUTO struct reply reply = {0};
    struct quota_who who;
    int rc;

    if (!cli_has(a, "amount"))
        return bt_fail(err, BT_ERR_USAGE, "quota set wants --amount, such as 40h or 120kh");
    rc = who_parse(a->pos[0], &who, err);
    if (rc >= 0 && cli_has(a, "since"))
        rc = past_arg(cli_value(a, "since"), "--since", &since_us, err);
    if (rc >= 0)
        rc = put_body(a, &who, &body, err);
    if (rc >= 0)
        rc = app_send(app, "PUT", dry ? "/v1/quota?dry_run=1" : "/v1/quota", bt_buf_text(&body),
                      &reply, err);
    if (rc < 0)
        return rc;
    if (app->format == OUT_JSON)
        out_json(&reply);
    else
        diff(&who, reply.json);
    if (simulate)
        return quota_simulate(app, &who, reply.json, since_us, err);
    changes = json_bool(json_get(reply.json, "changed"), false);
    if (!dry)
        return 0;
    app_note(app, "nothing written (--dry-run) · exit %d", changes ? EXIT_CHANGES : 0);
    return changes ? EXIT_CHANGES : 0;
}
