/* shepherd.h - the process that keeps one attempt: starts its ranks, watches, stops, and accounts
 * for them. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * It speaks to nobody: it reads and writes the attempt's spool folder (agent/spool.h) and may
 * be killed at any instruction. Whoever starts a shepherd on that folder again goes on: before
 * the file `ranks` exists nothing has run and the attempt may start; with it and without
 * `ended.json` the attempt is lost: what is left of it is killed and said. */
#ifndef BT_AGENT_SHEPHERD_H
#define BT_AGENT_SHEPHERD_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/spool.h"
#include "lib/base/err.h"

enum { EXIT_CHECKPOINTED = 85, EXIT_NO_PROGRAM = 127, RANKS_MAX = 64 };

/* Why the ranks were told to end. */
enum stop_cause {
    STOP_NONE,     /* they ended by themselves */
    STOP_WANTED,   /* the facility wants them stopped, or gone */
    STOP_WALLTIME, /* their time is over */
    STOP_LEASE,    /* no contact with the facility */
    STOP_SHUTDOWN, /* this node stops */
    STOP_RANK,     /* another rank of theirs failed */
};

/* The verdict of ranks that ran: `status` as from wait(2), `killed` if SIGKILL was ours. A run
 * that was signalled at its walltime and ended itself with 0 or EXIT_CHECKPOINTED has exited. */
void shepherd_judge(enum stop_cause cause, int status, bool killed, const struct order *o,
                    struct verdict *ret);

/* When, after the start, the signal is due and when the kill, in µs: the grace lies within the
 * walltime, for a job never runs beyond its hold, and takes at most half of it. */
void shepherd_times(const struct order *o, int64_t *ret_signal_us, int64_t *ret_kill_us);

/* Runs to the attempt's end; the process has nothing else to do and one thread. */
int shepherd_run(const char *dir, struct bt_err *err) BT_MUSTUSE;

/* Removes the attempt's working folder as its user, so that nobody's links lead root astray. */
int shepherd_clean(const char *dir, struct bt_err *err) BT_MUSTUSE;

/* The same where nothing but our own files is left, for which no other program and user is needed;
 * false: shepherd_clean has to do it. Any thread. */
bool shepherd_clean_bare(const char *dir);

#endif
