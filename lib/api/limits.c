/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/api/limits.h"

#include "lib/base/attr.h"

const struct limit limits[] = {
#define LIMIT(name, value, unit, reason) {#name, value, unit, reason},
#include "lib/api/limits.def"
#undef LIMIT
};
const size_t n_limits = BT_ARRAY_LEN(limits);
