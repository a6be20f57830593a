/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/record/sign.h"

void record_pae(const char *type, const void *body, size_t n, struct bt_buf *to)
{
    bt_buf_printf(to, "DSSEv1 %zu %s %zu ", strlen(type), type, n);
    bt_buf_add(to, body, n);
}

int record_sign(const struct sign_key *key, const char *body, size_t n, uint8_t ret[SIGN_SIZE],
                struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf pae = {0};

    record_pae(RECORD_PAYLOAD_TYPE, body, n, &pae);
    return sign_bytes(key, pae.p, pae.n, ret, err);
}

int record_verify(const uint8_t pub[SIGN_PUBLIC_SIZE], const char *body, size_t n,
                  const uint8_t sig[SIGN_SIZE], struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf pae = {0};

    record_pae(RECORD_PAYLOAD_TYPE, body, n, &pae);
    return sign_verify(pub, pae.p, pae.n, sig, err);
}
