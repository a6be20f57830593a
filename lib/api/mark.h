/* mark.h - the text <key, 8 hex>.<epoch>.<seq>.<code, 32 hex> that says "batch SEQ of epoch EPOCH
 * was committed": agents keep the highest and say it again. Who makes the code and what it proves
 * is daemon/mark.h. SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_API_MARK_H
#define BT_API_MARK_H

#include <stdbool.h>
#include <stdint.h>

enum { MARK_TEXT = 96, MARK_KEY_HEX = 8, MARK_CODE_HEX = 32 };

struct mark {
    char key[MARK_KEY_HEX + 1];
    uint64_t epoch, seq; /* at most INT64_MAX */
    char code[MARK_CODE_HEX + 1];
    int n_signed; /* bytes before the last point: what the code is made of */
};

/* False: no mark. Every character of one goes into a URL as it is. */
bool mark_parse(const char *text, struct mark *ret);

#endif
