/* mark.h - what the daemon gives its agents to remember, so that a database that was restored from
 * a copy is noticed also when the state directory is gone (CORE: epoch and seq go into every
 * command). SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A mark says "batch SEQ of epoch EPOCH was committed" and carries a code that only this
 * facility's key can make: an agent can repeat what it was told, not invent a batch and so make
 * the facility read only. The text's form is lib/api/mark.h's. */
#ifndef BT_DAEMON_MARK_H
#define BT_DAEMON_MARK_H

#include <stdint.h>

#include "lib/api/mark.h"
#include "lib/base/err.h"
#include "lib/crypto/sign.h"

struct mark_key {
    uint8_t b[32];
    char name[MARK_KEY_HEX + 1]; /* so that an agent of another facility's past is passed over */
};

/* From the ledger's key, which lives as long as the facility. */
int mark_key_make(const struct sign_key *ledger, struct mark_key *ret,
                  struct bt_err *err) BT_MUSTUSE;

void mark_write(const struct mark_key *key, uint64_t epoch, uint64_t seq, char ret[MARK_TEXT]);

/* BT_ERR_NOT_FOUND: of another facility, or no mark at all; BT_ERR_SIGNATURE: not one that was
 * given. */
int mark_read(const struct mark_key *key, const char *text, uint64_t *ret_epoch, uint64_t *ret_seq,
              struct bt_err *err) BT_MUSTUSE;

#endif
