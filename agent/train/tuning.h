/* tuning.h - pairs of prompt and answer for finetuning; only answers count in the loss.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file of JSON lines {"prompt": TEXT, "answer": TEXT}; other members are ignored. A sample is one
 * pair: the prompt's bytes, the answer's bytes, TOKEN_EOS, then padding. A pair longer
 * than the context loses the beginning of its prompt, then the end of its answer. */
#ifndef BT_TRAIN_TUNING_H
#define BT_TRAIN_TUNING_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { TUNING_PAIRS_MAX = 10000000, TUNING_LINE_MAX = 1 << 20 };

struct tuning_pair {
    char *text; /* prompt, then answer */
    uint32_t n_prompt, n_answer;
};

struct tuning {
    struct tuning_pair *pairs;
    int n, cap;
    int64_t bytes;
    char sha256[65]; /* of the file */
};

/* BT_ERR_NOT_FOUND (no file, no pair), BT_ERR_CORRUPT names the line. */
int tuning_open(struct tuning *ret, const char *path, struct bt_err *err) BT_MUSTUSE;
void tuning_close(struct tuning *u);

/* Sample number i: every pair comes once in each round of n samples, in an order that the seed
 * gives to that round. Returns the number of targets that count (>= 1). in and target may be
 * NULL: then it only counts. */
int tuning_sample(const struct tuning *u, uint64_t seed, uint64_t i, int t, int32_t *in,
                  int32_t *target);

#endif
