/* A request from its head to the end. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>
#include <sys/socket.h>

#include "lib/api/limits.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/serve/own.h"

enum { SWALLOW = 65536 };

struct serve_request *request_new(struct server *s, struct conn *c, struct MHD_Connection *mhd,
                                  const char *uri)
{
    struct serve_request *r = bt_new(struct serve_request);
    struct bt_err err;

    r->s = s;
    r->conn = c;
    r->mhd = mhd;
    r->uri = uri;
    r->uri_n = uri ? strlen(uri) : 0;
    atomic_init(&r->refs, 1);
    pthread_mutex_init(&r->lock, NULL);
    bt_uuid_format(bt_uuid_new(bt_now_us()), r->id);
    if (head_check_target(uri ? uri : "", LIMIT_URL_BYTES, &err) < 0)
        r->bad_uri = bt_memdup(&err, sizeof err);
    atomic_fetch_add(&s->requests, 1);
    atomic_fetch_add(&s->active, 1);
    timer_set(r, s->set.receive_ms);
    return r;
}

void request_ref(struct serve_request *r)
{
    atomic_fetch_add(&r->refs, 1);
}

/* Gives n references back. */
static void give_back(struct serve_request *r, int n)
{
    if (atomic_fetch_sub(&r->refs, n) != n)
        return;
    reply_done(&r->reply);
    if (r->release)
        r->release(r->user);
    bt_buf_done(&r->body);
    bt_free(r->bad_uri);
    bt_free(r->failed);
    pthread_mutex_destroy(&r->lock);
    bt_free(r);
}

void request_unref(struct serve_request *r)
{
    give_back(r, 1);
}

void request_gone(struct serve_request *r)
{
    struct server *s = r->s;
    bool owed;

    r->conn->resumed = false;
    wire_uncork(r->conn);
    timer_clear(r);
    pthread_mutex_lock(&r->lock);
    r->gone = true;
    r->suspended = false;
    r->mhd = NULL;
    r->conn = NULL;
    /* the handler saw the head but never got the body: it owes nothing any more */
    owed = r->begun && !r->handed && !r->answered;
    pthread_mutex_unlock(&r->lock);
    give_back(r, owed ? 2 : 1);
    if (atomic_fetch_sub(&s->active, 1) == 1 && atomic_load(&s->stopping)) {
        pthread_mutex_lock(&s->lock);
        pthread_cond_broadcast(&s->quiet);
        pthread_mutex_unlock(&s->lock);
    }
}

void request_expire(struct serve_request *r)
{
    void (*expired)(void *, struct serve_request *) = NULL;
    struct bt_err e;

    pthread_mutex_lock(&r->lock);
    if (r->answered || r->gone) {
        pthread_mutex_unlock(&r->lock);
        return;
    }
    if (!r->handed) {
        atomic_fetch_add(&r->s->bodies_cut, 1);
        shutdown(r->conn->fd, SHUT_RDWR);
        pthread_mutex_unlock(&r->lock);
        return;
    }
    expired = r->expired;
    pthread_mutex_unlock(&r->lock);
    if (expired) {
        expired(r->expired_arg, r);
        return;
    }
    atomic_fetch_add(&r->s->deadlines, 1);
    bt_next(
        &e,
        bt_fail(&e, BT_ERR_UNKNOWN_OUTCOME, "no answer within %d s", r->s->set.deadline_ms / 1000),
        "repeat the request with the same id");
    request_ref(r);
    serve_problem(r, &e, 0, NULL);
}

/* ---- beginning ---- */

static void refuse(struct serve_request *r, const struct bt_err *e, int status)
{
    serve_problem(r, e, status, NULL);
    r->reply.close = true;
}

struct compare {
    const struct head *head;
    int i;
    bool same;
};

static enum MHD_Result compare_line(void *cls, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    struct compare *c = cls;

    (void)kind;
    c->same = c->same && c->i < c->head->n && key == c->head->lines[c->i].name &&
              (value ? value : "")[0] == c->head->lines[c->i].value[0] &&
              (!value || value == c->head->lines[c->i].value);
    c->i++;
    return MHD_YES;
}

/* What libmicrohttpd understood must be what the strict walk found. */
static int check_head(struct serve_request *r, const char *method, struct head *head,
                      int *ret_status, struct bt_err *err)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct compare c = {.head = head, .same = true};
    size_t n = info ? info->header_size : 0;
    int rc;

    *ret_status = 400;
    if (r->bad_uri) {
        *ret_status = r->bad_uri->code == BT_ERR_TOO_LARGE ? 414 : 400;
        *err = *r->bad_uri;
        return -err->code;
    }
    if (!r->uri || r->uri < method || (size_t)(r->uri - method) > n || n > r->s->set.head_bytes)
        return bt_fail(err, BT_ERR_INVALID, "the request line is malformed");
    rc = head_check(method, n, (size_t)(r->uri - method), r->uri_n, head, ret_status, err);
    if (rc < 0)
        return rc;
    MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, compare_line, &c);
    if (!c.same || c.i != head->n)
        return bt_fail(err, BT_ERR_INVALID, "the request head is ambiguous");
    return 0;
}

/* libmicrohttpd must not be stopped while a request is suspended, so none begins any more. */
static enum MHD_Result refuse_stopping(struct serve_request *r)
{
    struct bt_err err;

    bt_fail(&err, BT_ERR_BUSY, "the daemon is stopping");
    refuse(r, &err, 503);
    return request_send(r);
}

enum MHD_Result request_begin(struct serve_request *r, const char *method, const char *path)
{
    struct conn *c = r->conn;
    struct head head;
    struct bt_err err;
    int status;

    head.length = 0;
    young_remove(c);
    r->method = method;
    r->path = path;
    r->begun = true;
    request_ref(r); /* the handler's, given back by its reply */
    if (check_head(r, method, &head, &status, &err) < 0) {
        atomic_fetch_add(&r->s->refused_heads, 1);
        refuse(r, &err, status);
        return request_send(r);
    }
    if (atomic_load(&r->s->stopping))
        return refuse_stopping(r);
    r->length = head.length;
    if (r->s->set.cert_pem) {
        peer_verify(c, r->mhd);
        if (c->auth == AUTH_BAD) {
            refuse(r, &c->why, 401);
            return request_send(r);
        }
        if (c->auth == AUTH_GOOD)
            conn_uncount(c);
    }
    r->s->handler.head(r->s->handler.arg, r);
    if (r->answered) /* an early reply ends the connection: a short body may pass unread first */
        return r->length > SWALLOW ? request_send(r) : MHD_YES;
    if (r->length > (r->chunk ? r->stream_max : (int64_t)r->want)) {
        bt_fail(&err, BT_ERR_TOO_LARGE, "the body has %lld bytes, at most %lld are read here",
                (long long)r->length, (long long)(r->chunk ? r->stream_max : (int64_t)r->want));
        refuse(r, &err, 413);
        return request_send(r);
    }
    if (r->chunk)
        timer_set(r, BT_MIN(4 * r->s->set.receive_ms, 120000));
    return MHD_YES;
}

/* ---- the body ---- */

enum MHD_Result request_feed(struct serve_request *r, const char *p, size_t n)
{
    struct bt_err err = {.code = BT_ERR_INTERNAL};

    if (r->answered || r->failed)
        return MHD_YES;
    if (r->chunk) {
        if (r->chunk(r->user, p, n, &err) < 0)
            r->failed = bt_memdup(&err, sizeof err);
        return MHD_YES;
    }
    r->body.max = r->want;
    bt_buf_add(&r->body, p, n);
    return r->body.over ? MHD_NO : MHD_YES; /* more than was announced */
}

enum MHD_Result request_hand_over(struct serve_request *r)
{
    enum MHD_Result result = MHD_YES;
    bool answered;

    if (r->failed) {
        r->handed = true;
        serve_problem(r, r->failed, 0, NULL);
        return request_send(r);
    }
    if (atomic_load(&r->s->ending) && !r->answered) {
        r->handed = true;
        return refuse_stopping(r);
    }
    pthread_mutex_lock(&r->lock);
    r->handed = true;
    pthread_mutex_unlock(&r->lock);
    timer_set(r, r->s->set.deadline_ms);
    r->s->handler.ready(r->s->handler.arg, r);
    pthread_mutex_lock(&r->lock);
    answered = r->answered;
    if (!answered) {
        MHD_suspend_connection(r->mhd);
        r->suspended = true;
    }
    pthread_mutex_unlock(&r->lock);
    if (answered)
        result = request_send(r);
    return result;
}

/* ---- what handlers ask ---- */

const char *serve_method(const struct serve_request *r)
{
    return r->method;
}

const char *serve_path(const struct serve_request *r)
{
    return r->path;
}

const char *serve_query(struct serve_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->mhd, MHD_GET_ARGUMENT_KIND, name);
}

const char *serve_header(struct serve_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->mhd, MHD_HEADER_KIND, name);
}

const struct cert_identity *serve_identity(const struct serve_request *r)
{
    return r->conn && r->conn->auth == AUTH_GOOD ? &r->conn->identity : NULL;
}

const char *serve_id(const struct serve_request *r)
{
    return r->id;
}

const char *serve_peer(const struct serve_request *r)
{
    return r->conn ? r->conn->peer : "";
}

int64_t serve_body_length(const struct serve_request *r)
{
    return r->length;
}

const char *serve_body(const struct serve_request *r, size_t *ret_n)
{
    *ret_n = r->body.n;
    return bt_buf_text(&r->body);
}

void serve_set_user(struct serve_request *r, void *user, void (*release)(void *user))
{
    r->user = user;
    r->release = release;
}

void *serve_user(const struct serve_request *r)
{
    return r->user;
}

void serve_want_body(struct serve_request *r, size_t max)
{
    r->want = max;
}

void serve_stream_body(struct serve_request *r, int64_t max,
                       int (*chunk)(void *user, const void *p, size_t n, struct bt_err *err))
{
    r->stream_max = max;
    r->chunk = chunk;
}

void serve_wait(struct serve_request *r, int ms,
                void (*expired)(void *arg, struct serve_request *r), void *arg)
{
    pthread_mutex_lock(&r->lock);
    r->expired_arg = arg;
    r->expired = expired;
    timer_set(r, atomic_load(&r->s->stopping) ? 0 : BT_MAX(0, BT_MIN(ms, 120000)));
    pthread_mutex_unlock(&r->lock);
}
