/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"

char *bt_buf_room(struct bt_buf *b, size_t n)
{
    if (b->over || (b->max && (n > b->max || b->n > b->max - n))) {
        b->over = true;
        return NULL;
    }
    if (b->cap - b->n < n + 1) {
        size_t cap = b->cap ? b->cap : 64;

        while (cap - b->n < n + 1)
            cap *= 2;
        b->p = bt_realloc(b->p, cap, 1);
        b->cap = cap;
    }
    return b->p + b->n;
}

void bt_buf_add(struct bt_buf *b, const void *p, size_t n)
{
    char *to = bt_buf_room(b, n);

    if (!to)
        return;
    if (n)
        memcpy(to, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void bt_buf_str(struct bt_buf *b, const char *s)
{
    bt_buf_add(b, s, strlen(s));
}

void bt_buf_char(struct bt_buf *b, char c)
{
    bt_buf_add(b, &c, 1);
}

void bt_buf_printf(struct bt_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_list again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && bt_buf_room(b, (size_t)n)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

const char *bt_buf_text(const struct bt_buf *b)
{
    return b->p ? b->p : "";
}

char *bt_buf_take(struct bt_buf *b)
{
    char *p = b->p ? b->p : bt_strdup("");

    *b = (struct bt_buf){.max = b->max};
    return p;
}

void bt_buf_clear(struct bt_buf *b)
{
    b->n = 0;
    b->over = false;
    if (b->p)
        b->p[0] = '\0';
}

void bt_buf_done(struct bt_buf *b)
{
    bt_free(b->p);
    *b = (struct bt_buf){.max = b->max};
}
