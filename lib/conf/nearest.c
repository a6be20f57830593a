/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/conf/nearest.h"

#include <stdbool.h>
#include <string.h>

#include "lib/base/attr.h"

enum { NEAREST_MAX = 64 };

static char plain(char c)
{
    return c == '-' ? '_' : c;
}

static size_t cut(const char *s)
{
    return strnlen(s, NEAREST_MAX - 1);
}

unsigned conf_distance(const char *a, const char *b)
{
    unsigned rows[3][NEAREST_MAX];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    size_t n = cut(a), m = cut(b);

    for (size_t j = 0; j <= m; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            bool same = plain(a[i - 1]) == plain(b[j - 1]);
            unsigned cost = last[j - 1] + !same;

            cost = BT_MIN(cost, last[j] + 1);
            cost = BT_MIN(cost, now[j - 1] + 1);
            if (i > 1 && j > 1 && plain(a[i - 1]) == plain(b[j - 2]) &&
                plain(a[i - 2]) == plain(b[j - 1]))
                cost = BT_MIN(cost, before[j - 2] + 1);
            now[j] = cost;
        }
        unsigned *old = before;
        before = last;
        last = now;
        now = old;
    }
    return last[m];
}

void conf_nearest_offer(struct conf_nearest *n, const char *asked, const char *candidate)
{
    size_t len = cut(asked);
    unsigned cost = conf_distance(asked, candidate);
    unsigned limit = len < 4 ? 1 : len < 8 ? 2 : 3;

    /* A beginning counts as near: --accel means --accelerators. */
    if (len >= 3 && !strncmp(asked, candidate, len))
        cost = 1;
    if (cost <= limit && (!n->best || cost < n->cost)) {
        n->best = candidate;
        n->cost = cost;
    }
}
