/* cluster_own.h - what the files that call libslurm share.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLUSTERS_HELPER_CLUSTER_OWN_H
#define BT_CLUSTERS_HELPER_CLUSTER_OWN_H

#include <errno.h>
#include <string.h>

#include "daemon/clusters/helper/calls.h"
#include "daemon/clusters/helper/compat.h"

enum { PASSWD_ROOM = 65536 };

/* The library's errno as an error of ours, with what mends it where that is known. */
int cluster_failed(const char *what, struct bt_err *err);

int cluster_conf(void *arg, const char *partition, const char *user, struct wire_conf *ret,
                 struct bt_err *err) BT_MUSTUSE;
int cluster_queue(void *arg, bool fresh, const char *partition, struct wire_reply *ret,
                  struct bt_err *err) BT_MUSTUSE;
/* Whether "a,b,c" names the partition; "" is in every list. */
bool cluster_in_list(const char *list, const char *partition);

/* dbd.c: makes slurmdbd know these accounts (fence.h), or only compares. */
int cluster_fence(void *arg, bool apply, struct fence_row *want, size_t n_want,
                  struct wire_fenced *ret, struct bt_err *err) BT_MUSTUSE;

/* topo.c: the switches of its nodes, from slurm_load_topo; none without topology/tree. */
struct topology;
int cluster_topology(struct topology **ret, struct bt_err *err) BT_MUSTUSE;
void cluster_topology_free(struct topology *t);
uint64_t cluster_topology_sum(const struct topology *t); /* another one when anything changed */
void cluster_place(const struct topology *t, struct wire_node *n); /* fills leaf and pod */

#endif
