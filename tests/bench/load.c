/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "tests/bench/rig.h"

enum { ANSWER_MAX = 262144 };

struct connection {
    SSL *ssl;
    int fd;
    struct bt_buf in, out;
    size_t written;
    int64_t sent_us;
};

static int dial(const struct load *l)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || inet_pton(AF_INET, l->host, &to.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        rig_die("cannot connect to port %d: %s", l->port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void open_one(const struct load *l, SSL_CTX *ctx, int i, struct connection *c)
{
    char cert[512];
    char key[512];

    l->identity(l->arg, i, cert, key, sizeof cert);
    c->fd = dial(l);
    c->ssl = SSL_new(ctx);
    if (SSL_use_certificate_file(c->ssl, cert, SSL_FILETYPE_PEM) != 1 ||
        SSL_use_PrivateKey_file(c->ssl, key, SSL_FILETYPE_PEM) != 1)
        rig_die("cannot use %s", cert);
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_connect(c->ssl) != 1)
        rig_die("handshake %d failed", i);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void send_more(struct connection *c)
{
    while (c->written < c->out.n) {
        int n = SSL_write(c->ssl, c->out.p + c->written, (int)(c->out.n - c->written));

        if (n <= 0) {
            if (SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_WRITE)
                continue; /* requests are small: the socket takes them at once */
            rig_die("a connection broke while writing");
        }
        c->written += (size_t)n;
    }
}

/* False when the connection has nothing more to ask. */
static bool next_request(const struct load *l, int i, struct connection *c)
{
    bt_buf_clear(&c->out);
    c->written = 0;
    l->request(l->arg, i, &c->out);
    c->sent_us = bt_mono_us();
    send_more(c);
    return c->out.n > 0;
}

/* The length of a complete answer in c->in, 0 if more must come; *ret_body is its body. */
static size_t complete(const struct connection *c, const char **ret_body, size_t *ret_n)
{
    static const char name[] = "\r\nContent-Length:";
    const char *end = c->in.n ? memmem(c->in.p, c->in.n, "\r\n\r\n", 4) : NULL;
    size_t n = 0;

    if (!end)
        return 0;
    for (const char *at = c->in.p; (at = memchr(at, '\r', (size_t)(end - at))); at++)
        if (!strncasecmp(at, name, sizeof name - 1))
            n = strtoull(at + sizeof name - 1, NULL, 10);
    *ret_body = end + 4;
    *ret_n = n;
    end += 4 + n;
    return (size_t)(end - c->in.p) <= c->in.n ? (size_t)(end - c->in.p) : 0;
}

/* Reads what is there; true when an answer was complete and handled. */
static bool receive(const struct load *l, int i, struct connection *c)
{
    struct load_answer a = {.connection = i, .sent_us = c->sent_us};
    bool whole = false;

    while (!whole) {
        char *room = bt_buf_room(&c->in, 16384);
        int n = SSL_read(c->ssl, room, 16384);

        if (n <= 0) {
            if (SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ)
                rig_die("connection %d was closed", i);
            break;
        }
        c->in.n += (size_t)n;
        c->in.p[c->in.n] = '\0';
        if (c->in.n > ANSWER_MAX)
            rig_die("an answer is too long");
        whole = complete(c, &a.body, &a.n); /* one request at a time: nothing follows it */
    }
    if (!whole)
        return false;
    a.got_us = bt_mono_us();
    a.status = (int)strtol(c->in.p + 9, NULL, 10);
    l->answer(l->arg, &a);
    bt_buf_clear(&c->in);
    return true;
}

static SSL_CTX *make_context(const struct load *l)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx || SSL_CTX_load_verify_locations(ctx, l->ca_file, NULL) != 1)
        rig_die("cannot read %s", l->ca_file);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_read_ahead(ctx, 1); /* a record's head and rest with one recv */
    return ctx;
}

void load_run(const struct load *l, double seconds, struct load_result *ret)
{
    SSL_CTX *ctx = make_context(l);
    struct connection *c = bt_new_n(struct connection, (size_t)l->connections);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    int64_t began = bt_mono_us();
    int64_t until;
    int open = 0;

    (void)signal(SIGPIPE, SIG_IGN); /* a peer that closes is told by the call that meets it */

    for (int i = 0; i < l->connections; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};

        open_one(l, ctx, i, &c[i]);
        epoll_ctl(ep, EPOLL_CTL_ADD, c[i].fd, &e);
        if (l->at_once)
            open += next_request(l, i, &c[i]);
    }
    ret->connect_us = bt_mono_us() - began;
    began = bt_mono_us();
    until = began + (int64_t)(seconds * 1e6);
    ret->n = 0;
    for (int i = 0; !l->at_once && i < l->connections; i++)
        open += next_request(l, i, &c[i]);
    while (open > 0) {
        struct epoll_event ev[64];
        int n = epoll_wait(ep, ev, 64, 30000);

        if (n <= 0)
            rig_die("no answer for 30 s");
        for (int k = 0; k < n; k++) {
            int i = (int)ev[k].data.u32;

            if (!receive(l, i, &c[i]))
                continue;
            ret->n++;
            if (bt_mono_us() >= until || !next_request(l, i, &c[i]))
                open--;
        }
    }
    ret->run_us = bt_mono_us() - began;
    for (int i = 0; i < l->connections; i++) {
        SSL_free(c[i].ssl);
        close(c[i].fd);
        bt_buf_done(&c[i].in);
        bt_buf_done(&c[i].out);
    }
    close(ep);
    bt_free(c);
    SSL_CTX_free(ctx);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

int64_t load_percentile(int64_t *v, int64_t n, double percent)
{
    if (n == 0)
        return 0;
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[BT_MIN((int64_t)((double)n * percent / 100), n - 1)];
}
