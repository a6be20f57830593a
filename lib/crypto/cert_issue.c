/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/cert_own.h"
#include "lib/crypto/fail.h"

enum { DAY_S = 86400, EARLY_S = 300 /* clocks of clients may lag this much */ };

static bool set_serial(X509 *x)
{
    BIGNUM *bn = BN_new();
    bool ok = bn && BN_rand(bn, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x));

    BN_free(bn);
    return ok;
}

static bool set_name(X509_NAME *name, const char *cn)
{
    return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"Beamtime",
                                      -1, -1, 0) == 1 &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1,
                                      0) == 1;
}

/* Everything but the extensions and the signature; NULL if OpenSSL fails. */
static X509 *blank(const char *cn, EVP_PKEY *pub, int64_t now_us, int days)
{
    X509 *x = X509_new();
    time_t now = (time_t)(now_us / BT_US_PER_S);

    if (x && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
        set_name(X509_get_subject_name(x), cn) && X509_set_pubkey(x, pub) == 1 &&
        X509_time_adj_ex(X509_getm_notBefore(x), 0, -EARLY_S, &now) &&
        X509_time_adj_ex(X509_getm_notAfter(x), days, 0, &now))
        return x;
    X509_free(x);
    return NULL;
}

struct ext {
    int nid;
    const char *value; /* in OpenSSL's configuration syntax; made of checked names only */
};

static bool add_extensions(X509 *x, X509 *issuer, const struct ext *exts, size_t n)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);
    for (size_t i = 0; i < n; i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, exts[i].nid, exts[i].value);
        bool ok = e && X509_add_ext(x, e, -1) == 1;

        X509_EXTENSION_free(e);
        if (!ok)
            return false;
    }
    return true;
}

/* Takes x, which may be NULL. */
static int finish(X509 *x, X509 *issuer, EVP_PKEY *key, const struct ext *exts, size_t n,
                  struct cert **ret, struct bt_err *err)
{
    if (!x || X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x)) != 1 ||
        !add_extensions(x, issuer ? issuer : x, exts, n) || X509_sign(x, key, EVP_sha256()) == 0) {
        X509_free(x);
        return crypto_fail(err, BT_ERR_INTERNAL, "cannot make a certificate");
    }
    *ret = cert_wrap(x);
    return 0;
}

int cert_make_root(const char *facility, const struct cert_key *key, int64_t now_us,
                   struct cert **ret, struct bt_err *err)
{
    static const struct ext exts[] = {
        {NID_basic_constraints, "critical,CA:TRUE,pathlen:1"},
        {NID_key_usage, "critical,keyCertSign,cRLSign"},
        {NID_subject_key_identifier, "hash"},
    };
    BT_AUTO char *cn = bt_printf("%.40s root", facility); /* RFC 5280: a CN has 64 characters */

    if (!cert_is_host(facility))
        return bt_fail(err, BT_ERR_INVALID, "\"%s\" is not a facility's name like a.example",
                       facility);
    return finish(blank(cn, key->pkey, now_us, CERT_CA_DAYS), NULL, key->pkey, exts,
                  BT_ARRAY_LEN(exts), ret, err);
}

/* Adds one subtree to *list, making the list when there is none. */
static bool add_subtree(STACK_OF(GENERAL_SUBTREE) * *list, int type, const void *p, int n)
{
    GENERAL_SUBTREE *sub = GENERAL_SUBTREE_new();
    ASN1_STRING *s =
        ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);

    if (!*list)
        *list = sk_GENERAL_SUBTREE_new_null();
    if (sub && s && *list && ASN1_STRING_set(s, p, n) == 1) {
        GENERAL_NAME_set0_value(sub->base, type, s);
        s = NULL; /* now the subtree's */
        if (sk_GENERAL_SUBTREE_push(*list, sub) > 0)
            return true;
    }
    ASN1_STRING_free(s);
    GENERAL_SUBTREE_free(sub);
    return false;
}

/* RFC 5280 section 4.2.1.10: URIs of this host only. A nation's issuer (servers == false) names no
 * servers: every DNS name, e-mail and address (an empty base, an all-zero mask) lies outside. */
static bool add_constraints(X509 *x, const char *host, bool servers)
{
    static const uint8_t zeros[32];
    NAME_CONSTRAINTS *nc = NAME_CONSTRAINTS_new();
    bool ok = nc && add_subtree(&nc->permittedSubtrees, GEN_URI, host, (int)strlen(host));

    if (ok && !servers)
        ok = add_subtree(&nc->excludedSubtrees, GEN_DNS, "", 0) &&
             add_subtree(&nc->excludedSubtrees, GEN_EMAIL, "", 0) &&
             add_subtree(&nc->excludedSubtrees, GEN_IPADD, zeros, 8) &&
             add_subtree(&nc->excludedSubtrees, GEN_IPADD, zeros, 32);
    ok = ok && X509_add1_ext_i2d(x, NID_name_constraints, nc, 1, X509V3_ADD_DEFAULT) == 1;
    NAME_CONSTRAINTS_free(nc);
    return ok;
}

int cert_make_intermediate(const struct cert *root, const struct cert_key *root_key,
                           const char *host, const struct cert_pub *pub, int64_t now_us,
                           struct cert **ret, struct bt_err *err)
{
    static const struct ext exts[] = {
        {NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
        {NID_key_usage, "critical,keyCertSign,cRLSign"},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
    };
    BT_AUTO char *cn = bt_printf("%.63s", host);
    X509 *x;

    if (!cert_is_host(host) || !strchr(host, '.'))
        return bt_fail(err, BT_ERR_INVALID, "\"%s\" is not a host like nation.a.example", host);
    x = blank(cn, pub->pkey, now_us, CERT_CA_DAYS);
    if (x && !add_constraints(x, host, bt_starts(host, CERT_OPERATOR "."))) {
        X509_free(x);
        x = NULL;
    }
    return finish(x, root->x, root_key->pkey, exts, BT_ARRAY_LEN(exts), ret, err);
}

int cert_csr_make(const struct cert_key *key, const char *name, struct bt_buf *to,
                  struct bt_err *err)
{
    X509_REQ *req = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    BT_AUTO char *cn = bt_printf("%.63s", name);
    char *text = NULL;
    long n = 0;

    if (req && bio && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
        set_name(X509_REQ_get_subject_name(req), cn) && X509_REQ_set_pubkey(req, key->pkey) == 1 &&
        X509_REQ_sign(req, key->pkey, EVP_sha256()) && PEM_write_bio_X509_REQ(bio, req) == 1)
        n = BIO_get_mem_data(bio, &text);
    if (n > 0)
        bt_buf_add(to, text, (size_t)n);
    X509_REQ_free(req);
    BIO_free(bio);
    return n > 0 ? 0 : crypto_fail(err, BT_ERR_INTERNAL, "cannot make a certificate request");
}

int cert_csr_parse(const char *pem, size_t n, struct cert_pub **ret, struct bt_err *err)
{
    EVP_PKEY *pkey = NULL;
    X509_REQ *req;
    BIO *bio;
    int rc = 0;

    if (n > CERT_DER_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a certificate request of %zu bytes", n);
    bio = BIO_new_mem_buf(pem, (int)n);
    req = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (!req)
        return crypto_fail(err, BT_ERR_INVALID, "no certificate request in the PEM text");
    pkey = X509_REQ_get_pubkey(req);
    if (!pkey || !cert_is_p256(pkey))
        rc = crypto_fail(err, BT_ERR_INVALID, "the request's key is not P-256");
    else if (X509_REQ_verify(req, pkey) != 1)
        rc = crypto_fail(err, BT_ERR_INVALID, "the request is not signed by its own key");
    X509_REQ_free(req);
    if (rc < 0) {
        EVP_PKEY_free(pkey);
        return rc;
    }
    *ret = bt_new(struct cert_pub);
    (*ret)->pkey = pkey;
    return 0;
}

static int add_server_names(struct bt_buf *san, const struct cert_leaf *leaf, struct bt_err *err)
{
    bt_buf_str(san, ",DNS:localhost,IP:127.0.0.1,IP:::1");
    for (size_t i = 0; i < leaf->n_names; i++) {
        const char *name = leaf->names[i];
        uint8_t addr[16];

        if (inet_pton(AF_INET, name, addr) == 1 || inet_pton(AF_INET6, name, addr) == 1)
            bt_buf_printf(san, ",IP:%s", name);
        else if (cert_is_host(name))
            bt_buf_printf(san, ",DNS:%s", name);
        else
            return bt_fail(err, BT_ERR_INVALID, "\"%s\" is neither a host name nor an address",
                           name);
    }
    return 0;
}

int cert_issue(const struct cert *issuer, const struct cert_key *issuer_key,
               const struct cert_pub *pub, const struct cert_leaf *leaf, int64_t now_us,
               struct cert **ret, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf san = {0};
    bool server = leaf->kind == CERT_SERVER;
    struct ext exts[] = {
        {NID_basic_constraints, "critical,CA:FALSE"},
        {NID_key_usage, "critical,digitalSignature"},
        {NID_ext_key_usage, server ? "serverAuth" : "clientAuth"},
        {NID_subject_key_identifier, "hash"},
        {NID_authority_key_identifier, "keyid:always"},
        {NID_subject_alt_name, NULL},
    };
    int rc = 0;

    if (!cert_is_host(leaf->host) || !bt_is_name(leaf->id, CERT_NAME_MAX - 1))
        return bt_fail(err, BT_ERR_INVALID, "no certificate for \"%s\" at \"%s\"", leaf->id,
                       leaf->host);
    bt_buf_printf(&san, "URI:spiffe://%s/%s/%s", leaf->host, cert_kind_name(leaf->kind), leaf->id);
    if (server)
        rc = add_server_names(&san, leaf, err);
    if (rc < 0)
        return rc;
    exts[BT_ARRAY_LEN(exts) - 1].value = bt_buf_text(&san);
    return finish(blank(leaf->id, pub->pkey, now_us, server ? CERT_SERVER_DAYS : CERT_LEAF_DAYS),
                  issuer->x, issuer_key->pkey, exts, BT_ARRAY_LEN(exts), ret, err);
}
