/* shepherd_own.h - what the parts of a shepherd share; private to shepherd*.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_SHEPHERD_OWN_H
#define BT_AGENT_SHEPHERD_OWN_H

#include "agent/account.h"
#include "agent/cgroup.h"
#include "agent/environ.h"
#include "agent/shepherd.h"
#include "agent/spec.h"
#include "agent/stream.h"

struct rank_run {
    pid_t pid;
    bool over;
    int status; /* as from wait(2) */
};

struct shepherd {
    const char *dir; /* the spool folder */
    struct order order;
    struct spec spec;
    struct account account;
    struct places places;
    struct cage cage;

    struct rank_run ranks[RANKS_MAX];
    int n_ranks, n_over;
    int first_bad; /* index of the first rank that failed; -1: none */

    int inotify;
    int spool_watch, metrics_watch;
    int signals;  /* signalfd */
    int out, err; /* our ends of the ranks' pipes; -1: at their end */
    int metrics;  /* the job's metrics file */
    struct stream log_out, log_err, log_metrics;

    enum stop_cause cause;
    bool killed;
    int64_t started_us; /* CLOCK_MONOTONIC */
    int64_t started_wall_us;
    int64_t signal_due_us, kill_due_us;
    int64_t signalled_wall_us; /* 0: not yet */
};

/* shepherd_start.c: everything up to running ranks. On failure nothing of them is left. */
int shepherd_start(struct shepherd *s, struct bt_err *err) BT_MUSTUSE;

/* shepherd_watch.c */
int shepherd_listen(struct shepherd *s, struct bt_err *err) BT_MUSTUSE; /* inotify, signals */
void shepherd_await(struct shepherd *s, int64_t until_us); /* sleeps until something happens */
void shepherd_watch(struct shepherd *s);                   /* until every rank is over */
void shepherd_kill_rest(struct shepherd *s); /* until no process of the attempt is left */
void shepherd_kill_lost(struct shepherd *s); /* the same for an earlier shepherd's attempt */
void shepherd_drain(struct shepherd *s);     /* the rest of pipes and metrics into the logs */

#endif
