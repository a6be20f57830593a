/* train.h - one training run from its configuration to its published folder.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TRAIN_TRAIN_H
#define BT_TRAIN_TRAIN_H

#include "agent/train/config.h"
#include "lib/base/err.h"

enum { TRAIN_REQUEUE = 85 }; /* exit status: checkpointed, requeue me */

struct train {
    const struct config *config;
    const char *corpus; /* folder of text; NULL when only config->tuning is trained on */
    const char *output, *checkpoint; /* folders */
    const char *from; /* folder of a published model of the configuration's shape to begin with;
                         NULL: random weights */
};

/* Installs handlers of SIGTERM, SIGUSR1 and SIGINT, trains, publishes. Returns 0 when done,
 * TRAIN_REQUEUE when it was told to stop and has written a checkpoint. */
int train_run(const struct train *t, struct bt_err *err) BT_MUSTUSE;

/* The learning rate of step 1..steps. */
double train_rate(const struct config *c, int64_t step);

#endif
