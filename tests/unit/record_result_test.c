/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/record/result.h"

#define HEAD                                                                              \
    "\"facility\":\"beamtime.example\",\"job\":\"01932f00-0000-7000-8000-000000000001\"," \
    "\"person\":\"p12\",\"record\":57"
#define ALL HEAD ",\"finding\":\"negative\",\"title\":\"T\",\"summary\":\"It did not converge.\""

static int read_text(const char *text, struct result_head *head, struct bt_buf *to,
                     struct bt_err *err)
{
    struct json *j = NULL;
    int rc = json_parse(text, strlen(text), 65536, &j, err);

    if (rc == 0)
        rc = result_read(j, head, to, err);
    json_free(j);
    return rc;
}

static void a_result_has_one_spelling(void **state)
{
    struct bt_buf one = {0}, two = {0};
    struct result_head head = {.record = -7};
    struct bt_err err = {0};

    (void)state;
    assert_int_equal(read_text("{" ALL ",\"languages\":[\"de\",\"sr-Latn\"]}", &head, &one, &err),
                     0);
    assert_int_equal(read_text("{ \"title\":\"\\u0054\", \"languages\": [\"de\",\"sr-Latn\"],"
                               "\"summary\":\"It did not converge.\",\"finding\":\"negative\"," HEAD
                               "}",
                               &head, &two, &err),
                     0);
    assert_non_null(one.p);
    assert_non_null(two.p);
    assert_string_equal(bt_buf_text(&one), bt_buf_text(&two));
    assert_string_equal(bt_buf_text(&one),
                        "{\"facility\":\"beamtime.example\",\"finding\":\"negative\","
                        "\"job\":\"01932f00-0000-7000-8000-000000000001\","
                        "\"languages\":[\"de\",\"sr-Latn\"],\"person\":\"p12\",\"record\":57,"
                        "\"summary\":\"It did not converge.\",\"title\":\"T\"}");
    assert_int_equal(head.record, 57);
    assert_string_equal(head.person, "p12");
    assert_string_equal(head.facility, "beamtime.example");
    bt_buf_done(&one);
    bt_buf_done(&two);
}

static void what_is_wrong_is_named_and_nothing_is_written(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{" HEAD ",\"finding\":\"negative\",\"title\":\"T\"}", "summary"},
        {"{" HEAD ",\"finding\":\"great\",\"title\":\"T\",\"summary\":\"S\"}", "finding"},
        {"{" HEAD ",\"finding\":\"failed\",\"title\":\" \",\"summary\":\"S\"}", "title"},
        {"{" HEAD ",\"finding\":\"failed\",\"title\":\"a\\nb\",\"summary\":\"S\"}", "title"},
        {"{" HEAD ",\"finding\":\"failed\",\"title\":\"T\",\"summary\":\"\\n\"}", "summary"},
        {"{" ALL ",\"mood\":\"good\"}", "mood"},
        {"{" ALL ",\"licence\":\"free; as in beer\"}", "licence"},
        {"{" ALL ",\"languages\":[]}", "languages"},
        {"{" ALL ",\"languages\":\"de\"}", "languages"},
        {"{" ALL ",\"languages\":[\"de_DE\"]}", "languages"},
        {"{" ALL ",\"languages\":[7]}", "languages"},
        {"{" ALL ",\"evaluations\":[{\"name\":\"bpb\",\"value\":\"2.0x\"}]}", "evaluations"},
        {"{" ALL ",\"evaluations\":[{\"name\":\"bpb\",\"value\":2.5}]}", "value"},
        {"{" ALL ",\"links\":[\"http://a.example\"]}", "links"},
        {"{" ALL ",\"links\":[\"https://a.example/\\u003cscript\\u003e\"]}", "links"},
        {"[]", ""},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_buf to = {0};
        struct result_head head = {.record = -7};
        struct bt_err err = {0};

        bt_buf_str(&to, "kept");
        assert_int_equal(read_text(cases[i].text, &head, &to, &err), -BT_ERR_INVALID);
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s: %s", cases[i].text, err.text);
        assert_string_equal(bt_buf_text(&to), "kept");
        assert_int_equal(head.record, -7);
        bt_buf_done(&to);
    }
}

static void lengths_are_bounded(void **state)
{
    static const struct {
        const char *before;
        const char *after;
        int n;
        int rc;
    } cases[] = {
        {"{" HEAD ",\"finding\":\"failed\",\"summary\":\"S\",\"title\":\"", "\"}", RESULT_TITLE_MAX,
         0},
        {"{" HEAD ",\"finding\":\"failed\",\"summary\":\"S\",\"title\":\"", "\"}",
         RESULT_TITLE_MAX + 1, -BT_ERR_TOO_LARGE},
        {"{" HEAD ",\"finding\":\"failed\",\"title\":\"T\",\"summary\":\"", "\"}",
         RESULT_SUMMARY_MAX, 0},
        {"{" HEAD ",\"finding\":\"failed\",\"title\":\"T\",\"summary\":\"", "\"}",
         RESULT_SUMMARY_MAX + 1, -BT_ERR_TOO_LARGE},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct bt_buf text = {0}, to = {0};
        struct result_head head;
        struct bt_err err = {0};

        bt_buf_str(&text, cases[i].before);
        for (int k = 0; k < cases[i].n; k++)
            bt_buf_char(&text, 'x');
        bt_buf_str(&text, cases[i].after);
        assert_int_equal(read_text(bt_buf_text(&text), &head, &to, &err), cases[i].rc);
        bt_buf_done(&text);
        bt_buf_done(&to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_has_one_spelling),
        cmocka_unit_test(what_is_wrong_is_named_and_nothing_is_written),
        cmocka_unit_test(lengths_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
