/* Sites: made and changed through the core, shown with what their clusters say of themselves.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/clusters/site_conf.h"
#include "daemon/http/own.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

struct post {
    char site[32];
    char kind[16];
    char state[16];
    int32_t tier;
    int64_t until_us;
    const struct json *conf;
};

static const struct json_field fields[] = {
    {"site", JSON_F_NAME, offsetof(struct post, site), true, .size = 32},
    {"kind", JSON_F_NAME, offsetof(struct post, kind), .size = 16},
    {"state", JSON_F_NAME, offsetof(struct post, state), .size = 16},
    {"tier", JSON_F_I32, offsetof(struct post, tier), .min = 0, .max = 4},
    {"until", JSON_F_TIME, offsetof(struct post, until_us)},
    {"conf", JSON_F_VALUE, offsetof(struct post, conf)},
};

static int read_post(struct call *c, struct ev_admin *a, struct bt_err *err)
{
    struct post p = {.tier = -1};
    struct site_conf conf;
    struct bt_buf text = {0};
    struct json_writer w = {.to = &text};
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &p, err);

    if (rc == 0)
        rc = http_request_id(c, &a->id, err);
    if (rc == 0 && p.conf && !bt_streq(p.kind, "slurm"))
        rc = bt_fail(err, BT_ERR_INVALID, "only a site of kind slurm has a conf");
    if (rc == 0 && p.conf)
        rc = site_conf_read(p.conf, &conf, err);
    if (rc < 0)
        return rc;
    if (p.conf) {
        site_conf_write(&conf, &w);
        a->conf = bt_buf_take(&text);
    }
    bt_copy(a->site, sizeof a->site, p.site);
    bt_copy(a->kind, sizeof a->kind, p.kind);
    bt_copy(a->state, sizeof a->state, p.state);
    a->tier = p.tier;
    a->until_us = p.until_us;
    return 0;
}

void admin_site(struct call *c)
{
    struct event *ev = http_event(c, EV_ADMIN);
    struct bt_err err = {0};
    size_t n;
    const char *body = serve_body(c->r, &n);
    int rc = read_post(c, &ev->u.admin, &err);

    if (rc < 0) {
        event_free(ev);
        http_fail(c, &err);
        return;
    }
    bt_sha256(body ? body : "", n, ev->u.admin.body_sha256);
    ev->u.admin.op = ADMIN_SITE;
    http_post(c, ev, NULL);
}

/* ---- reads ---- */

/* The site's row and nodes as the database has them; parsed into *ret_doc. */
static int read_site(struct call *c, struct bt_buf *json, struct json **ret_doc, struct bt_err *err)
{
    struct read q = {.name = "site", .param = {c->match.param[0]}, .n = 1};
    int rc = read_json(c->h, &q, json, err);

    if (rc == -BT_ERR_NOT_FOUND)
        return bt_next(
            err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no site '%.60s'", c->match.param[0]),
            "beamtime site list");
    return rc < 0 ? rc : json_parse(json->p, json->n, json->n, ret_doc, err);
}

static void show(struct call *c)
{
    struct bt_buf row = {0};
    struct bt_buf all = {0};
    struct json_writer w = {.to = &all};
    JSON_AUTO struct json *doc = NULL;
    struct bt_err err = {0};

    if (read_site(c, &row, &doc, &err) < 0) {
        http_fail(c, &err);
    } else {
        jw_object(&w, NULL);
        jw_str(&w, "site", c->match.param[0]);
        jw_raw(&w, "row", row.p);
        if (c->h->set.site)
            c->h->set.site(c->h->set.arg, c->match.param[0], &w);
        jw_end_object(&w);
        http_json(c, &all);
    }
    bt_buf_done(&row);
    bt_buf_done(&all);
}

static void differences(struct call *c)
{
    struct bt_buf row = {0};
    struct bt_buf all = {0};
    struct json_writer w = {.to = &all};
    JSON_AUTO struct json *doc = NULL;
    struct bt_err err = {0};
    int rc = read_site(c, &row, &doc, &err);

    jw_object(&w, NULL);
    jw_array(&w, "items");
    if (rc == 0 && c->h->set.site_diff)
        rc = c->h->set.site_diff(c->h->set.arg, c->match.param[0], doc, &w, &err);
    jw_end_array(&w);
    jw_null(&w, "next");
    jw_end_object(&w);
    if (rc < 0)
        http_fail(c, &err);
    else
        http_json(c, &all);
    bt_buf_done(&row);
    bt_buf_done(&all);
}

void site_show(struct call *c)
{
    tasks_add(c, show);
}

void site_diff(struct call *c)
{
    tasks_add(c, differences);
}
