/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool bt_streq(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

bool bt_starts(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

bool bt_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t m = strlen(suffix);

    return n >= m && !strcmp(s + n - m, suffix);
}

bool bt_list_has(const char *list, const char *word, size_t n)
{
    const char *end = list ? list + strlen(list) : NULL;

    for (const char *s = list; n && s && (s = memmem(s, (size_t)(end - s), word, n)); s += n)
        if ((s == list || s[-1] == ',') && (s[n] == ',' || s[n] == '\0'))
            return true;
    return false;
}

bool bt_copy(char *to, size_t size, const char *s)
{
    size_t n = strnlen(s, size);
    bool whole = n < size;

    if (size) {
        n -= !whole;
        memcpy(to, s, n);
        to[n] = '\0';
    }
    return whole;
}

static bool name_char(char c, bool first)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
        return true;
    return !first && (c == '.' || c == '_' || c == '-');
}

bool bt_is_name(const char *s, size_t max)
{
    size_t n = 0;

    for (; s[n]; n++)
        if (n >= max || !name_char(s[n], n == 0))
            return false;
    return n > 0;
}

/* Bytes of the well-formed sequence at s (RFC 3629), 0 if there is none. */
static size_t utf8_sequence(const unsigned char *s, size_t n)
{
    size_t len = s[0] < 0x80                   ? 1
                 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                 : (s[0] & 0xf0) == 0xe0       ? 3
                 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                               : 0;

    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

bool bt_is_utf8(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n) {
        size_t len = utf8_sequence((const unsigned char *)s + i, n - i);

        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

int bt_parse_i64(const char *s, const char *what, int64_t min, int64_t max, int64_t *ret,
                 struct bt_err *err)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(s, &end, 10);
    if (errno || end == s || *end || !(*s == '-' || (*s >= '0' && *s <= '9')) || v < min || v > max)
        return bt_fail(err, BT_ERR_INVALID,
                       "%s is '%s', not a whole number from %" PRId64 " to %" PRId64, what, s, min,
                       max);
    *ret = v;
    return 0;
}

int bt_parse_f64(const char *s, const char *what, double *ret, struct bt_err *err)
{
    char *end;
    double v;

    errno = 0;
    v = strtod(s, &end);
    if (errno == ERANGE || end == s || *end || !isfinite(v) || strchr(" \t\n", *s))
        return bt_fail(err, BT_ERR_INVALID, "%s is '%s', not a number", what, s);
    *ret = v;
    return 0;
}

int bt_parse_bytes(const char *s, const char *what, int64_t *ret, struct bt_err *err)
{
    static const struct {
        const char *suffix;
        double factor;
    } units[] = {{"", 1},      {"B", 1},       {"kB", 1e3},      {"MB", 1e6},     {"GB", 1e9},
                 {"TB", 1e12}, {"KiB", 1024},  {"MiB", 1048576}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
                 {"K", 1024},  {"M", 1048576}, {"G", 0x1p30},    {"T", 0x1p40}};
    char *end;
    double v;

    errno = 0;
    v = strtod(s, &end);
    if (!errno && end != s && *s >= '0' && *s <= '9')
        for (size_t i = 0; i < BT_ARRAY_LEN(units); i++)
            if (!strcmp(end, units[i].suffix) && v * units[i].factor < 0x1p62) {
                *ret = (int64_t)(v * units[i].factor);
                return 0;
            }
    return bt_fail(err, BT_ERR_INVALID, "%s is '%s', not a size such as 4096, 16KiB or 2GB", what,
                   s);
}

/* [D-]HH:MM:SS and its shorter forms, as sbatch reads them. */
static bool slurm_duration(const char *s, int64_t *ret)
{
    const char *dash = strchr(s, '-');
    int64_t part[3] = {0};
    int64_t days = 0;
    int n = 0;
    const char *p = s;

    if (dash) {
        char *end;

        days = strtoll(s, &end, 10);
        if (end != dash || days < 0 || days > 36500)
            return false;
        p = dash + 1;
    }
    for (;; p++) {
        char *end;

        if (n == 3 || *p < '0' || *p > '9')
            return false;
        part[n++] = strtoll(p, &end, 10);
        if (part[n - 1] > 100000000)
            return false;
        p = end;
        if (!*p)
            break;
        if (*p != ':')
            return false;
    }
    if (dash)
        *ret = days * 86400 + part[0] * 3600 + part[1] * 60 + part[2];
    else if (n == 1)
        *ret = part[0] * 60;
    else if (n == 2)
        *ret = part[0] * 60 + part[1];
    else
        *ret = part[0] * 3600 + part[1] * 60 + part[2];
    return true;
}

static bool unit_duration(const char *s, int64_t *ret)
{
    int64_t total = 0;

    if (!*s)
        return false;
    while (*s) {
        char *end;
        double v;
        int64_t unit;

        if (*s < '0' || *s > '9')
            return false;
        v = strtod(s, &end);
        unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 0;
        if (!unit || v * (double)unit > 1e10)
            return false;
        total += (int64_t)(v * (double)unit);
        s = end + 1;
    }
    *ret = total;
    return true;
}

int bt_parse_duration_s(const char *s, const char *what, int64_t *ret, struct bt_err *err)
{
    if (slurm_duration(s, ret) || unit_duration(s, ret))
        return 0;
    return bt_fail(err, BT_ERR_INVALID,
                   "%s is '%s', not a duration such as 90s, 12h, 30 (minutes)"
                   " or 1-02:00:00",
                   what, s);
}

char *bt_format_thousands(int64_t v, char *out)
{
    char digits[24];
    size_t n =
        (size_t)snprintf(digits, sizeof digits, "%" PRIu64, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    size_t o = 0;

    if (v < 0)
        out[o++] = '-';
    for (size_t i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            out[o++] = ',';
        out[o++] = digits[i];
    }
    out[o] = '\0';
    return out;
}
