/* pem.h - private keys as files, for Ed25519 and P-256 alike; private to this folder.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CRYPTO_PEM_H
#define BT_CRYPTO_PEM_H

#include <openssl/types.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

/* PKCS #8 PEM without a pass phrase, behind `to`. */
int pem_add_key(struct bt_buf *to, const EVP_PKEY *key, struct bt_err *err) BT_MUSTUSE;

/* See sign_key_save and sign_key_load. `type` is OpenSSL's name, "ED25519" or "EC". */
int pem_save_key(const EVP_PKEY *key, const char *path, struct bt_err *err) BT_MUSTUSE;
int pem_load_key(const char *path, const char *type, EVP_PKEY **ret, struct bt_err *err) BT_MUSTUSE;

#endif
