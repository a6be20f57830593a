/* What a TLS connection reads and writes. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * GnuTLS asks its transport for the five bytes of a record's head and then for the rest, and
 * libmicrohttpd sends the head and the body of an answer as a record each. Here one recv takes both
 * (what is left stays with its connection until it is asked for), and a short answer is corked
 * until libmicrohttpd is done with its request: one record, one send.
 *
 * libmicrohttpd reads a connection until it hears EAGAIN, so nothing that was read ahead is
 * forgotten. One that was suspended is read once before its answer is written, and only afterwards
 * put into the epoll set again: that read is told EAGAIN without asking the kernel. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/mem.h"
#include "lib/serve/own.h"

/* A body that is sent in one record with its head; longer ones gain little. */
enum { SHORT_ANSWER = 4096 };

/* ---- reading ---- */

static size_t take(char *to, size_t max, const char *from, size_t *at, size_t *n)
{
    size_t got = BT_MIN(max, *n);

    memcpy(to, from + *at, got);
    *at += got;
    *n -= got;
    return got;
}

/* What was read ahead for another connection stays with that one. */
static void put_by(struct near *near)
{
    struct conn *c = near->of;

    if (near->n == 0)
        return;
    c->ahead = bt_memdup(near->p + near->at, near->n);
    c->ahead_at = 0;
    c->ahead_n = near->n;
    near->n = 0;
}

static ssize_t pull(gnutls_transport_ptr_t transport, void *p, size_t n)
{
    struct conn *c = transport;
    struct near *near = &c->s->near;
    ssize_t got;

    if (c->ahead_n) {
        size_t some = take(p, n, c->ahead, &c->ahead_at, &c->ahead_n);

        if (c->ahead_n == 0)
            bt_free(BT_TAKE(c->ahead));
        c->s->moved++;
        return (ssize_t)some;
    }
    if (near->n == 0 || near->of != c) {
        if (c->resumed) {
            c->resumed = false;
            errno = EAGAIN;
            return -1;
        }
        if (n >= sizeof near->p) {
            got = recv(c->fd, p, n, 0);
            c->s->moved += got >= 0; /* also the end is news */
            return got;
        }
        put_by(near);
        got = recv(c->fd, near->p, sizeof near->p, 0);
        c->s->moved += got >= 0;
        if (got <= 0)
            return got;
        near->of = c;
        near->at = 0;
        near->n = (size_t)got;
    }
    c->s->moved++;
    return (ssize_t)take(p, n, near->p, &near->at, &near->n);
}

/* ---- writing ---- */

static ssize_t push(gnutls_transport_ptr_t transport, const giovec_t *iov, int n)
{
    struct conn *c = transport;
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
    ssize_t put = sendmsg(c->fd, &msg, MSG_NOSIGNAL);

    c->s->moved += put > 0;
    return put;
}

void wire_cork(struct serve_request *r)
{
    struct conn *c = r->conn;

    if (!c->tls || !r->handed || r->reply.close || r->reply.file || r->reply.n > SHORT_ANSWER)
        return;
    if (c->full) { /* it asks on and reads no answers */
        shutdown(c->fd, SHUT_RDWR);
        return;
    }
    gnutls_record_cork(c->tls);
    c->corked = true;
}

/* Sends what is corked; true when the socket takes no more of it for now. */
static bool is_full(struct conn *c)
{
    int rc = gnutls_record_uncork(c->tls, 0);

    if (rc < 0 && gnutls_error_is_fatal(rc))
        shutdown(c->fd, SHUT_RDWR);
    return rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED;
}

void wire_uncork(struct conn *c)
{
    if (!c->corked)
        return;
    c->corked = false;
    if (!c->prompt) { /* libmicrohttpd corked the socket, and pushes before anything is sent */
        c->prompt = true;
        setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &(int){0}, sizeof(int));
    }
    c->full = is_full(c);
    if (c->full) {
        c->next_full = c->s->full;
        c->s->full = c;
    }
}

void wire_flush(struct server *s)
{
    for (struct conn **at = &s->full; *at;) {
        struct conn *c = *at;

        c->full = is_full(c);
        if (c->full)
            at = &c->next_full;
        else
            *at = c->next_full;
    }
}

static void forget_full(struct conn *c)
{
    for (struct conn **at = &c->s->full; *at; at = &(*at)->next_full)
        if (*at == c) {
            *at = c->next_full;
            return;
        }
}

/* ---- life ---- */

void wire_open(struct conn *c, struct MHD_Connection *mhd)
{
    c->tls = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
    gnutls_transport_set_ptr(c->tls, c);
    gnutls_transport_set_pull_function(c->tls, pull);
    gnutls_transport_set_vec_push_function(c->tls, push);
}

void wire_close(struct conn *c)
{
    if (c->s->near.of == c)
        c->s->near.n = 0;
    if (c->full)
        forget_full(c);
    bt_free(BT_TAKE(c->ahead));
}
