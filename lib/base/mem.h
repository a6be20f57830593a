/* mem.h - allocation that cannot fail: out of memory ends the process.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Sizes that a peer chooses never reach these functions unchecked; the parser
 * bounds them first and answers BT_ERR_TOO_LARGE. */
#ifndef BT_BASE_MEM_H
#define BT_BASE_MEM_H

#include <stddef.h>

#include "lib/base/attr.h"

void bt_free(void *p);                                         /* NULL is fine */
void *bt_alloc(size_t n, size_t size) BT_RELEASED_BY(bt_free); /* zeroed; aborts on overflow */
void *bt_memdup(const void *p, size_t n) BT_RELEASED_BY(bt_free);
char *bt_strdup(const char *s) BT_RELEASED_BY(bt_free);
char *bt_strndup(const char *s, size_t n) BT_RELEASED_BY(bt_free);
char *bt_printf(const char *fmt, ...) BT_RELEASED_BY(bt_free) BT_PRINTF(1, 2);

/* Resizes p (NULL allocates) to n elements of size bytes; new bytes are not zeroed. */
void *bt_realloc(void *p, size_t n, size_t size);

/* Overwrites secrets in a way that the compiler keeps. */
void bt_wipe(void *p, size_t n);

#define bt_new(T) ((T *)bt_alloc(1, sizeof(T)))
#define bt_new_n(T, n) ((T *)bt_alloc((n), sizeof(T)))

/* Makes room for one more element in a growing array: BT_GROW(v, n, cap), then v[n++] = x. */
#define BT_GROW(v, n, cap)                                     \
    do {                                                       \
        if ((n) == (cap)) {                                    \
            (cap) = (cap) ? (cap)*2 : 8;                       \
            (v) = bt_realloc((v), (size_t)(cap), sizeof *(v)); \
        }                                                      \
    } while (0)

static inline void bt_freep(void *p)
{
    bt_free(*(void **)p);
}
#define BT_AUTO BT_CLEANUP(bt_freep)

#endif
