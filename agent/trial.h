/* trial.h - this node's part of a trial: a collective with agents of other nodes, when the facility
 * asks. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The facility tells of it in the list of wants. The first node chooses address and secret, listens
 * and says so (POST /v1/agent/trial); then the others hear of it and join. Each tells how its part
 * ended (POST /v1/agent/trial/ended). A trial that is not in the list any more is ended. */
#ifndef BT_AGENT_TRIAL_H
#define BT_AGENT_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { TRIAL_WORLD_MAX = 4096 };

/* As the facility tells of it; address and secret are empty for rank 0, which chooses them. */
struct trial_part {
    int64_t id; /* 0: none */
    int rank, world;
    int64_t deadline_s;
    char address[160]; /* host:port of rank 0 */
    char secret[65];   /* hex */
};

struct settings;
struct link;
struct measure;

/* Zeroed: none. */
struct trial {
    struct trial_part part; /* the latest that was told of */
    struct measure *run;    /* NULL: does not run */
    int64_t running, ended; /* ids */
    int attempts;           /* that were here when it began */
    bool disturbed;
};

void trial_told(struct trial *t, const struct trial_part *part);
/* Something is to be done soon: the agent shall not sleep for long. */
bool trial_is_on(const struct trial *t);
/* Begins, ends and tells what there is to tell; `attempts` are here now: more than at the beginning
 * have disturbed it. */
int trial_look(struct trial *t, const struct settings *set, struct link *l, const char *node,
               int attempts, struct bt_err *err) BT_MUSTUSE;

#endif
