/* limits.h - the API's limits as constants and as a table (limits.def gives units and reasons).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_API_LIMITS_H
#define BT_API_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* GNU C lets an enum constant be as wide as its value: int where that is enough. */
enum {
#define LIMIT(name, value, unit, reason) LIMIT_##name = value,
#include "lib/api/limits.def"
#undef LIMIT
};

struct limit {
    const char *name;
    int64_t value;
    const char *unit;
    const char *reason;
};

extern const struct limit limits[];
extern const size_t n_limits;

#endif
