/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "lib/api/openapi.h"
#include "lib/api/problem.h"
#include "lib/api/route.h"
#include "lib/json/json.h"

static void requests_find_their_route(void **state)
{
    static const struct {
        const char *method, *path;
        bool public;
        int want; /* a route, or a negative error */
        const char *p0, *p1;
    } cases[] = {
        {"POST", "/v1/jobs", false, ROUTE_JOB_SUBMIT, "", ""},
        {"GET", "/v1/jobs", false, ROUTE_JOB_LIST, "", ""},
        {"GET", "/v1/jobs/17", false, ROUTE_JOB_GET, "17", ""},
        {"HEAD", "/v1/jobs/17", false, ROUTE_JOB_GET, "17", ""},
        {"POST", "/v1/jobs/17/cancel", false, ROUTE_JOB_CANCEL, "17", ""},
        {"PUT", "/v1/people/cz/jana/clearance", false, ROUTE_CLEARANCE_PUT, "cz", "jana"},
        {"HEAD", "/v1/agent/blobs/ab", false, ROUTE_AGENT_BLOB_HAVE, "ab", ""},
        {"PUT", "/v1/agent/blobs/ab", false, ROUTE_AGENT_BLOB_PUT, "ab", ""},
        {"PUT", "/v1/agent/blobs/ab/kept", false, ROUTE_AGENT_BLOB_KEPT, "ab", ""},
        {"DELETE", "/v1/jobs", false, -BT_ERR_METHOD, "", ""},
        {"GET", "/v1/job", false, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/v1/jobs/", false, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/v1/jobs//", false, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/v1/jobs/..", false, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/v1/jobs/a\x01", false, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/v1/jobs/1/2", false, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/", false, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/", true, ROUTE_PUB_FRONT, "", ""},
        {"GET", "/record/1", true, ROUTE_PUB_RECORD, "1", ""},
        {"GET", "/record/1/files/a/b.txt", true, ROUTE_PUB_FILE, "1", "a/b.txt"},
        {"GET", "/tile/0/x001/067", true, ROUTE_PUB_TILE, "0/x001/067", ""},
        {"GET", "/tile/../log.key", true, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/tile/0//1", true, -BT_ERR_NOT_FOUND, "", ""},
        {"GET", "/tile/", true, -BT_ERR_NOT_FOUND, "", ""},
        {"POST", "/checkpoint", true, -BT_ERR_METHOD, "", ""},
        {"POST", "/v1/jobs", true, -BT_ERR_NOT_FOUND, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct route_match m = {0};
        int rc = route_find(cases[i].method, cases[i].path, cases[i].public, &m, NULL);

        if (cases[i].want < 0) {
            assert_int_equal(rc, cases[i].want);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(m.route->id, cases[i].want);
        if (cases[i].p0[0])
            assert_string_equal(m.param[0], cases[i].p0);
        if (cases[i].p1[0])
            assert_string_equal(m.param[1], cases[i].p1);
        route_match_done(&m);
    }
}

static void a_wrong_method_names_the_right_ones(void **state)
{
    struct route_match m;
    struct bt_err err;

    (void)state;
    assert_int_equal(route_find("PATCH", "/v1/jobs", false, &m, &err), -BT_ERR_METHOD);
    assert_non_null(strstr(err.text, "only POST, GET"));
}

static void openapi_is_json_and_lists_every_route(void **state)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *root = NULL;
    const struct json *paths, *schemas;

    (void)state;
    openapi_write(&text, "test.example", "1");
    assert_int_equal(json_parse(text.p, text.n, 1 << 20, &root, NULL), 0);
    assert_string_equal(json_str(json_get(root, "openapi"), ""), "3.1.0");
    paths = json_get(root, "paths");
    schemas = json_get(json_get(root, "components"), "schemas");
    for (int i = 0; i < N_ROUTES; i++) {
        char path[128], method[16];
        const struct json *op;
        size_t n = 0;

        for (const char *p = routes[i].pattern; *p; p++)
            if (*p != '+')
                path[n++] = *p;
        path[n] = '\0';
        for (n = 0; routes[i].method[n]; n++)
            method[n] = (char)tolower((unsigned char)routes[i].method[n]);
        method[n] = '\0';
        op = json_get(json_get(paths, path), method);
        assert_non_null(op);
        assert_string_equal(json_str(json_get(op, "summary"), ""), routes[i].summary);
    }
    assert_int_equal(json_len(json_get(json_get(schemas, "Heartbeat"), "required")), 2);
    /* every reference names a schema that exists */
    for (const char *p = text.p; (p = strstr(p, "#/components/schemas/")); p++) {
        char name[64] = "";
        size_t n = strcspn(p + 21, "\"");

        assert_true(n < sizeof name);
        memcpy(name, p + 21, n);
        if (!json_get(schemas, name))
            print_error("no schema %s\n", name);
        assert_non_null(json_get(schemas, name));
    }
}

static void an_error_survives_the_wire(void **state)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    char id[BT_UUID_TEXT];
    struct bt_err e = {.code = BT_ERR_QUOTA_EXCEEDED,
                       .text = "cz/multilingual has 3 h left, \"tiny\" needs 4",
                       .next = "beamtime quota show cz/multilingual"};
    struct bt_err back;

    (void)state;
    problem_write(&text, &e, 0, "01997cc8-7c00-7abc-8def-0123456789ab", "\"missing\":[]");
    assert_non_null(strstr(text.p, "\"status\":409"));
    assert_non_null(strstr(text.p, "urn:beamtime:error:QUOTA_EXCEEDED"));
    problem_read(text.p, text.n, 409, &back, id);
    assert_int_equal(back.code, e.code);
    assert_string_equal(back.text, e.text);
    assert_string_equal(back.next, e.next);
    assert_string_equal(id, "01997cc8-7c00-7abc-8def-0123456789ab");
}

static void a_problem_is_always_utf8(void **state)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *root = NULL;
    struct bt_err e = {.code = BT_ERR_NOT_FOUND, .text = "nothing at /\xc3"};

    (void)state;
    problem_write(&text, &e, 0, NULL, NULL);
    assert_int_equal(json_parse(text.p, text.n, 4096, &root, NULL), 0);
    assert_string_equal(json_str(json_get(root, "detail"), ""), "nothing at /?");
}

static void a_reply_without_a_problem_is_told_by_its_status(void **state)
{
    static const struct {
        const char *body;
        int status, code;
    } cases[] = {
        {"<html>", 503, BT_ERR_BUSY},
        {"", 404, BT_ERR_NOT_FOUND},
        {"{}", 413, BT_ERR_TOO_LARGE},
        {"[1]", 502, BT_ERR_UNREACHABLE},
        {"{\"code\":\"NO_SUCH_CODE\",\"detail\":5}", 418, BT_ERR_INTERNAL},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        char id[BT_UUID_TEXT];
        struct bt_err e;

        problem_read(cases[i].body, strlen(cases[i].body), cases[i].status, &e, id);
        assert_int_equal(e.code, cases[i].code);
        assert_true(e.text[0] != '\0');
        assert_string_equal(id, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_find_their_route),
        cmocka_unit_test(a_wrong_method_names_the_right_ones),
        cmocka_unit_test(openapi_is_json_and_lists_every_route),
        cmocka_unit_test(an_error_survives_the_wire),
        cmocka_unit_test(a_problem_is_always_utf8),
        cmocka_unit_test(a_reply_without_a_problem_is_told_by_its_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
