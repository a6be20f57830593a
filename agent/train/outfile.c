/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/outfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

int outfile_open(struct outfile *f, const char *path, struct bt_err *err)
{
    BT_AUTO char *temp = bt_printf("%s.%d.tmp", path, (int)getpid());
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot create %s", temp);
    *f = (struct outfile){.fd = fd, .path = bt_strdup(path), .temp = BT_TAKE(temp)};
    bt_sha256_init(&f->sum);
    return 0;
}

int outfile_write(struct outfile *f, const void *p, size_t n, struct bt_err *err)
{
    int rc = bt_write_all(f->fd, p, n, err);

    if (rc == 0)
        bt_sha256_add(&f->sum, p, n);
    return rc;
}

void outfile_abandon(struct outfile *f)
{
    if (!f->temp)
        return;
    if (f->fd >= 0)
        close(f->fd);
    unlink(f->temp);
    bt_free(f->temp);
    bt_free(f->path);
    *f = (struct outfile){.fd = -1};
}

int outfile_commit(struct outfile *f, struct bt_err *err)
{
    BT_AUTO char *dir = bt_strdup(f->path);
    char *slash = strrchr(dir, '/');
    int rc = 0;

    if (fsync(f->fd) < 0 || rename(f->temp, f->path) < 0) {
        rc = bt_fail_errno(err, errno == ENOSPC ? BT_ERR_DISK_FULL : BT_ERR_IO, "cannot finish %s",
                           f->path);
        outfile_abandon(f);
        return rc;
    }
    close(f->fd);
    bt_free(f->temp);
    bt_free(f->path);
    *f = (struct outfile){.fd = -1};
    if (slash)
        slash[slash == dir] = '\0';
    return bt_fsync_dir(slash ? dir : ".", err);
}

static bool is_leftover(const char *name)
{
    size_t n = strlen(name), digits = 0;

    if (!bt_ends(name, ".tmp"))
        return false;
    n -= strlen(".tmp");
    while (n > 0 && name[n - 1] >= '0' && name[n - 1] <= '9') {
        n--;
        digits++;
    }
    return digits > 0 && n > 1 && name[n - 1] == '.';
}

int outfile_sweep(const char *dir, struct bt_err *err)
{
    DIR *d = opendir(dir);
    int rc = 0;

    if (!d)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read %s", dir);
    for (struct dirent *e; rc == 0 && (e = readdir(d));) {
        if (is_leftover(e->d_name) && unlinkat(dirfd(d), e->d_name, 0) < 0 && errno != ENOENT)
            rc = bt_fail_errno(err, BT_ERR_IO, "cannot remove %s/%s", dir, e->d_name);
    }
    closedir(d);
    return rc;
}
