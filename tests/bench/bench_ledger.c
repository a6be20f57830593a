/* bench_ledger - what growing, publishing, reading, proving and verifying a ledger cost.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   bench_ledger [--entries N] [--bytes N] [--dir DIR]
 *
 * Publishes N entries of B bytes through daemon/publish into a folder (a fresh one below /tmp,
 * removed at the end), fsync on, a signed checkpoint every 4,096 entries; the database is an
 * array. Then single entries on the idle log, tiles read from their files, proofs made and
 * verified from tiles, and everything verified as an outsider. One JSON line. */
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/publish/publish.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/ledger/verify.h"

enum { IDLE = 200, TILES = 20000, PROOFS = 2000 };

struct bench {
    int64_t entries, bytes;
    char *dir, *served, *last_signed;
    char *body; /* `bytes` of text; its head is the entry's number */
    uint64_t committed;
    struct tree_head saved;
    struct publish_options o;
    struct sign_key *sk;
    struct verify_report report;
    double append_per_s, idle_p50_ms, idle_p99_ms, tile_get_per_s, proof_us, proof_verify_us;
    double verify_entries_per_s;
};

static void die(const struct bt_err *err)
{
    fprintf(stderr, "bench_ledger: %s\n", err->text);
    exit(1);
}

static int load(void *arg, struct publish_state *ret, struct bt_err *err)
{
    struct bench *b = arg;

    (void)err;
    *ret = (struct publish_state){.committed = b->committed, .saved = b->saved};
    return 0;
}

static int read_entries(void *arg, uint64_t from, struct publisher *p, struct bt_err *err)
{
    struct bench *b = arg;
    uint64_t end = BT_MIN(b->committed, from + PUBLISH_BATCH);
    int rc = 0;

    for (uint64_t i = from; i < end && rc == 0; i++) {
        snprintf(b->body, (size_t)b->bytes, "%020llu", (unsigned long long)i);
        rc = publish_add(p, i, b->body, (size_t)b->bytes, err);
    }
    return rc;
}

static int save(void *arg, const struct tree_frontier *frontier, const struct tree_hash *root,
                struct bt_err *err)
{
    struct bench *b = arg;

    (void)err;
    b->saved = (struct tree_head){frontier->size, *root};
    return 0;
}

static void make(struct bench *b)
{
    uint8_t seed[32] = {1}, pub[32];
    struct bt_err err;

    b->served = bt_printf("%s/ledger", b->dir);
    b->last_signed = bt_printf("%s/last-signed", b->dir);
    b->body = bt_alloc((size_t)b->bytes + 1, 1);
    memset(b->body, 'x', (size_t)b->bytes);
    if (sign_key_from_seed(seed, &b->sk, &err) < 0)
        die(&err);
    sign_key_public(b->sk, pub);
    b->o = (struct publish_options){
        .dir = b->served,
        .last_signed = b->last_signed,
        .sk = b->sk,
        .calls = {.load = load, .read = read_entries, .save = save, .arg = b}};
    if (note_key_make("bench.example/ledger", NOTE_ED25519, pub, &b->o.key, &err) < 0)
        die(&err);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void bench_append(struct bench *b)
{
    double ms[IDLE];
    struct publisher *p;
    struct bt_err err;
    int64_t start;

    if (publish_open(&b->o, &p, &err) < 0)
        die(&err);
    b->committed = (uint64_t)b->entries;
    start = bt_mono_us();
    if (publish_catch_up(p, b->committed, &err) < 0)
        die(&err);
    b->append_per_s = (double)b->entries * 1e6 / (double)(bt_mono_us() - start);
    for (int i = 0; i < IDLE; i++) {
        b->committed++;
        start = bt_mono_us();
        if (publish_catch_up(p, b->committed, &err) < 0)
            die(&err);
        ms[i] = (double)(bt_mono_us() - start) / 1e3;
    }
    publish_close(p);
    qsort(ms, IDLE, sizeof *ms, by_value);
    b->idle_p50_ms = ms[IDLE / 2];
    b->idle_p99_ms = ms[IDLE * 99 / 100];
}

/* What a server does for a tile: find the file, read it whole. */
static void bench_tiles(struct bench *b)
{
    const struct log_source from = log_dir_source(b->served);
    uint64_t full = tile_hashes(b->saved.size, 0) / TILE_WIDTH, x = 1;
    BT_BUF_AUTO struct bt_buf tile = {0};
    int64_t start = bt_mono_us();
    struct bt_err err;

    for (int i = 0; i < TILES && full; i++) {
        struct tile t = {.level = 0, .width = TILE_WIDTH};

        x = x * 6364136223846793005U + 1442695040888963407U;
        t.n = (x >> 33) % full;
        bt_buf_clear(&tile);
        if (log_read_tile(&from, &t, &tile, &err) < 0)
            die(&err);
    }
    b->tile_get_per_s = TILES * 1e6 / (double)(bt_mono_us() - start);
}

static void bench_proofs(struct bench *b)
{
    const struct log_source from = log_dir_source(b->served);
    struct log_reader *r = log_reader_new(&from, b->saved.size);
    const struct tree_reader tree = log_reader_tree(r);
    BT_AUTO struct tree_proof *proofs = bt_new_n(struct tree_proof, PROOFS);
    struct bt_err err;
    int64_t start = bt_mono_us();

    for (int i = 0; i < PROOFS; i++) {
        uint64_t index = (uint64_t)i * 7919 % b->saved.size;

        if (tree_inclusion_proof(&tree, index, b->saved.size, &proofs[i], &err) < 0)
            die(&err);
    }
    b->proof_us = (double)(bt_mono_us() - start) / PROOFS;
    start = bt_mono_us();
    for (int i = 0; i < PROOFS; i++) {
        uint64_t index = (uint64_t)i * 7919 % b->saved.size;
        struct tree_hash leaf;

        snprintf(b->body, (size_t)b->bytes, "%020llu", (unsigned long long)index);
        tree_leaf_hash(b->body, (size_t)b->bytes, &leaf);
        if (tree_verify_inclusion(index, b->saved.size, &leaf, &proofs[i], &b->saved.root, &err) <
            0)
            die(&err);
    }
    b->proof_verify_us = (double)(bt_mono_us() - start) / PROOFS;
    log_reader_free(r);
}

static void bench_verify(struct bench *b)
{
    const struct log_source from = log_dir_source(b->served);
    int64_t start = bt_mono_us();
    struct bt_err err;

    if (verify_log(&from, &b->o.key, NULL, &b->report, &err) < 0)
        die(&err);
    b->verify_entries_per_s = (double)b->report.entries * 1e6 / (double)(bt_mono_us() - start);
}

static int64_t on_disk;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type == FTW_F)
        on_disk += st->st_blocks * 512;
    return 0;
}

static int read_options(struct bench *b, int argc, char **argv)
{
    static const struct option options[] = {{"entries", required_argument, NULL, 'e'},
                                            {"bytes", required_argument, NULL, 'b'},
                                            {"dir", required_argument, NULL, 'd'},
                                            {0}};
    struct bt_err err;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        int rc = 0;

        if (c == 'e')
            rc = bt_parse_i64(optarg, "--entries", 1, 100000000, &b->entries, &err);
        else if (c == 'b')
            rc = bt_parse_i64(optarg, "--bytes", 32, ENTRY_MAX, &b->bytes, &err);
        else if (c == 'd')
            b->dir = bt_printf("%s/bench-ledger-XXXXXX", optarg);
        else
            return -1;
        if (rc < 0)
            die(&err);
    }
    if (!b->dir)
        b->dir = bt_strdup("/tmp/bench-ledger-XXXXXX");
    return mkdtemp(b->dir) ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct bench b = {.entries = 1000000, .bytes = 1024};
    struct bt_err err;

    if (read_options(&b, argc, argv) < 0) {
        fprintf(stderr, "usage: bench_ledger [--entries N] [--bytes N] [--dir DIR]\n");
        return 2;
    }
    make(&b);
    bench_append(&b);
    bench_tiles(&b);
    bench_proofs(&b);
    bench_verify(&b);
    nftw(b.served, add_size, 16, FTW_PHYS);
    printf("{\"bench\":\"ledger\",\"entries\":%llu,\"entry_bytes\":%lld,\"append_per_s\":%.0f,"
           "\"idle_append_p50_ms\":%.2f,\"idle_append_p99_ms\":%.2f,\"tile_get_per_s\":%.0f,"
           "\"proof_us\":%.1f,\"proof_verify_us\":%.1f,\"verify_entries_per_s\":%.0f,"
           "\"bytes_per_entry\":%.0f,\"disk_bytes_per_entry\":%.0f}\n",
           (unsigned long long)b.report.entries, (long long)b.bytes, b.append_per_s, b.idle_p50_ms,
           b.idle_p99_ms, b.tile_get_per_s, b.proof_us, b.proof_verify_us, b.verify_entries_per_s,
           (double)b.report.bytes / (double)b.report.entries,
           (double)on_disk / (double)b.report.entries);
    if (bt_remove_tree(b.dir, &err) < 0)
        fprintf(stderr, "bench_ledger: %s\n", err.text);
    sign_key_free(b.sk);
    bt_free(b.dir);
    bt_free(b.served);
    bt_free(b.last_signed);
    bt_free(b.body);
    return 0;
}
