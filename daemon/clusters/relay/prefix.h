/* prefix.h - which addresses a relay lets in: a list such as "10.1.0.0/16,
 * 2001:db8::/32, 10.9.0.7". SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLUSTERS_RELAY_PREFIX_H
#define BT_CLUSTERS_RELAY_PREFIX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/base/err.h"

enum { PREFIXES_MAX = 64 };

/* An address as 16 bytes; IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), so that one comparison
 * serves both, also for what a dual-stack socket accepts. */
struct prefixes {
    int n; /* 0: everybody */
    struct prefix {
        uint8_t address[16];
        int bits; /* 0..128 */
    } of[PREFIXES_MAX];
};

/* Separated by commas or blanks; an address without /BITS is itself alone. BT_ERR_INVALID for
 * what is none, has bits set behind its length, or is one too many. */
int prefixes_parse(const char *text, struct prefixes *ret, struct bt_err *err) BT_MUSTUSE;

/* False for another family than IPv4 and IPv6. */
bool prefix_address(const struct sockaddr *sa, uint8_t ret[16]) BT_MUSTUSE;
bool prefixes_have(const struct prefixes *p, const uint8_t address[16]);

#endif
