/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/domain/dataset.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/enc.h"
#include "lib/base/str.h"

#define PREFIX "sha256:"

bool dataset_is_name(const char *s)
{
    return bt_is_name(s, DATASET_NAME_MAX - 1);
}

bool dataset_is_path(const char *s)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+=@,";
    size_t n = strlen(s);

    if (*s != '/' || n >= DATASET_PATH_MAX || strspn(s, plain) != n)
        return false;
    for (const char *p = s; p; p = strchr(p + 1, '/'))
        if (p[1] == '.' && p[2] == '.' && (p[3] == '/' || !p[3]))
            return false;
    return true;
}

char *dataset_variable(const char *name, char out[DATASET_VARIABLE_MAX])
{
    char *c = out + snprintf(out, DATASET_VARIABLE_MAX, "BEAM_DATASET_");

    for (; *name && c < out + DATASET_VARIABLE_MAX - 1; name++, c++) {
        bool lower = *name >= 'a' && *name <= 'z', digit = *name >= '0' && *name <= '9';

        *c = lower ? (char)(*name - 'a' + 'A') : digit ? *name : '_';
    }
    *c = '\0';
    return out;
}

int dataset_digest_parse(const char *text, uint8_t ret[32], struct bt_err *err)
{
    static const uint8_t none[32];
    uint8_t digest[32];

    if (!bt_starts(text, PREFIX) || bt_unhex(text + strlen(PREFIX), digest, sizeof digest) < 0 ||
        !memcmp(digest, none, sizeof none))
        return bt_fail(err, BT_ERR_INVALID, "a digest is sha256: and 64 hexadecimal digits");
    memcpy(ret, digest, sizeof digest);
    return 0;
}

char *dataset_digest_format(const uint8_t digest[32], char out[DATASET_DIGEST_TEXT])
{
    char hex[2 * 32 + 1];

    snprintf(out, DATASET_DIGEST_TEXT, PREFIX "%s", bt_hex(digest, 32, hex));
    return out;
}

bool dataset_next(const char **at, char ret[DATASET_NAME_MAX])
{
    size_t n;

    if (!*at || !**at)
        return false;
    n = strcspn(*at, " ");
    snprintf(ret, DATASET_NAME_MAX, "%.*s", (int)n, *at);
    *at = (*at)[n] ? *at + n + 1 : NULL;
    return true;
}

int dataset_add(char list[JOB_DATASETS_TEXT], const char *name, struct bt_err *err)
{
    char with[JOB_DATASETS_TEXT + DATASET_NAME_MAX] = "", one[DATASET_NAME_MAX];
    const char *at = list;
    size_t n = 0;
    int names = 1;
    bool there = false;

    if (!dataset_is_name(name))
        return bt_fail(err, BT_ERR_INVALID,
                       "'%.80s' cannot be the name of a data set: a letter or digit, then those "
                       "and '.', '_', '-', at most %d of them",
                       name, DATASET_NAME_MAX - 1);
    while (dataset_next(&at, one)) {
        int order = strcmp(name, one);

        if (order == 0)
            return 0;
        if (order < 0 && !there) {
            n += (size_t)snprintf(with + n, sizeof with - n, "%s%s", n ? " " : "", name);
            there = true;
        }
        n += (size_t)snprintf(with + n, sizeof with - n, "%s%s", n ? " " : "", one);
        names++;
    }
    if (names > JOB_DATASETS)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a job asks for at most %d data sets", JOB_DATASETS);
    if (!there)
        (void)snprintf(with + n, sizeof with - n, "%s%s", n ? " " : "", name);
    memcpy(list, with, JOB_DATASETS_TEXT);
    return 0;
}
