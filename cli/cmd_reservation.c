/* cmd_reservation.c - nodes kept for the jobs of a project or a nation.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "cli/change.h"
#include "cli/cmd.h"
#include "cli/out.h"
#include "lib/api/limits.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static const struct out_col cols[] = {
    {"NAME", "name", OUT_STR, 0},    {"FOR", "for", OUT_STR, 0},
    {"NODES", "nodes", OUT_STR, 0},  {"FROM", "from", OUT_WHEN, 0},
    {"UNTIL", "until", OUT_WHEN, 0}, {"STATE", "state", OUT_STATE, 0},
    {"JOBS", "jobs", OUT_NUM, 0},    {"REASON", "reason", OUT_STR, 1}};

int cmd_reservation_list(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "name",
                                        "no node is kept for anybody's jobs"};
    REPLY_AUTO struct reply reply = {0};
    int rc = app_get(app, "/v1/reservations", &reply, err);

    (void)a;
    if (rc >= 0)
        out_reply(app, &reply, &how);
    return rc;
}

int cmd_reservation_show(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "name", NULL};
    static const char *const texts[] = {"name", "for",   "nation", "project", "nodes",
                                        "from", "until", "state",  "reason"};
    REPLY_AUTO struct reply all = {0};
    REPLY_AUTO struct reply one = {0};
    int rc = app_get(app, "/v1/reservations", &all, err);
    const struct json *items = rc < 0 ? NULL : json_get(all.json, "items");

    for (size_t i = 0; i < json_len(items); i++) {
        const struct json *r = json_at(items, i);
        struct json_writer w = {.to = &one.body};

        if (!bt_streq(json_str(json_get(r, "name"), ""), a->pos[0]))
            continue;
        jw_object(&w, NULL);
        for (size_t k = 0; k < BT_ARRAY_LEN(texts); k++)
            jw_str(&w, texts[k], json_str(json_get(r, texts[k]), NULL));
        jw_i64(&w, "jobs", json_i64(json_get(r, "jobs"), 0));
        jw_end_object(&w);
        rc = json_parse(bt_buf_text(&one.body), one.body.n, LIMIT_REPLY_BYTES, &one.json, err);
        if (rc >= 0)
            out_reply(app, &one, &how);
        return rc;
    }
    return rc < 0
               ? rc
               : bt_next(err,
                         bt_fail(err, BT_ERR_NOT_FOUND, "there is no reservation '%s'", a->pos[0]),
                         "beamtime reservation list");
}

/* "cz/multilingual" as two members. */
static int write_owner(struct json_writer *w, const struct cli_args *a, struct bt_err *err)
{
    const char *project = cli_value(a, "project");
    const char *slash = project ? strchr(project, '/') : NULL;

    if (!project == !cli_has(a, "nation"))
        return bt_fail(err, BT_ERR_USAGE, "reservation add wants --project or --nation");
    if (project && !slash)
        return bt_fail(err, BT_ERR_USAGE, "--project is '%.60s', not NATION/PROJECT", project);
    if (slash) {
        jw_strn(w, "nation", project, (size_t)(slash - project));
        jw_str(w, "project", slash + 1);
    } else {
        jw_str(w, "nation", cli_value(a, "nation"));
    }
    return 0;
}

int cmd_reservation_add(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"nodes", "nodes", FIELD_TEXT},
                                          {"reason", "reason", FIELD_TEXT},
                                          {"from", "from", FIELD_TIME},
                                          {"until", "until", FIELD_TIME}};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int rc;

    if (!cli_has(a, "until") || !cli_has(a, "nodes"))
        return bt_fail(err, BT_ERR_USAGE, "reservation add wants --nodes and --until");
    jw_object(&w, NULL);
    jw_str(&w, "kind", "reservation");
    jw_str(&w, "name", a->pos[0]);
    rc = write_owner(&w, a, err);
    if (rc >= 0)
        rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(app, "POST", "/v1/outages", &body, err);
    if (rc >= 0)
        app_note(app, "nodes %s are reserved; jobs ask for them with --reservation %s",
                 cli_value(a, "nodes"), a->pos[0]);
    return rc;
}

int cmd_reservation_remove(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int rc;

    jw_object(&w, NULL);
    jw_str(&w, "name", a->pos[0]);
    jw_str(&w, "state", "over");
    jw_end_object(&w);
    rc = send_body(app, "POST", "/v1/outages", &body, err);
    if (rc >= 0)
        app_note(app, "reservation %s is over", a->pos[0]);
    return rc;
}
