/* openapi.h - the API described for machines: OpenAPI 3.1 out of routes.def and schemas.def.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_API_OPENAPI_H
#define BT_API_OPENAPI_H

#include "lib/base/buf.h"

/* Appends the document (compact JSON, some 40 KB); the same text every time. */
void openapi_write(struct bt_buf *to, const char *facility, const char *version);

#endif
