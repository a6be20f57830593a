/* serve.h - an HTTP/1.1 server over mutual TLS (or plain, for the public): requests in, replies
 * from any thread, nothing of libmicrohttpd shows. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A request's way: its head is checked for ambiguous framing (head.h) and the client's certificate
 * is verified once a connection; `head` of the handler then says how much body it wants, or replies
 * at once; `ready` is called when the body is complete. From `head` on the handler owes exactly one
 * serve_reply, then or later, from any thread; a connection that waits costs no thread.
 *
 * What libmicrohttpd 0.9.75 does not do is done here: a half-open handshake or a first request that
 * does not come is cut after handshake_ms, a slow body after receive_ms, a request that nobody
 * answers gets 503 UNKNOWN_OUTCOME after deadline_ms. A client that goes away while its request
 * waits is noticed when the reply is written; nothing leaks. */
#ifndef BT_SERVE_SERVE_H
#define BT_SERVE_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/time.h"
#include "lib/crypto/cert.h"

struct server;
struct serve_request;

struct serve_settings {
    const char *address; /* an IP address, "127.0.0.1" if NULL */
    int port;            /* 0: any free one */
    /* TLS 1.3 when set; PEM texts, copied. ca_pem is only told to clients; `store` decides. */
    const char *cert_pem; /* the server's leaf and its intermediate */
    const char *key_pem;
    const char *ca_pem;
    struct cert_store *store; /* borrowed; whom to believe */
    /* 0 in what follows takes the default of lib/api/limits.def */
    int max_connections;
    int per_address;     /* connections of one address: before authentication, or all when plain */
    bool count_loopback; /* also for 127.0.0.0/8 and ::1: users of this machine and its proxy */
    size_t head_bytes;   /* also what each connection costs in memory */
    int handshake_ms;    /* from accept to the first complete request head */
    int receive_ms;      /* for a body held in memory; four times as long for a streamed one */
    int deadline_ms;     /* from complete request to reply */
    int idle_s;          /* between requests */
    const struct bt_clock *clock; /* for certificates; NULL: the system's */
};

struct serve_handler {
    void *arg;
    /* In a server thread, must not block. See above. Without serve_want_body or serve_stream_body a
     * request with a body is refused (413). */
    void (*head)(void *arg, struct serve_request *r);
    void (*ready)(void *arg, struct serve_request *r);
    /* NULL, or called in the server's thread when all requests that had come were handed to `ready`
     * and before it waits for more; those that come wait as long as this takes. Returns -1, or a
     * file descriptor: it is called again when that is readable. */
    int (*turned)(void *arg);
};

/* Listens and serves from a thread of its own. BT_ERR_IO when the address cannot be had,
 * BT_ERR_INVALID for keys or addresses that make no sense. */
int server_start(const struct serve_settings *settings, const struct serve_handler *handler,
                 struct server **ret, struct bt_err *err) BT_MUSTUSE;
int server_port(const struct server *s);

/* Stops listening, ends waits early, lets the other requests finish for up to drain_ms, answers the
 * rest 503 and releases everything. A serve_reply that comes later still is harmless. */
void server_stop(struct server *s, int drain_ms);

struct serve_counts {
    uint64_t requests, refused_heads, handshakes_cut, bodies_cut, deadlines;
    uint64_t connections; /* open now */
    uint64_t active;      /* requests begun and not finished */
    uint64_t turns;       /* of the loop */
};
struct serve_counts server_counts(const struct server *s);

/* ---- what a request says; borrowed, valid until the reply ---- */

const char *serve_method(const struct serve_request *r);
const char *serve_path(const struct serve_request *r); /* decoded, without the query */
/* Of head and ready only, in the server's thread. NULL if absent. */
const char *serve_query(struct serve_request *r, const char *name);
const char *serve_header(struct serve_request *r, const char *name);
/* The verified client; NULL without a certificate (a bad one never gets here). */
const struct cert_identity *serve_identity(const struct serve_request *r);
const char *serve_id(const struct serve_request *r);      /* UUIDv7, also in the reply's header */
const char *serve_peer(const struct serve_request *r);    /* the client's address, for a log line */
int64_t serve_body_length(const struct serve_request *r); /* as announced; 0 without a body */
const char *serve_body(const struct serve_request *r, size_t *ret_n);

/* The handler's own data with its release, called once when the request is gone. */
void serve_set_user(struct serve_request *r, void *user, void (*release)(void *user));
void *serve_user(const struct serve_request *r);

/* ---- in head ---- */

/* Holds a body of at most max bytes in memory; a longer one is answered 413. */
void serve_want_body(struct serve_request *r, size_t max);
/* Hands the body to chunk(user, …) as it comes. A failing chunk (negative, *err filled) lets the
 * rest pass unread and answers with its error instead of calling ready. */
void serve_stream_body(struct serve_request *r, int64_t max,
                       int (*chunk)(void *user, const void *p, size_t n, struct bt_err *err));

/* ---- in ready ---- */

/* Another deadline than the settings': after ms, expired(arg, r) is called from the server's timer
 * thread instead of the 503; it may serve_reply if nobody else does (the owner of r decides).
 * At most 120 s. */
void serve_wait(struct serve_request *r, int ms,
                void (*expired)(void *arg, struct serve_request *r), void *arg);

/* ---- the reply ---- */

enum { SERVE_HEADERS = 6, SERVE_HEADER_MAX = 208 };

struct serve_header_line {
    const char *name; /* static */
    char value[SERVE_HEADER_MAX];
};

struct serve_reply {
    int status;
    const char *type; /* static; NULL: no Content-Type */
    char *body;       /* owned (bt_free) by the reply; NULL: none, or a file */
    size_t n;
    bool file; /* send `length` bytes of fd from offset; fd is owned by the reply */
    int fd;
    int64_t offset;
    int64_t length;
    bool close; /* end the connection after it */
    int n_headers;
    struct serve_header_line headers[SERVE_HEADERS];
};

/* Adds a header while there is room; a value with control characters is left out. */
void serve_reply_header(struct serve_reply *reply, const char *name, const char *value);

/* Answers; r is no longer the caller's. Any thread. Beamtime-Request-Id is added, and Retry-After
 * to 429 and 503. Takes body and fd over, also when the deadline answered before. */
void serve_reply(struct serve_request *r, const struct serve_reply *reply);

/* serve_reply with text (owned, bt_free) as JSON. */
void serve_json(struct serve_request *r, int status, char *text, size_t n);

/* serve_reply with a problem document (lib/api/problem.h). `status` 0: the error's own; `more`:
 * JSON members without braces, or NULL. */
void serve_problem(struct serve_request *r, const struct bt_err *e, int status, const char *more);

#endif
