/* flamingo.h - eyes for a frozen language model: patches, a small vision tower, a perceiver
 * resampler, and gated cross-attention between the language model's layers (Alayrac et al. 2022).
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * image -> patches + positions -> vision layers -> norm -> features; latents attend to the features
 * of their image (and themselves) -> norm -> `latents` rows an image; before every
 * every-th layer of the language model its text attends to the latents of the image before it.
 * Gates start at 0: untrained, the model says what the language model says. Only these weights
 * train; theirs is the arena. */
#ifndef BT_TRAIN_FLAMINGO_H
#define BT_TRAIN_FLAMINGO_H

#include "agent/train/model.h"
#include "kernels/kernels.h"

struct flamingo_shape {
    int image, patch;         /* pixels of a side; patch divides image */
    int width, heads, layers; /* of the vision tower */
    int latents, resampler;   /* rows an image; layers of the resampler */
    int every;                /* layers of the language model between two cross-attentions */
};

/* BT_ERR_SHAPE with one sentence. */
int flamingo_shape_check(const struct flamingo_shape *s, struct bt_err *err) BT_MUSTUSE;

struct flamingo_state; /* layout and activations, private to flamingo.c */

struct flamingo {
    struct flamingo_shape shape;
    struct model *lm; /* borrowed, frozen; its insert is this */
    size_t n_params, n_matrix;
    float *w, *grad; /* [n_params], with MODEL_PAD floats behind */
    struct model_insert insert;
    struct flamingo_state *state;
};

/* In place. lm has been initialised as frozen for `rows` sequences; at most `images` at once. */
void flamingo_init(struct flamingo *f, const struct flamingo_shape *s, struct model *lm, int rows,
                   int images);
void flamingo_done(struct flamingo *f);
void flamingo_random(struct flamingo *f, uint64_t seed); /* a function of (shapes, seed) alone */

struct flamingo_batch {
    const float *const *images; /* [n_images] pixels [image, image, 3], -1 to 1 */
    int n_images;
    const int32_t *in, *target; /* [b*t] */
    int b, t;
    const struct kern_span *text; /* rows of the batch that look at an image: q, n_q; k is the
                                     image's number, n_k is not read. One an image at most */
    int n_text;
};
/* As model_loss and model_gradient. */
double flamingo_loss(struct flamingo *f, const struct flamingo_batch *batch, float *row_loss);
double flamingo_gradient(struct flamingo *f, const struct flamingo_batch *batch, float scale,
                         bool fresh);

/* The i-th tensor of the arena in the order of published files; false behind the last. */
bool flamingo_tensor(const struct flamingo *f, int i, struct model_tensor *ret);

/* Floating-point operations of one trained token with its share of images. */
double flamingo_flops_per_token(const struct flamingo *f, int t, double images_per_sequence);

#endif
