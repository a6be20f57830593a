/* muon.h - orthogonalised momentum for the matrices inside the layers.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Muon (Jordan et al. 2024): the gradient's running mean, looked one step ahead (Nesterov), and of
 * that the nearest orthogonal matrix is what a matrix moves by, times the rate and 0.2
 * sqrt(max(rows, columns)): an element's step is then as large as AdamW's usually is (Liu et al.
 * 2025). Embedding, head and vectors stay with AdamW.
 *
 * Ranks: each keeps the means of its own part of the arena (ZeRO-1). A matrix may lie in several
 * parts, so what is to be orthogonalised is gathered from all ranks first; then each rank makes the
 * matrices that its part touches and moves its part of them. */
#ifndef BT_TRAIN_MUON_H
#define BT_TRAIN_MUON_H

#include "agent/train/model.h"
#include "agent/train/ranks.h"
#include "kernels/kernels.h"

struct muon {
    struct kern_matrix *matrices; /* owned; x is the place in the arena of gradients */
    int n;
    size_t lo, hi;  /* of the arena: where they lie, without a gap */
    float *scratch; /* owned */
    size_t each, n_scratch;
};

/* Matrices whose elements lie in lo..hi of the arena are this rank's to move. */
void muon_init(struct muon *m, const struct model *model, const struct ranks *r);
void muon_done(struct muon *m);

struct muon_step {
    float *w, *grad; /* whole arenas; grad holds this rank's part of the sum, and is spent */
    float *mean;     /* this rank's part: [r->hi - r->lo] */
    double lr, momentum, decay, grad_scale;
};
/* Moves this rank's part of the matrices. */
int muon_step(const struct muon *m, struct ranks *r, const struct muon_step *s,
              struct bt_err *err) BT_MUSTUSE;

#endif
