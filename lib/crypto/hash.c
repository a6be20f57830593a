/* SPDX-License-Identifier: GPL-3.0-or-later */
#define OPENSSL_API_COMPAT 0x10100000L /* SHA256_CTX by value: see hash.h */
#include "lib/crypto/hash.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/mem.h"

static_assert(sizeof(SHA256_CTX) <= sizeof(struct bt_sha256), "SHA256_CTX fits its room");

static SHA256_CTX *ctx_of(struct bt_sha256 *h)
{
    return (SHA256_CTX *)(void *)h;
}

void bt_sha256_init(struct bt_sha256 *h)
{
    SHA256_Init(ctx_of(h));
}

void bt_sha256_add(struct bt_sha256 *h, const void *p, size_t n)
{
    if (n)
        SHA256_Update(ctx_of(h), p, n);
}

void bt_sha256_end(struct bt_sha256 *h, uint8_t out[BT_SHA256_SIZE])
{
    SHA256_Final(out, ctx_of(h));
}

void bt_sha256(const void *p, size_t n, uint8_t out[BT_SHA256_SIZE])
{
    SHA256_CTX h;

    SHA256_Init(&h);
    if (n)
        SHA256_Update(&h, p, n);
    SHA256_Final(out, &h);
}

int bt_sha256_fd(int fd, uint8_t out[BT_SHA256_SIZE], int64_t *ret_bytes, struct bt_err *err)
{
    struct bt_sha256 h;
    int64_t bytes = 0;

    bt_sha256_init(&h);
    for (;;) {
        uint8_t chunk[65536];
        ssize_t n = read(fd, chunk, sizeof chunk);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return bt_fail_errno(err, BT_ERR_IO, "cannot read the file to be hashed");
        if (n == 0)
            break;
        bt_sha256_add(&h, chunk, (size_t)n);
        bytes += n;
    }
    bt_sha256_end(&h, out);
    if (ret_bytes)
        *ret_bytes = bytes;
    return 0;
}

void bt_hmac_sha256(const void *key, size_t n_key, const void *p, size_t n,
                    uint8_t out[BT_SHA256_SIZE])
{
    uint8_t block[64] = {0};
    struct bt_sha256 inner, outer;

    if (n_key > sizeof block)
        bt_sha256(key, n_key, block);
    else if (n_key)
        memcpy(block, key, n_key);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    bt_sha256_init(&inner);
    bt_sha256_add(&inner, block, sizeof block);
    bt_sha256_add(&inner, p, n);
    bt_sha256_end(&inner, out);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    bt_sha256_init(&outer);
    bt_sha256_add(&outer, block, sizeof block);
    bt_sha256_add(&outer, out, BT_SHA256_SIZE);
    bt_sha256_end(&outer, out);
    bt_wipe(block, sizeof block);
}

bool bt_equal_ct(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void bt_random(void *p, size_t n)
{
    uint8_t *at = p;

    while (n) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort();
        at += got;
        n -= (size_t)got;
    }
}
