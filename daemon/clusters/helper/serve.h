/* serve.h - answers the daemon's frames with the calls' results, one after another.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLUSTERS_HELPER_SERVE_H
#define BT_CLUSTERS_HELPER_SERVE_H

#include "daemon/clusters/helper/calls.h"

/* Answers the first frame in `in` (which loses it) into `out`: 1; 0 when none is complete.
 * BT_ERR_INVALID when the daemon speaks another language: then there is no way on. */
int serve_frame(const struct calls *calls, struct bt_buf *in, struct bt_buf *out,
                struct bt_err *err) BT_MUSTUSE;

/* Reads and writes fd, writing hello first, until its other end is closed. */
int serve_fd(const struct calls *calls, const struct wire_reply *hello, int fd,
             struct bt_err *err) BT_MUSTUSE;

#endif
