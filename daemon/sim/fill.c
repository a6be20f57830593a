/* fill.c - placement alone: best fit in arrival order, and filling up without departures.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sim_fill repeats the experiment of FGD (Weng et al., USENIX ATC'23): jobs drawn at random from
 * the trace arrive until a share of the capacity has been asked for; none leaves. */
#include "daemon/sched/engine.h"
#include "daemon/sim/sim.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

static uint64_t rnd(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, Vigna 2015 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* ---- best fit on the list of nodes ---- */

/* Takes one job: the node that is left with the fewest free accelerators; a job that is larger
 * than any node takes whole nodes in order. False (nothing taken) if it does not fit. */
static bool best_fit(const struct sim *s, uint8_t *left, uint32_t acc, uint32_t *ret_node)
{
    uint32_t best = PLAN_NONE;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (left[i] >= acc && (best == PLAN_NONE || left[i] < left[best]))
            best = i;
    if (best == PLAN_NONE)
        return false;
    left[best] = (uint8_t)(left[best] - acc);
    *ret_node = best;
    return true;
}

static uint64_t fill_best_fit(struct sim *s, uint64_t target, uint64_t seed)
{
    uint8_t *left BT_AUTO = bt_new_n(uint8_t, s->n_nodes + 1);
    for (uint32_t i = 0; i < s->n_nodes; i++)
        left[i] = (uint8_t)__builtin_popcountll(s->nodes[i].usable_mask);
    uint64_t asked = 0, held = 0;
    while (asked < target) {
        const struct sim_job *j = &s->jobs[rnd(&seed) % s->n_jobs];
        uint32_t node;
        asked += j->acc;
        held += best_fit(s, left, j->acc, &node) ? j->acc : 0;
    }
    return held;
}

/* ---- the scheduler's own placement ---- */

static uint64_t fill_core(struct sim *s, uint64_t target, uint64_t seed)
{
    const struct plan_input in = {.nodes = s->nodes, .n_nodes = s->n_nodes};
    struct plan_timeline *e = eng_new(&in);
    uint64_t asked = 0, held = 0;
    for (uint32_t handle = 0; asked < target; handle++) {
        const struct sim_job *j = &s->jobs[rnd(&seed) % s->n_jobs];
        const struct plan_pending ask = {.handle = handle,
                                         .min_acc = j->acc,
                                         .walltime_s = PLAN_MAX_WALLTIME_S,
                                         .nation = PLAN_NONE,
                                         .project = PLAN_NONE,
                                         .person = PLAN_NONE,
                                         .after = PLAN_NONE,
                                         .accel_class = PLAN_CLASS_ANY,
                                         .resolved = true};
        asked += j->acc;
        uint32_t job = eng_add_pending(e, &ask);
        eng_quick(e, 0);
        if (e->n_starts)
            held += j->acc;
        else
            eng_remove(e, job);
    }
    eng_free(e);
    return held;
}

uint64_t sim_fill(struct sim *s, enum sim_policy policy, double percent, uint64_t seed)
{
    uint64_t target = (uint64_t)((double)s->capacity * percent / 100);
    if (!s->n_jobs)
        return 0;
    return policy == SIM_BEAMTIME ? fill_core(s, target, seed) : fill_best_fit(s, target, seed);
}

/* ---- best fit over time ---- */

struct held {
    int64_t end_s;
    uint32_t node, job;
};

void sim_bestfit(struct sim *s)
{
    uint8_t *left BT_AUTO = bt_new_n(uint8_t, s->n_nodes + 1);
    struct held *held BT_AUTO = bt_new_n(struct held, s->n_jobs + 1);
    uint32_t next = 0, n_held = 0, used = 0;
    int64_t now = 0;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        left[i] = (uint8_t)__builtin_popcountll(s->nodes[i].usable_mask);
    while (next < s->n_jobs) {
        struct sim_job *j = &s->jobs[next];
        now = BT_MAX(now, j->submit_s);
        uint32_t k = 0, node;
        int64_t soonest = INT64_MAX;
        for (uint32_t i = 0; i < n_held; i++) {
            if (held[i].end_s > now) {
                soonest = BT_MIN(soonest, held[i].end_s);
                held[k++] = held[i];
                continue;
            }
            left[held[i].node] = (uint8_t)(left[held[i].node] + s->jobs[held[i].job].acc);
            used -= s->jobs[held[i].job].acc;
        }
        n_held = k;
        if (best_fit(s, left, j->acc, &node)) {
            j->start_s = now;
            j->end_s = now + j->run_s;
            used += j->acc;
            held[n_held++] = (struct held){j->end_s, node, next++};
        } else if (soonest == INT64_MAX) {
            next++; /* larger than a node: best fit cannot place it */
        } else {
            now = soonest;
        }
        sim_sample(s, now, used, 0, 0, n_held);
    }
}
