/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/ask.h"

#include <inttypes.h>
#include <time.h>

#include "lib/base/time.h"

void ask_init(struct ask *a)
{
    pthread_condattr_t attr;

    *a = (struct ask){.waits_for = 0};
    pthread_mutex_init(&a->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->done, &attr);
    pthread_condattr_destroy(&attr);
}

void ask_done(struct ask *a)
{
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->done);
}

uint64_t ask_begin(struct ask *a)
{
    uint64_t id;

    pthread_mutex_lock(&a->lock);
    id = a->waits_for = ++a->last;
    a->answered = false;
    pthread_mutex_unlock(&a->lock);
    return id;
}

void ask_answer(struct ask *a, const struct reply *replies, int n)
{
    pthread_mutex_lock(&a->lock);
    for (int i = 0; a->waits_for && i < n; i++)
        if (replies[i].to == a->waits_for) {
            a->err = replies[i].err;
            a->answered = true;
            pthread_cond_signal(&a->done);
        }
    pthread_mutex_unlock(&a->lock);
}

int ask_wait(struct ask *a, int64_t wait_us, struct bt_err *err)
{
    int64_t until = bt_mono_us() + wait_us;
    struct timespec at = {.tv_sec = until / BT_US_PER_S, .tv_nsec = until % BT_US_PER_S * 1000};
    int late = 0, rc = 0;

    pthread_mutex_lock(&a->lock);
    while (!a->answered && !late)
        late = pthread_cond_timedwait(&a->done, &a->lock, &at);
    a->waits_for = 0;
    if (!a->answered) {
        rc = bt_next(err,
                     bt_fail(err, BT_ERR_TIMEOUT,
                             "the database has not taken the start's own entries for %" PRId64 " s",
                             wait_us / BT_US_PER_S),
                     "look at PostgreSQL's log, then start the daemon again");
    } else if (a->err.code) {
        if (err)
            *err = a->err;
        rc = -a->err.code;
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}
