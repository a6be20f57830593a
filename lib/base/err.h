/* err.h - the error contract of every library function.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A function that can fail returns int: zero or more is success, a negative
 * value is -BT_ERR_x. Its last parameter is `struct bt_err *err`, where it
 * leaves one sentence for a person and, where there is one, the next step;
 * err may be NULL. On failure nothing else that the caller passed in has
 * changed. Library code never logs. */
#ifndef BT_BASE_ERR_H
#define BT_BASE_ERR_H

#include "lib/base/attr.h"

enum bt_errno {
    BT_OK = 0,
#define X(name, number, http, exit_status, message) BT_ERR_##name = (number),
#include "lib/base/errors.def"
#undef X
};

struct bt_err {
    int code;       /* BT_ERR_x, positive; 0 when nothing failed */
    char text[240]; /* one sentence: what is wrong, naming the thing */
    char next[160]; /* the command or step that mends it; "" if there is none */
};

/* Fills err (if not NULL) and returns -code, so that `return bt_fail(...)` is
 * the one way a library function fails. */
int bt_fail(struct bt_err *err, enum bt_errno code, const char *fmt, ...) BT_PRINTF(3, 4);

/* Adds the next step to an error just made; returns its argument `rc` unchanged. */
int bt_next(struct bt_err *err, int rc, const char *fmt, ...) BT_PRINTF(3, 4);

/* Like bt_fail with strerror(errno) behind the text. */
int bt_fail_errno(struct bt_err *err, enum bt_errno code, const char *fmt, ...) BT_PRINTF(3, 4);

const char *bt_err_name(int code);    /* "QUOTA_EXCEEDED"; "UNKNOWN" if unknown; static */
const char *bt_err_message(int code); /* "quota exceeded"; static */
int bt_err_http(int code);            /* 409; 500 if unknown */
int bt_err_exit(int code);            /* exit status of the command line: 6 */
int bt_err_by_name(const char *name); /* BT_ERR_x; 0 if unknown */

#endif
