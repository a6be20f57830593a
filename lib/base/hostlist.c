/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/hostlist.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/str.h"

enum { DIGITS_MAX = 9 };

struct walk {
    int (*each)(void *arg, const char *name);
    void *arg;
    struct bt_err *err;
    int n, max;
};

static int say(struct walk *w, const char *name)
{
    if (w->n == w->max)
        return bt_fail(w->err, BT_ERR_INVALID, "a list of more than %d names", w->max);
    w->n++;
    return w->each(w->arg, name);
}

/* Reads up to DIGITS_MAX digits; returns how many, 0 if there are none or too many. */
static int digits(const char **at, uint32_t *ret)
{
    int n = 0;

    *ret = 0;
    for (; **at >= '0' && **at <= '9' && n <= DIGITS_MAX; ++*at, n++)
        *ret = *ret * 10 + (uint32_t)(**at - '0');
    return n > DIGITS_MAX ? 0 : n;
}

static int bad(struct walk *w, const char *text)
{
    return bt_fail(w->err, BT_ERR_INVALID, "'%.60s' is not a list of names such as n[01-16,20]",
                   text);
}

/* Numbers of one bracket: *at is behind '[' and then behind ']'. */
static int bracket(struct walk *w, const char *head, int n_head, const char **at)
{
    const char *text = *at;
    const char *end = strchr(text, ']');
    size_t n_tail = end ? strcspn(end + 1, ",") : 0;

    if (!end || n_tail >= HOSTLIST_NAME_MAX || memchr(end + 1, '[', n_tail))
        return bad(w, head);
    for (;;) {
        uint32_t from, to;
        int width = digits(at, &from), rc = 0;

        to = from;
        if (width && **at == '-') {
            ++*at;
            rc = digits(at, &to);
            if (!rc || rc < width || to < from)
                return bad(w, text);
        }
        if (!width)
            return bad(w, text);
        for (uint32_t i = from; i <= to; i++) {
            char name[2 * HOSTLIST_NAME_MAX + 16];
            int len = snprintf(name, sizeof name, "%.*s%0*" PRIu32 "%.*s", n_head, head, width, i,
                               (int)n_tail, end + 1);

            if (len < 0 || len >= HOSTLIST_NAME_MAX)
                return bad(w, head);
            rc = say(w, name);
            if (rc < 0)
                return rc;
        }
        if (*at == end)
            break;
        if (**at != ',')
            return bad(w, text);
        ++*at;
    }
    *at = end + 1 + n_tail;
    return 0;
}

int bt_hostlist_each(const char *text, int max, int (*each)(void *arg, const char *name), void *arg,
                     struct bt_err *err)
{
    struct walk w = {.each = each, .arg = arg, .err = err, .max = max};
    const char *at = text;

    while (*at) {
        const char *head = at;
        size_t n = strcspn(at, "[],");
        int rc;

        if (n >= HOSTLIST_NAME_MAX)
            return bad(&w, head);
        at += n;
        if (*at == '[') {
            at++;
            rc = bracket(&w, head, (int)n, &at);
        } else {
            char name[HOSTLIST_NAME_MAX];

            snprintf(name, sizeof name, "%.*s", (int)n, head);
            rc = n ? say(&w, name) : bad(&w, head);
        }
        if (rc < 0)
            return rc;
        if (*at && (*at != ',' || !at[1]))
            return bad(&w, head);
        at += *at == ',';
    }
    return w.n;
}

/* ---- writing ---- */

/* A name as its head, a number and the number's width; width 0: it ends in no number. */
struct split {
    size_t n_head;
    uint32_t number;
    int width;
};

static struct split split(const char *name)
{
    size_t n = strlen(name), k = n;
    struct split s = {.n_head = n};
    const char *at;

    while (k && name[k - 1] >= '0' && name[k - 1] <= '9' && n - k < DIGITS_MAX)
        k--;
    if (k == n)
        return s;
    at = name + k;
    s.n_head = k;
    s.width = digits(&at, &s.number);
    return s;
}

static bool same_head(const char *a, const struct split *x, const char *b, const struct split *y)
{
    return x->width && x->width == y->width && x->n_head == y->n_head &&
           memcmp(a, b, x->n_head) == 0;
}

void bt_hostlist_format(const char *const *names, size_t n, struct bt_buf *to)
{
    for (size_t i = 0; i < n;) {
        struct split first = split(names[i]);
        size_t end = i + 1;

        for (; end < n; end++) {
            struct split s = split(names[end]);

            if (!same_head(names[i], &first, names[end], &s))
                break;
        }
        if (i)
            bt_buf_char(to, ',');
        if (end == i + 1) {
            bt_buf_str(to, names[i++]);
            continue;
        }
        bt_buf_add(to, names[i], first.n_head);
        bt_buf_char(to, '[');
        for (size_t k = i; k < end;) {
            struct split from = split(names[k]), last = from;
            size_t run = k + 1;

            for (; run < end; run++) {
                struct split s = split(names[run]);

                if (s.number != last.number + 1)
                    break;
                last = s;
            }
            bt_buf_printf(to, "%s%0*" PRIu32, k > i ? "," : "", from.width, from.number);
            if (run > k + 1)
                bt_buf_printf(to, "-%0*" PRIu32, from.width, last.number);
            k = run;
        }
        bt_buf_char(to, ']');
        i = end;
    }
}
