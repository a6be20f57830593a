/* profile.c - a step function in chunks of 64 breakpoints.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sched/profile.h"

#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/mem.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct spot { /* a breakpoint: position of its chunk, index in it */
    uint32_t pos, i;
};

static void grow(struct profile *p, uint32_t cap)
{
    p->pool = bt_realloc(p->pool, cap, sizeof *p->pool);
    p->first = bt_realloc(p->first, cap, sizeof *p->first);
    p->lo = bt_realloc(p->lo, cap, sizeof *p->lo);
    p->hi = bt_realloc(p->hi, cap, sizeof *p->hi);
    p->base = bt_realloc(p->base, cap, sizeof *p->base);
    p->n = bt_realloc(p->n, cap, sizeof *p->n);
    p->at = bt_realloc(p->at, cap, sizeof *p->at);
    p->cap = cap;
}

static void chunk_clear(struct profile_chunk *c)
{
    for (int i = 0; i < PROFILE_CHUNK; i++) {
        c->t[i] = INT32_MAX;
        c->v[i] = 0;
    }
}

void profile_init(struct profile *p, int32_t value)
{
    *p = (struct profile){0};
    grow(p, 4);
    for (uint32_t i = 0; i < p->cap; i++)
        p->at[i] = i;
    chunk_clear(&p->pool[0]);
    p->pool[0].t[0] = INT32_MIN;
    p->first[0] = INT32_MIN;
    p->base[0] = p->lo[0] = p->hi[0] = value;
    p->n[0] = 1;
    p->n_chunks = 1;
}

void profile_done(struct profile *p)
{
    bt_free(p->pool);
    bt_free(p->first);
    bt_free(p->lo);
    bt_free(p->hi);
    bt_free(p->base);
    bt_free(p->n);
    bt_free(p->at);
    *p = (struct profile){0};
}

void profile_copy(struct profile *to, const struct profile *from)
{
    uint32_t k = from->n_chunks;
    *to = (struct profile){0};
    grow(to, k + 4);
    to->n_chunks = k;
    memcpy(to->first, from->first, k * sizeof *to->first);
    memcpy(to->lo, from->lo, k * sizeof *to->lo);
    memcpy(to->hi, from->hi, k * sizeof *to->hi);
    memcpy(to->base, from->base, k * sizeof *to->base);
    memcpy(to->n, from->n, k * sizeof *to->n);
    for (uint32_t i = 0; i < to->cap; i++)
        to->at[i] = i;
    for (uint32_t i = 0; i < k; i++)
        to->pool[i] = from->pool[from->at[i]];
}

size_t profile_bytes(const struct profile *p)
{
    return p->cap * (sizeof *p->pool + 4 * sizeof(int32_t) + 2 * sizeof(uint32_t));
}

/* The chunk that holds t. */
static uint32_t chunk_of(const struct profile *p, int32_t t)
{
    const int32_t *first = p->first;
    uint32_t low = 0;
    for (uint32_t n = p->n_chunks; n > 1;) {
        uint32_t half = n / 2;
        low += first[low + half] <= t ? half : 0;
        n -= half;
    }
    return low;
}

/* How many breakpoints of a chunk are <= t. */
static uint32_t count_le(const struct profile_chunk *c, int32_t t)
{
    uint32_t n = 0;
    for (int i = 0; i < PROFILE_CHUNK; i++)
        n += c->t[i] <= t;
    return n;
}

/* The last breakpoint <= t (t < INT32_MAX). */
static struct spot locate(const struct profile *p, int32_t t)
{
    uint32_t pos = chunk_of(p, t);
    return (struct spot){pos, count_le(&p->pool[p->at[pos]], t) - 1};
}

static inline struct profile_chunk *chunk_at(const struct profile *p, uint32_t pos)
{
    return &p->pool[p->at[pos]];
}

/* Where the segment of (pos, i) ends. */
static inline int32_t segment_end(const struct profile *p, uint32_t pos, uint32_t i)
{
    if (i + 1 < p->n[pos])
        return chunk_at(p, pos)->t[i + 1];
    return pos + 1 < p->n_chunks ? p->first[pos + 1] : PROFILE_NEVER;
}

static void refresh(struct profile *p, uint32_t pos)
{
    const struct profile_chunk *c = chunk_at(p, pos);
    int32_t lo = INT32_MAX, hi = INT32_MIN;
    uint32_t n = p->n[pos];
    for (uint32_t i = 0; i < n; i++) {
        lo = BT_MIN(lo, c->v[i]);
        hi = BT_MAX(hi, c->v[i]);
    }
    p->lo[pos] = p->base[pos] + lo;
    p->hi[pos] = p->base[pos] + hi;
    p->first[pos] = c->t[0];
}

/* Moves the per-position arrays so that position `pos` becomes free; its pool slot is a spare. */
static void open_position(struct profile *p, uint32_t pos)
{
    if (p->n_chunks == p->cap) {
        uint32_t old = p->cap;
        grow(p, old * 2);
        for (uint32_t i = old; i < p->cap; i++)
            p->at[i] = i;
    }
    uint32_t spare = p->at[p->n_chunks], move = p->n_chunks - pos;
    memmove(p->first + pos + 1, p->first + pos, move * sizeof *p->first);
    memmove(p->lo + pos + 1, p->lo + pos, move * sizeof *p->lo);
    memmove(p->hi + pos + 1, p->hi + pos, move * sizeof *p->hi);
    memmove(p->base + pos + 1, p->base + pos, move * sizeof *p->base);
    memmove(p->n + pos + 1, p->n + pos, move * sizeof *p->n);
    memmove(p->at + pos + 1, p->at + pos, move * sizeof *p->at);
    p->at[pos] = spare;
    p->n_chunks++;
}

static void close_positions(struct profile *p, uint32_t pos, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        uint32_t spare = p->at[pos], move = p->n_chunks - pos - 1;
        memmove(p->first + pos, p->first + pos + 1, move * sizeof *p->first);
        memmove(p->lo + pos, p->lo + pos + 1, move * sizeof *p->lo);
        memmove(p->hi + pos, p->hi + pos + 1, move * sizeof *p->hi);
        memmove(p->base + pos, p->base + pos + 1, move * sizeof *p->base);
        memmove(p->n + pos, p->n + pos + 1, move * sizeof *p->n);
        memmove(p->at + pos, p->at + pos + 1, move * sizeof *p->at);
        p->n_chunks--;
        p->at[p->n_chunks] = spare;
    }
}

static void split(struct profile *p, uint32_t pos)
{
    enum { HALF = PROFILE_CHUNK / 2 };
    open_position(p, pos + 1);
    struct profile_chunk *a = chunk_at(p, pos), *b = chunk_at(p, pos + 1);
    chunk_clear(b);
    memcpy(b->t, a->t + HALF, HALF * sizeof *b->t);
    memcpy(b->v, a->v + HALF, HALF * sizeof *b->v);
    for (int i = HALF; i < PROFILE_CHUNK; i++)
        a->t[i] = INT32_MAX;
    p->n[pos] = p->n[pos + 1] = HALF;
    p->base[pos + 1] = p->base[pos];
    refresh(p, pos);
    refresh(p, pos + 1);
}

/* Makes t a breakpoint and returns it. *other, a breakpoint before t, keeps pointing at its own. */
static struct spot cut(struct profile *p, int32_t t, struct spot *other)
{
    struct spot s = locate(p, t);
    struct profile_chunk *c = chunk_at(p, s.pos);
    if (c->t[s.i] == t)
        return s;
    if (p->n[s.pos] == PROFILE_CHUNK) {
        split(p, s.pos);
        if (other->pos == s.pos && other->i >= PROFILE_CHUNK / 2) {
            other->pos++;
            other->i -= PROFILE_CHUNK / 2;
        }
        if (s.i >= PROFILE_CHUNK / 2) {
            s.pos++;
            s.i -= PROFILE_CHUNK / 2;
        }
        c = chunk_at(p, s.pos);
    }
    uint32_t n = p->n[s.pos], move = n - s.i - 1;
    memmove(c->t + s.i + 2, c->t + s.i + 1, move * sizeof *c->t);
    memmove(c->v + s.i + 2, c->v + s.i + 1, move * sizeof *c->v);
    c->t[s.i + 1] = t;
    c->v[s.i + 1] = c->v[s.i];
    p->n[s.pos] = n + 1;
    s.i++;
    return s;
}

/* Removes a breakpoint if its value equals the one before. */
static void join(struct profile *p, struct spot s)
{
    struct profile_chunk *c = chunk_at(p, s.pos);
    if (s.pos == 0 && s.i == 0)
        return;
    int32_t here = p->base[s.pos] + c->v[s.i];
    int32_t before = s.i ? p->base[s.pos] + c->v[s.i - 1]
                         : p->base[s.pos - 1] + chunk_at(p, s.pos - 1)->v[p->n[s.pos - 1] - 1];
    if (here != before)
        return;
    uint32_t n = p->n[s.pos];
    if (n == 1) {
        close_positions(p, s.pos, 1);
        return;
    }
    memmove(c->t + s.i, c->t + s.i + 1, (n - s.i - 1) * sizeof *c->t);
    memmove(c->v + s.i, c->v + s.i + 1, (n - s.i - 1) * sizeof *c->v);
    c->t[n - 1] = INT32_MAX;
    p->n[s.pos] = n - 1;
    if (s.i == 0)
        refresh(p, s.pos); /* its value was the last of another chunk, and perhaps of none here */
}

static void add_within(struct profile *p, uint32_t pos, uint32_t from, uint32_t until, int32_t x)
{
    int32_t *v = chunk_at(p, pos)->v;
    for (uint32_t i = from; i < until; i++)
        v[i] += x;
    refresh(p, pos);
}

void profile_add(struct profile *p, int32_t from, int32_t until, int32_t x)
{
    if (from >= until || x == 0)
        return;
    struct spot none = {UINT32_MAX, 0}, a = cut(p, from, &none), b = {p->n_chunks, 0};
    if (until < PROFILE_NEVER)
        b = cut(p, until, &a);
    else
        b.pos = p->n_chunks;
    if (a.pos == b.pos) {
        add_within(p, a.pos, a.i, b.i, x);
    } else {
        add_within(p, a.pos, a.i, p->n[a.pos], x);
        for (uint32_t k = a.pos + 1; k < b.pos; k++) {
            p->base[k] += x;
            p->lo[k] += x;
            p->hi[k] += x;
        }
        if (b.pos < p->n_chunks && b.i)
            add_within(p, b.pos, 0, b.i, x);
    }
    if (b.pos < p->n_chunks)
        join(p, b);
    join(p, a);
}

int32_t profile_value(const struct profile *p, int32_t t)
{
    struct spot s = locate(p, t);
    return p->base[s.pos] + chunk_at(p, s.pos)->v[s.i];
}

int32_t profile_next(const struct profile *p, int32_t t)
{
    if (t >= PROFILE_NEVER)
        return PROFILE_NEVER;
    struct spot s = locate(p, t);
    return segment_end(p, s.pos, s.i);
}

/* Bit i: v[i] < limit. Bits behind the chunk's end are undefined. */
static uint64_t below(const int32_t *v, int32_t limit)
{
    uint64_t bits = 0;
#ifdef __SSE2__
    __m128i k = _mm_set1_epi32(limit);
    for (int i = 0; i < PROFILE_CHUNK; i += 16) {
        const __m128i *q = (const __m128i *)(const void *)(v + i);
        __m128i a = _mm_cmplt_epi32(_mm_loadu_si128(q), k);
        __m128i b = _mm_cmplt_epi32(_mm_loadu_si128(q + 1), k);
        __m128i c = _mm_cmplt_epi32(_mm_loadu_si128(q + 2), k);
        __m128i d = _mm_cmplt_epi32(_mm_loadu_si128(q + 3), k);
        __m128i all = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
        bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(all) << i;
    }
#else
    for (int i = 0; i < PROFILE_CHUNK; i++)
        bits |= (uint64_t)(v[i] < limit) << i;
#endif
    return bits;
}

static inline uint64_t low_bits(uint32_t n)
{
    return n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

bool profile_open(const struct profile *p, int32_t need, int32_t t, int32_t *ret_until)
{
    struct spot s = locate(p, t);
    bool open = p->base[s.pos] + chunk_at(p, s.pos)->v[s.i] >= need;
    uint64_t before = low_bits(s.i + 1);
    for (uint32_t pos = s.pos; pos < p->n_chunks; pos++) {
        if (open ? p->lo[pos] < need : p->hi[pos] >= need) {
            const struct profile_chunk *c = chunk_at(p, pos);
            uint64_t less = below(c->v, need - p->base[pos]);
            uint64_t other = (open ? less : ~less) & low_bits(p->n[pos]) & ~before;
            if (other) {
                *ret_until = c->t[__builtin_ctzll(other)];
                return open;
            }
        }
        before = 0;
    }
    *ret_until = PROFILE_NEVER;
    return open;
}

int32_t profile_lacks(const struct profile *p, int32_t need, int32_t from, int32_t until)
{
    if (from >= until)
        return from;
    struct spot s = locate(p, until - 1);
    uint32_t last = s.i;
    for (uint32_t pos = s.pos + 1; pos-- > 0;) {
        uint64_t less = p->lo[pos] < need
                            ? below(chunk_at(p, pos)->v, need - p->base[pos]) & low_bits(last + 1)
                            : 0;
        if (less) {
            int32_t end = segment_end(p, pos, 63 - (uint32_t)__builtin_clzll(less));
            return BT_MAX(end, from);
        }
        if (pos == 0 || p->first[pos] <= from)
            return from;
        last = p->n[pos - 1] - 1;
    }
    return from;
}

/* The breakpoints of a chunk, from index i on, that begin before `until`: their least value
 * (without base) and their bits. */
static int32_t chunk_min(const struct profile *p, uint32_t pos, uint32_t i, int32_t until,
                         uint64_t *ret_bits)
{
    const struct profile_chunk *c = chunk_at(p, pos);
    uint32_t n = p->n[pos];
    if (c->t[n - 1] >= until)
        n = BT_MAX(count_le(c, until - 1), i + 1);
    *ret_bits = low_bits(n) & ~low_bits(i);
    if (i == 0 && n == p->n[pos])
        return p->lo[pos] - p->base[pos];
    int32_t least = c->v[i];
    for (uint32_t k = i + 1; k < n; k++)
        least = BT_MIN(least, c->v[k]);
    return least;
}

int32_t profile_min(const struct profile *p, int32_t from, int32_t until)
{
    if (from >= until)
        return INT32_MAX;
    struct spot s = locate(p, from);
    int32_t least = INT32_MAX;
    for (uint32_t pos = s.pos; pos < p->n_chunks && (pos == s.pos || p->first[pos] < until);
         pos++) {
        uint64_t bits;
        if (p->lo[pos] < least)
            least = BT_MIN(least,
                           p->base[pos] + chunk_min(p, pos, pos == s.pos ? s.i : 0, until, &bits));
    }
    return least;
}

int32_t profile_min_end(const struct profile *p, int32_t from, int32_t until, int32_t *ret_end)
{
    struct spot s = locate(p, from);
    int32_t least = INT32_MAX;
    uint32_t at_pos = s.pos;
    uint64_t at_bits = 0;
    for (uint32_t pos = s.pos; pos < p->n_chunks && (pos == s.pos || p->first[pos] < until);
         pos++) {
        if (p->lo[pos] > least)
            continue;
        uint64_t bits;
        int32_t here = p->base[pos] + chunk_min(p, pos, pos == s.pos ? s.i : 0, until, &bits);
        if (here > least)
            continue;
        least = here;
        at_pos = pos;
        at_bits = bits;
    }
    at_bits &= below(chunk_at(p, at_pos)->v, least - p->base[at_pos] + 1);
    *ret_end = segment_end(p, at_pos, 63 - (uint32_t)__builtin_clzll(at_bits));
    return least;
}

int32_t profile_earliest(const struct profile *p, int32_t need, int32_t len, int32_t from,
                         int32_t upto)
{
    if (from > upto || from >= PROFILE_NEVER)
        return PROFILE_NEVER;
    struct spot s = locate(p, from);
    int32_t start = from;
    uint32_t i = s.i;
    for (uint32_t pos = s.pos; pos < p->n_chunks; pos++, i = 0) {
        int32_t end = pos + 1 < p->n_chunks ? p->first[pos + 1] : PROFILE_NEVER;
        if (p->hi[pos] < need) {
            start = end;
        } else if (p->lo[pos] < need) {
            const struct profile_chunk *c = chunk_at(p, pos);
            uint64_t bad = below(c->v, need - p->base[pos]) & low_bits(p->n[pos]);
            for (bad &= ~low_bits(i); bad; bad &= bad - 1) {
                uint32_t k = (uint32_t)__builtin_ctzll(bad);
                int32_t at = c->t[k];
                if (at > start && at - start >= len)
                    return start;
                start = k + 1 < p->n[pos] ? c->t[k + 1] : end;
                if (start > upto)
                    return PROFILE_NEVER;
            }
        }
        if (start > upto || start == PROFILE_NEVER)
            return PROFILE_NEVER;
        if (end - start >= len)
            return start;
    }
    return start; /* the last value holds for ever */
}

int32_t profile_latest(const struct profile *p, int32_t need, int32_t len, int32_t from,
                       int32_t upto)
{
    if (from > upto)
        return PROFILE_NEVER;
    int64_t want = (int64_t)upto + len;
    int32_t end = want < PROFILE_NEVER ? (int32_t)want : PROFILE_NEVER; /* of the free run */
    if (end - len < from)
        return PROFILE_NEVER;
    struct spot s = locate(p, end - 1);
    uint32_t last = s.i;
    for (uint32_t pos = s.pos + 1; pos-- > 0;) {
        if (p->lo[pos] < need) {
            const struct profile_chunk *c = chunk_at(p, pos);
            uint64_t bad = below(c->v, need - p->base[pos]) & low_bits(last + 1);
            while (bad) {
                uint32_t k = 63 - (uint32_t)__builtin_clzll(bad);
                int32_t run = k + 1 < p->n[pos]       ? c->t[k + 1]
                              : pos + 1 < p->n_chunks ? p->first[pos + 1]
                                                      : PROFILE_NEVER;
                if (end - len >= run)
                    return end - len;
                end = c->t[k];
                if (end < from || end - len < from)
                    return PROFILE_NEVER;
                bad &= ~(UINT64_C(1) << k);
            }
        }
        if (pos == 0 || end - len >= p->first[pos])
            return end - len;
        last = p->n[pos - 1] - 1;
    }
    return PROFILE_NEVER;
}

void profile_trim(struct profile *p, int32_t now)
{
    struct spot s = locate(p, now);
    if (s.pos)
        close_positions(p, 0, s.pos);
    struct profile_chunk *c = chunk_at(p, 0);
    uint32_t n = p->n[0] - s.i;
    memmove(c->t, c->t + s.i, n * sizeof *c->t);
    memmove(c->v, c->v + s.i, n * sizeof *c->v);
    for (uint32_t i = n; i < p->n[0]; i++)
        c->t[i] = INT32_MAX;
    c->t[0] = INT32_MIN;
    p->n[0] = n;
    refresh(p, 0);
}
