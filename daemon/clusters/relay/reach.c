/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/relay/reach.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "lib/conf/conf.h"

enum { BACKLOG = 4096, SILENCE_S = 30, PROBES = 3, VANISHED_MS = 60000 };

static int split(const char *text, char *host, size_t size, char port[8], struct bt_err *err)
{
    uint16_t number = 0;
    int rc = conf_address(text, host, size, &number, err);

    (void)snprintf(port, 8, "%u", number);
    return rc;
}

int reach_find(const char *to, struct reach *ret, struct bt_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = split(to, ret->host, sizeof ret->host, ret->port, err);

    if (rc < 0)
        return rc;
    rc = getaddrinfo(ret->host, ret->port, &hints, &found);
    if (rc != 0)
        return bt_fail(err, BT_ERR_UNREACHABLE, "the facility's host %.100s has no address: %s",
                       ret->host, gai_strerror(rc));
    ret->n = ret->next = 0;
    for (const struct addrinfo *a = found; a && ret->n < REACH_MAX; a = a->ai_next) {
        memcpy(&ret->at[ret->n], a->ai_addr, a->ai_addrlen);
        ret->len[ret->n++] = a->ai_addrlen;
    }
    freeaddrinfo(found);
    return 0;
}

int reach_listen(const char *at, int *ret_fd, int *ret_port, struct bt_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    struct sockaddr_in6 own = {0}; /* of IPv4 too: the port lies at the same place */
    struct addrinfo *found = NULL;
    socklen_t n = sizeof own;
    char host[256], port[8];
    int on = 1;
    int rc = split(at, host, sizeof host, port, err);

    if (rc < 0)
        return rc;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return bt_fail(err, BT_ERR_INVALID, "%.100s is no address to listen on", host);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&own, &n) < 0) {
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot listen on %.100s", at);
        if (fd >= 0)
            close(fd);
    } else {
        *ret_fd = fd;
        *ret_port = ntohs(own.sin6_port);
    }
    freeaddrinfo(found);
    return rc;
}

void reach_tune(int fd)
{
    int on = 1, silence = SILENCE_S, probes = PROBES, vanished = VANISHED_MS;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &silence, sizeof silence);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &silence, sizeof silence);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &vanished, sizeof vanished);
}

int reach_connect(const struct reach *to, struct bt_err *err)
{
    const struct sockaddr *sa = (const struct sockaddr *)&to->at[to->next];
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_BUSY, "cannot make a socket");
    reach_tune(fd);
    if (connect(fd, sa, to->len[to->next]) < 0 && errno != EINPROGRESS) {
        int rc =
            bt_fail_errno(err, BT_ERR_UNREACHABLE, "%s:%s cannot be reached", to->host, to->port);

        close(fd);
        return rc;
    }
    return fd;
}
