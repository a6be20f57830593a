/* log.h - one JSON line an event on stderr. Programs log, libraries return.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Values are strings; the line carries time, level, program and the event's
 * name. Secrets are never passed here. Thread safe: a line is one write(2). */
#ifndef BT_BASE_LOG_H
#define BT_BASE_LOG_H

#include "lib/base/attr.h"
#include "lib/base/err.h"

enum bt_level { BT_DEBUG, BT_INFO, BT_WARN, BT_ERROR };

void bt_log_init(const char *program, enum bt_level least); /* program is kept, not copied */
void bt_log_fd(int fd);                                     /* where lines go; 2 at first */

/* bt_log(BT_INFO, "listening", "port", "8443", NULL): name, then key and value pairs, then NULL. */
void bt_log(enum bt_level level, const char *event, ...) __attribute__((sentinel));

/* An error at the place that handles it: event, its code's name, text and next step. */
void bt_log_err(enum bt_level level, const char *event, const struct bt_err *err);

#endif
