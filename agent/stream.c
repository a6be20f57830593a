/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/stream.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

int stream_open(struct stream *s, const char *dir, const char *name, int64_t max,
                struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/log.%s", dir, name);
    struct stat st;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s", path);
    if (fstat(fd, &st) < 0) {
        close(fd);
        return bt_fail_errno(err, BT_ERR_IO, "cannot look at %s", path);
    }
    *s = (struct stream){.fd = fd, .have = st.st_size, .max = max, .cut = st.st_size > max};
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

    if (s->cut || s->fd < 0)
        return;
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
    if (s->fd < 0)
        return;
    (void)fsync(s->fd); /* a log that the disk refuses is not worth an attempt */
    close(s->fd);
    s->fd = -1;
}
