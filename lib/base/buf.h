/* buf.h - a growing byte buffer with a maximum, always terminated by a NUL that is not counted.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_BASE_BUF_H
#define BT_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/attr.h"

/* Zero-initialised is an empty, unlimited buffer. Appending past `max` (when
 * it is not 0) appends nothing and sets `over`: check it once at the end. */
struct bt_buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max;
    bool over;
};

void bt_buf_add(struct bt_buf *b, const void *p, size_t n);
void bt_buf_str(struct bt_buf *b, const char *s);
void bt_buf_char(struct bt_buf *b, char c);
void bt_buf_printf(struct bt_buf *b, const char *fmt, ...) BT_PRINTF(2, 3);
char *bt_buf_room(struct bt_buf *b, size_t n);   /* n writable bytes behind b->n; NULL if over */
const char *bt_buf_text(const struct bt_buf *b); /* "" when empty; borrowed */
char *bt_buf_take(struct bt_buf *b);             /* owned by the caller (bt_free); b is empty */
void bt_buf_clear(struct bt_buf *b);             /* keeps the memory */
void bt_buf_done(struct bt_buf *b);

#define BT_BUF_AUTO BT_CLEANUP(bt_buf_done)

#endif
