/* site_topo.h - compares the switches that a cluster names with those that its agents were told.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The cluster counts; an agent's numbers only stand where it names no switch. They agree when the
 * nodes of one switch have one number and no two switches the same. Pure. */
#ifndef BT_DAEMON_CLUSTERS_SITE_TOPO_H
#define BT_DAEMON_CLUSTERS_SITE_TOPO_H

#include <stddef.h>
#include <stdint.h>

#include "lib/json/json.h"

struct topo_node {
    const char *node;              /* borrowed, as all here */
    const char *leaf, *pod;        /* as the cluster names them; "" */
    int32_t agent_leaf, agent_pod; /* as the agent says; 0: it does not */
};

/* Writes {"node","what","expected","actual","fix"} for each difference into the open array; how
 * many. */
int topo_diff(const struct topo_node *v, size_t n, struct json_writer *w);

#endif
