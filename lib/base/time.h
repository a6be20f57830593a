/* time.h - microseconds since the epoch (UTC), and a clock that tests and the simulator replace.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_BASE_TIME_H
#define BT_BASE_TIME_H

#include <stdint.h>

#include "lib/base/err.h"

#define BT_US_PER_S INT64_C(1000000)
enum { BT_TIME_MAX = 32 };

/* Where a program gets its time: now_us(arg). A zeroed clock is the system's. */
struct bt_clock {
    int64_t (*now_us)(void *arg);
    void *arg;
};

int64_t bt_clock_now_us(const struct bt_clock *clock); /* clock may be NULL: the system's */
int64_t bt_now_us(void);                               /* CLOCK_REALTIME */
int64_t bt_mono_us(void);                              /* CLOCK_MONOTONIC, for intervals */
int64_t bt_thread_us(void); /* of the processor, by this thread: CLOCK_THREAD_CPUTIME_ID */

/* RFC 3339 in UTC: "2026-11-21T18:02:11Z", with fraction "….123456Z" when it is not zero.
 * out has at least BT_TIME_MAX bytes; returns out. */
char *bt_time_format(int64_t us, char *out);

/* Reads RFC 3339 ("2026-11-21T18:02:11Z", any offset) or a date ("2027-01-01", midnight UTC). */
int bt_time_parse(const char *s, const char *what, int64_t *ret_us, struct bt_err *err) BT_MUSTUSE;

#endif
