/* facility.h - everything that lives as long as the daemon's process, and its order of start and
 * stop. SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   state directory (locked) → PostgreSQL → authorities → policy → engine (leads, loads)
 *     → first start's council, site, tokens → publisher → listeners → ready
 * Stopping goes the other way round: no new request, then what was accepted is committed and
 * answered, then the publisher signs it, then PostgreSQL stops. */
#ifndef BT_DAEMON_FACILITY_H
#define BT_DAEMON_FACILITY_H

#include "daemon/settings.h"
#include "lib/base/err.h"

struct facility;

int facility_start(const struct settings *set, struct facility **ret,
                   struct bt_err *err) BT_MUSTUSE;

/* To be called once a second or so from the thread that called facility_start: keeps the embedded
 * PostgreSQL running. Negative when the process must end (err says why). */
int facility_poll(struct facility *f, struct bt_err *err) BT_MUSTUSE;

/* A descriptor that becomes readable when facility_poll would return an error at once. */
int facility_event_fd(const struct facility *f);

void facility_stop(struct facility *f); /* NULL is fine */

#endif
