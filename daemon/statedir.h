/* statedir.h - the state directory: its layout, its one owner, its ready mark.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   run/daemon.pid  locked by the process that owns the directory
 *   run/ports       "people 8443" …, the ports really listened on
 *   run/ready       there while it serves
 *   known           the highest epoch and batch that were seen committed
 *   pki/ blobs/ logs/ ledger/ pg/ */
#ifndef BT_DAEMON_STATEDIR_H
#define BT_DAEMON_STATEDIR_H

#include <stdint.h>

#include "lib/base/err.h"

struct statedir {
    char *path;
    char *pki, *blobs, *logs, *ledger, *run;
    int lock_fd, known_fd;
};

/* Makes what is missing and takes the lock. BT_ERR_LOCKED names the process that has it. */
int statedir_open(const char *path, struct statedir *ret, struct bt_err *err) BT_MUSTUSE;
void statedir_close(struct statedir *d); /* removes the ready mark, gives the lock back */

int statedir_ports(const struct statedir *d, int people, int agents, int open,
                   struct bt_err *err) BT_MUSTUSE;
int statedir_ready(const struct statedir *d, struct bt_err *err) BT_MUSTUSE;

/* The highest epoch and batch that were seen committed, kept outside the database so that one that
 * was restored from a copy is noticed; both 0 at first. BT_ERR_CORRUPT. */
int statedir_known(const struct statedir *d, uint64_t *ret_epoch, uint64_t *ret_seq,
                   struct bt_err *err) BT_MUSTUSE;
/* Remembers; the file may lag behind after a loss of power, never be ahead. */
int statedir_know(const struct statedir *d, uint64_t epoch, uint64_t seq,
                  struct bt_err *err) BT_MUSTUSE;

#endif
