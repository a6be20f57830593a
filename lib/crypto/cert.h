/* cert.h - the facility's certificates: who issues them, what they say, and whom they prove.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   root CA of the facility (pathlen 1)
 *     intermediate per nation  (pathlen 0, may only name URI host <nation>.<facility>)
 *       spiffe://<nation>.<facility>/person/<id>
 *     intermediate "operator"  (pathlen 0, URI host operator.<facility>)
 *       spiffe://operator.<facility>/<agent|helper|server|operator|person>/<id>
 *
 * All keys are P-256, all signatures ECDSA with SHA-256 (RFC 5280). The nation is never read
 * from the leaf alone: it is the row of the intermediate whose key signed it, and the leaf's
 * one URI must name that row's host. Revocation is the caller's: the leaf's key digest must be
 * in its table. CMS, PKCS #7 and PKCS #12 are parsed nowhere.
 *
 * Objects are immutable once made and may be shared by threads. */
#ifndef BT_CRYPTO_CERT_H
#define BT_CRYPTO_CERT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

enum {
    CERT_NAME_MAX = 64,   /* a nation's or a leaf's name with its NUL */
    CERT_HOST_MAX = 256,  /* <nation>.<facility> with its NUL (RFC 1035: 253 characters) */
    CERT_DER_MAX = 16384, /* ours have 600 bytes; also the bound of a CSR */
    CERT_CHAIN_MAX = 4,   /* certificates that a client may send */
    CERT_LEAF_DAYS = 90,  /* who asks for renewal itself */
    CERT_SERVER_DAYS = 398,
    CERT_CA_DAYS = 3650,
};
#define CERT_OPERATOR "operator" /* the name of the one intermediate that is not a nation's */

enum cert_kind { CERT_PERSON, CERT_AGENT, CERT_HELPER, CERT_SERVER, CERT_OPERATOR_STAFF };
enum { N_CERT_KINDS = CERT_OPERATOR_STAFF + 1 };
const char *cert_kind_name(enum cert_kind kind); /* "person" … "operator"; static */
int cert_kind_parse(const char *name);           /* an enum cert_kind, or -1 */

/* ---- keys ---- */

struct cert_key; /* a P-256 private key */
struct cert_pub; /* a P-256 public key */

int cert_key_new(struct cert_key **ret, struct bt_err *err) BT_MUSTUSE;
/* Files as in sign.h: PKCS #8 PEM, mode 0600, never replaced, refused if others may read. */
int cert_key_save(const struct cert_key *key, const char *path, struct bt_err *err) BT_MUSTUSE;
int cert_key_load(const char *path, struct cert_key **ret, struct bt_err *err) BT_MUSTUSE;
/* The key of that file, made and saved there if there is none yet. */
int cert_key_need(const char *path, struct cert_key **ret, struct bt_err *err) BT_MUSTUSE;
int cert_key_pem(const struct cert_key *key, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;
void cert_key_free(struct cert_key *key);
struct cert_pub *cert_key_public(const struct cert_key *key); /* the caller frees it */
void cert_pub_free(struct cert_pub *pub);
/* SHA-256 of the DER SubjectPublicKeyInfo: the name of a key in table `credential`. */
void cert_pub_spki_sha256(const struct cert_pub *pub, uint8_t ret[32]);

/* ---- certificates ---- */

struct cert;

/* The first certificate of a PEM text; BT_ERR_INVALID. */
int cert_from_pem(const char *pem, size_t n, struct cert **ret, struct bt_err *err) BT_MUSTUSE;
int cert_from_der(const void *der, size_t n, struct cert **ret, struct bt_err *err) BT_MUSTUSE;
void cert_pem(const struct cert *c, struct bt_buf *to); /* appended */
void cert_der(const struct cert *c, struct bt_buf *to); /* appended */
void cert_spki_sha256(const struct cert *c, uint8_t ret[32]);
int64_t cert_not_after_us(const struct cert *c);
/* BT_ERR_CONFLICT unless `key` is the private half of what c certifies. */
int cert_matches_key(const struct cert *c, const struct cert_key *key,
                     struct bt_err *err) BT_MUSTUSE;
void cert_free(struct cert *c);

/* ---- issuing ---- */

/* The self-signed root of `facility` (a DNS-shaped name such as "beamtime.example"). */
int cert_make_root(const char *facility, const struct cert_key *key, int64_t now_us,
                   struct cert **ret, struct bt_err *err) BT_MUSTUSE;

/* `name` is a nation's name or CERT_OPERATOR; host = "<name>.<facility>", CERT_HOST_MAX. */
int cert_make_intermediate(const struct cert *root, const struct cert_key *root_key,
                           const char *host, const struct cert_pub *pub, int64_t now_us,
                           struct cert **ret, struct bt_err *err) BT_MUSTUSE;

/* A certificate request in PEM, appended. `name` only labels it: the issuer decides who it is. */
int cert_csr_make(const struct cert_key *key, const char *name, struct bt_buf *to,
                  struct bt_err *err) BT_MUSTUSE;

/* Checks the request's own signature and takes nothing but its P-256 public key. BT_ERR_INVALID. */
int cert_csr_parse(const char *pem, size_t n, struct cert_pub **ret, struct bt_err *err) BT_MUSTUSE;

struct cert_leaf {
    const char *host; /* the issuer's: "<nation>.<facility>" */
    const char *id;   /* [a-z0-9._-], at most 63 characters; a UUID is fine */
    enum cert_kind kind;
    const char *const *names; /* servers: host names and IP addresses besides localhost's */
    size_t n_names;
};

/* A leaf valid from five minutes ago. Servers get CERT_SERVER_DAYS, serverAuth and the SANs
 * localhost, 127.0.0.1, ::1 and `names`; everyone else gets CERT_LEAF_DAYS and clientAuth. */
int cert_issue(const struct cert *issuer, const struct cert_key *issuer_key,
               const struct cert_pub *pub, const struct cert_leaf *leaf, int64_t now_us,
               struct cert **ret, struct bt_err *err) BT_MUSTUSE;

/* ---- verifying clients ---- */

struct cert_store; /* trusted roots, and a row for each intermediate; thread safe */

struct cert_store *cert_store_new(void);
void cert_store_free(struct cert_store *store);
int cert_store_add_root(struct cert_store *store, const struct cert *root,
                        struct bt_err *err) BT_MUSTUSE;
/* Says that the intermediate belongs to `name` (a nation or CERT_OPERATOR) and speaks for
 * `host`. The same key again replaces its row. */
int cert_store_add_issuer(struct cert_store *store, const struct cert *intermediate,
                          const char *name, const char *host, struct bt_err *err) BT_MUSTUSE;

struct cert_bytes {
    const uint8_t *p;
    size_t n;
};

struct cert_identity {
    char issuer[CERT_NAME_MAX]; /* the nation, or CERT_OPERATOR */
    char id[CERT_NAME_MAX];
    enum cert_kind kind;
    uint8_t spki_sha256[32];
    uint8_t issuer_spki_sha256[32];
    int64_t not_after_us;
};

/* Verifies what a client sent: der[0] is the leaf, the others (n <= CERT_CHAIN_MAX) may help to
 * find the way to a root, as may the store's intermediates. OpenSSL checks signatures, times,
 * CA flags, path lengths, key usage and name constraints; then this function demands exactly
 * leaf - known intermediate - root, an explicit clientAuth usage, exactly one URI in the SAN,
 * the issuer's host in it, and a kind that this issuer may give (a nation: persons only).
 * BT_ERR_UNAUTHENTICATED names what failed. */
int cert_verify_client(struct cert_store *store, const struct cert_bytes *der, size_t n,
                       int64_t now_us, struct cert_identity *ret, struct bt_err *err) BT_MUSTUSE;

#endif
