/* link.h - what needs no identity: enrolment, and the public listener over plain HTTP.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLI_LINK_H
#define BT_CLI_LINK_H

#include <stdint.h>

#include "cli/app.h"

/* POST /v1/enrol with nothing but a trusted root (PEM): there is no certificate yet. */
int link_enrol(struct app *app, const char *url, const char *ca_pem, const char *body,
               struct reply *ret, struct bt_err *err) BT_MUSTUSE;

/* The public listener of base "http://host:port", which is borrowed. */
struct public;
int public_open(const char *base, struct public **ret, struct bt_err *err) BT_MUSTUSE;
void public_close(struct public *p);
/* Appends the body of base/path, at most max bytes; BT_ERR_NOT_FOUND. */
int public_get(struct public *p, const char *path, size_t max, struct bt_buf *to,
               struct bt_err *err) BT_MUSTUSE;
/* Hashes the body as it comes, whatever its size. */
int public_hash(struct public *p, const char *path, uint8_t sha256[32], int64_t *ret_bytes,
                struct bt_err *err) BT_MUSTUSE;

#endif
