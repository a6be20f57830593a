/* html.h - what the pages are made of. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_HTTP_PAGES_HTML_H
#define BT_DAEMON_HTTP_PAGES_HTML_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/json/json.h"

void html_begin(struct bt_buf *to, const char *facility, const char *title);
void html_end(struct bt_buf *to);
void result_part(struct bt_buf *to, const struct json *leaf); /* result.c: of a result's page */
void html_row(struct bt_buf *to, const char *name, const char *value); /* of a dl; NULL, "": none */
void html_state(struct bt_buf *to, const char *outcome);
void html_bytes(struct bt_buf *to, int64_t bytes);      /* "7.9 MB" */
void html_when(struct bt_buf *to, const char *rfc3339); /* "2026-11-21 18:02", whole in datetime */
void html_hours(struct bt_buf *to, const char *mras);   /* reference-accelerator-hours */

#endif
