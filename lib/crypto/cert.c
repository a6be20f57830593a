/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/crypto/cert.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/cert_own.h"
#include "lib/crypto/fail.h"
#include "lib/crypto/hash.h"
#include "lib/crypto/pem.h"

static const char *const kind_names[N_CERT_KINDS] = {
    [CERT_PERSON] = "person",           [CERT_AGENT] = "agent",
    [CERT_HELPER] = "helper",           [CERT_SERVER] = "server",
    [CERT_OPERATOR_STAFF] = "operator",
};

const char *cert_kind_name(enum cert_kind kind)
{
    return kind_names[kind];
}

int cert_kind_parse(const char *name)
{
    for (int k = 0; k < N_CERT_KINDS; k++)
        if (bt_streq(name, kind_names[k]))
            return k;
    return -1;
}

bool cert_is_host(const char *s)
{
    size_t n = strlen(s);

    if (n == 0 || n >= CERT_HOST_MAX - 2 || s[0] == '.' || s[n - 1] == '.' || strstr(s, ".."))
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n;
}

bool cert_is_p256(const EVP_PKEY *pkey)
{
    char group[32];

    return EVP_PKEY_is_a(pkey, "EC") &&
           EVP_PKEY_get_group_name(pkey, group, sizeof group, NULL) == 1 &&
           bt_streq(group, "prime256v1");
}

int cert_key_new(struct cert_key **ret, struct bt_err *err)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

    if (!pkey)
        return crypto_fail(err, BT_ERR_INTERNAL, "cannot make a P-256 key");
    *ret = bt_new(struct cert_key);
    (*ret)->pkey = pkey;
    return 0;
}

int cert_key_save(const struct cert_key *key, const char *path, struct bt_err *err)
{
    return pem_save_key(key->pkey, path, err);
}

int cert_key_load(const char *path, struct cert_key **ret, struct bt_err *err)
{
    EVP_PKEY *pkey;
    int rc = pem_load_key(path, "EC", &pkey, err);

    if (rc < 0)
        return rc;
    if (!cert_is_p256(pkey)) {
        EVP_PKEY_free(pkey);
        return bt_fail(err, BT_ERR_INVALID, "%s does not hold a P-256 key", path);
    }
    *ret = bt_new(struct cert_key);
    (*ret)->pkey = pkey;
    return 0;
}

int cert_key_need(const char *path, struct cert_key **ret, struct bt_err *err)
{
    struct cert_key *key;
    int rc;

    if (access(path, F_OK) == 0)
        return cert_key_load(path, ret, err);
    rc = cert_key_new(&key, err);
    if (rc < 0)
        return rc;
    rc = cert_key_save(key, path, err);
    if (rc < 0)
        cert_key_free(key);
    else
        *ret = key;
    return rc;
}

int cert_key_pem(const struct cert_key *key, struct bt_buf *to, struct bt_err *err)
{
    return pem_add_key(to, key->pkey, err);
}

void cert_key_free(struct cert_key *key)
{
    if (key)
        EVP_PKEY_free(key->pkey);
    bt_free(key);
}

struct cert_pub *cert_key_public(const struct cert_key *key)
{
    struct cert_pub *pub = bt_new(struct cert_pub);

    EVP_PKEY_up_ref(key->pkey); /* the public half is only ever read */
    pub->pkey = key->pkey;
    return pub;
}

void cert_pub_free(struct cert_pub *pub)
{
    if (pub)
        EVP_PKEY_free(pub->pkey);
    bt_free(pub);
}

void cert_pub_spki_sha256(const struct cert_pub *pub, uint8_t ret[32])
{
    unsigned char *der = NULL;
    int n = i2d_PUBKEY(pub->pkey, &der);

    if (n <= 0)
        abort(); /* a parsed P-256 key always encodes; only memory can fail */
    bt_sha256(der, (size_t)n, ret);
    OPENSSL_free(der);
}

struct cert *cert_wrap(X509 *x)
{
    struct cert *c = bt_new(struct cert);

    c->x = x;
    return c;
}

int cert_from_pem(const char *pem, size_t n, struct cert **ret, struct bt_err *err)
{
    BIO *bio;
    X509 *x;

    if (n > CERT_DER_MAX * 2)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a certificate of %zu bytes", n);
    bio = BIO_new_mem_buf(pem, (int)n);
    x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (!x)
        return crypto_fail(err, BT_ERR_INVALID, "no certificate in the PEM text");
    *ret = cert_wrap(x);
    return 0;
}

int cert_from_der(const void *der, size_t n, struct cert **ret, struct bt_err *err)
{
    const unsigned char *p = der;
    X509 *x;

    if (n > CERT_DER_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a certificate of %zu bytes", n);
    x = d2i_X509(NULL, &p, (long)n);
    if (!x || p != (const unsigned char *)der + n) {
        X509_free(x);
        return crypto_fail(err, BT_ERR_INVALID, "not one DER certificate");
    }
    *ret = cert_wrap(x);
    return 0;
}

void cert_pem(const struct cert *c, struct bt_buf *to)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long n;

    if (!bio || PEM_write_bio_X509(bio, c->x) != 1)
        abort(); /* only memory can fail */
    n = BIO_get_mem_data(bio, &text);
    bt_buf_add(to, text, (size_t)n);
    BIO_free(bio);
}

void cert_der(const struct cert *c, struct bt_buf *to)
{
    unsigned char *der = NULL;
    int n = i2d_X509(c->x, &der);

    if (n <= 0)
        abort(); /* only memory can fail */
    bt_buf_add(to, der, (size_t)n);
    OPENSSL_free(der);
}

void cert_x509_spki_sha256(const X509 *x, uint8_t ret[32])
{
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);

    if (n <= 0)
        abort(); /* only memory can fail */
    bt_sha256(der, (size_t)n, ret);
    OPENSSL_free(der);
}

void cert_spki_sha256(const struct cert *c, uint8_t ret[32])
{
    cert_x509_spki_sha256(c->x, ret);
}

int64_t cert_asn1_time_us(const ASN1_TIME *t)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm) * INT64_C(1000000);
}

int64_t cert_not_after_us(const struct cert *c)
{
    return cert_asn1_time_us(X509_get0_notAfter(c->x));
}

int cert_matches_key(const struct cert *c, const struct cert_key *key, struct bt_err *err)
{
    if (X509_check_private_key(c->x, key->pkey) == 1)
        return 0;
    ERR_clear_error();
    return bt_fail(err, BT_ERR_CONFLICT,
                   "the certificate and the private key do not belong "
                   "together");
}

void cert_free(struct cert *c)
{
    if (c)
        X509_free(c->x);
    bt_free(c);
}
