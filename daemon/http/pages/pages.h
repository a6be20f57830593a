/* pages.h - the public pages as HTML: text in, text out; everything that came from people is
 * escaped. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The JSON comes from the queries public_front, public_record and public_machine
 * (daemon/store/read.sql). Pure. */
#ifndef BT_DAEMON_HTTP_PAGES_H
#define BT_DAEMON_HTTP_PAGES_H

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/json/json.h"
#include "lib/record/manifest.h"

/* s with & < > " ' escaped; control characters and bytes that are not UTF-8 become '?'. */
void html_text(struct bt_buf *to, const char *s);

/* The front page. */
void page_front(struct bt_buf *to, const char *facility, const struct json *front);

enum { PAGE_FILES = 500 /* files shown on a record's page; the manifest has them all */ };

/* A record's page; `files` NULL: there are none, or its manifest has not arrived. */
void page_record(struct bt_buf *to, const char *facility, const struct json *record,
                 const struct manifest *files);

/* The machine as the query public_machine gives it: the page, and its heat map. */
void page_machine(struct bt_buf *to, const char *facility, const struct json *machine);
void page_machine_svg(struct bt_buf *to, const struct json *machine);

/* Shares of the nations and promises kept, as report_fairness and report_promises give them. */
void page_report(struct bt_buf *to, const char *facility, const struct json *fairness,
                 const struct json *promises);

/* A page that says what went wrong. */
void page_error(struct bt_buf *to, const char *facility, int status, const char *text);

extern const char page_style[]; /* style.css */

/* Tells browsers that nothing may run and nothing may be loaded from elsewhere. */
#define PAGE_POLICY \
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'"

#endif
