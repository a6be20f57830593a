/* head.h - refuses request heads that two readers could understand differently (request smuggling).
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libmicrohttpd parses a head in place: it writes NULs over the separators but leaves the bytes
 * where they were, from the method to the empty line. That memory is walked again here by the
 * strict grammar of RFC 9112; the caller then compares the lines found with those that
 * libmicrohttpd reports, pointer by pointer. Pure, and fuzzed. */
#ifndef BT_SERVE_HEAD_H
#define BT_SERVE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { HEAD_LINES = 64 };

struct head_line {
    const char *name;
    const char *value; /* without the white space before it */
};

struct head {
    struct head_line lines[HEAD_LINES];
    int n;
    bool has_length;
    int64_t length; /* Content-Length, 0 without */
};

/* The request target as it came, before it is decoded: starts with '/', printable ASCII only,
 * complete escapes, none of them a control character or '/'; at most max bytes. */
int head_check_target(const char *uri, size_t max, struct bt_err *err) BT_MUSTUSE;

/* Walks mem[n], a head after libmicrohttpd's parser; the target lies at uri_at and had uri_n bytes.
 * BT_ERR_INVALID: method or header name no token; not HTTP/1.1; a line not ended by CR LF; folded
 * lines; control characters; no Host or two; Content-Length twice or no number; any
 * Transfer-Encoding (nobody here needs it: *ret_status is then 411 for a plain "chunked"); an
 * Expect other than 100-continue; more than HEAD_LINES lines. *ret_status is the HTTP status to
 * refuse with. */
int head_check(const char *mem, size_t n, size_t uri_at, size_t uri_n, struct head *ret,
               int *ret_status, struct bt_err *err) BT_MUSTUSE;

#endif
