/* The planner's answer becomes starts, promises and stops; a newcomer gets its slot.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/plan_view.h"
#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/record/leaf.h"

/* Promises are bulk work: submissions must not wait behind more than this of it. */
enum { PROMISES_A_PLAN = 1000 };

enum { NEXT_TRIES = 4 }; /* quick passes for one end */

/* ---- starting ---- */

static void emit_submit_leaf(struct core *c, struct job *j)
{
    struct bt_buf leaf = {0};
    struct bt_err err = {0};
    struct leaf_texts texts;
    struct leaf_submit in = {.walltime_s = j->walltime_s, .embargo_days = j->embargo_days};

    leaf_job_of(c, j, &texts, &in.job);
    in.publish_days = c->policy->tiers[j->tier].result_days;
    if (leaf_submit_build(&in, &leaf, &err) < 0)
        leaf_unbuilt(&leaf, "submit", j, &err); /* what started has its entry all the same */
    emit_leaf(c, "submit", j->id, bt_buf_take(&leaf), &j->submit_idx);
}

static bool site_takes(const struct core *c, const struct node *n)
{
    const struct site *s = n->row.site > 0 ? &c->sites[n->row.site - 1] : NULL;

    return !s || (bt_streq(s->row.state, "up") && !s->unreachable);
}

/* The planner proposes; the core looks again before it commits (version, nodes, locks, grant). */
static bool may_start(struct core *c, const struct job *j, const struct plan_part *parts,
                      const struct plan_slot *s)
{
    struct clearance_report locks;
    int32_t site = 0;

    if (j->state != JOB_QUEUED || dependency_met(c, j) != 1)
        return false;
    if (!s->n_parts || locks_of(c, j->person, j->project, 0, j->tier, &locks) > 0)
        return false;
    for (uint32_t i = 0; i < s->n_parts; i++) {
        const struct plan_part *part = &parts[s->parts_off + i];
        const struct node *n = &c->nodes[part->node];

        if ((n->busy & part->mask) || (part->mask & ~(uint64_t)n->row.all_mask) || !n->reported ||
            !bt_streq(n->row.state, "up") || !site_takes(c, n))
            return false;
        if (i > 0 && n->row.site != site) /* no cluster can start it */
            return false;
        site = n->row.site;
        if (i == 0 && !site_serves(c, j, site))
            return false;
    }
    return true;
}

static int by_node(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    return (x->node > y->node) - (x->node < y->node);
}

static void start(struct core *c, const struct plan_part *parts, const struct plan_slot *s)
{
    uint32_t slot = s->handle;
    struct job *j = job_at(c, slot);
    struct attempt *a = bt_new(struct attempt);

    a->state = ATTEMPT_WANTED;
    a->wanted_us = a->seen_us = c->now_us;
    a->hold_mras = j->hold_mras;
    a->born = c->batch->id;
    for (uint32_t i = 0; i < s->n_parts; i++)
        a->accelerators += __builtin_popcountll(parts[s->parts_off + i].mask);
    a->owned = s->owned && c->nations[j->nation - 1].owned_acc + a->accelerators <=
                               guaranteed_of(c, j->nation, c->now_us);
    if (a->owned)
        c->nations[j->nation - 1].owned_acc += a->accelerators;
    a->n_places = (int32_t)s->n_parts;
    a->places = bt_new_n(struct place, s->n_parts);
    for (uint32_t i = 0; i < s->n_parts; i++) {
        const struct plan_part *part = &parts[s->parts_off + i];
        struct node *n = &c->nodes[part->node];
        struct row_alloc *r = rows_add(&c->batch->rows, ROW_KIND_alloc);

        a->places[i] = (struct place){n->row.id, part->mask};
        n->busy |= part->mask;
        *r = (struct row_alloc){j->id, n->row.id, (int64_t)part->mask};
    }
    /* Slurm starts the script on the first node in the order of its own list, as ids are */
    qsort(a->places, (size_t)a->n_places, sizeof *a->places, by_node);
    a->node = a->places[0].node;
    a->site = c->nodes[a->node - 1].row.site;
    a->datasets = data_found(c, j->data, a->site);
    attempt_drop(j);
    j->att = a;
    if (j->submit_idx < 0)
        emit_submit_leaf(c, j);
    job_move(c, slot, JOB_STARTING);
    emit_attempt(c, j);
    emit_want(c, j, WANT_RUN);
}

/* "first", "again" of a later attempt, or why the one before moved: its code and a sentence. */
static char *cause_of(const struct job *j, const struct plan *p, const struct plan_slot *s)
{
    struct plan_names names = {plan_number_of(p, s->cause_job), plan_nation_of(p, s->cause_nation)};
    struct bt_buf text = {0};

    if (!j->promise_us)
        return bt_strdup(j->attempt > 1 ? "again" : "first");
    bt_buf_printf(&text, "%s ", sched_cause_name(s->cause));
    sched_cause_text(s, &names, &text);
    return bt_buf_take(&text);
}

/* The first promise, or one that moved for a named cause; *left bounds how many a batch holds. */
static void promise(struct core *c, struct job *j, const struct plan *p, const struct plan_slot *s,
                    int *left)
{
    struct row_promise *r;

    if (!s->promise_us || s->promise_us == j->promise_us || s->promise_us == INT64_MAX)
        return;
    if (*left == 0) {
        c->plan_due = true; /* the next plan gives the next ones */
        return;
    }
    --*left;
    r = rows_add(&c->batch->rows, ROW_KIND_promise);
    r->job = j->id;
    r->given_us = c->now_us;
    r->start_by_us = s->promise_us;
    r->plan_us = s->start_us;
    r->cause = cause_of(j, p, s);
    r->attempt = j->attempt;
    j->promise_us = s->promise_us;
}

/* ---- whom an owner needs out of its way ---- */

/* The plan's victim as it is now: lent, and not told to stop yet. */
static bool may_preempt(const struct core *c, const struct plan *p, const struct plan_victim *v)
{
    const struct job *j = job_at(c, v->handle), *owner = job_at(c, v->for_handle);

    return owner->state == JOB_QUEUED && (j->state == JOB_STARTING || j->state == JOB_RUNNING) &&
           j->att && j->att->state != ATTEMPT_ENDED && j->att->wanted_us <= p->in.now_us &&
           j->stop == STOP_NONE && !j->att->owned && may_yield(j);
}

static void preempt(struct core *c, const struct plan_victim *v)
{
    struct job *j = job_at(c, v->handle);
    const struct job *owner = job_at(c, v->for_handle);
    char body[96];

    snprintf(body, sizeof body,
             "{\"for\":%" PRId64 ",\"nation\":\"%s\",\"lost_acc_s\":%" PRId64 "}", owner->number,
             nation_code(c, owner->nation), v->lost_acc_s);
    emit_job_event(c, "preempt", "facility/plan", j, bt_strdup(body));
    j->stop = STOP_PREEMPT;
    j->att->stop_us = c->now_us;
    if (j->att->claimed_us) {
        j->att->state = ATTEMPT_PREEMPTING;
        emit_attempt(c, j);
        emit_job_state(c, j);
        emit_want(c, j, WANT_STOP);
    } else if (j->att->born == c->batch->id) {
        emit_job_state(c, j); /* its allocation is in this very batch: the next tick ends it */
    } else {
        attempt_close(c, v->handle, "stopped before it was claimed");
        job_requeue(c, v->handle, 0);
    }
    c->plan_due = true;
}

/* Does not start although it was planned: the next plan sees why. */
static void not_now(struct core *c, struct plan *p, const struct plan_slot *s)
{
    c->plan_due = true;
    if (p->live)
        sched_live_remove(p->live, s->handle);
}

/* ---- newcomers ---- */

void provisional(struct core *c, uint32_t slot)
{
    struct job *j = job_at(c, slot);
    struct plan_pending ask;
    struct plan_slot s;
    struct view_job *v;

    if (j->state != JOB_QUEUED || !c->plan || !c->plan->spare)
        return;
    ask = pending_of(c, j, slot);
    if (sched_spare_slot(c->plan->spare, &ask, c->now_us, &s, NULL) < 0)
        return;
    j->plan_us = s.start_us == INT64_MAX ? 0 : s.start_us;
    BT_GROW(c->batch->jobs, c->batch->n_jobs, c->batch->cap_jobs);
    v = &c->batch->jobs[c->batch->n_jobs++];
    *v = (struct view_job){j->id, j->number, JOB_QUEUED, j->plan_us};
}

/* Takes over the plan; who came while it was made gets a slot in what it leaves free. */
static void adopt(struct core *c, struct plan *p)
{
    struct bt_map known = {0};

    plan_unref(c->plan);
    c->plan = plan_ref(p);
    bt_map_reserve(&known, p->out.n_slots);
    for (uint32_t i = 0; i < p->out.n_slots; i++)
        bt_map_put(&known, p->out.slots[i].handle, i);
    for (uint32_t i = 0; i < c->n_live; i++) {
        uint32_t at;

        if (job_at(c, c->live[i])->state == JOB_QUEUED && !bt_map_get(&known, c->live[i], &at))
            provisional(c, c->live[i]);
    }
    bt_map_done(&known);
}

/* ---- between plans ---- */

static void start_what_fits(struct core *c)
{
    struct plan_live *live = c->plan->live;
    bool again = true;

    for (int tries = 0; again && tries < NEXT_TRIES; tries++) {
        struct plan_starts s;

        again = false;
        sched_live_quick(live, c->now_us, &s);
        for (uint32_t i = 0; i < s.n; i++) {
            if (may_start(c, job_at(c, s.slots[i].handle), s.parts, &s.slots[i])) {
                start(c, s.parts, &s.slots[i]);
            } else { /* cancelled, or its place is gone: somebody else may do */
                not_now(c, c->plan, &s.slots[i]);
                again = true;
            }
        }
    }
}

/* Whoever ends makes room at once: what the last plan would start there starts in this very batch,
 * and not with the next plan. While one is being made nothing starts that it does not know: it
 * starts when the plan is there. */
void start_next(struct core *c, uint32_t ended)
{
    if (c->planning) {
        BT_GROW(c->freed, c->n_freed, c->cap_freed);
        c->freed[c->n_freed++] = ended;
    } else if (c->plan && c->plan->live) {
        sched_live_remove(c->plan->live, ended);
        start_what_fits(c);
    }
}

/* A new plan does not know of those who ended after it had looked. */
static void catch_up(struct core *c)
{
    struct plan_live *live = c->plan->live;

    for (uint32_t i = 0; live && i < c->n_freed; i++)
        sched_live_remove(live, c->freed[i]);
    if (live && c->n_freed)
        start_what_fits(c);
    c->n_freed = 0;
}

/* ---- a new plan ---- */

void step_plan_ready(struct core *c, const struct event *ev)
{
    struct plan *p = ev->u.plan_ready.plan;
    int left = PROMISES_A_PLAN;

    for (uint32_t i = 0; i < p->out.n_slots; i++) {
        const struct plan_slot *s = &p->out.slots[i];
        struct job *j = job_at(c, s->handle);

        if (j->state != JOB_QUEUED)
            continue;
        j->plan_us = s->start_us == INT64_MAX ? 0 : s->start_us;
        if (!s->starts_now || j->promise_us) /* what starts at once needs no promise */
            promise(c, j, p, s, &left);
        if (s->starts_now && may_start(c, j, p->out.parts, s))
            start(c, p->out.parts, s);
        else if (s->starts_now)
            not_now(c, p, s); /* the world moved while the planner thought */
    }
    for (uint32_t i = 0; i < p->out.n_victims; i++)
        if (may_preempt(c, p, &p->out.victims[i]))
            preempt(c, &p->out.victims[i]);
    adopt(c, p);
    c->planning = false;
    catch_up(c);
}
