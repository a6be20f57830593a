/* own.h - what the files of this folder share; not for others.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_SERVE_OWN_H
#define BT_SERVE_OWN_H

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/buf.h"
#include "lib/base/map.h"
#include "lib/base/uuid.h"
#include "lib/serve/head.h"
#include "lib/serve/serve.h"

enum { TICK_MS = 250, WHEEL = 512 }; /* 128 s ahead */

struct timed { /* a place in a bucket of the wheel, or in the list of young connections */
    struct timed *prev, *next;
    int64_t at_ms; /* connections: when it was accepted */
};

/* A connection, from accept to close; touched by its server thread and, under timers.lock, by the
 * timer thread. */
struct conn {
    struct timed young; /* in timers.young until its first request head is complete */
    struct server *s;
    int fd;
    bool counted; /* in s->addresses */
    uint64_t address;
    char peer[INET6_ADDRSTRLEN];
    void *tls;   /* the session; NULL when plain */
    char *ahead; /* owned: read from the socket and not asked for yet */
    size_t ahead_at, ahead_n;
    bool resumed; /* its answer is written before anything is read */
    bool corked;  /* an answer is being gathered */
    bool prompt;  /* the socket sends at once what it is given */
    bool full;    /* in s->full */
    struct conn *next_full;
    enum { AUTH_UNKNOWN, AUTH_NONE, AUTH_GOOD, AUTH_BAD } auth;
    struct cert_identity identity;
    struct bt_err why; /* AUTH_BAD */
};

struct timers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct timed young; /* list heads */
    struct timed wheel[WHEEL];
    int64_t tick; /* wheel[tick % WHEEL] was looked at last */
    int n;        /* entries in all */
    bool asleep;  /* the thread waits for the next entry, and not for the next tick */
    bool stop;
    pthread_t thread;
};

/* A client's chain of certificates that was found good lately. */
struct known_peer {
    uint8_t sha256[32]; /* over all of it */
    int64_t from_us, until_us;
    struct cert_identity identity;
};

enum { KNOWN_PEERS = 64 };

/* What the latest recv took beyond what was asked for. */
struct near {
    struct conn *of;
    size_t at, n;
    char p[4096];
};

struct server {
    struct serve_settings set;
    struct serve_handler handler;
    struct MHD_Daemon *mhd;
    int port;
    struct {
        pthread_t thread;
        int wake;                           /* eventfd that ends its wait */
        pthread_mutex_t lock;               /* first, last */
        struct serve_request *first, *last; /* answered, to be resumed */
        atomic_bool end;
    } loop;
    struct known_peer peers[KNOWN_PEERS]; /* the loop's thread; by the first byte of the hash */
    struct near near;                     /* the loop's thread, as the next two */
    struct conn *full;                    /* connections whose socket took no more of an answer */
    uint64_t moved;                       /* bytes and callbacks */
    struct timers timers;
    pthread_mutex_t lock; /* addresses, quiet */
    struct bt_map addresses;
    pthread_cond_t quiet; /* active fell to 0 */
    atomic_bool stopping; /* no new request is begun */
    atomic_bool ending;   /* nor one handed over that has begun */
    atomic_uint_fast64_t requests, refused_heads, handshakes_cut, bodies_cut, deadlines;
    atomic_uint_fast64_t connections, active, turns;
};

/* A reply that is on its way: small, because each request holds one. */
struct sent {
    int status;
    const char *type;
    char *body;
    size_t n;
    bool file, close;
    int fd;
    int64_t offset, length;
    int n_headers;
    struct serve_header_line *headers; /* NULL when there are none */
};

struct serve_request {
    struct timed timer; /* first */
    atomic_int refs;    /* one of libmicrohttpd, one of the handler until it replied */
    pthread_mutex_t lock;
    struct server *s;
    struct conn *conn;
    struct MHD_Connection *mhd; /* valid until gone */
    bool begun, handed, suspended, answered, gone;
    /* the head */
    char id[BT_UUID_TEXT];
    const char *uri; /* raw target in libmicrohttpd's memory: only its place is used later */
    size_t uri_n;
    struct bt_err *bad_uri; /* NULL: it is fine */
    const char *method, *path;
    int64_t length;
    /* the body */
    size_t want;
    int64_t stream_max; /* 0: none */
    int (*chunk)(void *user, const void *p, size_t n, struct bt_err *err);
    struct bt_buf body;
    struct bt_err *failed;      /* of a chunk; NULL: none did */
    struct serve_request *next; /* in loop.first */
    /* the wait */
    void (*expired)(void *arg, struct serve_request *r);
    void *expired_arg;
    struct sent reply;
    void *user;
    void (*release)(void *user);
};

/* ---- timers.c ---- */

void timers_start(struct server *s);
void timers_stop(struct server *s);
void timer_set(struct serve_request *r, int ms); /* replaces */
void timer_clear(struct serve_request *r);
void young_add(struct conn *c);
bool young_remove(struct conn *c); /* false: it was not there */
/* As if every timer were due: of those that wait (serve_wait), or of all. */
void timers_expire_all(struct server *s, bool only_waits);
/* request.c: what a due timer does; the caller holds a reference */
void request_expire(struct serve_request *r);

/* ---- request.c ---- */

struct serve_request *request_new(struct server *s, struct conn *c, struct MHD_Connection *mhd,
                                  const char *uri);
void request_ref(struct serve_request *r);
void request_unref(struct serve_request *r);
void request_gone(struct serve_request *r); /* libmicrohttpd is done with it */
enum MHD_Result request_begin(struct serve_request *r, const char *method, const char *path);
enum MHD_Result request_feed(struct serve_request *r, const char *p, size_t n);
enum MHD_Result request_hand_over(struct serve_request *r);
enum MHD_Result request_send(struct serve_request *r); /* reply.c */
void reply_done(struct sent *reply);

/* ---- loop.c ---- */

int loop_start(struct server *s, struct bt_err *err) BT_MUSTUSE;
void loop_stop(struct server *s);
void loop_resume(struct serve_request *r); /* it is suspended, and can be answered now */

/* ---- wire.c, in the loop's thread ---- */

void wire_open(struct conn *c, struct MHD_Connection *mhd); /* of a server that speaks TLS */
void wire_close(struct conn *c);
void wire_cork(struct serve_request *r); /* its answer comes next */
void wire_uncork(struct conn *c);        /* the answer is complete */
void wire_flush(struct server *s);       /* asks those sockets again that took no more */

/* ---- peer.c ---- */

/* Settles c->auth by the certificates that the client sent. */
void peer_verify(struct conn *c, struct MHD_Connection *mhd);

/* ---- server.c ---- */

void conn_count(struct conn *c, const struct sockaddr *sa);
void conn_uncount(struct conn *c);

#endif
