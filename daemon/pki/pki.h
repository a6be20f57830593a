/* pki.h - the facility's certificate authorities as files under the state directory.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   DIR/root.pem, root.key            the facility's root
 *   DIR/operator.pem, operator.key    agents, helpers, servers, operators
 *   DIR/<nation>.pem, <nation>.key    a nation's persons
 *   DIR/server.pem, server.key        of this daemon's listeners (leaf + intermediate)
 *   DIR/log.key, log.vkey             the ledger's signing key and its public line
 *
 * Keys have mode 0600 and never leave this folder. What is missing is made; what is there is
 * never replaced, except a server certificate with less than 180 of its 398 days left. Thread safe.
 */
#ifndef BT_DAEMON_PKI_PKI_H
#define BT_DAEMON_PKI_PKI_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/crypto/cert.h"
#include "lib/crypto/sign.h"

struct pki;

/* Opens or makes all of the above but the nations' authorities, of which it loads every one that
 * is there. `names`: host names and addresses of the server besides localhost's. */
int pki_open(const char *dir, const char *facility, const char *const *names, size_t n_names,
             int64_t now_us, struct pki **ret, struct bt_err *err) BT_MUSTUSE;
void pki_free(struct pki *pki);

/* Makes the nation's authority if it has none; its key digest goes into nation.ca_spki. */
int pki_nation(struct pki *pki, const char *code, int64_t now_us, uint8_t ret_spki[32],
               struct bt_err *err) BT_MUSTUSE;

struct pki_whom {
    const char *nation; /* "": the operator's authority */
    const char *kind;   /* as in table credential */
    const char *subject;
};

/* Issues a leaf for the key of a signing request: the chain (leaf, intermediate) in PEM behind
 * `to`. */
int pki_issue(struct pki *pki, const struct pki_whom *whom, const char *csr_pem, size_t n_csr,
              int64_t now_us, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;

/* What verifies clients; borrowed, grows with pki_nation. */
struct cert_store *pki_store(struct pki *pki);
const char *pki_root_pem(const struct pki *pki);     /* borrowed */
const char *pki_server_chain(const struct pki *pki); /* PEM, leaf first; borrowed */
const char *pki_server_key(const struct pki *pki);   /* PEM; borrowed, a secret */
int64_t pki_server_until_us(const struct pki *pki);  /* when that certificate ends */
const struct sign_key *pki_log_key(const struct pki *pki);
const char *pki_facility(const struct pki *pki);

#endif
