/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/str.h"
#include "lib/base/time.h"

/* Reads digits[.digits] as value × 10^9; false if there are none or too many. */
static bool nano_decimal(const char **at, __int128 *ret)
{
    const char *p = *at;
    __int128 v = 0;
    int decimals = 0;

    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (*p - '0');
        if (v > INT64_MAX)
            return false;
    }
    if (*p == '.' && !(p[1] >= '0' && p[1] <= '9'))
        return false;
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9'; p++, decimals++) {
            if (decimals == 9)
                return false;
            v = v * 10 + (*p - '0');
        }
    for (; decimals < 9; decimals++)
        v *= 10;
    *at = p;
    *ret = v;
    return true;
}

int text_amount(const char *s, const char *what, int64_t *ret_mras, struct bt_err *err)
{
    static const struct {
        const char *suffix;
        int64_t mras;
    } units[] = {{"h", TEXT_MRAS_PER_HOUR},
                 {"kh", TEXT_MRAS_PER_HOUR * 1000},
                 {"Mh", TEXT_MRAS_PER_HOUR * 1000000},
                 {"Gh", TEXT_MRAS_PER_HOUR * 1000000000},
                 {"m", 60000},
                 {"s", 1000}};
    const __int128 nano = 1000000000;
    const char *p = s;
    __int128 v;

    if (bt_streq(s, "0")) {
        *ret_mras = 0;
        return 0;
    }
    if (nano_decimal(&p, &v))
        for (size_t i = 0; i < BT_ARRAY_LEN(units); i++) {
            __int128 mras = v * units[i].mras;

            if (!bt_streq(p, units[i].suffix))
                continue;
            if (mras % nano || mras / nano > INT64_MAX)
                break;
            *ret_mras = (int64_t)(mras / nano);
            return 0;
        }
    return bt_fail(err, BT_ERR_INVALID,
                   "%s is '%.60s', not an amount of accelerator-hours such as 40h, 120kh or 1.5Mh",
                   what, s);
}

char *text_hours(int64_t mras, char *out)
{
    uint64_t v = mras < 0 ? 0 - (uint64_t)mras : (uint64_t)mras;
    const char *sign = mras < 0 ? "-" : "";
    uint64_t cents = v / 36000 + (v % 36000 >= 18000);
    char digits[32];

    if (cents < 100000) {
        snprintf(out, TEXT_MAX, "%s%" PRIu64 ".%02" PRIu64, sign, cents / 100, cents % 100);
    } else {
        bt_format_thousands((int64_t)((cents + 50) / 100), digits);
        snprintf(out, TEXT_MAX, "%s%s", sign, digits);
    }
    return out;
}

char *text_duration(int64_t s, char *out)
{
    if (s < 0)
        s = 0;
    if (s < 60)
        snprintf(out, TEXT_MAX, "%" PRId64 " s", s);
    else if (s < 3600 && s % 60)
        snprintf(out, TEXT_MAX, "%" PRId64 " min %02" PRId64 " s", s / 60, s % 60);
    else if (s < 3600)
        snprintf(out, TEXT_MAX, "%" PRId64 " min", s / 60);
    else if (s < 86400 && s % 3600 < 60)
        snprintf(out, TEXT_MAX, "%" PRId64 " h", s / 3600);
    else if (s < 86400)
        snprintf(out, TEXT_MAX, "%" PRId64 " h %02" PRId64 " min", s / 3600, s % 3600 / 60);
    else if (s % 86400 < 3600)
        snprintf(out, TEXT_MAX, "%" PRId64 " d", s / 86400);
    else
        snprintf(out, TEXT_MAX, "%" PRId64 " d %02" PRId64 " h", s / 86400, s % 86400 / 3600);
    return out;
}

char *text_time(int64_t us, int64_t now_us, char *out)
{
    time_t t = (time_t)(us / BT_US_PER_S), now = (time_t)(now_us / BT_US_PER_S);
    int64_t apart = us > now_us ? us - now_us : now_us - us;
    struct tm tm, today;
    const char *form = "%Y-%m-%d %H:%M";

    localtime_r(&t, &tm);
    localtime_r(&now, &today);
    if (tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday)
        form = "%H:%M:%S";
    else if (apart < 6 * 86400 * BT_US_PER_S)
        form = "%a %H:%M";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* one of the three above */
    strftime(out, TEXT_MAX, form, &tm);
#pragma GCC diagnostic pop
    return out;
}

char *text_bytes(int64_t bytes, char *out)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double v = (double)bytes;
    size_t u = 0;

    for (; v >= 999.5 && u + 1 < BT_ARRAY_LEN(units); u++)
        v /= 1000;
    snprintf(out, TEXT_MAX, u && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
    return out;
}

char *text_flops(double flops, char *out)
{
    char raw[24];
    char *e;

    snprintf(raw, sizeof raw, "%.1e", flops);
    e = strchr(raw, 'e');
    if (!e) {
        bt_copy(out, TEXT_MAX, raw);
        return out;
    }
    *e++ = '\0';
    if (*e == '+')
        e++;
    while (*e == '0' && e[1])
        e++;
    snprintf(out, TEXT_MAX, "%s%s%s", raw, !bt_streq(e, "0") ? "e" : "",
             !bt_streq(e, "0") ? e : "");
    return out;
}

void text_clean(struct bt_buf *to, const char *s)
{
    size_t n = strlen(s);

    if (!bt_is_utf8(s, n)) {
        for (; *s; s++)
            bt_buf_char(to, *s >= ' ' && *s <= '~' ? *s : '?');
        return;
    }
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c < ' ' || c == 0x7f) {
            bt_buf_char(to, '?');
        } else if (c == 0xc2 && (unsigned char)s[1] < 0xa0) { /* C1 controls */
            bt_buf_char(to, '?');
            s++;
        } else {
            bt_buf_char(to, *s);
        }
    }
}

int text_width(const char *s)
{
    int n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}
