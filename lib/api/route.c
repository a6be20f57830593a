/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/api/route.h"

#include <assert.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

const struct route routes[N_ROUTES] = {
#define ROUTE(name, method, pattern, access, request, reply, summary) \
    [ROUTE_##                                                         \
        name] = {ROUTE_##name, #method, pattern, ACCESS_##access, request, reply, #name, summary},
#include "lib/api/routes.def"
#undef ROUTE
};

/* Where a path's params lie in it. */
struct spans {
    const char *at[ROUTE_PARAMS];
    size_t n[ROUTE_PARAMS];
    int count;
};

static bool param_ok(const char *s, size_t n)
{
    if (n == 0 || n >= ROUTE_PARAM_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return false;
    return true;
}

/* No segment of s[n] is empty, "." or "..". */
static bool segments_ok(const char *s, size_t n)
{
    for (size_t from = 0; from <= n;) {
        const char *slash = memchr(s + from, '/', n - from);
        size_t len = slash ? (size_t)(slash - s) - from : n - from;

        if (len == 0 || (s[from] == '.' && (len == 1 || (len == 2 && s[from + 1] == '.'))))
            return false;
        from += len + 1;
    }
    return true;
}

static bool take(struct spans *p, const char *s, size_t len)
{
    if (p->count == ROUTE_PARAMS || !param_ok(s, len) || !segments_ok(s, len))
        return false;
    p->at[p->count] = s;
    p->n[p->count++] = len;
    return true;
}

static bool fits(const char *pattern, const char *path, struct spans *p)
{
    p->count = 0;
    while (*pattern && *path) {
        const char *close;
        size_t len;

        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        close = strchr(pattern, '}');
        assert(close); /* the patterns are ours */
        len = close[-1] == '+' ? strlen(path) : strcspn(path, "/");
        if (!take(p, path, len))
            return false;
        pattern = close + 1;
        path += len;
    }
    return !*pattern && !*path;
}

static bool method_fits(const struct route *r, const char *method)
{
    return !strcmp(r->method, method) || (!strcmp(method, "HEAD") && !strcmp(r->method, "GET"));
}

void route_match_done(struct route_match *m)
{
    for (int i = 0; i < ROUTE_PARAMS; i++)
        bt_free(BT_TAKE(m->param[i]));
}

void route_allowed(const char *path, bool public, char *out, size_t size)
{
    struct spans m;
    struct bt_buf list = {.max = size - 1};

    for (int i = 0; i < N_ROUTES; i++)
        if ((routes[i].access == ACCESS_PUBLIC) == public && fits(routes[i].pattern, path, &m))
            bt_buf_printf(&list, "%s%s", list.n ? ", " : "", routes[i].method);
    bt_copy(out, size, bt_buf_text(&list));
    bt_buf_done(&list);
}

int route_find(const char *method, const char *path, bool public, struct route_match *ret,
               struct bt_err *err)
{
    struct spans p;
    bool other = false;

    for (int i = 0; i < N_ROUTES; i++) {
        if ((routes[i].access == ACCESS_PUBLIC) != public || !fits(routes[i].pattern, path, &p))
            continue;
        if (method_fits(&routes[i], method)) {
            *ret = (struct route_match){.route = &routes[i]};
            for (int k = 0; k < p.count; k++)
                ret->param[k] = bt_strndup(p.at[k], p.n[k]);
            return 0;
        }
        other = true;
    }
    if (other) {
        char allowed[64];

        route_allowed(path, public, allowed, sizeof allowed);
        return bt_fail(err, BT_ERR_METHOD, "%.16s is not possible for %.80s, only %s", method, path,
                       allowed);
    }
    return bt_fail(err, BT_ERR_NOT_FOUND, "there is nothing at %.100s", path);
}
