/* uploads.h - where a blob lies. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_HTTP_UPLOADS_H
#define BT_DAEMON_HTTP_UPLOADS_H

struct http;

/* The file of the blob with this SHA-256 (64 checked digits), owned; it need not be there. */
char *blob_path(const struct http *h, const char *hex);

#endif
