/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/time.h"

#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * BT_US_PER_S + t.tv_nsec / 1000;
}

int64_t bt_now_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t bt_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t bt_thread_us(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

int64_t bt_clock_now_us(const struct bt_clock *clock)
{
    return clock && clock->now_us ? clock->now_us(clock->arg) : bt_now_us();
}

static char *put_digits(char *to, int n, unsigned v)
{
    for (int i = n; i-- > 0; v /= 10)
        to[i] = (char)('0' + v % 10);
    return to + n;
}

char *bt_time_format(int64_t us, char *out)
{
    static _Thread_local int64_t day = -1; /* whose date is known: most times are of today */
    static _Thread_local char date[sizeof "2026-01-01T"];
    time_t s = (time_t)(us / BT_US_PER_S);
    int frac = (int)(us % BT_US_PER_S);
    unsigned second;
    char *to = out;

    if (frac < 0) {
        frac += (int)BT_US_PER_S;
        s--;
    }
    if (s < 0 || s / 86400 != day) {
        struct tm tm;
        size_t n;

        gmtime_r(&s, &tm);
        n = strftime(out, BT_TIME_MAX, "%Y-%m-%dT", &tm);
        if (s >= 0 && n == sizeof date - 1) {
            day = s / 86400;
            memcpy(date, out, sizeof date);
        }
        to += n;
        second = (unsigned)(tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec);
    } else {
        memcpy(out, date, sizeof date - 1);
        to += sizeof date - 1;
        second = (unsigned)(s % 86400);
    }
    to = put_digits(to, 2, second / 3600);
    *to++ = ':';
    to = put_digits(to, 2, second / 60 % 60);
    *to++ = ':';
    to = put_digits(to, 2, second % 60);
    if (frac) {
        *to++ = '.';
        to = put_digits(to, 6, (unsigned)frac);
    }
    *to++ = 'Z';
    *to = '\0';
    return out;
}

/* Exactly n digits at *p, moved behind them; -1 if there are other characters. */
static int digits(const char **p, int n)
{
    int v = 0;

    for (int i = 0; i < n; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return -1;
        v = v * 10 + (**p - '0');
    }
    return v;
}

static int fraction_us(const char **p)
{
    int us = 0;
    int scale = 100000;

    if (**p != '.')
        return 0;
    for ((*p)++; **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
        us += (**p - '0') * scale;
    return us;
}

/* "Z" or "+HH:MM": seconds east of UTC into *ret; 0 on success. */
static int offset(const char **p, int *ret)
{
    int sign = **p == '-' ? -1 : 1;
    int h;
    int m;

    *ret = 0;
    if (**p == 'Z' || **p == 'z') {
        (*p)++;
        return 0;
    }
    if (**p != '+' && **p != '-')
        return -1;
    (*p)++;
    h = digits(p, 2);
    if (h < 0 || h > 23 || **p != ':')
        return -1;
    (*p)++;
    m = digits(p, 2);
    if (m < 0 || m > 59)
        return -1;
    *ret = sign * (h * 3600 + m * 60);
    return 0;
}

static int read_time(const char *p, int64_t *ret)
{
    struct tm tm = {0};
    struct tm back;
    int us = 0;
    int east = 0;
    time_t t;

    tm.tm_year = digits(&p, 4) - 1900;
    if (tm.tm_year < 70 || *p++ != '-')
        return -1;
    tm.tm_mon = digits(&p, 2) - 1;
    if (*p++ != '-')
        return -1;
    tm.tm_mday = digits(&p, 2);
    if (*p == 'T' || *p == 't' || *p == ' ') {
        p++;
        tm.tm_hour = digits(&p, 2);
        if (*p++ != ':')
            return -1;
        tm.tm_min = digits(&p, 2);
        if (*p++ != ':')
            return -1;
        tm.tm_sec = digits(&p, 2);
        us = fraction_us(&p);
        if (offset(&p, &east) < 0)
            return -1;
    }
    back = tm;
    t = timegm(&tm);
    if (*p || tm.tm_mon != back.tm_mon || tm.tm_mday != back.tm_mday ||
        tm.tm_hour != back.tm_hour || tm.tm_min != back.tm_min || tm.tm_sec != back.tm_sec)
        return -1;
    *ret = ((int64_t)t - east) * BT_US_PER_S + us;
    return 0;
}

int bt_time_parse(const char *s, const char *what, int64_t *ret_us, struct bt_err *err)
{
    int64_t us;

    if (read_time(s, &us) < 0)
        return bt_fail(err, BT_ERR_INVALID,
                       "%s is '%s', not a time such as 2027-01-01 or 2026-11-21T18:02:11Z", what,
                       s);
    *ret_us = us;
    return 0;
}
