/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/api/mark.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

static bool is_hex(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

bool mark_parse(const char *text, struct mark *ret)
{
    char copy[MARK_TEXT], *save = NULL;
    const char *field[5];
    int64_t epoch, seq;

    if (!bt_copy(copy, sizeof copy, text))
        return false;
    for (size_t i = 0; i < BT_ARRAY_LEN(field); i++)
        field[i] = strtok_r(i ? NULL : copy, ".", &save);
    if (!field[3] || field[4] || !is_hex(field[0], MARK_KEY_HEX) ||
        !is_hex(field[3], MARK_CODE_HEX) ||
        bt_parse_i64(field[1], "epoch", 0, INT64_MAX, &epoch, NULL) < 0 ||
        bt_parse_i64(field[2], "batch", 0, INT64_MAX, &seq, NULL) < 0)
        return false;
    *ret = (struct mark){
        .epoch = (uint64_t)epoch, .seq = (uint64_t)seq, .n_signed = (int)(field[3] - copy) - 1};
    bt_copy(ret->key, sizeof ret->key, field[0]);
    bt_copy(ret->code, sizeof ret->code, field[3]);
    return true;
}
