/* The client's certificate, verified by OpenSSL. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libmicrohttpd only asks for a certificate: whatever the client sends, or nothing, completes
 * the handshake. GnuTLS says which bytes came; lib/crypto decides. An agent that makes several
 * connections sends the same bytes each time: for a minute the decision stands, as it does for a
 * connection that stays open. (Revocation is not decided here.) */
#include <gnutls/gnutls.h>
#include <string.h>

#include "lib/crypto/hash.h"
#include "lib/serve/own.h"

#define GOOD_FOR_US INT64_C(60000000)

static struct known_peer *place_of(struct server *s, const struct cert_bytes *der, unsigned n,
                                   uint8_t sha256[32])
{
    struct bt_sha256 h;

    bt_sha256_init(&h);
    for (unsigned i = 0; i < n; i++) {
        bt_sha256_add(&h, &der[i].n, sizeof der[i].n);
        bt_sha256_add(&h, der[i].p, der[i].n);
    }
    bt_sha256_end(&h, sha256);
    return &s->peers[sha256[0] % KNOWN_PEERS];
}

static int verify(struct conn *c, const struct cert_bytes *der, unsigned n)
{
    int64_t now = bt_clock_now_us(c->s->set.clock);
    uint8_t sha256[32];
    struct known_peer *known = place_of(c->s, der, n, sha256);
    int rc;

    if (known->until_us && memcmp(known->sha256, sha256, sizeof sha256) == 0 &&
        now >= known->from_us && now < known->until_us) {
        c->identity = known->identity;
        return 0;
    }
    rc = cert_verify_client(c->s->set.store, der, n, now, &c->identity, &c->why);
    if (rc < 0)
        return rc;
    *known = (struct known_peer){.from_us = now,
                                 .until_us = BT_MIN(now + GOOD_FOR_US, c->identity.not_after_us),
                                 .identity = c->identity};
    memcpy(known->sha256, sha256, sizeof sha256);
    return 0;
}

void peer_verify(struct conn *c, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    struct cert_bytes der[CERT_CHAIN_MAX];
    const gnutls_datum_t *peers;
    unsigned n = 0;

    if (c->auth == AUTH_GOOD && bt_clock_now_us(c->s->set.clock) > c->identity.not_after_us) {
        c->auth = AUTH_BAD;
        bt_fail(&c->why, BT_ERR_UNAUTHENTICATED, "the client certificate has expired");
    }
    if (c->auth != AUTH_UNKNOWN)
        return;
    c->auth = AUTH_NONE;
    if (!info || !info->tls_session)
        return;
    peers = gnutls_certificate_get_peers((gnutls_session_t)info->tls_session, &n);
    if (!peers || n == 0)
        return;
    c->auth = AUTH_BAD;
    if (n > CERT_CHAIN_MAX) {
        bt_fail(&c->why, BT_ERR_UNAUTHENTICATED, "the client sent %u certificates, at most %d", n,
                CERT_CHAIN_MAX);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        der[i] = (struct cert_bytes){.p = peers[i].data, .n = peers[i].size};
    if (verify(c, der, n) == 0)
        c->auth = AUTH_GOOD;
}
