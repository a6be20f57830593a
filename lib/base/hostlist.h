/* hostlist.h - many names in few characters: "n[0001-0064,70],m3".
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * As Slurm writes them (scontrol show hostnames): names separated by commas, in each at most one
 * bracket of numbers and ranges, whose leading zeros are kept. */
#ifndef BT_BASE_HOSTLIST_H
#define BT_BASE_HOSTLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/attr.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { HOSTLIST_NAME_MAX = 64 };

/* Calls `each` for every name in order; a negative answer ends it and is returned. Returns how many
 * there were; BT_ERR_INVALID names what is malformed, or that there are more than `max`. */
int bt_hostlist_each(const char *text, int max, int (*each)(void *arg, const char *name), void *arg,
                     struct bt_err *err) BT_MUSTUSE;

/* The shortest such text of `names`, neighbours joined in the order given (sort them first). */
void bt_hostlist_format(const char *const *names, size_t n, struct bt_buf *to);

#endif
