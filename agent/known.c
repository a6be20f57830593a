/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/known.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct parts {
    char key[16];
    int64_t seq;
};

/* The key's name and the batch of a mark; false: it is none. Every character goes into a URL as it
 * is. */
static bool read_mark(const char *mark, struct parts *ret)
{
    char copy[KNOWN_TEXT];
    char *save = NULL;
    const char *key, *epoch, *seq, *code;
    int64_t unused;

    if (!bt_copy(copy, sizeof copy, mark) || mark[strspn(mark, ".0123456789abcdef")])
        return false;
    key = strtok_r(copy, ".", &save);
    epoch = strtok_r(NULL, ".", &save);
    seq = strtok_r(NULL, ".", &save);
    code = strtok_r(NULL, ".", &save);
    return key && epoch && seq && code && !strtok_r(NULL, ".", &save) &&
           bt_copy(ret->key, sizeof ret->key, key) &&
           bt_parse_i64(epoch, "epoch", 0, INT64_MAX, &unused, NULL) == 0 &&
           bt_parse_i64(seq, "batch", 0, INT64_MAX, &ret->seq, NULL) == 0;
}

void known_load(struct known *k, const char *state_dir)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct parts p;

    *k = (struct known){.path = bt_printf("%s/known", state_dir)};
    if (bt_file_read(k->path, KNOWN_TEXT - 1, &text, NULL) == 0 &&
        read_mark(bt_buf_text(&text), &p))
        bt_copy(k->mark, sizeof k->mark, bt_buf_text(&text));
}

void known_done(struct known *k)
{
    bt_free(k->path);
    *k = (struct known){.path = NULL};
}

int known_learn(struct known *k, const char *mark, struct bt_err *err)
{
    struct parts now, before;

    if (!read_mark(mark, &now))
        return bt_fail(err, BT_ERR_INVALID, "the daemon's mark has not the agreed form");
    if (read_mark(k->mark, &before) && bt_streq(before.key, now.key) && now.seq <= before.seq)
        return 0;
    bt_copy(k->mark, sizeof k->mark, mark);
    return bt_file_write(k->path, 0600, mark, strlen(mark), err);
}
