/* statedir.h - the state directory: its layout, its one owner, its ready mark.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   run/daemon.pid  locked by the process that owns the directory
 *   run/ports       "people 8443" …, the ports really listened on
 *   run/ready       there while it serves
 *   pki/ blobs/ logs/ ledger/ pg/ */
#ifndef BT_DAEMON_STATEDIR_H
#define BT_DAEMON_STATEDIR_H

#include "lib/base/err.h"

struct statedir {
    char *path;
    char *pki, *blobs, *logs, *ledger, *run;
    int lock_fd;
};

/* Makes what is missing and takes the lock. BT_ERR_LOCKED names the process that has it. */
int statedir_open(const char *path, struct statedir *ret, struct bt_err *err) BT_MUSTUSE;
void statedir_close(struct statedir *d); /* removes the ready mark, gives the lock back */

int statedir_ports(const struct statedir *d, int people, int agents, int open,
                   struct bt_err *err) BT_MUSTUSE;
int statedir_ready(const struct statedir *d, struct bt_err *err) BT_MUSTUSE;

#endif
