/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_abort(void *p)
{
    if (!p) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return p;
}

void bt_free(void *p)
{
    free(p);
}

void *bt_alloc(size_t n, size_t size)
{
    return or_abort(calloc(n ? n : 1, size ? size : 1));
}

void *bt_realloc(void *p, size_t n, size_t size)
{
    return or_abort(reallocarray(p, n ? n : 1, size ? size : 1));
}

void *bt_memdup(const void *p, size_t n)
{
    void *q = bt_alloc(n, 1);

    if (n)
        memcpy(q, p, n);
    return q;
}

char *bt_strdup(const char *s)
{
    return or_abort(strdup(s));
}

char *bt_strndup(const char *s, size_t n)
{
    return or_abort(strndup(s, n));
}

char *bt_printf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    va_end(ap);
    return or_abort(s);
}

void bt_wipe(void *p, size_t n)
{
    explicit_bzero(p, n);
}
