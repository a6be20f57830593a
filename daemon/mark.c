/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/mark.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

enum { CODE_BYTES = 16, CODE_HEX = 2 * CODE_BYTES };

int mark_key_make(const struct sign_key *ledger, struct mark_key *ret, struct bt_err *err)
{
    static const char what[] = "beamtime: key of the marks that agents keep, v1";
    uint8_t signature[SIGN_SIZE], name[BT_SHA256_SIZE];
    int rc = sign_bytes(ledger, what, sizeof what, signature, err);

    if (rc < 0)
        return rc;
    bt_sha256(signature, sizeof signature, ret->b);
    bt_sha256(ret->b, sizeof ret->b, name);
    bt_hex(name, 4, ret->name);
    explicit_bzero(signature, sizeof signature);
    return 0;
}

static void code_of(const struct mark_key *key, const char *text, size_t n, char ret[CODE_HEX + 1])
{
    uint8_t mac[BT_SHA256_SIZE];

    bt_hmac_sha256(key->b, sizeof key->b, text, n, mac);
    bt_hex(mac, CODE_BYTES, ret);
}

void mark_write(const struct mark_key *key, uint64_t epoch, uint64_t seq, char ret[MARK_TEXT])
{
    char code[CODE_HEX + 1];
    int n = snprintf(ret, MARK_TEXT, "%s.%" PRIu64 ".%" PRIu64, key->name, epoch, seq);

    code_of(key, ret, (size_t)n, code);
    (void)snprintf(ret + n, (size_t)(MARK_TEXT - n), ".%s", code);
}

int mark_read(const struct mark_key *key, const char *text, uint64_t *ret_epoch, uint64_t *ret_seq,
              struct bt_err *err)
{
    char copy[MARK_TEXT], code[CODE_HEX + 1];
    char *save = NULL;
    const char *field[4] = {NULL};
    int64_t epoch, seq;

    if (!bt_copy(copy, sizeof copy, text))
        return bt_fail(err, BT_ERR_SIGNATURE, "a mark has at most %d characters", MARK_TEXT - 1);
    for (size_t i = 0; i < BT_ARRAY_LEN(field); i++)
        field[i] = strtok_r(i ? NULL : copy, ".", &save);
    if (!field[3] || !bt_streq(field[0], key->name))
        return bt_fail(err, BT_ERR_NOT_FOUND, "the mark is of another facility");
    code_of(key, text, (size_t)(field[3] - copy) - 1, code);
    if (strlen(field[3]) != CODE_HEX || !bt_equal_ct(field[3], code, CODE_HEX) ||
        bt_parse_i64(field[1], "epoch", 0, INT64_MAX, &epoch, NULL) < 0 ||
        bt_parse_i64(field[2], "batch", 0, INT64_MAX, &seq, NULL) < 0)
        return bt_fail(err, BT_ERR_SIGNATURE, "the mark is not one that was given");
    *ret_epoch = (uint64_t)epoch;
    *ret_seq = (uint64_t)seq;
    return 0;
}
