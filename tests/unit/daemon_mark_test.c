/* What the daemon lets its agents remember, and what an agent keeps of it.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/known.h"
#include "daemon/mark.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static struct mark_key key_of(uint8_t seed_byte)
{
    uint8_t seed[SIGN_SEED_SIZE] = {seed_byte};
    struct sign_key *ledger = NULL;
    struct mark_key key;

    assert_int_equal(sign_key_from_seed(seed, &ledger, NULL), 0);
    assert_int_equal(mark_key_make(ledger, &key, NULL), 0);
    sign_key_free(ledger);
    return key;
}

static void a_mark_says_what_was_written(void **state)
{
    struct mark_key key = key_of(1), again = key_of(1);
    char text[MARK_TEXT];
    uint64_t epoch = 0, seq = 0;

    (void)state;
    mark_write(&key, 7, 123456789012345, text);
    assert_int_equal(mark_read(&again, text, &epoch, &seq, NULL), 0);
    assert_int_equal(epoch, 7);
    assert_int_equal(seq, 123456789012345);
}

static void no_character_of_a_mark_can_be_changed(void **state)
{
    struct mark_key key = key_of(1);
    char text[MARK_TEXT], other[MARK_TEXT];
    uint64_t epoch, seq;

    (void)state;
    mark_write(&key, 7, 42, text);
    for (size_t i = 0; text[i]; i++) {
        memcpy(other, text, sizeof other);
        other[i] = other[i] == '1' ? '2' : '1';
        assert_int_not_equal(mark_read(&key, other, &epoch, &seq, NULL), 0);
        memcpy(other, text, sizeof other);
        other[i] = '\0';
        assert_int_not_equal(mark_read(&key, other, &epoch, &seq, NULL), 0);
    }
    assert_true(strlen(text) + 2 <= sizeof other);
    memcpy(other, text, strlen(text));
    memcpy(other + strlen(text), "0", 2);
    assert_int_equal(mark_read(&key, other, &epoch, &seq, NULL), -BT_ERR_NOT_FOUND);
}

static void a_mark_of_another_facility_is_told_apart(void **state)
{
    struct mark_key ours = key_of(1), theirs = key_of(2);
    char text[MARK_TEXT];
    uint64_t epoch, seq;

    (void)state;
    mark_write(&theirs, 7, 42, text);
    assert_int_equal(mark_read(&ours, text, &epoch, &seq, NULL), -BT_ERR_NOT_FOUND);
    assert_int_equal(mark_read(&ours, "", &epoch, &seq, NULL), -BT_ERR_NOT_FOUND);
    assert_int_equal(mark_read(&ours, "....", &epoch, &seq, NULL), -BT_ERR_NOT_FOUND);
}

/* An agent in a folder of its own. */
struct kept {
    char dir[64];
    struct known k;
};

static void keep_begin(struct kept *t)
{
    snprintf(t->dir, sizeof t->dir, "/tmp/bt-known-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    known_load(&t->k, t->dir);
    assert_string_equal(t->k.mark, "");
}

static void keep_again(struct kept *t)
{
    known_done(&t->k);
    known_load(&t->k, t->dir);
}

static void keep_end(struct kept *t)
{
    unlink(t->k.path);
    rmdir(t->dir);
    known_done(&t->k);
}

static void an_agent_keeps_the_highest_over_a_restart(void **state)
{
    struct mark_key key = key_of(1);
    char low[MARK_TEXT], high[MARK_TEXT];
    struct kept t;

    (void)state;
    mark_write(&key, 2, 99, low);
    mark_write(&key, 2, 100, high);
    keep_begin(&t);
    assert_int_equal(known_learn(&t.k, low, NULL), 0);
    assert_int_equal(known_learn(&t.k, high, NULL), 0);
    assert_int_equal(known_learn(&t.k, low, NULL), 0);
    assert_string_equal(t.k.mark, high);
    keep_again(&t);
    assert_string_equal(t.k.mark, high);
    keep_end(&t);
}

static void an_agent_of_a_new_facility_forgets_the_old_one(void **state)
{
    struct mark_key old = key_of(1), new = key_of(2);
    char before[MARK_TEXT], after[MARK_TEXT];
    struct kept t;

    (void)state;
    mark_write(&old, 9, 1000, before);
    mark_write(&new, 1, 1, after);
    keep_begin(&t);
    assert_int_equal(known_learn(&t.k, before, NULL), 0);
    assert_int_equal(known_learn(&t.k, after, NULL), 0);
    assert_string_equal(t.k.mark, after);
    keep_again(&t); /* the shorter one lies where the longer one was */
    assert_string_equal(t.k.mark, after);
    keep_end(&t);
}

static void what_is_no_mark_is_not_kept(void **state)
{
    static const char *const bad[] = {"",
                                      "1",
                                      "abcd.1.2",
                                      "abcd.1.x.00",
                                      "abcd.1.2.00&x=1",
                                      "...",
                                      "abcd.1.2.3.4",
                                      "abcd.-1.2.00",
                                      "abcd.1.99999999999999999999.00"};
    struct kept t;

    (void)state;
    keep_begin(&t);
    for (size_t i = 0; i < BT_ARRAY_LEN(bad); i++)
        assert_int_equal(known_learn(&t.k, bad[i], NULL), -BT_ERR_INVALID);
    assert_int_not_equal(access(t.k.path, F_OK), 0);
    keep_end(&t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_says_what_was_written),
        cmocka_unit_test(no_character_of_a_mark_can_be_changed),
        cmocka_unit_test(a_mark_of_another_facility_is_told_apart),
        cmocka_unit_test(an_agent_keeps_the_highest_over_a_restart),
        cmocka_unit_test(an_agent_of_a_new_facility_forgets_the_old_one),
        cmocka_unit_test(what_is_no_mark_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
