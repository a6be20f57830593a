/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/known.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

void known_load(struct known *k, const char *state_dir)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct mark m;

    *k = (struct known){.path = bt_printf("%s/known", state_dir)};
    if (bt_file_read(k->path, MARK_TEXT - 1, &text, NULL) == 0 &&
        mark_parse(bt_buf_text(&text), &m))
        bt_copy(k->mark, sizeof k->mark, bt_buf_text(&text));
}

void known_done(struct known *k)
{
    bt_free(k->path);
    *k = (struct known){.path = NULL};
}

int known_learn(struct known *k, const char *mark, struct bt_err *err)
{
    struct mark now, before;

    if (!mark_parse(mark, &now))
        return bt_fail(err, BT_ERR_INVALID, "the daemon's mark has not the agreed form");
    if (mark_parse(k->mark, &before) && bt_streq(before.key, now.key) && now.seq <= before.seq)
        return 0;
    bt_copy(k->mark, sizeof k->mark, mark);
    return bt_file_write(k->path, 0600, mark, strlen(mark), err);
}
