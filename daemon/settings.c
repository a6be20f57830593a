/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/settings.h"

#include "lib/base/attr.h"

static const struct conf_row rows[] = {
#define S(...) CONF_ROW(struct settings, __VA_ARGS__)
#include "daemon/conf.def"
#undef S
};

const struct conf_table settings_table = {
    .program = "beamtimed",
    .usage = "[serve|backup FILE|restore FILE|check]",
    .summary = "the broker of a shared research facility",
    .file = "/etc/beamtime/beamtimed.conf",
    .epilogue =
        "  beamtimed --embedded --state-dir DIR    a whole facility on one machine\n"
        "  beamtimed --database CONNINFO           on a PostgreSQL of your own\n"
        "  beamtimed backup FILE                   a consistent copy, while it runs\n"
        "  beamtimed restore FILE                  into an empty state directory\n"
        "  beamtimed check                         the facility's invariants, from its tables\n",
    .rows = rows,
    .n = BT_ARRAY_LEN(rows),
};
