/* cgroup.h - a control group around one attempt where the machine allows it: bounds and certain
 * ends. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Version 2 (cgroup.kill) or version 1 (pids, memory). Needs the right to write /sys/fs/cgroup;
 * without it the kind is CAGE_NONE and the shepherd relies on agent/procs.h alone. A job's user
 * cannot leave the group: moving out needs write permission on the group it moves to. */
#ifndef BT_AGENT_CGROUP_H
#define BT_AGENT_CGROUP_H

#include <stdint.h>

#include "agent/procs.h"
#include "lib/base/err.h"

enum cage_kind { CAGE_NONE, CAGE_V1, CAGE_V2 };

enum { CAGE_PATH_MAX = 512, CAGE_DIRS = 2 };

struct cage {
    enum cage_kind kind;
    char dir[CAGE_DIRS][CAGE_PATH_MAX]; /* [0] lists the processes; "" ends */
};

struct cage_limits {
    int64_t pids;         /* 0: unbounded */
    int64_t memory_bytes; /* 0: unbounded */
};

/* Names the group of `name` ("<job>.<attempt>") without making it, for one that an earlier
 * shepherd made. */
void cage_find(struct cage *c, const char *name);
/* Makes it and sets its limits; kind CAGE_NONE when the machine refuses. */
void cage_make(struct cage *c, const char *name, const struct cage_limits *limits);
const char *cage_kind_name(enum cage_kind kind); /* "cgroup2", "cgroup1", "none"; static */

/* Moves the calling process in. Async-signal-safe: for the child between fork and exec. Returns
 * 0, or -1 with errno. */
int cage_enter(const struct cage *c);

void cage_pids(const struct cage *c, struct pids *to); /* its living processes */
void cage_kill(const struct cage *c);                  /* SIGKILL to all, where one write does it */
int cage_remove(struct cage *c, struct bt_err *err) BT_MUSTUSE; /* when it is empty */

#endif
