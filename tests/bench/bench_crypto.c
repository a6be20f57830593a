/* bench_crypto - what hashing, signing, certificates and leaves cost, in CPU time.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   bench_crypto [--seconds S]      S of CPU for each figure, 0.5 when not said
 *
 * One JSON line; µs of this thread's CPU, so that other load on the machine matters little. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/cert.h"
#include "lib/crypto/hash.h"
#include "lib/record/leaf.h"
#include "lib/record/sign.h"

struct bench {
    struct sign_key *sk;
    uint8_t pub[32], sig[64];
    uint8_t message[1024];
    struct cert_key *key, *ca_key;
    struct cert *ca;
    struct cert_pub *pub_key;
    struct cert_store *store;
    struct cert_leaf leaf;
    struct bt_buf der, record;
    struct leaf_record in;
};

static int one_sha256(struct bench *b)
{
    uint8_t out[32];

    bt_sha256(b->message, 64, out);
    return 0;
}

static int one_sha256_1k(struct bench *b)
{
    uint8_t out[32];

    bt_sha256(b->message, 1024, out);
    return 0;
}

static int one_sign(struct bench *b)
{
    return sign_bytes(b->sk, b->message, sizeof b->message, b->sig, NULL);
}

static int one_verify(struct bench *b)
{
    return sign_verify(b->pub, b->message, sizeof b->message, b->sig, NULL);
}

static int one_issue(struct bench *b)
{
    struct cert *c;
    int rc = cert_issue(b->ca, b->ca_key, b->pub_key, &b->leaf, bt_now_us(), &c, NULL);

    if (rc == 0)
        cert_free(c);
    return rc;
}

static int one_client(struct bench *b)
{
    const struct cert_bytes sent = {(const uint8_t *)b->der.p, b->der.n};
    struct cert_identity id;

    return cert_verify_client(b->store, &sent, 1, bt_now_us(), &id, NULL);
}

static int one_record(struct bench *b)
{
    bt_buf_clear(&b->record);
    return leaf_record_build(&b->in, &b->record, NULL);
}

static int one_parse(struct bench *b)
{
    struct leaf leaf;
    int rc = leaf_parse(b->record.p, b->record.n, &leaf, NULL);

    if (rc == 0)
        leaf_done(&leaf);
    return rc;
}

static const struct {
    const char *key;
    int (*one)(struct bench *b);
} figures[] = {
    {"sha256_64_us", one_sha256},  {"sha256_1024_us", one_sha256_1k},
    {"sign_us", one_sign},         {"verify_us", one_verify},
    {"cert_issue_us", one_issue},  {"cert_verify_us", one_client},
    {"leaf_build_us", one_record}, {"leaf_parse_us", one_parse},
};

static int make_certs(struct bench *b, struct bt_err *err)
{
    int64_t now = bt_now_us();
    struct cert_key *root_key;
    struct cert_pub *ca_pub;
    struct cert *root, *c;

    b->store = cert_store_new();
    b->leaf = (struct cert_leaf){.host = "aland.beam.example", .id = "p1", .kind = CERT_PERSON};
    if (cert_key_new(&root_key, err) < 0 || cert_key_new(&b->ca_key, err) < 0 ||
        cert_key_new(&b->key, err) < 0 ||
        cert_make_root("beam.example", root_key, now, &root, err) < 0)
        return -1;
    ca_pub = cert_key_public(b->ca_key);
    b->pub_key = cert_key_public(b->key);
    if (cert_make_intermediate(root, root_key, b->leaf.host, ca_pub, now, &b->ca, err) < 0 ||
        cert_store_add_root(b->store, root, err) < 0 ||
        cert_store_add_issuer(b->store, b->ca, "aland", b->leaf.host, err) < 0 ||
        cert_issue(b->ca, b->ca_key, b->pub_key, &b->leaf, now, &c, err) < 0)
        return -1;
    cert_der(c, &b->der);
    cert_free(c);
    cert_free(root);
    cert_pub_free(ca_pub);
    cert_key_free(root_key);
    return 0;
}

static int make(struct bench *b, struct bt_err *err)
{
    static const char *const rules[] = {"T-1", "BIO-3"};
    static const struct leaf_metric metrics[] = {{"loss", "2.7100"}, {"steps", "400"}};

    memset(b->message, 'x', sizeof b->message);
    b->in = (struct leaf_record){
        .job = {.facility = "beam.example",
                .number = 4711,
                .nation = "aland",
                .person = "p-0007",
                .project = "multilingual",
                .tier = 2,
                .job_kind = "train",
                .accelerators = 8,
                .class = "h200",
                .held_mras = 120000,
                .flop_ceiling = "41000000000000000000000",
                .rules = rules,
                .n_rules = 2,
                .submitted_us = bt_now_us()},
        .name = "tower",
        .attempts = 1,
        .reason = "",
        .started_us = bt_now_us(),
        .ended_us = bt_now_us(),
        .charged_mras = 100000,
        .metrics = metrics,
        .n_metrics = 2,
        .manifest = {.status = LEAF_OUTPUTS_COMPLETE, .files = 9, .bytes = 7900000}};
    if (sign_key_new(&b->sk, err) < 0)
        return -1;
    sign_key_public(b->sk, b->pub);
    return make_certs(b, err);
}

static int64_t cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * BT_US_PER_S + t.tv_nsec / 1000;
}

/* µs a call, in rounds until `us` of CPU are spent; negative if a call fails. */
static double measure(struct bench *b, int (*one)(struct bench *b), int64_t us)
{
    int64_t start = cpu_us(), n = 0, spent = 0;

    while (spent < us) {
        for (int i = 0; i < 50; i++, n++)
            if (one(b) < 0)
                return -1;
        spent = cpu_us() - start;
    }
    return (double)spent / (double)n;
}

int main(int argc, char **argv)
{
    struct bt_err err = {0};
    struct bench b = {0};
    double seconds = 0.5;

    if (argc == 3 && bt_streq(argv[1], "--seconds") &&
        bt_parse_f64(argv[2], "--seconds", &seconds, &err) == 0)
        argc = 1;
    if (argc != 1 || seconds <= 0 || make(&b, &err) < 0) {
        fprintf(stderr, "bench_crypto: %s\n",
                err.text[0] ? err.text : "usage: bench_crypto [--seconds S]");
        return 2;
    }
    printf("{\"bench\":\"crypto\"");
    for (size_t i = 0; i < BT_ARRAY_LEN(figures); i++) {
        double us = measure(&b, figures[i].one, (int64_t)(seconds * 1e6));

        if (us < 0) {
            fprintf(stderr, "bench_crypto: %s failed\n", figures[i].key);
            return 1;
        }
        printf(",\"%s\":%.3g", figures[i].key, us);
    }
    printf(",\"leaf_bytes\":%zu}\n", b.record.n);
    cert_store_free(b.store);
    cert_key_free(b.key);
    cert_key_free(b.ca_key);
    cert_pub_free(b.pub_key);
    cert_free(b.ca);
    sign_key_free(b.sk);
    bt_buf_done(&b.der);
    bt_buf_done(&b.record);
    return 0;
}
