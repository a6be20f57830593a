/* sweep_own.h - the names that options.c reads and sweep.c prints. Private to this folder.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_COLL_SWEEP_OWN_H
#define BT_COLL_SWEEP_OWN_H

#include "agent/coll/sweep.h"

enum operation {
    ALL_REDUCE,
    ALL_GATHER,
    REDUCE_SCATTER,
    BROADCAST,
    REDUCE,
    ALLTOALL,
    SENDRECV,
    LINKS, /* ours: neighbours on the ring of ranks swap data, each pair for itself */
    OPERATIONS
};

extern const char *const sweep_types[];      /* by enum coll_type */
extern const char *const sweep_ops[];        /* by enum coll_op */
extern const char *const sweep_operations[]; /* by enum operation */

int sweep_index(const char *const *names, size_t n, const char *name); /* -1: not among them */
enum operation sweep_operation(const struct sweep_options *o);

/* What a rank's own element i is; expected of a correct peer. */
double sweep_value(int rank, size_t i);
void sweep_put(void *p, enum coll_type type, size_t i, double v);
double sweep_at(const void *p, enum coll_type type, size_t i);

/* One call's buffers and memory (sweep.c); links.c swaps them with one neighbour. */
struct work {
    const struct sweep_options *o;
    struct coll *c;
    size_t count; /* of the call */
    size_t n_send, n_recv;
    char *send, *recv; /* two buffers of the larger size */
};

struct coll *sweep_host(const struct work *w); /* what carries words about the measurement */
void sweep_put_all(const struct work *w, void *to, const void *from, size_t bytes);
int sweep_get_all(const struct work *w, void *to, const void *from, size_t bytes,
                  struct bt_err *err) BT_MUSTUSE;

/* links.c: one row of `links`; ret[world] gets every link. */
int links_run(const struct work *w, struct sweep_link *ret, struct bt_err *err) BT_MUSTUSE;

#endif
