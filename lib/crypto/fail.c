/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/crypto/fail.h"

#include <openssl/err.h>
#include <stdarg.h>

int crypto_fail(struct bt_err *err, enum bt_errno code, const char *fmt, ...)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    char text[sizeof((struct bt_err *)0)->text];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ERR_clear_error();
    return reason ? bt_fail(err, code, "%s: %s", text, reason) : bt_fail(err, code, "%s", text);
}
