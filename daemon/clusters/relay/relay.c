/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/relay/relay.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include "daemon/clusters/relay/reach.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum {
    EVENTS = 256,       /* of one turn */
    ACCEPTS = 64,       /* of one turn: those who speak shall not wait for all who come */
    FIRST_MS = 3000,    /* LIMIT_HANDSHAKE_MS of the facility */
    LINGER_MS = 5000,   /* for the other side when one has ended */
    SWEEP_MS = 500,     /* between two looks at who is due */
    AGAIN_MS = 15000,   /* between two look-ups of the facility's name */
    TLS_HANDSHAKE = 22, /* the first byte of a ClientHello's record (RFC 8446, 5.1) */
};

enum stage { SILENT, WAITING, CONNECTING, OPEN };

struct end {
    struct pair *of;
    int fd;           /* -1: none yet */
    uint32_t watched; /* by epoll; 0: not at all */
    char *hold;       /* what waits to be sent there: p[at..n) */
    size_t at, n;
    bool over; /* it will say no more */
    bool shut; /* it was told that the other says no more */
};

struct pair {
    TAILQ_ENTRY(pair) all, line;
    enum stage stage;
    struct end node, facility;
    uint64_t address;
    bool fresh;  /* the facility does not know it yet */
    bool spoken; /* the facility has spoken */
    bool dead;
    int64_t due_us;
};

TAILQ_HEAD(pairs, pair);

struct relay {
    struct relay_settings set;
    int listener, epoll, port;
    bool deaf; /* there is no room for more */
    struct reach to;
    int64_t find_us; /* the name may be looked up again from then on */
    struct pairs all, waiting, dead;
    struct bt_map addresses, freshes; /* connections of an address, and those that are fresh */
    struct relay_counts counts;
    int64_t sweep_us;
    bool lost; /* the last try to reach the facility failed */
    char why[240];
    char chunk[RELAY_CHUNK];
};

static uint32_t count_of(const struct bt_map *m, uint64_t key)
{
    uint32_t n = 0;

    (void)bt_map_get(m, key, &n);
    return n;
}

static void count(struct bt_map *m, uint64_t key, int by)
{
    uint32_t n = count_of(m, key) + (uint32_t)by;

    if (n)
        bt_map_put(m, key, n);
    else
        (void)bt_map_del(m, key);
}

/* ---- a pair ---- */

static struct end *other(struct end *e)
{
    return e == &e->of->node ? &e->of->facility : &e->of->node;
}

static void put_due(struct pair *p, int ms)
{
    p->due_us = bt_mono_us() + (int64_t)ms * 1000;
}

/* What epoll shall tell of an end now. */
static uint32_t wanted(struct end *e)
{
    const struct pair *p = e->of;

    switch (p->stage) {
    case SILENT:
        return e == &p->node ? EPOLLIN : 0;
    case WAITING:
        return 0;
    case CONNECTING:
        return e == &p->facility ? EPOLLOUT : 0;
    case OPEN:
        break;
    }
    return (!e->over && !other(e)->n ? EPOLLIN : 0u) | (e->n ? EPOLLOUT : 0u);
}

/* An end of which nothing is wanted is taken out: epoll tells of a broken one without pause. */
static void watch(struct relay *r, struct end *e)
{
    uint32_t want = e->of->dead ? 0 : wanted(e);
    struct epoll_event ev = {.events = want, .data.ptr = e};

    if (e->fd < 0 || want == e->watched)
        return;
    (void)epoll_ctl(r->epoll,
                    !want         ? EPOLL_CTL_DEL
                    : !e->watched ? EPOLL_CTL_ADD
                                  : EPOLL_CTL_MOD,
                    e->fd, &ev);
    e->watched = want;
}

static void know(struct relay *r, struct pair *p)
{
    if (!p->fresh)
        return;
    p->fresh = false;
    r->counts.fresh--;
    count(&r->freshes, p->address, -1);
}

static void hang_up(struct end *e, bool reset)
{
    const struct linger now = {.l_onoff = 1};

    if (e->fd < 0)
        return;
    if (reset)
        (void)setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(e->fd);
    e->fd = -1;
    bt_free(e->hold);
    e->hold = NULL;
    e->at = e->n = 0;
}

/* Events of this turn may still name it: its memory goes at the turn's end. */
static void end_pair(struct relay *r, struct pair *p, bool reset)
{
    if (p->dead)
        return;
    know(r, p);
    if (p->stage == WAITING) {
        TAILQ_REMOVE(&r->waiting, p, line);
        r->counts.waiting--;
    }
    hang_up(&p->node, reset);
    hang_up(&p->facility, reset);
    count(&r->addresses, p->address, -1);
    r->counts.open--;
    TAILQ_REMOVE(&r->all, p, all);
    p->dead = true;
    TAILQ_INSERT_TAIL(&r->dead, p, line);
}

/* ---- bytes ---- */

static bool would_wait(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* Sends what waits for e: false when that cannot be. */
static bool flush(struct end *e)
{
    while (e->n > e->at) {
        ssize_t n = send(e->fd, e->hold + e->at, e->n - e->at, MSG_NOSIGNAL);

        if (n < 0)
            return would_wait();
        e->at += (size_t)n;
    }
    bt_free(e->hold);
    e->hold = NULL;
    e->at = e->n = 0;
    if (other(e)->over && !e->shut) {
        e->shut = true;
        (void)shutdown(e->fd, SHUT_WR);
    }
    return true;
}

static void keep(struct end *e, const char *p, size_t n)
{
    e->hold = bt_memdup(p, n);
    e->at = 0;
    e->n = n;
}

/* One piece from e to the other end, which has nothing waiting: false when one of them broke. */
static bool carry(struct relay *r, struct end *e)
{
    struct end *to = other(e);
    struct pair *p = e->of;
    ssize_t n = recv(e->fd, r->chunk, RELAY_CHUNK, 0);
    ssize_t sent;

    if (n < 0)
        return would_wait();
    if (n == 0 && p->fresh) /* nothing is owed to either */
        return false;
    if (n == 0) {
        e->over = true;
        put_due(p, LINGER_MS);
        return flush(to);
    }
    if (e == &p->facility) {
        p->spoken = true;
        r->lost = false;
        r->counts.down_bytes += (uint64_t)n;
    } else {
        r->counts.up_bytes += (uint64_t)n;
        if (p->spoken) /* its certificate, and with it the request, are on their way */
            know(r, p);
    }
    if (!to->over && !e->shut)
        put_due(p, p->fresh ? r->set.connect_ms : r->set.idle_ms);
    sent = send(to->fd, r->chunk, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && !would_wait())
        return false;
    if (sent < n)
        keep(to, r->chunk + BT_MAX(sent, 0), (size_t)(n - BT_MAX(sent, 0)));
    return true;
}

/* ---- towards the facility ---- */

static void lose(struct relay *r, const struct bt_err *e)
{
    bt_copy(r->why, sizeof r->why, e->text);
    r->lost = true;
    r->counts.failed++;
    if (r->to.n)
        r->to.next = (r->to.next + 1) % r->to.n;
}

/* A facility that moved is found under its name, but never while anybody is connected: looking up
 * may take seconds. */
static void find_again(struct relay *r)
{
    struct bt_err e = {0};

    if (!r->lost || r->counts.fresh || bt_mono_us() < r->find_us)
        return;
    for (const struct pair *p = TAILQ_FIRST(&r->all); p; p = TAILQ_NEXT(p, all))
        if (p->stage == OPEN)
            return;
    r->find_us = bt_mono_us() + (int64_t)AGAIN_MS * 1000;
    if (reach_find(r->set.to, &r->to, &e) < 0)
        bt_copy(r->why, sizeof r->why, e.text);
}

static void dial(struct relay *r, struct pair *p)
{
    struct bt_err e = {0};
    int fd;

    TAILQ_REMOVE(&r->waiting, p, line);
    r->counts.waiting--;
    p->stage = CONNECTING;
    find_again(r);
    fd = reach_connect(&r->to, &e);
    if (fd < 0) {
        lose(r, &e);
        end_pair(r, p, true);
        return;
    }
    p->facility.fd = fd;
    p->fresh = true;
    r->counts.fresh++;
    count(&r->freshes, p->address, 1);
    put_due(p, r->set.connect_ms);
    watch(r, &p->facility);
}

/* In order of coming, but no address has more than a quarter of what may be fresh. */
static void admit(struct relay *r)
{
    uint32_t share = (uint32_t)BT_MAX(r->set.handshakes / 4, 1);
    struct pair *next;

    for (struct pair *p = TAILQ_FIRST(&r->waiting); p && r->counts.fresh < r->set.handshakes;
         p = next) {
        next = TAILQ_NEXT(p, line);
        if (count_of(&r->freshes, p->address) < share)
            dial(r, p);
    }
}

static void connected(struct relay *r, struct pair *p)
{
    struct bt_err e = {0};
    int error = 0;
    socklen_t n = sizeof error;

    (void)getsockopt(p->facility.fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) {
        errno = error;
        (void)bt_fail_errno(&e, BT_ERR_UNREACHABLE, "%s:%s cannot be reached", r->to.host,
                            r->to.port);
        lose(r, &e);
        end_pair(r, p, true);
        return;
    }
    r->counts.carried++;
    p->stage = OPEN;
    put_due(p, r->set.connect_ms); /* to speak */
    if (!flush(&p->facility))
        end_pair(r, p, true);
}

/* ---- from the nodes ---- */

static void hear_first(struct relay *r, struct pair *p)
{
    ssize_t n = recv(p->node.fd, r->chunk, RELAY_CHUNK, 0);

    if (n < 0 && would_wait())
        return;
    if (n <= 0 || r->chunk[0] != TLS_HANDSHAKE) {
        r->counts.refused += n > 0;
        end_pair(r, p, true);
        return;
    }
    r->counts.up_bytes += (uint64_t)n;
    keep(&p->facility, r->chunk, (size_t)n);
    p->stage = WAITING;
    put_due(p, r->set.connect_ms);
    TAILQ_INSERT_TAIL(&r->waiting, p, line);
    r->counts.waiting++;
}

static void take(struct relay *r, int fd, uint64_t address)
{
    struct pair *p = bt_new(struct pair);

    *p = (struct pair){.node = {.of = p, .fd = fd}, .facility = {.of = p, .fd = -1}};
    p->address = address;
    TAILQ_INSERT_TAIL(&r->all, p, all);
    count(&r->addresses, address, 1);
    r->counts.open++;
    r->counts.accepted++;
    reach_tune(fd);
    put_due(p, r->set.first_ms);
    watch(r, &p->node);
}

/* While there is no room, those who come wait in the kernel's queue. */
static void listen_or_not(struct relay *r, bool deaf)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

    if (deaf == r->deaf)
        return;
    r->deaf = deaf;
    (void)epoll_ctl(r->epoll, deaf ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, r->listener, &ev);
}

static bool may_come(const struct relay *r, const struct sockaddr *sa, uint64_t *ret_address)
{
    uint8_t address[16];

    if (!prefix_address(sa, address) || !prefixes_have(&r->set.allow, address))
        return false;
    *ret_address = bt_map_hash(address, sizeof address);
    return count_of(&r->addresses, *ret_address) < (uint32_t)r->set.per_address;
}

static void accept_some(struct relay *r)
{
    for (int i = 0; i < ACCEPTS && r->counts.open < r->set.connections; i++) {
        struct sockaddr_storage sa = {0};
        socklen_t n = sizeof sa;
        uint64_t address = 0;
        int fd = accept4(r->listener, (struct sockaddr *)&sa, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                listen_or_not(r, true); /* until the next sweep */
            return;
        }
        if (may_come(r, (struct sockaddr *)&sa, &address)) {
            take(r, fd, address);
        } else {
            r->counts.refused++;
            close(fd);
        }
    }
    if (r->counts.open >= r->set.connections)
        listen_or_not(r, true);
}

/* ---- turns ---- */

static void serve_end(struct relay *r, struct end *e, uint32_t events)
{
    struct pair *p = e->of;

    if (p->stage == SILENT) {
        hear_first(r, p);
    } else if (p->stage == CONNECTING) {
        connected(r, p);
    } else if (p->stage == OPEN) {
        bool well = !(events & (EPOLLERR | EPOLLHUP)) || (events & EPOLLIN);

        if (well && (events & EPOLLOUT))
            well = flush(e);
        if (well && (events & EPOLLIN) && !other(e)->n)
            well = carry(r, e);
        if (!well || (p->node.shut && p->facility.shut))
            end_pair(r, p, !well);
    }
    watch(r, &p->node);
    watch(r, &p->facility);
}

static void sweep(struct relay *r)
{
    int64_t now = bt_mono_us();
    struct pair *next;

    if (now < r->sweep_us)
        return;
    r->sweep_us = now + (int64_t)SWEEP_MS * 1000;
    for (struct pair *p = TAILQ_FIRST(&r->all); p; p = next) {
        struct bt_err e = {0};

        next = TAILQ_NEXT(p, all);
        if (now < p->due_us)
            continue;
        if (p->stage == CONNECTING || (p->stage == OPEN && !p->spoken)) {
            (void)bt_fail(&e, BT_ERR_UNREACHABLE, "%s:%s does not answer", r->to.host, r->to.port);
            lose(r, &e);
        }
        end_pair(r, p, true);
    }
    listen_or_not(r, r->counts.open >= r->set.connections);
}

static void bury(struct relay *r)
{
    struct pair *p;

    while ((p = TAILQ_FIRST(&r->dead))) {
        TAILQ_REMOVE(&r->dead, p, line);
        bt_free(p);
    }
}

int relay_turn(struct relay *r, int timeout_ms, struct bt_err *err)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(r->epoll, events, EVENTS,
                       r->counts.open || r->deaf ? BT_MIN(timeout_ms, SWEEP_MS) : timeout_ms);

    if (n < 0 && errno != EINTR)
        return bt_fail_errno(err, BT_ERR_IO, "cannot wait for connections");
    for (int i = 0; i < n; i++) {
        struct end *e = events[i].data.ptr;

        if (!e)
            accept_some(r);
        else if (!e->of->dead)
            serve_end(r, e, events[i].events);
    }
    admit(r);
    sweep(r);
    bury(r);
    return 0;
}

/* ---- life ---- */

int relay_open(const struct relay_settings *set, struct relay **ret, struct bt_err *err)
{
    struct relay *r = bt_new(struct relay);
    int rc;

    r->set = *set;
    r->set.first_ms = set->first_ms ? set->first_ms : FIRST_MS;
    r->listener = r->epoll = -1;
    r->deaf = true;
    TAILQ_INIT(&r->all);
    TAILQ_INIT(&r->waiting);
    TAILQ_INIT(&r->dead);
    rc = reach_find(set->to, &r->to, err);
    if (rc == 0)
        rc = reach_listen(set->listen, &r->listener, &r->port, err);
    if (rc == 0 && (r->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot make an epoll");
    if (rc < 0) {
        relay_close(r);
        return rc;
    }
    listen_or_not(r, false);
    *ret = r;
    return 0;
}

void relay_close(struct relay *r)
{
    struct pair *p;

    if (!r)
        return;
    while ((p = TAILQ_FIRST(&r->all)))
        end_pair(r, p, true);
    bury(r);
    if (r->listener >= 0)
        close(r->listener);
    if (r->epoll >= 0)
        close(r->epoll);
    bt_map_done(&r->addresses);
    bt_map_done(&r->freshes);
    bt_free(r);
}

int relay_port(const struct relay *r)
{
    return r->port;
}

struct relay_counts relay_counts(const struct relay *r)
{
    return r->counts;
}

bool relay_reaches(const struct relay *r, const char **ret_why)
{
    *ret_why = r->why;
    return !r->lost;
}
