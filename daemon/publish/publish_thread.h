/* publish_thread.h - the thread that publishes whatever has been committed.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * It opens the publisher, catches up with the database, then sleeps until it is woken. Entries
 * that come while a commit runs go into the next one: no batch timer. A failure is told to
 * calls.failed and tried again with a growing pause, the guard's refusals excepted: then it
 * signs nothing more until the process starts again, while everything else goes on. */
#ifndef BT_DAEMON_PUBLISH_PUBLISH_THREAD_H
#define BT_DAEMON_PUBLISH_PUBLISH_THREAD_H

#include "daemon/publish/publish.h"

struct publish_thread;

/* The options are copied; what they point to must outlive the thread. interval_us: between two
 * checkpoints where entries keep coming (0: none); the first three after a pause come at once. */
int publish_thread_start(const struct publish_options *o, int64_t interval_us,
                         struct publish_thread **ret, struct bt_err *err) BT_MUSTUSE;

/* `committed` entries are in the database now. Any thread; never blocks for long. */
void publish_thread_wake(struct publish_thread *t, uint64_t committed);

/* Publishes what it was woken for, unless publishing fails, ends the thread and frees it. */
void publish_thread_stop(struct publish_thread *t);

#endif
