/* profile.h - free capacity over time: a step function that answers "when is there room?".
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Exact breakpoints instead of a fixed grid: no rounding, so a reservation that was valid stays
 * valid. Breakpoints lie in chunks of up to 64 with their smallest and largest value and a
 * common addend, so that adding over a long span and skipping what does not fit cost one step a
 * chunk. Times are seconds from an origin of the caller's. The value before the first breakpoint
 * holds from minus infinity, the last one for ever. */
#ifndef BT_SCHED_PROFILE_H
#define BT_SCHED_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROFILE_CHUNK = 64 };
#define PROFILE_NEVER INT32_MAX

struct profile_chunk {
    int32_t t[PROFILE_CHUNK]; /* rising; behind n: INT32_MAX */
    int32_t v[PROFILE_CHUNK]; /* value - base */
};

struct profile {
    struct profile_chunk *pool;
    /* by position in time */
    int32_t *first; /* t[0]; INT32_MIN for the first chunk */
    int32_t *lo, *hi, *base;
    uint32_t *n, *at; /* breakpoints; index in pool */
    uint32_t n_chunks, cap;
};

void profile_init(struct profile *p, int32_t value);
void profile_done(struct profile *p);
void profile_copy(struct profile *to, const struct profile *from); /* to: uninitialised */

/* Adds x over [from, until). */
void profile_add(struct profile *p, int32_t from, int32_t until, int32_t x);

int32_t profile_value(const struct profile *p, int32_t t);
int32_t profile_min(const struct profile *p, int32_t from, int32_t until);

/* The same, and in *ret_end where the last segment with that value ends. */
int32_t profile_min_end(const struct profile *p, int32_t from, int32_t until, int32_t *ret_end);

/* The first s in [from, upto] with at least `need` over [s, s + len); PROFILE_NEVER if none. */
int32_t profile_earliest(const struct profile *p, int32_t need, int32_t len, int32_t from,
                         int32_t upto);

/* The last s in [from, upto] with at least `need` over [s, s + len); PROFILE_NEVER if none. */
int32_t profile_latest(const struct profile *p, int32_t need, int32_t len, int32_t from,
                       int32_t upto);

/* Where the last segment with less than `need` that begins before `until` ends, if it ends after
 * `from`; else `from`. */
int32_t profile_lacks(const struct profile *p, int32_t need, int32_t from, int32_t until);

/* Whether there is `need` at t, and in *ret_until up to when that stays so. */
bool profile_open(const struct profile *p, int32_t need, int32_t t, int32_t *ret_until);

/* The first breakpoint after t; PROFILE_NEVER if there is none. */
int32_t profile_next(const struct profile *p, int32_t t);

/* Forgets what was before `now`. */
void profile_trim(struct profile *p, int32_t now);

size_t profile_bytes(const struct profile *p);

#endif
