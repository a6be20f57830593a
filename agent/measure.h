/* measure.h - the agent's own collective benchmark between the accelerators of its node.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * beamtime-coll all_reduce runs with a rank an accelerator, at most MEASURE_RANKS, as the agent's
 * user. One measurement at a time; its ranks are watched by a thread of its own and ended at a
 * deadline. */
#ifndef BT_AGENT_MEASURE_H
#define BT_AGENT_MEASURE_H

#include <stdbool.h>

#include "agent/node.h"

enum { MEASURE_RANKS = 8, MEASURE_DEADLINE_S = 120 };

struct measure;

/* BT_ERR_UNSUPPORTED on a node with one accelerator: there is nobody to talk to. */
int measure_start(const struct settings *set, const struct node_plan *plan, struct measure **ret,
                  struct bt_err *err) BT_MUSTUSE;
bool measure_over(const struct measure *m);
/* When it is over: *ret_mbs in 10^6 bytes a second, or why there is none. Frees m. */
int measure_end(struct measure *m, int64_t *ret_mbs, struct bt_err *err) BT_MUSTUSE;

#endif
