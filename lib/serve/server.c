/* The server's life, and libmicrohttpd's callbacks. SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/api/limits.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/serve/own.h"

/* ---- connections ---- */

static bool is_loopback(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >> 24) ==
               127;
    return sa->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr);
}

static uint64_t address_key(const struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET)
        return bt_map_hash(&((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    if (sa->sa_family == AF_INET6) /* the /64 is the customer */
        return bt_map_hash(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 8);
    return 0;
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *sa, socklen_t n)
{
    struct server *s = cls;
    uint32_t count = 0;

    (void)n;
    if (is_loopback(sa) && !s->set.count_loopback)
        return MHD_YES;
    pthread_mutex_lock(&s->lock);
    (void)!bt_map_get(&s->addresses, address_key(sa), &count);
    pthread_mutex_unlock(&s->lock);
    return count < (uint32_t)s->set.per_address ? MHD_YES : MHD_NO;
}

void conn_count(struct conn *c, const struct sockaddr *sa)
{
    uint32_t count = 0;

    if (is_loopback(sa) && !c->s->set.count_loopback)
        return;
    c->address = address_key(sa);
    c->counted = true;
    pthread_mutex_lock(&c->s->lock);
    (void)!bt_map_get(&c->s->addresses, c->address, &count);
    bt_map_put(&c->s->addresses, c->address, count + 1);
    pthread_mutex_unlock(&c->s->lock);
}

void conn_uncount(struct conn *c)
{
    uint32_t count = 0;

    if (!c->counted)
        return;
    c->counted = false;
    pthread_mutex_lock(&c->s->lock);
    if (bt_map_get(&c->s->addresses, c->address, &count) && count > 1)
        bt_map_put(&c->s->addresses, c->address, count - 1);
    else
        bt_map_del(&c->s->addresses, c->address);
    pthread_mutex_unlock(&c->s->lock);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct server *s = cls;
    struct conn *c = *context;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const struct sockaddr *sa =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
        const void *ip =
            sa->sa_family == AF_INET
                ? (const void *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr
                : (const void *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

        c = bt_new(struct conn);
        c->s = s;
        c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        if (!inet_ntop(sa->sa_family, ip, c->peer, sizeof c->peer))
            c->peer[0] = '\0';
        conn_count(c, sa);
        young_add(c);
        if (s->set.cert_pem)
            wire_open(c, mhd);
        atomic_fetch_add(&s->connections, 1);
        *context = c;
        return;
    }
    if (!c)
        return;
    young_remove(c);
    conn_uncount(c);
    wire_close(c);
    atomic_fetch_sub(&s->connections, 1);
    bt_free(c);
    *context = NULL;
}

/* ---- requests ---- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct conn *c =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

    return request_new(cls, c, mhd, uri);
}

/* NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *p, size_t *n,
                                  void **context)
{
    struct serve_request *r = *context;

    (void)cls;
    (void)mhd;
    (void)version;
    r->s->moved++;
    if (!r->begun)
        return request_begin(r, method, url);
    if (*n) {
        size_t len = *n;

        *n = 0;
        return request_feed(r, p, len);
    }
    if (r->answered)
        return request_send(r);
    return request_hand_over(r);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode how)
{
    (void)cls;
    (void)mhd;
    (void)how;
    if (*context)
        request_gone(*context);
    *context = NULL;
}

static void say_nothing(void *cls, const char *fmt, va_list ap)
{
    (void)cls;
    (void)fmt;
    (void)ap;
}

/* ---- start ---- */

static int listen_at(const struct serve_settings *set, int *ret_fd, int *ret_port,
                     struct bt_err *err)
{
    struct sockaddr_in6 sa6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)set->port)};
    struct sockaddr_in sa4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)set->port)};
    const char *address = set->address ? set->address : "127.0.0.1";
    bool v6 = inet_pton(AF_INET6, address, &sa6.sin6_addr) == 1;
    struct sockaddr *sa = v6 ? (struct sockaddr *)(void *)&sa6 : (struct sockaddr *)(void *)&sa4;
    socklen_t n = v6 ? sizeof sa6 : sizeof sa4;
    int on = 1;
    int fd;

    if (!v6 && inet_pton(AF_INET, address, &sa4.sin_addr) != 1)
        return bt_fail(err, BT_ERR_INVALID, "'%s' is no IP address to listen on", address);
    fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, sa, n) < 0 || listen(fd, 4096) < 0 || getsockname(fd, sa, &n) < 0) {
        int rc = bt_fail_errno(err, BT_ERR_IO, "cannot listen on %s port %d", address, set->port);

        close(fd);
        return rc;
    }
    *ret_port = ntohs(v6 ? sa6.sin6_port : sa4.sin_port);
    *ret_fd = fd;
    return 0;
}

static void fill_defaults(struct serve_settings *set)
{
#define DEFAULT(member, value)   \
    do {                         \
        if (!set->member)        \
            set->member = value; \
    } while (0)
    DEFAULT(max_connections, LIMIT_CONNECTIONS);
    DEFAULT(per_address, LIMIT_PER_ADDRESS);
    DEFAULT(head_bytes, LIMIT_HEAD_PEOPLE_BYTES);
    DEFAULT(handshake_ms, LIMIT_HANDSHAKE_MS);
    DEFAULT(receive_ms, 30000);
    DEFAULT(deadline_ms, LIMIT_DEADLINE_S * 1000);
    DEFAULT(idle_s, LIMIT_IDLE_S);
#undef DEFAULT
}

/* libmicrohttpd's options; items has room for 16. */
static void options_of(const struct serve_settings *set, int fd, struct MHD_OptionItem *items)
{
    int n = 0;

#define OPTION(o, v, p)                   \
    items[n++] = (struct MHD_OptionItem){ \
        .option = (o), .value = (intptr_t)(v), .ptr_value = (void *)(uintptr_t)(p)}
    OPTION(MHD_OPTION_LISTEN_SOCKET, fd, 0);
    OPTION(MHD_OPTION_CONNECTION_MEMORY_LIMIT, set->head_bytes, 0);
    OPTION(MHD_OPTION_CONNECTION_LIMIT, set->max_connections, 0);
    OPTION(MHD_OPTION_CONNECTION_TIMEOUT, set->idle_s, 0);
    OPTION(MHD_OPTION_STRICT_FOR_CLIENT, 1, 0);
    if (set->cert_pem) {
        OPTION(MHD_OPTION_HTTPS_MEM_CERT, 0, set->cert_pem);
        OPTION(MHD_OPTION_HTTPS_MEM_KEY, 0, set->key_pem);
        OPTION(MHD_OPTION_HTTPS_MEM_TRUST, 0, set->ca_pem);
        OPTION(MHD_OPTION_HTTPS_PRIORITIES, 0, "NORMAL:-VERS-ALL:+VERS-TLS1.3:%NO_TICKETS");
    }
    OPTION(MHD_OPTION_END, 0, 0);
#undef OPTION
}

static void server_free(struct server *s)
{
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->quiet);
    bt_map_done(&s->addresses);
    bt_free((char *)(uintptr_t)s->set.cert_pem);
    if (s->set.key_pem)
        bt_wipe((char *)(uintptr_t)s->set.key_pem, strlen(s->set.key_pem));
    bt_free((char *)(uintptr_t)s->set.key_pem);
    bt_free((char *)(uintptr_t)s->set.ca_pem);
    bt_free(s);
}

static struct server *server_new(const struct serve_settings *set, const struct serve_handler *h)
{
    struct server *s = bt_new(struct server);
    pthread_condattr_t attr;

    s->set = *set;
    s->set.address = NULL;
    if (set->cert_pem) {
        s->set.cert_pem = bt_strdup(set->cert_pem);
        s->set.key_pem = bt_strdup(set->key_pem);
        s->set.ca_pem = bt_strdup(set->ca_pem);
    }
    s->handler = *h;
    fill_defaults(&s->set);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->quiet, &attr);
    pthread_condattr_destroy(&attr);
    return s;
}

int server_start(const struct serve_settings *settings, const struct serve_handler *handler,
                 struct server **ret, struct bt_err *err)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_ITC;
    struct MHD_OptionItem items[16];
    struct server *s;
    int fd = -1, rc;

    if (settings->cert_pem && (!settings->key_pem || !settings->ca_pem || !settings->store))
        return bt_fail(err, BT_ERR_INVALID,
                       "TLS needs a certificate, its key, the root and a store");
    s = server_new(settings, handler);
    rc = listen_at(settings, &fd, &s->port, err);
    if (rc < 0) {
        server_free(s);
        return rc;
    }
    options_of(&s->set, fd, items);
    timers_start(s);
    s->mhd = MHD_start_daemon(flags | (s->set.cert_pem ? MHD_USE_TLS : 0), 0, on_accept, s,
                              on_request, s, MHD_OPTION_EXTERNAL_LOGGER, say_nothing, NULL,
                              MHD_OPTION_NOTIFY_CONNECTION, on_connection, s,
                              MHD_OPTION_URI_LOG_CALLBACK, on_uri, s, MHD_OPTION_NOTIFY_COMPLETED,
                              on_completed, NULL, MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    if (!s->mhd) {
        close(fd);
        timers_stop(s);
        server_free(s);
        return bt_fail(err, BT_ERR_INVALID,
                       "the server does not start with this certificate and key");
    }
    rc = loop_start(s, err);
    if (rc < 0) {
        MHD_stop_daemon(s->mhd);
        timers_stop(s);
        server_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

int server_port(const struct server *s)
{
    return s->port;
}

struct serve_counts server_counts(const struct server *s)
{
    return (struct serve_counts){
        .requests = atomic_load(&s->requests),
        .refused_heads = atomic_load(&s->refused_heads),
        .handshakes_cut = atomic_load(&s->handshakes_cut),
        .bodies_cut = atomic_load(&s->bodies_cut),
        .deadlines = atomic_load(&s->deadlines),
        .connections = atomic_load(&s->connections),
        .active = atomic_load(&s->active),
        .turns = atomic_load(&s->turns),
    };
}

/* ---- stop ---- */

static void wait_quiet(struct server *s, int ms)
{
    int64_t until = bt_mono_us() + (int64_t)ms * 1000;
    struct timespec ts = {.tv_sec = until / BT_US_PER_S, .tv_nsec = until % BT_US_PER_S * 1000};

    pthread_mutex_lock(&s->lock);
    while (atomic_load(&s->active) > 0)
        if (pthread_cond_timedwait(&s->quiet, &s->lock, &ts) != 0)
            break;
    pthread_mutex_unlock(&s->lock);
}

void server_stop(struct server *s, int drain_ms)
{
    int fd;

    if (!s)
        return;
    fd = MHD_quiesce_daemon(s->mhd);
    atomic_store(&s->stopping, true);
    timers_expire_all(s, true);
    wait_quiet(s, drain_ms);
    atomic_store(&s->ending, true);
    timers_expire_all(s, false);
    wait_quiet(s, 1000);
    loop_stop(s);
    MHD_stop_daemon(s->mhd);
    if (fd >= 0)
        close(fd);
    timers_stop(s);
    server_free(s);
}
