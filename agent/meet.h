/* meet.h - how ranks on one machine find and know each other, and where our programs lie.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_MEET_H
#define BT_AGENT_MEET_H

#include <stddef.h>

#include "lib/base/err.h"

/* A port of loopback that is free now; rank 0 binds it a moment later and fails loudly if
 * somebody took it. */
int meet_port(struct bt_err *err) BT_MUSTUSE;
/* The numeric address of this machine from which packets go to the host of a URL (or to a
 * "host:port"); nothing is sent. */
int meet_address(const char *url, char *ret, size_t size, struct bt_err *err) BT_MUSTUSE;
/* A new secret of 64 hex digits that only the file's owner reads. */
int meet_secret(const char *path, struct bt_err *err) BT_MUSTUSE;
/* beamtime-train or beamtime-coll: in libexec, or in a build folder below it in its own. */
void meet_program(const char *libexec, const char *name, char *ret, size_t size);

#endif
