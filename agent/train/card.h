/* card.h - what a run says about itself to readers: the model card and the data manifest.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TRAIN_CARD_H
#define BT_TRAIN_CARD_H

#include "agent/train/export.h"
#include "lib/base/buf.h"

/* README.md: front matter as model hubs read it, then data, training, evaluation, use, limits. */
void card_write(const struct export *e, struct bt_buf *to);

/* data-manifest.json: every file with bytes and SHA-256, every language with its share, and the
 * rows of SOURCES.tsv when the corpus has one. */
void card_data_manifest(const struct export *e, struct bt_buf *to);

/* training.json: sizes, computation and results as numbers; lineage_flops counts the parents too.
 */
void card_training(const struct export *e, struct bt_buf *to);

#endif
