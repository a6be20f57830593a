/* known.h - what the analyzers cannot see across files: how an error comes back.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * .ci/tidy and .ci/analyze include it into every file. bt_fail returns the
 * negative of its code, so a caller that tests for < 0 never goes on. */
#ifndef BT_CI_KNOWN_H
#define BT_CI_KNOWN_H

#include "lib/base/err.h"

#define bt_fail(err, code, ...)                \
    __extension__({                            \
        const int bt_code_ = (int)(code);      \
        (void)bt_fail(err, code, __VA_ARGS__); \
        bt_code_ > 0 ? -bt_code_ : -1;         \
    })
#define bt_fail_errno(err, code, ...)                \
    __extension__({                                  \
        const int bt_code_ = (int)(code);            \
        (void)bt_fail_errno(err, code, __VA_ARGS__); \
        bt_code_ > 0 ? -bt_code_ : -1;               \
    })
#define bt_next(err, rc, ...)                    \
    __extension__({                              \
        const int bt_rc_ = (rc);                 \
        (void)bt_next(err, bt_rc_, __VA_ARGS__); \
        bt_rc_;                                  \
    })

#endif
