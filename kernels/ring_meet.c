/* ring_meet.c - rendezvous and links of the ring.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernels/ring.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

enum {
    NONCE = 32,
    MAC = 32,
    ADDRESS_BYTES = 18,
    STRANGER_US = 3000000, /* how long rank 0 listens to somebody who has proved nothing */
    REFUSED_WAIT_MS = 20,  /* between two attempts to reach a rank 0 that is not up yet */
    BUFFER_BYTES = 4 << 20,
};

struct hello {
    char magic[8];
    uint32_t world, rank, port;
    uint8_t nonce[NONCE];
};

struct link_hello {
    char magic[8];
    uint32_t from, to;
    uint8_t mac[MAC];
};

static const char hello_magic[8] = "BTRING1", link_magic[8] = "BTLINK1";

/* ---- bytes ---- */

int ring_poll(struct ring *r, struct pollfd *fds, int n, struct bt_err *err)
{
    for (;;) {
        int64_t left = r->deadline_us - bt_mono_us();
        int got;

        if (left <= 0)
            return bt_fail(err, BT_ERR_TIMEOUT, "rank %d waited %lld s for the others in vain",
                           r->coll.rank, (long long)(r->config.timeout_us / BT_US_PER_S));
        got = poll(fds, (nfds_t)n, (int)BT_MIN(left / 1000 + 1, 60000));
        if (got > 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return bt_fail_errno(err, BT_ERR_IO, "cannot wait for the other ranks");
    }
}

int ring_lost(const struct ring *r, struct bt_err *err)
{
    return bt_fail(err, BT_ERR_RANK_LOST, "rank %d lost the connection to a neighbour",
                   r->coll.rank);
}

bool ring_later(void)
{
    return errno == EAGAIN || errno == EINTR;
}

int ring_send(struct ring *r, int fd, const void *p, size_t n, struct bt_err *err)
{
    for (size_t done = 0; done < n;) {
        struct pollfd poller = {.fd = fd, .events = POLLOUT};
        ssize_t w = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);

        if (w > 0)
            done += (size_t)w;
        else if (!ring_later())
            return ring_lost(r, err);
        else if (ring_poll(r, &poller, 1, err) < 0)
            return -BT_ERR_TIMEOUT;
    }
    return 0;
}

int ring_receive(struct ring *r, int fd, void *p, size_t n, struct bt_err *err)
{
    for (size_t done = 0; done < n;) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        ssize_t got = recv(fd, (char *)p + done, n - done, 0);

        if (got > 0)
            done += (size_t)got;
        else if (got == 0 || !ring_later())
            return ring_lost(r, err);
        else if (ring_poll(r, &poller, 1, err) < 0)
            return -BT_ERR_TIMEOUT;
    }
    return 0;
}

static bool same(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint8_t differing = 0;

    for (size_t i = 0; i < n; i++)
        differing |= a[i] ^ b[i];
    return !differing;
}

static int random_nonce(uint8_t out[NONCE], struct bt_err *err)
{
    return getrandom(out, NONCE, 0) == NONCE
               ? 0
               : bt_fail_errno(err, BT_ERR_IO, "the kernel gave no random bytes");
}

/* mac(secret, label | a | b) */
static void prove(const struct ring *r, char label, const void *a, size_t n_a, const void *b,
                  size_t n_b, uint8_t out[MAC])
{
    BT_AUTO uint8_t *text = bt_alloc(1 + n_a + n_b, 1);

    text[0] = (uint8_t)label;
    memcpy(text + 1, a, n_a);
    memcpy(text + 1 + n_a, b, n_b);
    r->config.mac(r->config.secret, COLL_SECRET_BYTES, text, 1 + n_a + n_b, out);
}

/* ---- sockets ---- */

static void tune(int fd)
{
    int one = 1, size = BUFFER_BYTES;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static int listen_on(const struct sockaddr *address, socklen_t n, struct bt_err *err)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, address, n) < 0 || listen(fd, 1024) < 0) {
        int rc = bt_fail_errno(err, errno == EADDRINUSE ? BT_ERR_LOCKED : BT_ERR_IO,
                               "cannot listen for the other ranks");

        close(fd);
        return rc;
    }
    return fd;
}

static int resolve(const struct ring *r, struct addrinfo **ret, struct bt_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char port[8];
    int rc;

    snprintf(port, sizeof port, "%u", r->config.port);
    rc = getaddrinfo(r->config.host, port, &hints, ret);
    return rc == 0 ? 0
                   : bt_fail(err, BT_ERR_NOT_FOUND, "rank 0's host %s: %s", r->config.host,
                             gai_strerror(rc));
}

static void address_of(const struct sockaddr_storage *s, struct ring_address *to)
{
    if (s->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)s;

        memcpy(to->ip, &six->sin6_addr, 16);
        to->port = ntohs(six->sin6_port);
    } else {
        const struct sockaddr_in *four = (const void *)s;

        memset(to->ip, 0, 10);
        memset(to->ip + 10, 0xff, 2);
        memcpy(to->ip + 12, &four->sin_addr, 4);
        to->port = ntohs(four->sin_port);
    }
}

static bool is_four(const struct ring_address *a)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    return !memcmp(a->ip, mapped, sizeof mapped);
}

static socklen_t sockaddr_of(const struct ring_address *a, struct sockaddr_storage *to)
{
    memset(to, 0, sizeof *to);
    if (is_four(a)) {
        struct sockaddr_in *four = (void *)to;

        four->sin_family = AF_INET;
        four->sin_port = htons(a->port);
        memcpy(&four->sin_addr, a->ip + 12, 4);
        return sizeof *four;
    }
    struct sockaddr_in6 *six = (void *)to;

    six->sin6_family = AF_INET6;
    six->sin6_port = htons(a->port);
    memcpy(&six->sin6_addr, a->ip, 16);
    return sizeof *six;
}

/* A connected descriptor; -BT_ERR_UNREACHABLE when nobody listens there. */
static int connect_to(struct ring *r, const struct sockaddr *address, socklen_t n,
                      struct bt_err *err)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc = 0;
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    int why = 0;
    socklen_t size = sizeof why;

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a socket");
    tune(fd);
    if (connect(fd, address, n) < 0 && errno != EINPROGRESS)
        why = errno;
    else
        rc = ring_poll(r, &poller, 1, err);
    if (rc == 0 && !why)
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &size);
    if (rc == 0 && why)
        rc = bt_fail(err, BT_ERR_UNREACHABLE, "cannot reach another rank: %s", strerror(why));
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

static int accept_one(struct ring *r, struct sockaddr_storage *from, struct bt_err *err)
{
    for (;;) {
        socklen_t n = sizeof *from;
        struct pollfd poller = {.fd = r->listener, .events = POLLIN};
        int fd = accept4(r->listener, (struct sockaddr *)from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int rc;

        if (fd >= 0) {
            tune(fd);
            return fd;
        }
        if (!ring_later() && errno != ECONNABORTED)
            return bt_fail_errno(err, BT_ERR_IO, "cannot accept another rank");
        rc = ring_poll(r, &poller, 1, err);
        if (rc < 0)
            return rc;
    }
}

/* ---- rank 0 ---- */

/* Reads a greeting and proves the secret both ways. Strangers get three seconds. */
static int greet(struct ring *r, int fd, struct hello *h, struct bt_err *err)
{
    uint8_t answer[NONCE + MAC], proof[MAC], want[MAC];
    int64_t deadline = r->deadline_us;
    int rc;

    r->deadline_us = BT_MIN(deadline, bt_mono_us() + STRANGER_US);
    rc = ring_receive(r, fd, h, sizeof *h, err);
    if (rc == 0 && memcmp(h->magic, hello_magic, 8) != 0)
        rc = bt_fail(err, BT_ERR_UNAUTHENTICATED, "a stranger came");
    if (rc == 0)
        rc = random_nonce(answer, err);
    if (rc == 0) {
        prove(r, 's', h, sizeof *h, answer, NONCE, answer + NONCE);
        rc = ring_send(r, fd, answer, sizeof answer, err);
    }
    if (rc == 0)
        rc = ring_receive(r, fd, proof, sizeof proof, err);
    r->deadline_us = deadline;
    if (rc < 0)
        return rc;
    prove(r, 'c', h, sizeof *h, answer, NONCE, want);
    return same(proof, want, MAC)
               ? 0
               : bt_fail(err, BT_ERR_UNAUTHENTICATED, "a rank does not know the job's secret");
}

static int admit(struct ring *r, int fd, const struct hello *h, const struct sockaddr_storage *from,
                 int *control, struct bt_err *err)
{
    if (h->world != (uint32_t)r->coll.world)
        return bt_fail(err, BT_ERR_CONFLICT, "rank %u counts %u ranks, rank 0 counts %d", h->rank,
                       h->world, r->coll.world);
    if (h->rank == 0 || h->rank >= h->world || control[h->rank] >= 0 || h->port > 65535)
        return bt_fail(err, BT_ERR_CONFLICT, "two processes call themselves rank %u", h->rank);
    address_of(from, &r->table[h->rank]);
    r->table[h->rank].port = (uint16_t)h->port;
    control[h->rank] = fd;
    return 0;
}

/* Strangers are turned away; only somebody who knows the secret can fail the meeting. */
static int gather(struct ring *r, int *control, struct bt_err *err)
{
    struct bt_err why = {0};
    int rejected = 0;

    for (int n = 1; n < r->coll.world;) {
        struct sockaddr_storage from;
        struct hello h;
        int fd = accept_one(r, &from, err), rc;

        if (fd == -BT_ERR_TIMEOUT && rejected)
            return bt_fail(err, BT_ERR_UNAUTHENTICATED,
                           "%d of %d ranks came; others were turned "
                           "away: %s",
                           n, r->coll.world, why.text);
        if (fd < 0)
            return fd;
        if (greet(r, fd, &h, &why) < 0) {
            rejected++;
            close(fd);
            continue;
        }
        rc = admit(r, fd, &h, &from, control, err);
        if (rc < 0) {
            close(fd);
            return rc;
        }
        n++;
    }
    return 0;
}

static size_t table_bytes(const struct ring *r)
{
    return NONCE + (size_t)r->coll.world * ADDRESS_BYTES;
}

/* session | addresses | mac */
static int send_table(struct ring *r, const int *control, struct bt_err *err)
{
    size_t n = table_bytes(r);
    BT_AUTO uint8_t *text = bt_alloc(n + MAC, 1);
    int rc = 0;

    memcpy(text, r->session, NONCE);
    for (int i = 0; i < r->coll.world; i++) {
        uint8_t *at = text + NONCE + (size_t)i * ADDRESS_BYTES;

        memcpy(at, r->table[i].ip, 16);
        at[16] = (uint8_t)(r->table[i].port >> 8);
        at[17] = (uint8_t)r->table[i].port;
    }
    prove(r, 't', text, n, "", 0, text + n);
    for (int i = 1; rc == 0 && i < r->coll.world; i++)
        rc = ring_send(r, control[i], text, n + MAC, err);
    return rc;
}

static int host(struct ring *r, const struct addrinfo *where, struct bt_err *err)
{
    BT_AUTO int *control = bt_new_n(int, r->coll.world);
    struct sockaddr_storage own = {0};
    int rc;

    r->listener = listen_on(where->ai_addr, where->ai_addrlen, err);
    if (r->listener < 0)
        return r->listener;
    memcpy(&own, where->ai_addr, where->ai_addrlen);
    address_of(&own, &r->table[0]);
    for (int i = 0; i < r->coll.world; i++)
        control[i] = -1;
    rc = random_nonce(r->session, err);
    if (rc == 0)
        rc = gather(r, control, err);
    if (rc == 0)
        rc = send_table(r, control, err);
    for (int i = 0; i < r->coll.world; i++) {
        if (control[i] >= 0)
            close(control[i]);
    }
    return rc;
}

/* ---- the others ---- */

/* Rank 0 may not be up yet: until the deadline a refused connection is tried again. */
static int reach(struct ring *r, const struct addrinfo *where, struct bt_err *err)
{
    for (;;) {
        struct bt_err why = {0};
        int fd = connect_to(r, where->ai_addr, where->ai_addrlen, &why);

        if (fd != -BT_ERR_UNREACHABLE)
            return fd < 0 ? bt_fail(err, (enum bt_errno) - fd, "%s", why.text) : fd;
        if (bt_mono_us() + REFUSED_WAIT_MS * 1000 > r->deadline_us)
            return bt_fail(err, BT_ERR_TIMEOUT, "rank %d: rank 0 at %s:%u: %s", r->coll.rank,
                           r->config.host, r->config.port, why.text);
        poll(NULL, 0, REFUSED_WAIT_MS);
    }
}

static int open_listener(struct ring *r, int family, uint32_t *ret_port, struct bt_err *err)
{
    struct sockaddr_storage any;
    struct ring_address own;
    socklen_t n = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    memset(&any, 0, sizeof any); /* the unspecified address, port 0 */
    any.ss_family = (sa_family_t)family;
    r->listener = listen_on((struct sockaddr *)&any, n, err);
    if (r->listener < 0)
        return r->listener;
    if (getsockname(r->listener, (struct sockaddr *)&any, &n) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot name the listener");
    address_of(&any, &own);
    *ret_port = own.port;
    return 0;
}

static int introduce(struct ring *r, int fd, uint32_t port, struct bt_err *err)
{
    struct hello h = {
        .world = (uint32_t)r->coll.world, .rank = (uint32_t)r->coll.rank, .port = port};
    uint8_t answer[NONCE + MAC], want[MAC], proof[MAC];
    struct bt_err why = {0};
    int rc = random_nonce(h.nonce, err);

    memcpy(h.magic, hello_magic, sizeof h.magic);
    if (rc == 0)
        rc = ring_send(r, fd, &h, sizeof h, err);
    if (rc == 0)
        rc = ring_receive(r, fd, answer, sizeof answer, err);
    if (rc < 0)
        return rc;
    prove(r, 's', &h, sizeof h, answer, NONCE, want);
    if (!same(answer + NONCE, want, MAC))
        return bt_fail(err, BT_ERR_UNAUTHENTICATED, "rank 0 does not know this job's secret");
    prove(r, 'c', &h, sizeof h, answer, NONCE, proof);
    rc = ring_send(r, fd, proof, sizeof proof, &why);
    return rc < 0 ? bt_fail(err, BT_ERR_UNAUTHENTICATED, "rank 0 turned rank %d away", r->coll.rank)
                  : 0;
}

static int read_table(struct ring *r, int fd, struct bt_err *err)
{
    size_t n = table_bytes(r);
    BT_AUTO uint8_t *text = bt_alloc(n + MAC, 1);
    uint8_t want[MAC];
    int rc = ring_receive(r, fd, text, n + MAC, err);

    if (rc < 0)
        return rc;
    prove(r, 't', text, n, "", 0, want);
    if (!same(text + n, want, MAC))
        return bt_fail(err, BT_ERR_UNAUTHENTICATED, "the table of ranks is not rank 0's");
    memcpy(r->session, text, NONCE);
    for (int i = 0; i < r->coll.world; i++) {
        const uint8_t *at = text + NONCE + (size_t)i * ADDRESS_BYTES;

        memcpy(r->table[i].ip, at, 16);
        r->table[i].port = (uint16_t)(at[16] << 8 | at[17]);
    }
    return 0;
}

static int join(struct ring *r, const struct addrinfo *where, struct bt_err *err)
{
    uint32_t port = 0;
    int rc = open_listener(r, where->ai_family, &port, err);
    BT_FD_AUTO int fd = rc < 0 ? -1 : reach(r, where, err);

    if (rc < 0 || fd < 0)
        return rc < 0 ? rc : fd;
    rc = introduce(r, fd, port, err);
    if (rc == 0)
        rc = read_table(r, fd, err);
    if (rc == 0) { /* rank 0 is where it was found, whatever it binds to */
        struct sockaddr_storage found = {0};

        memcpy(&found, where->ai_addr, where->ai_addrlen);
        address_of(&found, &r->table[0]);
    }
    return rc;
}

int ring_meet(struct ring *r, struct bt_err *err)
{
    struct addrinfo *where;
    int rc = resolve(r, &where, err);

    if (rc < 0)
        return rc;
    rc = r->coll.rank == 0 ? host(r, where, err) : join(r, where, err);
    freeaddrinfo(where);
    return rc;
}

/* ---- links ---- */

static void prove_link(const struct ring *r, struct link_hello *h)
{
    prove(r, 'l', r->session, NONCE, h, offsetof(struct link_hello, mac), h->mac);
}

int ring_link_to(struct ring *r, int rank, struct bt_err *err)
{
    struct link_hello h = {.from = (uint32_t)r->coll.rank, .to = (uint32_t)rank};
    struct sockaddr_storage address;
    socklen_t n = sockaddr_of(&r->table[rank], &address);
    int fd = r->to[rank], rc;

    if (fd >= 0)
        return fd;
    fd = connect_to(r, (struct sockaddr *)&address, n, err);
    if (fd < 0)
        return fd == -BT_ERR_UNREACHABLE ? ring_lost(r, err) : fd;
    memcpy(h.magic, link_magic, sizeof h.magic);
    prove_link(r, &h);
    rc = ring_send(r, fd, &h, sizeof h, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return r->to[rank] = fd;
}

/* Takes whoever comes until the one that is wanted has come; others of this job are kept. */
int ring_link_from(struct ring *r, int rank, struct bt_err *err)
{
    while (r->from[rank] < 0) {
        struct sockaddr_storage address;
        struct link_hello h, want;
        int fd = accept_one(r, &address, err);
        int64_t deadline = r->deadline_us;
        int rc;

        if (fd < 0)
            return fd;
        r->deadline_us = BT_MIN(deadline, bt_mono_us() + STRANGER_US);
        rc = ring_receive(r, fd, &h, sizeof h, NULL);
        r->deadline_us = deadline;
        want = h;
        if (rc == 0)
            prove_link(r, &want);
        if (rc < 0 || memcmp(h.magic, link_magic, 8) != 0 || !same(h.mac, want.mac, MAC) ||
            h.to != (uint32_t)r->coll.rank || h.from >= (uint32_t)r->coll.world ||
            r->from[h.from] >= 0) {
            close(fd);
            continue;
        }
        r->from[h.from] = fd;
    }
    return r->from[rank];
}
