/* identity.h - who this node is at the facility: its key, its certificate, and how they come and
 * last. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Files below <state_dir>/identity; each is written whole, by rename. The key is made once and
 * stays; the certificate is replaced while connections that were made with the old one go on. */
#ifndef BT_AGENT_IDENTITY_H
#define BT_AGENT_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/settings.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/crypto/cert.h"

struct identity {
    char *dir;
    char *key, *cert, *ca; /* files; ca is the setting's if there is one */
    char *node;            /* the file with this node's name */
};

void identity_of(const struct settings *set, struct identity *ret);
void identity_done(struct identity *id);

/* The key, made if there is none: an enrolment that was interrupted asks with the same one again.
 */
int identity_key(const struct identity *id, struct cert_key **ret, struct bt_err *err) BT_MUSTUSE;

/* The body of a request for a certificate, appended: {"csr"}, with {"token"} before it unless that
 * is NULL. */
int identity_request(const struct cert_key *key, const char *token, struct bt_buf *to,
                     struct bt_err *err) BT_MUSTUSE;

/* Keeps what the facility answered: the root and the name (`first`), then the certificate.
 * BT_ERR_TOKEN when it is for neither an agent nor a helper, BT_ERR_CONFLICT for another key. */
int identity_keep(const struct identity *id, const char *answer, size_t n,
                  const struct cert_key *key, bool first, struct bt_err *err) BT_MUSTUSE;

/* Until the certificate ends; negative when it has, INT64_MAX when there is none to be read. */
int64_t identity_left_us(const struct identity *id, int64_t now_us);

#endif
