/* relay.h - carries the connections of a site's agents to the facility, byte by byte.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The relay sees TLS and no more: agents and facility verify each other end to end, so it holds no
 * key, can read and forge nothing, and keeps nothing that a crash could lose. What must survive an
 * outage lies in the agents' spools until the facility has it (agent/spool.h).
 *
 * A connection's way: accepted if its address may; nothing happens until the agent's first bytes
 * are there (TLS: the client speaks first); then it waits its turn, so that the facility, which
 * bounds the connections of one address that it does not know yet, never refuses one of ours; is
 * connected; and bytes go both ways. A receiver that does not take them stops the sender: at most
 * RELAY_CHUNK bytes wait a direction. When either side ends or falls silent, so does the other.
 *
 * One thread: relay_turn does what can be done now. */
#ifndef BT_CLUSTERS_RELAY_RELAY_H
#define BT_CLUSTERS_RELAY_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/clusters/relay/prefix.h"

enum { RELAY_CHUNK = 64 * 1024 };

struct relay_settings {
    const char *listen; /* "host:port", borrowed as is `to`; port 0: any free one */
    const char *to;
    struct prefixes allow;
    int connections;
    int per_address;
    int handshakes;
    int connect_ms;
    int idle_ms;
    int first_ms; /* from accept to the first bytes; 0: 3 s, as long as the facility waits */
};

struct relay_counts {
    uint64_t accepted, refused, carried; /* refused: by address or because it had too many */
    uint64_t failed;                     /* the facility was not reached for it */
    uint64_t up_bytes, down_bytes;       /* to the facility, from it */
    int open, waiting, fresh;            /* now; fresh: not yet known to the facility */
};

struct relay;

/* Listens. BT_ERR_INVALID for addresses that make no sense, BT_ERR_IO when listening fails,
 * BT_ERR_UNREACHABLE when the facility's name has no address. */
int relay_open(const struct relay_settings *set, struct relay **ret, struct bt_err *err) BT_MUSTUSE;
void relay_close(struct relay *r); /* cuts every connection */

int relay_port(const struct relay *r);
struct relay_counts relay_counts(const struct relay *r);

/* Waits at most timeout_ms for something to do and does it. BT_ERR_IO only when epoll fails. */
int relay_turn(struct relay *r, int timeout_ms, struct bt_err *err) BT_MUSTUSE;

/* Whether the last try to reach the facility succeeded (true before the first one), and if not,
 * why: one sentence, borrowed until the next turn. */
bool relay_reaches(const struct relay *r, const char **ret_why);

#endif
