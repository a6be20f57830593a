/* berth.h - nodes that several jobs share over time, so that a reservation below a node has a
 * place and not only a number.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A berth is one node of a zone in the plan: how many of its accelerators are used, and when. While
 * something is on it, it takes one whole node of the zone's profile; which node that will be is
 * open until the first of its jobs starts. A zone whose profile of whole nodes never falls
 * below zero can keep all its berths and gangs at once: intervals of which no more than n
 * overlap fit on n nodes, however those that run lie already. So what is reserved in a berth is
 * exact, as whole nodes are. Times as in profile.h. */
#ifndef BT_SCHED_BERTH_H
#define BT_SCHED_BERTH_H

#include "daemon/sched/profile.h"

#define BERTH_NONE UINT32_MAX

struct berth_step { /* so many are used from t on, up to the next step */
    int32_t t, used;
};

struct berth {
    struct berth_step *v; /* owned; the first from INT32_MIN, the last uses none; NULL = empty */
    uint32_t n, cap;
    uint32_t slot; /* of the node that its running jobs are on; BERTH_NONE = no job of it runs */
    uint32_t held; /* accelerators of these jobs */
    int32_t until; /* nothing is on it from then on; INT32_MIN = at no time */
};

struct berths { /* of one zone, and of its twins: they have the same nodes */
    struct berth *v;
    struct profile **whole; /* each loses a node while something is on a berth; borrowed */
    uint32_t n_whole;
    int32_t *room; /* [berth * acc + k]: k are not free before this, k < acc */
    uint32_t n, cap;
    uint32_t acc;  /* of each node */
    uint32_t low;  /* none before this is empty and unbound */
    uint32_t turn; /* where berth_after goes on */
};

struct berth_ask {
    const struct profile *whole, *acc; /* of the zone: free whole nodes, free accelerators */
    uint32_t n_acc;
    int32_t len, from, upto;
    int32_t now;
    bool fresh; /* a node is free now; else only berths that are bound begin now */
};

struct berth_slot {
    int32_t start;
    uint32_t berth; /* BERTH_NONE = one of its own */
    int32_t alone;  /* seconds for which it takes a node that no other job of the berth uses */
    uint32_t left;  /* accelerators that are free there when it starts */
};

void berths_init(struct berths *b, uint32_t acc);
void berths_done(struct berths *b);

/* What is on a berth from now on takes a node of this profile, too; nothing may be on one yet. */
void berths_take(struct berths *b, struct profile *whole);

/* A berth that is empty and bound to no node; its slot is BERTH_NONE. */
uint32_t berth_empty(struct berths *b);
uint32_t berth_append(struct berths *b); /* the same, one that was never given out */
/* One for something that begins at `from`, later than now, and needs a node for itself: where a
 * node is bound on which nothing is left by then, so that who ends there early makes room for it;
 * else an empty one. Looks at some, in turns. */
uint32_t berth_after(struct berths *b, int32_t from);

/* Its jobs run on this node; BERTH_NONE = none of it runs any longer. */
void berth_bind(struct berths *b, uint32_t berth, uint32_t slot);

/* Uses x more (or, negative, fewer) of a berth over [from, until); what becomes used or empty by
 * that is taken from or given to each profile of whole nodes. */
void berth_add(struct berths *b, uint32_t berth, int32_t from, int32_t until, int32_t x);

/* The first start in [from, upto]; of equal ones where a whole node is taken for the least time,
 * then where the fewest accelerators are free. False if there is none. */
bool berths_earliest(const struct berths *b, const struct berth_ask *ask, struct berth_slot *ret);

/* The last start in [from, upto] in one berth (BERTH_NONE: of its own); PROFILE_NEVER if none. */
int32_t berth_latest(const struct berths *b, uint32_t berth, const struct berth_ask *ask);
/* The same in any. */
bool berths_latest(const struct berths *b, const struct berth_ask *ask, struct berth_slot *ret);

/* Whether none of a berth is used twice from `from` on. */
bool berth_holds(const struct berths *b, uint32_t berth, int32_t from);

/* Forgets what was before now. */
void berths_trim(struct berths *b, int32_t now);

size_t berths_bytes(const struct berths *b);

#endif
