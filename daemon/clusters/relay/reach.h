/* reach.h - the sockets of a relay: the one it listens on, and those to the facility.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLUSTERS_RELAY_REACH_H
#define BT_CLUSTERS_RELAY_REACH_H

#include <stdint.h>
#include <sys/socket.h>

#include "lib/base/err.h"

enum { REACH_MAX = 8 };

/* The facility's addresses; one that failed gives way to the next. */
struct reach {
    char host[256];
    char port[8];
    struct sockaddr_storage at[REACH_MAX];
    socklen_t len[REACH_MAX];
    int n, next;
};

/* Both read "host:port" and "[v6]:port"; BT_ERR_INVALID when it is none, BT_ERR_UNREACHABLE when
 * the name has no address. Names are looked up with the system's resolver, which may take seconds;
 * *ret keeps its addresses when a later look-up fails. */
int reach_find(const char *to, struct reach *ret, struct bt_err *err) BT_MUSTUSE;
int reach_listen(const char *at, int *ret_fd, int *ret_port, struct bt_err *err) BT_MUSTUSE;

/* Begins to connect: a non-blocking descriptor, or the negative of a code with errno's sentence. */
int reach_connect(const struct reach *to, struct bt_err *err) BT_MUSTUSE;

/* Small segments at once, and a peer that vanished is noticed within a minute. */
void reach_tune(int fd);

#endif
