/* evaluate.h - bits per byte of held-out text, language by language, and gzip's on the same text.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TRAIN_EVALUATE_H
#define BT_TRAIN_EVALUATE_H

#include <stdbool.h>

#include "agent/train/corpus.h"
#include "agent/train/model.h"
#include "agent/train/ranks.h"
#include "lib/base/err.h"

struct evaluation {
    int n;                             /* languages */
    double bits[CORPUS_LANGUAGES_MAX]; /* bits per byte; 0 where nothing is held out */
    int64_t bytes[CORPUS_LANGUAGES_MAX];
    double mean;                       /* of the languages with held-out text, each counting once */
    double gzip[CORPUS_LANGUAGES_MAX]; /* gzip -9 of the very same text, as one file */
    double gzip_mean;
};

struct evaluate {
    struct model *model;
    const struct corpus *corpus;
    struct ranks *ranks;
    int64_t bytes;           /* of each language */
    int rows;                /* sequences at once */
    bool (*stop)(void *arg); /* asked between batches; may be NULL */
    void *arg;
};

/* The first `bytes` held-out bytes of every language in windows of one context that overlap by
 * half: each byte is predicted once, from half a context of those before it at least (all of them
 * where the text begins). Returns 1, with *ret untouched, when `stop`
 * said so on this rank. Ranks share the languages out. */
int evaluate(const struct evaluate *e, struct evaluation *ret, struct bt_err *err) BT_MUSTUSE;

/* Fills gzip and gzip_mean over the same first `bytes` held-out bytes of every language. */
void evaluate_gzip(const struct corpus *c, int64_t bytes, struct evaluation *ret);

#endif
