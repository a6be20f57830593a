/* quick.c - between passes: what fits now beside all certificates starts at once.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What waits lies in lines, one for each match and size (and nation, if
 * it waits inside its guarantee), in the order of the last pass. A line asks
 * its zones until when they have room for the smallest of its size: who would end later and whose
 * own reservation does not begin before has no chance and is passed over, 64 at a time. The zones
 * answer from memory where nothing was taken or given since. */
#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

enum { LINE_BLOCK = 64 };

static bool still_waits(const struct plan_timeline *e, const struct waiting *w)
{
    return e->jobs[w->job].state == JOB_PENDING && e->jobs[w->job].ask.handle == w->handle;
}

/* ---- until when is there room ---- */

/* Until when a zone has room, from now on, for 2^size accelerators; now if it has none. */
static int32_t zone_room(struct plan_timeline *e, uint32_t zone, uint32_t size)
{
    struct zone_time *t = &e->time[zone];
    struct room *r = &t->room[size];
    uint32_t acc = e->fabric.zones[zone].acc, need = UINT32_C(1) << size;
    if (r->seen != t->changes || e->now >= r->until) {
        bool whole = need >= acc;
        r->seen = t->changes;
        r->open = profile_open(whole ? &t->whole : &t->acc,
                               (int32_t)(whole ? (need + acc - 1) / acc : need), e->now, &r->until);
    }
    return r->open ? r->until : e->now;
}

/* The same of what is left of a nation's guarantee. */
static int32_t right_room(const struct plan_timeline *e, const struct line *l)
{
    int32_t until;
    bool open = profile_open(&e->nations[l->nation].left, 1 << l->size, e->now, &until);
    return open ? until : e->now;
}

/* The same wherever the line may run; never ends if its gangs may lie over several zones. */
static int32_t line_room(struct plan_timeline *e, const struct line *l)
{
    const struct match *m = &e->matches[l->match];
    const uint32_t *zones = e->match_zones + m->zone_off;
    uint64_t whole = 0;
    int32_t room = e->now;
    uint32_t acc = UINT32_MAX;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        const struct fab_zone *z = &e->fabric.zones[zones[i]];
        whole += (uint64_t)z->whole * z->acc;
        acc = BT_MIN(acc, z->acc);
        room = BT_MAX(room, zone_room(e, zones[i], l->size));
    }
    bool spans = m->n_zones > 1 && whole >= UINT64_C(1) << l->size &&
                 (l->most + acc - 1) / acc > least_span(e, m);
    room = spans ? PROFILE_NEVER : room;
    return l->nation == PLAN_NONE ? room : BT_MIN(room, right_room(e, l));
}

/* ---- lines ---- */

static uint32_t line_of(struct plan_timeline *e, const struct waiting *w)
{
    const struct eng_job *j = &e->jobs[w->job];
    uint32_t nation = still_waits(e, w) && j->may_own ? j->ask.nation : PLAN_NONE, i;
    uint64_t key = (uint64_t)w->match << 40 | (uint64_t)(nation & 0xffffff) << 8 | w->size;
    if (bt_map_get(&e->line_by_key, key, &i))
        return i;
    BT_GROW(e->lines, e->n_lines, e->cap_lines);
    bt_map_put(&e->line_by_key, key, e->n_lines);
    e->lines[e->n_lines] = (struct line){.match = w->match, .size = w->size, .nation = nation};
    return e->n_lines++;
}

static void line_add(struct plan_timeline *e, uint32_t at)
{
    struct waiting *w = &e->prio[at];
    w->line = line_of(e, w);
    struct line *l = &e->lines[w->line];
    if (l->n % LINE_BLOCK == 0) {
        uint32_t block = l->n / LINE_BLOCK;
        BT_GROW(l->least, block, l->cap_least);
        l->least[block] = (struct line_least){PROFILE_NEVER, PROFILE_NEVER};
    }
    BT_GROW(l->v, l->n, l->cap);
    l->v[l->n] = (struct line_entry){at, w->len, w->cert};
    struct line_least *least = &l->least[l->n++ / LINE_BLOCK];
    l->most = BT_MAX(l->most, w->acc);
    least->len = BT_MIN(least->len, w->len);
    least->cert = BT_MIN(least->cert, w->cert);
}

/* The first entry of a line for prio[from] or later. */
static uint32_t line_from(const struct line *l, uint32_t from)
{
    uint32_t low = 0, high = l->n;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (l->v[mid].at < from)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void line_drop(struct plan_timeline *e, uint32_t at)
{
    struct line *l = &e->lines[e->prio[at].line];
    struct line_entry *x = &l->v[line_from(l, at)];
    x->len = x->cert = PROFILE_NEVER;
    e->prio[at].plan = e->prio[at].cert = PROFILE_NEVER;
}

/* A job may start if it would end while there is room, or if only its own reservation bounds it. */
static bool has_hope(const struct plan_timeline *e, int32_t room, int32_t len, int32_t cert)
{
    return len <= (int64_t)room - e->now || cert <= room;
}

/* From entry i on, the first with hope; n if none has. */
static uint32_t line_next(const struct plan_timeline *e, const struct line *l, uint32_t i)
{
    while (i < l->n) {
        const struct line_least *b = &l->least[i / LINE_BLOCK];
        uint32_t end = BT_MIN((i / LINE_BLOCK + 1) * LINE_BLOCK, l->n);
        if (!has_hope(e, l->room, b->len, b->cert)) {
            i = end;
            continue;
        }
        for (; i < end; i++)
            if (l->v[i].len != PROFILE_NEVER && has_hope(e, l->room, l->v[i].len, l->v[i].cert))
                return i;
    }
    return l->n;
}

/* The first of prio, from `from` on, with hope; PLAN_NONE if nobody has. */
static uint32_t next_hope(struct plan_timeline *e, uint32_t from)
{
    uint32_t best = PLAN_NONE;
    for (uint32_t k = 0; k < e->n_lines; k++) {
        struct line *l = &e->lines[k];
        if (!l->n || l->v[l->n - 1].at < from ||
            (l->found == l->n && l->seen == e->changes && l->pass == e->n_quick))
            continue;
        if (l->seen != e->changes || l->pass != e->n_quick) {
            int32_t was = l->room;
            bool fresh = l->pass != e->n_quick;
            l->room = line_room(e, l);
            l->seen = e->changes;
            l->pass = e->n_quick;
            if (fresh || l->room > was)
                l->found = line_from(l, from);
        }
        while (l->found < l->n && l->v[l->found].at < from)
            l->found++;
        l->found = line_next(e, l, l->found);
        if (l->found < l->n)
            best = BT_MIN(best, l->v[l->found].at);
    }
    return best;
}

static void make_lines(struct plan_timeline *e)
{
    if (e->prio_new) {
        e->in_line = 0;
        for (uint32_t k = 0; k < e->n_lines; k++)
            e->lines[k].n = e->lines[k].found = e->lines[k].most = 0;
    }
    for (; e->in_line < e->n_prio; e->in_line++)
        line_add(e, e->in_line);
}

void lines_free(struct plan_timeline *e)
{
    for (uint32_t k = 0; k < e->n_lines; k++) {
        bt_free(e->lines[k].v);
        bt_free(e->lines[k].least);
    }
    bt_free(e->lines);
    bt_map_done(&e->line_by_key);
    e->lines = NULL;
    e->n_lines = e->cap_lines = 0;
}

/* ---- one job ---- */

/* Starts a job in the slot that is free now, beside all certificates. What found no node here is
 * not asked again in this pass at the same size, unless it is shorter. */
static bool quick_slot(struct plan_timeline *e, uint32_t job)
{
    struct eng_job *j = &e->jobs[job];
    uint32_t acc = j->ask.min_acc;
    int32_t *unplaced = acc < PLAN_MAX_ACC ? &e->matches[j->match].unplaced[acc] : NULL;
    struct resv r = {0};
    if (unplaced && j->len >= *unplaced)
        return false;
    if (!eng_earliest(e, j, acc, e->now, e->now, &r)) {
        tell_dead(e, j);
        return false;
    }
    if (try_start(e, job, acc, &r))
        return true;
    bt_free(r.span);
    if (unplaced)
        *unplaced = j->len;
    return false;
}

/* Starts a job beside all certificates, if it fits now. Its own is in the way only if it begins
 * before the job would end. */
static bool quick_one(struct plan_timeline *e, uint32_t job)
{
    struct eng_job *j = &e->jobs[job];
    bool apart = j->cert.mode == RESV_NONE || j->cert.start >= end_of(j, e->now);
    bool due = j->cert.mode != RESV_NONE && j->cert.start <= e->now;
    if (!due && !eng_hopes(e, j, apart ? PLAN_NONE : j->cert.zone))
        return false;
    if (!apart) {
        cert_uncharge(e, j);
        e->own_zone = j->cert.zone;
    }
    bool started = quick_slot(e, job);
    e->own_zone = PLAN_NONE;
    if (started) {
        if (j->cert.mode != RESV_NONE)
            dead_clear(e); /* its certificate's place is given up */
        cert_forget(e, j);
        return true;
    }
    if (apart)
        return false;
    struct resv r = j->cert;
    if (r.start <= e->now && try_start(e, job, j->ask.min_acc, &r)) {
        j->cert = (struct resv){0};
        return true;
    }
    resv_charge(e, j, &j->cert, 1);
    j->cert_charged = true;
    return false;
}

/* Whether the free nodes of now could hold it. As they only get fewer in a quick pass, what was
 * closed to one is closed to all that are as large. */
static bool quick_open(struct plan_timeline *e, struct waiting w)
{
    const struct eng_job *j = &e->jobs[w.job];
    if (w.len >= e->matches[w.match].dead[w.size] || eng_open_now(e, j, w.acc))
        return true; /* if dead, its own certificate's place may still do */
    if (!j->ask.level_required)
        e->matches[w.match].closed = w.acc;
    return false;
}

static bool all_busy(const struct plan_timeline *e)
{
    for (uint32_t i = 0; i < e->fabric.n_zones; i++)
        if (e->fabric.zones[i].nodes_with[0] != e->fabric.zones[i].n_nodes)
            return false;
    return true;
}

/* When a waiting job must be looked at again: at its planned start, at last at its reserved one.
 * What is not planned yet waits for the next pass. */
static int32_t next_due(const struct plan_timeline *e)
{
    int32_t due = PROFILE_NEVER;
    for (uint32_t i = 0; i < e->n_prio; i++) {
        const struct waiting *w = &e->prio[i];
        int32_t at = w->plan > e->now ? w->plan : w->cert;
        if (at > e->now)
            due = BT_MIN(due, at);
        else if (still_waits(e, w))
            due = e->now + 1;
    }
    return due;
}

static void quick_begin(struct plan_timeline *e, int32_t now)
{
    e->now = now;
    e->n_victims = e->n_starts = e->n_promised = 0;
    memo_clear_spans(e);
    dead_clear(e);
    for (uint32_t i = 0; i < e->n_matches; i++) {
        struct match *m = &e->matches[i];
        m->closed = UINT32_MAX;
        for (int k = 0; k < PLAN_MAX_ACC; k++)
            m->unplaced[k] = INT32_MAX;
    }
    if (e->due <= now)
        e->n_tried = 0;
    for (uint32_t i = 0; e->prio_new && i < e->n_prio; i++) {
        const struct eng_job *j = &e->jobs[e->prio[i].job];
        if (still_waits(e, &e->prio[i]) && j->cert.mode != RESV_NONE) {
            e->prio[i].cert = j->cert.start;
            e->prio[i].plan = j->plan.start;
        }
    }
    make_lines(e);
    e->prio_new = false;
    e->n_quick++;
    e->quick = true;
}

/* Whether a waiting job need not be looked at: nothing as small and as short fits, and no
 * certificate of its own is in its way. */
static bool hopeless(const struct plan_timeline *e, const struct waiting *w)
{
    const struct match *m = &e->matches[w->match];
    return w->acc >= m->closed ||
           ((int64_t)w->cert >= (int64_t)e->now + w->len && w->len >= m->dead[w->size]);
}

void eng_quick(struct plan_timeline *e, int32_t now)
{
    quick_begin(e, now);
    uint32_t i = all_busy(e) ? PLAN_NONE : next_hope(e, e->n_tried);
    for (; i != PLAN_NONE; i = next_hope(e, i + 1)) {
        const struct waiting *w = &e->prio[i];
        const struct eng_job *j = &e->jobs[w->job];
        if (!still_waits(e, w)) {
            line_drop(e, i);
            continue;
        }
        if (hopeless(e, w) || !j->ask.resolved || j->eligible > now || !quick_open(e, *w) ||
            !quick_one(e, w->job))
            continue;
        line_drop(e, i);
        if (all_busy(e))
            break;
    }
    e->quick = false;
    e->n_tried = e->n_prio;
    if (e->due <= now)
        e->due = next_due(e);
}
