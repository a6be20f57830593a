/* pki.h - a small facility of certificates, and a raw TLS client, for tests of servers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_UNIT_PKI_H
#define BT_TESTS_UNIT_PKI_H

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/crypto/cert.h"
#include "tests/unit/check.h"

#define PKI_FACILITY "test.example"

struct pki {
    struct cert_key *root_key, *cz_key, *op_key;
    struct cert *root, *cz, *op;
    struct cert_store *store;
    char *ca_pem, *server_pem, *server_key;
};

/* A leaf and its key in PEM, owned. */
struct pki_leaf {
    char *chain;
    char *key;
    uint8_t spki[32];
};

static BT_UNUSED void pki_leaf_done(struct pki_leaf *l)
{
    bt_free(l->chain);
    bt_free(l->key);
}

/* What `issuer` gives; `now_us` moves its 90 days. */
static BT_UNUSED struct pki_leaf pki_leaf(const struct cert *issuer, const struct cert_key *key,
                                          const char *host, const char *id, enum cert_kind kind,
                                          int64_t now_us)
{
    struct cert_leaf leaf = {.host = host, .id = id, .kind = kind};
    struct bt_buf chain = {0}, pem = {0};
    struct cert_key *own = NULL;
    struct cert_pub *pub;
    struct cert *c = NULL;
    struct pki_leaf l;

    assert_int_equal(cert_key_new(&own, NULL), 0);
    pub = cert_key_public(own);
    assert_int_equal(cert_issue(issuer, key, pub, &leaf, now_us, &c, NULL), 0);
    cert_pem(c, &chain);
    cert_pem(issuer, &chain);
    assert_int_equal(cert_key_pem(own, &pem, NULL), 0);
    cert_spki_sha256(c, l.spki);
    l.chain = bt_buf_take(&chain);
    l.key = bt_buf_take(&pem);
    cert_free(c);
    cert_pub_free(pub);
    cert_key_free(own);
    return l;
}

static BT_UNUSED void pki_init(struct pki *p)
{
    int64_t now = bt_now_us();
    struct cert_pub *pub;
    struct bt_buf ca = {0};
    struct pki_leaf server;

    *p = (struct pki){0};
    assert_int_equal(cert_key_new(&p->root_key, NULL), 0);
    assert_int_equal(cert_key_new(&p->cz_key, NULL), 0);
    assert_int_equal(cert_key_new(&p->op_key, NULL), 0);
    assert_int_equal(cert_make_root(PKI_FACILITY, p->root_key, now, &p->root, NULL), 0);
    pub = cert_key_public(p->cz_key);
    assert_int_equal(
        cert_make_intermediate(p->root, p->root_key, "cz." PKI_FACILITY, pub, now, &p->cz, NULL),
        0);
    cert_pub_free(pub);
    pub = cert_key_public(p->op_key);
    assert_int_equal(cert_make_intermediate(p->root, p->root_key, "operator." PKI_FACILITY, pub,
                                            now, &p->op, NULL),
                     0);
    cert_pub_free(pub);
    p->store = cert_store_new();
    assert_int_equal(cert_store_add_root(p->store, p->root, NULL), 0);
    assert_int_equal(cert_store_add_issuer(p->store, p->cz, "cz", "cz." PKI_FACILITY, NULL), 0);
    assert_int_equal(
        cert_store_add_issuer(p->store, p->op, CERT_OPERATOR, "operator." PKI_FACILITY, NULL), 0);
    cert_pem(p->root, &ca);
    p->ca_pem = bt_buf_take(&ca);
    server = pki_leaf(p->op, p->op_key, "operator." PKI_FACILITY, "main", CERT_SERVER, now);
    p->server_pem = server.chain;
    p->server_key = server.key;
}

static BT_UNUSED struct pki_leaf pki_person(const struct pki *p, const char *id)
{
    return pki_leaf(p->cz, p->cz_key, "cz." PKI_FACILITY, id, CERT_PERSON, bt_now_us());
}

static BT_UNUSED struct pki_leaf pki_agent(const struct pki *p, const char *id)
{
    return pki_leaf(p->op, p->op_key, "operator." PKI_FACILITY, id, CERT_AGENT, bt_now_us());
}

static BT_UNUSED void pki_done(struct pki *p)
{
    cert_store_free(p->store);
    cert_free(p->root);
    cert_free(p->cz);
    cert_free(p->op);
    cert_key_free(p->root_key);
    cert_key_free(p->cz_key);
    cert_key_free(p->op_key);
    bt_free(p->ca_pem);
    bt_free(p->server_pem);
    bt_free(p->server_key);
}

/* ---- a client that sends what it is told ---- */

struct raw {
    int fd;
    gnutls_session_t tls; /* NULL: plain */
    gnutls_certificate_credentials_t cred;
};

static BT_UNUSED int raw_socket(int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static BT_UNUSED void raw_close(struct raw *c)
{
    if (c->tls)
        gnutls_deinit(c->tls);
    if (c->cred)
        gnutls_certificate_free_credentials(c->cred);
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct raw){.fd = -1};
}

/* `leaf` NULL: no client certificate. Returns false if the handshake failed. */
static BT_UNUSED bool raw_tls_at(struct raw *c, int port, const char *ca_pem,
                                 const struct pki_leaf *leaf, const char *priority)
{
    gnutls_datum_t ca = {(unsigned char *)(uintptr_t)ca_pem, (unsigned)strlen(ca_pem)};
    int rc;

    *c = (struct raw){.fd = raw_socket(port)};
    assert_int_equal(gnutls_certificate_allocate_credentials(&c->cred), 0);
    assert_int_equal(gnutls_certificate_set_x509_trust_mem(c->cred, &ca, GNUTLS_X509_FMT_PEM), 1);
    if (leaf) {
        gnutls_datum_t chain = {(unsigned char *)leaf->chain, (unsigned)strlen(leaf->chain)};
        gnutls_datum_t key = {(unsigned char *)leaf->key, (unsigned)strlen(leaf->key)};

        assert_int_equal(
            gnutls_certificate_set_x509_key_mem(c->cred, &chain, &key, GNUTLS_X509_FMT_PEM), 0);
        /* also when the server did not name its issuer */
        gnutls_certificate_set_flags(c->cred, GNUTLS_CERTIFICATE_SKIP_KEY_CERT_MATCH);
    }
    assert_int_equal(gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT), 0);
    gnutls_priority_set_direct(c->tls, priority, NULL);
    gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->cred);
    gnutls_session_set_verify_cert(c->tls, "localhost", 0);
    gnutls_transport_set_int(c->tls, c->fd);
    do
        rc = gnutls_handshake(c->tls);
    while (rc == GNUTLS_E_INTERRUPTED);
    return rc == 0;
}

/* A process that is stopped and goes on finds its calls with a time limit interrupted. */
static BT_UNUSED bool raw_again(const struct raw *c, ssize_t k)
{
    return c->tls ? k == GNUTLS_E_INTERRUPTED : k < 0 && errno == EINTR;
}

static BT_UNUSED void raw_tls(struct raw *c, int port, const char *ca_pem,
                              const struct pki_leaf *leaf)
{
    assert_true(raw_tls_at(c, port, ca_pem, leaf, "NORMAL"));
}

static BT_UNUSED void raw_plain(struct raw *c, int port)
{
    *c = (struct raw){.fd = raw_socket(port)};
}

static BT_UNUSED bool raw_send(struct raw *c, const void *p, size_t n)
{
    while (n) {
        ssize_t k = c->tls ? gnutls_record_send(c->tls, p, n) : send(c->fd, p, n, MSG_NOSIGNAL);

        if (raw_again(c, k))
            continue;
        if (k <= 0)
            return false;
        p = (const char *)p + k;
        n -= (size_t)k;
    }
    return true;
}

/* Up to n bytes; 0 when the server closed, -1 on time-out or error. */
static BT_UNUSED ssize_t raw_recv(struct raw *c, void *p, size_t n)
{
    ssize_t k;

    do
        k = c->tls ? gnutls_record_recv(c->tls, p, n) : recv(c->fd, p, n, 0);
    while (raw_again(c, k));
    if (c->tls && (k == GNUTLS_E_PREMATURE_TERMINATION || k == GNUTLS_E_PULL_ERROR ||
                   k == GNUTLS_E_PUSH_ERROR))
        return 0;
    return k;
}

/* Reads one reply with Content-Length into `all`; its status, 0 if the server closed before one was
 * complete, -1 on time-out. */
static BT_UNUSED int raw_reply(struct raw *c, struct bt_buf *all)
{
    for (;;) {
        const char *end = strstr(bt_buf_text(all), "\r\n\r\n"), *length;
        char piece[4096];
        ssize_t k;

        if (end) {
            size_t have = all->n - (size_t)(end + 4 - all->p);

            length = strcasestr(all->p, "content-length:");
            if (!length || length > end || (size_t)strtol(length + 15, NULL, 10) <= have)
                return (int)strtol(all->p + 9, NULL, 10);
        }
        k = raw_recv(c, piece, sizeof piece);
        if (k <= 0)
            return (int)k;
        bt_buf_add(all, piece, (size_t)k);
    }
}

/* True when the server ends the connection without another byte. */
static BT_UNUSED bool raw_closed(struct raw *c)
{
    char byte;

    return raw_recv(c, &byte, 1) == 0;
}

#endif
