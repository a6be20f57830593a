/* vision.h - the vision-language job: captions as batches, their evaluation, what it publishes.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A sequence is one caption after the other, each behind TOKEN_EOS, which stands for its picture:
 * from there to the next TOKEN_EOS the text sees that picture. The loss counts the captions' bytes
 * and their line ends, not the tags before them. */
#ifndef BT_TRAIN_VISION_H
#define BT_TRAIN_VISION_H

#include "agent/train/captions.h"
#include "agent/train/config.h"
#include "agent/train/evaluate.h"
#include "agent/train/flamingo.h"

struct vision {
    struct captions data;
    struct model lm;        /* frozen */
    char frozen_sha256[65]; /* hex, of its weights */
    struct flamingo f;
    bool blind; /* text sees nothing: what the pictures are worth shows against this */
    int rows, context, per_row;
    int32_t *in, *target;
    float *loss;
    const float **images;
    struct kern_span *text;
    struct vision_scores {
        double held; /* bits per byte: captions held out, of pictures known from other languages */
        double unseen; /* of pictures never seen */
        double other;  /* as held, but each with another caption's picture */
        int n_held, n_unseen;
    } scores;
};

/* lm_dir: the folder of the language model that stays frozen. `as`: see captions_open. */
int vision_open(struct vision *v, const struct config *c, const char *lm_dir, struct corpus *as,
                struct bt_err *err) BT_MUSTUSE;
void vision_close(struct vision *v);

/* Targets that count in training sequence i; pure. */
int vision_targets(struct vision *v, uint64_t seed, uint64_t i);
/* Gradients of scale * loss over the sequences first .. first+n-1, n at most config.micro_batch. */
double vision_gradient(struct vision *v, uint64_t seed, uint64_t first, int n, float scale,
                       bool fresh);

/* Fills *ret by language over the held captions, and v->scores. Every rank does all of it. 1 when
 * `stop` says so. */
int vision_evaluate(struct vision *v, bool (*stop)(void *), struct evaluation *ret);

/* adapter.safetensors and vision.json into dir. */
int vision_export(const struct vision *v, const char *dir, struct bt_err *err) BT_MUSTUSE;

#endif
