/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

static int open_file(const struct stream *s, int flags)
{
    BT_AUTO char *path = bt_printf("%s/log.%s", s->dir, s->name);

    return open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
}

int stream_open(struct stream *s, const char *dir, const char *name, int64_t max,
                struct bt_err *err)
{
    struct stat st;

    *s = (struct stream){.dir = dir, .name = name, .max = max};
    s->fd = open_file(s, 0);
    if (s->fd < 0 && errno == ENOENT)
        return 0;
    if (s->fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s/log.%s", dir, name);
    if (fstat(s->fd, &st) < 0) {
        close(s->fd);
        s->fd = -1;
        return bt_fail_errno(err, BT_ERR_IO, "cannot look at %s/log.%s", dir, name);
    }
    s->have = st.st_size;
    s->cut = st.st_size > max;
    return 0;
}

static void put(struct stream *s, const void *p, size_t n)
{
    if (n && bt_write_all(s->fd, p, n, NULL) < 0)
        s->cut = true;
    else
        s->have += (int64_t)n;
}

void stream_add(struct stream *s, const void *p, size_t n)
{
    char note[120];

    if (!s->dir || s->cut || n == 0)
        return;
    if (s->fd < 0)
        s->fd = open_file(s, O_CREAT);
    if (s->fd < 0) {
        s->cut = true;
        return;
    }
    if (s->have + (int64_t)n <= s->max) {
        put(s, p, n);
        return;
    }
    put(s, p, (size_t)(s->max - s->have));
    int len = snprintf(note, sizeof note, "\n[beamtime: cut here, a stream holds %lld bytes]\n",
                       (long long)s->max);
    put(s, note, (size_t)len);
    s->cut = true;
}

void stream_close(struct stream *s)
{
    s->dir = NULL;
    if (s->fd < 0)
        return;
    if (s->have)
        (void)fsync(s->fd); /* a log that the disk refuses is not worth an attempt */
    close(s->fd);
    s->fd = -1;
}
