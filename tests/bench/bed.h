/* bed.h - a real Slurm for a bench: the testbed of tests/slurm, and agents on its nodes.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every function ends the bench with a sentence when it fails. */
#ifndef BT_TESTS_BENCH_BED_H
#define BT_TESTS_BENCH_BED_H

#include "tests/bench/rig.h"

enum { BED_NODES_MAX = 16 };

struct bed {
    char *dir;  /* of the testbed */
    char *base; /* the folder above: agents, their programs */
    int n_nodes;
    bool cloud;
    pid_t agents[BED_NODES_MAX];
};

/* Runs a command line of the shell, with SLURM_CONF set; returns its exit status. */
int bed_shell(const struct bed *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A number that a command line prints. */
int64_t bed_number(const struct bed *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A cluster of n nodes b1…, in a folder of its own below `base`. `more`: lines for slurm.conf. */
void bed_start(struct bed *b, const char *base, int n, bool cloud, const char *more);
/* The same cluster with n nodes: its controller starts again on the state that is there. */
void bed_resize(struct bed *b, int n, const char *more);
void bed_stop(struct bed *b);

/* Starts beamtime-slurm on the cluster and asks it for the nodes twice: how long its start with
 * the whole list took, and an answer that nothing changed. Returns the number of nodes. */
int bed_inventory(struct bed *b, double *ret_load_s, double *ret_refresh_s);

/* Puts the cluster under the facility as site "bench" and starts an agent for each node; returns
 * when every node is up. */
void bed_join(struct bed *b, struct rig *r);
void bed_leave(struct bed *b); /* ends the agents */

#endif
