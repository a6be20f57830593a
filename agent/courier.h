/* courier.h - carries one attempt between its spool folder and the daemon, in a thread of its own.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * It starts the shepherd (again, if it was killed), asks for the claim, forwards logs, the end,
 * the files and the manifest, and removes the folders when the daemon has everything. All its
 * state is on disk or at the daemon; every verb may be repeated. */
#ifndef BT_AGENT_COURIER_H
#define BT_AGENT_COURIER_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/api.h"
#include "agent/keep.h"
#include "agent/link.h"
#include "agent/starts.h"

struct courier {
    struct attempt_id id;
    char *dir; /* the spool folder; owned */
    const struct link_maker *maker;
    struct starts *starts; /* of the node; borrowed */
    struct keep keep;      /* its texts borrowed */
    char *program;         /* what to run as shepherd; owned */
    atomic_bool counts;    /* heartbeats name it: its end is not acknowledged */
    atomic_bool over;      /* the thread has nothing left to do and ends */
    pthread_mutex_t lock;
    bool closed; /* under lock: its folder is being removed */
};

/* Starts the thread. dir and keep are copied, not what keep points to. The courier lives until
 * courier_free after `over`. */
int courier_start(const struct attempt_id *id, const char *dir, const struct link_maker *maker,
                  struct starts *starts, const struct keep *keep, struct courier **ret,
                  struct bt_err *err) BT_MUSTUSE;
void courier_free(struct courier *c);

/* Puts the mark `file` ("stop", "gone") into the attempt's folder; when everything about the
 * attempt is told, and its folder goes, there is nobody left to read it and 0 comes back. */
int courier_tell(struct courier *c, const char *file, struct bt_err *err) BT_MUSTUSE;

/* Full jitter: a uniform part of min(limit, base × 2^n), in µs (Brooker, "Exponential Backoff And
 * Jitter", 2015). */
int64_t backoff_us(int n, int64_t base_us, int64_t limit_us);

#endif
