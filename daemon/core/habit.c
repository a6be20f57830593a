/* habit.c - how much of their walltime people's jobs use, for the earliest end of one that runs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/time.h"

enum { HABIT_LEAST = 4 /* jobs; of fewer nothing is said */, WHOLE = 255 };

void habit_note(struct core *c, const struct job *j)
{
    struct habit *h = &c->persons[j->person - 1].habit;
    int64_t ran = j->end_us - j->start_us, may = j->walltime_s * BT_US_PER_S;

    if (!j->start_us || ran < 0 || may <= 0 ||
        (j->state != JOB_COMPLETED && j->state != JOB_FAILED && j->state != JOB_TIMEOUT))
        return;
    h->used[h->n++ % HABIT_JOBS] = (uint8_t)BT_MIN((ran * WHOLE + may - 1) / may, WHOLE);
    if (h->n >= 2 * HABIT_JOBS)
        h->n -= HABIT_JOBS;
}

static int by_share(const void *x, const void *y)
{
    return (int)*(const uint8_t *)x - (int)*(const uint8_t *)y;
}

int64_t habit_us(const struct core *c, const struct job *j)
{
    const struct habit *h = &c->persons[j->person - 1].habit;
    uint8_t used[HABIT_JOBS];
    size_t n = BT_MIN(h->n, HABIT_JOBS);

    if (n < HABIT_LEAST)
        return 0;
    memcpy(used, h->used, n);
    qsort(used, n, 1, by_share);
    return j->walltime_s * BT_US_PER_S * used[n / 4] / WHOLE;
}
