/* The frame of every page. SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/http/pages/html.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/http/pages/pages.h"
#include "lib/base/str.h"

/* The length of the UTF-8 character at s, 0 if it is none. */
static size_t character(const char *s)
{
    for (size_t n = 1; n <= 4 && s[n - 1]; n++)
        if (bt_is_utf8(s, n))
            return n;
    return 0;
}

void html_text(struct bt_buf *to, const char *s)
{
    while (*s) {
        size_t n = character(s);
        unsigned char c = (unsigned char)*s;

        if (c == '&')
            bt_buf_str(to, "&amp;");
        else if (c == '<')
            bt_buf_str(to, "&lt;");
        else if (c == '>')
            bt_buf_str(to, "&gt;");
        else if (c == '"')
            bt_buf_str(to, "&quot;");
        else if (c == '\'')
            bt_buf_str(to, "&#39;");
        else if (n == 0 || c < 0x20 || c == 0x7f)
            bt_buf_char(to, '?');
        else
            bt_buf_add(to, s, n);
        s += n ? n : 1;
    }
}

void html_begin(struct bt_buf *to, const char *facility, const char *title)
{
    bt_buf_str(to, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                   "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                   "<title>");
    html_text(to, title);
    bt_buf_str(to, "</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n"
                   "<header><p><b><a href=\"/\">");
    html_text(to, facility);
    bt_buf_str(to, "</a></b><span>public ledger of results</span>"
                   "<a href=\"/machine\">the machine now</a> · <a href=\"/report\">shares and "
                   "promises</a></p></header>\n<main>\n");
}

void html_end(struct bt_buf *to)
{
    bt_buf_str(to, "</main>\n<footer><p>Every job leaves a record here, failures included. "
                   "Nothing is ever removed: <a href=\"/checkpoint\">checkpoint</a> · "
                   "<a href=\"/log.vkey\">verifier key</a></p></footer>\n</body>\n</html>\n");
}

void html_row(struct bt_buf *to, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    bt_buf_str(to, "<dt>");
    html_text(to, name);
    bt_buf_str(to, "</dt><dd>");
    html_text(to, value);
    bt_buf_str(to, "</dd>\n");
}

void html_state(struct bt_buf *to, const char *outcome)
{
    static const char *const known[] = {"completed", "failed", "cancelled", "timeout"};
    const char *class = "";

    for (size_t i = 0; i < BT_ARRAY_LEN(known); i++)
        if (bt_streq(outcome, known[i]))
            class = known[i];
    bt_buf_printf(to, "<span class=\"state %s\">", class);
    html_text(to, outcome);
    bt_buf_str(to, "</span>");
}

void html_bytes(struct bt_buf *to, int64_t bytes)
{
    static const char *const unit[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    double v = (double)bytes;
    size_t i = 0;

    for (; v >= 1000 && i + 1 < BT_ARRAY_LEN(unit); i++)
        v /= 1000;
    bt_buf_printf(to, i == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, unit[i]);
}

void html_when(struct bt_buf *to, const char *rfc3339)
{
    if (strlen(rfc3339) < 17) {
        html_text(to, rfc3339);
        return;
    }
    bt_buf_str(to, "<time datetime=\"");
    html_text(to, rfc3339);
    bt_buf_printf(to, "\">%.10s %.5s</time>", rfc3339, rfc3339 + 11);
}

void html_hours(struct bt_buf *to, const char *mras)
{
    int64_t v;

    if (bt_parse_i64(mras, "amount", 0, INT64_MAX, &v, NULL) < 0)
        return;
    bt_buf_printf(to, v < 3600000 * INT64_C(10) ? "%.3f" : "%.1f", (double)v / 3600000.0);
}

void page_error(struct bt_buf *to, const char *facility, int status, const char *text)
{
    html_begin(to, facility, status == 404 ? "Not here" : "Not now");
    bt_buf_printf(to, "<h1>%s</h1>\n<p class=\"lead\">",
                  status == 404 ? "There is nothing here" : "This cannot be shown now");
    html_text(to, text);
    bt_buf_str(to, "</p>\n<p><a href=\"/\">To the newest records</a></p>\n");
    html_end(to);
}
