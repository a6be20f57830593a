/* A helper that runs at its site calls: a session, then frames both ways (daemon/clusters/wire.h).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/http/own.h"
#include "lib/base/mem.h"

void helper_attach(struct call *c)
{
    const struct http_settings *s = &c->h->set;
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    struct bt_uuid session;
    struct bt_err err = {0};

    if (s->helper_attach(s->arg, c->principal.subject, serve_peer(c->r), &session, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    jw_object(&w, NULL);
    jw_uuid(&w, "session", &session);
    jw_end_object(&w);
    serve_json(c->r, 201, body.p, body.n);
}

static int session_of(const struct call *c, struct bt_uuid *ret, struct bt_err *err)
{
    return bt_uuid_parse(c->match.param[0], ret) < 0
               ? bt_fail(err, BT_ERR_NOT_FOUND, "this is no session")
               : 0;
}

void helper_put(struct call *c)
{
    const struct http_settings *s = &c->h->set;
    struct bt_uuid session;
    struct bt_err err = {0};
    size_t n;
    const char *p = serve_body(c->r, &n);
    int rc = session_of(c, &session, &err);

    if (rc == 0)
        rc = s->helper_put(s->arg, c->principal.subject, session, p, n, &err);
    if (rc < 0)
        http_fail(c, &err);
    else
        serve_json(c->r, 200, bt_strdup("{}"), 2);
}

static int take(struct call *c, struct bt_buf *to, struct bt_err *err)
{
    const struct http_settings *s = &c->h->set;
    struct bt_uuid session;
    int rc = session_of(c, &session, err);

    return rc < 0 ? rc : s->helper_get(s->arg, c->principal.subject, session, to, err);
}

static void send_frames(struct call *c)
{
    struct serve_reply reply = {.status = 200, .type = "application/octet-stream"};
    struct bt_buf frames = {0};
    struct bt_err err = {0};

    if (take(c, &frames, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    reply.n = frames.n;
    reply.body = bt_buf_take(&frames);
    serve_reply(c->r, &reply);
}

/* What is taken is sent with this answer or never: so it is looked whether there is something by
 * waiting for it, and taken once. */
void helper_get(struct call *c)
{
    const struct http_settings *s = &c->h->set;

    hub_register(c, hub_key('s', c->principal.subject, strlen(c->principal.subject)));
    if (!s->helper_has(s->arg, c->principal.subject) &&
        hub_sleep(c, LIMIT_LONG_POLL_S * 1000, send_frames))
        return;
    hub_leave(c);
    send_frames(c);
}

void http_helper_wake(struct http *h, const char *site)
{
    hub_wake(h, hub_key('s', site, strlen(site)));
}
