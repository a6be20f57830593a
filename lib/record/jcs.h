/* jcs.h - writes restricted RFC 8785 JSON: one value has one spelling, so that it can be hashed.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Restricted: members in ascending order of ASCII keys, integers |n| < 2^53, no other numbers,
 * minimal escapes, no white space, UTF-8. Writing members out of order is the caller's bug and
 * asserted; values that cannot be told (invalid UTF-8, an integer too large) are remembered and
 * reported by jcs_end. Keys are borrowed until their object is closed. */
#ifndef BT_RECORD_JCS_H
#define BT_RECORD_JCS_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/json/json.h"

enum { JCS_DEPTH_MAX = 32 };
#define JCS_INT_MAX ((INT64_C(1) << 53) - 1)

struct jcs {
    struct bt_buf *to;
    unsigned depth;
    bool comma[JCS_DEPTH_MAX + 1];
    const char *last[JCS_DEPTH_MAX + 1]; /* the key written last; NULL in arrays */
    const char *bad;                     /* the first key whose value cannot be told */
};

/* key is NULL in arrays and for the outermost value. */
void jcs_object(struct jcs *w, const char *key);
void jcs_array(struct jcs *w, const char *key);
void jcs_close_object(struct jcs *w);
void jcs_close_array(struct jcs *w);
void jcs_str(struct jcs *w, const char *key, const char *value); /* NULL: the member is left out */
void jcs_int(struct jcs *w, const char *key, int64_t value);
void jcs_bool(struct jcs *w, const char *key, bool value);
void jcs_decimal(struct jcs *w, const char *key, int64_t value); /* an amount: "120000" */
void jcs_hex(struct jcs *w, const char *key, const void *p, size_t n);
void jcs_time(struct jcs *w, const char *key, int64_t us); /* RFC 3339; 0: left out */

/* BT_ERR_INVALID names the member that could not be told; BT_ERR_TOO_LARGE if `to` is over. */
int jcs_end(struct jcs *w, struct bt_err *err) BT_MUSTUSE;

/* Appends the one spelling of a parsed value: members are sorted. BT_ERR_INVALID for a fraction,
 * an integer too large, a key that is not printable ASCII. */
int jcs_value(const struct json *v, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;

#endif
