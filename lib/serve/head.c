/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/serve/head.h"

#include <string.h>
#include <strings.h>

#include "lib/base/str.h"

/* RFC 9110, section 5.6.2 */
static bool is_token(const char *s, size_t n)
{
    static const char more[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < n; i++) {
        char c = s[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
            continue;
        if (!c || !strchr(more, c))
            return false;
    }
    return n > 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int head_check_target(const char *uri, size_t max, struct bt_err *err)
{
    bool query = false;
    size_t i;

    if (uri[0] != '/')
        return bt_fail(err, BT_ERR_INVALID, "the request target must begin with '/'");
    for (i = 0; uri[i]; i++) {
        unsigned char c = (unsigned char)uri[i];
        int v;

        if (i >= max)
            return bt_fail(err, BT_ERR_TOO_LARGE, "the request target is longer than %zu bytes",
                           max);
        if (c <= 0x20 || c >= 0x7f)
            return bt_fail(err, BT_ERR_INVALID, "the request target has a byte 0x%02x", c);
        query = query || c == '?';
        if (c != '%')
            continue;
        if (hex(uri[i + 1]) < 0 || hex(uri[i + 2]) < 0)
            return bt_fail(err, BT_ERR_INVALID, "the request target has an incomplete escape");
        v = hex(uri[i + 1]) * 16 + hex(uri[i + 2]);
        if (v < 0x20 || v == 0x7f || (v == '/' && !query))
            return bt_fail(err, BT_ERR_INVALID, "the request target may not encode 0x%02x",
                           (unsigned)v);
    }
    return 0;
}

/* What is left of the head. */
struct walk {
    const char *p;
    const char *end;
    struct bt_err *err;
};

/* The NUL-ended text at p, with only bytes that a field value may have; NULL if it does not end. */
static const char *text_end(struct walk *w, const char *p)
{
    for (; p < w->end && *p; p++) {
        unsigned char c = (unsigned char)*p;

        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            bt_fail(w->err, BT_ERR_INVALID, "the request head has a byte 0x%02x", c);
            return NULL;
        }
    }
    if (p == w->end) {
        bt_fail(w->err, BT_ERR_INVALID, "the request head does not end");
        return NULL;
    }
    return p;
}

/* CR LF, of which only NULs are left; a bare LF leaves one, a NUL inside a line no second. */
static int line_end(struct walk *w)
{
    if (w->end - w->p < 2 || w->p[0] || w->p[1])
        return bt_fail(w->err, BT_ERR_INVALID, "a line of the request head does not end in CR LF");
    w->p += 2;
    return 0;
}

static int walk_line(struct walk *w, struct head_line *line)
{
    const char *p = memchr(w->p, '\0', (size_t)(w->end - w->p));

    if (*w->p == ' ' || *w->p == '\t')
        return bt_fail(w->err, BT_ERR_INVALID, "a header line is folded");
    if (!p || !is_token(w->p, (size_t)(p - w->p)))
        return bt_fail(w->err, BT_ERR_INVALID, "a header's name is no token");
    line->name = w->p;
    for (p++; p < w->end && (*p == ' ' || *p == '\t'); p++)
        ;
    line->value = p;
    w->p = text_end(w, p);
    if (!w->p)
        return -BT_ERR_INVALID;
    return line_end(w);
}

static int walk_lines(struct walk *w, struct head *h)
{
    while (w->p < w->end && *w->p) {
        int rc;

        if (h->n == HEAD_LINES)
            return bt_fail(w->err, BT_ERR_INVALID, "the request head has more than %d lines",
                           HEAD_LINES);
        rc = walk_line(w, &h->lines[h->n]);
        if (rc < 0)
            return rc;
        h->n++;
    }
    if (line_end(w) < 0)
        return -BT_ERR_INVALID;
    if (w->p != w->end)
        return bt_fail(w->err, BT_ERR_INVALID, "the request head has bytes behind its end");
    return 0;
}

/* The one value of a header; *n how often it is there. */
static const char *only(const struct head *h, const char *name, int *n)
{
    const char *value = NULL;

    *n = 0;
    for (int i = 0; i < h->n; i++)
        if (!strcasecmp(h->lines[i].name, name)) {
            value = h->lines[i].value;
            ++*n;
        }
    return value;
}

static bool is_host(const char *s)
{
    for (const char *p = s; *p; p++)
        if (*p <= ' ' || *p == ',' || *p == '/' || *p == '@' || (*p & 0x80))
            return false;
    return *s != '\0';
}

static int check_length(struct head *h, struct bt_err *err)
{
    int n;
    const char *s = only(h, "Content-Length", &n);

    if (n == 0)
        return 0;
    if (n > 1)
        return bt_fail(err, BT_ERR_INVALID, "Content-Length is there %d times", n);
    if (!*s || strspn(s, "0123456789") != strlen(s) || strlen(s) > 18)
        return bt_fail(err, BT_ERR_INVALID, "Content-Length is no number");
    for (; *s; s++)
        h->length = h->length * 10 + (*s - '0');
    h->has_length = true;
    return 0;
}

static int check_framing(struct head *h, int *ret_status, struct bt_err *err)
{
    int n, rc;
    const char *s = only(h, "Host", &n);

    if (n != 1 || !is_host(s))
        return bt_fail(err, BT_ERR_INVALID, "the request needs exactly one Host");
    rc = check_length(h, err);
    if (rc < 0)
        return rc;
    s = only(h, "Transfer-Encoding", &n);
    if (n) {
        if (n == 1 && !h->has_length && !strcasecmp(s, "chunked"))
            *ret_status = 411;
        return bt_fail(err, BT_ERR_INVALID,
                       "the body needs a Content-Length; Transfer-Encoding is not read here");
    }
    s = only(h, "Expect", &n);
    if (n > 1 || (n == 1 && strcasecmp(s, "100-continue") != 0))
        return bt_fail(err, BT_ERR_INVALID, "Expect may only be 100-continue");
    return 0;
}

int head_check(const char *mem, size_t n, size_t uri_at, size_t uri_n, struct head *ret,
               int *ret_status, struct bt_err *err)
{
    struct walk w = {.end = mem + n, .err = err};
    int rc;

    ret->n = 0;
    ret->has_length = false;
    ret->length = 0;
    *ret_status = 400;
    /* method, one space, target, one space, version */
    if (uri_at < 2 || uri_at + uri_n + 1 >= n || mem[uri_at - 1] || mem[uri_at + uri_n] ||
        !is_token(mem, uri_at - 1))
        return bt_fail(err, BT_ERR_INVALID, "the request line is malformed");
    w.p = mem + uri_at + uri_n + 1;
    if (n - (size_t)(w.p - mem) < 8 || memcmp(w.p, "HTTP/1.1", 8) != 0)
        return bt_fail(err, BT_ERR_INVALID, "only HTTP/1.1 is spoken here");
    w.p += 8;
    rc = line_end(&w);
    rc = rc < 0 ? rc : walk_lines(&w, ret);
    rc = rc < 0 ? rc : check_framing(ret, ret_status, err);
    return rc;
}
