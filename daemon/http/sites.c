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
    int rc = read_post(c, &ev->u.admin, &err);

    admin_post(c, ev, ADMIN_SITE, rc, &err);
}

/* ---- data sets ---- */

struct dataset_post {
    char site[32];
    char name[DATASET_NAME_MAX];
    char path[DATASET_PATH_MAX];
    char digest[DATASET_DIGEST_TEXT];
    char state[16];
    int64_t bytes;
};

static const struct json_field dataset_fields[] = {
    {"site", JSON_F_NAME, offsetof(struct dataset_post, site), true, .size = 32},
    {"name", JSON_F_NAME, offsetof(struct dataset_post, name), true, .size = DATASET_NAME_MAX},
    {"path", JSON_F_TEXT, offsetof(struct dataset_post, path), .size = DATASET_PATH_MAX},
    {"digest", JSON_F_TEXT, offsetof(struct dataset_post, digest), .size = DATASET_DIGEST_TEXT},
    {"state", JSON_F_NAME, offsetof(struct dataset_post, state), .size = 16},
    {"bytes", JSON_F_I64, offsetof(struct dataset_post, bytes), .min = 1, .max = INT64_MAX},
};

void admin_dataset(struct call *c)
{
    struct event *ev = http_event(c, EV_ADMIN);
    struct ev_admin *a = &ev->u.admin;
    struct dataset_post p = {.bytes = 0};
    struct bt_err err = {0};
    int rc = json_read(c->body, dataset_fields, BT_ARRAY_LEN(dataset_fields), &p, &err);

    if (rc == 0)
        rc = http_request_id(c, &a->id, &err);
    if (rc == 0 && p.digest[0])
        rc = dataset_digest_parse(p.digest, a->spki, &err);
    bt_copy(a->site, sizeof a->site, p.site);
    bt_copy(a->name, sizeof a->name, p.name);
    bt_copy(a->state, sizeof a->state, p.state);
    a->path = bt_strdup(p.path);
    a->amount_mras = p.bytes;
    admin_post(c, ev, ADMIN_DATASET, rc, &err);
}

/* ---- lists of Unix accounts ---- */

enum { MAPS_MAX = 2000 }; /* 2,000 lines of 120 bytes fit in a body */

static const struct json_field map_fields[] = {
    {"line", JSON_F_I32, offsetof(struct unixmap_line, line), true, .min = 1, .max = INT32_MAX},
    {"nation", JSON_F_TEXT, offsetof(struct unixmap_line, nation), true, .size = 16},
    {"person", JSON_F_TEXT, offsetof(struct unixmap_line, person), true, .size = 64},
    {"site", JSON_F_TEXT, offsetof(struct unixmap_line, site), true, .size = 32},
    {"unixname", JSON_F_TEXT, offsetof(struct unixmap_line, unixname), true, .size = 33},
};

static int read_maps(struct call *c, struct ev_admin *a, struct bt_err *err)
{
    const struct json *list = NULL;
    const struct json_field field[] = {{"maps", JSON_F_VALUE, 0, true}};
    size_t n = 0;
    int rc = json_read(c->body, field, 1, &list, err);

    if (rc == 0)
        rc = http_request_id(c, &a->id, err);
    if (rc == 0) {
        n = json_len(list);
        a->maps = bt_new_n(struct unixmap_line, BT_MIN(n, MAPS_MAX) + 1);
    }
    if (rc == 0 && (json_is(list) != JSON_IS_ARRAY || n > MAPS_MAX))
        rc = bt_fail(err, BT_ERR_INVALID, "maps is a list of at most %d", MAPS_MAX);
    if (rc == 0)
        rc = json_read_rows(list, map_fields, BT_ARRAY_LEN(map_fields), a->maps, sizeof *a->maps,
                            &a->n_maps, err);
    return rc;
}

void admin_unixmaps(struct call *c)
{
    struct event *ev = http_event(c, EV_ADMIN);
    struct bt_err err = {0};
    int rc = read_maps(c, &ev->u.admin, &err);

    admin_post(c, ev, ADMIN_UNIXMAPS, rc, &err);
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

typedef int items_fn(void *arg, const char *site, const struct json *row, struct json_writer *w,
                     struct bt_err *err);

/* {"items":[…],"looked_at":n,"next":null} */
static void items(struct call *c, items_fn *write)
{
    struct bt_buf row = {0};
    struct bt_buf all = {0};
    struct json_writer w = {.to = &all};
    JSON_AUTO struct json *doc = NULL;
    struct bt_err err = {0};
    int rc = read_site(c, &row, &doc, &err);

    jw_object(&w, NULL);
    jw_array(&w, "items");
    if (rc == 0 && write)
        rc = write(c->h->set.arg, c->match.param[0], doc, &w, &err);
    jw_end_array(&w);
    jw_i64(&w, "looked_at", rc);
    jw_null(&w, "next");
    jw_end_object(&w);
    if (rc < 0)
        http_fail(c, &err);
    else
        http_json(c, &all);
    bt_buf_done(&row);
    bt_buf_done(&all);
}

static void differences(struct call *c)
{
    items(c, c->h->set.site_diff);
}

static void check(struct call *c)
{
    items(c, c->h->set.site_check);
}

void site_show(struct call *c)
{
    tasks_add(c, show);
}

void site_diff(struct call *c)
{
    tasks_add(c, differences);
}

void site_check_show(struct call *c)
{
    tasks_add(c, check);
}

void site_report(struct call *c)
{
    struct bt_buf all = {0};
    struct json_writer w = {.to = &all};
    struct bt_err err = {0};
    int rc = 0;

    jw_object(&w, NULL);
    jw_str(&w, "site", c->match.param[0]);
    if (c->h->set.site_report)
        rc = c->h->set.site_report(c->h->set.arg, c->match.param[0], &w, &err);
    jw_end_object(&w);
    if (rc < 0)
        http_fail(c, &err);
    else
        http_json(c, &all);
    bt_buf_done(&all);
}
