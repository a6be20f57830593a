/* ask.h - waits for the answer to an event of the daemon's own: its start needs a few, one by one.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One thread asks (ask_begin, then post the event, then ask_wait); the engine's answers come by
 * ask_answer from whatever thread. An answer that comes too late is dropped. */
#ifndef BT_DAEMON_ASK_H
#define BT_DAEMON_ASK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/batch.h"
#include "lib/base/err.h"

/* A database that restarts is back within seconds; one that is not after this long needs somebody.
 */
enum { ASK_WAIT_S = 60 };

struct ask {
    pthread_mutex_t lock;
    pthread_cond_t done;
    uint64_t waits_for; /* 0: nothing */
    uint64_t last;      /* numbers below those of HTTP requests */
    bool answered;
    struct bt_err err;
};

void ask_init(struct ask *a);
void ask_done(struct ask *a);

uint64_t ask_begin(struct ask *a); /* what the event's reply_to shall be */
void ask_answer(struct ask *a, const struct reply *replies, int n);

/* 0 or the answer's error; BT_ERR_TIMEOUT when none came within wait_us. */
int ask_wait(struct ask *a, int64_t wait_us, struct bt_err *err) BT_MUSTUSE;

#endif
