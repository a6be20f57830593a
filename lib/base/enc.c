/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/enc.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

char *bt_hex(const void *p, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = '\0';
    return out;
}

int bt_unhex(const char *s, void *out, size_t n)
{
    uint8_t *b = out;

    for (size_t i = 0; i < 2 * n; i++)
        if (hex_digit(s[i]) < 0)
            return -1;
    if (s[2 * n])
        return -1;
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)(hex_digit(s[2 * i]) << 4 | hex_digit(s[2 * i + 1]));
    return 0;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void bt_base64(struct bt_buf *to, const void *p, size_t n)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)b[i] << 16 | (uint32_t)(i + 1 < n ? b[i + 1] : 0) << 8 |
                     (i + 2 < n ? b[i + 2] : 0);
        char out[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63],
                       i + 1 < n ? alphabet[v >> 6 & 63] : '=', i + 2 < n ? alphabet[v & 63] : '='};

        bt_buf_add(to, out, 4);
    }
}

static int base64_digit(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;

    return at ? (int)(at - alphabet) : -1;
}

int bt_unbase64(struct bt_buf *to, const char *s, size_t n)
{
    size_t pad = n >= 2 && s[n - 1] == '=' ? 1 + (s[n - 2] == '=') : 0;
    uint32_t last = 0;

    if (n % 4)
        return -1;
    for (size_t i = 0; i < n - pad; i++)
        if (base64_digit(s[i]) < 0)
            return -1;
    if (pad)
        last = (uint32_t)base64_digit(s[n - pad - 1]);
    if ((pad == 1 && last & 3) || (pad == 2 && last & 15))
        return -1; /* bits that no encoder sets: another spelling of the same bytes */
    for (size_t i = 0; i < n; i += 4) {
        uint32_t v = 0;
        size_t have = i + 4 == n ? 4 - pad : 4;
        uint8_t out[3];

        for (size_t k = 0; k < 4; k++)
            v = v << 6 | (k < have ? (uint32_t)base64_digit(s[i + k]) : 0);
        out[0] = (uint8_t)(v >> 16);
        out[1] = (uint8_t)(v >> 8);
        out[2] = (uint8_t)v;
        bt_buf_add(to, out, have - 1);
    }
    return 0;
}
