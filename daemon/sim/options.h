/* options.h - what beamtime-sim is asked, and the facility and jobs it loads for that.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_SIM_OPTIONS_H
#define BT_SIM_OPTIONS_H

#include "daemon/sim/sim.h"

struct sim_options {
    const char *facility, *trace, *nations, *timeline, *plot; /* paths or NULL */
    bool sacct;                                               /* trace came by --sacct */
    int64_t accelerators;
    enum sim_policy policy;
    bool no_topology, exact, json, fair_share;
    bool has_walltimes;
    uint64_t seed;
    double arrived_percent;
    int64_t slack_s, slack_percent, plan_every_s, owned_percent;
};

/* 1 when it printed its help and nothing is left to do. */
int options_parse(int argc, char **argv, struct sim_options *o, struct bt_err *err) BT_MUSTUSE;
int options_load(struct sim_options *o, struct sim *s, struct bt_err *err) BT_MUSTUSE;
void options_unload(const struct sim_options *o, struct sim *s);
const char *policy_name(enum sim_policy p);

#endif
