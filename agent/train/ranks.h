/* ranks.h - which part of a run this process is: its rank, its shard, its way to the others.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * From the environment that a shepherd sets: BEAM_RANK, BEAM_WORLD_SIZE, and for
 * more than one rank BEAM_RENDEZVOUS (host:port where rank 0 listens) and
 * BEAM_SECRET_FILE (a file of 64 hex digits, readable by its owner alone).
 *
 * ZeRO-1 (Rajbhandari et al. 2020): every rank holds all weights and gradients
 * but only its share of the optimizer's state. */
#ifndef BT_TRAIN_RANKS_H
#define BT_TRAIN_RANKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/collective.h"
#include "lib/base/err.h"

struct ranks {
    int rank, world;
    struct coll *coll;   /* NULL when world is 1 */
    struct coll *fabric; /* carries a device's memory; NULL: coll carries all */
    size_t
        shard; /* floats of the arena that each rank owns; world * shard >= n_params, in eights */
    size_t lo, hi; /* this rank's part of the arena, clipped to n_params */
};

/* Waits for the other ranks. BT_ERR_INVALID, BT_ERR_FORBIDDEN (a secret open to others), and
 * whatever the communicator's open gives. */
int ranks_open(struct ranks *r, struct bt_err *err) BT_MUSTUSE;
void ranks_close(struct ranks *r);

/* Divides an arena of n_params floats. The arena's memory goes MODEL_PAD floats further. */
void ranks_divide(struct ranks *r, size_t n_params);

/* grad[own part] = sum over ranks; the rest of grad is undefined afterwards. */
int ranks_sum_gradient(struct ranks *r, float *grad, struct bt_err *err) BT_MUSTUSE;
/* w[everything] from each rank's own part. */
int ranks_gather(struct ranks *r, float *w, struct bt_err *err) BT_MUSTUSE;
/* The same for elements of `size` bytes; p may be a device's. */
int ranks_gather_bytes(struct ranks *r, void *p, size_t size, struct bt_err *err) BT_MUSTUSE;
/* values[n] = sum over ranks, the same bits on every rank. */
int ranks_sum(struct ranks *r, double *values, size_t n, struct bt_err *err) BT_MUSTUSE;
/* The elements at..at+n of an array of which each rank has its own part (part[0] is element lo):
 * into buffer, on every rank. */
int ranks_piece(struct ranks *r, const float *part, size_t at, float *buffer, size_t n,
                struct bt_err *err) BT_MUSTUSE;

#endif
