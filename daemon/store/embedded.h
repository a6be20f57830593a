/* embedded.h - a private PostgreSQL under the facility's state directory: made, started, adopted,
 * restarted and stopped by the daemon's main thread.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files: DIR/pg (data, 0700), DIR/pg.log, and a socket folder DIR/run/pg (0700), or a short one
 * under /run or /tmp when DIR is too long for a socket's 107 bytes. It listens on that socket
 * only. Started by root it runs as an unprivileged user, else as whoever starts it; peer
 * authentication lets root and that user be the roles below and nobody else in.
 *
 * Call everything from one thread that lives as long as the process (the main thread): the
 * server is told to stop when that thread dies (prctl(2), PR_SET_PDEATHSIG). A server that a
 * killed daemon left behind is adopted. Not thread safe. */
#ifndef BT_DAEMON_STORE_EMBEDDED_H
#define BT_DAEMON_STORE_EMBEDDED_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/base/err.h"

struct embedded;

struct embedded_settings {
    const char *dir;    /* state directory; made if it is not there */
    const char *bindir; /* folder of initdb and postgres; NULL: meson's pg_bindir */
    const char *user;   /* whom to run as when started by root; NULL: postgres, else nobody */
};

enum embedded_role {
    EMBEDDED_OWNER,  /* beamtime: owns the tables */
    EMBEDDED_READ,   /* beamtime_read: SELECT, but not of tokens and credentials */
    EMBEDDED_PUBLIC, /* beamtime_public: SELECT of the ledger alone */
    EMBEDDED_ROLES
};

/* Makes the cluster if there is none (a kill while it is made leaves nothing behind), starts or
 * adopts it, waits until it takes connections. BT_ERR_UNSUPPORTED without the programs,
 * BT_ERR_IO with the last line of its log. */
int embedded_start(const struct embedded_settings *settings, struct embedded **ret,
                   struct bt_err *err) BT_MUSTUSE;

/* libpq's connection string of a role; borrowed, the same after every restart. */
const char *embedded_conninfo(const struct embedded *e, enum embedded_role role);
const char *embedded_bindir(const struct embedded *e);
pid_t embedded_pid(const struct embedded *e);    /* of the postmaster */
bool embedded_adopted(const struct embedded *e); /* another process started it */

/* To be called now and then: 0 it runs, 1 it had died and was started again (it may not take
 * connections yet: the store retries), negative: it cannot be started. Never waits long. */
int embedded_poll(struct embedded *e, struct bt_err *err) BT_MUSTUSE;

/* Fast shutdown (sessions are ended, a checkpoint is written) and waits; after 30 s at once. */
int embedded_stop(struct embedded *e, struct bt_err *err) BT_MUSTUSE;
void embedded_free(struct embedded *e); /* forgets it, running or not; NULL is fine */

/* Runs a program of the cluster's version as its user, with `argv[0]` a bare name ("pg_dump"):
 * stdin is /dev/null, stdout goes to fd `out` (-1: the log), stderr to the log. Returns its exit
 * status. */
int embedded_run(const struct embedded *e, const char *const *argv, int out,
                 struct bt_err *err) BT_MUSTUSE;

#endif
