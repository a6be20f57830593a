/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/crypto/sign.h"

/* RFC 8032 section 7.1, tests 1 to 3. */
static const struct {
    const char *seed, *pub, *message, *sig;
} rfc8032[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b"
     "4"
     "6bd25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11"
     "d"
     "8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc"
     "6"
     "594a7c15e9716ed28dc027beceea1ec40a"},
};

static void signatures_are_those_of_rfc_8032(void **state)
{
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(rfc8032); i++) {
        uint8_t seed[32], pub[32], want_pub[32], want[64], sig[64], message[2] = {0};
        size_t n = strlen(rfc8032[i].message) / 2;
        struct sign_key *key;

        assert_int_equal(bt_unhex(rfc8032[i].seed, seed, 32), 0);
        assert_int_equal(bt_unhex(rfc8032[i].pub, want_pub, 32), 0);
        assert_int_equal(bt_unhex(rfc8032[i].sig, want, 64), 0);
        assert_int_equal(bt_unhex(rfc8032[i].message, message, n), 0);
        assert_int_equal(sign_key_from_seed(seed, &key, NULL), 0);
        sign_key_public(key, pub);
        assert_memory_equal(pub, want_pub, 32);
        assert_int_equal(sign_bytes(key, message, n, sig, NULL), 0);
        assert_memory_equal(sig, want, 64);
        assert_int_equal(sign_verify(pub, message, n, sig, NULL), 0);
        sign_key_free(key);
    }
}

static void a_changed_bit_anywhere_is_found(void **state)
{
    uint8_t message[] = "the whole checkpoint", pub[32], sig[64];
    struct sign_key *key;
    struct bt_err err;

    (void)state;
    assert_int_equal(sign_key_new(&key, NULL), 0);
    sign_key_public(key, pub);
    assert_int_equal(sign_bytes(key, message, sizeof message, sig, NULL), 0);
    for (size_t i = 0; i < sizeof sig; i++) {
        sig[i] ^= 0x10;
        assert_int_equal(sign_verify(pub, message, sizeof message, sig, &err), -BT_ERR_SIGNATURE);
        sig[i] ^= 0x10;
    }
    message[3] ^= 1;
    assert_int_equal(sign_verify(pub, message, sizeof message, sig, NULL), -BT_ERR_SIGNATURE);
    message[3] ^= 1;
    pub[0] ^= 1;
    assert_int_equal(sign_verify(pub, message, sizeof message, sig, NULL), -BT_ERR_SIGNATURE);
    pub[0] ^= 1;
    assert_int_equal(sign_verify(pub, message, sizeof message, sig, NULL), 0);
    sign_key_free(key);
}

static void a_key_file_is_private_and_never_replaced(void **state)
{
    char dir[] = "/tmp/bt-sign-XXXXXX";
    struct sign_key *key, *again, *other;
    uint8_t a[32], b[32];
    struct stat st;
    struct bt_err err;

    (void)state;
    assert_non_null(mkdtemp(dir));
    BT_AUTO char *path = bt_printf("%s/log.key", dir);
    assert_int_equal(sign_key_new(&key, NULL), 0);
    assert_int_equal(sign_key_new(&other, NULL), 0);
    assert_int_equal(sign_key_save(key, path, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(sign_key_save(other, path, &err), -BT_ERR_CONFLICT);
    assert_int_equal(sign_key_load(path, &again, NULL), 0);
    sign_key_public(key, a);
    sign_key_public(again, b);
    assert_memory_equal(a, b, 32);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(sign_key_load(path, &again, &err), -BT_ERR_FORBIDDEN);
    assert_non_null(strstr(err.next, "chmod 600"));
    BT_AUTO char *junk = bt_printf("%s/junk", dir);
    assert_int_equal(bt_file_write(junk, 0600, "-----BEGIN", 10, NULL), 0);
    assert_int_equal(sign_key_load(junk, &again, &err), -BT_ERR_INVALID);
    assert_int_equal(sign_key_load("/nonexistent", &again, &err), -BT_ERR_NOT_FOUND);
    sign_key_free(key);
    sign_key_free(again);
    sign_key_free(other);
    assert_int_equal(bt_remove_tree(dir, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_those_of_rfc_8032),
        cmocka_unit_test(a_changed_bit_anywhere_is_found),
        cmocka_unit_test(a_key_file_is_private_and_never_replaced),
    };

    return cmocka_run_group_tests_name("crypto_sign", tests, NULL, NULL);
}
