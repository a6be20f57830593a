/* change.c - options into members, members into requests.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/change.h"

#include <stdio.h>
#include <string.h>

#include "cli/cmd.h"
#include "cli/out.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

/* A duration, `sign` of it from now. */
static bool from_now(const char *text, const char *what, int sign, int64_t *ret_us)
{
    int64_t seconds;

    if (bt_parse_duration_s(text, what, &seconds, NULL) < 0 || seconds > INT64_C(3650) * 86400)
        return false;
    *ret_us = bt_now_us() + sign * seconds * BT_US_PER_S;
    return true;
}

int past_arg(const char *text, const char *what, int64_t *ret_us, struct bt_err *err)
{
    return from_now(text, what, -1, ret_us) ? 0 : bt_time_parse(text, what, ret_us, err);
}

int when_arg(const char *text, const char *what, int64_t *ret_us, struct bt_err *err)
{
    if (bt_time_parse(text, what, ret_us, NULL) == 0 || from_now(text, what, 1, ret_us))
        return 0;
    return bt_fail(err, BT_ERR_INVALID,
                   "%s is '%.40s', not a date (2027-01-01), a time in RFC 3339 or 365d from now",
                   what, text);
}

static int write_field(struct json_writer *w, const struct field *f, const char *value,
                       struct bt_err *err)
{
    BT_AUTO char *what = bt_printf("--%s", f->option);
    int64_t v = 0;
    int rc = 0;

    if (f->kind == FIELD_TEXT) {
        if (!bt_is_utf8(value, strlen(value)))
            return bt_fail(err, BT_ERR_INVALID, "%s is not UTF-8", what);
        jw_str(w, f->member, value);
    } else if (f->kind == FIELD_INT) {
        rc = bt_parse_i64(value, what, 0, INT64_MAX, &v, err);
        jw_i64(w, f->member, v);
    } else if (f->kind == FIELD_TIME) {
        rc = when_arg(value, what, &v, err);
        jw_time(w, f->member, v);
    } else {
        jw_array(w, f->member);
        for (const char *p = value;; p++) {
            size_t n = strcspn(p, ",");

            jw_strn(w, NULL, p, n);
            p += n;
            if (!*p)
                break;
        }
        jw_end_array(w);
    }
    return rc;
}

int write_fields(struct json_writer *w, const struct cli_args *a, const struct field *fields,
                 size_t n, struct bt_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *value = cli_value(a, fields[i].option);
        int rc = value ? write_field(w, &fields[i], value, err) : 0;

        if (rc < 0)
            return rc;
    }
    return 0;
}

int send_body(struct app *app, const char *method, const char *path, const struct bt_buf *body,
              struct bt_err *err)
{
    REPLY_AUTO struct reply reply = {0};
    int rc = app_send(app, method, path, bt_buf_text(body), &reply, err);

    if (rc >= 0 && app->format == OUT_JSON)
        out_json(&reply);
    return rc < 0 ? rc : 0;
}

int set_below(struct app *app, const struct cli_args *a, const struct below *how,
              struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    char nation[16], name[64];
    int rc = app_pair(app, a->pos[0], how->member, nation, name, err);

    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    jw_str(&w, "nation", nation);
    jw_str(&w, how->member, name);
    rc = write_fields(&w, a, how->fields, how->n, err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(app, "POST", how->path, &body, err);
    if (rc >= 0)
        app_note(app, "%s %s/%s is set", how->member, nation, name);
    return rc;
}
