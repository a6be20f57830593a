/* berth.c - nodes shared by jobs below a node: step functions of a few steps each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sched/berth.h"

#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/mem.h"

enum {
    TRIED = 64, /* berths compared that begin at the same time */
};

void berths_init(struct berths *b, uint32_t acc)
{
    *b = (struct berths){.acc = acc};
}

void berths_done(struct berths *b)
{
    for (uint32_t i = 0; i < b->n; i++)
        bt_free(b->v[i].v);
    bt_free(b->v);
    bt_free(b->room);
    bt_free(b->whole);
    *b = (struct berths){0};
}

size_t berths_bytes(const struct berths *b)
{
    size_t n = b->n_whole * sizeof *b->whole + b->cap * (sizeof *b->v + b->acc * sizeof *b->room);
    for (uint32_t i = 0; i < b->n; i++)
        n += b->v[i].cap * sizeof *b->v[i].v;
    return n;
}

void berths_take(struct berths *b, struct profile *whole)
{
    b->whole = bt_realloc(b->whole, b->n_whole + 1, sizeof *b->whole);
    b->whole[b->n_whole++] = whole;
}

uint32_t berth_append(struct berths *b)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 4;
        b->v = bt_realloc(b->v, b->cap, sizeof *b->v);
        b->room = bt_realloc(b->room, (size_t)b->cap * b->acc, sizeof *b->room);
    }
    b->v[b->n] = (struct berth){.slot = BERTH_NONE, .until = INT32_MIN};
    for (uint32_t k = 0; k < b->acc; k++)
        b->room[(size_t)b->n * b->acc + k] = INT32_MIN;
    return b->n++;
}

static bool is_empty(const struct berth *x)
{
    return x->n <= 1 && x->slot == BERTH_NONE;
}

uint32_t berth_empty(struct berths *b)
{
    while (b->low < b->n && !is_empty(&b->v[b->low]))
        b->low++;
    return b->low < b->n ? b->low : berth_append(b);
}

uint32_t berth_after(struct berths *b, int32_t from)
{
    for (uint32_t k = 0; k < BT_MIN(b->n, (uint32_t)TRIED); k++) {
        uint32_t i = b->turn < b->n ? b->turn : 0;
        b->turn = i + 1;
        if (b->v[i].slot != BERTH_NONE && b->v[i].until <= from)
            return i;
    }
    return berth_empty(b);
}

void berth_bind(struct berths *b, uint32_t berth, uint32_t slot)
{
    b->v[berth].slot = slot;
    if (is_empty(&b->v[berth]))
        b->low = BT_MIN(b->low, berth);
}

/* ---- one berth ---- */

/* The step that holds t. */
static uint32_t step_at(const struct berth *x, int32_t t)
{
    uint32_t low = 0;
    for (uint32_t n = x->n; n > 1;) {
        uint32_t half = n / 2;
        low += x->v[low + half].t <= t ? half : 0;
        n -= half;
    }
    return low;
}

static int32_t step_end(const struct berth *x, uint32_t i)
{
    return i + 1 < x->n ? x->v[i + 1].t : PROFILE_NEVER;
}

/* Makes t a step and returns it. */
static uint32_t cut(struct berth *x, int32_t t)
{
    uint32_t i = step_at(x, t);
    if (x->v[i].t == t)
        return i;
    BT_GROW(x->v, x->n, x->cap);
    memmove(x->v + i + 2, x->v + i + 1, (x->n - i - 1) * sizeof *x->v);
    x->v[i + 1] = (struct berth_step){t, x->v[i].used};
    x->n++;
    return i + 1;
}

/* Removes a step that uses as many as the one before. */
static void join(struct berth *x, uint32_t i)
{
    if (i == 0 || i >= x->n || x->v[i].used != x->v[i - 1].used)
        return;
    memmove(x->v + i, x->v + i + 1, (x->n - i - 1) * sizeof *x->v);
    x->n--;
}

static void note_room(struct berths *b, uint32_t berth)
{
    struct berth *x = &b->v[berth];
    x->until = x->v[x->n - 1].t;
    int32_t *room = b->room + (size_t)berth * b->acc;
    uint32_t k = 0;
    for (uint32_t i = 0; i < x->n && k < b->acc; i++)
        for (; k < b->acc && (int32_t)k <= (int32_t)b->acc - x->v[i].used; k++)
            room[k] = x->v[i].t;
}

void berth_add(struct berths *b, uint32_t berth, int32_t from, int32_t until, int32_t x)
{
    struct berth *y = &b->v[berth];
    if (from >= until || x == 0)
        return;
    if (!y->n) {
        BT_GROW(y->v, y->n, y->cap);
        y->v[y->n++] = (struct berth_step){INT32_MIN, 0};
    }
    uint32_t i = cut(y, from), end = cut(y, until), first = i;
    int32_t since = from;
    for (int sign = 0; i <= end; i++) { /* runs that become used or empty */
        int now = 0;
        if (i < end) {
            bool was = y->v[i].used > 0;
            y->v[i].used += x;
            now = (int)was - (int)(y->v[i].used > 0);
        }
        if (now == sign)
            continue;
        for (uint32_t k = 0; k < b->n_whole; k++)
            profile_add(b->whole[k], since, y->v[i].t, sign);
        since = y->v[i].t;
        sign = now;
    }
    join(y, end);
    join(y, first);
    note_room(b, berth);
    if (is_empty(y))
        b->low = BT_MIN(b->low, berth);
}

bool berth_holds(const struct berths *b, uint32_t berth, int32_t from)
{
    const struct berth *x = &b->v[berth];
    for (uint32_t i = x->n ? step_at(x, from) : 0; i < x->n; i++)
        if (x->v[i].used > (int32_t)b->acc)
            return false;
    return true;
}

/* Whether a berth has room for [from, from + len), of which it is empty for *ret_alone. */
static bool free_at(const struct berth *x, int32_t most, int32_t from, int32_t len,
                    int32_t *ret_alone)
{
    int32_t until = (int32_t)BT_MIN((int64_t)from + len, PROFILE_NEVER - 1), alone = 0;
    for (uint32_t i = step_at(x, from); i < x->n && x->v[i].t < until; i++) {
        if (x->v[i].used > most)
            return false;
        if (x->v[i].used == 0)
            alone += BT_MIN(until, step_end(x, i)) - BT_MAX(from, x->v[i].t);
    }
    *ret_alone = alone;
    return true;
}

/* The first run of `len` from `from` on with room in the berth, and a node where it is empty;
 * PROFILE_NEVER if it begins after upto. Runs during which it is empty throughout are passed over:
 * a berth of its own is as good. So one that begins while it is empty must last beyond that. */
static int32_t run_free(const struct berth *x, int32_t most, const struct berth_ask *ask,
                        int32_t from, int32_t upto)
{
    int32_t run = from;
    for (uint32_t i = step_at(x, from); i < x->n && run <= upto; i++) {
        int32_t a = x->v[i].t, z = step_end(x, i);
        int32_t until = (int32_t)BT_MIN(z, (int64_t)run + ask->len);
        if (x->v[i].used > most) {
            run = z;
            continue;
        }
        if (x->v[i].used == 0 && (run >= a || profile_lacks(ask->whole, 1, a, until) > a)) {
            if (z == PROFILE_NEVER)
                return z;
            a = (int32_t)BT_MAX(BT_MAX(run, a), z - (int64_t)ask->len + 1);
            run = a > upto ? a : BT_MIN(profile_lacks(ask->whole, 1, a, z), z);
            continue;
        }
        if (z - (int64_t)run >= ask->len)
            return run;
    }
    return PROFILE_NEVER;
}

static int32_t one_earliest(const struct berths *b, const struct berth *x,
                            const struct berth_ask *ask, int32_t upto, int32_t *ret_alone)
{
    int32_t most = (int32_t)(b->acc - ask->n_acc), start = ask->from;
    if (start <= ask->now && (x->slot == BERTH_NONE ? !ask->fresh : x->held > (uint32_t)most))
        start = ask->now + 1;
    for (;;) {
        start = run_free(x, most, ask, start, upto);
        if (start == PROFILE_NEVER)
            return start;
        int32_t both = profile_earliest(ask->acc, (int32_t)ask->n_acc, ask->len, start, upto);
        if (both == start)
            free_at(x, most, start, ask->len, ret_alone);
        if (both == start || both == PROFILE_NEVER)
            return both;
        start = both;
    }
}

/* ---- all of a zone ---- */

static uint32_t left_at(const struct berths *b, const struct berth *x, int32_t t)
{
    return b->acc - (uint32_t)x->v[step_at(x, t)].used;
}

static bool better(const struct berth_slot *a, const struct berth_slot *than)
{
    if (a->start != than->start)
        return a->start < than->start;
    return a->alone != than->alone ? a->alone < than->alone : a->left < than->left;
}

/* A time that lies in every slot which begins before `own` (when a node is free for as long) and in
 * [from, upto], and at which no node is free: the berth must be in use then. `own` if nothing can
 * begin before; INT32_MIN if no such time is known. */
static int32_t pin_of(const struct berth_ask *ask, int32_t own)
{
    int64_t end = (int64_t)ask->from + ask->len; /* of the first of these slots */
    int32_t until;
    if (own == ask->from) /* none begins earlier */
        return own;
    if (own <= ask->upto)
        return end >= own ? own - 1 : INT32_MIN;
    if (end <= ask->upto)
        return INT32_MIN;
    if (!profile_open(ask->whole, 1, ask->upto, &until))
        return ask->upto;
    return until < end ? until : INT32_MIN;
}

/* The earliest in one berth; at `own` it does without a look at the zone's nodes. */
static int32_t one_pinned(const struct berths *b, const struct berth *x,
                          const struct berth_ask *ask, int32_t own, int32_t pin, int32_t *ret_alone)
{
    int32_t most = (int32_t)(b->acc - ask->n_acc);
    if (pin != INT32_MIN) {
        int32_t used = pin < own ? x->v[step_at(x, pin)].used : 0;
        if (used == 0 || used > most)
            return ask->upto >= own && (own > ask->now || (int32_t)x->held <= most) &&
                           free_at(x, most, own, ask->len, ret_alone)
                       ? own
                       : PROFILE_NEVER;
    }
    return one_earliest(b, x, ask, ask->upto, ret_alone);
}

bool berths_earliest(const struct berths *b, const struct berth_ask *ask, struct berth_slot *ret)
{
    struct berth_ask a = *ask;
    a.from = profile_earliest(a.acc, (int32_t)a.n_acc, a.len, a.from, a.upto);
    if (a.from == PROFILE_NEVER)
        return false;
    struct berth_slot best = {.berth = BERTH_NONE, .alone = a.len, .left = b->acc};
    int32_t own = a.from <= a.now && !a.fresh ? a.now + 1 : a.from;
    best.start = own = profile_earliest(a.whole, 1, a.len, own, a.upto);
    int32_t pin = pin_of(&a, own);
    a.upto = BT_MIN(own, a.upto);
    const int32_t *room = b->room + a.n_acc;
    for (uint32_t i = 0, same = 0; i < b->n && same < TRIED; i++, room += b->acc) {
        const struct berth *x = &b->v[i];
        if (*room > a.upto || x->until <= a.from)
            continue;
        struct berth_slot s = {.berth = i};
        s.start = one_pinned(b, x, &a, own, pin, &s.alone);
        if (s.start == PROFILE_NEVER)
            continue;
        s.left = left_at(b, x, s.start);
        same = s.start < best.start ? 1 : same + 1;
        if (better(&s, &best))
            best = s;
        a.upto = best.start;
    }
    *ret = best;
    return best.start != PROFILE_NEVER;
}

/* The last run of `len` in [.., upto] with at most `most` used; PROFILE_NEVER if before `from`. */
static int32_t run_free_back(const struct berth *x, int32_t most, int32_t len, int32_t from,
                             int32_t upto)
{
    int64_t end = (int64_t)upto + len;
    for (uint32_t i = step_at(x, (int32_t)BT_MIN(end - 1, PROFILE_NEVER - 1)) + 1; i-- > 0;) {
        if (x->v[i].used > most)
            end = x->v[i].t;
        if (end - len < from)
            return PROFILE_NEVER;
        if (x->v[i].t <= end - len)
            return (int32_t)(end - len);
    }
    return PROFILE_NEVER;
}

/* Whether a node of the zone is free wherever the berth is empty in [from, until); if not, *ret_end
 * is the last end at which that may be. */
static bool has_node_back(const struct berth *x, const struct profile *whole, int32_t from,
                          int32_t until, int32_t *ret_end)
{
    for (uint32_t i = step_at(x, from); i < x->n && x->v[i].t < until; i++) {
        int32_t a = BT_MAX(from, x->v[i].t), z = BT_MIN(until, step_end(x, i)), open_until;
        if (x->v[i].used > 0 || profile_min(whole, a, z) >= 1)
            continue;
        *ret_end = profile_open(whole, 1, a, &open_until) ? open_until : a;
        return false;
    }
    return true;
}

static int32_t own_latest(const struct berth_ask *ask)
{
    int32_t upto = ask->upto;
    for (;;) {
        int32_t start = profile_latest(ask->whole, 1, ask->len, ask->from, upto);
        if (start == PROFILE_NEVER)
            return start;
        upto = profile_latest(ask->acc, (int32_t)ask->n_acc, ask->len, ask->from, start);
        if (upto == start || upto == PROFILE_NEVER)
            return upto;
    }
}

int32_t berth_latest(const struct berths *b, uint32_t berth, const struct berth_ask *ask)
{
    const struct berth *x = berth == BERTH_NONE ? NULL : &b->v[berth];
    int32_t upto = ask->upto, end;
    if (!x || x->n <= 1)
        return own_latest(ask);
    for (;;) {
        upto = run_free_back(x, (int32_t)(b->acc - ask->n_acc), ask->len, ask->from, upto);
        if (upto == PROFILE_NEVER)
            return upto;
        int32_t until = (int32_t)BT_MIN((int64_t)upto + ask->len, PROFILE_NEVER - 1);
        if (!has_node_back(x, ask->whole, upto, until, &end)) {
            if (end - ask->len < ask->from)
                return PROFILE_NEVER;
            upto = end - ask->len;
            continue;
        }
        int32_t both = profile_latest(ask->acc, (int32_t)ask->n_acc, ask->len, ask->from, upto);
        if (both == upto || both == PROFILE_NEVER)
            return both;
        upto = both;
    }
}

bool berths_latest(const struct berths *b, const struct berth_ask *ask, struct berth_slot *ret)
{
    struct berth_ask a = *ask;
    int32_t best = berth_latest(b, BERTH_NONE, &a);
    ret->berth = BERTH_NONE;
    for (uint32_t i = 0; i < b->n && (best == PROFILE_NEVER || best < ask->upto); i++) {
        if (b->v[i].n <= 1)
            continue;
        if (best != PROFILE_NEVER)
            a.from = best + 1;
        int32_t start = berth_latest(b, i, &a);
        if (start == PROFILE_NEVER)
            continue;
        best = start;
        ret->berth = i;
    }
    ret->start = best;
    return best != PROFILE_NEVER;
}

void berths_trim(struct berths *b, int32_t now)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct berth *x = &b->v[i];
        uint32_t at = x->n > 1 ? step_at(x, now) : 0;
        if (!at)
            continue;
        memmove(x->v, x->v + at, (x->n - at) * sizeof *x->v);
        x->n -= at;
        x->v[0].t = INT32_MIN;
        note_room(b, i);
        if (is_empty(x))
            b->low = BT_MIN(b->low, i);
    }
}
