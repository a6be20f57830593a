/* handover.h - lets a shepherd that runs as the job's user use the folders that the agent made.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The spool folder stays the agent's: sticky, with an access list that lets one more user make
 * files in it. What the agent wrote cannot be replaced by that user, and what the user wrote is
 * read by the agent as the file it is and nothing else (spool.c). */
#ifndef BT_AGENT_HANDOVER_H
#define BT_AGENT_HANDOVER_H

#include "agent/account.h"
#include "agent/environ.h"
#include "agent/spool.h"

/* Beside the spool folders: readable by all, empty, touched when a folder has been made. */
#define HANDOVER_TURN "turn"

/* Opens the folder `dir`, not visible to others yet, to the account. */
int handover_spool(const char *dir, const struct account *a, struct bt_err *err) BT_MUSTUSE;
/* Makes the attempt's home and the job's checkpoint folder, empty, for the account. */
int handover_home(const struct order *o, const struct account *a, struct bt_err *err) BT_MUSTUSE;
/* Makes the folder of spools passable and the turn's file; then tells who waits. */
int handover_open(const char *attempts, struct bt_err *err) BT_MUSTUSE;
void handover_turn(const char *attempts);

#endif
