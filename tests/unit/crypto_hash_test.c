/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/base/enc.h"
#include "lib/crypto/hash.h"

/* FIPS 180-4 examples (NIST example values for SHA-256). */
static void known_messages_hash_as_published(void **state)
{
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        uint8_t out[32];
        char hex[65];

        bt_sha256(cases[i].text, strlen(cases[i].text), out);
        assert_string_equal(bt_hex(out, 32, hex), cases[i].hex);
    }
}

static void a_stream_hashes_like_one_piece_and_can_be_forked(void **state)
{
    uint8_t bytes[1000], whole[32], parts[32];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    bt_sha256(bytes, sizeof bytes, whole);
    for (size_t cut = 0; cut <= sizeof bytes; cut += 13) {
        struct bt_sha256 h, fork;

        bt_sha256_init(&h);
        bt_sha256_add(&h, bytes, cut);
        fork = h;
        bt_sha256_add(&h, "something else", 14);
        bt_sha256_end(&h, parts);
        assert_memory_not_equal(parts, whole, 32);
        bt_sha256_add(&fork, bytes + cut, sizeof bytes - cut);
        bt_sha256_end(&fork, parts);
        assert_memory_equal(parts, whole, 32);
    }
}

static void a_descriptor_hashes_from_its_position_to_its_end(void **state)
{
    FILE *f = tmpfile();
    uint8_t out[32], want[32];
    int64_t bytes;

    (void)state;
    assert_non_null(f);
    assert_int_equal(fwrite("skip abc", 1, 8, f), 8);
    assert_int_equal(fflush(f), 0);
    assert_int_equal(lseek(fileno(f), 5, SEEK_SET), 5);
    assert_int_equal(bt_sha256_fd(fileno(f), out, &bytes, NULL), 0);
    bt_sha256("abc", 3, want);
    assert_memory_equal(out, want, 32);
    assert_int_equal(bytes, 3);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(bt_sha256_fd(-1, out, NULL, NULL), -BT_ERR_IO);
}

/* RFC 4231 sections 4.2, 4.3 and 4.7. */
static void hmac_answers_rfc_4231(void **state)
{
    uint8_t key[131], out[32];
    char hex[65];

    (void)state;
    memset(key, 0x0b, 20);
    bt_hmac_sha256(key, 20, "Hi There", 8, out);
    assert_string_equal(bt_hex(out, 32, hex),
                        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    bt_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    assert_string_equal(bt_hex(out, 32, hex),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    bt_hmac_sha256(key, sizeof key, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
                   out);
    assert_string_equal(bt_hex(out, 32, hex),
                        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void comparison_and_randomness_do_their_plain_duty(void **state)
{
    uint8_t a[32], b[32];

    (void)state;
    bt_random(a, sizeof a);
    bt_random(b, sizeof b);
    assert_false(bt_equal_ct(a, b, sizeof a)); /* equal once in 2^256 runs */
    memcpy(b, a, sizeof b);
    assert_true(bt_equal_ct(a, b, sizeof a));
    b[31] ^= 1;
    assert_false(bt_equal_ct(a, b, sizeof a));
    assert_true(bt_equal_ct(a, b, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_messages_hash_as_published),
        cmocka_unit_test(a_stream_hashes_like_one_piece_and_can_be_forked),
        cmocka_unit_test(a_descriptor_hashes_from_its_position_to_its_end),
        cmocka_unit_test(hmac_answers_rfc_4231),
        cmocka_unit_test(comparison_and_randomness_do_their_plain_duty),
    };

    return cmocka_run_group_tests_name("crypto_hash", tests, NULL, NULL);
}
