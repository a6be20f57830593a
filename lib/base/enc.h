/* enc.h - hexadecimal and base64 (RFC 4648 section 4, padded, no white space).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_BASE_ENC_H
#define BT_BASE_ENC_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/attr.h"
#include "lib/base/buf.h"

/* Lower-case hex of n bytes into out[2 * n + 1]; returns out. */
char *bt_hex(const void *p, size_t n, char *out);
/* Reads exactly 2 * n hex digits of s into out; -1 if s is anything else. */
int bt_unhex(const char *s, void *out, size_t n) BT_MUSTUSE;

void bt_base64(struct bt_buf *to, const void *p, size_t n);
/* Decodes s[n] behind `to`; -1 (to unchanged) unless it is canonical base64. */
int bt_unbase64(struct bt_buf *to, const char *s, size_t n) BT_MUSTUSE;

#endif
