/* local.h - what each node of the `local` back end shall run: the board that its agent polls.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The engine writes the wants of each batch here after the batch is committed; the HTTP threads
 * of the agents read them. The board holds the whole desired state of a node, so an agent needs
 * no history: an attempt that it runs and does not find here is not wanted any more. Nothing is
 * stored: at start the core gives the wants of its open attempts (board_full).
 *
 * A node's seq rises with each change. It starts from the time of board_new, so that a seq of an
 * earlier run of the daemon never equals one of this run (both fit JSON's 53 bits).
 *
 * Thread safe; no I/O. */
#ifndef BT_DAEMON_CLUSTERS_LOCAL_H
#define BT_DAEMON_CLUSTERS_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/batch.h"
#include "lib/base/buf.h"

struct wants_board;

struct wants_board *board_new(int64_t now_us);
void board_free(struct wants_board *board);

/* Replaces everything: the wants of all open attempts (at start, after a reload). Copies. */
void board_full(struct wants_board *board, const struct want *wants, int n);

/* The changes of one committed batch, in order. RUN adds an attempt, STOP marks one, GONE takes
 * it away. A want that changes nothing leaves the seq as it is. Copies. */
void board_apply(struct wants_board *board, const struct want *wants, int n);

/* What a committed batch says of trials: a node is in the last one that names it, or in none
 * (id 0). Copies. */
void board_trials(struct wants_board *board, const struct view_trial *trials, int n);

/* The document of a job that was just committed. Copies; the last ones are kept (papers.h). */
void board_document(struct wants_board *board, struct bt_uuid job, const char *text);

struct board_ask {
    int64_t after;  /* the seq that is known; -1: none */
    bool documents; /* with the documents of what is new since then, where they are still here */
};

/* If the node's seq differs from ask->after, appends its desired state to `json` (NULL: nothing) as
 * {"seq":n,"wants":[{"job","number","attempt","action","kind","walltime_s","grace_s","signal",
 * "tier","accelerators","nodes","mask","unixname","document"?}…]} and returns true; while it is in
 * a trial with "trial":{"id","rank","world","deadline_s","address","secret"}. "document" is the job
 * document as a text. ret_seq (may be NULL) gets the seq in both cases. A node without wants has an
 * empty list. */
bool board_get(struct wants_board *board, const char *node, const struct board_ask *ask,
               struct bt_buf *json, int64_t *ret_seq);

#endif
