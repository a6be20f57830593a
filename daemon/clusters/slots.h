/* slots.h - which attempts a Slurm cluster shall have and which it has: reconciled by comments.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Slurm's word that it took a job is not durable, and a lost job's number is given to another, so
 * the identity is ours: the comment "bt:<uuid>:<attempt>". A slot is one attempt. Slurm may
 * start an attempt twice or late; that only one of them runs is the claim's business
 * (daemon/core), so here nothing must be certain, only tidy in the end:
 *
 *   DOUBT --listed--> PLACED        in doubt until a whole list of the cluster's jobs was seen
 *   DOUBT --absent--> WANTED        or LOST, when it was claimed before: then its agent ends it
 *   WANTED -> ASKED -> PLACED       submitted; a refusal or silence leads to LOST or DOUBT
 *   PLACED --absent or over--> LOST the core is told; it opens the next attempt unless claimed
 *          --blocked--> LOST        so too; a claim that was faster makes it PLACED again
 *   any --gone--> LEAVING           pending jobs are cancelled, running shepherds end themselves:
 *                                   they gather what was produced. Once that is settled, what
 *                                   Slurm still shows running is a memory of its, or stuck: it is
 *                                   cancelled.
 *
 * A job that an administrator suspended keeps its slot: it goes on where it was. When it is to
 * stop, Slurm cancels it, which lets its shepherd go on with a SIGTERM.
 *
 * A controller that lost its memory gives numbers away that it gave before. When it sends a job to
 * a node where the number's earlier one still runs, slurmd refuses and the node is drained. Whether
 * both were ours is known here: then the node may be resumed once the earlier one is over.
 *
 * Pure. */
#ifndef BT_DAEMON_CLUSTERS_SLOTS_H
#define BT_DAEMON_CLUSTERS_SLOTS_H

#include "daemon/clusters/wire.h"
#include "daemon/core/batch.h"

enum slot_state { SLOT_DOUBT, SLOT_WANTED, SLOT_ASKED, SLOT_PLACED, SLOT_LOST, SLOT_LEAVING };

struct slot {
    struct bt_uuid job;
    int32_t attempt;
    enum slot_state state;
    bool claimed;    /* or stopping: it is never submitted (again) */
    bool gone;       /* while ASKED: leaves with the answer */
    bool settled;    /* LEAVING: nothing of it has work left */
    bool found;      /* in the list at hand */
    bool pending;    /* as last listed */
    bool suspended;  /* as last listed */
    bool stopping;   /* its shepherd shall end it, which one that is suspended cannot */
    int64_t id;      /* Slurm's number; 0: not known */
    int64_t seen_us; /* LEAVING, or PLACED by a submission: since when; monotonic */
    int32_t walltime_s;
    int32_t grace_s;
    int32_t per_host;
    int32_t n_hosts;
    char *hosts; /* owned */
    char user[33];
    char account[96]; /* of its project, where the site has a fence */
};

/* What follows from a list. */
struct slot_act {
    enum { SLOT_CANCEL, SLOT_UNPLACED } kind;
    int64_t id;                 /* CANCEL */
    char comment[WIRE_COMMENT]; /* CANCEL */
    struct bt_uuid job;         /* UNPLACED */
    int32_t attempt;
    char text[120];
};

/* A number that Slurm gave to an attempt. */
struct slot_number {
    int64_t id;
    uint64_t seq; /* rising */
    struct bt_uuid job;
    int32_t attempt;
    char *hosts; /* owned */
};

struct slots {
    struct slot *v;
    size_t n, cap;
    bool listed; /* a whole list was seen since the helper was started */
    struct slot_stray {
        int64_t id, seen_us;
        bool found;
    } * strays; /* running jobs with our mark and no slot */
    size_t n_strays, cap_strays;
    struct slot_act *acts; /* of the last slots_list */
    size_t n_acts, cap_acts;
    struct slot_number *numbers; /* the last SLOT_NUMBERS, a ring */
    size_t n_numbers, next_number;
    uint64_t seq;
};

enum {
    SLOT_STRAY_S = 20,
    SLOT_SETTLED_S = 10,  /* from settled to cancelled: it ends by itself just then */
    SLOT_LINGER_S = 4000, /* unsettled: the facility waits an hour for a manifest */
    SLOT_NUMBERS = 1024,
    SLOT_CLAIM_S = 4, /* so long after its submission a job has begun where all is well */
    SLOT_LIST_S = 2,  /* between two lists … */
    SLOT_LIST_MAX_S = 10,
    SLOT_LIST_SHARE = 2000, /* … of which reading takes at most a 2000th of a processor */
};

void slots_done(struct slots *s);
struct slot *slots_find(struct slots *s, struct bt_uuid job, int32_t attempt);
void slots_want(struct slots *s, const struct want *w, int64_t now_us);
/* The answer to a submission: id > 0, or silence (in doubt), or a refusal (text: UNPLACED). */
void slots_placed(struct slots *s, struct bt_uuid job, int32_t attempt, int64_t id, int64_t now_us);
void slots_doubt(struct slots *s, struct bt_uuid job, int32_t attempt);
void slots_refused(struct slots *s, struct bt_uuid job, int32_t attempt);
void slots_cut(struct slots *s); /* the helper is gone: what was asked is in doubt */
/* A whole list of the jobs named `name` among `jobs`; fills s->acts. */
void slots_list(struct slots *s, const struct wire_job *jobs, size_t n, const char *name,
                int64_t now_us);
/* After it: what waits in Slurm on a node that jobs of others use ("n1,n2") is to go elsewhere, for
 * nobody knows how long they last; adds to s->acts. */
void slots_blocked(struct slots *s, const char *others);
/* Whether one number was given to two attempts of ours that both had this node, and the earlier one
 * is over. */
bool slots_doubled(const struct slots *s, const char *node);
/* Whether a suspended job is to be cancelled, though the cluster's list may not have changed. */
bool slots_frozen(const struct slots *s);
size_t slots_count(const struct slots *s, enum slot_state state);
/* From one list to the next when reading one took so much processor time: Slurm tells of each job
 * that it still remembers, and claims and ends come from the agents. */
int64_t slots_list_every_us(int64_t cost_us);
/* Whether something waits for a list, which is then due after SLOT_LIST_S, whatever it costs: an
 * attempt in doubt, one that has not begun though it could have, one that should be gone. */
bool slots_wait(const struct slots *s, int64_t now_us);

#endif
