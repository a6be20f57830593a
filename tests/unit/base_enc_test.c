/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/enc.h"
#include "lib/base/time.h"
#include "lib/base/uuid.h"

static void base64_knows_rfc_4648(void **state)
{
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf b = {0};
        BT_BUF_AUTO struct bt_buf back = {0};

        bt_base64(&b, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(bt_buf_text(&b), cases[i][1]);
        assert_int_equal(bt_unbase64(&back, cases[i][1], strlen(cases[i][1])), 0);
        assert_string_equal(bt_buf_text(&back), cases[i][0]);
    }
}

static void base64_has_one_spelling(void **state)
{
    static const char *const bad[] = {
        "Zg", "Zg=", "Zh==", "Zm9=", "Zm 9", "Zg==Zg==", "====", "Zm9v\n"};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++) {
        BT_BUF_AUTO struct bt_buf b = {0};

        assert_int_equal(bt_unbase64(&b, bad[i], strlen(bad[i])), -1);
        assert_int_equal(b.n, 0);
    }
}

static void hex_reads_only_its_length(void **state)
{
    uint8_t out[2];

    (void)state;
    assert_int_equal(bt_unhex("0aff", out, 2), 0);
    assert_int_equal(out[0], 0x0a);
    assert_int_equal(out[1], 0xff);
    assert_int_equal(bt_unhex("0aff0", out, 2), -1);
    assert_int_equal(bt_unhex("0af", out, 2), -1);
    assert_int_equal(bt_unhex("0agf", out, 2), -1);
}

/* Ids take their randomness from what the kernel gave for several. */
static void a_forked_child_makes_other_ids(void **state)
{
    struct bt_uuid ours, theirs;
    int ends[2];
    int status;
    pid_t pid;

    (void)state;
    (void)bt_uuid_new(bt_now_us()); /* now there is some left */
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        theirs = bt_uuid_new(bt_now_us());
        _exit(write(ends[1], theirs.b, sizeof theirs.b) != sizeof theirs.b);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], theirs.b, sizeof theirs.b), sizeof theirs.b);
    ours = bt_uuid_new(bt_now_us());
    assert_memory_not_equal(ours.b + 9, theirs.b + 9, 7); /* behind time, count and variant */
    close(ends[0]);
    close(ends[1]);
}

static void uuids_rise_and_carry_their_time(void **state)
{
    int64_t now = INT64_C(1795287600123456);
    struct bt_uuid last = bt_uuid_new(now);
    char text[BT_UUID_TEXT];

    (void)state;
    assert_true(bt_uuid_is_v7(last));
    assert_int_equal(bt_uuid_time_us(last), INT64_C(1795287600123000));
    for (int i = 0; i < 3000; i++) {
        struct bt_uuid id = bt_uuid_new(now);
        struct bt_uuid back;

        assert_true(memcmp(id.b, last.b, 16) > 0);
        assert_int_equal(bt_uuid_parse(bt_uuid_format(id, text), &back), 0);
        assert_true(bt_uuid_eq(id, back));
        last = id;
    }
    assert_int_equal(bt_uuid_parse("01997CC8-7c00-7abc-8def-0123456789ab", &last), -1);
    assert_int_equal(bt_uuid_parse("01997cc8-7c00-7abc-8def-0123456789a", &last), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_knows_rfc_4648),
        cmocka_unit_test(base64_has_one_spelling),
        cmocka_unit_test(hex_reads_only_its_length),
        cmocka_unit_test(uuids_rise_and_carry_their_time),
        cmocka_unit_test(a_forked_child_makes_other_ids),
    };

    return cmocka_run_group_tests_name("base_enc", tests, NULL, NULL);
}
