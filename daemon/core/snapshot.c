/* Memory → what the planner is asked. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "daemon/core/plan_view.h"
#include "daemon/core/state.h"
#include "lib/base/hostlist.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

struct plan *plan_ref(struct plan *p)
{
    p->refs++;
    return p;
}

void plan_unref(struct plan *p)
{
    if (!p || --p->refs > 0)
        return;
    sched_spare_free(p->spare);
    sched_live_free(p->live);
    if (p->planned)
        sched_plan_done(&p->out);
    bt_free(p->nodes);
    bt_free(p->nations);
    bt_free(p->codes);
    bt_free(p->projects);
    bt_free(p->persons);
    bt_free(p->running);
    bt_free(p->parts);
    bt_free(p->pending);
    bt_free(p->who);
    bt_free(p->running_who);
    bt_free(p->windows);
    bt_free(p->window_nodes);
    bt_free(p->moored);
    for (uint32_t i = 0; i < p->n_lack_texts; i++)
        bt_free(p->lack_texts[i]);
    bt_free(p->lack_texts);
    bt_free(p->lacks);
    bt_free(p);
}

void plan_made(struct plan *p)
{
    p->planned = true;
    p->spare = sched_spare_new(&p->out);
}

void plan_carry_on(struct plan *p)
{
    struct plan_live *live;

    if (sched_live_new(&p->in, &live, NULL) == 0)
        p->live = live;
}

const struct plan_slot *plan_slot_of(const struct plan *p, struct bt_uuid id)
{
    for (uint32_t i = 0; i < p->out.n_slots; i++)
        if (bt_uuid_eq(p->who[i].id, id))
            return &p->out.slots[i];
    return NULL;
}

/* Handles rise in both arrays. */
#define FIND_HANDLE(array, n, handle, at)             \
    for (uint32_t low = 0, high = (n); low < high;) { \
        uint32_t mid = low + (high - low) / 2;        \
        if ((array)[mid].handle < (handle)) {         \
            low = mid + 1;                            \
        } else {                                      \
            high = mid;                               \
            if ((array)[mid].handle == (handle))      \
                (at) = mid;                           \
        }                                             \
    }

int64_t plan_number_of(const struct plan *p, uint32_t handle)
{
    uint32_t at = PLAN_NONE;

    FIND_HANDLE(p->pending, p->in.n_pending, handle, at)
    if (at != PLAN_NONE)
        return p->who[at].number;
    FIND_HANDLE(p->running, p->in.n_running, handle, at)
    return at == PLAN_NONE ? 0 : p->running_who[at].number;
}

const char *plan_nation_of(const struct plan *p, uint32_t nation)
{
    return nation < p->in.n_nations ? p->codes[nation] : "?";
}

/* What a job that can go nowhere lacks. */
static const char *lack_of(const struct plan *p, uint32_t handle)
{
    uint32_t at = PLAN_NONE;

    FIND_HANDLE(p->lacks, p->n_lacks, handle, at)
    return at == PLAN_NONE ? NULL : p->lack_texts[p->lacks[at].list];
}

void plan_reason(const struct plan *p, const struct plan_slot *slot, struct bt_buf *to)
{
    struct plan_names names = {plan_number_of(p, slot->blocker),
                               plan_nation_of(p, slot->reason_nation), lack_of(p, slot->handle)};

    sched_reason_text(slot, &names, to);
}

static int by_slot(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint8_t class_index(const struct core *c, uint32_t word)
{
    for (uint8_t k = 0; k < c->n_classes; k++)
        if (c->classes[k] == word)
            return k;
    return PLAN_MAX_CLASS - 1;
}

static uint8_t plan_state_of(const struct core *c, const struct node *n)
{
    const struct site *s = n->row.site > 0 ? &c->sites[n->row.site - 1] : NULL;

    if (s && (s->unreachable || bt_streq(s->row.state, "removed")))
        return PLAN_DOWN;
    if (bt_streq(n->row.state, "draining") || bt_streq(n->row.state, "degraded") ||
        (s && bt_streq(s->row.state, "draining")))
        return PLAN_DRAINING;
    if (bt_streq(n->row.state, "up") && n->reported)
        return PLAN_UP;
    return bt_streq(n->row.state, "drained") ? PLAN_DRAINED : PLAN_DOWN;
}

/* When a node that is not up is expected back; 0 = unknown. One that was up when the epoch began
 * and has not been heard of yet is expected at any moment, until it is called silent. */
static int64_t back_of(const struct core *c, const struct node *n)
{
    bool fresh = c->now_us < c->epoch_start_us + c->set.grace_after_start_us;

    if (n->row.until_us != ROW_NULL64)
        return n->row.until_us;
    return fresh && !n->reported && bt_streq(n->row.state, "up") ? c->now_us + BT_US_PER_S : 0;
}

uint32_t node_busbw_mbs(const struct node *n)
{
    int64_t most = (int64_t)JOB_MAX_GB * 1000;

    return n->row.busbw_mbs == ROW_NULL64 ? 0 : (uint32_t)BT_MIN(BT_MAX(n->row.busbw_mbs, 1), most);
}

/* What its site is cleared for now, and no more than the node itself takes. */
static uint8_t tier_of(const struct core *c, const struct node *n)
{
    int32_t most = n->row.site > 0 ? c->sites[n->row.site - 1].tier : TIER_OPEN;

    return (uint8_t)BT_MIN(most, n->row.tier);
}

static struct plan_node node_of(const struct core *c, const struct node *n)
{
    uint64_t all = (uint64_t)n->row.all_mask;

    return (struct plan_node){
        .usable_mask = all,
        .free_mask = all & ~n->busy,
        .back_us = back_of(c, n),
        .site = (uint32_t)BT_MAX(n->row.site - 1, 0),
        .pod = (uint32_t)n->row.pod,
        .leaf = (uint32_t)n->row.leaf,
        .memory_gb = n->row.memory_gb == ROW_NULL32 ? 0 : (uint16_t)n->row.memory_gb,
        .busbw_mbs = node_busbw_mbs(n),
        .accel_class = class_index(c, n->class_word),
        .tier = tier_of(c, n),
        .state = plan_state_of(c, n),
        .store = n->row.site > 0 ? c->sites[n->row.site - 1].store : 0,
    };
}

static void add_nodes(const struct core *c, struct plan *p)
{
    p->nodes = bt_new_n(struct plan_node, (size_t)c->n_nodes);
    p->in.n_nodes = (uint32_t)c->n_nodes;
    for (int32_t i = 0; i < c->n_nodes; i++)
        p->nodes[i] = node_of(c, &c->nodes[i]);
}

/* ---- nodes out of use for a time ---- */

struct outage_nodes {
    const struct core *c;
    struct plan *p;
    uint32_t cap;
};

static int add_outage_node(void *arg, const char *name)
{
    struct outage_nodes *o = arg;
    const struct node *n = node_find(o->c, name);

    if (!n)
        return 0;
    BT_GROW(o->p->window_nodes, o->p->n_window_nodes, o->cap);
    o->p->window_nodes[o->p->n_window_nodes++] = (uint32_t)(n - o->c->nodes);
    return 0;
}

static void add_outages(const struct core *c, struct plan *p)
{
    struct outage_nodes o = {.c = c, .p = p};

    p->windows = bt_new_n(struct plan_window, (size_t)c->n_outages + 1);
    for (int32_t i = 0; i < c->n_outages; i++) {
        const struct row_outage *r = &c->outages[i].row;
        struct plan_window *w = &p->windows[p->in.n_windows];
        uint32_t off = p->n_window_nodes;

        if (r->until_us <= c->now_us || r->until_us <= r->from_us ||
            bt_hostlist_each(r->nodes, PLAN_MAX_NODES, add_outage_node, &o, NULL) < 0)
            continue;
        *w = (struct plan_window){.from_us = r->from_us,
                                  .until_us = r->until_us,
                                  .nodes_off = off,
                                  .n_nodes = p->n_window_nodes - off,
                                  .reservation = r->name ? (uint32_t)r->id : 0};
        p->in.n_windows += w->n_nodes > 0;
    }
    p->in.windows = p->windows;
    p->in.window_nodes = p->window_nodes;
}

/* ---- reservations for jobs ---- */

struct outage *reservation_find(const struct core *c, const char *name)
{
    for (int32_t i = c->n_outages; i > 0; i--)
        if (c->outages[i - 1].row.name && bt_streq(c->outages[i - 1].row.name, name))
            return &c->outages[i - 1];
    return NULL;
}

int64_t reservation_need_us(const struct job *j)
{
    enum { ROUNDING_S = 2 }; /* of the planner, and what it keeps between two jobs */

    return (j->walltime_s + j->grace_s + ROUNDING_S) * BT_US_PER_S;
}

struct reservation_nodes {
    const struct core *c;
    struct plan_node *ret;
};

static int add_reserved_node(void *arg, const char *name)
{
    struct reservation_nodes *r = arg;
    const struct node *n = node_find(r->c, name);

    if (n)
        r->ret[n - r->c->nodes] = node_of(r->c, n);
    return 0;
}

void reservation_nodes(const struct core *c, const struct row_outage *r, struct plan_node *ret)
{
    struct reservation_nodes all = {c, ret};

    for (int32_t i = 0; i < c->n_nodes; i++) {
        ret[i] = node_of(c, &c->nodes[i]);
        ret[i].usable_mask = 0;
    }
    if (bt_hostlist_each(r->nodes, PLAN_MAX_NODES, add_reserved_node, &all, NULL) < 0)
        return; /* it was read when it was made */
}

/* A job that names a reservation waits for it and runs inside it, as long as it would end there in
 * time; after that it is planned like any other. */
static void reserve(const struct core *c, const struct job *j, struct plan_pending *p)
{
    const struct row_outage *r = j->reservation ? &c->outages[j->reservation - 1].row : NULL;

    if (!r || BT_MAX(r->from_us, c->now_us) + reservation_need_us(j) > r->until_us)
        return;
    p->reservation = (uint32_t)r->id;
    p->eligible_us = r->from_us > c->now_us ? r->from_us : 0;
}

/* ---- what could ever run ---- */

void class_note(struct core *c, uint32_t word)
{
    for (uint8_t k = 0; k < c->n_classes; k++)
        if (c->classes[k] == word)
            return;
    if (c->n_classes < PLAN_MAX_CLASS)
        c->classes[c->n_classes++] = word;
}

void nodes_changed(struct core *c)
{
    sched_limits_free(c->limits);
    c->limits = NULL;
    c->leaves_stale = true;
    c->plan_due = true;
}

struct plan_limits *limits_of(struct core *c)
{
    if (!c->limits) {
        struct plan_node *nodes = bt_new_n(struct plan_node, (size_t)c->n_nodes + 1);
        struct plan_input in = {.nodes = nodes, .n_nodes = (uint32_t)c->n_nodes};

        for (int32_t i = 0; i < c->n_nodes; i++)
            nodes[i] = node_of(c, &c->nodes[i]);
        c->limits = sched_limits(&in);
        bt_free(nodes);
    }
    return c->limits;
}

static void add_rights(const struct core *c, struct plan *p)
{
    p->nations = bt_new_n(struct plan_nation, (size_t)c->n_nations);
    p->in.n_nations = (uint32_t)c->n_nations;
    p->codes = bt_alloc((size_t)c->n_nations, sizeof *p->codes);
    for (int32_t i = 0; i < c->n_nations; i++) {
        p->nations[i] = (struct plan_nation){
            .used = c->accounts[c->nations[i].account - 1].spent / 1000,
            .guaranteed = guaranteed_of(c, c->nations[i].row.id, c->now_us),
        };
        bt_copy(p->codes[i], sizeof p->codes[i], c->nations[i].row.code);
    }
    p->projects = bt_new_n(struct plan_share, (size_t)c->n_projects);
    p->in.n_projects = (uint32_t)c->n_projects;
    for (int32_t i = 0; i < c->n_projects; i++)
        p->projects[i] =
            (struct plan_share){.parent = (uint32_t)c->projects[i].row.nation - 1,
                                .used = c->accounts[c->projects[i].account - 1].spent / 1000};
    p->persons = bt_new_n(struct plan_share, (size_t)c->n_members);
    p->in.n_persons = (uint32_t)c->n_members;
    for (int32_t i = 0; i < c->n_members; i++)
        p->persons[i] =
            (struct plan_share){.parent = (uint32_t)c->members[i].row.project - 1,
                                .used = c->accounts[c->members[i].account - 1].spent / 1000};
}

bool may_yield(const struct job *j)
{
    return j->requeue != REQUEUE_NEVER && j->attempt < JOB_MAX_ATTEMPTS;
}

static void add_running(const struct core *c, struct plan *p, const struct job *j, uint32_t slot)
{
    const struct attempt *a = j->att;
    uint32_t at = p->in.n_running++;
    int64_t began = a->wanted_us + attempt_tried_us(a, c->now_us);
    int64_t limit = began + (j->walltime_s + j->grace_s) * BT_US_PER_S;
    int64_t usual = habit_us(c, j);

    if (j->stop != STOP_NONE)
        limit = BT_MIN(limit, a->stop_us + j->grace_s * BT_US_PER_S);

    p->running_who[at] = (struct plan_who){j->id, j->number};
    p->running[at] = (struct plan_running){
        .start_us = a->wanted_us,
        .limit_us = BT_MAX(limit, c->now_us + BT_US_PER_S),
        .expected_us = usual ? BT_MAX(began + usual, c->now_us + BT_US_PER_S) : 0,
        .handle = slot,
        .n_parts = (uint32_t)a->n_places,
        .nation = (uint32_t)j->nation - 1,
        .ckpt_us = a->ckpt_us,
        .grace_s = (uint32_t)j->grace_s,
        .owned = a->owned,
        .requeueable = may_yield(j),
        .stopping = j->stop != STOP_NONE,
    };
}

static enum plan_level level_of(const struct job *j)
{
    static const enum plan_level map[TOPO_LEVELS] = {PLAN_NODE, PLAN_LEAF, PLAN_POD, PLAN_SITE,
                                                     PLAN_ANY};

    return map[j->level];
}

struct plan_pending pending_of(const struct core *c, const struct job *j, uint32_t slot)
{
    const struct member *m = member_find(c, j->project, j->person);
    struct plan_pending p = {
        .submit_us = j->submit_us,
        .promise_us = j->promise_us,
        .handle = slot,
        .min_acc = (uint32_t)(j->min_accelerators ? j->min_accelerators : j->accelerators),
        .max_acc = (uint32_t)j->accelerators,
        .per_node = (uint32_t)j->per_node,
        .memory_gb = j->memory_gb,
        .busbw_gb = j->bandwidth_gb,
        .stores = stores_of(c, j),
        .walltime_s = (uint32_t)(j->walltime_s + j->grace_s),
        .nation = (uint32_t)j->nation - 1,
        .project = (uint32_t)j->project - 1,
        .person = m ? (uint32_t)(m - c->members) : PLAN_NONE,
        .after = PLAN_NONE,
        .level = (uint8_t)level_of(j),
        .level_required = j->level_required,
        .accel_class = j->class_word ? class_index(c, j->class_word) : PLAN_CLASS_ANY,
        .tier = j->tier,
        .front = j->attempt > 1,
        .account = !j->data,
        .resolved = true,
        .no_requeue = !may_yield(j),
    };

    reserve(c, j, &p);
    return p;
}

static void note_lack(const struct core *c, struct plan *p, const struct job *j, uint32_t slot)
{
    struct bt_buf text = {0};
    uint32_t list = 0; /* 0: its person has no account */

    if (stores_of(c, j) != PLAN_NO_STORE)
        return;
    if (j->data && c->data_lists[j->data - 1].stores == PLAN_NO_STORE)
        list = j->data;
    if (!p->lack_texts) {
        p->n_lack_texts = c->n_data_lists + 1;
        p->lack_texts = bt_alloc(p->n_lack_texts, sizeof *p->lack_texts); /* NOLINT: of pointers */
        memset(p->lack_texts, 0, p->n_lack_texts * sizeof *p->lack_texts);
    }
    BT_GROW(p->lacks, p->n_lacks, p->cap_lacks);
    p->lacks[p->n_lacks++] = (struct plan_lack){slot, list};
    if (p->lack_texts[list])
        return;
    if (list)
        data_lack(c, data_names(c, list), &text);
    else
        bt_buf_str(&text,
                   "an account of its person at a site where it may run (beamtime person map)");
    p->lack_texts[list] = bt_buf_take(&text);
}

/* A job is its nation's own as long as the guarantee has room, the oldest first; what is beyond
 * runs on lent capacity. */
static void add_pending(struct core *c, struct plan *p, const struct job *j, uint32_t slot,
                        int64_t *left)
{
    uint32_t at = p->in.n_pending++;
    int64_t *mine = &left[j->nation - 1];

    p->who[at] = (struct plan_who){j->id, j->number};
    p->pending[at] = pending_of(c, j, slot);
    note_lack(c, p, j, slot);
    if (p->pending[at].min_acc <= *mine && !p->pending[at].reservation) {
        p->pending[at].owned = true;
        *mine -= p->pending[at].min_acc;
    }
}

/* The last job so far of each array and each name that somebody waits for. */
static void note_awaited(const struct core *c, struct bt_map *last, const struct job *j,
                         uint32_t slot)
{
    if (!job_is_awaited(c, j))
        return;
    bt_map_put(last, singles_key(j), slot);
    if (!bt_uuid_zero(j->array_of))
        bt_map_put(last, bt_map_hash(j->array_of.b, sizeof j->array_of.b), slot);
}

/* It is not startable yet, but its author wants to know when. */
static void add_dependent(struct core *c, struct plan *p, const struct job *j, uint32_t slot,
                          const struct bt_map *last)
{
    uint32_t at = p->in.n_pending++, behind = PLAN_NONE;

    p->who[at] = (struct plan_who){j->id, j->number};
    p->pending[at] = pending_of(c, j, slot);
    p->pending[at].resolved = false;
    if ((bt_uuid_zero(j->after) || !job_find(c, j->after, &behind)) &&
        (bt_uuid_zero(j->after) ||
         !bt_map_get(last, bt_map_hash(j->after.b, sizeof j->after.b), &behind)) &&
        j->singleton)
        (void)bt_map_get(last, singles_key(j), &behind);
    p->pending[at].after = behind;
}

static void add_jobs(struct core *c, struct plan *p)
{
    struct bt_map last = {0};
    uint32_t n_parts = 0;
    int64_t *left = bt_new_n(int64_t, (size_t)c->n_nations + 1);

    for (int32_t i = 0; i < c->n_nations; i++)
        left[i] = p->nations[i].guaranteed - c->nations[i].owned_acc;
    if (c->n_live > 1)
        qsort(c->live, c->n_live, sizeof *c->live, by_slot);
    for (uint32_t i = 0; i < c->n_live; i++) {
        const struct job *j = job_at(c, c->live[i]);

        bt_map_put(&c->live_at, c->live[i], i);
        n_parts += j->att ? (uint32_t)j->att->n_places : 0;
    }
    p->running = bt_new_n(struct plan_running, c->n_live);
    p->running_who = bt_new_n(struct plan_who, c->n_live);
    p->pending = bt_new_n(struct plan_pending, c->n_live);
    p->who = bt_new_n(struct plan_who, c->n_live);
    p->parts = bt_new_n(struct plan_part, n_parts);
    n_parts = 0;
    for (uint32_t i = 0; i < c->n_live; i++) {
        const struct job *j = job_at(c, c->live[i]);

        if (j->att && j->att->n_places) {
            add_running(c, p, j, c->live[i]);
            p->running[p->in.n_running - 1].parts_off = n_parts;
            for (int32_t k = 0; k < j->att->n_places; k++)
                p->parts[n_parts++] = (struct plan_part){
                    .node = (uint32_t)j->att->places[k].node - 1, .mask = j->att->places[k].mask};
        } else if (j->state == JOB_QUEUED) {
            add_pending(c, p, j, c->live[i], left);
        } else if (j->state == JOB_HELD && j->reason == HELD_DEPENDENCY) {
            add_dependent(c, p, j, c->live[i], &last);
        }
        note_awaited(c, &last, j, c->live[i]);
    }
    bt_map_done(&last);
    bt_free(left);
}

struct plan *core_snapshot(struct core *core, uint64_t seq)
{
    struct plan *p = bt_new(struct plan);

    p->refs = 1;
    p->in.seq = seq;
    p->in.now_us = core->now_us;
    p->in.turnaround_s = 1;
    p->in.promise_slack_s = 60;
    p->in.promise_slack_percent = 20;
    add_nodes(core, p);
    add_outages(core, p);
    add_rights(core, p);
    add_jobs(core, p);
    if (core->plan && core->plan->live) { /* what it has started lies where it says */
        p->in.n_moored = sched_live_moored(core->plan->live, &p->moored);
        p->in.moored = p->moored;
        p->in.moored_seq = core->plan->in.seq;
    }
    p->in.nodes = p->nodes;
    p->in.nations = p->nations;
    p->in.projects = p->projects;
    p->in.persons = p->persons;
    p->in.running = p->running;
    p->in.parts = p->parts;
    p->in.pending = p->pending;
    core->plan_due = false;
    core->planning = true;
    core->n_freed = 0;
    return p;
}
