/* One thread for everything that must end by itself: half-open handshakes, slow bodies, requests
 * that nobody answers. SPDX-License-Identifier: GPL-3.0-or-later */
#include <sys/socket.h>

#include "lib/serve/own.h"

/* So long it goes on ticking without an entry: a wake for every single request costs more. */
enum { IDLE_TICKS = 5000 / TICK_MS };

static int64_t now_ms(void)
{
    return bt_mono_us() / 1000;
}

static void list_init(struct timed *head)
{
    head->prev = head->next = head;
}

static void list_add(struct timed *head, struct timed *e)
{
    e->prev = head->prev;
    e->next = head;
    head->prev->next = e;
    head->prev = e;
}

static bool list_remove(struct timed *e)
{
    if (!e->next)
        return false;
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->prev = e->next = NULL;
    return true;
}

/* The caller holds t->lock. */
static void added(struct timers *t)
{
    t->n++;
    if (t->asleep)
        pthread_cond_signal(&t->wake);
}

static void removed(struct timers *t, struct timed *e)
{
    if (list_remove(e))
        t->n--;
}

void timer_set(struct serve_request *r, int ms)
{
    struct timers *t = &r->s->timers;
    int64_t tick = (now_ms() + ms) / TICK_MS + 1;

    pthread_mutex_lock(&t->lock);
    removed(t, &r->timer);
    if (t->n == 0)
        t->tick = now_ms() / TICK_MS;
    if (tick > t->tick + WHEEL - 1)
        tick = t->tick + WHEEL - 1;
    list_add(&t->wheel[tick % WHEEL], &r->timer);
    added(t);
    pthread_mutex_unlock(&t->lock);
}

void timer_clear(struct serve_request *r)
{
    struct timers *t = &r->s->timers;

    pthread_mutex_lock(&t->lock);
    removed(t, &r->timer);
    pthread_mutex_unlock(&t->lock);
}

void young_add(struct conn *c)
{
    struct timers *t = &c->s->timers;

    pthread_mutex_lock(&t->lock);
    c->young.at_ms = now_ms();
    list_add(&t->young, &c->young);
    if (t->n == 0)
        t->tick = now_ms() / TICK_MS;
    added(t);
    pthread_mutex_unlock(&t->lock);
}

bool young_remove(struct conn *c)
{
    struct timers *t = &c->s->timers;
    int before;

    pthread_mutex_lock(&t->lock);
    before = t->n;
    removed(t, &c->young);
    before -= t->n;
    pthread_mutex_unlock(&t->lock);
    return before != 0;
}

/* The socket stays open until the connection's NOTIFY_CLOSED, which waits for the lock held here.
 */
static void cut_young(struct server *s, int64_t now)
{
    struct timers *t = &s->timers;

    while (t->young.next != &t->young) {
        struct timed *e = t->young.next;
        struct conn *c = (struct conn *)((char *)e - offsetof(struct conn, young));

        if (now - e->at_ms < s->set.handshake_ms)
            break;
        removed(t, e);
        atomic_fetch_add(&s->handshakes_cut, 1);
        shutdown(c->fd, SHUT_RDWR);
    }
}

/* Expires the requests of a bucket; the lock is released meanwhile. */
static void expire_bucket(struct timers *t, struct timed *head, bool only_waits)
{
    struct timed due;

    list_init(&due);
    for (struct timed *e = head->next, *next; e != head; e = next) {
        next = e->next;
        if (only_waits && !((struct serve_request *)(void *)e)->expired)
            continue;
        list_remove(e);
        list_add(&due, e);
    }
    while (due.next != &due) {
        struct serve_request *r = (struct serve_request *)(void *)due.next;

        removed(t, &r->timer);
        request_ref(r);
        pthread_mutex_unlock(&t->lock);
        request_expire(r);
        request_unref(r);
        pthread_mutex_lock(&t->lock);
    }
}

static void *run(void *arg)
{
    struct server *s = arg;
    struct timers *t = &s->timers;
    int idle = 0; /* ticks without an entry */

    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        struct timespec until;
        int64_t now, ms;

        idle = t->n ? 0 : idle + 1;
        if (idle > IDLE_TICKS) {
            t->asleep = true;
            pthread_cond_wait(&t->wake, &t->lock);
            t->asleep = false;
            idle = 0;
            continue;
        }
        ms = (now_ms() / TICK_MS + 1) * TICK_MS;
        until = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        pthread_cond_timedwait(&t->wake, &t->lock, &until);
        now = now_ms();
        cut_young(s, now);
        while (t->tick < now / TICK_MS) {
            t->tick++;
            expire_bucket(t, &t->wheel[t->tick % WHEEL], false);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

void timers_expire_all(struct server *s, bool only_waits)
{
    struct timers *t = &s->timers;

    pthread_mutex_lock(&t->lock);
    for (int i = 0; i < WHEEL; i++)
        expire_bucket(t, &t->wheel[i], only_waits);
    pthread_mutex_unlock(&t->lock);
}

void timers_start(struct server *s)
{
    struct timers *t = &s->timers;
    pthread_condattr_t attr;

    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->wake, &attr);
    pthread_condattr_destroy(&attr);
    list_init(&t->young);
    for (int i = 0; i < WHEEL; i++)
        list_init(&t->wheel[i]);
    t->tick = now_ms() / TICK_MS;
    if (pthread_create(&t->thread, NULL, run, s) != 0)
        abort();
}

void timers_stop(struct server *s)
{
    struct timers *t = &s->timers;

    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
}
