/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/mark.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

int mark_key_make(const struct sign_key *ledger, struct mark_key *ret, struct bt_err *err)
{
    static const char what[] = "beamtime: key of the marks that agents keep, v1";
    uint8_t signature[SIGN_SIZE], name[BT_SHA256_SIZE];
    int rc = sign_bytes(ledger, what, sizeof what, signature, err);

    if (rc < 0)
        return rc;
    bt_sha256(signature, sizeof signature, ret->b);
    bt_sha256(ret->b, sizeof ret->b, name);
    bt_hex(name, MARK_KEY_HEX / 2, ret->name);
    explicit_bzero(signature, sizeof signature);
    return 0;
}

static void code_of(const struct mark_key *key, const char *text, size_t n,
                    char ret[MARK_CODE_HEX + 1])
{
    uint8_t mac[BT_SHA256_SIZE];

    bt_hmac_sha256(key->b, sizeof key->b, text, n, mac);
    bt_hex(mac, MARK_CODE_HEX / 2, ret);
}

void mark_write(const struct mark_key *key, uint64_t epoch, uint64_t seq, char ret[MARK_TEXT])
{
    char code[MARK_CODE_HEX + 1];
    int n = snprintf(ret, MARK_TEXT, "%s.%" PRIu64 ".%" PRIu64, key->name, epoch, seq);

    code_of(key, ret, (size_t)n, code);
    (void)snprintf(ret + n, (size_t)(MARK_TEXT - n), ".%s", code);
}

int mark_read(const struct mark_key *key, const char *text, uint64_t *ret_epoch, uint64_t *ret_seq,
              struct bt_err *err)
{
    char code[MARK_CODE_HEX + 1];
    struct mark m;

    if (!mark_parse(text, &m))
        return bt_fail(err, BT_ERR_NOT_FOUND, "it is no mark");
    if (!bt_streq(m.key, key->name))
        return bt_fail(err, BT_ERR_NOT_FOUND, "the mark is of another facility");
    code_of(key, text, (size_t)m.n_signed, code);
    if (!bt_equal_ct(m.code, code, MARK_CODE_HEX))
        return bt_fail(err, BT_ERR_SIGNATURE, "the mark is not one that was given");
    *ret_epoch = m.epoch;
    *ret_seq = m.seq;
    return 0;
}
