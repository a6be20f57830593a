/* node.h - the agent's own loop: heartbeats, the node's wants, and a courier for each attempt.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_NODE_H
#define BT_AGENT_NODE_H

#include "agent/api.h"
#include "agent/known.h"
#include "agent/link.h"
#include "agent/settings.h"
#include "agent/trial.h"

enum { HEARTBEAT_S = 30, POLL_S = 25, ACCELERATORS_MAX = 64 };

/* What runs where on this node; from the inventory. */
struct node_plan {
    char node[64];
    char class[16];
    int accelerators;
    bool gpus;
    char cpus[ACCELERATORS_MAX][64]; /* cores of each accelerator, "0-3"; "" free */
    char boot_id[40];
    char *inventory; /* JSON; owned */
};

void node_plan_done(struct node_plan *p);

/* One want as the daemon writes it. */
struct want_item {
    struct attempt_id id;
    int64_t number;
    enum { ITEM_RUN, ITEM_STOP, ITEM_GONE } action;
    char kind[16];
    char unixname[33];
    uint64_t mask;
    int32_t walltime_s, grace_s, signal, tier, accelerators, nodes;
    char *document; /* the job's, as a text; owned by the list; NULL: it must be asked for */
};

enum { WANTS_MAX = 1024, WANTS_BYTES = 1024 * 1024 };

/* Reads {"seq":n,"wants":[…],"trial":{…},"known":"…"}; unknown members are passed over. *ret is
 * the caller's (wants_done).
 * BT_ERR_INVALID names what is wrong; one bad want spoils the list, for a half-read list would
 * end the attempts that are missing in it. */
struct wants {
    int64_t seq;
    char known[MARK_TEXT];   /* "" when there is none */
    bool takes_started;      /* starts may go along with claims and ends */
    struct trial_part trial; /* id 0: none */
    struct want_item *items; /* owned */
    size_t n;
};
int wants_parse(const char *text, size_t n, struct wants *ret, struct bt_err *err) BT_MUSTUSE;
void wants_done(struct wants *w);

/* What the shepherd gets told. BT_ERR_INVALID when the mask names accelerators that the node
 * does not have. */
int order_make(const struct want_item *w, const struct node_plan *plan, const struct settings *set,
               struct order *ret, struct bt_err *err) BT_MUSTUSE;

/* Runs until the process is ended; every exit is a crash that the next start mends. Returns only
 * when it cannot begin. */
int node_run(const struct settings *set, const struct node_plan *plan,
             const struct link_maker *maker, struct bt_err *err) BT_MUSTUSE;

#endif
