/* hash.h - SHA-256, HMAC, comparison in constant time and random bytes.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A stream is a plain value: it needs no release and may be copied to fork a
 * hash. Nothing here can fail. Thread safe. Source: FIPS 180-4, RFC 2104. */
#ifndef BT_CRYPTO_HASH_H
#define BT_CRYPTO_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { BT_SHA256_SIZE = 32 };

/* OpenSSL's SHA256_CTX by value: no allocation and no provider look-up per
 * hash, which cost 4 times a short message's own hashing. */
struct bt_sha256 {
    uint64_t opaque[14];
};

void bt_sha256_init(struct bt_sha256 *h);
void bt_sha256_add(struct bt_sha256 *h, const void *p, size_t n);
void bt_sha256_end(struct bt_sha256 *h, uint8_t out[BT_SHA256_SIZE]);

void bt_sha256(const void *p, size_t n, uint8_t out[BT_SHA256_SIZE]);

/* Hashes fd from its present position to its end; ret_bytes may be NULL. BT_ERR_IO. */
int bt_sha256_fd(int fd, uint8_t out[BT_SHA256_SIZE], int64_t *ret_bytes,
                 struct bt_err *err) BT_MUSTUSE;

void bt_hmac_sha256(const void *key, size_t n_key, const void *p, size_t n,
                    uint8_t out[BT_SHA256_SIZE]);

/* True if equal; the time depends on n alone. */
bool bt_equal_ct(const void *a, const void *b, size_t n);

/* From the kernel; a kernel that cannot give randomness ends the process. */
void bt_random(void *p, size_t n);

#endif
