/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/core/ladder.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

void ladder_done(struct ladder *o)
{
    bt_free(o->v);
    *o = (struct ladder){0};
}

void ladder_add(struct ladder *o, int64_t value, int32_t id)
{
    BT_GROW(o->v, o->n, o->cap);
    o->v[o->n++] = (struct rung){value, id};
}

static int by_value(const void *a, const void *b)
{
    const struct rung *x = a, *y = b;

    return x->value == y->value ? (x->id > y->id) - (x->id < y->id) : x->value < y->value ? -1 : 1;
}

void ladder_sort(struct ladder *o)
{
    if (o->n)
        qsort(o->v, o->n, sizeof *o->v, by_value);
}

/* Where the pair is or would be. */
static uint32_t place_of(const struct ladder *o, int64_t value, int32_t id)
{
    uint32_t low = 0, high = o->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct rung *at = &o->v[mid];

        if (at->value < value || (at->value == value && at->id < id))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void ladder_put(struct ladder *o, int64_t value, int32_t id)
{
    uint32_t at = place_of(o, value, id);

    BT_GROW(o->v, o->n, o->cap);
    memmove(&o->v[at + 1], &o->v[at], (o->n - at) * sizeof *o->v);
    o->v[at] = (struct rung){value, id};
    o->n++;
}

void ladder_drop(struct ladder *o, int64_t value, int32_t id)
{
    uint32_t at = place_of(o, value, id);

    if (at == o->n || o->v[at].value != value || o->v[at].id != id)
        return;
    o->n--;
    memmove(&o->v[at], &o->v[at + 1], (o->n - at) * sizeof *o->v);
}

int64_t ladder_median(const struct ladder *o, uint32_t least)
{
    if (!o->n || o->n < least)
        return 0;
    return (o->v[(o->n - 1) / 2].value + o->v[o->n / 2].value) / 2;
}

uint32_t ladder_slow(const struct ladder *o, int64_t m)
{
    uint32_t low = 0, high = o->n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (is_slow(o->v[mid].value, m))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}
