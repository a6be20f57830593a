/* fence.h - compares what slurmdbd should know of the facility's projects with what it knows.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A project is an account "bt_<nation>_<project>" with a QOS of the same name, whose GrpTRES bounds
 * the accelerators that the project may hold at once, and the Unix accounts of its members. Names
 * of people and projects have no '_', so nothing else has such a name; what has not is never looked
 * at. Pure. */
#ifndef BT_DAEMON_CLUSTERS_FENCE_H
#define BT_DAEMON_CLUSTERS_FENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FENCE_PREFIX "bt_"
enum {
    FENCE_NAME = 96,
    FENCE_USER = 33,
    FENCE_NO_QOS = -2, /* there is no QOS of that name */
    FENCE_NO_CAP = -1, /* there is, without a bound */
};

/* An account (user "") or one of its users. */
struct fence_row {
    char account[FENCE_NAME];
    char user[FENCE_USER];
    int64_t cap;  /* of an account: accelerators at once, or FENCE_NO_x */
    bool there;   /* of an account: it exists on this cluster, not only its QOS */
    bool own_qos; /* of an account: its jobs get its own QOS */
};

enum fence_act {
    FENCE_ADD_ACCOUNT,
    FENCE_ADD_QOS,
    FENCE_SET_CAP,
    FENCE_SET_QOS, /* the account's default */
    FENCE_ADD_USER,
    FENCE_NOTHING, /* only people can mend it */
};

/* Something that differs, and what mends it. */
struct fence_item {
    enum fence_act act;
    char account[FENCE_NAME];
    char user[FENCE_USER];
    int64_t cap; /* ADD_QOS, SET_CAP */
    char what[16];
    char expected[FENCE_NAME];
    char actual[FENCE_NAME];
};

/* Sorts both lists. Items in the order in which they are to be done; owned by the caller. An
 * account of ours that is not wanted any more keeps its history and gets a cap of 0. */
struct fence_item *fence_compare(struct fence_row *want, size_t n_want, struct fence_row *has,
                                 size_t n_has, size_t *ret_n);
/* What a person types to do the same. */
void fence_fix(const struct fence_item *item, char *to, size_t size);

#endif
