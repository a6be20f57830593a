/* Trials: before a large gang starts, and between switches.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/trial.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

#define TROUBLE "fabric: "

bool node_is_fabric_bad(const struct node *n)
{
    return bt_streq(n->row.state, "degraded") && bt_starts(n->row.reason, TROUBLE);
}

static void trial_free(struct trial *t)
{
    if (!t)
        return;
    bt_wipe(t->secret, sizeof t->secret);
    bt_free(t->parts);
    bt_free(t->links);
    bt_free(t);
}

void trials_free(struct core *c)
{
    for (uint32_t i = 0; i < c->n_trials; i++)
        trial_free(c->trials[i]);
    bt_free(c->trials);
    bt_free(c->leaves);
    bt_free(c->leaf_nodes);
}

/* ---- what agents are shown ---- */

static struct view_trial *show(struct core *c, int32_t node)
{
    struct view_trial *v;

    BT_GROW(c->batch->trials, c->batch->n_trials, c->batch->cap_trials);
    v = &c->batch->trials[c->batch->n_trials++];
    *v = (struct view_trial){.id = 0};
    bt_copy(v->node, sizeof v->node, c->nodes[node].row.name);
    return v;
}

static void show_part(struct core *c, const struct trial *t, int32_t rank)
{
    struct view_trial *v = show(c, t->parts[rank].node);
    int64_t left = (t->deadline_us - c->now_us) / BT_US_PER_S - TRIAL_SILENT_S / 2;

    v->id = t->id;
    v->rank = rank;
    v->world = t->n;
    v->deadline_s = (int32_t)BT_MAX(left, 1);
    if (rank == 0)
        return;
    bt_copy(v->address, sizeof v->address, t->address);
    bt_copy(v->secret, sizeof v->secret, t->secret);
}

/* ---- its life ---- */

struct trial *trial_begin(struct core *c, const int32_t *nodes, int32_t n, const struct job *job)
{
    struct trial *t;

    assert(n >= 2 && n <= TRIAL_NODES_MAX);
    t = bt_new(struct trial);
    c->last_trial = BT_MAX(c->last_trial + 1, c->now_us);
    t->id = c->last_trial;
    t->deadline_us = c->now_us + TRIAL_S * BT_US_PER_S;
    t->preflight = job != NULL;
    if (job)
        t->job = job->id;
    t->parts = bt_new_n(struct trial_part, (size_t)n);
    t->n = n;
    for (int32_t i = 0; i < n; i++) {
        t->parts[i].node = nodes[i];
        c->nodes[nodes[i]].trial = t->id;
    }
    BT_GROW(c->trials, c->n_trials, c->cap_trials);
    c->trials[c->n_trials++] = t;
    show_part(c, t, 0);
    return t;
}

static void trial_over(struct core *c, struct trial *t)
{
    for (int32_t i = 0; i < t->n; i++)
        if (c->nodes[t->parts[i].node].trial == t->id) {
            c->nodes[t->parts[i].node].trial = 0;
            (void)show(c, t->parts[i].node);
        }
    for (uint32_t i = 0; i < c->n_trials; i++)
        if (c->trials[i] == t)
            c->trials[i] = c->trials[--c->n_trials];
    trial_free(t);
}

void trials_of_job_over(struct core *c, struct bt_uuid job)
{
    for (uint32_t i = c->n_trials; i-- > 0;)
        if (c->trials[i]->preflight && bt_uuid_eq(c->trials[i]->job, job))
            trial_over(c, c->trials[i]);
}

/* ---- whose fault it is ---- */

static void blame(struct trial_part *p, const char *why)
{
    p->faulty = true;
    bt_copy(p->why, sizeof p->why, why);
}

/* Parts that failed by themselves, and those that said nothing while others had lost a peer. Is it
 * none of these, the first that lost a neighbour is named: it or the next one is cut off. */
static void find_faults(struct trial *t)
{
    struct trial_part *lost = NULL;
    bool any = false;
    char why[160];

    for (int32_t i = 0; i < t->n; i++) {
        struct trial_part *p = &t->parts[i];

        if (!p->ended && t->bad_us) {
            blame(p, "it did not answer in a trial");
        } else if (p->ended && p->outcome == TRIAL_FAILED) {
            (void)snprintf(why, sizeof why,
                           *p->text ? "its part of a trial failed: %.110s"
                                    : "its part of a trial ended without a word%s",
                           p->text);
            blame(p, why);
        } else if (p->ended && p->outcome == TRIAL_LOST && !lost) {
            lost = p;
        }
        any |= p->faulty;
    }
    if (!any && lost) {
        (void)snprintf(why, sizeof why, "in a trial %.120s", lost->text);
        blame(lost, why);
    }
}

static bool went_well(const struct trial *t)
{
    for (int32_t i = 0; i < t->n; i++)
        if (!t->parts[i].ended || t->parts[i].outcome != TRIAL_OK)
            return false;
    return t->links != NULL;
}

static bool was_disturbed(const struct trial *t)
{
    for (int32_t i = 0; i < t->n; i++)
        if (t->parts[i].ended && t->parts[i].outcome == TRIAL_DISTURBED)
            return true;
    return false;
}

/* Degrades the faulty ones; the others work again if a trial had degraded them. */
static void judge_parts(struct core *c, const struct trial *t, bool well)
{
    char why[200];

    for (int32_t i = 0; i < t->n; i++) {
        const struct trial_part *p = &t->parts[i];
        struct node *n = &c->nodes[p->node];

        if (p->faulty && (bt_streq(n->row.state, "up") || node_is_fabric_bad(n))) {
            (void)snprintf(why, sizeof why, TROUBLE "%s", p->why);
            n->bad_us = c->now_us;
            node_set_state(c, n, "degraded", why);
            emit_event(c, "node-degraded", "facility/clock", n->row.name, NULL);
        } else if (well && !p->faulty && node_is_fabric_bad(n)) {
            node_set_state(c, n, "up", "-");
            emit_event(c, "node-up", "facility/clock", n->row.name, NULL);
        }
    }
}

/* "preflight: n3 did not answer …": the first who is named, and how many others. */
static void say_faults(const struct core *c, const struct trial *t, char *out, size_t size)
{
    const struct trial_part *first = NULL;
    int n = 0;

    for (int32_t i = 0; i < t->n; i++)
        if (t->parts[i].faulty && n++ == 0)
            first = &t->parts[i];
    if (!first)
        (void)snprintf(out, size, "preflight: the nodes did not end their trial in time");
    else if (n == 1)
        (void)snprintf(out, size, "preflight: node %s: %s", c->nodes[first->node].row.name,
                       first->why);
    else
        (void)snprintf(out, size, "preflight: node %s: %s (and %d more)",
                       c->nodes[first->node].row.name, first->why, n - 1);
}

/* ---- before a gang starts ---- */

/* Nothing of the job has run: the attempt is closed, refunded whole and tried again, however often
 * that was; each time at least one node is out of use. With nobody to blame it counts. */
static void preflight_failed(struct core *c, uint32_t slot, const char *why, bool named)
{
    struct job *j = job_at(c, slot);

    emit_job_event(c, "preflight-failed", "facility/clock", j,
                   bt_printf("{\"job\":%" PRId64 ",\"attempt\":%d}", j->number, j->attempt));
    if (!named || j->stop == STOP_CANCEL || j->attempt >= JOB_MAX_ATTEMPTS) {
        facility_failed(c, slot, why);
        return;
    }
    attempt_close(c, slot, why);
    job_requeue(c, slot, 0);
}

static void end_preflight(struct core *c, struct bt_uuid job, bool well, bool named,
                          const char *why)
{
    uint32_t slot;
    struct job *j = job_find(c, job, &slot);

    if (!j || !j->att || j->att->preflight != PREFLIGHT_RUNS)
        return;
    j->att->preflight_us = c->now_us;
    if (well)
        j->att->preflight = PREFLIGHT_PASSED;
    else
        preflight_failed(c, slot, why, named);
}

/* Another job began on one of its nodes meanwhile: the next claim begins another trial. */
static void preflight_again(struct core *c, struct bt_uuid job)
{
    uint32_t slot;
    struct job *j = job_find(c, job, &slot);

    if (j && j->att && j->att->preflight == PREFLIGHT_RUNS)
        j->att->preflight = PREFLIGHT_NONE;
}

static void conclude(struct core *c, struct trial *t)
{
    bool well = went_well(t), named = false, preflight = t->preflight;
    bool disturbed = was_disturbed(t);
    struct bt_uuid job = t->job;
    char why[240];

    if (well) {
        well = pairs_take(c, t);
        judge_parts(c, t, true);
    } else if (preflight && !disturbed) {
        find_faults(t);
        judge_parts(c, t, false);
    } else if (!disturbed) { /* tried again; a node is not called bad for one such try */
        emit_event(c, "pair-not-measured", "facility/clock", c->nodes[t->parts[0].node].row.name,
                   NULL);
    }
    for (int32_t i = 0; i < t->n; i++)
        named |= t->parts[i].faulty;
    say_faults(c, t, why, sizeof why);
    trial_over(c, t);
    if (preflight && disturbed)
        preflight_again(c, job);
    else if (preflight)
        end_preflight(c, job, well, named, why);
}

/* From how many nodes on; 0: never. */
static int32_t preflight_least(const struct core *c, const struct job *j)
{
    if (c->set.preflight_nodes)
        return c->set.preflight_nodes;
    return c->policy ? c->policy->tiers[j->tier].preflight_nodes : 0;
}

/* A trial of switches yields to one that a job waits for. */
static bool clear_the_way(struct core *c, const struct attempt *a)
{
    bool busy = false;

    for (int32_t i = 0; i < a->n_places; i++)
        for (uint32_t k = c->n_trials; k-- > 0;) {
            if (c->nodes[a->places[i].node - 1].trial != c->trials[k]->id)
                continue;
            if (c->trials[k]->preflight)
                busy = true;
            else
                trial_over(c, c->trials[k]);
        }
    return !busy;
}

int preflight_passed(struct core *c, uint32_t slot)
{
    struct job *j = job_at(c, slot);
    struct attempt *a = j->att;
    int32_t least = preflight_least(c, j);

    if (a->preflight != PREFLIGHT_NONE)
        return a->preflight == PREFLIGHT_PASSED;
    if (least < 1 || a->n_places < BT_MAX(least, 2) || a->n_places > TRIAL_NODES_MAX)
        return 1;
    BT_AUTO int32_t *nodes = bt_new_n(int32_t, (size_t)a->n_places);
    for (int32_t i = 0; i < a->n_places; i++) {
        nodes[i] = a->places[i].node - 1;
        if (!c->nodes[nodes[i]].trials) /* an agent of an older release cannot take part; whether
                                           it is one is not known till it speaks to this core */
            return c->nodes[nodes[i]].reported;
    }
    if (clear_the_way(c, a)) {
        (void)trial_begin(c, nodes, a->n_places, j);
        a->preflight = PREFLIGHT_RUNS;
        if (!a->trial_us) { /* what comes till the claim is not the job's time, however often */
            a->trial_us = c->now_us;
            emit_attempt(c, j);
        }
    }
    return 0;
}

/* ---- what agents say ---- */

/* The node's part of a trial that runs, or a refusal. */
static struct trial *spoken_of(struct core *c, const struct event *ev, const char *node, int64_t id,
                               int32_t *ret_rank, struct bt_err *err)
{
    const struct node *n = node_find(c, node);

    if (agent_speaks(c, ev, node, err) < 0)
        return NULL;
    for (uint32_t i = 0; n && i < c->n_trials; i++)
        for (int32_t k = 0; c->trials[i]->id == id && k < c->trials[i]->n; k++)
            if (&c->nodes[c->trials[i]->parts[k].node] == n) {
                *ret_rank = k;
                return c->trials[i];
            }
    bt_fail(err, BT_ERR_NOT_FOUND, "node %s is in no such trial", node);
    return NULL;
}

void step_trial_open(struct core *c, const struct event *ev)
{
    const struct ev_trial_open *e = &ev->u.trial_open;
    struct bt_err err = {0};
    int32_t rank = 0;
    struct trial *t = spoken_of(c, ev, e->node, e->id, &rank, &err);

    if (t && rank != 0) {
        bt_fail(&err, BT_ERR_INVALID, "node %s is not the first of the trial", e->node);
        t = NULL;
    }
    if (!t) {
        refuse(c, &err, NULL);
        return;
    }
    bt_copy(t->address, sizeof t->address, e->address);
    bt_copy(t->secret, sizeof t->secret, e->secret);
    for (int32_t i = 1; i < t->n; i++)
        show_part(c, t, i);
    answer(c, 200, bt_strdup("{}"));
}

static bool all_ended(const struct trial *t)
{
    for (int32_t i = 0; i < t->n; i++)
        if (!t->parts[i].ended)
            return false;
    return true;
}

void step_trial_ended(struct core *c, const struct event *ev)
{
    const struct ev_trial_ended *e = &ev->u.trial_ended;
    struct bt_err err = {0};
    int32_t rank = 0;
    struct trial *t = spoken_of(c, ev, e->node, e->id, &rank, &err);
    int32_t links = t && t->n > 2 ? t->n : 1;
    bool ok = e->outcome == TRIAL_OK;

    if (t && ok && rank == 0 && e->n_links != links) {
        bt_fail(&err, BT_ERR_INVALID, "a trial of %d nodes has %d links, not %d", t->n, links,
                e->n_links);
        t = NULL;
    }
    if (!t) {
        refuse(c, &err, NULL);
        return;
    }
    t->parts[rank].ended = true;
    t->parts[rank].outcome = e->outcome;
    bt_copy(t->parts[rank].text, sizeof t->parts[rank].text, e->text);
    if (ok && rank == 0) {
        bt_free(t->links);
        t->links = bt_memdup(e->links, (size_t)links * sizeof *t->links);
        t->n_links = links;
    }
    if (!ok && !t->bad_us)
        t->bad_us = c->now_us;
    if (all_ended(t))
        conclude(c, t);
    answer(c, 200, bt_strdup("{}"));
}

void trials_tick(struct core *c)
{
    for (uint32_t i = c->n_trials; i-- > 0;) {
        struct trial *t = i < c->n_trials ? c->trials[i] : NULL;

        if (!t || (c->now_us < t->deadline_us &&
                   !(t->bad_us && c->now_us >= t->bad_us + TRIAL_SILENT_S * BT_US_PER_S)))
            continue;
        t->bad_us = t->bad_us ? t->bad_us : c->now_us; /* who is silent now is so for too long */
        conclude(c, t);
    }
    pairs_tick(c);
}
