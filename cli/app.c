/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/app.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/api/limits.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/cert.h"

enum { CERT_FILE_MAX = 65536, REMIND_DAYS = 14 };
#define DAY_US (INT64_C(86400) * BT_US_PER_S)

void reply_done(struct reply *r)
{
    json_free(r->json);
    bt_buf_done(&r->body);
    *r = (struct reply){0};
}

int app_profile(struct app *app, struct bt_err *err)
{
    struct bt_err why = {0};
    int rc;

    if (app->has_profile)
        return 0;
    if (!app->config_dir) {
        rc = net_config_dir(&app->config_dir, err);
        if (rc < 0)
            return rc;
    }
    rc = net_profile_load(app->config_dir, app->asked_profile, &app->profile, &why);
    if (rc == -BT_ERR_NOT_FOUND)
        return bt_next(err, bt_fail(err, BT_ERR_UNAUTHENTICATED, "%s", why.text),
                       "beamtime enrol --url https://… --ca FILE --token-file FILE");
    if (rc < 0)
        return bt_next(err, bt_fail(err, why.code, "%s", why.text), "%s", why.next);
    app->has_profile = true;
    return 0;
}

char *app_profile_path(const struct app *app, const char *file)
{
    return bt_printf("%s/%s/%s", app->config_dir, app->profile.name, file);
}

/* One line while the certificate can still be renewed, and not for long any more. */
static void remind(const struct app *app)
{
    BT_BUF_AUTO struct bt_buf pem = {0};
    struct cert *cert = NULL;
    int64_t left_us;

    if (bt_file_read(app->profile.cert_file, CERT_FILE_MAX, &pem, NULL) < 0 ||
        cert_from_pem(bt_buf_text(&pem), pem.n, &cert, NULL) < 0)
        return; /* the connection says what is wrong */
    left_us = cert_not_after_us(cert) - bt_now_us();
    if (left_us > 0 && left_us < REMIND_DAYS * DAY_US)
        app_note(app, "your certificate ends in %d days: beamtime renew", (int)(left_us / DAY_US));
    cert_free(cert);
}

static int connected(struct app *app, struct bt_err *err)
{
    int rc = app_profile(app, err);

    if (rc < 0 || app->client)
        return rc;
    remind(app);
    return net_profile_client(&app->profile, "beamtime", &app->client, err);
}

/* Parts of logs are no JSON, whatever they begin with, and may be large. */
static bool looks_json(const struct net_reply *from)
{
    return from->n && from->offset < 0 && (from->body[0] == '{' || from->body[0] == '[');
}

int app_answer(struct app *app, int rc, struct net_reply *from, struct reply *ret,
               struct bt_err *err)
{
    struct json *j = NULL;
    struct bt_err wrong = {0};

    json_free(app->problem);
    app->problem = NULL;
    bt_copy(app->request_id, sizeof app->request_id, from->request_id);
    if (looks_json(from) && json_parse(from->body, from->n, LIMIT_REPLY_BYTES, &j, &wrong) < 0) {
        j = NULL;
        if (rc >= 0)
            rc = bt_fail(err, BT_ERR_INTERNAL, "the facility's answer is not understood: %s",
                         wrong.text);
    }
    if (rc < 0) {
        app->problem = j;
        net_reply_done(from);
        return rc;
    }
    *ret =
        (struct reply){.status = from->status, .json = j, .offset = from->offset, .eof = from->eof};
    bt_buf_add(&ret->body, from->body ? from->body : "", from->n);
    net_reply_done(from);
    return 0;
}

int app_get(struct app *app, const char *path, struct reply *ret, struct bt_err *err)
{
    struct net_reply reply = {0};
    int rc = connected(app, err);

    if (rc < 0)
        return rc;
    rc = net_get(app->client, path, &reply, err);
    return app_answer(app, rc, &reply, ret, err);
}

int app_send(struct app *app, const char *method, const char *path, const char *body,
             struct reply *ret, struct bt_err *err)
{
    const struct net_request request = {
        .method = method, .path = path, .body = body, .n = strlen(body)};
    struct net_reply reply = {0};
    int rc = connected(app, err);

    if (rc < 0)
        return rc;
    rc = net_call(app->client, &request, &reply, err);
    return app_answer(app, rc, &reply, ret, err);
}

int app_twin(struct app *app, struct app *ret, struct bt_err *err)
{
    *ret = (struct app){.format = app->format,
                        .tty_out = app->tty_out,
                        .tty_err = app->tty_err,
                        .quiet = app->quiet,
                        .asked_profile = app->asked_profile};
    return connected(ret, err);
}

void app_done(struct app *app)
{
    net_client_free(app->client);
    if (app->has_profile)
        net_profile_done(&app->profile);
    bt_free(app->config_dir);
    json_free(app->problem);
    *app = (struct app){0};
}

void url_query(struct bt_buf *to, const char *key, const char *value)
{
    if (!value)
        return;
    bt_buf_printf(to, "%c%s=", strchr(bt_buf_text(to), '?') ? '&' : '?', key);
    net_escape(to, value);
}

static int own_nation(struct app *app, struct bt_err *err)
{
    REPLY_AUTO struct reply who = {0};
    int rc;

    if (*app->nation)
        return 0;
    rc = app_get(app, "/v1/whoami", &who, err);
    if (rc >= 0)
        bt_copy(app->nation, sizeof app->nation, json_str(json_get(who.json, "nation"), ""));
    return rc < 0 ? rc : 0;
}

int app_pair(struct app *app, const char *text, const char *what, char nation[16], char name[64],
             struct bt_err *err)
{
    const char *slash = strchr(text, '/');
    BT_AUTO char *first = slash ? bt_strndup(text, (size_t)(slash - text)) : NULL;
    const char *second = slash ? slash + 1 : text;

    if (!slash) {
        int rc = own_nation(app, err);

        if (rc < 0)
            return rc;
        first = bt_strdup(app->nation);
    }
    for (char *p = first; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    if (!bt_is_name(first, 15) || !bt_is_name(second, 63))
        return bt_fail(err, BT_ERR_USAGE, "'%.80s' is not a %s such as cz/name", text, what);
    bt_copy(nation, 16, first);
    bt_copy(name, 64, second);
    return 0;
}

void app_note(const struct app *app, const char *fmt, ...)
{
    va_list ap;

    if (app->quiet)
        return;
    fflush(stdout);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}
