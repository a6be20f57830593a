/* model.h - a Llama-shaped decoder: its weights in one flat arena, forward, backward.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Weights, gradients and optimizer state are flat arrays of the same layout:
 * first all matrices (weight decay applies to these), then all norm vectors.
 * Query, key and value projections are one matrix, gate and up another, so that
 * each is one product; model_tensor names the parts as published files do. */
#ifndef BT_TRAIN_MODEL_H
#define BT_TRAIN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum {
    TOKEN_EOS = 256, /* end of a document */
    TOKEN_BOS = 257,
    TOKEN_PAD = 258,
    TOKEN_COUNT = 259,
    TOKEN_VOCAB = 320, /* padded to a multiple of 64 */
    MODEL_PAD = 32768, /* floats behind both arenas, so that any number of ranks divides them */
};

struct model_shape {
    int layers, width, heads, kv_heads, head_dim, ffn, vocab, context;
    bool tied;
    double rope_theta, norm_eps;
};

/* BT_ERR_SHAPE with one sentence when no such model can be built or it is larger than 2^40 floats.
 */
int model_shape_check(const struct model_shape *s, struct bt_err *err) BT_MUSTUSE;
int64_t model_params(const struct model_shape *s);
/* Floating-point operations of one trained token (forward and backward): 6 per weight of a
 * product, and attention's products with the causal half counted. */
double model_flops_per_token(const struct model_shape *s, int context);
/* Bytes of activations that training `rows` sequences of t tokens keeps. */
int64_t model_activation_bytes(const struct model_shape *s, int rows, int t);

struct model_tensor {
    char name[64];
    size_t offset;  /* floats from the arena's start */
    int rows, cols; /* cols 0: a vector of `rows` elements */
};
/* The i-th tensor in the order of published files; false behind the last. */
bool model_tensor(const struct model_shape *s, int i, struct model_tensor *ret);

/* What stands between the layers of a frozen model: called before each layer with the residual
 * stream [n, width], which it may change in place, and on the way back with its gradient. */
struct model_insert {
    void *arg;
    void (*forward)(void *arg, int layer, float *stream, int n);
    void (*backward)(void *arg, int layer, float *dstream, int n);
};

struct gpu;        /* gpu.h */
struct model_acts; /* buffers for activations, private to model.c */

struct model {
    struct model_shape shape;
    size_t n_params, n_matrix; /* floats in all; floats of matrices at the front */
    float *w;                  /* [n_params] */
    float *grad;               /* [n_params], NULL for a model that only runs or is frozen */
    const struct model_insert *insert; /* borrowed; NULL: nothing stands between the layers */
    struct model_acts *acts;
    struct gpu *gpu; /* where the trainer's forward and backward run; NULL: here. Borrowed */
};

enum model_use {
    MODEL_RUNS,   /* forward alone */
    MODEL_TRAINS, /* gradients of all weights */
    MODEL_FROZEN, /* gradients flow through, for the insert; none of the model's own weights */
};

/* In place; the shape has been checked. rows sequences of at most shape.context tokens at once. */
void model_init(struct model *m, const struct model_shape *s, int rows, enum model_use use);
void model_done(struct model *m);

/* Normal with sd 0.02, projections back into the residual stream scaled by 1/sqrt(2 layers),
 * norms 1: a function of (shape, seed) alone. */
void model_random(struct model *m, uint64_t seed);

/* Forward over b sequences of t tokens: the sum of the losses in nats; row_loss[b*t] unless NULL.
 * target < 0 does not count. */
double model_loss(struct model *m, const int32_t *in, const int32_t *target, int b, int t,
                  float *row_loss);

/* The same with gradients of scale * loss: into grad (fresh) or added to it; through the insert. */
double model_gradient(struct model *m, const int32_t *in, const int32_t *target, int b, int t,
                      float scale, bool fresh);

/* Logits [vocab] after the last of t tokens. */
void model_logits(struct model *m, const int32_t *in, int t, float *logits);

#endif
