/* driver.c - feeds a fuzz target where libFuzzer is not at hand: seeds, then mutations of them.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *     fuzz_x RUNS SEED_FILE…
 *
 * Deterministic: run i is always the same input. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { INPUT_MAX = 64 * 1024 };

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15; /* splitmix64, Steele et al. 2014 */

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static size_t below(size_t n)
{
    return n ? next_random() % n : 0;
}

/* One change of in[*n], which holds INPUT_MAX bytes at most. */
static void mutate(uint8_t *in, size_t *n)
{
    static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '\n', '-', '.'};
    size_t at = below(*n);
    size_t len = 1 + below(8);

    switch (below(6)) {
    case 0:
        if (*n)
            in[at] ^= (uint8_t)(1 << below(8));
        break;
    case 1:
        if (*n)
            in[at] = odd[below(sizeof odd)];
        break;
    case 2: /* cut */
        *n = at;
        break;
    case 3: /* drop a piece */
        len = BT_MIN(len, *n - at);
        memmove(in + at, in + at + len, *n - at - len);
        *n -= len;
        break;
    case 4: /* repeat a piece */
        len = BT_MIN(len, *n - at);
        if (*n + len > INPUT_MAX)
            break;
        memmove(in + at + len, in + at, *n - at);
        *n += len;
        break;
    default:
        if (*n < INPUT_MAX)
            in[(*n)++] = (uint8_t)next_random();
        break;
    }
}

/* The target sees a copy of exactly n bytes, so that a sanitizer finds overreads. */
static void feed(const uint8_t *in, size_t n)
{
    uint8_t *copy = bt_memdup(in, n);

    LLVMFuzzerTestOneInput(copy, n);
    bt_free(copy);
}

int main(int argc, char **argv)
{
    struct bt_buf *seeds = bt_new_n(struct bt_buf, (size_t)BT_MAX(argc, 1));
    uint8_t *in = bt_alloc(1, INPUT_MAX);
    struct bt_err err = {0};
    int64_t runs = 0;
    size_t n_seeds = 0;

    if (argc < 3 || bt_parse_i64(argv[1], "RUNS", 0, INT64_MAX, &runs, &err) < 0) {
        fprintf(stderr, "usage: %s RUNS SEED_FILE…\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++, n_seeds++) {
        if (bt_file_read(argv[i], INPUT_MAX, &seeds[n_seeds], &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            return 2;
        }
        feed((const uint8_t *)bt_buf_text(&seeds[n_seeds]), seeds[n_seeds].n);
    }
    for (int64_t i = 0; i < runs; i++) {
        const struct bt_buf *seed = &seeds[below(n_seeds)];
        size_t n = seed->n;

        memcpy(in, bt_buf_text(seed), n);
        for (size_t k = 1 + below(8); k > 0; k--)
            mutate(in, &n);
        feed(in, n);
    }
    printf("%zu seeds, %" PRId64 " mutations\n", n_seeds, runs);
    while (n_seeds > 0)
        bt_buf_done(&seeds[--n_seeds]);
    bt_free(seeds);
    bt_free(in);
    return 0;
}
