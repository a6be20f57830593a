/* problem.h - errors on the wire: problem details (RFC 9457) from struct bt_err and back.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_API_PROBLEM_H
#define BT_API_PROBLEM_H

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/uuid.h"

#define PROBLEM_TYPE "application/problem+json"

/* Appends {"type","title","status","code","detail","next"?,"request_id"?, more}. `status` 0 takes
 * the error's own. request_id may be NULL; `more` are JSON members without braces, or NULL. */
void problem_write(struct bt_buf *to, const struct bt_err *e, int status, const char *request_id,
                   const char *more);

/* Reads a problem document that came with HTTP `status` into *ret, also when the text is none
 * (then the status says what it can). request_id[BT_UUID_TEXT] gets "" if there is none. */
void problem_read(const char *text, size_t n, int status, struct bt_err *ret, char *request_id);

#endif
