/* Replies. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <unistd.h>

#include "lib/api/limits.h"
#include "lib/api/problem.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"
#include "lib/serve/own.h"

void serve_reply_header(struct serve_reply *reply, const char *name, const char *value)
{
    struct serve_header_line *h;

    if (reply->n_headers == SERVE_HEADERS || strlen(value) >= SERVE_HEADER_MAX)
        return;
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return;
    h = &reply->headers[reply->n_headers++];
    h->name = name;
    bt_copy(h->value, sizeof h->value, value);
}

static struct sent sent_of(const struct serve_reply *p)
{
    struct sent s = {.status = p->status,
                     .type = p->type,
                     .body = p->body,
                     .n = p->n,
                     .file = p->file,
                     .close = p->close,
                     .fd = p->fd,
                     .offset = p->offset,
                     .length = p->length,
                     .n_headers = p->n_headers};

    if (p->n_headers)
        s.headers = bt_memdup(p->headers, (size_t)p->n_headers * sizeof *p->headers);
    return s;
}

void reply_done(struct sent *reply)
{
    bt_free(reply->body);
    bt_free(reply->headers);
    if (reply->file && reply->fd >= 0)
        close(reply->fd);
    reply->body = NULL;
    reply->headers = NULL;
    reply->file = false;
}

void serve_json(struct serve_request *r, int status, char *text, size_t n)
{
    struct serve_reply reply = {.status = status, .type = "application/json", .n = n};

    reply.body = text;
    serve_reply(r, &reply);
}

void serve_problem(struct serve_request *r, const struct bt_err *e, int status, const char *more)
{
    struct bt_buf text = {0};
    struct serve_reply reply = {.status = status ? status : bt_err_http(e->code),
                                .type = PROBLEM_TYPE};

    problem_write(&text, e, reply.status, r->id, more);
    reply.n = text.n;
    reply.body = bt_buf_take(&text);
    serve_reply(r, &reply);
}

void serve_reply(struct serve_request *r, const struct serve_reply *reply)
{
    struct sent sent = sent_of(reply);

    pthread_mutex_lock(&r->lock);
    if (r->answered || r->gone) {
        r->answered = true;
    } else {
        timer_clear(r);
        r->reply = sent;
        sent = (struct sent){0};
        r->answered = true;
        if (r->suspended) {
            r->suspended = false;
            loop_resume(r);
        }
    }
    pthread_mutex_unlock(&r->lock);
    reply_done(&sent); /* it came too late */
    request_unref(r);
}

static struct MHD_Response *response_of(struct sent *p)
{
    struct MHD_Response *m;

    if (p->file) {
        m = MHD_create_response_from_fd_at_offset64((uint64_t)p->length, p->fd,
                                                    (uint64_t)p->offset);
        if (m)
            p->file = false;
        return m;
    }
    if (!p->body)
        return MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    m = MHD_create_response_from_buffer_with_free_callback(p->n, p->body, bt_free);
    if (m)
        p->body = NULL;
    return m;
}

/* An ETag of its bytes for JSON that was asked for; the client that has them already gets 304. */
static bool tag(struct serve_request *r, struct sent *p, char out[40])
{
    const char *have;
    uint8_t sha[32];

    if (p->status != 200 || !p->body || !p->type || strcmp(p->type, "application/json") != 0 ||
        strcmp(r->method, "GET") != 0)
        return false;
    bt_sha256(p->body, p->n, sha);
    out[0] = '"';
    bt_hex(sha, 16, out + 1);
    out[33] = '"';
    out[34] = '\0';
    have = serve_header(r, "If-None-Match");
    if (have && !strcmp(have, out)) {
        bt_free(BT_TAKE(p->body));
        p->type = NULL;
        p->status = 304;
    }
    return true;
}

enum MHD_Result request_send(struct serve_request *r)
{
    struct sent *p = &r->reply;
    char etag[40];
    bool tagged = tag(r, p, etag);
    struct MHD_Response *m = response_of(p);
    enum MHD_Result ok;

    if (!m)
        return MHD_NO;
    if (tagged)
        MHD_add_response_header(m, "ETag", etag);
    if (p->type)
        MHD_add_response_header(m, "Content-Type", p->type);
    MHD_add_response_header(m, "Beamtime-Request-Id", r->id);
    if (p->status == 429 || p->status == 503) {
        char s[8];

        snprintf(s, sizeof s, "%d", (int)LIMIT_RETRY_AFTER_S);
        MHD_add_response_header(m, "Retry-After", s);
    }
    for (int i = 0; i < p->n_headers; i++)
        MHD_add_response_header(m, p->headers[i].name, p->headers[i].value);
    if (p->close)
        MHD_add_response_header(m, "Connection", "close");
    wire_cork(r);
    ok = MHD_queue_response(r->mhd, (unsigned)p->status, m);
    MHD_destroy_response(m);
    return ok;
}
