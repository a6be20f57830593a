/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/mem.h"

int bt_file_read(const char *path, size_t max, struct bt_buf *to, struct bt_err *err)
{
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t start = to->n;

    if (fd < 0)
        return bt_fail_errno(err, errno == ENOENT ? BT_ERR_NOT_FOUND : BT_ERR_IO, "cannot read %s",
                             path);
    for (;;) {
        char chunk[65536];
        ssize_t n = read(fd, chunk, sizeof chunk);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || (size_t)n > max - (to->n - start)) {
            to->n = start;
            if (to->p)
                to->p[start] = '\0';
            return n < 0 ? bt_fail_errno(err, BT_ERR_IO, "cannot read %s", path)
                         : bt_fail(err, BT_ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max);
        }
        if (n == 0)
            return 0;
        bt_buf_add(to, chunk, (size_t)n);
    }
}

int bt_file_line(const char *path, size_t max, struct bt_buf *to, struct bt_err *err)
{
    size_t start = to->n;
    int rc = bt_file_read(path, max, to, err);

    if (rc < 0 || to->n == start)
        return rc;
    to->n = start + strcspn(to->p + start, "\n");
    to->p[to->n] = '\0';
    return 0;
}

int bt_write_all(int fd, const void *p, size_t n, struct bt_err *err)
{
    const char *c = p;

    while (n) {
        ssize_t w = write(fd, c, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return bt_fail_errno(err, errno == ENOSPC ? BT_ERR_DISK_FULL : BT_ERR_IO,
                                 "cannot write %zu bytes", n);
        c += w;
        n -= (size_t)w;
    }
    return 0;
}

int bt_fsync_dir(const char *dir, struct bt_err *err)
{
    BT_FD_AUTO int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot fsync the folder %s", dir);
    return 0;
}

int bt_file_make(const char *path, mode_t mode, const void *p, size_t n, bool keep,
                 struct bt_err *err)
{
    BT_FD_AUTO int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    int rc;

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot create %s", path);
    if (fchmod(fd, mode) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot set the mode of %s", path);
    rc = bt_write_all(fd, p, n, err);
    if (rc < 0)
        return rc;
    if (keep && fsync(fd) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot fsync %s", path);
    return 0;
}

int bt_file_write(const char *path, mode_t mode, const void *p, size_t n, struct bt_err *err)
{
    BT_AUTO char *temp = bt_printf("%s.%d.tmp", path, (int)getpid());
    BT_AUTO char *dir = bt_strdup(path);
    char *slash = strrchr(dir, '/');
    int rc = bt_file_make(temp, mode, p, n, true, err);

    if (rc == 0 && rename(temp, path) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot rename %s", temp);
    if (rc < 0) {
        unlink(temp);
        return rc;
    }
    if (slash)
        slash[slash == dir] = '\0';
    return bt_fsync_dir(slash ? dir : ".", err);
}

int bt_mkdirs(const char *path, mode_t mode, struct bt_err *err)
{
    BT_AUTO char *copy = bt_strdup(path);

    for (char *p = copy + 1; *copy; p++) {
        char c = *p;

        if (c && c != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return bt_fail_errno(err, BT_ERR_IO, "cannot make the folder %s", copy);
        *p = c;
        if (!c)
            break;
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int bt_remove_tree(const char *path, struct bt_err *err)
{
    if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
        return bt_fail_errno(err, BT_ERR_IO, "cannot remove %s", path);
    return 0;
}
