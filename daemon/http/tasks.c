/* Threads for what may block, and calls that wait for a change.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/http/own.h"

#include "lib/base/mem.h"

enum { TASK_THREADS = 2 };

struct tasks {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct call *first, **last;
    bool stopping;
    pthread_t thread[TASK_THREADS];
    int n_threads;
};

static void *task_loop(void *arg)
{
    struct tasks *t = arg;

    pthread_mutex_lock(&t->lock);
    for (;;) {
        struct call *c;

        while (!t->first && !t->stopping)
            pthread_cond_wait(&t->more, &t->lock);
        c = t->first;
        if (!c)
            break;
        t->first = c->next;
        if (!t->first)
            t->last = &t->first;
        pthread_mutex_unlock(&t->lock);
        c->then(c);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    reads_thread_done();
    return NULL;
}

void tasks_stop(struct tasks *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_broadcast(&t->more);
    pthread_mutex_unlock(&t->lock);
    for (int i = 0; i < t->n_threads; i++)
        pthread_join(t->thread[i], NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->more);
    bt_free(t);
}

struct tasks *tasks_start(struct http *h, struct bt_err *err)
{
    struct tasks *t = bt_new(struct tasks);

    (void)h;
    t->last = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->more, NULL);
    for (; t->n_threads < TASK_THREADS; t->n_threads++)
        if (pthread_create(&t->thread[t->n_threads], NULL, task_loop, t)) {
            tasks_stop(t);
            bt_fail(err, BT_ERR_INTERNAL, "a thread could not be started");
            return NULL;
        }
    return t;
}

void tasks_add(struct call *c, void (*run)(struct call *c))
{
    struct tasks *t = c->h->tasks;

    c->then = run;
    pthread_mutex_lock(&t->lock);
    c->next = NULL;
    *t->last = c;
    t->last = &c->next;
    pthread_cond_signal(&t->more);
    pthread_mutex_unlock(&t->lock);
}

/* ---- hub ---- */

/* With 12,500 agents a list has three calls. */
enum { HUB_LISTS = 4096 };

struct hub {
    pthread_mutex_t lock;
    struct call *waiting[HUB_LISTS]; /* by hub_key, whose bits are all as good */
};

static struct call **list_of(struct hub *hub, uint64_t key)
{
    return &hub->waiting[key % HUB_LISTS];
}

struct hub *hub_new(void)
{
    struct hub *hub = bt_new(struct hub);

    pthread_mutex_init(&hub->lock, NULL);
    return hub;
}

void hub_free(struct hub *hub)
{
    if (!hub)
        return;
    pthread_mutex_destroy(&hub->lock);
    bt_free(hub);
}

uint64_t hub_key(char kind, const void *p, size_t n)
{
    return bt_map_hash(p, n) + (uint64_t)(unsigned char)kind;
}

/* Takes the call off the list; the lock is held. */
static void unlink_call(struct hub *hub, struct call *c)
{
    for (struct call **at = list_of(hub, c->hub_key); *at; at = &(*at)->next)
        if (*at == c) {
            *at = c->next;
            c->hub_state = HUB_OUT;
            return;
        }
}

void hub_register(struct call *c, uint64_t key)
{
    struct hub *hub = c->h->hub;

    c->hub_key = key;
    c->hub_state = HUB_AWAKE;
    pthread_mutex_lock(&hub->lock);
    struct call **list = list_of(hub, key);
    c->next = *list;
    *list = c;
    pthread_mutex_unlock(&hub->lock);
}

void hub_leave(struct call *c)
{
    pthread_mutex_lock(&c->h->hub->lock);
    unlink_call(c->h->hub, c);
    pthread_mutex_unlock(&c->h->hub->lock);
}

/* The server's timer: it holds the request, so the call is there. */
static void expired(void *arg, struct serve_request *r)
{
    struct call *c = arg;
    bool asleep;

    (void)r;
    pthread_mutex_lock(&c->h->hub->lock);
    asleep = c->hub_state == HUB_ASLEEP;
    if (asleep)
        unlink_call(c->h->hub, c);
    else if (c->hub_state == HUB_AWAKE)
        c->hub_state = HUB_WOKEN;
    pthread_mutex_unlock(&c->h->hub->lock);
    if (asleep)
        tasks_add(c, c->then);
}

bool hub_sleep(struct call *c, int ms, void (*then)(struct call *c))
{
    struct hub *hub = c->h->hub;
    bool woken;

    c->then = then;
    serve_wait(c->r, ms, expired, c);
    pthread_mutex_lock(&hub->lock);
    woken = c->hub_state != HUB_AWAKE;
    if (woken)
        unlink_call(hub, c);
    else
        c->hub_state = HUB_ASLEEP;
    pthread_mutex_unlock(&hub->lock);
    return !woken;
}

void hub_wake(struct http *h, uint64_t key)
{
    struct call *woken = NULL;

    pthread_mutex_lock(&h->hub->lock);
    for (struct call **at = list_of(h->hub, key); *at;) {
        struct call *c = *at;

        if (c->hub_key != key || c->hub_state != HUB_ASLEEP) {
            if (c->hub_key == key)
                c->hub_state = HUB_WOKEN;
            at = &c->next;
            continue;
        }
        *at = c->next;
        c->hub_state = HUB_OUT;
        c->next = woken;
        woken = c;
    }
    pthread_mutex_unlock(&h->hub->lock);
    while (woken) {
        struct call *c = woken;

        woken = c->next;
        if (c->at_once)
            c->then(c);
        else
            tasks_add(c, c->then);
    }
}
