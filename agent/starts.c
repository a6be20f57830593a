/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/starts.h"

#include <pthread.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

struct waiting {
    struct start start;
    bool under_way; /* a request is telling it */
};

struct starts {
    pthread_mutex_t lock; /* over what follows */
    bool allowed;
    struct waiting *v;
    int n, cap;
};

struct starts *starts_new(void)
{
    struct starts *s = bt_new(struct starts);

    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void starts_free(struct starts *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    bt_free(s->v);
    bt_free(s);
}

void starts_allow(struct starts *s, bool yes)
{
    pthread_mutex_lock(&s->lock);
    s->allowed = yes;
    pthread_mutex_unlock(&s->lock);
}

bool starts_allowed(struct starts *s)
{
    bool yes;

    pthread_mutex_lock(&s->lock);
    yes = s->allowed;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

/* The lock is held. */
static struct waiting *find(struct starts *s, const struct attempt_id *id)
{
    for (int i = 0; i < s->n; i++)
        if (s->v[i].start.id.attempt == id->attempt && bt_uuid_eq(s->v[i].start.id.job, id->job))
            return &s->v[i];
    return NULL;
}

/* In order of time; the lock is held. */
static void forget(struct starts *s, struct waiting *w)
{
    for (struct waiting *last = &s->v[--s->n]; w < last; w++)
        *w = w[1];
}

void starts_add(struct starts *s, const struct attempt_id *id, const char *foreign)
{
    struct waiting w = {.start = {.id = *id, .since_us = bt_mono_us()}};

    bt_copy(w.start.foreign, sizeof w.start.foreign, foreign);
    pthread_mutex_lock(&s->lock);
    if (!find(s, id)) {
        BT_GROW(s->v, s->n, s->cap);
        s->v[s->n++] = w;
    }
    pthread_mutex_unlock(&s->lock);
}

bool starts_has(struct starts *s, const struct attempt_id *id)
{
    bool has;

    pthread_mutex_lock(&s->lock);
    has = find(s, id) != NULL;
    pthread_mutex_unlock(&s->lock);
    return has;
}

void starts_drop(struct starts *s, const struct attempt_id *id)
{
    struct waiting *w;

    pthread_mutex_lock(&s->lock);
    w = find(s, id);
    if (w)
        forget(s, w);
    pthread_mutex_unlock(&s->lock);
}

bool starts_take(struct starts *s, const struct attempt_id *own, struct start_list *ret)
{
    struct waiting *w;

    ret->n = 0;
    pthread_mutex_lock(&s->lock);
    w = find(s, own);
    for (int i = 0; s->allowed && i < s->n && ret->n < START_LIST_MAX - 1; i++) {
        if (s->v[i].under_way || &s->v[i] == w)
            continue;
        s->v[i].under_way = true;
        ret->v[ret->n++] = s->v[i].start;
    }
    if (w) { /* even if another request is telling it: this one may be its end */
        w->under_way = true;
        ret->v[ret->n++] = w->start;
    }
    pthread_mutex_unlock(&s->lock);
    return w != NULL;
}

void starts_settle(struct starts *s, const struct start_list *list, bool told)
{
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < list->n; i++) {
        struct waiting *w = find(s, &list->v[i].id);

        if (w && told)
            forget(s, w);
        else if (w)
            w->under_way = false;
    }
    pthread_mutex_unlock(&s->lock);
}
