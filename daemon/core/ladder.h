/* ladder.h - values of many things in ascending order, so that a median costs nothing to ask for.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A sorted array: 12,500 values are 200 KB, a search is 14 steps and a change moves 100 KB on
 * average, which is microseconds; a tree would save nothing of a batch's millisecond. */
#ifndef BT_DAEMON_CORE_LADDER_H
#define BT_DAEMON_CORE_LADDER_H

#include <stdint.h>

struct rung {
    int64_t value;
    int32_t id; /* breaks ties */
};

struct ladder {
    struct rung *v; /* owned */
    uint32_t n, cap;
};

void ladder_done(struct ladder *o);
/* For many at once: ladder_add in any order, then ladder_sort. */
void ladder_add(struct ladder *o, int64_t value, int32_t id);
void ladder_sort(struct ladder *o);
void ladder_put(struct ladder *o, int64_t value, int32_t id);
/* Nothing happens when the pair is not there. */
void ladder_drop(struct ladder *o, int64_t value, int32_t id);
/* Mean of the two in the middle; 0 when there are fewer than `least` (at least 1). */
int64_t ladder_median(const struct ladder *o, uint32_t least);
/* How many are below 4/5 of m: the first of the others. */
uint32_t ladder_slow(const struct ladder *o, int64_t m);

/* Is it below 4/5 of a median? Never, when there is none (0). */
static inline int is_slow(int64_t value, int64_t median)
{
    return 5 * value < 4 * median;
}

#endif
