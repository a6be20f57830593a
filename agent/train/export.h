/* export.h - the folder that a finished run publishes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TRAIN_EXPORT_H
#define BT_TRAIN_EXPORT_H

#include "agent/train/config.h"
#include "agent/train/corpus.h"
#include "agent/train/evaluate.h"
#include "agent/train/model.h"
#include "agent/train/report.h"
#include "agent/train/tuning.h"
#include "lib/base/err.h"

struct export
{
    const struct config *config;
    const struct model *model;
    const struct corpus *corpus;
    const struct tuning *tuning;
    const struct evaluation *evaluation;
    const struct report *report;
    const char *metrics; /* path of metrics.jsonl */
    int64_t steps, tokens;
    double flops, parent_flops; /* of this run; of the weights it began from */
    const char *parent;         /* what it began from, NULL for random weights */
    double last_loss;
};

/* Writes model.safetensors, config.json, generation_config.json, tokenizer.json,
 * tokenizer_config.json, metrics.jsonl, loss.svg, data-manifest.json, training.json, train.conf and
 * README.md into dir; each file whole or not at all. */
int export_all(const struct export *e, const char *dir, struct bt_err *err) BT_MUSTUSE;

/* metrics.jsonl alone: what a run that was told to stop leaves behind. */
int export_metrics(const char *metrics, const char *dir, struct bt_err *err) BT_MUSTUSE;

/* Reads config.json of a published model into a shape. BT_ERR_CORRUPT, BT_ERR_SHAPE. */
int export_read_shape(const char *dir, struct model_shape *ret, struct bt_err *err) BT_MUSTUSE;

/* FLOP of a published model and all it began from, by its training.json; 0 when it has none. */
double export_lineage_flops(const char *dir);

#endif
