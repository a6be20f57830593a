/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/uuid.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/enc.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t pool[16 * 16]; /* the kernel's randomness; a call for each id costs a microsecond */
static size_t n_pool;

/* A child must not give the ids that its parent will give. */
static void empty_pool(void)
{
    n_pool = 0;
}

static void watch_forks(void)
{
    if (pthread_atfork(NULL, NULL, empty_pool) != 0)
        abort();
}

/* The caller holds the lock. getrandom gives up to 256 bytes whole. */
static void take_random(struct bt_uuid *to)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (n_pool == 0) {
        pthread_once(&once, watch_forks);
        if (getrandom(pool, sizeof pool, 0) != (ssize_t)sizeof pool)
            abort();
        n_pool = sizeof pool;
    }
    n_pool -= sizeof to->b;
    memcpy(to->b, pool + n_pool, sizeof to->b);
}

/* RFC 9562 section 6.2, method 3: rand_a counts within one millisecond. */
struct bt_uuid bt_uuid_new(int64_t now_us)
{
    static int64_t last_ms;
    static unsigned count;
    struct bt_uuid id;
    int64_t ms = now_us / 1000;
    unsigned a;

    pthread_mutex_lock(&lock);
    take_random(&id);
    if (ms > last_ms) {
        last_ms = ms;
        count = (unsigned)(id.b[6] << 8 | id.b[7]) & 0x3ff; /* leaves room to count up */
    } else if (++count > 0xfff) {
        last_ms++;
        count = 0;
    }
    ms = last_ms;
    a = count;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 6; i++)
        id.b[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.b[6] = (uint8_t)(0x70 | a >> 8);
    id.b[7] = (uint8_t)a;
    id.b[8] = (uint8_t)(0x80 | (id.b[8] & 0x3f));
    return id;
}

int64_t bt_uuid_time_us(struct bt_uuid id)
{
    int64_t ms = 0;

    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id.b[i];
    return ms * 1000;
}

bool bt_uuid_is_v7(struct bt_uuid id)
{
    return id.b[6] >> 4 == 7 && id.b[8] >> 6 == 2;
}

bool bt_uuid_eq(struct bt_uuid a, struct bt_uuid b)
{
    return !memcmp(a.b, b.b, sizeof a.b);
}

bool bt_uuid_zero(struct bt_uuid id)
{
    return bt_uuid_eq(id, (struct bt_uuid){{0}});
}

char *bt_uuid_format(struct bt_uuid id, char *out)
{
    char hex[33];
    size_t o = 0;

    bt_hex(id.b, 16, hex);
    for (size_t i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            out[o++] = '-';
        out[o++] = hex[i];
    }
    out[o] = '\0';
    return out;
}

int bt_uuid_parse(const char *s, struct bt_uuid *ret)
{
    char hex[33];
    size_t n = 0;

    if (strnlen(s, BT_UUID_TEXT) != BT_UUID_TEXT - 1)
        return -1;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash != (s[i] == '-') || (s[i] >= 'A' && s[i] <= 'F'))
            return -1;
        if (!dash)
            hex[n++] = s[i];
    }
    hex[32] = '\0';
    return bt_unhex(hex, ret->b, 16);
}
