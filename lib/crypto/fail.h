/* fail.h - an OpenSSL failure as one of our errors; private to this folder.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CRYPTO_FAIL_H
#define BT_CRYPTO_FAIL_H

#include "lib/base/err.h"

/* Like bt_fail with OpenSSL's reason behind the text; empties this thread's OpenSSL error queue. */
int crypto_fail(struct bt_err *err, enum bt_errno code, const char *fmt, ...) BT_PRINTF(3, 4);

#endif
