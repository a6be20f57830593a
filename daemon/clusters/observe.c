/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/observe.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/sched/plan.h"
#include "lib/base/hostlist.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum {
    SLACK_S = 60, /* as the facility promises to its own jobs (daemon/core) */
    SLACK_PERCENT = 20,
    NAMES_MAX = 65536,
};

void observe_done(struct observer *o)
{
    bt_free(o->waiting);
    bt_free(o->done);
    *o = (struct observer){0};
}

/* ---- the cluster as the planner sees it ---- */

struct model {
    const struct wire_node *from;
    size_t n;
    struct bt_map by_name; /* hash of a node's name -> index */
    struct plan_node *nodes;
    struct plan_running *running;
    size_t n_running;
    struct plan_part *parts;
    size_t n_parts, cap_parts;
    struct plan_pending *pending;
    const struct wire_queued **who; /* of each pending */
    size_t n_pending;
};

static void model_done(struct model *m)
{
    bt_map_done(&m->by_name);
    bt_free(m->nodes);
    bt_free(m->running);
    bt_free(m->parts);
    bt_free(m->pending);
    bt_free(m->who);
}

/* A node without accelerators offers its processors, like an agent's. */
static int32_t size_of(const struct wire_node *n)
{
    return n->n_acc ? n->n_acc : BT_MAX(1, BT_MIN(n->cpus, PLAN_MAX_ACC));
}

static uint64_t lowest(uint64_t free, int32_t n)
{
    uint64_t mask = 0;

    for (; n > 0 && free; n--) {
        uint64_t bit = free & -free;

        mask |= bit;
        free &= ~bit;
    }
    return mask;
}

/* How many accelerators of a node of this size the job takes there: a share of its processors
 * counts as that share of its accelerators. */
static int32_t share(const struct wire_queued *j, int32_t size, int32_t cpus)
{
    int64_t by_cpu = cpus > 0 ? ((int64_t)j->cpus * size + cpus - 1) / cpus : size;

    if (j->exclusive)
        return size;
    return (int32_t)BT_MIN(BT_MAX(BT_MAX(by_cpu, (int64_t)j->per_host), 1), size);
}

struct placing {
    struct model *m;
    const struct wire_queued *job;
};

static int place_on(void *arg, const char *name)
{
    struct placing *p = arg;
    struct model *m = p->m;
    const struct wire_node *node;
    uint32_t i;
    uint64_t mask;

    if (!bt_map_get(&m->by_name, bt_map_hash(name, strlen(name)), &i) ||
        !bt_streq(m->from[i].name, name))
        return 0; /* a node outside the partition */
    node = &m->from[i];
    mask = lowest(m->nodes[i].free_mask, share(p->job, size_of(node), node->cpus));
    if (!mask)
        return 0;
    m->nodes[i].free_mask &= ~mask;
    BT_GROW(m->parts, m->n_parts, m->cap_parts);
    m->parts[m->n_parts++] = (struct plan_part){.node = i, .mask = mask};
    return 0;
}

static void add_running(struct model *m, const struct wire_queued *j, int64_t now_us)
{
    struct placing p = {m, j};
    size_t before = m->n_parts;
    int64_t longest = now_us + PLAN_MAX_WALLTIME_S * BT_US_PER_S;
    int64_t end_us = j->end_s > 0 ? j->end_s * BT_US_PER_S : longest;

    if (bt_hostlist_each(j->hosts ? j->hosts : "", NAMES_MAX, place_on, &p, NULL) < 0)
        m->n_parts = before;
    if (m->n_parts == before)
        return;
    m->running[m->n_running] = (struct plan_running){
        .start_us = j->start_s * BT_US_PER_S,
        .limit_us = BT_MIN(BT_MAX(end_us, now_us + BT_US_PER_S), longest),
        .handle = (uint32_t)m->n_running + 1,
        .parts_off = (uint32_t)before,
        .n_parts = (uint32_t)(m->n_parts - before),
    };
    m->n_running++;
}

static void add_pending(struct model *m, const struct wire_queued *j, size_t n_jobs)
{
    int32_t size = m->n ? size_of(&m->from[0]) : 1;
    int32_t per_node = share(j, size, m->n ? m->from[0].cpus : 1);
    int64_t walltime_s = j->minutes ? (int64_t)j->minutes * 60 : PLAN_MAX_WALLTIME_S;

    m->who[m->n_pending] = j;
    m->pending[m->n_pending] = (struct plan_pending){
        .submit_us = j->submit_s * BT_US_PER_S,
        .handle = (uint32_t)(n_jobs + m->n_pending) + 1,
        .min_acc = (uint32_t)(BT_MAX(j->n_hosts, 1) * per_node),
        .per_node = (uint32_t)per_node,
        .walltime_s = (uint32_t)BT_MIN(walltime_s, (int64_t)PLAN_MAX_WALLTIME_S),
        .project = PLAN_NONE,
        .person = PLAN_NONE,
        .after = PLAN_NONE,
        .accel_class = PLAN_CLASS_ANY,
        .resolved = true,
        .owned = false,
    };
    m->n_pending++;
}

static void model_make(struct model *m, const struct wire_node *nodes, size_t n_nodes,
                       const struct wire_queued *jobs, size_t n_jobs, int64_t now_us)
{
    *m = (struct model){.from = nodes,
                        .n = n_nodes,
                        .nodes = bt_new_n(struct plan_node, n_nodes + 1),
                        .running = bt_new_n(struct plan_running, n_jobs + 1),
                        .pending = bt_new_n(struct plan_pending, n_jobs + 1),
                        .who = bt_new_n(const struct wire_queued *, n_jobs + 1)};
    for (size_t i = 0; i < n_nodes; i++) {
        int32_t n = size_of(&nodes[i]);
        uint64_t all = n >= PLAN_MAX_ACC ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;

        m->nodes[i] = (struct plan_node){.usable_mask = all,
                                         .free_mask = all,
                                         .state = *nodes[i].trouble ? PLAN_DRAINING : PLAN_UP};
        bt_map_put(&m->by_name, bt_map_hash(nodes[i].name, strlen(nodes[i].name)), (uint32_t)i);
    }
    for (size_t i = 0; i < n_jobs; i++) {
        if (jobs[i].state == WIRE_RUNNING)
            add_running(m, &jobs[i], now_us);
        else if (jobs[i].state == WIRE_PENDING && !jobs[i].held)
            add_pending(m, &jobs[i], n_jobs);
    }
}

/* ---- what is kept ---- */

static int by_id(const void *x, const void *y)
{
    const struct observed *a = x;
    const struct observed *b = y;

    return (a->id > b->id) - (a->id < b->id);
}

/* A number that was given to another job in the meantime is another job. */
static struct observed *find(struct observer *o, size_t n, const struct wire_queued *j)
{
    struct observed key = {.id = j->id};
    struct observed *at = n ? bsearch(&key, o->waiting, n, sizeof key, by_id) : NULL;

    return at && at->submit_us == j->submit_s * BT_US_PER_S ? at : NULL;
}

static void keep(struct observer *o, const struct observed *x)
{
    if (!o->done)
        o->done = bt_new_n(struct observed, OBSERVE_KEEP);
    o->done[o->next] = *x;
    o->next = (o->next + 1) % OBSERVE_KEEP;
    o->n_done = BT_MIN(o->n_done + 1, (size_t)OBSERVE_KEEP);
    if (x->planned_us == INT64_MAX)
        return;
    o->compared++;
    o->on_time += x->started_us <= x->promised_us;
}

static void begun(struct observer *o, struct observed *x, const struct wire_queued *j)
{
    x->started_us = j->start_s * BT_US_PER_S;
    keep(o, x);
    o->n_new = BT_MIN(o->n_new + 1, (size_t)OBSERVE_KEEP);
}

/* Those that wait no more leave; what is left stays in order. */
static void sweep(struct observer *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->n_waiting; i++) {
        struct observed *x = &o->waiting[i];

        if (x->started_us)
            continue;
        if (!x->found) {
            o->cancelled++;
            continue;
        }
        o->waiting[n++] = *x;
    }
    o->n_waiting = n;
}

static void plan_newcomers(struct observer *o, size_t n_known, struct model *m, int64_t now_us)
{
    static const struct plan_nation nation = {.weight = 1};
    struct plan_input in = {.now_us = now_us,
                            .nodes = m->nodes,
                            .n_nodes = (uint32_t)m->n,
                            .nations = &nation,
                            .n_nations = 1,
                            .running = m->running,
                            .n_running = (uint32_t)m->n_running,
                            .parts = m->parts,
                            .pending = m->pending,
                            .n_pending = (uint32_t)m->n_pending,
                            .turnaround_s = 1,
                            .promise_slack_s = SLACK_S,
                            .promise_slack_percent = SLACK_PERCENT};
    struct plan_output out;

    if (sched_plan(&in, &out, NULL) < 0)
        return;
    for (uint32_t i = 0; i < out.n_slots; i++) {
        const struct wire_queued *j = m->who[i];

        if (find(o, n_known, j))
            continue;
        BT_GROW(o->waiting, o->n_waiting, o->cap_waiting);
        o->waiting[o->n_waiting++] = (struct observed){
            .id = j->id,
            .submit_us = j->submit_s * BT_US_PER_S,
            .acc = (int32_t)m->pending[i].min_acc,
            .seen_us = now_us,
            .planned_us = BT_MAX(out.slots[i].start_us, now_us),
            .promised_us = out.slots[i].promise_us,
            .slurm_us = j->start_s * BT_US_PER_S,
        };
    }
    sched_plan_done(&out);
    qsort(o->waiting, o->n_waiting, sizeof *o->waiting, by_id);
}

/* A job of the list that was seen waiting before. */
static void meet(struct observer *o, struct observed *x, const struct wire_queued *j)
{
    x->found = true;
    if (j->state != WIRE_PENDING && j->start_s > 0)
        begun(o, x, j);
    else if (j->state == WIRE_OVER)
        x->found = false;
    else if (!x->slurm_us)
        x->slurm_us = j->start_s * BT_US_PER_S;
}

void observe_list(struct observer *o, const struct wire_node *nodes, size_t n_nodes,
                  const struct wire_queued *jobs, size_t n_jobs, int64_t now_us)
{
    struct model m;
    bool newcomers = false;

    if (!o->since_us)
        o->since_us = now_us;
    for (size_t i = 0; i < o->n_waiting; i++)
        o->waiting[i].found = false;
    for (size_t i = 0; i < n_jobs; i++) {
        struct observed *x = find(o, o->n_waiting, &jobs[i]);

        if (x && !x->started_us)
            meet(o, x, &jobs[i]);
        else if (!x && jobs[i].state == WIRE_PENDING && !jobs[i].held)
            newcomers = true;
    }
    sweep(o);
    if (!newcomers)
        return;
    model_make(&m, nodes, n_nodes, jobs, n_jobs, now_us);
    plan_newcomers(o, o->n_waiting, &m, now_us);
    model_done(&m);
}

/* ---- the report ---- */

static int by_value(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x;
    int64_t b = *(const int64_t *)y;

    return (a > b) - (a < b);
}

static void median(struct json_writer *w, const char *key, int64_t *us, size_t n)
{
    if (!n) {
        jw_null(w, key);
        return;
    }
    qsort(us, n, sizeof *us, by_value);
    int64_t middle = us[n / 2];
    jw_f64(w, key, (double)middle / 1e6);
}

/* By how much the plan and Slurm's first estimate missed, and how long both had jobs wait. */
static void write_errors(const struct observer *o, struct json_writer *w)
{
    BT_AUTO int64_t *plan = bt_new_n(int64_t, o->n_done + 1);
    BT_AUTO int64_t *slurm = bt_new_n(int64_t, o->n_done + 1);
    BT_AUTO int64_t *wait = bt_new_n(int64_t, o->n_done + 1);
    BT_AUTO int64_t *planned = bt_new_n(int64_t, o->n_done + 1);
    size_t n = 0;
    size_t n_slurm = 0;

    for (size_t i = 0; i < o->n_done; i++) {
        const struct observed *x = &o->done[i];

        if (x->planned_us == INT64_MAX)
            continue;
        plan[n] = llabs(x->started_us - x->planned_us);
        wait[n] = x->started_us - x->submit_us;
        planned[n++] = x->planned_us - x->submit_us;
        if (x->slurm_us)
            slurm[n_slurm++] = llabs(x->started_us - x->slurm_us);
    }
    median(w, "plan_error_s", plan, n);
    median(w, "slurm_error_s", slurm, n_slurm);
    median(w, "wait_s", wait, n);
    median(w, "planned_wait_s", planned, n);
}

static void write_time(struct json_writer *w, const char *key, int64_t us)
{
    if (us > 0 && us != INT64_MAX)
        jw_time(w, key, us);
    else
        jw_null(w, key);
}

static void write_item(const struct observed *x, struct json_writer *w)
{
    const char *state = !x->started_us ? "waiting"
                        : x->planned_us == INT64_MAX
                            ? "not comparable"
                            : (x->started_us <= x->promised_us ? "in time" : "late");

    jw_object(w, NULL);
    jw_i64(w, "job", x->id);
    jw_i64(w, "accelerators", x->acc);
    jw_time(w, "submitted_at", x->submit_us);
    write_time(w, "planned_at", x->planned_us);
    write_time(w, "promised_by", x->promised_us);
    write_time(w, "slurm_estimate", x->slurm_us);
    write_time(w, "started_at", x->started_us);
    jw_str(w, "state", state);
    jw_end_object(w);
}

void observe_report(const struct observer *o, struct json_writer *w)
{
    size_t n = BT_MIN(o->n_done, (size_t)OBSERVE_SHOWN);

    write_time(w, "since", o->since_us);
    jw_i64(w, "waiting", (int64_t)o->n_waiting);
    jw_i64(w, "compared", o->compared);
    jw_i64(w, "on_time", o->on_time);
    jw_i64(w, "cancelled", o->cancelled);
    write_errors(o, w);
    jw_array(w, "items");
    for (size_t i = 0; i < n; i++) /* the newest first */
        write_item(&o->done[(o->next + OBSERVE_KEEP - 1 - i) % OBSERVE_KEEP], w);
    for (size_t i = 0; i < o->n_waiting && i < OBSERVE_SHOWN; i++)
        write_item(&o->waiting[i], w);
    jw_end_array(w);
}

/* ---- the file ---- */

static const struct json_field line_fields[] = {
    {"job", JSON_F_I64, offsetof(struct observed, id), true, 0, 1, INT64_MAX},
    {"acc", JSON_F_I32, offsetof(struct observed, acc), true, 0, 1, INT32_MAX},
    {"submit", JSON_F_I64, offsetof(struct observed, submit_us), true, 0, 0, INT64_MAX},
    {"seen", JSON_F_I64, offsetof(struct observed, seen_us), true, 0, 0, INT64_MAX},
    {"planned", JSON_F_I64, offsetof(struct observed, planned_us), true, 0, 0, INT64_MAX},
    {"promised", JSON_F_I64, offsetof(struct observed, promised_us), true, 0, 0, INT64_MAX},
    {"slurm", JSON_F_I64, offsetof(struct observed, slurm_us), true, 0, 0, INT64_MAX},
    {"started", JSON_F_I64, offsetof(struct observed, started_us), true, 0, 1, INT64_MAX},
};

void observe_new(struct observer *o, struct bt_buf *to)
{
    for (; o->n_new; o->n_new--) {
        const struct observed *x = &o->done[(o->next + OBSERVE_KEEP - o->n_new) % OBSERVE_KEEP];
        struct json_writer w = {.to = to};

        jw_object(&w, NULL);
        jw_i64(&w, "job", x->id);
        jw_i64(&w, "acc", x->acc);
        jw_i64(&w, "submit", x->submit_us);
        jw_i64(&w, "seen", x->seen_us);
        jw_i64(&w, "planned", x->planned_us);
        jw_i64(&w, "promised", x->promised_us);
        jw_i64(&w, "slurm", x->slurm_us);
        jw_i64(&w, "started", x->started_us);
        jw_end_object(&w);
        bt_buf_char(to, '\n');
    }
}

void observe_load(struct observer *o, const char *text, size_t n)
{
    const char *end = text + n;

    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((stop ? stop : end) - text);
        struct json *j = NULL;
        struct observed x = {0};

        if (len < OBSERVE_LINE && json_parse(text, len, OBSERVE_LINE, &j, NULL) == 0 &&
            json_read(j, line_fields, BT_ARRAY_LEN(line_fields), &x, NULL) == 0) {
            keep(o, &x);
            o->since_us = o->since_us ? BT_MIN(o->since_us, x.seen_us) : x.seen_us;
        }
        json_free(j);
        text = stop ? stop + 1 : end;
    }
}
