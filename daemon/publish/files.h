/* files.h - the served folder as a log's sink: many files, then one durable moment.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_PUBLISH_FILES_H
#define BT_DAEMON_PUBLISH_FILES_H

#include "lib/ledger/log.h"

struct publish_files {
    const char *dir; /* borrowed */
    char **pending;  /* files written since the last sync, owned paths */
    size_t n, cap;
    struct bt_buf folders; /* those with new names in them since the last sync, each with its NUL */
    int (*before)(void *arg, struct bt_err *err); /* called before each file; may be NULL */
    void *arg;
};

void publish_files_done(struct publish_files *f);

/* Renames each file into place at once, but only publish_files_sync makes it durable. The sink
 * borrows f. */
struct log_sink publish_files_sink(struct publish_files *f);

/* fsyncs what was written since the last call, and the folders. */
int publish_files_sync(struct publish_files *f, struct bt_err *err) BT_MUSTUSE;

#endif
