/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/fail.h"

#include <stdio.h>
#include <string.h>

#include "cli/out.h"
#include "cli/text.h"
#include "lib/base/str.h"

int format_parse(const char *word)
{
    static const char *const words[] = {"table", "wide", "json", "csv", "name"};

    for (size_t i = 0; word && i < BT_ARRAY_LEN(words); i++)
        if (bt_streq(word, words[i]))
            return (int)i;
    return -1;
}

static void padded(const char *s, int width, struct bt_buf *to)
{
    text_clean(to, s);
    for (int n = text_width(s); n < width; n++)
        bt_buf_char(to, ' ');
}

static void rules(const struct json *list, struct bt_buf *to)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *rule = json_at(list, i);
        const char *id = json_is(rule) == JSON_IS_STR ? json_str(rule, "") : out_str(rule, "id");

        if (i == 0)
            bt_buf_str(to, "  because of\n");
        bt_buf_str(to, "    ");
        padded(id, 11, to);
        bt_buf_char(to, ' ');
        text_clean(to, out_str(rule, "text"));
        bt_buf_char(to, '\n');
    }
}

static void missing(const struct json *list, struct bt_buf *to)
{
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *lock = json_at(list, i);

        if (i == 0)
            bt_buf_str(to, "  missing\n");
        bt_buf_str(to, "    ");
        padded(out_str(lock, "lock"), 17, to);
        bt_buf_char(to, ' ');
        text_clean(to, out_str(lock, "text"));
        if (*out_str(lock, "next")) {
            bt_buf_str(to, "\n                      ");
            text_clean(to, out_str(lock, "next"));
        }
        bt_buf_char(to, '\n');
    }
}

void fail_text(const struct app *app, const struct bt_err *err, struct bt_buf *to)
{
    const struct json *locks = json_get(app->problem, "missing");
    const char *detail = json_str(json_get(app->problem, "detail"), err->text);
    const char *next = json_str(json_get(app->problem, "next"), err->next);

    bt_buf_str(to, "beamtime: ");
    if (json_len(locks)) {
        bt_buf_printf(to, "refused (%s)\n  ", bt_err_message(err->code));
        text_clean(to, detail);
    } else {
        text_clean(to, *detail ? detail : bt_err_message(err->code));
    }
    bt_buf_char(to, '\n');
    rules(json_get(app->problem, "rules"), to);
    missing(locks, to);
    if (*next) {
        bt_buf_str(to, "  next: ");
        text_clean(to, next);
        bt_buf_char(to, '\n');
    }
    if (*app->request_id)
        bt_buf_printf(to, "request %s · exit %d\n", app->request_id, bt_err_exit(err->code));
}

static void fail_json(const struct app *app, const struct bt_err *err, struct bt_buf *to)
{
    struct json_writer w = {.to = to};
    const struct json *locks = json_get(app->problem, "missing");

    jw_object(&w, NULL);
    jw_str(&w, "code", bt_err_name(err->code));
    jw_str(&w, "message", json_str(json_get(app->problem, "detail"), err->text));
    if (*json_str(json_get(app->problem, "next"), err->next))
        jw_str(&w, "next", json_str(json_get(app->problem, "next"), err->next));
    if (*app->request_id)
        jw_str(&w, "request_id", app->request_id);
    jw_i64(&w, "exit", bt_err_exit(err->code));
    if (json_len(locks)) {
        jw_array(&w, "missing");
        for (size_t i = 0; i < json_len(locks); i++) {
            jw_object(&w, NULL);
            jw_str(&w, "lock", out_str(json_at(locks, i), "lock"));
            jw_str(&w, "text", out_str(json_at(locks, i), "text"));
            jw_str(&w, "next", out_str(json_at(locks, i), "next"));
            jw_end_object(&w);
        }
        jw_end_array(&w);
    }
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}

int fail_print(const struct app *app, const struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};

    if (app->format == OUT_JSON)
        fail_json(app, err, &text);
    else
        fail_text(app, err, &text);
    fflush(stdout);
    fwrite(bt_buf_text(&text), 1, text.n, stderr);
    return bt_err_exit(err->code);
}
