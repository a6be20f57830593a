/* map.h - a hash table from 64-bit keys or byte strings to 32-bit values (indexes into arrays).
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Open addressing with linear probing and tombstone-free deletion; 12 bytes a
 * slot for integers. Keys of peers go through bt_map_hash with a per-process
 * random seed, so that nobody can choose colliding keys. One thread at a time. */
#ifndef BT_BASE_MAP_H
#define BT_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bt_map {
    uint64_t *keys;
    uint32_t *values; /* value + 1; 0 = empty slot */
    size_t cap;       /* power of two, 0 before the first put */
    size_t n;
};

void bt_map_done(struct bt_map *m);
void bt_map_reserve(struct bt_map *m, size_t n);
void bt_map_put(struct bt_map *m, uint64_t key, uint32_t value); /* replaces; value < UINT32_MAX */
bool bt_map_get(const struct bt_map *m, uint64_t key, uint32_t *ret);
bool bt_map_del(struct bt_map *m, uint64_t key); /* false if it was not there */

/* A keyed 64-bit hash of n bytes (SipHash-2-4, Aumasson and Bernstein 2012, seed from the
 * kernel once a process): the key under which a byte string goes into a map. The caller
 * compares the real key of what it finds; equal hashes of different strings chain by
 * the caller's own means or are refused. */
uint64_t bt_map_hash(const void *p, size_t n);

#endif
