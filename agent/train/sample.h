/* sample.h - text from a published model.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TRAIN_SAMPLE_H
#define BT_TRAIN_SAMPLE_H

#include <stdint.h>
#include <stdio.h>

#include "lib/base/err.h"

struct sample {
    const char *model; /* folder */
    const char *prompt;
    int tokens;         /* at most so many bytes are added */
    double temperature; /* 0: always the likeliest */
    int top_k;          /* only among the k likeliest; 0: all */
    uint64_t seed;
    int threads;
};

/* Writes prompt and continuation to `to`, byte by byte, until a document ends. Bytes depend on
 * seed and model alone. */
int sample_run(const struct sample *s, FILE *to, struct bt_err *err) BT_MUSTUSE;

#endif
