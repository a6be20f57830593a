/* report.h - figures of a replay: text, JSON, a timeline as CSV, a plot as SVG.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_SIM_REPORT_H
#define BT_SIM_REPORT_H

#include "daemon/sim/options.h"

struct sim_result {
    double wall_s;
    uint64_t held; /* fill: accelerators allocated at the end */
    bool fill;
};

int report(struct sim *s, const struct sim_options *o, const struct sim_result *r,
           struct bt_err *err) BT_MUSTUSE;

#endif
