/* fabric.h - the accelerators that are free now, and where a gang fits tightest.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Nodes that are alike (pod, class, enclave, size, coming maintenance, and on the same side of each
 * amount of memory or bandwidth that a waiting job asks for) form a zone; the nodes of
 * one leaf in one zone form racks of up to 64, so that a set of nodes is one word. A rack knows
 * for each k which of its nodes have exactly k accelerators free; a zone knows which counts of
 * whole free nodes its racks have. A placement is then a shift, a count of trailing zeros and one
 * memchr: tightest rack first, which keeps whole leaves whole for those who need them (the buddy
 * rule of HiveD, OSDI'20, in the order of taking). Zones of one class, enclave, size and site form
 * a kind; a gang never mixes kinds. */
#ifndef BT_SCHED_FABRIC_H
#define BT_SCHED_FABRIC_H

#include "daemon/sched/plan.h"

enum { FAB_RACK = 64, MBS = 1000 /* MB/s of a GB/s */ };

struct fab_rack {
    uint32_t zone, leaf, n;
};

struct fab_zone {
    uint64_t occ; /* bit c-1: a rack has exactly c whole free nodes */
    uint32_t kind, site, pod, rack0, n_racks, n_nodes, node0; /* node0: smallest node number */
    uint32_t whole;                                           /* free whole nodes */
    uint32_t acc;                                             /* accelerators of a node */
    uint32_t biggest_rack;                                    /* nodes */
    uint32_t window;                   /* list of its windows in fabric.window_sets; 0 = none */
    uint32_t racks_with[FAB_RACK + 1]; /* racks with exactly c whole free nodes */
    uint32_t nodes_with[PLAN_MAX_ACC + 1];
    uint16_t memory_gb, memory_most; /* the least and the most of its nodes */
    uint32_t busbw_mbs, busbw_most;
    uint8_t accel_class, tier, store;
    /* What a reservation holds of a zone is a zone of its own, a twin: the same racks, open when
     * the other is closed. `real` has the racks; twin: the next one of them, PLAN_NONE = last. */
    uint32_t real, twin, reservation; /* reservation 0: it is the real one */
};

struct fab_kind {
    uint32_t zone0, n_zones, n_nodes, acc, site;
    uint8_t accel_class, tier;
};

struct fab_window { /* of one zone, sorted by start */
    int64_t from_us, until_us;
    uint32_t reservation;
};

struct fabric {
    struct fab_kind *kinds;
    struct fab_zone *zones; /* those of a kind are neighbours, lower enclaves first */
    struct fab_rack *racks;
    uint64_t *by_free;   /* [rack * stride + k]: nodes with exactly k free */
    uint8_t *whole;      /* [rack]: whole free nodes */
    uint64_t *free_mask; /* [slot], slot = rack * 64 + bit; valid for partly free nodes */
    uint64_t *usable;    /* [slot] */
    int32_t *until;      /* [slot]: when the last job on a partly free node ends */
    uint32_t *node_of;   /* [slot] -> node */
    uint32_t *slot_of;   /* [node] -> slot; PLAN_NONE = takes no jobs */
    struct fab_window *windows;
    uint32_t *window_off; /* [set], n_window_sets + 1 entries */
    uint32_t n_real;      /* zones that are no twins: the first ones */
    uint32_t n_kinds, n_zones, n_racks, n_nodes, n_window_sets, stride;
    bool sisters; /* some pod has several zones of one kind */
};

/* Nodes of one rack, all of them whole, or one node and the mask taken of it. */
struct fab_pick {
    uint64_t nodes;
    uint64_t mask; /* 0 = whole nodes */
    uint32_t rack;
    uint32_t pad;
};

struct fab_picks {
    struct fab_pick *v; /* owned */
    uint32_t n, cap;
};

struct fab_ask {
    uint32_t nodes; /* >= 1, the last one with `rest` accelerators if that is not 0 */
    uint32_t rest;
    uint32_t per;  /* accelerators of each node; 0 = whole nodes */
    int32_t until; /* its end, in the unit of fabric.until */
    bool one_leaf;
    bool whole; /* only on nodes that are free as a whole, though it may not take all of them */
};

/* Groups the nodes of `in`; everything usable is free. Windows and returning nodes give zones of
 * their own. */
void fab_init(struct fabric *f, const struct plan_input *in);
void fab_done(struct fabric *f);

/* Takes what `ask` wants in one zone and appends it to picks; false (nothing taken) if it does not
 * fit now. Whole nodes: tightest rack, else largest racks first, the last one tight or halved with
 * its neighbour. Below a node: the fullest node that need not stay broken for longer. */
bool fab_place(struct fabric *f, uint32_t zone, const struct fab_ask *ask, struct fab_picks *picks);

/* How well fab_place would fit: spare whole nodes of the tightest rack, more when it must spread;
 * UINT32_MAX = does not fit. Whole nodes only. */
uint32_t fab_fit(const struct fabric *f, uint32_t zone, uint32_t nodes, bool one_leaf);

/* A free node of the zone, in its tightest rack; PLAN_NONE if there is none. */
uint32_t fab_whole(const struct fabric *f, uint32_t zone);

/* Takes `mask` of one node (for running jobs); the bits were free. */
void fab_take(struct fabric *f, uint32_t slot, uint64_t mask, int32_t until);

/* The zone that is a real one for the jobs of a reservation; PLAN_NONE = it holds none of it. */
uint32_t fab_twin(const struct fabric *f, uint32_t zone, uint32_t reservation);

/* Gives `mask` of one node back; `until`: the end of the last job that stays on it. */
void fab_give(struct fabric *f, uint32_t slot, uint64_t mask, int32_t until);

void fab_release(struct fabric *f, const struct fab_pick *picks, uint32_t n);

/* Whether a job of such plan_pending.stores may use nodes of this store. */
static inline bool fab_holds(uint32_t stores, uint8_t store)
{
    return !stores || (store && stores >> (store - 1) & 1);
}

/* Free accelerators of a node. */
uint64_t fab_free(const struct fabric *f, uint32_t slot);

void fab_picks_add(struct fab_picks *p, uint32_t rack, uint64_t nodes, uint64_t mask);
void fab_picks_done(struct fab_picks *p);

size_t fab_bytes(const struct fabric *f);

#endif
