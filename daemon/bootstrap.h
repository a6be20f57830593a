/* bootstrap.h - the first start of a facility: its council, its site, and the first two tokens.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_BOOTSTRAP_H
#define BT_DAEMON_BOOTSTRAP_H

#include "daemon/core/event.h"
#include "daemon/pki/pki.h"
#include "lib/base/err.h"

struct bootstrap {
    const char *state_dir;
    const char *site;
    struct pki *pki;
    /* Posts the event (taken over), waits until it is committed. */
    int (*do_event)(void *arg, struct event *ev, struct bt_err *err);
    void *arg;
};

/* Does nothing when DIR/council.token is there. Else makes nation "council" with its authority
 * and person council/chair, the site, the class of CPUs, and writes DIR/council.token and
 * DIR/agent.token (mode 0600) once everything they stand for is committed. */
int bootstrap_facility(const struct bootstrap *b, struct bt_err *err) BT_MUSTUSE;

/* The short host name as a node's name: what the embedded agent is called. */
void bootstrap_node_name(char ret[64]);

#endif
