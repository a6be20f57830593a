/* known.h - what the analyzers cannot see across files: how an error comes back, what arrays hold.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * .ci/tidy and .ci/analyze include it into every file. bt_fail and crypto_fail
 * return the negative of their code, so a caller that tests for < 0 never goes
 * on. A growing array that has room has memory: its cap is 0 as long as it is
 * NULL. */
#ifndef BT_CI_KNOWN_H
#define BT_CI_KNOWN_H

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/crypto/fail.h"

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
#define crypto_fail(err, code, ...)                \
    __extension__({                                \
        const int bt_code_ = (int)(code);          \
        (void)crypto_fail(err, code, __VA_ARGS__); \
        bt_code_ > 0 ? -bt_code_ : -1;             \
    })
#define bt_next(err, rc, ...)                    \
    __extension__({                              \
        const int bt_rc_ = (rc);                 \
        (void)bt_next(err, bt_rc_, __VA_ARGS__); \
        bt_rc_;                                  \
    })

#undef BT_GROW
#define BT_GROW(v, n, cap)                                     \
    do {                                                       \
        if ((n) == (cap)) {                                    \
            (cap) = (cap) ? (cap)*2 : 8;                       \
            (v) = bt_realloc((v), (size_t)(cap), sizeof *(v)); \
        }                                                      \
        if (!(v))                                              \
            __builtin_unreachable();                           \
    } while (0)

#endif
