/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/settings.h"

static const struct conf_row rows[] = {
#define S(...) CONF_ROW(struct settings, __VA_ARGS__)
#include "agent/conf.def"
#undef S
};

const struct conf_table settings_table = {
    .program = "beamtime-agent",
    .usage = "[run | enrol | inventory | helper SLURM_CONF | shepherd DIR | clean DIR]",
    .summary = "runs a node's jobs for the facility and accounts for them",
    .file = "/etc/beamtime/agent.conf",
    .epilogue =
        "Without a word it runs until it is stopped; jobs go on when it is stopped or killed,\n"
        "and it finds them again. enrol makes a key and turns a one-time token into this\n"
        "node's certificate. inventory prints what the node offers. helper speaks for a Slurm\n"
        "cluster whose site the facility does not reach, with a token of kind helper. shepherd "
        "and\n"
        "clean are what the agent starts for each attempt.\n",
    .rows = rows,
    .n = BT_ARRAY_LEN(rows),
};
