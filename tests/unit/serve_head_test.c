/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/serve/head.h"

/* What libmicrohttpd leaves of `lines` behind a request line for "/x". */
static int check(const char *method, const char *version, const char *lines, size_t n,
                 struct head *h, int *status, struct bt_err *err)
{
    static char mem[8192];
    size_t at = 0, uri_at;

    memcpy(mem, method, strlen(method) + 1);
    uri_at = at = strlen(method) + 1;
    memcpy(mem + at, "/x", 3);
    at += 3;
    memcpy(mem + at, version, strlen(version));
    at += strlen(version);
    mem[at++] = '\0';
    mem[at++] = '\0';
    memcpy(mem + at, lines, n);
    return head_check(mem, at + n, uri_at, 2, h, status, err);
}

#define CASE(lines, says, status)              \
    {                                          \
        lines, sizeof(lines) - 1, says, status \
    }
/* a NUL where libmicrohttpd puts it for ':' and for each half of CR LF */
#define HOST "Host\0 a\0\0"
#define END "\0\0"

static void ambiguous_heads_are_refused(void **state)
{
    static const struct {
        const char *lines;
        size_t n;
        const char *says;
        int status;
    } cases[] = {
        CASE(HOST END, NULL, 0),
        CASE(HOST "Content-Length\0 3\0\0Expect\0 100-continue\0\0" END, NULL, 0),
        CASE(HOST "X-Empty\0\0\0" END, NULL, 0),
        CASE(END, "exactly one Host", 400),
        CASE(HOST HOST END, "exactly one Host", 400),
        CASE("Host\0 a b\0\0" END, "exactly one Host", 400),
        CASE("Host\0 \0\0" END, "exactly one Host", 400),
        CASE(HOST "Content-Length\0 3\0\0content-length\0 3\0\0" END, "2 times", 400),
        CASE(HOST "Content-Length\0 +3\0\0" END, "no number", 400),
        CASE(HOST "Content-Length\0 3,3\0\0" END, "no number", 400),
        CASE(HOST "Content-Length\0 -1\0\0" END, "no number", 400),
        CASE(HOST "Content-Length\0 0x10\0\0" END, "no number", 400),
        CASE(HOST "Content-Length\0 9999999999999999999\0\0" END, "no number", 400),
        CASE(HOST "Content-Length\0 \0\0" END, "no number", 400),
        CASE(HOST "Transfer-Encoding\0 chunked\0\0" END, "Transfer-Encoding", 411),
        CASE(HOST "Transfer-Encoding\0 xchunked\0\0" END, "Transfer-Encoding", 400),
        CASE(HOST "Content-Length\0 3\0\0Transfer-Encoding\0 chunked\0\0" END, "Transfer-Encoding",
             400),
        CASE(HOST "Transfer-Encoding\0 chunked\0\0Transfer-Encoding\0 chunked\0\0" END,
             "Transfer-Encoding", 400),
        CASE(HOST "Expect\0 200-ok\0\0" END, "100-continue", 400),
        CASE(HOST "Content-Length \0 3\0\0" END, "no token", 400),
        CASE(HOST "\0\0 folded\0\0" END, "behind its end", 400),
        CASE(HOST "X\0 a\0\0 folded\0\0" END, "folded", 400),
        CASE(HOST "X\0 a\0\0\tfolded\0\0" END, "folded", 400),
        CASE(HOST "X\0 a\rb\0\0" END, "0x0d", 400),
        CASE(HOST "X\0 a\x01\0\0" END, "0x01", 400),
        CASE(HOST "X\0 a\x7f\0\0" END, "0x7f", 400),
        CASE("Host\0 a\0X\0 b\0\0" END, "CR LF", 400),       /* bare LF after Host */
        CASE(HOST "X\0 a\0b\0\0" END, "CR LF", 400),         /* NUL in a value */
        CASE(HOST "X\0 a\0\0b: c\0\0" END, "no token", 400), /* two NULs in a value */
        CASE(HOST "(x)\0 a\0\0" END, "no token", 400),
        CASE(HOST "\0", "CR LF", 400),
        CASE(HOST "X\0 a", "does not end", 400),
        CASE(HOST "X", "no token", 400),
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_err err = {0};
        struct head h;
        int status = 0;
        int rc = check("GET", "HTTP/1.1", cases[i].lines, cases[i].n, &h, &status, &err);

        if (!cases[i].says) {
            assert_int_equal(rc, 0);
            continue;
        }
        if (rc >= 0 || !strstr(err.text, cases[i].says) || status != cases[i].status)
            print_error("case %zu: %d %d '%s' lacks '%s'\n", i, rc, status, err.text,
                        cases[i].says);
        assert_int_equal(rc, -BT_ERR_INVALID);
        assert_non_null(strstr(err.text, cases[i].says));
        assert_int_equal(status, cases[i].status);
    }
}

static void the_request_line_is_strict(void **state)
{
    struct head h;
    int status;

    (void)state;
    assert_int_equal(check("GET", "HTTP/1.1", HOST END, sizeof(HOST END) - 1, &h, &status, NULL),
                     0);
    assert_true(check("GE\x01", "HTTP/1.1", HOST END, sizeof(HOST END) - 1, &h, &status, NULL) < 0);
    assert_true(check("GET", "HTTP/1.0", HOST END, sizeof(HOST END) - 1, &h, &status, NULL) < 0);
    assert_true(check("GET", "HTTP/1.10", HOST END, sizeof(HOST END) - 1, &h, &status, NULL) < 0);
    assert_true(check("GET", "http/1.1", HOST END, sizeof(HOST END) - 1, &h, &status, NULL) < 0);
    assert_true(check("G ET", "HTTP/1.1", HOST END, sizeof(HOST END) - 1, &h, &status, NULL) < 0);
    assert_true(check("GET", "", HOST END, sizeof(HOST END) - 1, &h, &status, NULL) < 0);
}

static void the_length_is_read(void **state)
{
    static const char lines[] = HOST "Content-Length\0 0262144\0\0" END;
    struct head h;
    int status;

    (void)state;
    assert_int_equal(check("PUT", "HTTP/1.1", lines, sizeof lines - 1, &h, &status, NULL), 0);
    assert_true(h.has_length);
    assert_int_equal(h.length, 262144);
    assert_int_equal(h.n, 2);
    assert_string_equal(h.lines[1].value, "0262144");
}

static void more_than_64_lines_are_refused(void **state)
{
    BT_BUF_AUTO struct bt_buf lines = {0};
    struct bt_err err;
    struct head h;
    int status;

    (void)state;
    bt_buf_add(&lines, HOST, sizeof HOST - 1);
    for (int i = 0; i < HEAD_LINES; i++)
        bt_buf_add(&lines, "X\0 a\0\0", 6);
    bt_buf_add(&lines, END, 2);
    assert_true(check("GET", "HTTP/1.1", lines.p, lines.n, &h, &status, &err) < 0);
    assert_non_null(strstr(err.text, "64 lines"));
}

static void targets_are_checked_before_they_are_decoded(void **state)
{
    static const struct {
        const char *uri;
        bool ok;
    } cases[] = {
        {"/", true},          {"/v1/jobs?state=queued&x=%20%2F", true},
        {"/a%20b", true},     {"", false},
        {"*", false},         {"http://h/", false},
        {"/a b", false},      {"/a\tb", false},
        {"/\xc3\xa9", false}, {"/%00", false},
        {"/%0a", false},      {"/%7F", false},
        {"/a%2fb", false},    {"/%2", false},
        {"/%zz", false},      {"/?q=%00", false},
        {"/%", false},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++)
        assert_int_equal(head_check_target(cases[i].uri, 64, NULL) == 0, cases[i].ok);
    assert_int_equal(head_check_target("/123456789", 9, NULL), -BT_ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ambiguous_heads_are_refused),
        cmocka_unit_test(the_request_line_is_strict),
        cmocka_unit_test(the_length_is_read),
        cmocka_unit_test(more_than_64_lines_are_refused),
        cmocka_unit_test(targets_are_checked_before_they_are_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
