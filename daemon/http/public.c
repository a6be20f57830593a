/* What anybody may read: pages, the ledger's files, blobs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/http/own.h"
#include "daemon/http/pages/pages.h"
#include "daemon/http/uploads.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/ledger/note.h"
#include "lib/ledger/tile.h"
#include "lib/record/manifest.h"

enum { PAGE_JSON_MAX = 4 << 20 };

/* ---- replies ---- */

static void send_html(struct call *c, int status, struct bt_buf *page, const char *cache)
{
    struct serve_reply reply = {.status = status, .type = "text/html; charset=utf-8"};

    serve_reply_header(&reply, "Content-Security-Policy", PAGE_POLICY);
    serve_reply_header(&reply, "X-Content-Type-Options", "nosniff");
    serve_reply_header(&reply, "Referrer-Policy", "no-referrer");
    serve_reply_header(&reply, "X-Frame-Options", "DENY");
    serve_reply_header(&reply, "Cache-Control", cache);
    reply.n = page->n;
    reply.body = bt_buf_take(page);
    serve_reply(c->r, &reply);
}

static void fail_page(struct call *c, const struct bt_err *err)
{
    struct bt_buf page = {0};
    int status = bt_err_http(err->code);

    page_error(&page, pki_facility(c->h->set.pki), status, err->text);
    send_html(c, status, &page, "no-store");
}

static void send_text(struct call *c, const char *type, char *text, size_t n, const char *cache)
{
    struct serve_reply reply = {.status = 200, .type = type, .n = n};

    reply.body = text;
    serve_reply_header(&reply, "X-Content-Type-Options", "nosniff");
    serve_reply_header(&reply, "Cache-Control", cache);
    serve_reply(c->r, &reply);
}

/* A file below the public folders; what is no file is not there. */
static void send_file(struct call *c, const char *path, struct serve_reply *reply)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct bt_err err;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        bt_fail(&err, BT_ERR_NOT_FOUND, "there is nothing at %.120s", serve_path(c->r));
        http_fail(c, &err);
        return;
    }
    reply->status = 200;
    reply->file = true;
    reply->fd = fd;
    reply->length = st.st_size;
    serve_reply_header(reply, "X-Content-Type-Options", "nosniff");
    serve_reply(c->r, reply);
}

/* ---- pages ---- */

static int read_page(struct call *c, const struct read *q, struct json **ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = read_json(c->h, q, &text, err);

    return rc < 0 ? rc : json_parse(bt_buf_text(&text), text.n, PAGE_JSON_MAX, ret, err);
}

static void send_front(struct call *c)
{
    const struct read q = {.name = "public_front", .public = true};
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *front = NULL;
    struct bt_buf page = {0};
    struct bt_err err = {0};

    if (read_counted(c->h, &c->h->entries, q, &text, &err) < 0 ||
        json_parse(bt_buf_text(&text), text.n, PAGE_JSON_MAX, &front, &err) < 0) {
        fail_page(c, &err);
        return;
    }
    page_front(&page, pki_facility(c->h->set.pki), front);
    send_html(c, 200, &page, "max-age=5");
}

void public_front(struct call *c)
{
    tasks_add(c, send_front);
}

static void send_machine(struct call *c)
{
    const struct read q = {.name = "public_machine", .public = true};
    JSON_AUTO struct json *machine = NULL;
    struct bt_buf page = {0};
    struct bt_err err = {0};

    if (read_page(c, &q, &machine, &err) < 0) {
        fail_page(c, &err);
        return;
    }
    page_machine(&page, pki_facility(c->h->set.pki), machine);
    send_html(c, 200, &page, "max-age=5");
}

static void send_machine_map(struct call *c)
{
    const struct read q = {.name = "public_machine", .public = true};
    struct serve_reply reply = {.status = 200, .type = "image/svg+xml"};
    JSON_AUTO struct json *machine = NULL;
    struct bt_buf svg = {0};
    struct bt_err err = {0};

    if (read_page(c, &q, &machine, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    page_machine_svg(&svg, machine);
    serve_reply_header(&reply, "Content-Security-Policy", "default-src 'none'; sandbox");
    serve_reply_header(&reply, "X-Content-Type-Options", "nosniff");
    serve_reply_header(&reply, "Cache-Control", "max-age=5");
    reply.n = svg.n;
    reply.body = bt_buf_take(&svg);
    serve_reply(c->r, &reply);
}

/* Both reports of the last 30 days. */
static void send_report(struct call *c)
{
    enum { DAYS = 30 };
    char since[24], until[24];
    struct read q = {.name = "report_fairness", .param = {since, until}, .n = 2, .public = true};
    JSON_AUTO struct json *fairness = NULL;
    JSON_AUTO struct json *promises = NULL;
    struct bt_buf page = {0};
    struct bt_err err = {0};
    int rc;

    snprintf(until, sizeof until, "%" PRId64, bt_now_us());
    snprintf(since, sizeof since, "%" PRId64, bt_now_us() - DAYS * 86400 * BT_US_PER_S);
    rc = read_page(c, &q, &fairness, &err);
    q.name = "report_promises";
    if (rc >= 0)
        rc = read_page(c, &q, &promises, &err);
    if (rc < 0) {
        fail_page(c, &err);
        return;
    }
    page_report(&page, pki_facility(c->h->set.pki), fairness, promises);
    send_html(c, 200, &page, "max-age=60");
}

void public_report(struct call *c)
{
    tasks_add(c, send_report);
}

void public_machine(struct call *c)
{
    tasks_add(c, send_machine);
}

void public_machine_map(struct call *c)
{
    tasks_add(c, send_machine_map);
}

/* "17" or "17.json"; true if it is the latter. The index stays in the param, checked. */
static int index_of(struct call *c, bool *ret_json, struct bt_err *err)
{
    char *s = c->match.param[0];
    int64_t index;

    *ret_json = bt_ends(s, ".json");
    if (*ret_json)
        s[strlen(s) - 5] = '\0';
    if (bt_parse_i64(s, "the record", 0, INT64_MAX, &index, NULL) < 0)
        return bt_fail(err, BT_ERR_NOT_FOUND, "a record's address ends in its number");
    return 0;
}

/* The manifest's blob; false if there is none, or it is not here (yet). */
static bool manifest_of(struct call *c, const struct json *record, struct manifest *ret)
{
    const struct json *body = json_get(json_get(record, "leaf"), "body");
    const char *hex = json_str(json_get(json_get(body, "manifest"), "sha256"), "");
    BT_BUF_AUTO struct bt_buf text = {0};
    uint8_t hash[32];

    if (strlen(hex) != 64 || bt_unhex(hex, hash, 32) < 0)
        return false;
    BT_AUTO char *path = blob_path(c->h, hex);

    return bt_file_read(path, MANIFEST_TEXT_MAX, &text, NULL) == 0 &&
           manifest_parse(bt_buf_text(&text), text.n, ret, NULL) == 0;
}

static void send_record(struct call *c)
{
    struct read q = {.name = "public_record", .param = {c->match.param[0]}, .n = 1, .public = true};
    MANIFEST_AUTO struct manifest files = {0};
    JSON_AUTO struct json *record = NULL;
    struct bt_buf page = {0};
    struct bt_err err = {0};
    int rc = read_page(c, &q, &record, &err);

    if (rc == -BT_ERR_NOT_FOUND)
        bt_fail(&err, BT_ERR_NOT_FOUND, "the ledger has no entry %s", c->match.param[0]);
    if (rc < 0) {
        fail_page(c, &err);
        return;
    }
    page_record(&page, pki_facility(c->h->set.pki), record,
                manifest_of(c, record, &files) ? &files : NULL);
    send_html(c, 200, &page, "max-age=10");
}

static void send_leaf(struct call *c)
{
    struct read q = {.name = "ledger_leaf", .param = {c->match.param[0]}, .n = 1, .public = true};
    struct bt_buf text = {0};
    struct bt_err err = {0};
    int rc = read_json(c->h, &q, &text, &err);

    if (rc < 0) {
        bt_buf_done(&text);
        if (rc == -BT_ERR_NOT_FOUND)
            bt_fail(&err, BT_ERR_NOT_FOUND, "the ledger has no entry %s", c->match.param[0]);
        http_fail(c, &err);
        return;
    }
    send_text(c, "application/json", text.p, text.n, "max-age=31536000, immutable");
}

void public_record(struct call *c)
{
    struct bt_err err = {0};
    bool json;

    if (index_of(c, &json, &err) < 0)
        fail_page(c, &err);
    else
        tasks_add(c, json ? send_leaf : send_record);
}

static void send_file_of(struct call *c)
{
    struct read q = {.name = "public_record", .param = {c->match.param[0]}, .n = 1, .public = true};
    struct serve_reply reply = {.status = 302};
    MANIFEST_AUTO struct manifest files = {0};
    JSON_AUTO struct json *record = NULL;
    struct bt_err err = {0};
    char at[SERVE_HEADER_MAX], hex[65];
    int i = read_page(c, &q, &record, &err);

    if (i == 0)
        i = manifest_of(c, record, &files)
                ? manifest_find(&files, c->match.param[1], &err)
                : bt_fail(&err, BT_ERR_NOT_FOUND, "the record's list of files is not here");
    if (i < 0) {
        http_fail(c, &err);
        return;
    }
    snprintf(at, sizeof at, "/blob/sha256/%s%s", bt_hex(files.files[i].sha256, 32, hex),
             bt_ends(c->match.param[1], ".svg") ? "?type=svg" : "");
    serve_reply_header(&reply, "Location", at);
    serve_reply_header(&reply, "Cache-Control", "max-age=3600");
    serve_reply(c->r, &reply);
}

void public_file(struct call *c)
{
    struct bt_err err = {0};
    bool json;

    if (index_of(c, &json, &err) < 0 || json)
        fail_page(c, &err);
    else
        tasks_add(c, send_file_of);
}

/* ---- files ---- */

void public_checkpoint(struct call *c)
{
    BT_AUTO char *path = bt_printf("%s/checkpoint", c->h->set.ledger_dir);
    struct serve_reply reply = {.type = "text/plain; charset=utf-8"};

    serve_reply_header(&reply, "Cache-Control", "no-cache");
    send_file(c, path, &reply);
}

void public_tile(struct call *c)
{
    BT_AUTO char *name = bt_printf("tile/%s", c->match.param[0]);
    BT_AUTO char *path = bt_printf("%s/%s", c->h->set.ledger_dir, name);
    struct serve_reply reply = {.type = "application/octet-stream"};
    struct bt_err err;
    struct tile tile;

    if (tile_path_parse(name, &tile, NULL) < 0) {
        bt_fail(&err, BT_ERR_NOT_FOUND, "'%.80s' is no tile's address", name);
        http_fail(c, &err);
        return;
    }
    serve_reply_header(&reply, "Cache-Control", "max-age=31536000, immutable");
    send_file(c, path, &reply);
}

/* A job wrote these bytes: browsers keep them, but never run them. */
void public_blob(struct call *c)
{
    const char *type = serve_query(c->r, "type");
    const char *hex = c->match.param[0];
    bool svg = type && !strcmp(type, "svg");
    struct serve_reply reply = {.type = svg ? "image/svg+xml" : "application/octet-stream"};
    struct bt_err err;

    if (strlen(hex) != 64 || strspn(hex, "0123456789abcdef") != 64) {
        bt_fail(&err, BT_ERR_NOT_FOUND, "a blob's address is its SHA-256 in 64 digits");
        http_fail(c, &err);
        return;
    }
    if (keeps_has(c->h, hex)) {
        tasks_add(c, keeps_send);
        return;
    }
    BT_AUTO char *path = blob_path(c->h, hex);

    serve_reply_header(&reply, "Content-Security-Policy",
                       svg ? "default-src 'none'; style-src 'unsafe-inline'; sandbox"
                           : "default-src 'none'; sandbox");
    if (!svg)
        serve_reply_header(&reply, "Content-Disposition", "attachment");
    serve_reply_header(&reply, "Cache-Control", "max-age=31536000, immutable");
    send_file(c, path, &reply);
}

void public_vkey(struct call *c)
{
    if (!c->h->vkey) {
        struct bt_err err;

        bt_fail(&err, BT_ERR_NOT_FOUND, "this facility signs no ledger yet");
        http_fail(c, &err);
        return;
    }
    send_text(c, "text/plain; charset=utf-8", bt_printf("%s\n", c->h->vkey), strlen(c->h->vkey) + 1,
              "max-age=3600");
}

void public_style(struct call *c)
{
    send_text(c, "text/css; charset=utf-8", bt_strdup(page_style), strlen(page_style),
              "max-age=3600");
}
