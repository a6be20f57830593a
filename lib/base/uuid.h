/* uuid.h - UUID version 7 (RFC 9562): the client-made identity of every request and job.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_BASE_UUID_H
#define BT_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/attr.h"

struct bt_uuid {
    uint8_t b[16];
};

enum { BT_UUID_TEXT = 37 };

/* A fresh id of the time now_us; random bits from the kernel; rising within one process
 * also inside a millisecond. Thread safe. */
struct bt_uuid bt_uuid_new(int64_t now_us);
int64_t bt_uuid_time_us(struct bt_uuid id); /* the millisecond it names, in µs */
bool bt_uuid_is_v7(struct bt_uuid id);
bool bt_uuid_eq(struct bt_uuid a, struct bt_uuid b);
bool bt_uuid_zero(struct bt_uuid id);
char *bt_uuid_format(struct bt_uuid id, char *out); /* out[BT_UUID_TEXT]; returns out */
int bt_uuid_parse(const char *s, struct bt_uuid *ret) BT_MUSTUSE; /* -1 unless canonical form */

#endif
