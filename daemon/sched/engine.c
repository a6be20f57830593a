/* engine.c - the jobs that the scheduler knows.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sched/engine.h"

#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

int32_t eng_time(const struct plan_timeline *e, int64_t us)
{
    int64_t s = us / BT_US_PER_S + (us % BT_US_PER_S > 0) - e->origin_s;
    return (int32_t)BT_MAX(INT32_MIN / 2, BT_MIN(s, INT32_MAX / 2));
}

int64_t eng_us(const struct plan_timeline *e, int32_t t)
{
    return t == PROFILE_NEVER ? INT64_MAX : (e->origin_s + t) * BT_US_PER_S;
}

/* A twin is open for its reservation's time only. */
static void init_twin(struct plan_timeline *e, uint32_t zone)
{
    const struct fab_zone *z = &e->fabric.zones[zone];
    const struct fab_window *w = e->fabric.windows + e->fabric.window_off[z->window];
    const struct fab_window *end = e->fabric.windows + e->fabric.window_off[z->window + 1];
    const struct fab_window *own = w;
    while (own->reservation != z->reservation)
        own++;
    bool began = own->from_us / BT_US_PER_S <= e->origin_s; /* in this very second counts */
    int32_t open = began ? 0 : eng_time(e, own->from_us);
    int32_t shut = eng_time(e, own->until_us - BT_US_PER_S + 1), done = open;
    profile_add(&e->time[zone].whole, open, shut, (int32_t)z->n_nodes);
    profile_add(&e->time[zone].acc, open, shut, (int32_t)(z->n_nodes * z->acc));
    for (; w < end; w++) {
        int32_t from = BT_MAX(eng_time(e, w->from_us - BT_US_PER_S + 1), done);
        int32_t until = BT_MIN(eng_time(e, w->until_us), shut);
        if (w == own || from >= until)
            continue;
        profile_add(&e->time[zone].whole, from, until, -(int32_t)z->n_nodes);
        profile_add(&e->time[zone].acc, from, until, -(int32_t)(z->n_nodes * z->acc));
        done = until;
    }
}

static void init_zone(struct plan_timeline *e, uint32_t zone)
{
    const struct fab_zone *z = &e->fabric.zones[zone];
    struct zone_time *t = &e->time[zone];
    t->changes = 1;
    profile_init(&t->whole, z->reservation ? 0 : (int32_t)z->n_nodes);
    profile_init(&t->acc, z->reservation ? 0 : (int32_t)(z->n_nodes * z->acc));
    t->berths = e->time[z->real].berths; /* real ones come first */
    if (!z->reservation) {
        t->berths = bt_new(struct berths);
        berths_init(t->berths, z->acc);
    }
    berths_take(t->berths, &t->whole);
    if (z->reservation) {
        init_twin(e, zone);
        return;
    }
    const uint32_t *off = e->fabric.window_off + z->window;
    int32_t done = INT32_MIN / 2; /* windows may overlap */
    for (uint32_t i = off[0]; i < off[1]; i++) {
        int32_t from = BT_MAX(eng_time(e, e->fabric.windows[i].from_us - BT_US_PER_S + 1), done);
        int32_t until = eng_time(e, e->fabric.windows[i].until_us);
        profile_add(&t->whole, from, until, -(int32_t)z->n_nodes);
        profile_add(&t->acc, from, until, -(int32_t)(z->n_nodes * z->acc));
        done = BT_MAX(done, until);
    }
}

static void init_rights(struct plan_timeline *e, const struct plan_input *in)
{
    int64_t total = 0, guaranteed = 0;
    for (uint32_t i = 0; i < e->fabric.n_real; i++)
        total += (int64_t)e->fabric.zones[i].n_nodes * e->fabric.zones[i].acc;
    e->n_nations = in->n_nations;
    e->nations = bt_new_n(struct nation_time, in->n_nations + 1);
    for (uint32_t i = 0; i < in->n_nations; i++) {
        int64_t g = BT_MIN(in->nations[i].guaranteed, INT32_MAX / 2);
        e->nations[i].guaranteed = g;
        guaranteed += g;
        profile_init(&e->nations[i].left, (int32_t)g);
    }
    e->guarded = guaranteed > 0;
    profile_init(&e->unguaranteed, (int32_t)BT_MAX(total - guaranteed, 0));
}

struct plan_timeline *eng_new(const struct plan_input *facility)
{
    struct plan_timeline *e = bt_new(struct plan_timeline);
    fab_init(&e->fabric, facility);
    e->origin_s = facility->now_us / BT_US_PER_S;
    e->free_job = e->free_occ = e->own_zone = PLAN_NONE;
    e->memo_sizes = MEMO_SIZES;
    e->memo_lengths = MEMO_LENGTHS;
    e->slack_s = facility->promise_slack_s;
    e->slack_percent = facility->promise_slack_percent;
    e->turnaround_s = facility->turnaround_s;
    e->time = bt_new_n(struct zone_time, e->fabric.n_zones + 1);
    e->memos = bt_new_n(struct memo, e->fabric.n_zones + e->fabric.n_kinds + 1);
    e->shut = bt_new_n(struct shut, e->fabric.n_zones + 1);
    for (uint32_t i = 0; i < e->fabric.n_zones; i++)
        init_zone(e, i);
    size_t slots = (size_t)e->fabric.n_racks * FAB_RACK;
    e->occ_head = bt_new_n(uint32_t, slots + 1);
    e->berth_of = bt_new_n(uint32_t, slots + 1);
    for (size_t i = 0; i < slots; i++)
        e->occ_head[i] = e->berth_of[i] = PLAN_NONE;
    e->node_free = bt_new_n(int32_t, slots + 1);
    e->part_free = bt_new_n(int32_t, (size_t)e->fabric.n_zones * e->fabric.stride + 1);
    e->timed = bt_new_n(uint8_t, e->fabric.n_zones + 1);
    init_rights(e, facility);
    return e;
}

static void job_done(struct eng_job *j)
{
    bt_free(j->cert.span);
    bt_free(j->plan.span);
    fab_picks_done(&j->picks);
}

void eng_free(struct plan_timeline *e)
{
    if (!e)
        return;
    for (uint32_t i = 0; i < e->fabric.n_real; i++) {
        berths_done(e->time[i].berths);
        bt_free(e->time[i].berths);
    }
    time_free(e->time, e->fabric.n_zones);
    time_free(e->plan_time, e->fabric.n_zones);
    for (uint32_t i = 0; i < e->n_jobs; i++)
        job_done(&e->jobs[i]);
    for (uint32_t i = 0; i < e->n_nations; i++)
        profile_done(&e->nations[i].left);
    profile_done(&e->unguaranteed);
    bt_map_done(&e->by_handle);
    bt_map_done(&e->match_by_key);
    bt_map_done(&e->ends);
    fab_done(&e->fabric);
    bt_free(e->jobs);
    bt_free(e->occ);
    bt_free(e->occ_head);
    bt_free(e->berth_of);
    bt_free(e->matches);
    bt_free(e->memos);
    bt_free(e->shut);
    bt_free(e->match_zones);
    bt_free(e->nations);
    bt_free(e->order);
    bt_free(e->order_spare);
    bt_free(e->victims);
    bt_free(e->starts);
    bt_free(e->promised);
    bt_free(e->prio);
    lines_free(e);
    bt_free(e->node_free);
    bt_free(e->part_free);
    bt_free(e->timed);
    bt_free(e);
}

void eng_reserve(struct plan_timeline *e, uint32_t n_jobs)
{
    if (n_jobs > e->cap_jobs) {
        e->jobs = bt_realloc(e->jobs, n_jobs, sizeof *e->jobs);
        e->cap_jobs = n_jobs;
    }
    bt_map_reserve(&e->by_handle, n_jobs);
}

void eng_rest(struct plan_timeline *e)
{
    bt_map_done(&e->ends);
    lines_free(e);
    bt_free(e->order);
    bt_free(e->order_spare);
    bt_free(e->prio);
    e->order = e->order_spare = NULL;
    e->prio = NULL;
    e->cap_order = e->n_prio = e->cap_prio = 0;
}

uint32_t eng_find(const struct plan_timeline *e, uint32_t handle)
{
    uint32_t job;
    return bt_map_get(&e->by_handle, handle, &job) ? job : PLAN_NONE;
}

static struct eng_job *new_job(struct plan_timeline *e, uint32_t handle)
{
    uint32_t i = e->free_job;
    if (i != PLAN_NONE) {
        e->free_job = e->jobs[i].next;
    } else {
        BT_GROW(e->jobs, e->n_jobs, e->cap_jobs);
        i = e->n_jobs++;
    }
    e->jobs[i] = (struct eng_job){.promise = PROFILE_NEVER,
                                  .moved_from = PROFILE_NEVER,
                                  .cause_job = PLAN_NONE,
                                  .cause_nation = PLAN_NONE,
                                  .blocker = PLAN_NONE};
    bt_map_put(&e->by_handle, handle, i);
    return &e->jobs[i];
}

uint32_t eng_add_pending(struct plan_timeline *e, const struct plan_pending *ask)
{
    uint32_t match = match_of(e, ask);
    struct eng_job *j = new_job(e, ask->handle);
    j->ask = *ask;
    if (j->ask.max_acc < j->ask.min_acc)
        j->ask.max_acc = j->ask.min_acc;
    j->state = JOB_PENDING;
    j->match = match;
    j->len = (int32_t)(ask->walltime_s + e->turnaround_s);
    j->eligible = ask->eligible_us ? eng_time(e, ask->eligible_us) : INT32_MIN / 2;
    if (ask->promise_us)
        j->promise = eng_time(e, ask->promise_us);
    e->n_pending++;
    BT_GROW(e->prio, e->n_prio, e->cap_prio);
    e->prio[e->n_prio++] = (struct waiting){.job = (uint32_t)(j - e->jobs),
                                            .handle = ask->handle,
                                            .acc = ask->min_acc,
                                            .match = match,
                                            .len = j->len,
                                            .cert = PROFILE_NEVER,
                                            .plan = PROFILE_NEVER,
                                            .size = memo_size(ask->min_acc)};
    return (uint32_t)(j - e->jobs);
}

/* Books the parts of a running job; nodes that take no jobs are left out. */
static void take_parts(struct plan_timeline *e, struct eng_job *j, const struct plan_part *parts,
                       uint32_t n)
{
    struct fabric *f = &e->fabric;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = parts[i].node < f->n_nodes ? f->slot_of[parts[i].node] : PLAN_NONE;
        if (slot == PLAN_NONE)
            continue;
        uint64_t mask = parts[i].mask & fab_free(f, slot);
        if (!mask)
            continue;
        uint64_t bit = UINT64_C(1) << (slot % FAB_RACK);
        struct fab_pick *last = j->picks.n ? &j->picks.v[j->picks.n - 1] : NULL;
        bool whole = mask == f->usable[slot];
        fab_take(f, slot, mask, j->limit);
        if (whole && last && !last->mask && last->rack == slot / FAB_RACK)
            last->nodes |= bit;
        else
            fab_picks_add(&j->picks, slot / FAB_RACK, bit, whole ? 0 : mask);
    }
}

uint32_t eng_add_running(struct plan_timeline *e, const struct plan_running *r,
                         const struct plan_part *parts)
{
    struct eng_job *j = new_job(e, r->handle);
    j->state = JOB_RUNNING;
    j->ask = (struct plan_pending){
        .handle = r->handle, .nation = r->nation, .no_requeue = !r->requeueable};
    j->start = eng_time(e, r->start_us);
    int64_t limit = r->limit_us / BT_US_PER_S - e->origin_s + e->turnaround_s;
    limit = BT_MAX(limit, (int64_t)e->now + BT_MAX(e->turnaround_s, 1));
    j->limit = (int32_t)BT_MIN(limit, INT32_MAX / 2);
    j->ckpt = r->ckpt_us ? eng_time(e, r->ckpt_us) : j->start;
    j->grace_s = r->grace_s;
    j->owned = r->owned;
    j->stopping = r->stopping;
    take_parts(e, j, parts + r->parts_off, r->n_parts);
    for (uint32_t i = 0; i < r->n_parts; i++)
        j->ask.min_acc += (uint32_t)__builtin_popcountll(parts[r->parts_off + i].mask);
    uint32_t job = (uint32_t)(j - e->jobs);
    run_charge(e, job);
    return job;
}

void eng_remove(struct plan_timeline *e, uint32_t job)
{
    struct eng_job *j = &e->jobs[job];
    if (j->state == JOB_PENDING) {
        resv_drop(e, j, &j->cert);
        e->n_pending--;
    } else {
        run_give_back(e, job);
        e->n_tried = 0;
    }
    bt_map_del(&e->by_handle, j->ask.handle);
    job_done(j);
    *j = (struct eng_job){.state = JOB_FREE, .next = e->free_job};
    e->free_job = job;
}

void order_sort(struct order *v, uint32_t n, struct order *spare)
{
    struct order *from = v, *to = spare;
    for (int shift = 0; shift < 64; shift += 8) {
        uint32_t at[257] = {0};
        for (uint32_t i = 0; i < n; i++)
            at[((from[i].key >> shift) & 255) + 1]++;
        if (n && at[((from[0].key >> shift) & 255) + 1] == n)
            continue; /* all have the same digit */
        for (int d = 0; d < 256; d++)
            at[d + 1] += at[d];
        for (uint32_t i = 0; i < n; i++)
            to[at[(from[i].key >> shift) & 255]++] = from[i];
        struct order *swap = from;
        from = to;
        to = swap;
    }
    if (from != v)
        memcpy(v, from, n * sizeof *v);
}

size_t eng_bytes(const struct plan_timeline *e)
{
    size_t n = sizeof *e + fab_bytes(&e->fabric) + e->cap_jobs * sizeof *e->jobs +
               e->cap_occ * sizeof *e->occ + (size_t)e->fabric.n_racks * FAB_RACK * 12 +
               e->cap_matches * sizeof *e->matches +
               (e->fabric.n_zones + e->fabric.n_kinds) * sizeof *e->memos +
               2 * e->cap_order * sizeof *e->order + e->cap_prio * sizeof *e->prio +
               (e->by_handle.cap + e->ends.cap) * 12;
    for (uint32_t i = 0; i < e->fabric.n_zones; i++)
        n += profile_bytes(&e->time[i].whole) + profile_bytes(&e->time[i].acc);
    for (uint32_t i = 0; i < e->fabric.n_real; i++)
        n += berths_bytes(e->time[i].berths);
    for (uint32_t i = 0; e->plan_time && i < e->fabric.n_zones; i++)
        n += profile_bytes(&e->plan_time[i].whole) + profile_bytes(&e->plan_time[i].acc);
    for (uint32_t i = 0; i < e->n_lines; i++)
        n += e->lines[i].cap * sizeof(struct line_entry) +
             e->lines[i].cap_least * sizeof(struct line_least);
    for (uint32_t i = 0; i < e->n_nations; i++)
        n += profile_bytes(&e->nations[i].left) + sizeof *e->nations;
    for (uint32_t i = 0; i < e->n_jobs; i++)
        n += e->jobs[i].picks.cap * sizeof(struct fab_pick) +
             (e->jobs[i].cert.n_span + e->jobs[i].plan.n_span) * sizeof(struct span_part);
    return n;
}
