/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/api/problem.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/json/json.h"

/* Texts quote what peers sent and are cut at a length: whatever is not UTF-8 becomes '?'. */
static void text(struct json_writer *w, const char *key, const char *s)
{
    size_t n = strlen(s);
    char clean[256];

    if (bt_is_utf8(s, n)) {
        jw_str(w, key, s);
        return;
    }
    bt_copy(clean, sizeof clean, s);
    for (char *c = clean; *c; c++)
        if (*c & 0x80)
            *c = '?';
    jw_str(w, key, clean);
}

void problem_write(struct bt_buf *to, const struct bt_err *e, int status, const char *request_id,
                   const char *more)
{
    struct json_writer w = {.to = to};
    char type[64];

    snprintf(type, sizeof type, "urn:beamtime:error:%s", bt_err_name(e->code));
    jw_object(&w, NULL);
    jw_str(&w, "type", type);
    jw_str(&w, "title", bt_err_message(e->code));
    jw_i64(&w, "status", status ? status : bt_err_http(e->code));
    jw_str(&w, "code", bt_err_name(e->code));
    text(&w, "detail", e->text);
    if (e->next[0])
        text(&w, "next", e->next);
    if (request_id && request_id[0])
        jw_str(&w, "request_id", request_id);
    if (more && more[0]) {
        bt_buf_char(to, ',');
        bt_buf_str(to, more);
    }
    jw_end_object(&w);
}

static int code_of_status(int status)
{
    static const struct {
        int status, code;
    } map[] = {
        {400, BT_ERR_INVALID},     {401, BT_ERR_UNAUTHENTICATED}, {403, BT_ERR_FORBIDDEN},
        {404, BT_ERR_NOT_FOUND},   {405, BT_ERR_METHOD},          {409, BT_ERR_CONFLICT},
        {413, BT_ERR_TOO_LARGE},   {429, BT_ERR_TOO_MANY},        {502, BT_ERR_UNREACHABLE},
        {503, BT_ERR_BUSY},        {504, BT_ERR_TIMEOUT},         {507, BT_ERR_DISK_FULL},
        {501, BT_ERR_UNSUPPORTED},
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(map); i++)
        if (map[i].status == status)
            return map[i].code;
    return BT_ERR_INTERNAL;
}

void problem_read(const char *text, size_t n, int status, struct bt_err *ret, char *request_id)
{
    JSON_AUTO struct json *root = NULL;
    const char *detail;
    int code;

    *ret = (struct bt_err){.code = code_of_status(status)};
    request_id[0] = '\0';
    if (json_parse(text, n, JSON_MAX_BYTES, &root, NULL) < 0 || json_is(root) != JSON_IS_OBJECT) {
        snprintf(ret->text, sizeof ret->text, "the server answered HTTP %d without saying why",
                 status);
        return;
    }
    code = bt_err_by_name(json_str(json_get(root, "code"), ""));
    if (code)
        ret->code = code;
    detail = json_str(json_get(root, "detail"), json_str(json_get(root, "title"), ""));
    if (*detail)
        bt_copy(ret->text, sizeof ret->text, detail);
    else
        snprintf(ret->text, sizeof ret->text, "the server answered HTTP %d", status);
    bt_copy(ret->next, sizeof ret->next, json_str(json_get(root, "next"), ""));
    bt_copy(request_id, BT_UUID_TEXT, json_str(json_get(root, "request_id"), ""));
}
