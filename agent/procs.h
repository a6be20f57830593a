/* procs.h - finds every process of a job by /proc, so that none outlives it.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A shepherd is the child subreaper of its ranks (prctl(2)): whatever they fork, also twice and
 * into new sessions, stays its descendant while it lives. When a shepherd was killed, its
 * orphans are found by the marks that they carry in their environment, by the cgroup
 * (agent/cgroup.h) and among the children of the next subreaper, the agent. */
#ifndef BT_AGENT_PROCS_H
#define BT_AGENT_PROCS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pids {
    pid_t *v;
    size_t n, cap;
};

void pids_done(struct pids *p);
void pids_add(struct pids *p, pid_t pid); /* once */
bool pids_have(const struct pids *p, pid_t pid);

/* Adds every living (not zombie) descendant of `root`, without root itself. */
void procs_below(pid_t root, struct pids *to);

bool procs_runs_us(pid_t pid); /* the very file that this process runs, also when it was replaced */

/* Adds the living descendants of `root`, but no subtree whose first process runs this very
 * program: at the agent, these are the other attempts' shepherds. */
void procs_orphans_of(pid_t root, struct pids *to);

/* Adds every living process whose initial environment has both `a` and `b` ("BEAM_JOB=…"). */
void procs_marked(const char *a, const char *b, struct pids *to);

#endif
