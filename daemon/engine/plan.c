/* The planner thread, at most once a second.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/engine/own.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

enum { CARRY_ON_US = 25000 }; /* of the processor: a plan that took more is not made twice */

static int64_t plan_once(struct plan *p, const struct plan *last)
{
    struct bt_err err = {0};
    int64_t began = bt_mono_us();
    int64_t cpu_us = bt_thread_us();

    p->in.last = last ? &last->out : NULL;
    if (sched_plan(&p->in, &p->out, &err) == 0) {
        plan_made(p);
        if (bt_thread_us() - cpu_us <= CARRY_ON_US)
            plan_carry_on(p);
    } else {
        bt_log_err(BT_ERROR, "plan-failed", &err);
    }
    p->in.last = NULL;
    return bt_mono_us() - began;
}

void *engine_plan_loop(void *arg)
{
    struct engine *e = arg;

    pthread_mutex_lock(&e->lock);
    for (;;) {
        struct plan *p;
        struct plan *last;
        struct event *ev;
        int64_t took;

        while (!e->to_do && !e->stopping)
            pthread_cond_wait(&e->to_plan, &e->lock);
        if (e->stopping)
            break;
        p = BT_TAKE(e->to_do);
        last = e->latest ? plan_ref(e->latest) : NULL;
        pthread_mutex_unlock(&e->lock);
        took = plan_once(p, last);
        plan_unref(last);
        ev = event_new(EV_PLAN_READY);
        ev->u.plan_ready.plan = plan_ref(p);
        if (!p->planned || engine_post(e, ev, NULL) < 0)
            event_free(ev);
        pthread_mutex_lock(&e->lock);
        if (p->planned) {
            plan_unref(e->latest);
            e->latest = p;
        } else {
            plan_unref(p);
        }
        e->status.plan_us = took;
        e->planning = false;
        pthread_cond_signal(&e->to_core); /* the next one may be due */
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* Before anybody is served: from the first moment each waiting job has a start. */
void engine_first_plan(struct engine *e)
{
    struct plan *p = core_snapshot(e->core, e->seq);
    struct event *ev;

    e->status.plan_us = plan_once(p, NULL);
    if (!p->planned) {
        plan_unref(p);
        return;
    }
    ev = event_new(EV_PLAN_READY);
    ev->u.plan_ready.plan = plan_ref(p);
    e->latest = p;
    engine_stamp(e, ev);
    engine_step(e, ev);
}

struct plan *engine_plan(struct engine *e)
{
    struct plan *p;

    pthread_mutex_lock(&e->lock);
    p = e->latest ? plan_ref(e->latest) : NULL;
    pthread_mutex_unlock(&e->lock);
    return p;
}

/* At most once a second and half a core: the next may begin after as long as the last took. */
void engine_maybe_plan(struct engine *e)
{
    int64_t mono = bt_mono_us();

    if (!core_plan_is_due(e->core) || mono < e->next_plan_us)
        return;
    pthread_mutex_lock(&e->lock);
    if (!e->planning && !e->to_do) {
        e->to_do = core_snapshot(e->core, e->seq);
        e->planning = true;
        e->next_plan_us = mono + BT_MAX(BT_US_PER_S, 2 * e->status.plan_us);
        pthread_cond_signal(&e->to_plan);
    }
    pthread_mutex_unlock(&e->lock);
}
