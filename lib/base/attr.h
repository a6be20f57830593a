/* attr.h - compiler attributes under short names; includes nothing of ours.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_BASE_ATTR_H
#define BT_BASE_ATTR_H

#define BT_MUSTUSE __attribute__((warn_unused_result))
#define BT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define BT_CLEANUP(f) __attribute__((cleanup(f)))
#define BT_NORETURN __attribute__((noreturn))
#define BT_UNUSED __attribute__((unused))

/* Names the function that releases what this one returns. gcc checks the pair
 * (-fanalyzer, -Wmismatched-dealloc); clang 14 does not know the form. */
#if defined(__GNUC__) && !defined(__clang__)
#define BT_RELEASED_BY(f) __attribute__((malloc, malloc(f, 1), returns_nonnull))
#else
#define BT_RELEASED_BY(f) __attribute__((malloc, returns_nonnull))
#endif

#define BT_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define BT_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Hands a pointer over: yields its value and leaves NULL behind, so that the
 * variable's cleanup finds nothing to release. */
#define BT_TAKE(p)                          \
    __extension__({                         \
        __typeof__(p) *bt_take_ = &(p);     \
        __typeof__(p) bt_took_ = *bt_take_; \
        *bt_take_ = NULL;                   \
        bt_took_;                           \
    })

#endif
