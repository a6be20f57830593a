/* uploads.h - where a blob lies, and when a log has ended.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_HTTP_UPLOADS_H
#define BT_DAEMON_HTTP_UPLOADS_H

#include <stdbool.h>

#include "lib/base/uuid.h"

struct http;

/* The job is terminal: who waits for more of its logs is answered. Thread safe. */
void uploads_ended(struct http *h, struct bt_uuid job);

bool blob_is_sha256(const char *hex); /* 64 lower-case digits */

/* The file of the blob with this SHA-256 (64 checked digits), owned; it need not be there. */
char *blob_path(const struct http *h, const char *hex);

#endif
