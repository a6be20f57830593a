/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/publish/publish_thread.h"

#include <pthread.h>

#include "lib/base/mem.h"
#include "lib/base/time.h"

#define PAUSE_FIRST_US (BT_US_PER_S / 4)
#define PAUSE_MAX_US (30 * BT_US_PER_S)

enum { AT_ONCE = 3 }; /* checkpoints after a pause: of a job's submission, its end, its result */

struct publish_thread {
    struct publish_options o;
    int64_t interval_us;
    pthread_t thread;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t woken;
    uint64_t committed;
    bool idle; /* it waits for entries, not for time to pass */
    bool stopping;
};

/* Sleeps until woken, or for at most us (0: no limit); returns whether to go on. */
static void wait_us(struct publish_thread *t, int64_t us)
{
    struct timespec at;

    if (us == 0) {
        pthread_cond_wait(&t->woken, &t->lock);
        return;
    }
    us += bt_mono_us();
    at = (struct timespec){.tv_sec = us / BT_US_PER_S, .tv_nsec = us % BT_US_PER_S * 1000};
    pthread_cond_timedwait(&t->woken, &t->lock, &at);
}

/* Waits for entries beyond `size`, but not before not_before_us (an interval clock). False: stop.
 */
static bool wait_for_work(struct publish_thread *t, uint64_t size, int64_t not_before_us)
{
    bool go;

    pthread_mutex_lock(&t->lock);
    t->idle = true;
    while (!t->stopping && t->committed <= size)
        wait_us(t, 0);
    t->idle = false;
    while (!t->stopping && bt_mono_us() < not_before_us)
        wait_us(t, not_before_us - bt_mono_us());
    go = t->committed > size;
    pthread_mutex_unlock(&t->lock);
    return go;
}

static uint64_t committed_now(struct publish_thread *t)
{
    uint64_t n;

    pthread_mutex_lock(&t->lock);
    n = t->committed;
    pthread_mutex_unlock(&t->lock);
    return n;
}

static void covers(const struct publish_thread *t, int64_t size)
{
    if (t->o.calls.covers)
        t->o.calls.covers(t->o.calls.arg, size);
}

/* When the next checkpoint may be made, after one. *taken_us: until when intervals are used up. */
static int64_t next_us(const struct publish_thread *t, int64_t *taken_us)
{
    *taken_us = BT_MAX(*taken_us, bt_mono_us()) + t->interval_us;
    return *taken_us - (AT_ONCE - 1) * t->interval_us;
}

/* Publishes until it is stopped (0) or something fails. */
static int work(struct publish_thread *t, int64_t *pause_us, struct bt_err *err)
{
    struct publish_state state;
    struct publisher *p;
    int64_t taken_us = 0;
    int rc = publish_open(&t->o, &p, err);

    if (rc < 0)
        return rc;
    rc = t->o.calls.load(t->o.calls.arg, &state, err); /* what an earlier run left unpublished */
    if (rc == 0)
        publish_thread_wake(t, state.committed);
    while (rc == 0) {
        rc = publish_catch_up(p, committed_now(t), err);
        covers(t, (int64_t)publish_signed(p));
        if (rc == 0)
            *pause_us = PAUSE_FIRST_US;
        if (rc == 0 && !wait_for_work(t, publish_size(p), next_us(t, &taken_us)))
            break;
    }
    publish_close(p);
    return rc;
}

/* After a failure: true to try again. */
static bool pause_after(struct publish_thread *t, int rc, int64_t *pause_us)
{
    bool again;
    int64_t until = bt_mono_us() + *pause_us;

    pthread_mutex_lock(&t->lock);
    while (!t->stopping && (publish_is_final(rc) || bt_mono_us() < until))
        wait_us(t, publish_is_final(rc) ? 0 : until - bt_mono_us() + 1);
    again = !t->stopping;
    pthread_mutex_unlock(&t->lock);
    *pause_us = BT_MIN(*pause_us * 2, PAUSE_MAX_US);
    return again;
}

static void *run(void *arg)
{
    struct publish_thread *t = arg;
    int64_t pause_us = PAUSE_FIRST_US;

    for (;;) {
        struct bt_err err = {0};
        int rc = work(t, &pause_us, &err);

        if (rc == 0)
            return NULL;
        if (publish_is_final(rc))
            covers(t, 0);
        if (t->o.calls.failed)
            t->o.calls.failed(t->o.calls.arg, &err, publish_is_final(rc));
        if (!pause_after(t, rc, &pause_us))
            return NULL;
    }
}

int publish_thread_start(const struct publish_options *o, int64_t interval_us,
                         struct publish_thread **ret, struct bt_err *err)
{
    struct publish_thread *t = bt_new(struct publish_thread);
    pthread_condattr_t attr;

    t->o = *o;
    t->interval_us = interval_us;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->woken, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&t->thread, NULL, run, t) != 0) {
        pthread_cond_destroy(&t->woken);
        pthread_mutex_destroy(&t->lock);
        bt_free(t);
        return bt_fail(err, BT_ERR_INTERNAL, "cannot start the publishing thread");
    }
    *ret = t;
    return 0;
}

void publish_thread_wake(struct publish_thread *t, uint64_t committed)
{
    pthread_mutex_lock(&t->lock);
    if (committed > t->committed) {
        t->committed = committed;
        if (t->idle)
            pthread_cond_signal(&t->woken);
    }
    pthread_mutex_unlock(&t->lock);
}

void publish_thread_stop(struct publish_thread *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->woken);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->woken);
    pthread_mutex_destroy(&t->lock);
    bt_free(t);
}
