/* The client's certificate, verified by OpenSSL. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libmicrohttpd only asks for a certificate: whatever the client sends, or nothing, completes
 * the handshake. GnuTLS says which bytes came; lib/crypto decides. */
#include <gnutls/gnutls.h>

#include "lib/serve/own.h"

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
    if (cert_verify_client(c->s->set.store, der, n, bt_clock_now_us(c->s->set.clock), &c->identity,
                           &c->why) == 0)
        c->auth = AUTH_GOOD;
}
