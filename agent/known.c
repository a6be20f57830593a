/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/known.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

void known_load(struct known *k, const char *state_dir)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    struct mark m;

    *k = (struct known){.path = bt_printf("%s/known", state_dir)};
    if (bt_file_line(k->path, MARK_TEXT, &text, NULL) == 0 && mark_parse(bt_buf_text(&text), &m))
        bt_copy(k->mark, sizeof k->mark, bt_buf_text(&text));
}

void known_done(struct known *k)
{
    bt_free(k->path);
    *k = (struct known){.path = NULL};
}

/* In place, so that it makes no new file with every change of an attempt: the text is shorter than
 * the sector that a disk writes as a whole, and always fills the file. */
static int write_over(const char *path, const char *text, size_t n)
{
    BT_FD_AUTO int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size != (off_t)n)
        return -1;
    return pwrite(fd, text, n, 0) == (ssize_t)n ? fdatasync(fd) : -1;
}

static int write_down(const struct known *k, struct bt_err *err)
{
    char text[MARK_TEXT];

    memset(text, '\n', sizeof text);
    memcpy(text, k->mark, strlen(k->mark));
    if (write_over(k->path, text, sizeof text) == 0)
        return 0;
    return bt_file_write(k->path, 0600, text, sizeof text, err);
}

int known_learn(struct known *k, const char *mark, struct bt_err *err)
{
    struct mark now, before;

    if (!mark_parse(mark, &now))
        return bt_fail(err, BT_ERR_INVALID, "the daemon's mark has not the agreed form");
    if (mark_parse(k->mark, &before) && bt_streq(before.key, now.key) && now.seq <= before.seq)
        return 0;
    bt_copy(k->mark, sizeof k->mark, mark);
    return write_down(k, err);
}
