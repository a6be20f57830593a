/* engine.h - the scheduler's state: what runs, what waits, and one reservation each (private).
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Each zone has two profiles: `whole`, free whole nodes, and `acc`, free accelerators. Running jobs
 * are charged exactly, node by node; a waiting job is charged by a reservation:
 *   WHOLE  whole -= nodes, acc -= accelerators
 *   BELOW  acc -= accelerators (less than a node), in a berth (berth.h), which takes a whole node
 *          while something is on it
 *   SPAN   as WHOLE, in several zones of one kind
 * As free nodes of a zone are alike, "enough whole nodes for the whole length" is not only
 * necessary but sufficient: the reservation can be kept. A required leaf counts nodes of a pod: an
 * estimate, checked when the job starts; a start that would break a node which others were
 * promised does not happen. What the plan leaves free (`plan_time`) has no berths: there a job
 * below a node is found by its number of accelerators.
 *
 * A pass: 1. in order of priority each job leaves its certificate slot for the earliest slot that
 * is free: this is the plan. 2. What is planned now is placed and runs. 3. Newcomers get a
 * promise. 4. Each reservation moves as late as its promise allows: the next certificate, which
 * leaves the near future open for whoever comes first in the next pass. */
#ifndef BT_SCHED_ENGINE_H
#define BT_SCHED_ENGINE_H

#include "daemon/sched/berth.h"
#include "daemon/sched/fabric.h"
#include "daemon/sched/profile.h"
#include "lib/base/map.h"

enum resv_mode { RESV_NONE, RESV_WHOLE, RESV_BELOW, RESV_SPAN };

struct span_part {
    uint32_t zone, nodes;
};

struct resv {
    struct span_part *span; /* owned; SPAN only */
    int32_t start;
    uint32_t zone; /* SPAN: of its first part */
    uint32_t nodes;
    uint32_t acc;
    uint32_t n_span;
    uint32_t berth; /* BELOW; BERTH_NONE where there are none */
    uint8_t mode;
};

/* What a job is in a zone whose nodes have `acc` accelerators. */
struct need {
    uint32_t nodes, acc, slack; /* slack: accelerators that its nodes leave over */
    uint32_t per;               /* of each node; 0 = whole nodes */
    bool below;                 /* one node, and not all of it */
};

enum job_state { JOB_FREE, JOB_PENDING, JOB_RUNNING };

struct eng_job {
    struct plan_pending ask;
    struct resv cert, plan;
    struct fab_picks picks; /* running */
    int32_t len;            /* seconds from start until the next may start */
    int32_t eligible;
    int32_t promise;      /* PROFILE_NEVER = none yet */
    int32_t start, limit; /* running */
    int32_t ckpt;
    uint32_t match;
    uint32_t grace_s;
    uint32_t next; /* free list */
    uint32_t cause_job, cause_nation, blocker;
    int32_t moved_from; /* PROFILE_NEVER = did not move */
    uint8_t state, cause, reason;
    bool owned;   /* running inside its guarantee */
    bool may_own; /* pending: fits into what is left of its guarantee */
    bool stopping;
    bool cert_charged; /* the certificate's reservation is in the profiles */
    bool started;      /* in this pass */
};

/* A job's part of a broken node. */
struct occupant {
    uint32_t job, next, acc;
    int32_t end;
};

enum { MEMO_SIZES = 20, MEMO_LENGTHS = 32, KNOWN_SHAPES = 4096 };

/* Zones a (class, tier, per_node, memory, bandwidth, stores, reservation) may use. */
struct match {
    uint32_t zone_off, n_zones;
    uint16_t memory_gb, busbw_gb;
    uint8_t accel_class, tier;
    uint32_t per_node, reservation, stores;
    uint32_t most_nodes;            /* in one zone */
    uint32_t closed;                /* of a quick pass: this many accelerators are not free now */
    int32_t unplaced[PLAN_MAX_ACC]; /* [accelerators], of a quick pass: so long a job found a slot,
                                       but no node on which it would break no promise */
    int32_t dead[MEMO_SIZES];       /* the same by powers of two: so long a job found no slot */
    int32_t spanless[MEMO_SIZES];   /* nodes: not so many are free in all zones until then */
};

/* Powers of two: the largest that is not above x. */
static inline uint32_t memo_size(uint32_t x)
{
    uint32_t k = 31 - (uint32_t)__builtin_clz(x | 1);
    return k < MEMO_SIZES ? k : MEMO_SIZES - 1;
}

struct room { /* of a zone, for 2^size accelerators */
    int32_t until;
    uint32_t seen; /* zone_time.changes that it was found at */
    bool open;     /* there is room until then; else there is none until then */
};

struct known { /* of newcomers: as large and as long a job found no earlier start */
    uint32_t acc, match;
    int32_t len, start;
    uint8_t level, required;
};

struct zone_time {
    struct profile whole, acc;
    struct berths *berths; /* the real zone's, which owns them; NULL in what a plan leaves free */
    uint32_t n_below; /* reservations in no berth below a node: only then acc binds whole nodes */
    uint32_t changes; /* what was taken or given so far, from 1 */
    struct room room[MEMO_SIZES]; /* of quick passes */
};

/* What waits, of one match and size, in the order of prio (quick.c). */
struct line_entry {
    uint32_t at;       /* in prio */
    int32_t len, cert; /* both PROFILE_NEVER: it is gone */
};
struct line_least { /* of 64 entries */
    int32_t len, cert;
};
struct line {
    struct line_entry *v;
    struct line_least *least;
    uint32_t n, cap, cap_least;
    uint32_t match, size, nation; /* nation: if inside its guarantee; else PLAN_NONE */
    uint32_t most;                /* accelerators that one of it asks for */
    uint32_t found;               /* entry with hope, as of `seen` and `pass` */
    uint32_t seen, pass;          /* plan_timeline.changes, n_quick */
    int32_t room;                 /* until when */
};

struct memo { /* of a zone: no start before, for what is as large and as long */
    int32_t start[MEMO_SIZES][MEMO_LENGTHS];
};

struct shut { /* of a zone, in a quick pass: as large a job of this length found no slot now */
    int32_t len[MEMO_SIZES];
};

struct nation_time {
    struct profile left; /* of its guarantee */
    int64_t guaranteed;
};

struct order {
    uint64_t key;
    uint32_t job;
};

struct waiting {
    uint32_t job, handle, acc, match;
    int32_t len, cert, plan; /* when certificate and plan start; PROFILE_NEVER = none */
    uint32_t size, line;     /* memo_size(acc) */
};

struct plan_timeline {
    struct fabric fabric;
    int64_t origin_s;
    int32_t now;
    struct zone_time *time;
    struct eng_job *jobs;
    uint32_t n_jobs, cap_jobs, free_job, n_pending;
    struct bt_map by_handle;
    struct occupant *occ;
    uint32_t n_occ, cap_occ, free_occ;
    uint32_t *occ_head; /* [slot]; PLAN_NONE */
    uint32_t *berth_of; /* [slot]: of a broken node; BERTH_NONE = it is not broken */
    struct match *matches;
    struct memo *memos;                /* [zone], then [kind] for gangs over zones; of this pass */
    uint32_t memo_sizes, memo_lengths; /* so many rows and columns matter in this pass */
    struct shut *shut;                 /* [zone] */
    bool quick;                        /* shut is asked and told */
    bool newcomer;     /* searches from now on, as all before it: memos are told of what it finds */
    bool prio_new;     /* no quick pass since the last pass */
    uint32_t own_zone; /* where the job that is looked at gave up its certificate */
    uint32_t n_matches, cap_matches;
    uint32_t *match_zones;
    uint32_t n_match_zones, cap_match_zones;
    struct bt_map match_by_key;
    struct nation_time *nations;
    uint32_t n_nations;
    struct profile unguaranteed; /* accelerators that lent jobs which cannot stop may hold */
    bool guarded;                /* some nation has a guarantee */
    bool explains;               /* fill blocker and reason */
    bool data_moved;             /* some job's stores are others than in the last plan */
    struct bt_map ends;          /* (zone, end) -> job that ends there */
    struct order *order, *order_spare;
    uint32_t cap_order;
    uint32_t slack_s, slack_percent, turnaround_s;
    struct known *known;         /* [KNOWN_SHAPES], where newcomers take slots; else NULL */
    struct zone_time *plan_time; /* profiles as planned, before certificates; only if explains */
    uint8_t cause;               /* of promises that move in this pass */
    uint32_t cause_job, cause_nation;
    uint32_t *starts; /* jobs that the last pass started */
    uint32_t n_starts, cap_starts;
    uint32_t *promised; /* whose promise is new or moved */
    uint32_t n_promised, cap_promised;
    struct waiting *prio; /* order of the last pass, and who came since */
    uint32_t n_prio, cap_prio;
    uint32_t n_tried;                     /* of prio: nothing was freed since they did not fit */
    struct line *lines;                   /* the same by match and size */
    uint32_t n_lines, cap_lines, in_line; /* in_line: of prio */
    struct bt_map line_by_key;
    uint32_t changes; /* of all zones' profiles */
    uint32_t n_quick;
    int32_t *node_free; /* [slot], sorted in each rack: when running jobs leave whole nodes */
    int32_t *part_free; /* [zone * stride + k]: when a node of it has k accelerators free */
    uint8_t *timed;     /* [zone]: which of the two are known in this pass (TIMED_…) */
    int32_t longest;    /* of what waits */
    int32_t due;        /* the next planned start */
    struct lent *lent;  /* rights.c; of this pass */
    struct plan_victim *victims;
    uint32_t n_victims, cap_victims;
};

/* ---- state (engine.c) ---- */

struct plan_timeline *eng_new(const struct plan_input *facility);
void eng_free(struct plan_timeline *e);
int32_t eng_time(const struct plan_timeline *e, int64_t us); /* rounded up */
int64_t eng_us(const struct plan_timeline *e, int32_t t);
uint32_t eng_add_pending(struct plan_timeline *e, const struct plan_pending *ask);
uint32_t eng_add_running(struct plan_timeline *e, const struct plan_running *r,
                         const struct plan_part *parts);
void eng_remove(struct plan_timeline *e, uint32_t job); /* ended or cancelled */
uint32_t eng_find(const struct plan_timeline *e, uint32_t handle);
size_t eng_bytes(const struct plan_timeline *e);
void eng_reserve(struct plan_timeline *e, uint32_t n_jobs); /* room for so many, no more */
/* Forgets what only passes need: a plan that was given away is asked, not planned on. */
void eng_rest(struct plan_timeline *e);

/* ---- reservations and running jobs in the profiles (charge.c) ---- */

struct need eng_need(const struct plan_pending *ask, uint32_t n_acc, uint32_t zone_acc);
/* Charges (sign 1) or gives back (-1); a reservation below a node that has no berth gets one. */
void resv_charge(struct plan_timeline *e, const struct eng_job *j, struct resv *r, int sign);
void resv_drop(struct plan_timeline *e, const struct eng_job *j, struct resv *r);
void note_running(struct plan_timeline *e, uint32_t job); /* pass.c: who frees nodes when */
void run_charge(struct plan_timeline *e, uint32_t job);
void run_give_back(struct plan_timeline *e, uint32_t job);                /* from now on */
void run_set_limit(struct plan_timeline *e, uint32_t job, int32_t limit); /* >= now */
bool eng_start(struct plan_timeline *e, uint32_t job, uint32_t n_acc, const struct resv *at);

/* ---- slots (search.c) ---- */

uint32_t match_of(struct plan_timeline *e, const struct plan_pending *ask);
/* The same match in one zone only, until it is dropped: the last made first. */
uint32_t match_alone(struct plan_timeline *e, uint32_t match, uint32_t zone);
void match_drop(struct plan_timeline *e, uint32_t match);
bool eng_earliest(struct plan_timeline *e, const struct eng_job *j, uint32_t n_acc, int32_t from,
                  int32_t upto, struct resv *ret);
/* The latest slot in [from, upto] on one zone's whole nodes. */
bool eng_latest(struct plan_timeline *e, const struct eng_job *j, int32_t from, int32_t upto,
                struct resv *ret);
/* Moves a slot (not charged) within its zone to the latest free one the promise allows. */
bool eng_shift(struct plan_timeline *e, const struct eng_job *j, struct resv *r);
/* Whether a reservation's slot is free; below a node in another berth of its zone, if not in its
 * own. */
bool resv_fits(const struct plan_timeline *e, const struct eng_job *j, struct resv *r);

/* ---- in place, not only in number (place.c) ---- */

void times_clear(struct plan_timeline *e); /* each zone's are found when first asked for */
/* When running jobs leave `nodes` whole nodes of a rack of the zone, or `acc` accelerators of a
 * node, less than all of its own. */
int32_t rack_time(struct plan_timeline *e, uint32_t zone, uint32_t nodes);
int32_t part_time(struct plan_timeline *e, uint32_t zone, uint32_t acc);
/* When to look again for a slot that was free in number, not in place. Later than now. */
int32_t place_time(struct plan_timeline *e, const struct eng_job *j, uint32_t zone);
/* Whether what runs leaves room in place by a time; gangs over zones are taken at their count. */
bool place_by(const struct plan_timeline *e, const struct eng_job *j, int32_t by);

/* ---- hopes, and what is known (search.c) ---- */

/* Gangs of more whole nodes than that may lie over several zones, if their level allows it. */
uint32_t least_span(const struct plan_timeline *e, const struct match *m);
/* In a quick pass: whether a start now may be found for a job whose certificate, charged, is in
 * `own` (PLAN_NONE = none is in its way): no search, no charge. */
bool eng_hopes(struct plan_timeline *e, const struct eng_job *j, uint32_t own);
void dead_clear(struct plan_timeline *e); /* no zone is shut, no match dead */
void tell_dead(struct plan_timeline *e, const struct eng_job *j);
/* Whether some zone has the free nodes now, promises aside. */
bool eng_open_now(const struct plan_timeline *e, const struct eng_job *j, uint32_t n_acc);
void memo_clear(struct plan_timeline *e);
void memo_clear_spans(struct plan_timeline *e); /* only of gangs over zones */
/* Only what is at most as large and as long will be asked. */
void memo_bound(struct plan_timeline *e, uint32_t most_acc, int32_t longest);
/* Whether all that is known says: no start at `upto` or before. */
bool memo_none(const struct plan_timeline *e, const struct eng_job *j, int32_t upto);
void memo_clear_match(struct plan_timeline *e, uint32_t match); /* with its zones' times */

/* Sorts by key, equal ones as they were; `spare` has room for as many. */
void order_sort(struct order *v, uint32_t n, struct order *spare);

/* ---- rights (rights.c) ---- */

void rights_order(struct plan_timeline *e, const struct plan_input *in);
void rights_own(struct plan_timeline *e); /* sets may_own */
/* Whether its nation's guarantee has room for it now, for its whole length. */
bool rights_open(const struct plan_timeline *e, const struct eng_job *j);
/* Stops lent jobs so that an owner fits; false if that does not help. */
bool rights_reclaim(struct plan_timeline *e, uint32_t job);
void rights_done(struct plan_timeline *e); /* forgets who may be stopped: after a pass */

/* ---- the pass (pass.c) ---- */

/* When what the job depends on ends at its limit, as planned; after now if that is not known. */
int32_t after_end(const struct plan_timeline *e, const struct eng_job *j);
/* A zone of the reservation that has windows; PLAN_NONE = none has. */
uint32_t resv_window(const struct plan_timeline *e, const struct resv *r);
int32_t end_of(const struct eng_job *j, int32_t start);
void cert_uncharge(struct plan_timeline *e, struct eng_job *j);
void cert_forget(struct plan_timeline *e, struct eng_job *j);
/* Starts the job in a slot that begins now; false if there is no place (*r is then still the
 * caller's). */
bool try_start(struct plan_timeline *e, uint32_t job, uint32_t n_acc, struct resv *r);
/* The slot of a job that is not in the plan, in what the plan leaves free; *j takes no charge, its
 * plan.span is the caller's. */
struct plan_slot eng_provisional(struct plan_timeline *e, const struct plan_pending *job,
                                 int64_t now_us, struct eng_job *j);
struct zone_time *time_copy(const struct zone_time *t, uint32_t n);
void time_free(struct zone_time *t, uint32_t n);
void eng_pass(struct plan_timeline *e, const struct plan_input *rights, int32_t now);

/* ---- between passes (quick.c) ---- */

/* Starts whatever fits now beside all certificates, in the order of the last pass, newcomers last.
 */
void eng_quick(struct plan_timeline *e, int32_t now);
void lines_free(struct plan_timeline *e);

#endif
