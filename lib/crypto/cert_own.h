/* cert_own.h - what the files of cert.h share; private to this folder.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CRYPTO_CERT_OWN_H
#define BT_CRYPTO_CERT_OWN_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "lib/crypto/cert.h"

struct cert_key {
    EVP_PKEY *pkey;
};

struct cert_pub {
    EVP_PKEY *pkey;
};

struct cert {
    X509 *x;
};

/* DNS-shaped: labels of [a-z0-9-] and dots, at most 253 characters. */
bool cert_is_host(const char *s);

/* True for an EC key on prime256v1. */
bool cert_is_p256(const EVP_PKEY *pkey);

/* Takes x. */
struct cert *cert_wrap(X509 *x);

void cert_x509_spki_sha256(const X509 *x, uint8_t ret[32]);
int64_t cert_asn1_time_us(const ASN1_TIME *t);

#endif
