/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/crypto/sign.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "lib/base/mem.h"
#include "lib/crypto/fail.h"
#include "lib/crypto/pem.h"

struct sign_key {
    EVP_PKEY *pkey;
    uint8_t pub[SIGN_PUBLIC_SIZE];
};

/* Takes pkey. */
static int wrap(EVP_PKEY *pkey, struct sign_key **ret, struct bt_err *err)
{
    struct sign_key *key;
    size_t n = SIGN_PUBLIC_SIZE;
    uint8_t pub[SIGN_PUBLIC_SIZE];

    if (EVP_PKEY_get_raw_public_key(pkey, pub, &n) != 1 || n != sizeof pub) {
        EVP_PKEY_free(pkey);
        return crypto_fail(err, BT_ERR_INTERNAL, "an Ed25519 key without a public half");
    }
    key = bt_new(struct sign_key);
    key->pkey = pkey;
    memcpy(key->pub, pub, sizeof pub);
    *ret = key;
    return 0;
}

int sign_key_new(struct sign_key **ret, struct bt_err *err)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (!pkey)
        return crypto_fail(err, BT_ERR_INTERNAL, "cannot make an Ed25519 key");
    return wrap(pkey, ret, err);
}

int sign_key_from_seed(const uint8_t seed[SIGN_SEED_SIZE], struct sign_key **ret,
                       struct bt_err *err)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, SIGN_SEED_SIZE);

    if (!pkey)
        return crypto_fail(err, BT_ERR_INTERNAL, "cannot make an Ed25519 key from a seed");
    return wrap(pkey, ret, err);
}

void sign_key_free(struct sign_key *key)
{
    if (key)
        EVP_PKEY_free(key->pkey);
    bt_free(key);
}

int sign_key_save(const struct sign_key *key, const char *path, struct bt_err *err)
{
    return pem_save_key(key->pkey, path, err);
}

int sign_key_load(const char *path, struct sign_key **ret, struct bt_err *err)
{
    EVP_PKEY *pkey;
    int rc = pem_load_key(path, "ED25519", &pkey, err);

    return rc < 0 ? rc : wrap(pkey, ret, err);
}

void sign_key_public(const struct sign_key *key, uint8_t ret[SIGN_PUBLIC_SIZE])
{
    memcpy(ret, key->pub, SIGN_PUBLIC_SIZE);
}

int sign_bytes(const struct sign_key *key, const void *p, size_t n, uint8_t ret[SIGN_SIZE],
               struct bt_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t sig[SIGN_SIZE];
    size_t n_sig = sizeof sig;
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
              EVP_DigestSign(ctx, sig, &n_sig, p, n) == 1 && n_sig == sizeof sig;

    EVP_MD_CTX_free(ctx);
    if (!ok)
        return crypto_fail(err, BT_ERR_INTERNAL, "cannot sign %zu bytes", n);
    memcpy(ret, sig, sizeof sig);
    return 0;
}

int sign_verify(const uint8_t pub[SIGN_PUBLIC_SIZE], const void *p, size_t n,
                const uint8_t sig[SIGN_SIZE], struct bt_err *err)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pub, SIGN_PUBLIC_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
              EVP_DigestVerify(ctx, sig, SIGN_SIZE, p, n) == 1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    if (!ok) {
        ERR_clear_error();
        return bt_fail(err, BT_ERR_SIGNATURE, "the Ed25519 signature does not verify");
    }
    return 0;
}
