/* starts.h - attempts of the node whose ranks run by now, until the daemon knows it.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A claim lets ranks start and an end frees accelerators: both are told at once. That ranks run is
 * in nobody's way, so it goes along with what the node says next (a request less, and a transaction
 * less at the daemon), and only after STARTS_WAIT_US by itself. Shared by the node's couriers;
 * every function may be called by any thread. */
#ifndef BT_AGENT_STARTS_H
#define BT_AGENT_STARTS_H

#include <stdbool.h>

#include "agent/api.h"

enum { STARTS_WAIT_US = 250000 };

struct starts;

struct starts *starts_new(void);
void starts_free(struct starts *s); /* NULL is fine */

/* Whether the daemon takes them along; one of an earlier release does not. At first: no. */
void starts_allow(struct starts *s, bool yes);
bool starts_allowed(struct starts *s);

/* From now on; foreign: the claim's. */
void starts_add(struct starts *s, const struct attempt_id *id, const char *foreign);
bool starts_has(struct starts *s, const struct attempt_id *id);
void starts_drop(struct starts *s, const struct attempt_id *id);

/* For a request of attempt `own`: those that no other request is telling, if they may go along, and
 * last its own start, whether it goes along or not; false: that is not here (any more). All must be
 * settled with what became of the request; what was not told waits for another one. */
bool starts_take(struct starts *s, const struct attempt_id *own, struct start_list *ret);
void starts_settle(struct starts *s, const struct start_list *list, bool told);

#endif
