/* settings.h - the settings of beamtime-agent as a struct (conf.def).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_SETTINGS_H
#define BT_AGENT_SETTINGS_H

#include "lib/conf/conf.h"

struct settings {
#define S CONF_MEMBER
#include "agent/conf.def"
#undef S
};

extern const struct conf_table settings_table;

#endif
