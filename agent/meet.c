/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/meet.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/crypto/hash.h"

int meet_port(struct bt_err *err)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    BT_FD_AUTO int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot find a free port for the ranks");
    return ntohs(a.sin_port);
}

int meet_address(const char *url, char *ret, size_t size, struct bt_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    const char *host = strstr(url, "://");
    struct sockaddr_storage own = {0};
    socklen_t n = sizeof own;
    struct addrinfo *at = NULL;
    char name[256];

    host = host ? host + 3 : url;
    bool bracket = *host == '[';
    size_t len = strcspn(host + bracket, bracket ? "]" : ":/");
    (void)snprintf(name, sizeof name, "%.*s", (int)BT_MIN(len, sizeof name - 1), host + bracket);
    if (getaddrinfo(name, "9", &hints, &at) != 0) /* any port: nothing is sent */
        return bt_fail(err, BT_ERR_UNREACHABLE, "the facility's host %.100s has no address", name);
    BT_FD_AUTO int fd = socket(at->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok =
        fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        getsockname(fd, (struct sockaddr *)&own, &n) == 0 &&
        getnameinfo((struct sockaddr *)&own, n, ret, (socklen_t)size, NULL, 0, NI_NUMERICHOST) == 0;
    freeaddrinfo(at);
    return ok ? 0 : bt_fail_errno(err, BT_ERR_IO, "cannot tell this node's own address");
}

int meet_secret(const char *path, struct bt_err *err)
{
    uint8_t random[32];
    char hex[65];

    bt_random(random, sizeof random);
    bt_hex(random, sizeof random, hex);
    (void)unlink(path);
    int rc = bt_file_write(path, 0600, hex, 64, err);
    bt_wipe(random, sizeof random);
    bt_wipe(hex, sizeof hex);
    return rc;
}

void meet_program(const char *libexec, const char *name, char *ret, size_t size)
{
    (void)snprintf(ret, size, "%s/%s", libexec, name);
    if (access(ret, X_OK) < 0)
        (void)snprintf(ret, size, "%s/%s/%s", libexec, strchr(name, '-') + 1, name);
}
