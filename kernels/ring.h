/* ring.h - how ranks find each other and keep authenticated links; collective_ring.c moves data on
 * them. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Rank 0 listens where everybody was told. Each other rank opens a listener of its own, greets
 * rank 0, both prove the job's secret (challenge and response), and rank 0 answers
 * with a session nonce and everyone's address once all are there. Later links are made on demand
 * and carry one proof over (session, from, to); a link is one direction of data. */
#ifndef BT_KERNELS_RING_H
#define BT_KERNELS_RING_H

#include <stdbool.h>

#include "kernels/collective.h"

struct ring_address {
    uint8_t ip[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
};

struct ring {
    struct coll coll; /* first: what callers see */
    struct coll_config config;
    struct ring_address *table; /* [world] */
    int *to, *from;             /* [world] descriptors, -1: no link yet */
    int listener;
    uint8_t session[32];
    int broken; /* the code of the first error, 0 before */
    int64_t deadline_us;
    char *scratch; /* collective_ring.c's */
};

/* Fills table, session and listener of a ring whose coll and config are set. */
int ring_meet(struct ring *r, struct bt_err *err) BT_MUSTUSE;

/* The link to or from a rank, made when it is not there yet. */
int ring_link_to(struct ring *r, int rank, struct bt_err *err) BT_MUSTUSE;
int ring_link_from(struct ring *r, int rank, struct bt_err *err) BT_MUSTUSE;

/* Moves n bytes before the ring's deadline on a non-blocking descriptor. */
int ring_send(struct ring *r, int fd, const void *p, size_t n, struct bt_err *err) BT_MUSTUSE;
int ring_receive(struct ring *r, int fd, void *p, size_t n, struct bt_err *err) BT_MUSTUSE;

/* BT_ERR_RANK_LOST: a descriptor ended or failed. */
int ring_lost(const struct ring *r, struct bt_err *err);
/* Did a call on a descriptor fail only because it would have to wait (errno)? */
bool ring_later(void);

/* Waits for events on up to two descriptors; BT_ERR_TIMEOUT at the deadline. */
struct pollfd;
int ring_poll(struct ring *r, struct pollfd *fds, int n, struct bt_err *err) BT_MUSTUSE;

#endif
