/* sweep_own.h - the names that options.c reads and sweep.c prints. Private to this folder.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_COLL_SWEEP_OWN_H
#define BT_COLL_SWEEP_OWN_H

#include "agent/coll/sweep.h"

enum operation { ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, BROADCAST, REDUCE, ALLTOALL, SENDRECV };

extern const char *const sweep_types[];      /* by enum coll_type */
extern const char *const sweep_ops[];        /* by enum coll_op */
extern const char *const sweep_operations[]; /* by enum operation */

int sweep_index(const char *const *names, size_t n, const char *name); /* -1: not among them */
enum operation sweep_operation(const struct sweep_options *o);

#endif
