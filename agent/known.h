/* known.h - the highest batch that this agent was told of, over restarts: the daemon hears it again
 * with every poll, and so learns when its database was restored from a copy.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Of a mark (lib/api/mark.h) the agent understands which of two is the higher; it repeats it as
 * it came. */
#ifndef BT_AGENT_KNOWN_H
#define BT_AGENT_KNOWN_H

#include "lib/api/mark.h"
#include "lib/base/err.h"

struct known {
    char *path;
    char mark[MARK_TEXT]; /* "": nothing is known */
};

/* Reads <state>/known; what cannot be read counts as nothing. */
void known_load(struct known *k, const char *state_dir);
void known_done(struct known *k);

/* Keeps the mark if it is higher, or of another facility (one that this agent was enrolled with
 * anew), and writes it down. BT_ERR_INVALID for what is no mark, BT_ERR_IO. */
int known_learn(struct known *k, const char *mark, struct bt_err *err) BT_MUSTUSE;

#endif
