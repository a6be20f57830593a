/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/publish/files.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { MANY = 64 /* files beyond which one syncfs is cheaper than an fsync each */ };

static void forget(struct publish_files *f)
{
    while (f->n)
        bt_free(f->pending[--f->n]);
    bt_buf_clear(&f->folders);
}

void publish_files_done(struct publish_files *f)
{
    forget(f);
    bt_free(f->pending);
    bt_buf_done(&f->folders);
    f->pending = NULL;
    f->cap = 0;
}

static char *folder_of(const char *path)
{
    return bt_strndup(path, (size_t)(strrchr(path, '/') - path));
}

/* The folder noted behind `at` (NULL: the first one), or NULL. */
static const char *next_folder(const struct publish_files *f, const char *at)
{
    at = at ? at + strlen(at) + 1 : bt_buf_text(&f->folders);
    return at < bt_buf_text(&f->folders) + f->folders.n ? at : NULL;
}

static void note_folder(struct publish_files *f, const char *folder)
{
    for (const char *at = NULL; (at = next_folder(f, at));)
        if (bt_streq(at, folder))
            return;
    bt_buf_add(&f->folders, folder, strlen(folder) + 1);
}

/* Makes the folder of a file and remembers it, with those above it when it is new. */
static int make_folder(struct publish_files *f, const char *path, struct bt_err *err)
{
    BT_AUTO char *folder = folder_of(path);
    bool there = access(folder, F_OK) == 0;
    int rc = there ? 0 : bt_mkdirs(folder, 0755, err);

    if (rc < 0)
        return rc;
    note_folder(f, folder);
    while (!there && strlen(folder) > strlen(f->dir)) {
        *strrchr(folder, '/') = '\0';
        note_folder(f, folder);
    }
    return 0;
}

static int write_temp(const char *temp, const void *p, size_t n, struct bt_err *err)
{
    BT_FD_AUTO int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

    if (fd < 0)
        return bt_fail_errno(err, errno == ENOSPC ? BT_ERR_DISK_FULL : BT_ERR_IO,
                             "cannot create %s", temp);
    return bt_write_all(fd, p, n, err);
}

static int sink_write(void *arg, const char *name, const void *p, size_t n, struct bt_err *err)
{
    struct publish_files *f = arg;
    BT_AUTO char *path = bt_printf("%s/%s", f->dir, name);
    BT_AUTO char *temp = bt_printf("%s.tmp", path);
    int rc = f->before ? f->before(f->arg, err) : 0;

    if (rc == 0)
        rc = make_folder(f, path, err);
    if (rc == 0)
        rc = write_temp(temp, p, n, err);
    if (rc == 0 && rename(temp, path) < 0)
        rc = bt_fail_errno(err, BT_ERR_IO, "cannot rename %s", temp);
    if (rc < 0) {
        unlink(temp);
        return rc;
    }
    BT_GROW(f->pending, f->n, f->cap);
    f->pending[f->n++] = BT_TAKE(path);
    return 0;
}

static int sink_remove(void *arg, const char *name, struct bt_err *err)
{
    struct publish_files *f = arg;
    BT_AUTO char *path = bt_printf("%s/%s", f->dir, name);

    return bt_remove_tree(path, err);
}

struct log_sink publish_files_sink(struct publish_files *f)
{
    return (struct log_sink){.write = sink_write, .remove = sink_remove, .arg = f};
}

static int sync_all(const char *dir, struct bt_err *err)
{
    BT_FD_AUTO int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || syncfs(fd) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot sync %s", dir);
    return 0;
}

/* Starts writing a file out, so that the fsyncs that follow wait for all of them together. */
static void start_writing(const char *path)
{
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0)
        sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static int sync_file(const char *path, struct bt_err *err)
{
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot fsync %s", path);
    return 0;
}

static int sync_each(const struct publish_files *f, struct bt_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < f->n; i++)
        start_writing(f->pending[i]);
    for (size_t i = 0; i < f->n && rc == 0; i++)
        rc = sync_file(f->pending[i], err);
    for (const char *at = NULL; rc == 0 && (at = next_folder(f, at));)
        rc = bt_fsync_dir(at, err);
    return rc;
}

int publish_files_sync(struct publish_files *f, struct bt_err *err)
{
    int rc = f->n > MANY ? sync_all(f->dir, err) : sync_each(f, err);

    if (rc == 0)
        forget(f);
    return rc;
}
