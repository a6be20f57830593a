/* fabric_build.c - groups the nodes of a snapshot into kinds, zones and racks.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/sched/fabric.h"
#include "lib/base/attr.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"

/* What makes a node like another; sorted, in this order. */
struct like {
    uint8_t accel_class, tier, acc, memory, busbw; /* memory, busbw: how many cuts it reaches */
    uint32_t site, pod, window, leaf, node;
};

/* Different amounts that waiting jobs ask for, the first of the queue; rising. Only nodes that such
 * a job may use are told apart by its amount. */
struct cuts {
    uint32_t v[PLAN_MAX_CUTS];
    uint32_t classes[PLAN_MAX_CUTS]; /* bits: nodes of these; all for a job that takes any */
    uint8_t n;
};

/* A set of windows: a shorter set and one more. */
struct set {
    uint32_t parent;
    struct fab_window window;
};

struct sets {
    struct set *v;
    uint32_t n, cap;
    struct bt_map by_step; /* (set, window number) -> set */
};

static int less(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int zone_order(const struct like *a, const struct like *b)
{
    int d = less(a->accel_class, b->accel_class);
    d = d ? d : less(a->tier, b->tier);
    d = d ? d : less(a->acc, b->acc);
    d = d ? d : less(a->site, b->site);
    d = d ? d : less(a->pod, b->pod);
    d = d ? d : less(a->memory, b->memory);
    d = d ? d : less(a->busbw, b->busbw);
    return d ? d : less(a->window, b->window);
}

static int like_order(const void *x, const void *y)
{
    const struct like *a = x, *b = y;
    int d = zone_order(a, b);
    d = d ? d : less(a->leaf, b->leaf);
    return d ? d : less(a->node, b->node);
}

static void cut_at(struct cuts *c, uint32_t amount, uint8_t accel_class)
{
    uint32_t classes = accel_class < PLAN_MAX_CLASS ? UINT32_C(1) << accel_class : ~UINT32_C(0);
    uint8_t i = 0;
    while (i < c->n && c->v[i] < amount)
        i++;
    if (!amount)
        return;
    if (i < c->n && c->v[i] == amount) {
        c->classes[i] |= classes;
        return;
    }
    if (c->n == PLAN_MAX_CUTS)
        return;
    memmove(c->v + i + 1, c->v + i, (size_t)(c->n - i) * sizeof *c->v);
    memmove(c->classes + i + 1, c->classes + i, (size_t)(c->n - i) * sizeof *c->classes);
    c->v[i] = amount;
    c->classes[i] = classes;
    c->n++;
}

static uint8_t reaches(const struct cuts *c, uint32_t amount, uint8_t accel_class)
{
    uint8_t n = 0;
    for (uint8_t i = 0; i < c->n; i++)
        if (c->v[i] <= amount && c->classes[i] >> accel_class & 1)
            n++;
    return n;
}

static uint32_t set_step(struct sets *s, uint32_t set, uint32_t number, struct fab_window w)
{
    uint64_t key = (uint64_t)set << 32 | number;
    uint32_t next;
    if (bt_map_get(&s->by_step, key, &next))
        return next;
    next = s->n;
    BT_GROW(s->v, s->n, s->cap);
    s->v[s->n++] = (struct set){.parent = set, .window = w};
    bt_map_put(&s->by_step, key, next);
    return next;
}

static bool takes_jobs(const struct plan_node *n)
{
    bool up = n->state == PLAN_UP || n->state == PLAN_DEGRADED;
    return n->usable_mask && (up || n->back_us > 0);
}

/* The set of windows of each node. */
static uint32_t *window_sets(const struct plan_input *in, struct sets *s)
{
    uint32_t *of = bt_new_n(uint32_t, in->n_nodes + 1);
    struct bt_map back = {0};
    uint32_t n_back = 0;
    BT_GROW(s->v, s->n, s->cap);
    s->v[s->n++] = (struct set){0}; /* 0: no windows */
    for (uint32_t i = 0; i < in->n_nodes; i++) {
        const struct plan_node *n = &in->nodes[i];
        if (n->state == PLAN_UP || n->state == PLAN_DEGRADED || !takes_jobs(n))
            continue;
        uint32_t number;
        if (!bt_map_get(&back, (uint64_t)n->back_us, &number)) {
            number = in->n_windows + n_back++;
            bt_map_put(&back, (uint64_t)n->back_us, number);
        }
        of[i] = set_step(s, of[i], number, (struct fab_window){in->now_us, n->back_us, 0});
    }
    for (uint32_t w = 0; w < in->n_windows; w++) {
        const struct plan_window *win = &in->windows[w];
        if (win->until_us <= in->now_us)
            continue;
        for (uint32_t i = 0; i < win->n_nodes; i++) {
            uint32_t *at = &of[in->window_nodes[win->nodes_off + i]];
            *at = set_step(s, *at, w,
                           (struct fab_window){win->from_us, win->until_us, win->reservation});
        }
    }
    bt_map_done(&back);
    return of;
}

static int window_order(const void *x, const void *y)
{
    const struct fab_window *a = x, *b = y;
    return (a->from_us > b->from_us) - (a->from_us < b->from_us);
}

static void flatten_sets(struct fabric *f, const struct sets *s)
{
    uint32_t n = 0, cap = 0;
    f->n_window_sets = s->n;
    f->window_off = bt_new_n(uint32_t, s->n + 1);
    for (uint32_t i = 0; i < s->n; i++) {
        f->window_off[i] = n;
        for (uint32_t k = i; k; k = s->v[k].parent) {
            BT_GROW(f->windows, n, cap);
            f->windows[n++] = s->v[k].window;
        }
        if (n > f->window_off[i])
            qsort(f->windows + f->window_off[i], n - f->window_off[i], sizeof *f->windows,
                  window_order);
    }
    f->window_off[s->n] = n;
}

static void new_kind(struct fabric *f, const struct like *l, uint32_t *cap)
{
    struct fab_kind *k = f->n_kinds ? &f->kinds[f->n_kinds - 1] : NULL;
    if (k && k->accel_class == l->accel_class && k->tier == l->tier && k->acc == l->acc &&
        k->site == l->site) {
        k->n_zones++;
        return;
    }
    BT_GROW(f->kinds, f->n_kinds, *cap);
    f->kinds[f->n_kinds++] = (struct fab_kind){.zone0 = f->n_zones,
                                               .n_zones = 1,
                                               .acc = l->acc,
                                               .site = l->site,
                                               .accel_class = l->accel_class,
                                               .tier = l->tier};
}

/* Kinds, zones and racks of the sorted nodes; fills slot_of. */
static void cut_up(struct fabric *f, const struct like *v, uint32_t n)
{
    uint32_t cap_zones = 0, cap_racks = 0, cap_kinds = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct like *l = &v[i];
        bool zone = i == 0 || zone_order(l - 1, l);
        if (zone) {
            new_kind(f, l, &cap_kinds);
            BT_GROW(f->zones, f->n_zones, cap_zones);
            f->zones[f->n_zones++] = (struct fab_zone){.kind = f->n_kinds - 1,
                                                       .site = l->site,
                                                       .pod = l->pod,
                                                       .rack0 = f->n_racks,
                                                       .node0 = l->node,
                                                       .acc = l->acc,
                                                       .window = l->window,
                                                       .accel_class = l->accel_class,
                                                       .tier = l->tier};
        }
        struct fab_zone *z = &f->zones[f->n_zones - 1];
        struct fab_rack *r = f->n_racks ? &f->racks[f->n_racks - 1] : NULL;
        if (zone || !r || r->leaf != l->leaf || r->n == FAB_RACK) {
            BT_GROW(f->racks, f->n_racks, cap_racks);
            f->racks[f->n_racks++] = (struct fab_rack){.zone = f->n_zones - 1, .leaf = l->leaf};
            r = &f->racks[f->n_racks - 1];
            z->n_racks++;
        }
        f->slot_of[l->node] = (f->n_racks - 1) * FAB_RACK + r->n++;
        z->n_nodes++;
        z->node0 = BT_MIN(z->node0, l->node);
        f->kinds[f->n_kinds - 1].n_nodes++;
    }
}

/* What all nodes of a zone have, and what the best of them has. (A zone lies in one site.) */
static void note_amounts(struct fabric *f, const struct plan_input *in)
{
    for (uint32_t i = 0; i < f->n_zones; i++)
        f->zones[i].busbw_mbs = UINT32_MAX, f->zones[i].memory_gb = UINT16_MAX;
    for (uint32_t i = 0; i < in->n_nodes; i++) {
        const struct plan_node *n = &in->nodes[i];
        if (f->slot_of[i] == PLAN_NONE)
            continue;
        struct fab_zone *z = &f->zones[f->racks[f->slot_of[i] / FAB_RACK].zone];
        z->store = n->store;
        z->memory_gb = BT_MIN(z->memory_gb, n->memory_gb);
        z->memory_most = BT_MAX(z->memory_most, n->memory_gb);
        z->busbw_mbs = BT_MIN(z->busbw_mbs, n->busbw_mbs);
        z->busbw_most = BT_MAX(z->busbw_most, n->busbw_mbs);
    }
    for (uint32_t i = 1; i < f->n_zones; i++)
        f->sisters |=
            f->zones[i].kind == f->zones[i - 1].kind && f->zones[i].pod == f->zones[i - 1].pod;
}

/* ---- reservations ---- */

struct twin {
    uint32_t reservation, kind, zone;
};

static int twin_order(const void *x, const void *y)
{
    const struct twin *a = x, *b = y;
    int d = less(a->reservation, b->reservation);
    d = d ? d : less(a->kind, b->kind);
    return d ? d : less(a->zone, b->zone);
}

/* A zone more for each reservation of a zone, behind all others, in kinds of their own. */
static void add_twins(struct fabric *f)
{
    struct twin *v = NULL;
    uint32_t n = 0, cap = 0, cap_zones = f->n_zones, cap_kinds = f->n_kinds;
    f->n_real = f->n_zones;
    for (uint32_t i = 0; i < f->n_zones; i++) {
        f->zones[i].real = i;
        f->zones[i].twin = PLAN_NONE;
        const uint32_t *off = f->window_off + f->zones[i].window;
        for (uint32_t k = off[0]; k < off[1]; k++) {
            if (!f->windows[k].reservation)
                continue;
            BT_GROW(v, n, cap);
            v[n++] = (struct twin){f->windows[k].reservation, f->zones[i].kind, i};
        }
    }
    if (n)
        qsort(v, n, sizeof *v, twin_order);
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || v[i].reservation != v[i - 1].reservation || v[i].kind != v[i - 1].kind) {
            struct fab_kind k = f->kinds[v[i].kind];
            k.zone0 = f->n_zones;
            k.n_zones = k.n_nodes = 0;
            BT_GROW(f->kinds, f->n_kinds, cap_kinds);
            f->kinds[f->n_kinds++] = k;
        }
        struct fab_zone z = f->zones[v[i].zone];
        z.kind = f->n_kinds - 1;
        z.reservation = v[i].reservation;
        f->kinds[z.kind].n_zones++;
        f->kinds[z.kind].n_nodes += z.n_nodes;
        BT_GROW(f->zones, f->n_zones, cap_zones);
        f->zones[v[i].zone].twin = f->n_zones; /* z.twin: the one made before */
        f->zones[f->n_zones++] = z;
    }
    bt_free(v);
}

/* The arrays by rack and slot, everything free. */
static void fill(struct fabric *f, const struct plan_input *in)
{
    size_t slots = (size_t)f->n_racks * FAB_RACK;
    uint32_t most = 1;
    for (uint32_t i = 0; i < f->n_zones; i++)
        most = BT_MAX(most, f->zones[i].acc);
    f->stride = most + 1;
    f->by_free = bt_new_n(uint64_t, (size_t)f->n_racks * f->stride + 1);
    f->whole = bt_new_n(uint8_t, f->n_racks + 1);
    f->free_mask = bt_new_n(uint64_t, slots + 1);
    f->usable = bt_new_n(uint64_t, slots + 1);
    f->until = bt_new_n(int32_t, slots + 1);
    f->node_of = bt_new_n(uint32_t, slots + 1);
    for (uint32_t i = 0; i < in->n_nodes; i++) {
        if (f->slot_of[i] == PLAN_NONE)
            continue;
        f->node_of[f->slot_of[i]] = i;
        f->usable[f->slot_of[i]] = in->nodes[i].usable_mask;
    }
    for (uint32_t r = 0; r < f->n_racks; r++) {
        struct fab_zone *z = &f->zones[f->racks[r].zone];
        uint32_t n = f->racks[r].n;
        f->by_free[(size_t)r * f->stride + z->acc] =
            n == FAB_RACK ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
        f->whole[r] = (uint8_t)n;
        z->occ |= UINT64_C(1) << (n - 1);
        z->racks_with[n]++;
        z->whole += n;
        z->biggest_rack = BT_MAX(z->biggest_rack, n);
        z->nodes_with[z->acc] += n;
    }
}

void fab_init(struct fabric *f, const struct plan_input *in)
{
    *f = (struct fabric){.n_nodes = in->n_nodes};
    struct sets sets = {0};
    struct cuts memory = {.n = 0}, busbw = {.n = 0};
    uint32_t *set_of = window_sets(in, &sets);
    for (uint32_t i = 0; i < in->n_pending; i++) {
        cut_at(&memory, in->pending[i].memory_gb, in->pending[i].accel_class);
        cut_at(&busbw, in->pending[i].busbw_gb * MBS, in->pending[i].accel_class);
    }
    flatten_sets(f, &sets);
    struct like *v = bt_new_n(struct like, in->n_nodes + 1);
    uint32_t n = 0;
    f->slot_of = bt_new_n(uint32_t, in->n_nodes + 1);
    for (uint32_t i = 0; i < in->n_nodes; i++) {
        const struct plan_node *node = &in->nodes[i];
        f->slot_of[i] = PLAN_NONE;
        if (!takes_jobs(node))
            continue;
        v[n++] = (struct like){.accel_class = node->accel_class,
                               .tier = node->tier,
                               .acc = (uint8_t)__builtin_popcountll(node->usable_mask),
                               .memory = reaches(&memory, node->memory_gb, node->accel_class),
                               .busbw = reaches(&busbw, node->busbw_mbs, node->accel_class),
                               .site = node->site,
                               .pod = node->pod,
                               .window = set_of[i],
                               .leaf = node->leaf,
                               .node = i};
    }
    qsort(v, n, sizeof *v, like_order);
    cut_up(f, v, n);
    note_amounts(f, in);
    fill(f, in);
    add_twins(f);
    bt_free(v);
    bt_free(set_of);
    bt_free(sets.v);
    bt_map_done(&sets.by_step);
}
