/* The front page. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>

#include "daemon/http/pages/html.h"
#include "daemon/http/pages/pages.h"
#include "lib/base/str.h"

static void tile(struct bt_buf *to, int64_t n, const char *what)
{
    char text[32];

    bt_buf_printf(to, "<div><b>%s</b><span>%s</span></div>\n", bt_format_thousands(n, text), what);
}

static void counters(struct bt_buf *to, const struct json *front)
{
    const struct json *c = json_get(front, "counts");

    bt_buf_str(to, "<div class=\"tiles\">\n");
    tile(to, json_i64(json_get(c, "record"), 0), "jobs ended, each with its record");
    tile(to, json_i64(json_get(c, "result"), 0), "results written by researchers");
    tile(to, json_i64(json_get(c, "overdue"), 0), "times a result was overdue");
    tile(to, json_i64(json_get(c, "retraction"), 0), "retractions, still readable");
    tile(to, json_i64(json_get(front, "size"), 0), "entries in the ledger");
    tile(to, json_i64(json_get(front, "checkpoint_size"), 0), "of them under a signed checkpoint");
    bt_buf_str(to, "</div>\n");
}

static void line(struct bt_buf *to, const struct json *r)
{
    const struct json *b = json_get(json_get(r, "leaf"), "body");
    int64_t index = json_i64(json_get(r, "index"), -1);

    bt_buf_printf(to,
                  "<tr><td class=\"n\"><a href=\"/record/%" PRId64 "\">%" PRId64 "</a></td>"
                  "<td class=\"w\"><a href=\"/record/%" PRId64 "\">",
                  index, index, index);
    html_text(to, json_str(json_get(b, "name"), "unnamed"));
    bt_buf_str(to, "</a></td><td>");
    html_state(to, json_str(json_get(b, "outcome"), ""));
    bt_buf_str(to, "</td><td class=\"w wide\">");
    html_text(to, json_str(json_get(b, "nation"), ""));
    bt_buf_str(to, " / ");
    html_text(to, json_str(json_get(b, "project"), ""));
    bt_buf_printf(to, "</td><td class=\"n wide\">%" PRId64 " × ",
                  json_i64(json_get(b, "accelerators"), 0));
    html_text(to, json_str(json_get(b, "class"), "any"));
    bt_buf_str(to, "</td><td class=\"n\">");
    html_hours(to, json_str(json_get(b, "charged_mras"), ""));
    bt_buf_str(to, "</td><td class=\"n wide\">");
    html_when(to, json_str(json_get(b, "ended"), ""));
    bt_buf_str(to, "</td></tr>\n");
}

void page_front(struct bt_buf *to, const char *facility, const struct json *front)
{
    const struct json *records = json_get(front, "records");

    html_begin(to, facility, facility);
    bt_buf_str(to, "<h1>What was computed here</h1>\n<p class=\"lead\">Every job that runs on this "
                   "facility leaves a signed, permanent record: success and failure, time-out and "
                   "cancellation alike.</p>\n");
    counters(to, front);
    bt_buf_str(to, "<h2>Newest records</h2>\n");
    if (json_len(records) == 0) {
        bt_buf_str(to, "<p>No job has ended yet.</p>\n");
        html_end(to);
        return;
    }
    bt_buf_str(to,
               "<div class=\"scroll\"><table>\n<thead><tr><th class=\"n\">Record</th><th>Job</th>"
               "<th>Outcome</th><th class=\"wide\">For</th><th class=\"n wide\">Accelerators</th>"
               "<th class=\"n\">Charged, acc-h</th><th class=\"n wide\">Ended (UTC)</th></tr>"
               "</thead>\n<tbody>\n");
    for (size_t i = 0; i < json_len(records); i++)
        line(to, json_at(records, i));
    bt_buf_str(to, "</tbody></table></div>\n");
    html_end(to);
}
