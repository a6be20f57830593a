/* sign.h - signatures over the bodies of ledger entries, as DSSE 1.0.2 has them.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   PAE(type, body) = "DSSEv1" SP len(type) SP type SP len(body) SP body
 *
 * with lengths in ASCII decimal. An entry so turns into a DSSE envelope mechanically. */
#ifndef BT_RECORD_SIGN_H
#define BT_RECORD_SIGN_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/crypto/sign.h"

#define RECORD_PAYLOAD_TYPE "application/vnd.beamtime.entry.v1+json"

void record_pae(const char *type, const void *body, size_t n, struct bt_buf *to); /* appended */

/* body is the canonical JSON of an entry's body. */
int record_sign(const struct sign_key *key, const char *body, size_t n, uint8_t ret[SIGN_SIZE],
                struct bt_err *err) BT_MUSTUSE;
int record_verify(const uint8_t pub[SIGN_PUBLIC_SIZE], const char *body, size_t n,
                  const uint8_t sig[SIGN_SIZE], struct bt_err *err) BT_MUSTUSE;

#endif
