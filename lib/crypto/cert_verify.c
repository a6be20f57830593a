/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <pthread.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/cert_own.h"
#include "lib/crypto/fail.h"

struct issuer {
    uint8_t spki[32];
    char name[CERT_NAME_MAX];
    char host[CERT_HOST_MAX];
    X509 *x;
};

struct cert_store {
    pthread_rwlock_t lock; /* over issuers; the X509_STORE has its own */
    X509_STORE *roots;
    struct issuer *issuers;
    size_t n, cap;
};

struct cert_store *cert_store_new(void)
{
    struct cert_store *store = bt_new(struct cert_store);

    store->roots = X509_STORE_new();
    if (!store->roots || pthread_rwlock_init(&store->lock, NULL) != 0)
        abort(); /* only memory can fail */
    return store;
}

void cert_store_free(struct cert_store *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->n; i++)
        X509_free(store->issuers[i].x);
    bt_free(store->issuers);
    X509_STORE_free(store->roots);
    pthread_rwlock_destroy(&store->lock);
    bt_free(store);
}

int cert_store_add_root(struct cert_store *store, const struct cert *root, struct bt_err *err)
{
    if (X509_check_ca(root->x) != 1 || X509_STORE_add_cert(store->roots, root->x) != 1)
        return crypto_fail(err, BT_ERR_INVALID, "not the certificate of a root");
    return 0;
}

int cert_store_add_issuer(struct cert_store *store, const struct cert *intermediate,
                          const char *name, const char *host, struct bt_err *err)
{
    struct issuer row = {.x = intermediate->x};
    size_t i = 0;

    if (X509_check_ca(row.x) != 1)
        return crypto_fail(err, BT_ERR_INVALID, "the issuer of %s is not a CA", name);
    if (!bt_copy(row.name, sizeof row.name, name) || !cert_is_host(host) ||
        !bt_copy(row.host, sizeof row.host, host))
        return bt_fail(err, BT_ERR_INVALID, "no issuer \"%s\" for host \"%s\"", name, host);
    cert_x509_spki_sha256(row.x, row.spki);
    X509_up_ref(row.x);
    pthread_rwlock_wrlock(&store->lock);
    while (i < store->n && memcmp(store->issuers[i].spki, row.spki, sizeof row.spki) != 0)
        i++;
    if (i == store->n) {
        BT_GROW(store->issuers, store->n, store->cap);
        store->n++;
    } else {
        X509_free(store->issuers[i].x);
    }
    store->issuers[i] = row;
    pthread_rwlock_unlock(&store->lock);
    return 0;
}

static int refuse(struct bt_err *err, const char *why)
{
    ERR_clear_error();
    return bt_fail(err, BT_ERR_UNAUTHENTICATED, "client certificate refused: %s", why);
}

/* The row of the intermediate's key; *ret is a copy without its certificate. */
static bool find_issuer(struct cert_store *store, const X509 *x, struct issuer *ret)
{
    uint8_t spki[32];
    bool found = false;

    cert_x509_spki_sha256(x, spki);
    pthread_rwlock_rdlock(&store->lock);
    for (size_t i = 0; i < store->n && !found; i++) {
        found = memcmp(store->issuers[i].spki, spki, sizeof spki) == 0;
        if (found)
            *ret = store->issuers[i];
    }
    pthread_rwlock_unlock(&store->lock);
    ret->x = NULL;
    return found;
}

/* Parses "spiffe://HOST/KIND/ID"; returns NULL or what is wrong. */
static const char *read_uri(const char *uri, const struct issuer *issuer, struct cert_identity *id)
{
    size_t n_host = strlen(issuer->host);
    char kind[16];
    const char *at, *slash;

    if (!bt_starts(uri, "spiffe://"))
        return "its URI is not a spiffe:// one";
    at = uri + strlen("spiffe://");
    if (strncmp(at, issuer->host, n_host) != 0 || at[n_host] != '/')
        return "it names another host than its issuer's";
    at += n_host + 1;
    slash = strchr(at, '/');
    if (!slash || (size_t)(slash - at) >= sizeof kind)
        return "its URI names no kind";
    memcpy(kind, at, (size_t)(slash - at));
    kind[slash - at] = '\0';
    if (cert_kind_parse(kind) < 0)
        return "its URI names an unknown kind";
    id->kind = (enum cert_kind)cert_kind_parse(kind);
    if (!bt_is_name(slash + 1, sizeof id->id - 1))
        return "its URI does not end in a name";
    bt_copy(id->id, sizeof id->id, slash + 1);
    bt_copy(id->issuer, sizeof id->issuer, issuer->name);
    if (id->kind != CERT_PERSON && !bt_streq(issuer->name, CERT_OPERATOR))
        return "a nation's issuer may name persons only";
    return NULL;
}

/* The one URI of the leaf's one subjectAltName; returns NULL or what is wrong. */
static const char *read_san(const X509 *leaf, const struct issuer *issuer, struct cert_identity *id)
{
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
    const char *why = "it has not exactly one subject alternative name extension";
    const ASN1_IA5STRING *uri = NULL;
    int n_uris = 0;

    if (!names)
        return why;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

        if (g->type == GEN_URI) {
            uri = g->d.uniformResourceIdentifier;
            n_uris++;
        }
    }
    if (n_uris != 1) {
        why = "it has not exactly one URI";
    } else {
        BT_AUTO char *text =
            bt_strndup((const char *)ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri));

        why = strlen(text) != (size_t)ASN1_STRING_length(uri) ? "its URI holds a NUL"
                                                              : read_uri(text, issuer, id);
    }
    GENERAL_NAMES_free(names);
    return why;
}

static const char *check_leaf(X509 *leaf)
{
    uint32_t flags = X509_get_extension_flags(leaf);

    if (flags & (EXFLAG_CA | EXFLAG_INVALID))
        return "it is a CA's or not well-formed";
    if (!(flags & EXFLAG_XKUSAGE) || !(X509_get_extended_key_usage(leaf) & XKU_SSL_CLIENT))
        return "it is not for clients";
    return NULL;
}

static int judge(struct cert_store *store, X509_STORE_CTX *ctx, struct cert_identity *ret,
                 struct bt_err *err)
{
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);
    struct cert_identity id = {0};
    struct issuer issuer = {0};
    const char *why;
    X509 *leaf;

    if (!chain || sk_X509_num(chain) != 3)
        return refuse(err, "it does not hang on a root by exactly one intermediate");
    leaf = sk_X509_value(chain, 0);
    why = check_leaf(leaf);
    if (!why && !find_issuer(store, sk_X509_value(chain, 1), &issuer))
        why = "its issuer is not known here";
    if (!why)
        why = read_san(leaf, &issuer, &id);
    if (why)
        return refuse(err, why);
    cert_x509_spki_sha256(leaf, id.spki_sha256);
    memcpy(id.issuer_spki_sha256, issuer.spki, sizeof issuer.spki);
    id.not_after_us = cert_asn1_time_us(X509_get0_notAfter(leaf));
    *ret = id;
    return 0;
}

/* Everything that may help to build the path; the caller frees it. */
static STACK_OF(X509) * helpers(struct cert_store *store, STACK_OF(X509) * sent)
{
    STACK_OF(X509) *all = sk_X509_new_null();

    for (int i = 1; all && i < sk_X509_num(sent); i++)
        if (!X509_add_cert(all, sk_X509_value(sent, i), X509_ADD_FLAG_UP_REF))
            abort(); /* only memory can fail */
    pthread_rwlock_rdlock(&store->lock);
    for (size_t i = 0; all && i < store->n; i++)
        if (!X509_add_cert(all, store->issuers[i].x, X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP))
            abort(); /* only memory can fail */
    pthread_rwlock_unlock(&store->lock);
    return all;
}

static int verify(struct cert_store *store, STACK_OF(X509) * sent, int64_t now_us,
                  struct cert_identity *ret, struct bt_err *err)
{
    STACK_OF(X509) *untrusted = helpers(store, sent);
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_VERIFY_PARAM *param;
    int rc;

    if (!ctx || !untrusted ||
        X509_STORE_CTX_init(ctx, store->roots, sk_X509_value(sent, 0), untrusted) != 1)
        abort(); /* only memory can fail */
    param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_time(param, (time_t)(now_us / BT_US_PER_S));
    X509_VERIFY_PARAM_set_depth(param, 1); /* intermediates between leaf and root */
    X509_VERIFY_PARAM_set_auth_level(param, 2);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);
    if (X509_verify_cert(ctx) == 1)
        rc = judge(store, ctx, ret, err);
    else
        rc = refuse(err, X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
    X509_STORE_CTX_free(ctx);
    sk_X509_pop_free(untrusted, X509_free);
    return rc;
}

int cert_verify_client(struct cert_store *store, const struct cert_bytes *der, size_t n,
                       int64_t now_us, struct cert_identity *ret, struct bt_err *err)
{
    STACK_OF(X509) * sent;
    int rc = 0;

    if (n == 0 || n > CERT_CHAIN_MAX)
        return refuse(err, n ? "too many certificates were sent" : "none was sent");
    sent = sk_X509_new_null();
    for (size_t i = 0; sent && i < n && rc == 0; i++) {
        const unsigned char *p = der[i].p;
        X509 *x = der[i].n <= CERT_DER_MAX ? d2i_X509(NULL, &p, (long)der[i].n) : NULL;

        if (!x || p != der[i].p + der[i].n)
            rc = refuse(err, "it is not one DER certificate");
        if (!x || sk_X509_push(sent, x) == 0)
            X509_free(x);
    }
    if (rc == 0)
        rc = verify(store, sent, now_us, ret, err);
    sk_X509_pop_free(sent, X509_free);
    return rc;
}
