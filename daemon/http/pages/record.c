/* A record's page. SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/http/pages/html.h"
#include "daemon/http/pages/pages.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* The path percent-encoded, slashes kept: it becomes part of an address. */
static void path_text(struct bt_buf *to, const char *path)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";

    for (; *path; path++) {
        if (strchr(plain, *path))
            bt_buf_char(to, *path);
        else
            bt_buf_printf(to, "%%%02X", (unsigned char)*path);
    }
}

static const char *text(const struct json *b, const char *name)
{
    return json_str(json_get(b, name), "");
}

static void number_row(struct bt_buf *to, const char *name, const struct json *v)
{
    char s[24];

    if (json_is(v) != JSON_IS_INT)
        return;
    snprintf(s, sizeof s, "%" PRId64, json_i64(v, 0));
    html_row(to, name, s);
}

static void amount_row(struct bt_buf *to, const char *name, const char *mras)
{
    int64_t v;

    if (bt_parse_i64(mras, name, 0, INT64_MAX, &v, NULL) < 0)
        return;
    bt_buf_printf(to, "<dt>%s</dt><dd>", name);
    if (v < INT64_C(36000000)) {
        bt_buf_printf(to, "%.1f reference-accelerator-seconds</dd>\n", (double)v / 1000);
        return;
    }
    html_hours(to, mras);
    bt_buf_str(to, " reference-accelerator-hours</dd>\n");
}

static void when_row(struct bt_buf *to, const char *name, const char *when)
{
    if (!*when)
        return;
    bt_buf_printf(to, "<dt>%s</dt><dd>", name);
    html_when(to, when);
    bt_buf_str(to, " UTC</dd>\n");
}

static void rules_row(struct bt_buf *to, const struct json *rules)
{
    if (json_len(rules) == 0)
        return;
    bt_buf_str(to, "<dt>Rules that applied</dt><dd>");
    for (size_t i = 0; i < json_len(rules); i++) {
        if (i)
            bt_buf_str(to, ", ");
        html_text(to, json_str(json_at(rules, i), ""));
    }
    bt_buf_str(to, "</dd>\n");
}

static void datasets_row(struct bt_buf *to, const struct json *list)
{
    if (json_len(list) == 0)
        return;
    bt_buf_str(to, "<dt>Data sets</dt><dd>");
    for (size_t i = 0; i < json_len(list); i++) {
        const char *digest = text(json_at(list, i), "sha256");

        bt_buf_str(to, i ? ", " : "");
        html_text(to, text(json_at(list, i), "name"));
        if (!*digest)
            continue;
        bt_buf_str(to, " <span class=\"mono\">sha256:");
        html_text(to, digest);
        bt_buf_str(to, "</span>");
    }
    bt_buf_str(to, "</dd>\n");
}

static void summary(struct bt_buf *to, const struct json *b)
{
    BT_AUTO char *project = bt_printf("%s / %s", text(b, "nation"), text(b, "project"));
    BT_AUTO char *gang = bt_printf("%" PRId64 " × %s", json_i64(json_get(b, "accelerators"), 0),
                                   *text(b, "class") ? text(b, "class") : "any");

    bt_buf_str(to, "<dl>\n");
    html_row(to, "For", project);
    html_row(to, "By", text(b, "person"));
    html_row(to, "Kind", text(b, "job_kind"));
    number_row(to, "Clearance tier", json_get(b, "tier"));
    html_row(to, "Accelerators", gang);
    datasets_row(to, json_get(b, "datasets"));
    amount_row(to, "Charged", text(b, "charged_mras"));
    amount_row(to, "Held", text(b, "held_mras"));
    when_row(to, "Submitted", text(b, "submitted"));
    when_row(to, "Started", text(b, "started"));
    when_row(to, "Ended", text(b, "ended"));
    number_row(to, "Attempts", json_get(b, "attempts"));
    html_row(to, "Why it ended so", text(b, "reason"));
    number_row(to, "Exit status", json_get(b, "exit_code"));
    number_row(to, "Signal", json_get(b, "signal"));
    html_row(to, "FLOP ceiling", text(b, "flop_ceiling"));
    rules_row(to, json_get(b, "rules"));
    when_row(to, "Result due", text(b, "publish_by"));
    bt_buf_str(to, "</dl>\n");
}

/* What a trainer says, in the order in which it is of interest. Without a label: of no interest
 * once the job has ended (record/N.json has all of them). */
static const struct {
    const char *key, *label;
} known_metrics[] = {
    {"bits_per_byte_mean", "bits a byte, held out"},
    {"loss", "training loss"},
    {"step", "steps done"},
    {"steps", "steps planned"},
    {"tokens", "tokens seen"},
    {"tok_per_s", "tokens a second"},
    {"mfu", "of the accelerators’ dense peak"},
    {"flops", "floating-point operations"},
    {"grad_norm", "norm of the last gradient"},
    {"lr", NULL},
    {"eta_s", NULL},
};

/* How many zeros, and the point before them, end the number digits[n]. */
static size_t idle_end(const char *digits, size_t n)
{
    size_t left = n;

    while (digits[left - 1] == '0')
        left--;
    return n - left + (digits[left - 1] == '.');
}

/* Four digits that count: "1,204", "1.932", "0.0431", "3.21 × 10^18"; "41.2 %" of a share. What is
 * no number stays as it is. */
static void short_number(struct bt_buf *to, const char *s, bool share)
{
    char *end, digits[32];
    double v = strtod(s, &end) * (share ? 100 : 1), size = fabs(v);
    int power = size > 0 ? (int)floor(log10(size)) : 0;

    if (end == s || *end || !isfinite(v)) {
        html_text(to, s);
        return;
    }
    if (size >= 1e15 || (size > 0 && size < 1e-4)) {
        bt_buf_printf(to, "%.2f × 10<sup>%d</sup>", v / pow(10, power), power);
    } else if (size >= 1000) {
        bt_buf_str(to, bt_format_thousands((int64_t)llround(v), digits));
    } else {
        size_t n = (size_t)snprintf(digits, sizeof digits, "%.*f", 3 - power, v);

        if (strchr(digits, '.'))
            n -= idle_end(digits, n);
        bt_buf_add(to, digits, n);
    }
    if (share)
        bt_buf_str(to, " %");
}

static void metric(struct bt_buf *to, const char *key, const char *label, const struct json *v)
{
    if (!v || !label)
        return;
    bt_buf_str(to, "<div><b title=\"");
    html_text(to, json_str(v, ""));
    bt_buf_str(to, "\">");
    short_number(to, json_str(v, ""), !strcmp(key, "mfu"));
    bt_buf_str(to, "</b><span>");
    html_text(to, label);
    bt_buf_str(to, "</span></div>\n");
}

static int other_metric(void *arg, const char *key, const struct json *v)
{
    for (size_t i = 0; i < BT_ARRAY_LEN(known_metrics); i++)
        if (!strcmp(known_metrics[i].key, key))
            return 0;
    metric(arg, key, key, v);
    return 0;
}

static void metrics(struct bt_buf *to, const struct json *m)
{
    if (json_len(m) == 0)
        return;
    bt_buf_str(to, "<div class=\"tiles\">\n");
    for (size_t i = 0; i < BT_ARRAY_LEN(known_metrics); i++)
        metric(to, known_metrics[i].key, known_metrics[i].label, json_get(m, known_metrics[i].key));
    (void)json_each(m, other_metric, to);
    bt_buf_str(to, "</div>\n");
}

static void curve(struct bt_buf *to, int64_t index, const struct manifest *files)
{
    if (!files || manifest_find(files, "loss.svg", NULL) < 0)
        return;
    bt_buf_printf(to,
                  "<figure><img src=\"/record/%" PRId64 "/files/loss.svg\" "
                  "alt=\"Loss over the steps of the training\"></figure>\n",
                  index);
}

static void file_line(struct bt_buf *to, int64_t index, const struct manifest_file *f)
{
    char hex[65];

    bt_buf_printf(to, "<tr><td class=\"w\"><a href=\"/record/%" PRId64 "/files/", index);
    path_text(to, f->path);
    bt_buf_str(to, "\">");
    html_text(to, f->path);
    bt_buf_str(to, "</a></td><td class=\"n\">");
    html_bytes(to, f->bytes);
    bt_buf_printf(to, "</td><td class=\"mono wide\">%s</td></tr>\n", bt_hex(f->sha256, 32, hex));
}

static void file_list(struct bt_buf *to, int64_t index, const struct json *m,
                      const struct manifest *files)
{
    const char *status = text(m, "status");

    bt_buf_str(to, "<h2>Files</h2>\n");
    if (!files || files->n == 0) {
        bt_buf_printf(to, "<p>%s</p>\n",
                      files || bt_streq(status, "none") || !*status
                          ? "The job left no files."
                          : "The list of files has not arrived here yet.");
        return;
    }
    bt_buf_printf(to, "<p class=\"lead\">%zu files, ", files->n);
    html_bytes(to, files->bytes);
    bt_buf_printf(to, "%s. The <a href=\"/blob/sha256/",
                  bt_streq(status, "incomplete") ? "; uploads were cut short" : "");
    html_text(to, text(m, "sha256"));
    bt_buf_str(to, "\">manifest</a> names them all.</p>\n<div class=\"scroll\"><table>\n<thead><tr>"
                   "<th>File</th><th class=\"n\">Size</th><th class=\"wide\">SHA-256</th></tr>"
                   "</thead>\n<tbody>\n");
    for (size_t i = 0; i < files->n && i < PAGE_FILES; i++)
        file_line(to, index, &files->files[i]);
    bt_buf_str(to, "</tbody></table></div>\n");
    if (files->n > PAGE_FILES)
        bt_buf_printf(to, "<p>… and %zu more.</p>\n", files->n - PAGE_FILES);
}

static void later(struct bt_buf *to, const struct json *list)
{
    if (json_len(list) == 0)
        return;
    bt_buf_str(to, "<h2>What was said of it</h2>\n<ul>\n");
    for (size_t i = 0; i < json_len(list); i++) {
        int64_t index = json_i64(json_get(json_at(list, i), "index"), 0);

        bt_buf_printf(to, "<li><a href=\"/record/%" PRId64 "\">", index);
        html_text(to, text(json_at(list, i), "kind"));
        bt_buf_printf(to, " %" PRId64 "</a></li>\n", index);
    }
    bt_buf_str(to, "</ul>\n");
}

static void proof(struct bt_buf *to, const struct json *record, int64_t index)
{
    int64_t covered = json_i64(json_get(record, "checkpoint_size"), 0);

    bt_buf_str(to, "<h2>Check it yourself</h2>\n<p>");
    if (index < covered)
        bt_buf_printf(to,
                      "This is entry %" PRId64 " of the ledger. The signed checkpoint of %" PRId64
                      " entries contains it: nobody can change or remove it unnoticed.",
                      index, covered);
    else
        bt_buf_printf(to,
                      "This is entry %" PRId64 " of the ledger. The next signed checkpoint, "
                      "within a minute, will contain it.",
                      index);
    bt_buf_printf(to,
                  "</p>\n<pre>beamtime ledger verify --record %" PRId64 "</pre>\n<dl>\n"
                  "<dt>Leaf hash</dt><dd class=\"mono\">",
                  index);
    html_text(to, text(record, "leaf_sha256"));
    bt_buf_printf(to,
                  "</dd>\n<dt>The entry</dt><dd><a href=\"/record/%" PRId64
                  ".json\">/record/%" PRId64 ".json</a></dd>\n"
                  "<dt>Checkpoint, key</dt><dd><a href=\"/checkpoint\">/checkpoint</a>, "
                  "<a href=\"/log.vkey\">/log.vkey</a></dd>\n</dl>\n",
                  index, index);
}

void page_record(struct bt_buf *to, const char *facility, const struct json *record,
                 const struct manifest *files)
{
    int64_t index = json_i64(json_get(record, "index"), -1);
    const struct json *leaf = json_get(record, "leaf"), *b = json_get(leaf, "body");
    const char *kind = json_str(json_get(leaf, "kind"), "");
    const char *named = *text(b, "name")    ? text(b, "name")
                        : *text(b, "title") ? text(b, "title")
                                            : kind;
    BT_AUTO char *title = bt_printf("%s · record %" PRId64, named, index);

    html_begin(to, facility, title);
    bt_buf_str(to, "<h1>");
    html_text(to, named);
    bt_buf_printf(to, "</h1>\n<p class=\"lead\">Record %" PRId64, index);
    if (json_is(json_get(b, "number")) == JSON_IS_INT)
        bt_buf_printf(to, " · job %" PRId64, json_i64(json_get(b, "number"), 0));
    if (bt_streq(kind, "record")) {
        bt_buf_str(to, " · ");
        html_state(to, text(b, "outcome"));
    }
    bt_buf_str(to, "</p>\n");
    if (bt_streq(kind, "record")) {
        metrics(to, json_get(b, "metrics"));
        curve(to, index, files);
        summary(to, b);
        file_list(to, index, json_get(b, "manifest"), files);
        later(to, json_get(record, "later"));
    } else if (bt_streq(kind, "result")) {
        result_part(to, leaf);
    } else {
        bt_buf_str(to, "<p>An entry of kind “");
        html_text(to, kind);
        bt_buf_printf(to, "”: <a href=\"/record/%" PRId64 ".json\">its text</a>.</p>\n", index);
    }
    proof(to, record, index);
    html_end(to);
}
