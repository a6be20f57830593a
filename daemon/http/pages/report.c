/* Shares of the nations and promises kept. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "daemon/http/pages/html.h"
#include "daemon/http/pages/pages.h"
#include "lib/base/attr.h"
#include "lib/base/str.h"

static void cell(struct bt_buf *to, const struct json *row, const char *key, int64_t unit)
{
    char text[32];

    bt_buf_printf(to, "<td class=\"n\">%s</td>",
                  bt_format_thousands(json_i64(json_get(row, key), 0) / unit, text));
}

static void shares(struct bt_buf *to, const struct json *items)
{
    static const char *const keys[] = {"entitled_acc_s", "used_acc_s", "lent_acc_s",
                                       "borrowed_acc_s"};

    bt_buf_str(to,
               "<h2>Shares, in accelerator-hours</h2>\n<div class=\"scroll\"><table>\n<thead><tr>"
               "<th>Nation</th><th class=\"n\">Jobs</th><th class=\"n\">Entitled</th>"
               "<th class=\"n\">Used</th><th class=\"n\">Lent</th><th class=\"n\">Borrowed</th>"
               "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < json_len(items); i++) {
        const struct json *row = json_at(items, i);

        bt_buf_str(to, "<tr><td>");
        html_text(to, json_str(json_get(row, "nation"), ""));
        bt_buf_str(to, "</td>");
        cell(to, row, "jobs", 1);
        for (size_t k = 0; k < BT_ARRAY_LEN(keys); k++)
            cell(to, row, keys[k], 3600);
        bt_buf_str(to, "</tr>\n");
    }
    bt_buf_str(to, "</tbody></table></div>\n<p>Entitled is what a nation is guaranteed; lent, what "
                   "of that its own jobs left to others; borrowed, what its jobs held beyond it."
                   "</p>\n");
}

static void number(struct bt_buf *to, const char *name, const struct json *r, const char *key)
{
    char text[32];

    html_row(to, name, bt_format_thousands(json_i64(json_get(r, key), 0), text));
}

static void kept(struct bt_buf *to, const struct json *r)
{
    const struct json *causes = json_get(r, "causes");
    char text[48];

    bt_buf_str(to,
               "<h2>Promises</h2>\n<p>Every job that waits is told when it starts at the latest. "
               "A promise may move later only for a named cause.</p>\n<dl>\n");
    number(to, "Starts", r, "starts");
    number(to, "at once, without a promise", r, "at_once");
    number(to, "no later than first promised", r, "kept");
    number(to, "later, for a named cause", r, "moved");
    number(to, "later than promised", r, "broken");
    if (json_is(json_get(r, "kept_percent")) != JSON_IS_NULL) {
        snprintf(text, sizeof text, "%.2f %%", json_f64(json_get(r, "kept_percent"), 0));
        html_row(to, "kept, of those that no cause moved", text);
    }
    if (json_is(json_get(r, "plan_error_s")) != JSON_IS_NULL) {
        snprintf(text, sizeof text, "%" PRId64 " s", json_i64(json_get(r, "plan_error_s"), 0));
        html_row(to, "mean distance from the first plan", text);
    }
    for (size_t i = 0; i < json_len(causes); i++) {
        snprintf(text, sizeof text, "%" PRId64,
                 json_i64(json_get(json_at(causes, i), "starts"), 0));
        bt_buf_str(to, "<dt>moved by ");
        html_text(to, json_str(json_get(json_at(causes, i), "cause"), ""));
        bt_buf_printf(to, "</dt><dd>%s</dd>\n", text);
    }
    bt_buf_str(to, "</dl>\n");
}

void page_report(struct bt_buf *to, const char *facility, const struct json *fairness,
                 const struct json *promises)
{
    html_begin(to, facility, "Shares and promises");
    bt_buf_str(to, "<h1>Shares and promises</h1>\n<p class=\"lead\">From ");
    html_when(to, json_str(json_get(fairness, "since"), ""));
    bt_buf_str(to, " to ");
    html_when(to, json_str(json_get(fairness, "until"), ""));
    bt_buf_str(to, " (UTC).</p>\n");
    shares(to, json_get(fairness, "items"));
    kept(to, promises);
    html_end(to);
}
