/* plan_view.h - one planning round: the snapshot that went in and the answer that came out.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Shared by reference between the planner, the core and those who show it. Once the planner
 * has filled `out` nothing in it changes. */
#ifndef BT_DAEMON_CORE_PLAN_VIEW_H
#define BT_DAEMON_CORE_PLAN_VIEW_H

#include <stdint.h>

#include "daemon/sched/plan.h"
#include "lib/base/uuid.h"

struct plan {
    _Atomic int refs;
    struct plan_input in;     /* its arrays are owned below */
    struct plan_output out;   /* empty until planned */
    struct plan_spare *spare; /* what `out` leaves free, for newcomers: the core's alone */
    struct plan_live *live;   /* the same plan carried on as jobs end: the core's alone, or NULL */
    bool planned;
    struct plan_node *nodes;
    struct plan_nation *nations;
    char (*codes)[16]; /* of the nations */
    struct plan_share *projects;
    struct plan_share *persons;
    struct plan_running *running;
    struct plan_part *parts;
    struct plan_pending *pending;
    struct plan_window *windows;
    uint32_t *window_nodes;
    struct plan_moored *moored;
    uint32_t n_window_nodes;
    /* of pending jobs that no site serves, handles rising: what is missing; by list of data sets,
     * 0 an account */
    struct plan_lack {
        uint32_t handle, list;
    } * lacks;
    char **lack_texts; /* [list]; NULL: nothing */
    uint32_t n_lacks, cap_lacks, n_lack_texts;
    /* of each pending job, in the order of `pending`: whom a slot belongs to */
    struct plan_who {
        struct bt_uuid id;
        int64_t number;
    } * who;
    struct plan_who *running_who; /* in the order of `running` */
};

struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p); /* NULL is fine */

/* After sched_plan: marks it planned and makes `spare`. */
void plan_made(struct plan *p);
/* After sched_plan, `in` being as it was: makes `live`, which costs as much again. */
void plan_carry_on(struct plan *p);
/* The slot of a job, NULL if the plan does not know it. */
const struct plan_slot *plan_slot_of(const struct plan *p, struct bt_uuid id);
/* The number of the job behind a handle, 0 if unknown; the code of a nation, "?" if none. */
int64_t plan_number_of(const struct plan *p, uint32_t handle);
const char *plan_nation_of(const struct plan *p, uint32_t nation);
/* Why the slot's job waits, with numbers and codes. */
void plan_reason(const struct plan *p, const struct plan_slot *slot, struct bt_buf *to);

#endif
