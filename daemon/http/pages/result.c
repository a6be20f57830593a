/* What a researcher says of a job, on the page of its entry.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "daemon/http/pages/html.h"
#include "daemon/http/pages/pages.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static const char *text(const struct json *b, const char *name)
{
    return json_str(json_get(b, name), "");
}

static void languages(struct bt_buf *to, const struct json *list)
{
    if (json_len(list) == 0)
        return;
    bt_buf_str(to, "<dt>Languages</dt><dd>");
    for (size_t i = 0; i < json_len(list); i++) {
        bt_buf_str(to, i ? ", " : "");
        html_text(to, json_str(json_at(list, i), ""));
    }
    bt_buf_str(to, "</dd>\n");
}

static void evaluations(struct bt_buf *to, const struct json *list)
{
    if (json_len(list) == 0)
        return;
    bt_buf_str(to, "<h2>Evaluations</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>What</th>"
                   "<th>On</th><th class=\"n\">Value</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < json_len(list); i++) {
        bt_buf_str(to, "<tr><td>");
        html_text(to, text(json_at(list, i), "name"));
        bt_buf_str(to, "</td><td>");
        html_text(to, text(json_at(list, i), "dataset"));
        bt_buf_str(to, "</td><td class=\"n\">");
        html_text(to, text(json_at(list, i), "value"));
        bt_buf_str(to, "</td></tr>\n");
    }
    bt_buf_str(to, "</tbody></table></div>\n");
}

/* Addresses are https, without quotes or angles: result_read of lib/record. */
static void links(struct bt_buf *to, const struct json *list)
{
    if (json_len(list) == 0)
        return;
    bt_buf_str(to, "<h2>Links</h2>\n<ul>\n");
    for (size_t i = 0; i < json_len(list); i++) {
        bt_buf_str(to, "<li><a rel=\"noopener nofollow\" href=\"");
        html_text(to, json_str(json_at(list, i), ""));
        bt_buf_str(to, "\">");
        html_text(to, json_str(json_at(list, i), ""));
        bt_buf_str(to, "</a></li>\n");
    }
    bt_buf_str(to, "</ul>\n");
}

/* An empty line ends a paragraph, any other line end breaks the line. */
static void paragraphs(struct bt_buf *to, const char *s)
{
    bt_buf_str(to, "<p class=\"said\">");
    for (;;) {
        size_t n = strcspn(s, "\n"), ends;
        BT_AUTO char *line = bt_strndup(s, n);

        html_text(to, line);
        s += n;
        ends = strspn(s, "\n");
        if (s[ends] == '\0')
            break;
        bt_buf_str(to, ends > 1 ? "</p>\n<p class=\"said\">" : "<br>\n");
        s += ends;
    }
    bt_buf_str(to, "</p>\n");
}

void result_part(struct bt_buf *to, const struct json *leaf)
{
    const struct json *b = json_get(leaf, "body");
    int64_t record = json_i64(json_get(b, "record"), -1);

    paragraphs(to, text(b, "summary"));
    bt_buf_printf(to,
                  "<dl>\n<dt>Of the job of</dt><dd><a href=\"/record/%" PRId64 "\">record %" PRId64
                  "</a></dd>\n",
                  record, record);
    html_row(to, "Finding", text(b, "finding"));
    html_row(to, "By", text(b, "person"));
    html_row(to, "Licence", text(b, "licence"));
    languages(to, json_get(b, "languages"));
    bt_buf_str(to, "<dt>Signed with</dt><dd class=\"mono\">");
    html_text(to, text(json_at(json_get(leaf, "sigs"), 0), "key"));
    bt_buf_str(to, "</dd>\n</dl>\n");
    evaluations(to, json_get(b, "evaluations"));
    links(to, json_get(b, "links"));
}
