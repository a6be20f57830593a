/* upkeep.h - `beamtimed backup FILE | restore FILE | check`, beside a running daemon or without
 * one, and `recover`, without one: looks after the database.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_UPKEEP_H
#define BT_DAEMON_UPKEEP_H

#include <stdbool.h>

#include "daemon/settings.h"
#include "lib/base/err.h"

bool upkeep_knows(const char *command, int n_words); /* n_words with the command itself */

/* Does it and says so on stdout. check returns how many violations it printed. An embedded
 * server that does not run is started for it and stopped again. */
int upkeep(const struct settings *set, const char *command, const char *file,
           struct bt_err *err) BT_MUSTUSE;

#endif
