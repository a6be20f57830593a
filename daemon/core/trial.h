/* trial.h - a collective that agents of several nodes run together, now. Private to daemon/core.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A trial is never stored, only when an attempt's first one began: a core that starts anew knows of
 * none, its agents' boards are empty, which ends their parts, and the claim that waited for it
 * begins another as soon as its agents have spoken. What it finds out is stored: states of nodes,
 * and rows of pairs of switches.
 *
 * The first node's agent hears of it, listens and says where (EV_TRIAL_OPEN); then the others hear.
 * Each says how its part ended (EV_TRIAL_ENDED), the first one with what was measured. */
#ifndef BT_DAEMON_CORE_TRIAL_H
#define BT_DAEMON_CORE_TRIAL_H

#include "daemon/core/state.h"

enum {
    TRIAL_NODES_MAX = 4096, /* of larger gangs nothing is asked: a ring of that many is no test */
    TRIAL_S = 60,           /* from its beginning; the agents end their parts a little sooner */
    TRIAL_SILENT_S = 10,    /* after the first failure, for who has not said anything */
};

struct trial_part {
    int32_t node; /* index */
    bool ended;
    enum trial_outcome outcome;
    char text[160];
    bool faulty;
    char why[160]; /* what is wrong with the node */
};

struct trial {
    int64_t id, deadline_us;
    int64_t bad_us;     /* the first failure; 0: none yet */
    struct bt_uuid job; /* all zero: a pair of switches */
    bool preflight;
    struct trial_part *parts; /* owned, [n] */
    int32_t n;
    struct trial_link *links; /* owned, [n_links]; NULL until the first node has ended */
    int32_t n_links;
    char address[160], secret[65];
};

struct trial *trial_begin(struct core *c, const int32_t *nodes, int32_t n, const struct job *job);
/* Whom the i-th link joins. */
static inline const struct trial_part *link_end(const struct trial *t, int32_t i, int end)
{
    return &t->parts[(i + end) % t->n];
}

/* trial_pairs.c: takes the links of a trial that went well into the pairs of switches, and names
 * the nodes of slow or wrong links in parts; false when there are any. */
bool pairs_take(struct core *c, struct trial *t);
void pairs_tick(struct core *c); /* begins trials of pairs that are due */

#endif
