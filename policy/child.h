/* child.h - the inside of the sandbox: runs the Lua text and writes the tree it returns.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_POLICY_CHILD_H
#define BT_POLICY_CHILD_H

#include "lib/base/buf.h"
#include "policy/load.h"

/* The first byte of what the child writes: a policy in the form of wire.h, or a message. */
enum { POLICY_CHILD_OK = 'P', POLICY_CHILD_ERROR = 'E' };

/* Runs both texts and appends the answer, first byte included, to `to`. For
 * the forked child. */
void policy_child_run(const char *tiers, const char *rules, const struct policy_limits *limits,
                      struct bt_buf *to);

#endif
