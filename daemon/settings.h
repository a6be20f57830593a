/* settings.h - what beamtimed is told: the struct and the table made from conf.def.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_SETTINGS_H
#define BT_DAEMON_SETTINGS_H

#include "lib/conf/conf.h"

struct settings {
#define S CONF_MEMBER
#include "daemon/conf.def"
#undef S
};

extern const struct conf_table settings_table;

#endif
