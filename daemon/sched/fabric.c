/* fabric.c - free nodes as bitmaps: taking, giving and the tightest fit.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/sched/fabric.h"

#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/mem.h"

enum { NODES_TRIED = 64 }; /* partly free nodes compared for a job below a node */

void fab_done(struct fabric *f)
{
    bt_free(f->kinds);
    bt_free(f->zones);
    bt_free(f->racks);
    bt_free(f->by_free);
    bt_free(f->whole);
    bt_free(f->free_mask);
    bt_free(f->usable);
    bt_free(f->until);
    bt_free(f->node_of);
    bt_free(f->slot_of);
    bt_free(f->windows);
    bt_free(f->window_off);
    *f = (struct fabric){0};
}

void fab_picks_add(struct fab_picks *p, uint32_t rack, uint64_t nodes, uint64_t mask)
{
    BT_GROW(p->v, p->n, p->cap);
    p->v[p->n++] = (struct fab_pick){.rack = rack, .nodes = nodes, .mask = mask};
}

void fab_picks_done(struct fab_picks *p)
{
    bt_free(p->v);
    *p = (struct fab_picks){0};
}

size_t fab_bytes(const struct fabric *f)
{
    size_t slots = (size_t)f->n_racks * FAB_RACK;
    return f->n_kinds * sizeof *f->kinds + f->n_zones * sizeof *f->zones +
           f->n_racks * (sizeof *f->racks + f->stride * sizeof *f->by_free + 1) +
           slots * (2 * sizeof(uint64_t) + sizeof(int32_t) + sizeof(uint32_t)) +
           f->n_nodes * sizeof *f->slot_of;
}

static uint64_t low_nodes(uint64_t m, uint32_t n)
{
    uint64_t taken = 0;
    for (; n; n--) {
        uint64_t bit = m & -m;
        taken |= bit;
        m ^= bit;
    }
    return taken;
}

static struct fab_zone *next_twin(struct fabric *f, const struct fab_zone *z)
{
    return z->twin == PLAN_NONE ? NULL : &f->zones[z->twin];
}

static void set_whole(struct fabric *f, uint32_t rack, uint32_t now)
{
    uint32_t was = f->whole[rack];
    if (was == now)
        return;
    for (struct fab_zone *z = &f->zones[f->racks[rack].zone]; z; z = next_twin(f, z)) {
        if (--z->racks_with[was] == 0 && was)
            z->occ &= ~(UINT64_C(1) << (was - 1));
        if (z->racks_with[now]++ == 0 && now)
            z->occ |= UINT64_C(1) << (now - 1);
        z->whole += now - was;
    }
    f->whole[rack] = (uint8_t)now;
}

/* n nodes of the rack have `now` accelerators free instead of `was`. */
static void count_nodes(struct fabric *f, uint32_t rack, uint32_t was, uint32_t now, uint32_t n)
{
    for (struct fab_zone *z = &f->zones[f->racks[rack].zone]; z; z = next_twin(f, z)) {
        z->nodes_with[was] -= n;
        z->nodes_with[now] += n;
    }
}

static void take_whole(struct fabric *f, uint32_t rack, uint64_t nodes)
{
    const struct fab_zone *z = &f->zones[f->racks[rack].zone];
    uint64_t *by = f->by_free + (size_t)rack * f->stride;
    uint32_t n = (uint32_t)__builtin_popcountll(nodes);
    by[z->acc] &= ~nodes;
    by[0] |= nodes;
    count_nodes(f, rack, z->acc, 0, n);
    set_whole(f, rack, f->whole[rack] - n);
}

static void give_whole(struct fabric *f, uint32_t rack, uint64_t nodes)
{
    const struct fab_zone *z = &f->zones[f->racks[rack].zone];
    uint64_t *by = f->by_free + (size_t)rack * f->stride;
    uint32_t n = (uint32_t)__builtin_popcountll(nodes);
    by[0] &= ~nodes;
    by[z->acc] |= nodes;
    count_nodes(f, rack, 0, z->acc, n);
    set_whole(f, rack, f->whole[rack] + n);
}

uint64_t fab_free(const struct fabric *f, uint32_t slot)
{
    uint32_t rack = slot / FAB_RACK;
    uint64_t bit = UINT64_C(1) << (slot % FAB_RACK);
    const uint64_t *by = f->by_free + (size_t)rack * f->stride;
    if (by[0] & bit)
        return 0;
    return by[f->zones[f->racks[rack].zone].acc] & bit ? f->usable[slot] : f->free_mask[slot];
}

/* Moves a node from `was` free accelerators to those of `mask`. */
static void set_free(struct fabric *f, uint32_t slot, uint32_t was, uint64_t mask)
{
    uint32_t rack = slot / FAB_RACK, now = (uint32_t)__builtin_popcountll(mask);
    const struct fab_zone *z = &f->zones[f->racks[rack].zone];
    uint64_t bit = UINT64_C(1) << (slot % FAB_RACK);
    uint64_t *by = f->by_free + (size_t)rack * f->stride;
    by[was] &= ~bit;
    by[now] |= bit;
    count_nodes(f, rack, was, now, 1);
    f->free_mask[slot] = mask;
    if (was == z->acc || now == z->acc)
        set_whole(f, rack, (uint32_t)__builtin_popcountll(by[z->acc]));
}

void fab_take(struct fabric *f, uint32_t slot, uint64_t mask, int32_t until)
{
    uint64_t avail = fab_free(f, slot);
    if (avail == f->usable[slot])
        f->until[slot] = until;
    else
        f->until[slot] = BT_MAX(f->until[slot], until);
    set_free(f, slot, (uint32_t)__builtin_popcountll(avail), avail & ~mask);
}

void fab_give(struct fabric *f, uint32_t slot, uint64_t mask, int32_t until)
{
    uint64_t avail = fab_free(f, slot);
    f->until[slot] = until;
    set_free(f, slot, (uint32_t)__builtin_popcountll(avail), (avail | mask) & f->usable[slot]);
}

uint32_t fab_twin(const struct fabric *f, uint32_t zone, uint32_t reservation)
{
    while (zone != PLAN_NONE && f->zones[zone].reservation != reservation)
        zone = f->zones[zone].twin;
    return zone;
}

void fab_release(struct fabric *f, const struct fab_pick *picks, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct fab_pick *p = &picks[i];
        if (!p->mask) {
            give_whole(f, p->rack, p->nodes);
            continue;
        }
        uint32_t slot = p->rack * FAB_RACK + (uint32_t)__builtin_ctzll(p->nodes);
        fab_give(f, slot, p->mask, f->until[slot]);
    }
}

/* ---- whole nodes ---- */

/* The next rack of the zone from `rack` on with exactly c whole free nodes. */
static uint32_t rack_with(const struct fabric *f, const struct fab_zone *z, uint32_t rack,
                          uint32_t c)
{
    const uint8_t *at = memchr(f->whole + rack, (int)c, z->rack0 + z->n_racks - rack);
    return at ? (uint32_t)(at - f->whole) : PLAN_NONE;
}

/* The smallest count >= n that a rack has; 0 = none. */
static uint32_t tight_count(const struct fab_zone *z, uint32_t n)
{
    uint64_t more = n <= FAB_RACK ? z->occ >> (n - 1) : 0;
    return more ? n + (uint32_t)__builtin_ctzll(more) : 0;
}

uint32_t fab_fit(const struct fabric *f, uint32_t zone, uint32_t nodes, bool one_leaf)
{
    const struct fab_zone *z = &f->zones[zone];
    uint32_t c = tight_count(z, nodes);
    if (c)
        return c - nodes;
    if (one_leaf || z->whole < nodes)
        return UINT32_MAX;
    return FAB_RACK + z->whole - nodes;
}

static void pick_whole(struct fabric *f, uint32_t rack, uint32_t n, struct fab_picks *picks)
{
    uint64_t all = f->by_free[(size_t)rack * f->stride + f->zones[f->racks[rack].zone].acc];
    uint64_t nodes = n == f->whole[rack] ? all : low_nodes(all, n);
    take_whole(f, rack, nodes);
    fab_picks_add(picks, rack, nodes, 0);
}

/* The last two racks of a spread gang share what they hold, unless the last is filled. */
static void halve(struct fabric *f, uint32_t zone, struct fab_picks *picks, uint32_t rack,
                  uint32_t wanted)
{
    struct fab_pick *prev = &picks->v[picks->n - 1];
    if (f->whole[rack] != wanted && f->racks[prev->rack].zone == f->zones[zone].real &&
        !prev->mask) {
        uint32_t before = (uint32_t)__builtin_popcountll(prev->nodes);
        uint32_t half = (before + wanted) / 2;
        half = BT_MIN(half, f->whole[rack]);
        if (half > wanted) {
            uint64_t back = low_nodes(prev->nodes, half - wanted);
            give_whole(f, prev->rack, back);
            prev->nodes &= ~back;
            wanted = half;
        }
    }
    pick_whole(f, rack, wanted, picks);
}

/* Largest racks first; the zone has enough. */
static void spread(struct fabric *f, uint32_t zone, uint32_t wanted, struct fab_picks *picks)
{
    const struct fab_zone *z = &f->zones[zone];
    uint32_t first = picks->n;
    while (wanted) {
        uint32_t tight = tight_count(z, wanted);
        if (tight) {
            uint32_t rack = rack_with(f, z, z->rack0, tight);
            if (picks->n > first)
                halve(f, zone, picks, rack, wanted);
            else
                pick_whole(f, rack, wanted, picks);
            return;
        }
        uint32_t most = 64 - (uint32_t)__builtin_clzll(z->occ);
        uint32_t rack = z->rack0;
        while (wanted >= most && (rack = rack_with(f, z, rack, most)) != PLAN_NONE) {
            pick_whole(f, rack, most, picks);
            wanted -= most;
            if (++rack == z->rack0 + z->n_racks)
                break;
        }
    }
}

/* Reduces the last node of the last pick to `rest` accelerators. */
static void leave_rest(struct fabric *f, const struct fab_ask *ask, struct fab_picks *picks)
{
    struct fab_pick *last = &picks->v[picks->n - 1];
    uint32_t rack = last->rack, at = 63 - (uint32_t)__builtin_clzll(last->nodes);
    uint64_t bit = UINT64_C(1) << at;
    uint32_t slot = rack * FAB_RACK + at;
    uint64_t mask = low_nodes(f->usable[slot], ask->rest);
    last->nodes &= ~bit;
    if (!last->nodes)
        picks->n--;
    give_whole(f, rack, bit);
    fab_take(f, slot, mask, ask->until);
    fab_picks_add(picks, rack, bit, mask);
}

static bool place_whole(struct fabric *f, uint32_t zone, const struct fab_ask *ask,
                        struct fab_picks *picks)
{
    const struct fab_zone *z = &f->zones[zone];
    uint32_t c = tight_count(z, ask->nodes);
    if (c)
        pick_whole(f, rack_with(f, z, z->rack0, c), ask->nodes, picks);
    else if (ask->one_leaf || z->whole < ask->nodes)
        return false;
    else
        spread(f, zone, ask->nodes, picks);
    if (ask->rest)
        leave_rest(f, ask, picks);
    return true;
}

uint32_t fab_whole(const struct fabric *f, uint32_t zone)
{
    const struct fab_zone *z = &f->zones[zone];
    uint32_t c = tight_count(z, 1);
    if (!c)
        return PLAN_NONE;
    uint32_t rack = rack_with(f, z, z->rack0, c);
    uint64_t m = f->by_free[(size_t)rack * f->stride + z->acc];
    return rack * FAB_RACK + (uint32_t)__builtin_ctzll(m);
}

/* ---- below a node ---- */

struct best {
    uint32_t slot;
    int64_t cost;
    uint32_t tried;
};

/* Compares the nodes with exactly k free in racks [rack, end). */
static void compare(const struct fabric *f, uint32_t rack, uint32_t end, uint32_t k, int32_t until,
                    struct best *best)
{
    for (; rack < end && best->tried < NODES_TRIED; rack++) {
        uint64_t m = f->by_free[(size_t)rack * f->stride + k];
        for (; m && best->tried < NODES_TRIED; m &= m - 1) {
            uint32_t slot = rack * FAB_RACK + (uint32_t)__builtin_ctzll(m);
            int64_t longer = BT_MAX((int64_t)until - f->until[slot], 0);
            best->tried++;
            if (longer >= best->cost)
                continue;
            *best = (struct best){slot, longer, best->tried};
            if (!longer)
                return;
        }
    }
}

/* A node with at least `per` free, best fit first; PLAN_NONE = none. */
static uint32_t find_part(const struct fabric *f, const struct fab_zone *z, uint32_t per,
                          int32_t until, uint32_t only_rack)
{
    uint32_t rack = only_rack == PLAN_NONE ? z->rack0 : only_rack;
    uint32_t end = only_rack == PLAN_NONE ? z->rack0 + z->n_racks : only_rack + 1;
    struct best best = {PLAN_NONE, INT64_MAX, 0};
    for (uint32_t k = per; k < z->acc; k++) {
        if (z->nodes_with[k])
            compare(f, rack, end, k, until, &best);
        if (best.slot != PLAN_NONE && best.cost == 0)
            return best.slot;
    }
    if (best.slot != PLAN_NONE)
        return best.slot;
    if (only_rack == PLAN_NONE)
        return fab_whole(f, (uint32_t)(z - f->zones));
    uint64_t m = f->by_free[(size_t)rack * f->stride + z->acc];
    return m ? rack * FAB_RACK + (uint32_t)__builtin_ctzll(m) : PLAN_NONE;
}

/* How many nodes of racks [rack, end) have at least `per` free. */
static uint32_t nodes_with(const struct fabric *f, const struct fab_zone *z, uint32_t only_rack,
                           uint32_t per)
{
    uint32_t n = 0;
    for (uint32_t k = per; k <= z->acc; k++)
        n += only_rack == PLAN_NONE
                 ? z->nodes_with[k]
                 : (uint32_t)__builtin_popcountll(f->by_free[(size_t)only_rack * f->stride + k]);
    return n;
}

/* `nodes` different nodes with `per` accelerators each, from one rack or from anywhere in the
 * zone. Each chosen node is taken whole until all are chosen, so that none is chosen twice. */
static bool place_parts(struct fabric *f, uint32_t zone, const struct fab_ask *ask,
                        uint32_t only_rack, struct fab_picks *picks)
{
    const struct fab_zone *z = &f->zones[zone];
    uint32_t least = ask->whole ? z->acc : ask->per;
    if (nodes_with(f, z, only_rack, least) < ask->nodes)
        return false;
    uint32_t first = picks->n;
    for (uint32_t i = 0; i < ask->nodes; i++) {
        uint32_t slot = find_part(f, z, least, ask->until, only_rack);
        uint64_t mask = fab_free(f, slot);
        fab_take(f, slot, mask, ask->until);
        fab_picks_add(picks, slot / FAB_RACK, UINT64_C(1) << (slot % FAB_RACK), mask);
    }
    for (uint32_t i = first; i < picks->n; i++) {
        struct fab_pick *p = &picks->v[i];
        uint32_t slot = p->rack * FAB_RACK + (uint32_t)__builtin_ctzll(p->nodes);
        uint64_t keep = low_nodes(p->mask, ask->per);
        fab_give(f, slot, p->mask & ~keep, f->until[slot]);
        p->mask = keep;
    }
    return true;
}

bool fab_place(struct fabric *f, uint32_t zone, const struct fab_ask *ask, struct fab_picks *picks)
{
    const struct fab_zone *z = &f->zones[zone];
    uint32_t per = ask->nodes == 1 && ask->rest && !ask->whole ? ask->rest : ask->per;
    if (!per || per == z->acc)
        return place_whole(f, zone, ask, picks);
    struct fab_ask part = *ask;
    part.per = per;
    if (!ask->one_leaf || ask->nodes == 1)
        return place_parts(f, zone, &part, PLAN_NONE, picks);
    for (uint32_t rack = z->rack0; rack < z->rack0 + z->n_racks; rack++)
        if (place_parts(f, zone, &part, rack, picks))
            return true;
    return false;
}
