/* papers.h - the documents of the jobs that were submitted last, so that a node that shall run one
 * of them gets it with the want, and nobody asks the database for what has just been written.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A ring: the oldest go first, at PAPERS_MAX documents or PAPERS_BYTES. What is not here is in the
 * database. Pure; one thread at a time. */
#ifndef BT_DAEMON_CLUSTERS_PAPERS_H
#define BT_DAEMON_CLUSTERS_PAPERS_H

#include "lib/base/uuid.h"

struct papers;

enum {
    PAPERS_MAX = 4096,
    PAPERS_BYTES = 2 << 20,     /* of all texts */
    PAPERS_TEXT_BYTES = 1 << 16 /* of one: longer ones are not kept */
};

struct papers *papers_new(void);
void papers_free(struct papers *p);

/* Keeps a copy of the job's document. A job is added once. */
void papers_add(struct papers *p, struct bt_uuid job, const char *text);

/* The job's document, or NULL: it is not here. Borrowed until the next papers_add. */
const char *papers_find(const struct papers *p, struct bt_uuid job);

#endif
