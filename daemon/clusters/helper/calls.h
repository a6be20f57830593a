/* calls.h - the calls of libslurm that the broker needs, in our words.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A table, so that serve.c is tried without a cluster. Every call may block up to the cluster's
 * MessageTimeout. Errors: BT_ERR_UNREACHABLE (the controller did not answer: what was asked may
 * have happened all the same), else it was refused. One thread. */
#ifndef BT_CLUSTERS_HELPER_CALLS_H
#define BT_CLUSTERS_HELPER_CALLS_H

#include "daemon/clusters/wire.h"

struct calls {
    /* Fill ret->nodes, or jobs, others, n_others; or set ret->unchanged unless fresh. */
    int (*nodes)(void *arg, bool fresh, const char *partition, struct wire_reply *ret,
                 struct bt_err *err);
    int (*jobs)(void *arg, bool fresh, struct wire_reply *ret, struct bt_err *err);
    int (*submit)(void *arg, const struct wire_submit *job, int64_t *ret_id, struct bt_err *err);
    /* Ends the job of that id if it carries the comment; a job that is over counts as ended. */
    int (*cancel)(void *arg, uint32_t id, const char *comment, struct bt_err *err);
    /* Fills *ret for that partition and account (wire.h). */
    int (*conf)(void *arg, const char *partition, const char *user, struct wire_conf *ret,
                struct bt_err *err);
    /* Fills ret->queue: every job of the partition ("": of all), or sets ret->unchanged. */
    int (*queue)(void *arg, bool fresh, const char *partition, struct wire_reply *ret,
                 struct bt_err *err);
    /* Lets a node work again that is drained as a duplicate (wire.h), and no other. */
    int (*resume)(void *arg, const char *node, struct bt_err *err);
    /* Compares slurmdbd's accounts with want[] (which it sorts); with `apply` makes them so. */
    int (*fence)(void *arg, bool apply, struct fence_row *want, size_t n_want,
                 struct wire_fenced *ret, struct bt_err *err);
    void *arg;
};

struct cluster; /* libslurm with one configuration loaded */

/* Loads the configuration (a bad one ends the process: libslurm does) and asks the controller
 * for its version. Fills the hello. */
int cluster_open(const char *slurm_conf, struct cluster **ret, struct wire_reply *hello,
                 struct bt_err *err) BT_MUSTUSE;
void cluster_close(struct cluster *c);
void cluster_calls(struct cluster *c, struct calls *ret);

#endif
