/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/map.h"

#include <assert.h>
#include <endian.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/mem.h"

static uint64_t seed[2];

static void make_seed(void)
{
    if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        abort();
}

static inline uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t m)
{
    v[3] ^= m;
    sip_round(v);
    sip_round(v);
    v[0] ^= m;
}

uint64_t bt_map_hash(const void *p, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const uint8_t *b = p;
    uint64_t v[4];
    uint64_t last = (uint64_t)n << 56;
    size_t i = 0;

    pthread_once(&once, make_seed);
    v[0] = seed[0] ^ 0x736f6d6570736575u;
    v[1] = seed[1] ^ 0x646f72616e646f6du;
    v[2] = seed[0] ^ 0x6c7967656e657261u;
    v[3] = seed[1] ^ 0x7465646279746573u;
    for (; i + 8 <= n; i += 8) {
        uint64_t m;

        memcpy(&m, b + i, 8);
        sip_word(v, le64toh(m));
    }
    for (size_t k = 0; i + k < n; k++)
        last |= (uint64_t)b[i + k] << (8 * k);
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int k = 0; k < 4; k++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Fibonacci hashing spreads small integers (Knuth, TAOCP 3, 6.4). */
static size_t home(const struct bt_map *m, uint64_t key)
{
    return (size_t)((key * 0x9e3779b97f4a7c15u) >> 20) & (m->cap - 1);
}

static size_t find(const struct bt_map *m, uint64_t key)
{
    size_t i = home(m, key);

    while (m->values[i] && m->keys[i] != key)
        i = (i + 1) & (m->cap - 1);
    return i;
}

static void resize(struct bt_map *m, size_t cap)
{
    struct bt_map old = *m;

    m->cap = cap;
    m->keys = bt_new_n(uint64_t, cap);
    m->values = bt_new_n(uint32_t, cap);
    for (size_t i = 0; i < old.cap; i++)
        if (old.values[i]) {
            size_t at = find(m, old.keys[i]);

            m->keys[at] = old.keys[i];
            m->values[at] = old.values[i];
        }
    bt_free(old.keys);
    bt_free(old.values);
}

void bt_map_reserve(struct bt_map *m, size_t n)
{
    size_t cap = m->cap ? m->cap : 16;

    while (cap * 3 / 4 < n)
        cap *= 2;
    if (cap > m->cap)
        resize(m, cap);
}

void bt_map_put(struct bt_map *m, uint64_t key, uint32_t value)
{
    size_t i;

    assert(value < UINT32_MAX);
    bt_map_reserve(m, m->n + 1);
    i = find(m, key);
    m->n += m->values[i] == 0;
    m->keys[i] = key;
    m->values[i] = value + 1;
}

bool bt_map_get(const struct bt_map *m, uint64_t key, uint32_t *ret)
{
    size_t i;

    if (!m->n)
        return false;
    i = find(m, key);
    if (!m->values[i])
        return false;
    *ret = m->values[i] - 1;
    return true;
}

bool bt_map_del(struct bt_map *m, uint64_t key)
{
    size_t i;
    size_t j;

    if (!m->n)
        return false;
    i = find(m, key);
    if (!m->values[i])
        return false;
    for (j = (i + 1) & (m->cap - 1); m->values[j]; j = (j + 1) & (m->cap - 1)) {
        size_t h = home(m, m->keys[j]);

        /* Move j into the hole unless its home lies cyclically in (i, j]. */
        if (((j - h) & (m->cap - 1)) >= ((j - i) & (m->cap - 1))) {
            m->keys[i] = m->keys[j];
            m->values[i] = m->values[j];
            i = j;
        }
    }
    m->values[i] = 0;
    m->n--;
    return true;
}

void bt_map_done(struct bt_map *m)
{
    bt_free(m->keys);
    bt_free(m->values);
    *m = (struct bt_map){0};
}
