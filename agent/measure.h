/* measure.h - collective benchmarks that the agent runs: inside its node, and with other nodes.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * beamtime-coll all_reduce runs with a rank an accelerator, at most MEASURE_RANKS, as the agent's
 * user; in a trial this node is one rank of several, and beamtime-coll links runs. One measurement
 * at a time; its ranks are watched by a thread of its own and ended at a deadline. */
#ifndef BT_AGENT_MEASURE_H
#define BT_AGENT_MEASURE_H

#include <stdbool.h>

#include "agent/node.h"
#include "agent/trial.h"
#include "lib/base/buf.h"

enum { MEASURE_RANKS = 8, MEASURE_DEADLINE_S = 120 };

struct measure;

/* BT_ERR_UNSUPPORTED on a node with one accelerator: there is nobody to talk to. */
int measure_start(const struct settings *set, const struct node_plan *plan, struct measure **ret,
                  struct bt_err *err) BT_MUSTUSE;
/* Address and secret of a trial whose first node this is: at what `address` says, or the address
 * from which it reaches the facility. */
int measure_invite(const struct settings *set, struct trial_part *part,
                   struct bt_err *err) BT_MUSTUSE;
int measure_join(const struct settings *set, const struct trial_part *part, struct measure **ret,
                 struct bt_err *err) BT_MUSTUSE;
void measure_stop(struct measure *m); /* its ranks are killed; it is over soon */
bool measure_over(const struct measure *m);
/* When it is over: *ret_mbs in 10^6 bytes a second, or why there is none. Frees m. ret_links (may
 * be NULL): of a trial, the API's list of TrialLink. BT_ERR_RANK_LOST and BT_ERR_TIMEOUT speak of
 * other nodes, every other error of this one. */
int measure_end(struct measure *m, int64_t *ret_mbs, struct bt_buf *ret_links,
                struct bt_err *err) BT_MUSTUSE;

#endif
