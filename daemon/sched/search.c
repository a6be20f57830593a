/* search.c - the earliest and the latest slot of one job.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/sched/engine.h"
#include "lib/base/attr.h"
#include "lib/base/mem.h"

enum {
    SPAN_STEPS = 512,   /* exact steps of a search over several zones; longer ones after */
    RIGHTS_STEPS = 256, /* between a zone's and a nation's profile */
    LONG_QUEUE = 2000,  /* jobs */
    SPAN_ZONES = 256,   /* zones that one gang may span */
};

/* ---- which zones ---- */

static bool zone_matches(const struct fab_zone *z, const struct match *m)
{
    return (m->accel_class == PLAN_CLASS_ANY || m->accel_class == z->accel_class) &&
           z->tier >= m->tier && z->acc >= m->per_node && z->memory_gb >= m->memory_gb &&
           z->busbw_mbs >= m->busbw_gb * (uint32_t)MBS && z->reservation == m->reservation &&
           fab_holds(m->stores, z->store);
}

static bool is_match_of(const struct match *m, const struct plan_pending *ask)
{
    return m->accel_class == ask->accel_class && m->tier == ask->tier &&
           m->per_node == ask->per_node && m->memory_gb == ask->memory_gb &&
           m->busbw_gb == ask->busbw_gb && m->reservation == ask->reservation &&
           m->stores == ask->stores;
}

uint32_t match_of(struct plan_timeline *e, const struct plan_pending *ask)
{
    uint64_t key = (uint64_t)ask->memory_gb << 35 | (uint64_t)ask->busbw_gb << 19 |
                   (uint64_t)ask->per_node << 12 | (uint64_t)ask->tier << 8 | ask->accel_class;
    uint32_t i;
    if (ask->reservation)
        key |= (uint64_t)(ask->reservation & 0xfff) << 51 | UINT64_C(1) << 63;
    key ^= ask->stores * UINT64_C(0x9e3779b97f4a7c15);
    if (bt_map_get(&e->match_by_key, key, &i) && is_match_of(&e->matches[i], ask))
        return i;
    struct match m = {.zone_off = e->n_match_zones,
                      .accel_class = ask->accel_class,
                      .tier = ask->tier,
                      .per_node = ask->per_node,
                      .memory_gb = ask->memory_gb,
                      .busbw_gb = ask->busbw_gb,
                      .stores = ask->stores,
                      .reservation = ask->reservation};
    for (uint32_t z = 0; z < e->fabric.n_zones; z++) {
        if (!zone_matches(&e->fabric.zones[z], &m))
            continue;
        BT_GROW(e->match_zones, e->n_match_zones, e->cap_match_zones);
        e->match_zones[e->n_match_zones++] = z;
        m.n_zones++;
        m.most_nodes = BT_MAX(m.most_nodes, e->fabric.zones[z].n_nodes);
    }
    i = e->n_matches;
    BT_GROW(e->matches, e->n_matches, e->cap_matches);
    e->matches[e->n_matches++] = m;
    bt_map_put(&e->match_by_key, key, i);
    return i;
}

uint32_t match_alone(struct plan_timeline *e, uint32_t match, uint32_t zone)
{
    struct match m = e->matches[match];
    m.zone_off = e->n_match_zones;
    m.n_zones = 1;
    m.most_nodes = e->fabric.zones[zone].n_nodes;
    BT_GROW(e->match_zones, e->n_match_zones, e->cap_match_zones);
    e->match_zones[e->n_match_zones++] = zone;
    BT_GROW(e->matches, e->n_matches, e->cap_matches);
    e->matches[e->n_matches] = m;
    return e->n_matches++;
}

void match_drop(struct plan_timeline *e, uint32_t match)
{
    e->n_match_zones = e->matches[match].zone_off;
    e->n_matches = match;
}

/* ---- what was found before ----
 * While a pass adds reservations, starts only become later: what a zone could not give to a
 * smaller or shorter job, it cannot give to a larger or longer one. (A certificate that is
 * taken up makes room, so a slot may be missed; a job never ends up later than its own.) */

void memo_clear(struct plan_timeline *e)
{
    memset(e->memos, 0, (e->fabric.n_zones + e->fabric.n_kinds) * sizeof *e->memos);
}

void memo_clear_spans(struct plan_timeline *e)
{
    memset(&e->memos[e->fabric.n_zones], 0, e->fabric.n_kinds * sizeof *e->memos);
}

void memo_clear_match(struct plan_timeline *e, uint32_t match)
{
    const struct match *m = &e->matches[match];
    for (uint32_t i = 0; i < m->n_zones; i++) {
        uint32_t zone = e->match_zones[m->zone_off + i];
        memset(&e->memos[zone], 0, sizeof *e->memos);
        e->timed[zone] = 0;
    }
    if (m->n_zones > 1)
        memo_clear_spans(e);
}

static uint32_t log2_floor(uint32_t x)
{
    return 31 - (uint32_t)__builtin_clz(x | 1);
}

/* Half octaves of minutes: 0, 2, 3, 4… for 1, 2, 3, 4…; the bucket's lower end. */
static uint32_t length_floor(int32_t len)
{
    uint32_t m = (uint32_t)len / 60 + 1, k = log2_floor(m);
    return 2 * k + (k && m & (1U << (k - 1)) ? 1 : 0);
}

static bool size_exact(uint32_t acc)
{
    return (acc & (acc - 1)) == 0;
}

static int32_t memo_ask(const struct plan_timeline *e, uint32_t memo, uint32_t acc, int32_t len)
{
    uint32_t size = BT_MIN(log2_floor(acc), MEMO_SIZES - 1);
    return e->memos[memo].start[size][BT_MIN(length_floor(len), MEMO_LENGTHS - 1)];
}

static void memo_tell(struct plan_timeline *e, uint32_t memo, uint32_t acc, int32_t len,
                      int32_t start)
{
    uint32_t size = log2_floor(acc) + !size_exact(acc), length = length_floor(len) + 1;
    if (size >= MEMO_SIZES || length >= MEMO_LENGTHS || e->memos[memo].start[size][length] >= start)
        return;
    for (uint32_t i = size; i < e->memo_sizes; i++) { /* starts rise with size and length */
        int32_t *row = e->memos[memo].start[i];
        if (row[length] >= start)
            break;
        for (uint32_t k = length; k < e->memo_lengths && row[k] < start; k++)
            row[k] = start;
    }
}

void memo_bound(struct plan_timeline *e, uint32_t most_acc, int32_t longest)
{
    e->memo_sizes = memo_size(most_acc) + 1;
    e->memo_lengths = BT_MIN(length_floor(longest) + 1, MEMO_LENGTHS);
}

static bool is_shut(const struct plan_timeline *e, uint32_t zone, uint32_t acc, int32_t len)
{
    return len >= e->shut[zone].len[BT_MIN(log2_floor(acc), MEMO_SIZES - 1)];
}

static void shut_zone(struct plan_timeline *e, uint32_t zone, uint32_t acc, int32_t len)
{
    for (uint32_t k = log2_floor(acc) + !size_exact(acc); k < MEMO_SIZES; k++)
        e->shut[zone].len[k] = BT_MIN(e->shut[zone].len[k], len);
}

/* A certificate that was given up may have made room. */
void dead_clear(struct plan_timeline *e)
{
    for (uint32_t i = 0; i < e->n_matches; i++)
        for (int k = 0; k < MEMO_SIZES; k++)
            e->matches[i].dead[k] = e->matches[i].spanless[k] = INT32_MAX;
    for (uint32_t z = 0; z < e->fabric.n_zones; z++)
        for (int k = 0; k < MEMO_SIZES; k++)
            e->shut[z].len[k] = INT32_MAX;
}

void tell_dead(struct plan_timeline *e, const struct eng_job *j)
{
    struct match *m = &e->matches[j->match];
    uint32_t acc = j->ask.min_acc;
    if (j->ask.level_required || j->ask.level >= PLAN_POD) /* others may have more places */
        return;
    for (uint32_t k = log2_floor(acc) + !size_exact(acc); k < MEMO_SIZES; k++)
        m->dead[k] = BT_MIN(m->dead[k], j->len);
}

/* ---- one zone ---- */

struct window { /* a job of length len starts in [from, upto] */
    int32_t len, from, upto;
};

static int32_t zone_earliest(const struct zone_time *t, const struct need *need, int32_t len,
                             int32_t from, int32_t upto)
{
    int32_t acc = (int32_t)need->acc, nodes = (int32_t)need->nodes;
    if (need->below)
        return profile_earliest(&t->acc, acc, len, from, upto);
    for (;;) {
        from = profile_earliest(&t->whole, nodes, len, from, upto);
        if (from == PROFILE_NEVER || !t->n_below)
            return from;
        int32_t both = profile_earliest(&t->acc, acc, len, from, upto);
        if (both == from)
            return from;
        from = both;
    }
}

static int32_t zone_latest(const struct zone_time *t, const struct need *need, int32_t len,
                           int32_t from, int32_t upto)
{
    int32_t acc = (int32_t)need->acc, nodes = (int32_t)need->nodes;
    if (need->below)
        return profile_latest(&t->acc, acc, len, from, upto);
    for (;;) {
        upto = profile_latest(&t->whole, nodes, len, from, upto);
        if (upto == PROFILE_NEVER || !t->n_below)
            return upto;
        int32_t both = profile_latest(&t->acc, acc, len, from, upto);
        if (both == upto || both == PROFILE_NEVER)
            return both;
        upto = both;
    }
}

static struct berth_ask berth_ask(const struct plan_timeline *e, uint32_t zone, uint32_t n_acc,
                                  const struct window *w)
{
    const struct zone_time *t = &e->time[zone];
    return (struct berth_ask){.whole = &t->whole,
                              .acc = &t->acc,
                              .n_acc = n_acc,
                              .len = w->len,
                              .from = w->from,
                              .upto = w->upto,
                              .now = e->now,
                              .fresh = e->fabric.zones[zone].whole > 0};
}

/* The earliest slot of one zone, or the latest; PROFILE_NEVER if there is none. */
static int32_t zone_slot(const struct plan_timeline *e, uint32_t zone, const struct need *need,
                         const struct window *w, bool late, uint32_t *ret_berth)
{
    const struct zone_time *t = &e->time[zone];
    *ret_berth = BERTH_NONE;
    if (!need->below || !t->berths)
        return late ? zone_latest(t, need, w->len, w->from, w->upto)
                    : zone_earliest(t, need, w->len, w->from, w->upto);
    struct berth_ask ask = berth_ask(e, zone, need->acc, w);
    struct berth_slot s;
    if (!(late ? berths_latest(t->berths, &ask, &s) : berths_earliest(t->berths, &ask, &s)))
        return PROFILE_NEVER;
    *ret_berth = s.berth;
    return s.start;
}

/* Whether the zone could hold the job at all. */
static bool zone_holds(const struct fab_zone *z, const struct eng_job *j, const struct need *need)
{
    if (need->nodes > z->n_nodes)
        return false;
    if (!j->ask.level_required || j->ask.level < PLAN_LEAF)
        return true;
    return j->ask.level == PLAN_NODE ? need->nodes == 1 : need->nodes <= z->biggest_rack;
}

/* Free nodes are there now, close enough together. */
static bool zone_open_now(const struct plan_timeline *e, uint32_t zone, const struct eng_job *j,
                          const struct need *need)
{
    const struct fab_zone *z = &e->fabric.zones[zone];
    if (need->per || need->below) {
        uint32_t n = 0;
        for (uint32_t k = need->per ? need->per : need->acc; k <= z->acc && n < need->nodes; k++)
            n += z->nodes_with[k];
        return n >= need->nodes;
    }
    bool one_leaf = j->ask.level_required && j->ask.level >= PLAN_LEAF;
    return z->whole >= need->nodes &&
           (!one_leaf || fab_fit(&e->fabric, zone, need->nodes, true) != UINT32_MAX);
}

/* ---- several zones ---- */

/* Splits `nodes` over zones that have left[i] each, most first. */
static void split_span(struct resv *ret, const uint32_t *zones, int32_t *left, uint32_t n,
                       uint32_t nodes)
{
    struct span_part *part = bt_new_n(struct span_part, n);
    uint32_t k = 0;
    while (nodes) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n; i++)
            if (left[i] > left[best])
                best = i;
        uint32_t take = BT_MIN(nodes, (uint32_t)left[best]);
        part[k++] = (struct span_part){zones[best], take};
        left[best] = 0;
        nodes -= take;
    }
    ret->span = part;
    ret->n_span = k;
    ret->zone = part[0].zone;
    ret->mode = RESV_SPAN;
}

/* Whole nodes that a zone can give over [from, until); *ret_end: no start before it gives more. */
static int32_t zone_left(const struct plan_timeline *e, uint32_t zone, int32_t from, int32_t until,
                         int32_t *ret_end)
{
    const struct zone_time *t = &e->time[zone];
    int32_t nodes = profile_min_end(&t->whole, from, until, ret_end), end;
    if (t->n_below) {
        int32_t acc = profile_min_end(&t->acc, from, until, &end);
        *ret_end = BT_MIN(*ret_end, end);
        nodes = BT_MIN(nodes, acc / (int32_t)e->fabric.zones[zone].acc);
    }
    return BT_MAX(nodes, 0);
}

/* The earliest start of `nodes` whole nodes over zones of one kind. The sum of the zones' minima
 * can only rise when the last minimum of some zone leaves the window: that is the next start. */
static bool span_earliest(const struct plan_timeline *e, const uint32_t *zones, uint32_t n,
                          const struct need *need, const struct window *w, struct resv *ret)
{
    int32_t left[SPAN_ZONES];
    int32_t start = w->from;
    for (uint32_t step = 0; start <= w->upto; step++) {
        int32_t next = PROFILE_NEVER, end;
        uint64_t sum = 0;
        int32_t until = (int32_t)BT_MIN((int64_t)start + w->len, PROFILE_NEVER - 1);
        for (uint32_t i = 0; i < n; i++) {
            left[i] = zone_left(e, zones[i], start, until, &end);
            sum += (uint32_t)left[i];
            next = BT_MIN(next, end);
        }
        if (sum >= need->nodes) {
            *ret = (struct resv){.start = start, .nodes = need->nodes, .acc = need->acc};
            split_span(ret, zones, left, n, need->nodes);
            return true;
        }
        if (next == PROFILE_NEVER)
            return false;
        int32_t leap = step < SPAN_STEPS ? 0 : (start - w->from) / 16;
        start = BT_MAX(next, start + leap);
    }
    return false;
}

/* In a long queue, gangs that are small beside a pod do not look over several pods. */
uint32_t least_span(const struct plan_timeline *e, const struct match *m)
{
    return e->n_pending > LONG_QUEUE ? m->most_nodes / 4 : 1;
}

static bool may_span(const struct plan_timeline *e, const struct match *m, const struct eng_job *j,
                     uint32_t nodes)
{
    if (j->ask.level_required && j->ask.level >= PLAN_POD)
        return j->ask.level == PLAN_POD && e->fabric.sisters;
    if (j->ask.level >= PLAN_POD)
        return nodes > m->most_nodes;
    return nodes > least_span(e, m);
}

/* It must lie in one site or pod: what holds for all zones of a kind says nothing. */
static bool is_bound(const struct eng_job *j)
{
    return j->ask.level_required && (j->ask.level == PLAN_SITE || j->ask.level == PLAN_POD);
}

/* Where the run of zones that one gang may span, from index i on, ends. */
static uint32_t span_group(const struct plan_timeline *e, const struct match *m, uint32_t i,
                           const struct eng_job *j)
{
    bool one_site = is_bound(j), one_pod = one_site && j->ask.level == PLAN_POD;
    const uint32_t *zones = e->match_zones + m->zone_off;
    const struct fab_zone *a = &e->fabric.zones[zones[i]];
    uint32_t k = i + 1;
    for (; k < m->n_zones && k - i < SPAN_ZONES; k++) {
        const struct fab_zone *b = &e->fabric.zones[zones[k]];
        if (a->kind != b->kind || (one_site && a->site != b->site) || (one_pod && a->pod != b->pod))
            break;
    }
    return k;
}

static uint64_t free_nodes(const struct plan_timeline *e, const uint32_t *zones, uint32_t n)
{
    uint64_t free = 0;
    for (uint32_t i = 0; i < n; i++)
        free += e->fabric.zones[zones[i]].whole;
    return free;
}

bool memo_none(const struct plan_timeline *e, const struct eng_job *j, int32_t upto)
{
    const struct match *m = &e->matches[j->match];
    const uint32_t *zones = e->match_zones + m->zone_off;
    for (uint32_t i = 0; i < m->n_zones; i++)
        if (memo_ask(e, zones[i], j->ask.min_acc, j->len) <= upto)
            return false;
    if (m->n_zones < 2 || (is_bound(j) && (j->ask.level == PLAN_SITE || e->fabric.sisters)))
        return m->n_zones == 1;
    for (uint32_t i = 0, kind = PLAN_NONE; i < m->n_zones; i++) {
        const struct fab_zone *z = &e->fabric.zones[zones[i]];
        struct need need = eng_need(&j->ask, j->ask.min_acc, z->acc);
        if (z->kind != kind && !need.per && may_span(e, m, j, need.nodes) &&
            memo_ask(e, e->fabric.n_zones + z->kind, j->ask.min_acc, j->len) <= upto)
            return false;
        kind = z->kind;
    }
    return true;
}

/* It asks for more than a kind says: what its zones cannot give, others of the kind may. */
static bool match_picks(const struct match *m)
{
    return m->memory_gb || m->busbw_gb || m->stores;
}

static bool spans(struct plan_timeline *e, const struct eng_job *j, uint32_t n_acc, int32_t from,
                  int32_t upto, struct resv *ret)
{
    const struct match *m = &e->matches[j->match];
    const uint32_t *zones = e->match_zones + m->zone_off;
    bool bound = is_bound(j), found = false;
    for (uint32_t i = 0, end; i < m->n_zones; i = end) {
        end = span_group(e, m, i, j);
        struct need need = eng_need(&j->ask, n_acc, e->fabric.zones[zones[i]].acc);
        struct resv r;
        if (end - i < 2 || need.per || !may_span(e, m, j, need.nodes) ||
            (upto <= e->now && free_nodes(e, zones + i, end - i) < need.nodes))
            continue;
        uint32_t memo = e->fabric.n_zones + e->fabric.zones[zones[i]].kind;
        int32_t known = bound ? 0 : memo_ask(e, memo, n_acc, j->len);
        struct window w = {.len = j->len, .from = BT_MAX(from, known), .upto = upto};
        bool ok = known <= upto && span_earliest(e, zones + i, end - i, &need, &w, &r);
        if ((from <= e->now || e->newcomer) && !bound && known <= upto && !match_picks(m))
            memo_tell(e, memo, n_acc, j->len, ok ? r.start : upto);
        if (!ok)
            continue;
        if (found)
            bt_free(ret->span);
        *ret = r;
        found = true;
        upto = r.start - 1;
    }
    return found;
}

/* ---- all zones ---- */

static void keep(struct resv *ret, uint32_t zone, const struct need *need, int32_t start,
                 uint32_t berth)
{
    *ret = (struct resv){.start = start,
                         .zone = zone,
                         .nodes = need->nodes,
                         .acc = need->acc,
                         .berth = berth,
                         .mode = need->below ? RESV_BELOW : RESV_WHOLE};
}

/* Starts at once: the zone where it fits tightest, lowest enclave first. */
static bool now_slot(struct plan_timeline *e, const struct eng_job *j, uint32_t n_acc,
                     struct resv *ret)
{
    const struct match *m = &e->matches[j->match];
    const uint32_t *zones = e->match_zones + m->zone_off;
    const struct window w = {.len = j->len, .from = e->now, .upto = e->now};
    uint64_t best = UINT64_MAX;
    struct need need = {0};
    uint32_t acc = 0;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        const struct fab_zone *z = &e->fabric.zones[zones[i]];
        if (z->acc != acc)
            need = eng_need(&j->ask, n_acc, acc = z->acc);
        if (!zone_holds(z, j, &need))
            continue;
        uint32_t fit = fab_fit(&e->fabric, zones[i], need.nodes, false);
        uint64_t score = (uint64_t)z->tier << 48 | (uint64_t)need.slack << 32 | fit;
        bool ask = e->quick && zones[i] != e->own_zone;
        if (score >= best || (ask && is_shut(e, zones[i], n_acc, j->len)) ||
            !zone_open_now(e, zones[i], j, &need))
            continue;
        uint32_t berth;
        if (zone_slot(e, zones[i], &need, &w, false, &berth) != e->now) {
            if (e->quick && !need.per)
                shut_zone(e, zones[i], n_acc, j->len);
            continue;
        }
        best = score;
        keep(ret, zones[i], &need, e->now, berth);
    }
    return best != UINT64_MAX;
}

bool eng_open_now(const struct plan_timeline *e, const struct eng_job *j, uint32_t n_acc)
{
    const struct match *m = &e->matches[j->match];
    uint64_t whole = 0;
    struct need need = {0};
    uint32_t acc = 0;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        uint32_t zone = e->match_zones[m->zone_off + i];
        if (e->fabric.zones[zone].acc != acc)
            need = eng_need(&j->ask, n_acc, acc = e->fabric.zones[zone].acc);
        if (zone_holds(&e->fabric.zones[zone], j, &need) && zone_open_now(e, zone, j, &need))
            return true;
        whole += (uint64_t)e->fabric.zones[zone].whole * e->fabric.zones[zone].acc;
    }
    return (!j->ask.level_required || (e->fabric.sisters && is_bound(j))) && whole >= n_acc;
}

/* Whether the zone of a job's certificate is free until that begins. */
static bool hopes_own(const struct plan_timeline *e, const struct eng_job *j, uint32_t zone)
{
    const struct fab_zone *z = &e->fabric.zones[zone];
    struct need need = eng_need(&j->ask, j->ask.min_acc, z->acc);
    int32_t before = BT_MIN(j->len, BT_MAX(j->cert.start - e->now, 1));
    return zone_holds(z, j, &need) && zone_open_now(e, zone, j, &need) &&
           zone_earliest(&e->time[zone], &need, before, e->now, e->now) == e->now;
}

/* The same over the zones that a gang may span: enough of their nodes are free until then. */
static bool hopes_span(struct plan_timeline *e, const struct eng_job *j)
{
    struct match *m = &e->matches[j->match];
    const uint32_t *zones = e->match_zones + m->zone_off;
    uint32_t nodes = j->cert.nodes;
    int32_t until = (int32_t)BT_MIN((int64_t)e->now + j->len, BT_MAX(j->cert.start, e->now + 1));
    uint64_t left = 0;
    if (until >= m->spanless[memo_size(nodes)] || free_nodes(e, zones, m->n_zones) < nodes)
        return false;
    for (uint32_t i = 0; i < m->n_zones && left < nodes; i++)
        left += (uint32_t)BT_MAX(profile_min(&e->time[zones[i]].whole, e->now, until), 0);
    for (uint32_t k = memo_size(nodes) + !size_exact(nodes); left < nodes && k < MEMO_SIZES; k++)
        m->spanless[k] = BT_MIN(m->spanless[k], until);
    return left >= nodes;
}

bool eng_hopes(struct plan_timeline *e, const struct eng_job *j, uint32_t own)
{
    struct match *m = &e->matches[j->match];
    uint64_t whole = 0;
    struct need need = {0};
    uint32_t acc = 0;
    if (own != PLAN_NONE && (j->cert.mode == RESV_SPAN ? hopes_span(e, j) : hopes_own(e, j, own)))
        return true;
    if (j->len >= m->dead[memo_size(j->ask.min_acc)])
        return false;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        uint32_t zone = e->match_zones[m->zone_off + i];
        const struct fab_zone *z = &e->fabric.zones[zone];
        whole += z->whole;
        if (z->acc != acc)
            need = eng_need(&j->ask, j->ask.min_acc, acc = z->acc);
        if (zone != own && !is_shut(e, zone, j->ask.min_acc, j->len) && zone_holds(z, j, &need) &&
            zone_open_now(e, zone, j, &need))
            return true;
    }
    if (!need.per && whole >= need.nodes && may_span(e, m, j, need.nodes))
        return true;
    tell_dead(e, j);
    return false;
}

/* The earliest slot of one zone, and what is learnt from it. */
static bool later_in(struct plan_timeline *e, const struct eng_job *j, uint32_t zone,
                     const struct need *need, struct window w, struct resv *ret)
{
    bool at_once = w.from <= e->now || e->newcomer;
    bool one_leaf = j->ask.level_required && j->ask.level >= PLAN_LEAF;
    int32_t known = memo_ask(e, zone, need->acc, j->len);
    uint32_t berth;
    if (known > w.upto || !zone_holds(&e->fabric.zones[zone], j, need))
        return false;
    w.from = BT_MAX(w.from, known);
    if (one_leaf && !need->per && !need->below)
        w.from = BT_MAX(w.from, rack_time(e, zone, need->nodes));
    if (need->below && !e->time[zone].berths)
        w.from = BT_MAX(w.from, part_time(e, zone, need->acc));
    int32_t start = zone_slot(e, zone, need, &w, false, &berth);
    if (at_once && !one_leaf)
        memo_tell(e, zone, need->acc, j->len, start == PROFILE_NEVER ? w.upto : start);
    if (start == PROFILE_NEVER)
        return false;
    keep(ret, zone, need, start, berth);
    return true;
}

/* Of a match's zones the one that is known to have the least to say against a start: looked at
 * first, it saves a look at most others. */
static uint32_t likeliest(const struct plan_timeline *e, const struct match *m, uint32_t n_acc,
                          int32_t len)
{
    int32_t least = INT32_MAX;
    uint32_t best = 0;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        int32_t known = memo_ask(e, e->match_zones[m->zone_off + i], n_acc, len);
        if (known < least) {
            least = known;
            best = i;
        }
    }
    return best;
}

static bool later_slot(struct plan_timeline *e, const struct eng_job *j, uint32_t n_acc,
                       int32_t from, int32_t upto, struct resv *ret)
{
    const struct match *m = &e->matches[j->match];
    const uint32_t *zones = e->match_zones + m->zone_off;
    uint32_t first = likeliest(e, m, n_acc, j->len), best = PLAN_NONE, acc = 0;
    struct need need = {0};
    for (uint32_t k = 0; k < m->n_zones; k++) {
        uint32_t i = k == 0 ? first : k - (k <= first), zone = zones[i];
        struct window w = {.len = j->len, .from = from, .upto = upto};
        if (best != PLAN_NONE) /* of equal ones the first */
            w.upto = i < best ? ret->start : ret->start - 1;
        if (e->fabric.zones[zone].acc != acc)
            need = eng_need(&j->ask, n_acc, acc = e->fabric.zones[zone].acc);
        if (w.from <= w.upto && later_in(e, j, zone, &need, w, ret))
            best = i;
    }
    upto = best == PLAN_NONE ? upto : ret->start - 1;
    return spans(e, j, n_acc, from, upto, ret) || best != PLAN_NONE;
}

static bool slot(struct plan_timeline *e, const struct eng_job *j, uint32_t n_acc, int32_t from,
                 int32_t upto, struct resv *ret)
{
    if (from <= e->now) {
        from = e->now;
        if (now_slot(e, j, n_acc, ret))
            return true;
        if (upto <= e->now) /* no zone by itself */
            return spans(e, j, n_acc, from, upto, ret);
    }
    return later_slot(e, j, n_acc, from, upto, ret);
}

/* The profile of rights that bounds the job, or NULL. */
static const struct profile *right_of(const struct plan_timeline *e, const struct eng_job *j)
{
    if (j->may_own)
        return &e->nations[j->ask.nation].left;
    return e->guarded && j->ask.no_requeue ? &e->unguaranteed : NULL;
}

bool eng_earliest(struct plan_timeline *e, const struct eng_job *j, uint32_t n_acc, int32_t from,
                  int32_t upto, struct resv *ret)
{
    const struct profile *right = right_of(e, j);
    if (!right)
        return slot(e, j, n_acc, from, upto, ret);
    from = BT_MAX(from, e->now);
    for (int step = 0; step < RIGHTS_STEPS; step++) {
        from = profile_earliest(right, (int32_t)n_acc, j->len, from, upto);
        if (from == PROFILE_NEVER || !slot(e, j, n_acc, from, upto, ret))
            return false;
        int32_t start = profile_earliest(right, (int32_t)n_acc, j->len, ret->start, upto);
        if (start == ret->start)
            return true;
        bt_free(ret->span);
        *ret = (struct resv){0};
        if (start == PROFILE_NEVER)
            return false;
        from = start;
    }
    return false;
}

static bool right_holds(const struct plan_timeline *e, const struct eng_job *j,
                        const struct resv *r)
{
    const struct profile *right = right_of(e, j);
    return !right || profile_min(right, r->start, end_of(j, r->start)) >= (int32_t)r->acc;
}

bool eng_latest(struct plan_timeline *e, const struct eng_job *j, int32_t from, int32_t upto,
                struct resv *ret)
{
    const struct match *m = &e->matches[j->match];
    const struct window w = {.len = j->len, .from = from, .upto = upto};
    bool found = false;
    for (uint32_t i = 0; i < m->n_zones; i++) {
        uint32_t zone = e->match_zones[m->zone_off + i];
        struct need need = eng_need(&j->ask, j->ask.min_acc, e->fabric.zones[zone].acc);
        if (!zone_holds(&e->fabric.zones[zone], j, &need))
            continue;
        uint32_t berth;
        int32_t start = zone_slot(e, zone, &need, &w, true, &berth);
        if (start == PROFILE_NEVER || (found && start <= ret->start))
            continue;
        struct resv r;
        keep(&r, zone, &need, start, berth);
        if (!right_holds(e, j, &r))
            continue;
        *ret = r;
        found = true;
    }
    return found;
}

/* Whether its berth has room, or another at the same time, which is then its own. */
static bool berth_fits(const struct plan_timeline *e, const struct eng_job *j, struct resv *r)
{
    const struct berths *b = e->time[r->zone].berths;
    const struct window w = {.len = j->len, .from = r->start, .upto = r->start};
    struct berth_ask ask = berth_ask(e, r->zone, r->acc, &w);
    struct berth_slot s;
    if (berth_latest(b, r->berth, &ask) == r->start)
        return true;
    if (!berths_earliest(b, &ask, &s))
        return false;
    r->berth = s.berth;
    return true;
}

bool resv_fits(const struct plan_timeline *e, const struct eng_job *j, struct resv *r)
{
    int32_t end = end_of(j, r->start);
    if (!right_holds(e, j, r))
        return false;
    const struct zone_time *t = &e->time[r->zone];
    if (r->mode == RESV_BELOW)
        return berth_fits(e, j, r);
    if (r->mode == RESV_WHOLE)
        return profile_min(&t->whole, r->start, end) >= (int32_t)r->nodes &&
               (!t->n_below || profile_min(&t->acc, r->start, end) >= (int32_t)r->acc);
    int32_t ignored;
    for (uint32_t i = 0; i < r->n_span; i++)
        if (zone_left(e, r->span[i].zone, r->start, end, &ignored) < (int32_t)r->span[i].nodes)
            return false;
    return true;
}

bool eng_shift(struct plan_timeline *e, const struct eng_job *j, struct resv *r)
{
    if (r->mode != RESV_WHOLE && r->mode != RESV_BELOW)
        return false;
    struct need need = eng_need(&j->ask, j->ask.min_acc, e->fabric.zones[r->zone].acc);
    const struct zone_time *t = &e->time[r->zone];
    const struct window w = {.len = j->len, .from = r->start, .upto = j->promise};
    struct berth_ask ask = berth_ask(e, r->zone, need.acc, &w);
    int32_t start = need.below ? berth_latest(t->berths, r->berth, &ask)
                               : zone_latest(t, &need, j->len, r->start, j->promise);
    if (start == PROFILE_NEVER)
        return false;
    struct resv late = *r;
    late.start = start;
    if (!right_holds(e, j, &late))
        return false;
    r->start = start;
    return true;
}
