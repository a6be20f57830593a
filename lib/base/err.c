/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int code;
    int http;
    int exit_status;
    const char *name;
    const char *message;
} table[] = {
#define X(name, number, http, exit_status, message) {number, http, exit_status, #name, message},
#include "lib/base/errors.def"
#undef X
};

static int fill(struct bt_err *err, enum bt_errno code, const char *fmt, va_list ap)
{
    if (err) {
        char text[sizeof err->text]; /* the arguments may point into *err itself */

        vsnprintf(text, sizeof text, fmt, ap);
        memcpy(err->text, text, sizeof text);
        err->code = (int)code;
        err->next[0] = '\0';
    }
    return -(int)code;
}

int bt_fail(struct bt_err *err, enum bt_errno code, const char *fmt, ...)
{
    va_list ap;
    int rc;

    va_start(ap, fmt);
    rc = fill(err, code, fmt, ap);
    va_end(ap);
    return rc;
}

int bt_next(struct bt_err *err, int rc, const char *fmt, ...)
{
    if (err && rc < 0) {
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(err->next, sizeof err->next, fmt, ap);
        va_end(ap);
    }
    return rc;
}

int bt_fail_errno(struct bt_err *err, enum bt_errno code, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    int rc;

    va_start(ap, fmt);
    rc = fill(err, code, fmt, ap);
    va_end(ap);
    if (err) {
        char why[80];
        size_t n = strlen(err->text);
        const char *s = strerror_r(saved, why, sizeof why);

        snprintf(err->text + n, sizeof err->text - n, ": %s", s);
    }
    return rc;
}

static int find(int code)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(table); i++)
        if (table[i].code == abs(code))
            return (int)i;
    return -1;
}

const char *bt_err_name(int code)
{
    int i = find(code);

    return i < 0 ? "UNKNOWN" : table[i].name;
}

const char *bt_err_message(int code)
{
    int i = find(code);

    return i < 0 ? "unknown error" : table[i].message;
}

int bt_err_http(int code)
{
    int i = find(code);

    return i < 0 ? 500 : table[i].http;
}

int bt_err_exit(int code)
{
    int i = find(code);

    return i < 0 ? 1 : table[i].exit_status;
}

int bt_err_by_name(const char *name)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(table); i++)
        if (!strcmp(table[i].name, name))
            return table[i].code;
    return 0;
}
