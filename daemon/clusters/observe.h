/* observe.h - what the facility would have promised to the jobs of a cluster that it only watches,
 * beside what Slurm then did. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Each time the queue is listed, every job that waits there for the first time is planned by the
 * facility's own planner: on the cluster's nodes, behind the jobs that run, with everything else
 * that waits, one person's work as good as another's. What it would have told its owner (planned
 * start, latest start) is kept, as is Slurm's own first estimate; the job's actual start is
 * compared with both. Jobs that are held or depend on others are looked at when they no longer
 * are. Pure. */
#ifndef BT_DAEMON_CLUSTERS_OBSERVE_H
#define BT_DAEMON_CLUSTERS_OBSERVE_H

#include "daemon/clusters/wire.h"

enum { OBSERVE_KEEP = 4096, OBSERVE_SHOWN = 100, OBSERVE_LINE = 256 };

struct observed {
    int64_t id, submit_us;
    int32_t acc;         /* accelerators in all */
    int64_t seen_us;     /* first seen waiting */
    int64_t planned_us;  /* as planned then; INT64_MAX: never */
    int64_t promised_us; /* the latest start that would have been promised; 0: none */
    int64_t slurm_us;    /* Slurm's own first estimate; 0: none */
    int64_t started_us;  /* 0: it waits */
    bool found;          /* in the list at hand */
};

struct observer {
    int64_t since_us;         /* of the first list; 0: none was seen */
    struct observed *waiting; /* by id */
    size_t n_waiting, cap_waiting;
    struct observed *done; /* a ring of OBSERVE_KEEP, the oldest overwritten */
    size_t n_done, next;
    size_t n_new;      /* of them, since observe_new was asked last */
    int64_t compared;  /* started, and planned before */
    int64_t on_time;   /* of these, not after the promise */
    int64_t cancelled; /* ended without a start */
};

void observe_done(struct observer *o);
/* A whole list of the queue; `nodes` are the cluster's, as last listed. */
void observe_list(struct observer *o, const struct wire_node *nodes, size_t n_nodes,
                  const struct wire_queued *jobs, size_t n_jobs, int64_t now_us);
/* {"since","waiting","compared","on_time",…,"items":[…]}: the members of an open object. */
void observe_report(const struct observer *o, struct json_writer *w);

/* Comparisons outlive the process as lines of a file: appends those made since the last call, and
 * takes the lines of such a file back (others are passed over). */
void observe_new(struct observer *o, struct bt_buf *to);
void observe_load(struct observer *o, const char *text, size_t n);

#endif
