/* sign.h - Ed25519 keys and signatures (RFC 8032): the ledger's, the people's and the witnesses'.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A key may be used by several threads at once; making and freeing it is the owner's. */
#ifndef BT_CRYPTO_SIGN_H
#define BT_CRYPTO_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { SIGN_PUBLIC_SIZE = 32, SIGN_SEED_SIZE = 32, SIGN_SIZE = 64 };

struct sign_key; /* a private key; the caller frees what these give */

int sign_key_new(struct sign_key **ret, struct bt_err *err) BT_MUSTUSE;
int sign_key_from_seed(const uint8_t seed[SIGN_SEED_SIZE], struct sign_key **ret,
                       struct bt_err *err) BT_MUSTUSE;
void sign_key_free(struct sign_key *key);

/* PKCS #8 PEM, unencrypted, file mode 0600, written durably. Save refuses to replace a file
 * (BT_ERR_CONFLICT); load refuses a file that others may read or write (BT_ERR_FORBIDDEN). */
int sign_key_save(const struct sign_key *key, const char *path, struct bt_err *err) BT_MUSTUSE;
int sign_key_load(const char *path, struct sign_key **ret, struct bt_err *err) BT_MUSTUSE;

void sign_key_public(const struct sign_key *key, uint8_t ret[SIGN_PUBLIC_SIZE]);

/* Deterministic: the same key and bytes give the same signature. */
int sign_bytes(const struct sign_key *key, const void *p, size_t n, uint8_t ret[SIGN_SIZE],
               struct bt_err *err) BT_MUSTUSE;

/* 0, or BT_ERR_SIGNATURE. Thread safe. */
int sign_verify(const uint8_t pub[SIGN_PUBLIC_SIZE], const void *p, size_t n,
                const uint8_t sig[SIGN_SIZE], struct bt_err *err) BT_MUSTUSE;

#endif
