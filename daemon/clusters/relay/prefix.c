/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/relay/prefix.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/base/str.h"

enum { WORD_MAX = 64, V4_AT = 12 }; /* where an IPv4 address begins in its sixteen bytes */

static const uint8_t v4_mapped[V4_AT] = {[10] = 0xff, [11] = 0xff};

/* Of the first `bits` bits, how many belong to byte i: a mask. */
static uint8_t mask_of(int bits, int i)
{
    int left = bits - 8 * i;

    if (left >= 8)
        return 0xff;
    return left <= 0 ? 0 : (uint8_t)(0xff00 >> left);
}

static int parse_one(const char *word, struct prefix *ret, struct bt_err *err)
{
    char host[WORD_MAX];
    const char *slash = strchr(word, '/');
    bool v6 = strchr(word, ':');
    int64_t bits = v6 ? 128 : 32;

    bt_copy(host, sizeof host, word);
    host[slash ? slash - word : (ptrdiff_t)strlen(word)] = '\0';
    memset(ret, 0, sizeof *ret);
    if (!v6)
        memcpy(ret->address, v4_mapped, V4_AT);
    if (inet_pton(v6 ? AF_INET6 : AF_INET, host, ret->address + (v6 ? 0 : V4_AT)) != 1 ||
        (slash && bt_parse_i64(slash + 1, "prefix", 0, bits, &bits, NULL) < 0))
        return bt_next(err, bt_fail(err, BT_ERR_INVALID, "'%s' is no prefix of addresses", word),
                       "such as 10.1.0.0/16 or 2001:db8::/32");
    ret->bits = (int)bits + (v6 ? 0 : 8 * V4_AT);
    for (int i = 0; i < 16; i++)
        if (ret->address[i] & ~mask_of(ret->bits, i))
            return bt_fail(err, BT_ERR_INVALID, "'%s' has bits set behind its length", word);
    return 0;
}

int prefixes_parse(const char *text, struct prefixes *ret, struct bt_err *err)
{
    struct prefixes p = {0};
    char word[WORD_MAX];
    size_t n;

    for (text += strspn(text, ", "); *text; text += n, text += strspn(text, ", ")) {
        n = strcspn(text, ", ");
        if (n >= sizeof word)
            return bt_fail(err, BT_ERR_INVALID, "'%.40s…' is no prefix of addresses", text);
        if (p.n == PREFIXES_MAX)
            return bt_fail(err, BT_ERR_INVALID, "more than %d prefixes", PREFIXES_MAX);
        memcpy(word, text, n);
        word[n] = '\0';
        int rc = parse_one(word, &p.of[p.n], err);
        if (rc < 0)
            return rc;
        p.n++;
    }
    *ret = p;
    return 0;
}

bool prefix_address(const struct sockaddr *sa, uint8_t ret[16])
{
    if (sa->sa_family == AF_INET) {
        memcpy(ret, v4_mapped, V4_AT);
        memcpy(ret + V4_AT, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
        return true;
    }
    if (sa->sa_family != AF_INET6)
        return false;
    memcpy(ret, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    return true;
}

static bool has(const struct prefix *p, const uint8_t address[16])
{
    for (int i = 0; i < 16; i++)
        if ((address[i] ^ p->address[i]) & mask_of(p->bits, i))
            return false;
    return true;
}

bool prefixes_have(const struct prefixes *p, const uint8_t address[16])
{
    for (int i = 0; i < p->n; i++)
        if (has(&p->of[i], address))
            return true;
    return p->n == 0;
}
