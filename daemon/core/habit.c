/* habit.c - how much of their walltime people's jobs use, for the earliest end of one that runs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/time.h"

enum { HABIT_LEAST = 4 /* jobs; of fewer nothing is said */, WHOLE = 255 };

static uint8_t lower_quartile(const uint8_t *v, int n)
{
    uint8_t sorted[HABIT_JOBS] = {0};

    for (int i = 0; i < n; i++) {
        int k = i;

        for (; k > 0 && sorted[k - 1] > v[i]; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = v[i];
    }
    return sorted[n / 4];
}

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
    if (h->n >= HABIT_LEAST)
        h->usual = lower_quartile(h->used, BT_MIN(h->n, HABIT_JOBS));
}

int64_t habit_us(const struct core *c, const struct job *j)
{
    return j->walltime_s * BT_US_PER_S * c->persons[j->person - 1].habit.usual / WHOLE;
}
