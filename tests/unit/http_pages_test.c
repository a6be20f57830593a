/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/http/pages/pages.h"
#include "lib/base/attr.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

#define HOSTILE "<script>alert(1)</script>\\\"'&\\u0001</title>"

static const char front_text[] =
    "{\"size\":1204,\"checkpoint_size\":1204,\"counts\":{\"record\":600,\"result\":41,"
    "\"overdue\":3},\"records\":["
    "{\"index\":7,\"leaf\":{\"kind\":\"record\",\"v\":1,\"body\":{\"name\":\"" HOSTILE "\","
    "\"outcome\":\"x\\\" onclick=\\\"y\",\"nation\":\"<b>\",\"project\":\"<i>\",\"class\":\"<u>\","
    "\"accelerators\":8,\"charged_mras\":\"<s>\",\"ended\":\"<time>\"}}},"
    "{\"index\":6,\"leaf\":{\"kind\":\"record\",\"v\":1,\"body\":{\"name\":\"tiny-europe\","
    "\"outcome\":\"completed\",\"nation\":\"cz\",\"project\":\"multilingual\",\"class\":\"cpu\","
    "\"accelerators\":2,\"charged_mras\":\"82000\",\"ended\":\"2026-11-21T18:03:11.5Z\"}}},"
    "{\"index\":5}]}";

static const char record_text[] =
    "{\"index\":6,\"kind\":\"record\",\"leaf_sha256\":\"<hash>\",\"size\":9,\"checkpoint_size\":9,"
    "\"later\":[{\"index\":8,\"kind\":\"<result>\"}],\"leaf\":{\"kind\":\"record\",\"v\":1,"
    "\"body\":{"
    "\"name\":\"" HOSTILE
    "\",\"outcome\":\"completed\",\"nation\":\"cz\",\"project\":\"multilingual\","
    "\"person\":\"p-7\",\"job_kind\":\"train\",\"tier\":0,\"class\":\"cpu\",\"accelerators\":2,"
    "\"attempts\":1,\"exit_code\":0,\"charged_mras\":\"82000\",\"held_mras\":\"240000\","
    "\"reason\":\"<img src=x onerror=y>\",\"number\":1,\"rules\":[\"BASE-1\",\"<r>\"],"
    "\"datasets\":[{\"name\":\"<d>\",\"sha256\":\"<x>\"},{\"name\":\"c4\"}],"
    "\"submitted\":\"2026-11-21T18:02:00Z\",\"started\":\"2026-11-21T18:02:11Z\","
    "\"ended\":\"2026-11-21T18:03:11Z\",\"metrics\":{\"loss\":\"1.9323711\","
    "\"step\":\"400\",\"tokens\":\"1638400\",\"mfu\":\"0.41237\",\"flops\":\"3214567890123456\","
    "\"bits_per_byte_mean\":\"3.802345\",\"eta_s\":\"0\",\"<m>\":\"<v>\"},"
    "\"manifest\":{\"status\":\"complete\",\"sha256\":\"ab\",\"files\":2,\"bytes\":\"10\"}}}}";

static struct json *parsed(const char *text)
{
    struct json *root = NULL;
    struct bt_err err;

    if (json_parse(text, strlen(text), JSON_MAX_BYTES, &root, &err) < 0)
        fail_msg("%s", err.text);
    return root;
}

/* Every '<' of the page begins a tag that the pages write themselves; none runs anything. */
static void check_tags(const struct bt_buf *page)
{
    static const char *const tags[] = {
        "!doctype", "html",   "head",  "meta", "sup", "title", "link", "body", "header",
        "main",     "footer", "p",     "b",    "a",   "span",  "h1",   "h2",   "div",
        "table",    "thead",  "tbody", "tr",   "th",  "td",    "dl",   "dt",   "dd",
        "time",     "figure", "img",   "pre",  "ul",  "li"};

    for (const char *p = page->p; (p = strchr(p, '<')); p++) {
        const char *name = p + 1 + (p[1] == '/');
        size_t n = strcspn(name, " >");
        bool known = false;

        for (size_t i = 0; i < BT_ARRAY_LEN(tags); i++)
            known = known || (strlen(tags[i]) == n && !strncmp(tags[i], name, n));
        if (!known)
            print_error("tag %.30s\n", p);
        assert_true(known);
    }
    assert_null(strstr(page->p, "onclick=\""));
    assert_null(strstr(page->p, "<img src=x"));
    assert_null(strstr(page->p, "http://"));
    assert_null(strstr(page->p, "https://"));
    assert_null(strchr(page->p, 1));
}

static void keep(const char *name, const struct bt_buf *page)
{
    const char *dir = getenv("BT_KEEP_PAGES");
    char path[256];

    if (!dir)
        return;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(bt_file_write(path, 0644, page->p, page->n, NULL), 0);
}

static void the_front_page_escapes_what_people_wrote(void **state)
{
    JSON_AUTO struct json *front = parsed(front_text);
    BT_BUF_AUTO struct bt_buf page = {0};

    (void)state;
    page_front(&page, "test.example", front);
    check_tags(&page);
    assert_non_null(strstr(page.p, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;?"));
    assert_non_null(strstr(page.p, "<a href=\"/record/6\">tiny-europe</a>"));
    assert_non_null(strstr(page.p, "<b>1,204</b>"));
    assert_non_null(strstr(page.p, "0.023"));
    assert_non_null(strstr(page.p, "2026-11-21 18:03</time>"));
    keep("index.html", &page);
}

static void numbers_are_shown_as_people_read_them(void **state)
{
    static const struct {
        const char *metric, *want;
    } cases[] = {
        {"\"loss\":\"1.9323711\"", "<b title=\"1.9323711\">1.932</b><span>training loss"},
        {"\"steps\":\"400\"", ">400</b><span>steps planned"},
        {"\"tokens\":\"1638400\"", ">1,638,400</b>"},
        {"\"tok_per_s\":\"1694.26\"", ">1,694</b>"},
        {"\"mfu\":\"0.41237\"", ">41.24 %</b>"},
        {"\"flops\":\"3214567890123456789\"", ">3.21 × 10<sup>18</sup></b>"},
        {"\"own\":\"0.0500\"", ">0.05</b><span>own"},
        {"\"own\":\"0\"", ">0</b>"},
        {"\"own\":\"-12.5\"", ">-12.5</b>"},
        {"\"own\":\"<v>\"", ">&lt;v&gt;</b>"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_AUTO char *text = bt_printf("{\"index\":6,\"leaf\":{\"kind\":\"record\",\"body\":{"
                                       "\"metrics\":{%s,\"eta_s\":\"0\"}}}}",
                                       cases[i].metric);
        JSON_AUTO struct json *record = parsed(text);
        BT_BUF_AUTO struct bt_buf page = {0};

        page_record(&page, "test.example", record, NULL);
        check_tags(&page);
        if (!strstr(page.p, cases[i].want))
            fail_msg("no %s in %s", cases[i].want, strstr(page.p, "tiles"));
        assert_null(strstr(page.p, "eta_s"));
    }
}

static void an_empty_ledger_has_a_page(void **state)
{
    JSON_AUTO struct json *front = parsed("{\"size\":0,\"records\":[]}");
    BT_BUF_AUTO struct bt_buf page = {0};

    (void)state;
    page_front(&page, "test.example", front);
    check_tags(&page);
    assert_non_null(strstr(page.p, "No job has ended yet."));
}

static void a_record_shows_its_files_and_how_to_check_it(void **state)
{
    JSON_AUTO struct json *record = parsed(record_text);
    BT_BUF_AUTO struct bt_buf page = {0};
    MANIFEST_AUTO struct manifest files = {0};
    uint8_t hash[32];

    (void)state;
    memset(hash, 0xab, 32);
    assert_int_equal(manifest_add(&files, "loss.svg", 4, hash, NULL), 0);
    assert_int_equal(manifest_add(&files, "a/\"><script>x</script>?#%.bin", 7900000, hash, NULL),
                     0);
    assert_int_equal(manifest_sort(&files, NULL), 0);
    page_record(&page, "test.example", record, &files);
    check_tags(&page);
    assert_non_null(strstr(page.p, "<img src=\"/record/6/files/loss.svg\""));
    assert_non_null(strstr(page.p, "href=\"/record/6/files/a/%22%3E%3Cscript%3Ex%3C/script%3E%3F%23"
                                   "%25.bin\""));
    assert_non_null(strstr(page.p, "7.9 MB"));
    assert_non_null(strstr(page.p, "beamtime ledger verify --record 6"));
    assert_non_null(strstr(page.p, "checkpoint of 9 entries contains it"));
    assert_non_null(strstr(page.p, "&lt;img src=x onerror=y&gt;"));
    assert_non_null(strstr(page.p, ">1.932</b><span>training loss</span>"));
    keep("record.html", &page);
}

static void a_record_without_files_says_so(void **state)
{
    JSON_AUTO struct json *record = parsed(record_text);
    BT_BUF_AUTO struct bt_buf page = {0};

    (void)state;
    page_record(&page, "test.example", record, NULL);
    check_tags(&page);
    assert_null(strstr(page.p, "loss.svg"));
    assert_non_null(strstr(page.p, "has not arrived here yet"));
}

static void long_lists_are_cut(void **state)
{
    JSON_AUTO struct json *record = parsed(record_text);
    BT_BUF_AUTO struct bt_buf page = {0};
    MANIFEST_AUTO struct manifest files = {0};
    uint8_t hash[32] = {0};

    (void)state;
    for (int i = 0; i < PAGE_FILES + 7; i++) {
        char path[16];

        snprintf(path, sizeof path, "f%05d", i);
        assert_int_equal(manifest_add(&files, path, 1, hash, NULL), 0);
    }
    assert_int_equal(manifest_sort(&files, NULL), 0);
    page_record(&page, "test.example", record, &files);
    assert_non_null(strstr(page.p, "and 7 more"));
    assert_null(strstr(page.p, "f00500"));
}

static void other_kinds_and_errors_have_pages(void **state)
{
    JSON_AUTO struct json *record =
        parsed("{\"index\":3,\"leaf_sha256\":\"00\",\"checkpoint_size\":2,"
               "\"leaf\":{\"kind\":\"submit\",\"body\":{\"number\":1}}}");
    BT_BUF_AUTO struct bt_buf page = {0};

    (void)state;
    page_record(&page, "test.example", record, NULL);
    check_tags(&page);
    assert_non_null(strstr(page.p, "kind “submit”"));
    assert_non_null(strstr(page.p, "within a minute"));
    bt_buf_clear(&page);
    page_error(&page, "test.example", 404, "there is nothing at /<x>");
    check_tags(&page);
    assert_non_null(strstr(page.p, "/&lt;x&gt;"));
}

static void broken_utf8_becomes_a_question_mark(void **state)
{
    BT_BUF_AUTO struct bt_buf to = {0};

    (void)state;
    html_text(&to, "a\xff\xc3\xa9\xe2\x82z\xf0\x9f\x98\x80");
    assert_string_equal(to.p, "a?\xc3\xa9??z\xf0\x9f\x98\x80");
}

static void the_style_loads_nothing(void **state)
{
    (void)state;
    assert_null(strstr(page_style, "url("));
    assert_null(strstr(page_style, "@import"));
    assert_non_null(strstr(page_style, "prefers-color-scheme: dark"));
}

/* One leaf of two nodes: one half at work, one down; and a drained node in another pod. */
static const char machine_text[] =
    "{\"nodes\":[[\"" HOSTILE "\",0,0,4,15,3,\"up\"],[\"" HOSTILE "\",0,0,4,15,0,\"down\"],"
    "[\"" HOSTILE "\",1,9,4,7,0,\"drained\"]],\"datasets\":[{\"site\":\"" HOSTILE
    "\",\"name\":\"c4\",\"sha256\":null,\"bytes\":806000000000}]}";

static void the_machine_is_a_cell_for_each_accelerator(void **state)
{
    JSON_AUTO struct json *j = parsed(machine_text);
    BT_BUF_AUTO struct bt_buf page = {0}, svg = {0};

    (void)state;
    page_machine(&page, "facility.example", j);
    page_machine_svg(&svg, j);
    assert_null(strstr(bt_buf_text(&page), "<script"));
    assert_non_null(strstr(bt_buf_text(&page), "<td class=\"n\">9</td><td>drained</td>"));
    assert_non_null(strstr(bt_buf_text(&page), "<b>5</b><span><i class=\"cell c-down\">"));
    assert_non_null(strstr(bt_buf_text(&page), "16.7 per cent of 12 accelerators are at work"));
    assert_non_null(strstr(bt_buf_text(&page), "<td class=\"w\">c4</td><td>"));
    assert_null(strstr(bt_buf_text(&svg), "<script"));
    assert_non_null(strstr(bt_buf_text(&svg), "fill=\"#1b7a43\" d=\"M0 8h2v1h-2z\""));
    assert_non_null(strstr(bt_buf_text(&svg), "fill=\"#cfd8e6\" d=\"M2 8h2v1h-2z\""));
    assert_non_null(strstr(bt_buf_text(&svg), "fill=\"#c3271d\" d=\"M0 9h4v1h-4zM49 8h1v1h-1z\""));
    assert_non_null(strstr(bt_buf_text(&svg), "pod 0: 25 %"));
}

static void a_machine_without_nodes_has_a_page(void **state)
{
    JSON_AUTO struct json *j = parsed("{\"nodes\":[]}");
    BT_BUF_AUTO struct bt_buf page = {0}, svg = {0};

    (void)state;
    page_machine(&page, "facility.example", j);
    page_machine_svg(&svg, j);
    assert_null(strstr(bt_buf_text(&page), "<img"));
    assert_non_null(strstr(bt_buf_text(&page), "Every node is up."));
    assert_null(strstr(bt_buf_text(&page), "Data sets"));
    assert_non_null(strstr(bt_buf_text(&svg), "</svg>"));
}

/* 100,000 accelerators with every state, split as finely as it can be. */
static void a_hundred_thousand_cells_are_one_bounded_picture(void **state)
{
    static const char *const states[] = {"up", "up", "up", "draining", "drained", "down"};
    BT_BUF_AUTO struct bt_buf text = {0}, svg = {0};
    struct json *j = NULL;
    uint32_t seed = 7;

    (void)state;
    bt_buf_str(&text, "{\"nodes\":[");
    for (int i = 0; i < 12500; i++) {
        seed = seed * 1664525 + 1013904223;
        bt_buf_printf(&text, "%s[\"cern\",%d,%d,8,255,%u,\"%s\"]", i ? "," : "", i / 512, i / 32,
                      seed >> 24, states[seed / 7 % BT_ARRAY_LEN(states)]);
    }
    bt_buf_str(&text, "]}");
    assert_int_equal(json_parse(bt_buf_text(&text), text.n, 4 << 20, &j, NULL), 0);
    page_machine_svg(&svg, j);
    json_free(j);
    assert_non_null(strstr(bt_buf_text(&svg), "100000 accelerators"));
    assert_true(svg.n < 2000000);
    if (getenv("BT_SVG"))
        assert_int_equal(bt_file_write(getenv("BT_SVG"), 0644, svg.p, svg.n, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_machine_is_a_cell_for_each_accelerator),
        cmocka_unit_test(a_machine_without_nodes_has_a_page),
        cmocka_unit_test(a_hundred_thousand_cells_are_one_bounded_picture),
        cmocka_unit_test(the_front_page_escapes_what_people_wrote),
        cmocka_unit_test(numbers_are_shown_as_people_read_them),
        cmocka_unit_test(an_empty_ledger_has_a_page),
        cmocka_unit_test(a_record_shows_its_files_and_how_to_check_it),
        cmocka_unit_test(a_record_without_files_says_so),
        cmocka_unit_test(long_lists_are_cut),
        cmocka_unit_test(other_kinds_and_errors_have_pages),
        cmocka_unit_test(broken_utf8_becomes_a_question_mark),
        cmocka_unit_test(the_style_loads_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
