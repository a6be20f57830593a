/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/crypto/cert.h"

#define FACILITY "beam.example"
#define NOW (INT64_C(1795000000) * BT_US_PER_S)
#define DAY (INT64_C(86400) * BT_US_PER_S)

struct ca {
    struct cert_key *key;
    struct cert *cert;
};

struct world {
    struct ca root, a, b, staff, unknown; /* unknown: signed by root, but without a row */
    struct ca fake_root, fake_a;          /* the same names, other keys */
    struct cert_key *key;                 /* of every leaf */
    struct cert_pub *pub;
    struct cert_store *store;
};

static struct ca make_root(void)
{
    struct ca ca;

    assert_int_equal(cert_key_new(&ca.key, NULL), 0);
    assert_int_equal(cert_make_root(FACILITY, ca.key, NOW, &ca.cert, NULL), 0);
    return ca;
}

static struct ca make_ca(const struct ca *above, const char *host)
{
    struct cert_pub *pub;
    struct ca ca;

    assert_int_equal(cert_key_new(&ca.key, NULL), 0);
    pub = cert_key_public(ca.key);
    assert_int_equal(
        cert_make_intermediate(above->cert, above->key, host, pub, NOW, &ca.cert, NULL), 0);
    cert_pub_free(pub);
    return ca;
}

static void drop_ca(struct ca *ca)
{
    cert_key_free(ca->key);
    cert_free(ca->cert);
}

static int setup(void **state)
{
    struct world *w = bt_new(struct world);

    w->root = make_root();
    w->fake_root = make_root();
    w->a = make_ca(&w->root, "aland." FACILITY);
    w->b = make_ca(&w->root, "bland." FACILITY);
    w->staff = make_ca(&w->root, CERT_OPERATOR "." FACILITY);
    w->unknown = make_ca(&w->root, "cland." FACILITY);
    w->fake_a = make_ca(&w->fake_root, "aland." FACILITY);
    w->store = cert_store_new();
    assert_int_equal(cert_store_add_root(w->store, w->root.cert, NULL), 0);
    assert_int_equal(cert_store_add_issuer(w->store, w->a.cert, "aland", "aland." FACILITY, NULL),
                     0);
    assert_int_equal(cert_store_add_issuer(w->store, w->b.cert, "bland", "bland." FACILITY, NULL),
                     0);
    assert_int_equal(cert_store_add_issuer(w->store, w->staff.cert, CERT_OPERATOR,
                                           CERT_OPERATOR "." FACILITY, NULL),
                     0);
    assert_int_equal(cert_key_new(&w->key, NULL), 0);
    w->pub = cert_key_public(w->key);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    drop_ca(&w->root);
    drop_ca(&w->a);
    drop_ca(&w->b);
    drop_ca(&w->staff);
    drop_ca(&w->unknown);
    drop_ca(&w->fake_root);
    drop_ca(&w->fake_a);
    cert_key_free(w->key);
    cert_pub_free(w->pub);
    cert_store_free(w->store);
    bt_free(w);
    return 0;
}

static struct cert *leaf_of(struct world *w, const struct ca *ca, const char *host,
                            enum cert_kind kind)
{
    const struct cert_leaf leaf = {.host = host, .id = "p-0007", .kind = kind};
    struct cert *c;

    assert_int_equal(cert_issue(ca->cert, ca->key, w->pub, &leaf, NOW, &c, NULL), 0);
    return c;
}

static int verify_at(struct world *w, const struct cert *leaf, const struct cert *mid, int64_t now,
                     struct cert_identity *ret)
{
    BT_BUF_AUTO struct bt_buf der = {0}, der2 = {0};
    struct cert_bytes sent[2];
    struct bt_err err = {0};
    int rc;

    cert_der(leaf, &der);
    cert_der(mid, &der2);
    sent[0] = (struct cert_bytes){(const uint8_t *)der.p, der.n};
    sent[1] = (struct cert_bytes){(const uint8_t *)der2.p, der2.n};
    rc = cert_verify_client(w->store, sent, 2, now, ret, &err);
    if (rc < 0)
        print_message("# %s\n", err.text);
    return rc;
}

static void a_person_is_known_by_the_key_of_its_nations_issuer(void **state)
{
    struct world *w = *state;
    struct cert *leaf = leaf_of(w, &w->a, "aland." FACILITY, CERT_PERSON);
    struct cert_identity id;
    uint8_t want[32];

    assert_int_equal(verify_at(w, leaf, w->a.cert, NOW, &id), 0);
    assert_string_equal(id.issuer, "aland");
    assert_string_equal(id.id, "p-0007");
    assert_int_equal(id.kind, CERT_PERSON);
    cert_pub_spki_sha256(w->pub, want);
    assert_memory_equal(id.spki_sha256, want, 32);
    cert_spki_sha256(leaf, want);
    assert_memory_equal(id.spki_sha256, want, 32);
    cert_spki_sha256(w->a.cert, want);
    assert_memory_equal(id.issuer_spki_sha256, want, 32);
    assert_int_equal(id.not_after_us, NOW + CERT_LEAF_DAYS * DAY);
    assert_int_equal(id.not_after_us, cert_not_after_us(leaf));
    cert_free(leaf);
}

static void the_store_supplies_an_intermediate_that_was_not_sent(void **state)
{
    struct world *w = *state;
    struct cert *leaf = leaf_of(w, &w->staff, CERT_OPERATOR "." FACILITY, CERT_AGENT);
    BT_BUF_AUTO struct bt_buf der = {0};
    struct cert_identity id;
    struct cert_bytes sent;

    cert_der(leaf, &der);
    sent = (struct cert_bytes){(const uint8_t *)der.p, der.n};
    assert_int_equal(cert_verify_client(w->store, &sent, 1, NOW, &id, NULL), 0);
    assert_string_equal(id.issuer, CERT_OPERATOR);
    assert_int_equal(id.kind, CERT_AGENT);
    cert_free(leaf);
}

static void a_leaf_lives_from_five_minutes_ago_for_ninety_days(void **state)
{
    struct world *w = *state;
    struct cert *leaf = leaf_of(w, &w->a, "aland." FACILITY, CERT_PERSON);
    static const struct {
        int64_t at;
        int rc;
    } cases[] = {
        {NOW - 301 * BT_US_PER_S, -BT_ERR_UNAUTHENTICATED},
        {NOW - 299 * BT_US_PER_S, 0},
        {NOW + 90 * DAY - BT_US_PER_S, 0},
        {NOW + 90 * DAY + BT_US_PER_S, -BT_ERR_UNAUTHENTICATED},
    };

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct cert_identity id;

        assert_int_equal(verify_at(w, leaf, w->a.cert, cases[i].at, &id), cases[i].rc);
    }
    cert_free(leaf);
}

/* What cert_issue would never make, signed with a real issuer's real key. */
struct odd {
    const char *sentence;
    const char *san; /* NULL: none */
    const char *eku; /* NULL: none */
    const char *basic;
    int rc;
};

static X509 *x509_of(const struct cert *c)
{
    BT_BUF_AUTO struct bt_buf der = {0};
    const unsigned char *p;
    X509 *x;

    cert_der(c, &der);
    p = (const unsigned char *)der.p;
    x = d2i_X509(NULL, &p, (long)der.n);
    assert_non_null(x);
    return x;
}

static EVP_PKEY *pkey_of(const struct cert_key *key)
{
    BT_BUF_AUTO struct bt_buf pem = {0};
    EVP_PKEY *pkey;
    BIO *bio;

    assert_int_equal(cert_key_pem(key, &pem, NULL), 0);
    bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(pkey);
    return pkey;
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static struct cert *odd_leaf(const struct ca *ca, const struct cert_key *key, const struct odd *odd)
{
    X509 *x = X509_new(), *issuer = x509_of(ca->cert);
    EVP_PKEY *pkey = pkey_of(key), *signer = pkey_of(ca->key);
    time_t now = NOW / BT_US_PER_S;
    struct cert *c;
    unsigned char *der = NULL;
    int n;

    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 4711);
    X509_time_adj_ex(X509_getm_notBefore(x), -1, 0, &now);
    X509_time_adj_ex(X509_getm_notAfter(x), 10, 0, &now);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               (const unsigned char *)"odd", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer));
    X509_set_pubkey(x, pkey);
    extend(x, issuer, NID_basic_constraints, odd->basic);
    extend(x, issuer, NID_key_usage,
           strstr(odd->basic, "TRUE") ? "critical,keyCertSign" : "critical,digitalSignature");
    extend(x, issuer, NID_subject_key_identifier, "hash");
    extend(x, issuer, NID_authority_key_identifier, "keyid:always");
    if (odd->eku)
        extend(x, issuer, NID_ext_key_usage, odd->eku);
    if (odd->san)
        extend(x, issuer, NID_subject_alt_name, odd->san);
    assert_true(X509_sign(x, signer, EVP_sha256()) > 0);
    n = i2d_X509(x, &der);
    assert_int_equal(cert_from_der(der, (size_t)n, &c, NULL), 0);
    OPENSSL_free(der);
    X509_free(x);
    X509_free(issuer);
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(signer);
    return c;
}

#define NO (-BT_ERR_UNAUTHENTICATED)
#define P "URI:spiffe://aland." FACILITY
#define LEAF "critical,CA:FALSE"

static void only_the_good_leaf_of_the_matrix_passes(void **state)
{
    static const struct odd cases[] = {
        {"the good one", P "/person/p1", "clientAuth", LEAF, 0},
        {"no SAN", NULL, "clientAuth", LEAF, NO},
        {"no URI in the SAN", "DNS:aland." FACILITY, "clientAuth", LEAF, NO},
        {"two URIs", P "/person/p1," P "/person/p2", "clientAuth", LEAF, NO},
        {"a server's usage only", P "/person/p1", "serverAuth", LEAF, NO},
        {"no extended usage", P "/person/p1", NULL, LEAF, NO},
        {"a CA as leaf", P "/person/p1", "clientAuth", "critical,CA:TRUE", NO},
        {"another nation's host", "URI:spiffe://bland." FACILITY "/person/p1", "clientAuth", LEAF,
         NO},
        {"the operator's host", "URI:spiffe://operator." FACILITY "/operator/p1", "clientAuth",
         LEAF, NO},
        {"a host below its own", "URI:spiffe://x.aland." FACILITY "/person/p1", "clientAuth", LEAF,
         NO},
        {"a host that begins like its own", P ".evil.example/person/p1", "clientAuth", LEAF, NO},
        {"a user and port around the host", "URI:spiffe://aland." FACILITY ":1/person/p1",
         "clientAuth", LEAF, NO},
        {"another scheme", "URI:https://aland." FACILITY "/person/p1", "clientAuth", LEAF, NO},
        {"an agent named by a nation", P "/agent/p1", "clientAuth", LEAF, NO},
        {"an unknown kind", P "/queen/p1", "clientAuth", LEAF, NO},
        {"no id", P "/person/", "clientAuth", LEAF, NO},
        {"a path below the id", P "/person/p1/x", "clientAuth", LEAF, NO},
        {"an id with an escape", P "/person/p%2f", "clientAuth", LEAF, NO},
        {"a DNS name beside the URI of a nation's leaf", P "/person/p1,DNS:beam.example",
         "clientAuth", LEAF, NO},
    };
    struct world *w = *state;

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct cert *leaf = odd_leaf(&w->a, w->key, &cases[i]);
        struct cert_identity id;
        int rc = verify_at(w, leaf, w->a.cert, NOW, &id);

        if (rc != cases[i].rc)
            fail_msg("%s: %d", cases[i].sentence, rc);
        cert_free(leaf);
    }
}

static void a_self_made_facility_of_the_same_names_is_refused(void **state)
{
    struct world *w = *state;
    struct cert *leaf = leaf_of(w, &w->fake_a, "aland." FACILITY, CERT_PERSON);
    struct cert_identity id;

    assert_int_equal(verify_at(w, leaf, w->fake_a.cert, NOW, &id), NO);
    assert_int_equal(verify_at(w, leaf, w->a.cert, NOW, &id), NO);
    assert_int_equal(verify_at(w, leaf, w->fake_root.cert, NOW, &id), NO);
    cert_free(leaf);
}

static void an_issuer_without_a_row_is_refused(void **state)
{
    struct world *w = *state;
    struct cert *leaf = leaf_of(w, &w->unknown, "cland." FACILITY, CERT_PERSON);
    struct cert_identity id;

    assert_int_equal(verify_at(w, leaf, w->unknown.cert, NOW, &id), NO);
    cert_free(leaf);
    leaf = leaf_of(w, &w->root, "aland." FACILITY, CERT_PERSON); /* by the root itself */
    assert_int_equal(verify_at(w, leaf, w->root.cert, NOW, &id), NO);
    cert_free(leaf);
}

static void a_leaf_cannot_issue(void **state)
{
    struct world *w = *state;
    struct ca below = {.key = w->key, .cert = leaf_of(w, &w->a, "aland." FACILITY, CERT_PERSON)};
    struct cert *leaf = leaf_of(w, &below, "aland." FACILITY, CERT_PERSON);
    struct cert_identity id;

    assert_int_equal(verify_at(w, leaf, below.cert, NOW, &id), NO);
    cert_free(leaf);
    cert_free(below.cert);
}

static void an_intermediate_cannot_make_a_further_one(void **state)
{
    struct world *w = *state;
    struct ca below = make_ca(&w->a, "aland." FACILITY);
    struct cert *leaf = leaf_of(w, &below, "aland." FACILITY, CERT_PERSON);
    struct cert_identity id;

    assert_int_equal(verify_at(w, leaf, below.cert, NOW, &id), NO);
    cert_free(leaf);
    drop_ca(&below);
}

static void junk_from_the_wire_is_refused(void **state)
{
    struct world *w = *state;
    struct cert *leaf = leaf_of(w, &w->a, "aland." FACILITY, CERT_PERSON);
    BT_BUF_AUTO struct bt_buf der = {0};
    struct cert_bytes sent[CERT_CHAIN_MAX + 1];
    struct cert_identity id;

    cert_der(leaf, &der);
    bt_buf_char(&der, 'x');
    for (size_t i = 0; i < BT_ARRAY_LEN(sent); i++)
        sent[i] = (struct cert_bytes){(const uint8_t *)der.p, der.n - 1};
    assert_int_equal(cert_verify_client(w->store, sent, 0, NOW, &id, NULL), NO);
    assert_int_equal(cert_verify_client(w->store, sent, CERT_CHAIN_MAX + 1, NOW, &id, NULL), NO);
    assert_int_equal(cert_verify_client(w->store, sent, CERT_CHAIN_MAX, NOW, &id, NULL), 0);
    sent[0].n++; /* a byte behind the certificate */
    assert_int_equal(cert_verify_client(w->store, sent, 1, NOW, &id, NULL), NO);
    sent[0].n -= 2;
    assert_int_equal(cert_verify_client(w->store, sent, 1, NOW, &id, NULL), NO);
    sent[0].n = 0;
    assert_int_equal(cert_verify_client(w->store, sent, 1, NOW, &id, NULL), NO);
    cert_free(leaf);
}

static void a_request_proves_its_key_and_nothing_else(void **state)
{
    struct world *w = *state;
    BT_BUF_AUTO struct bt_buf pem = {0};
    struct cert_pub *pub;
    uint8_t a[32], b[32];
    struct bt_err err;

    assert_int_equal(cert_csr_make(w->key, "anna", &pem, NULL), 0);
    assert_int_equal(cert_csr_parse(pem.p, pem.n, &pub, NULL), 0);
    cert_pub_spki_sha256(pub, a);
    cert_pub_spki_sha256(w->pub, b);
    assert_memory_equal(a, b, 32);
    cert_pub_free(pub);
    pem.p[pem.n / 2] ^= 2; /* inside the key or the name: the signature no longer fits */
    assert_int_equal(cert_csr_parse(pem.p, pem.n, &pub, &err), -BT_ERR_INVALID);
    assert_int_equal(cert_csr_parse("", 0, &pub, &err), -BT_ERR_INVALID);
    assert_int_equal(cert_csr_parse(pem.p, CERT_DER_MAX + 1, &pub, &err), -BT_ERR_TOO_LARGE);
}

static void a_server_gets_its_names_and_no_client_usage(void **state)
{
    struct world *w = *state;
    const char *const names[] = {"beamtime.example", "192.0.2.7", "2001:db8::7"};
    const char *const bad[] = {"beam time"};
    struct cert_leaf leaf = {.host = CERT_OPERATOR "." FACILITY,
                             .id = "main",
                             .kind = CERT_SERVER,
                             .names = names,
                             .n_names = 3};
    struct cert_identity id;
    struct bt_err err;
    struct cert *c;
    X509 *x;

    assert_int_equal(cert_issue(w->staff.cert, w->staff.key, w->pub, &leaf, NOW, &c, NULL), 0);
    x = x509_of(c);
    assert_int_equal(X509_check_host(x, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(x, "beamtime.example", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(x, "other.example", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(x, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(x, "192.0.2.7", 0), 1);
    assert_int_equal(X509_check_ip_asc(x, "2001:db8::7", 0), 1);
    assert_int_equal(X509_check_purpose(x, X509_PURPOSE_SSL_SERVER, 0), 1);
    assert_int_equal(verify_at(w, c, w->staff.cert, NOW, &id), NO);
    assert_int_equal(cert_matches_key(c, w->key, NULL), 0);
    assert_int_equal(cert_matches_key(c, w->a.key, &err), -BT_ERR_CONFLICT);
    X509_free(x);
    cert_free(c);
    leaf.names = bad;
    leaf.n_names = 1;
    assert_int_equal(cert_issue(w->staff.cert, w->staff.key, w->pub, &leaf, NOW, &c, &err),
                     -BT_ERR_INVALID);
}

static void names_with_room_for_mischief_are_not_certified(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *host, *id;
    } cases[] = {
        {"aland." FACILITY, "p1,DNS:evil.example"},
        {"aland." FACILITY, ""},
        {"aland." FACILITY, "../x"},
        {"aland." FACILITY "/person/p2#", "p1"},
        {"Aland." FACILITY, "p1"},
        {"", "p1"},
        {"a..b", "p1"},
    };
    struct cert *c;

    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        const struct cert_leaf leaf = {.host = cases[i].host, .id = cases[i].id};

        assert_int_equal(cert_issue(w->a.cert, w->a.key, w->pub, &leaf, NOW, &c, NULL),
                         -BT_ERR_INVALID);
    }
    assert_int_equal(cert_make_root("a,b", w->key, NOW, &c, NULL), -BT_ERR_INVALID);
    assert_int_equal(cert_make_intermediate(w->root.cert, w->root.key, "a.b,permitted;URI:c",
                                            w->pub, NOW, &c, NULL),
                     -BT_ERR_INVALID);
}

static void pem_and_der_carry_a_certificate_through(void **state)
{
    struct world *w = *state;
    BT_BUF_AUTO struct bt_buf pem = {0}, der = {0}, again = {0};
    struct cert *c;

    cert_pem(w->a.cert, &pem);
    cert_der(w->a.cert, &der);
    assert_int_equal(cert_from_pem(pem.p, pem.n, &c, NULL), 0);
    cert_der(c, &again);
    assert_int_equal(der.n, again.n);
    assert_memory_equal(der.p, again.p, der.n);
    cert_free(c);
    assert_int_equal(cert_from_pem(der.p, der.n, &c, NULL), -BT_ERR_INVALID);
    assert_int_equal(cert_from_der(der.p, der.n - 1, &c, NULL), -BT_ERR_INVALID);
    assert_int_equal(cert_from_der(der.p, CERT_DER_MAX + 1, &c, NULL), -BT_ERR_TOO_LARGE);
}

static void kinds_have_names(void **state)
{
    (void)state;
    for (int k = 0; k < N_CERT_KINDS; k++)
        assert_int_equal(cert_kind_parse(cert_kind_name((enum cert_kind)k)), k);
    assert_int_equal(cert_kind_parse("queen"), -1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_person_is_known_by_the_key_of_its_nations_issuer),
        T(the_store_supplies_an_intermediate_that_was_not_sent),
        T(a_leaf_lives_from_five_minutes_ago_for_ninety_days),
        T(only_the_good_leaf_of_the_matrix_passes),
        T(a_self_made_facility_of_the_same_names_is_refused),
        T(an_issuer_without_a_row_is_refused),
        T(a_leaf_cannot_issue),
        T(an_intermediate_cannot_make_a_further_one),
        T(junk_from_the_wire_is_refused),
        T(a_request_proves_its_key_and_nothing_else),
        T(a_server_gets_its_names_and_no_client_usage),
        T(names_with_room_for_mischief_are_not_certified),
        T(pem_and_der_carry_a_certificate_through),
        cmocka_unit_test(kinds_have_names),
    };

    return cmocka_run_group_tests_name("crypto_cert", tests, NULL, NULL);
}
