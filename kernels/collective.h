/* collective.h - one vtable for what ranks do together, whatever carries it.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every rank of a communicator calls the same functions with the same counts,
 * types, operations and roots in the same order; a communicator belongs to one
 * thread at a time. Buffers belong to the caller and are free again when the
 * call returns. Sums are formed in a fixed order of ranks, so that the same
 * inputs give the same bits on every rank and on every run.
 *
 * Names, counts and layouts are those of NCCL (NVIDIA, "NCCL API", collective
 * functions): all_gather's count is what one rank sends, reduce_scatter's what
 * one rank receives, alltoall's what one rank sends to one peer.
 *
 * Errors: BT_ERR_RANK_LOST when a peer closed or broke the connection,
 * BT_ERR_TIMEOUT when a call did not end within the configured deadline,
 * BT_ERR_UNAUTHENTICATED when a peer does not know the secret, BT_ERR_CONFLICT
 * when peers disagree about rank, world or call, BT_ERR_INVALID for impossible
 * arguments. After any error but BT_ERR_INVALID the communicator is broken:
 * every later call fails with the same code, close is the only thing left. */
#ifndef BT_KERNELS_COLLECTIVE_H
#define BT_KERNELS_COLLECTIVE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum coll_type { COLL_U8, COLL_I32, COLL_I64, COLL_F32, COLL_F64 };
enum coll_op { COLL_SUM, COLL_MIN, COLL_MAX };

enum {
    COLL_WORLD_MAX = 4096,
    COLL_SECRET_BYTES = 32,
};

/* How a rank finds the others. Rank 0 listens at host:port, the others connect to it. */
struct coll_config {
    int rank;         /* 0 .. world-1 */
    int world;        /* 1 .. COLL_WORLD_MAX; 1 needs no host, port, secret or mac */
    const char *host; /* rank 0's name or address, borrowed for the call */
    uint16_t port;    /* rank 0's port; never 0 for world > 1 */
    uint8_t secret[COLL_SECRET_BYTES]; /* the job's own; peers prove it, it is never sent */
    int64_t timeout_us;                /* deadline of open and of each call; > 0 */
    /* HMAC-SHA-256 (RFC 2104) or as good: this folder knows no cryptography of its own. */
    void (*mac)(const void *key, size_t n_key, const void *p, size_t n, uint8_t out[32]);
};

struct coll; /* a communicator */

struct coll_fold {
    enum coll_op op;
    int root;
};
struct coll_pair {
    int to, from; /* ranks */
};

/* One back end. In place means send == recv (for all_gather: send == recv + rank * count
 * elements; for reduce_scatter: recv == send + rank * count elements) and is always allowed. */
struct coll_ops {
    const char *name; /* "ring", "nccl", "mpi" */

    /* Meets the others; *ret is owned by the caller (close). Blocks at most timeout_us. */
    int (*open)(const struct coll_config *config, struct coll **ret, struct bt_err *err);
    void (*close)(struct coll *c); /* NULL is fine; never waits for a peer */

    int (*all_reduce)(struct coll *c, const void *send, void *recv, size_t count,
                      enum coll_type type, enum coll_op op, struct bt_err *err);
    /* send: world * count elements; recv: the rank-th count of them, reduced */
    int (*reduce_scatter)(struct coll *c, const void *send, void *recv, size_t count,
                          enum coll_type type, enum coll_op op, struct bt_err *err);
    /* send: count elements; recv: world * count, in order of ranks */
    int (*all_gather)(struct coll *c, const void *send, void *recv, size_t count,
                      enum coll_type type, struct bt_err *err);
    int (*broadcast)(struct coll *c, void *buffer, size_t count, enum coll_type type, int root,
                     struct bt_err *err);
    /* recv is written on root only */
    int (*reduce)(struct coll *c, const void *send, void *recv, size_t count, enum coll_type type,
                  struct coll_fold fold, struct bt_err *err);
    /* send and recv: world * count elements, the p-th count goes to and comes from rank p */
    int (*alltoall)(struct coll *c, const void *send, void *recv, size_t count, enum coll_type type,
                    struct bt_err *err);
    /* sends to one peer and receives from another at the same time; a rank may name itself */
    int (*sendrecv)(struct coll *c, const void *send, void *recv, size_t count, enum coll_type type,
                    struct coll_pair pair, struct bt_err *err);
    int (*barrier)(struct coll *c, struct bt_err *err);
};

/* What every communicator begins with; a back end's own struct has it as its first member. */
struct coll {
    const struct coll_ops *ops;
    int rank;
    int world;
};

/* Our ring over TCP: always there, any machine, bits independent of timing. */
extern const struct coll_ops coll_ring;

static inline size_t coll_type_size(enum coll_type type)
{
    static const uint8_t sizes[] = {
        [COLL_U8] = 1, [COLL_I32] = 4, [COLL_I64] = 8, [COLL_F32] = 4, [COLL_F64] = 8};

    return sizes[type];
}

#endif
