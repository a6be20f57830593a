/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/harvest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/dir.h"
#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

struct walk {
    struct harvest *h;
    const struct spec *spec;
    uid_t owner;
    char path[PATH_MAX]; /* relative to the output folder */
    size_t n;
};

static int open_below(int dir, const char *path, uint64_t flags)
{
    struct open_how how = {
        .flags = flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
    };

    return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

/* Names come from the job: control characters are shown as '?'. */
static void skip(struct harvest *h, const char *path, const char *why)
{
    if (h->n_skipped++ >= HARVEST_NAMED_MAX)
        return;
    for (const char *p = path; *p; p++)
        bt_buf_char(&h->skipped, (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
    bt_buf_printf(&h->skipped, ": %s\n", why);
}

static void lose(struct harvest *h, const char *path, const char *why)
{
    skip(h, path, why);
    h->incomplete = true;
}

static void take_file(struct walk *w, int fd, const struct stat *st)
{
    struct bt_err err = {0};
    uint8_t sha[32];
    int64_t bytes;

    if (w->spec && !spec_wants(w->spec, w->path))
        return;
    if (st->st_uid != w->owner)
        skip(w->h, w->path, "is not owned by the job's user");
    else if (bt_sha256_fd(fd, sha, &bytes, &err) < 0)
        lose(w->h, w->path, "cannot be read");
    else if (manifest_add(&w->h->files, w->path, bytes, sha, &err) == -BT_ERR_TOO_LARGE)
        lose(w->h, w->path, "is one file too many");
    else if (err.code)
        skip(w->h, w->path, "has a name that a manifest cannot hold");
}

static void take_dir(struct walk *w, int dir, int depth);

static void take_entry(struct walk *w, int dir, const char *name, int depth)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return; /* gone again: another process of the user */
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        skip(w->h, w->path, S_ISLNK(st.st_mode) ? "is a symbolic link" : "is a special file");
        return;
    }
    /* Opening what is no regular file or folder could have effects: it was looked at before, and
     * what is opened is looked at again. */
    BT_FD_AUTO int fd = open_below(dir, name, S_ISDIR(st.st_mode) ? O_DIRECTORY : 0);
    if (fd < 0 || fstat(fd, &st) < 0)
        lose(w->h, w->path, errno == EXDEV ? "is on another file system" : "cannot be opened");
    else if (S_ISDIR(st.st_mode) && depth == HARVEST_DEPTH_MAX)
        lose(w->h, w->path, "is nested too deep");
    else if (S_ISDIR(st.st_mode))
        take_dir(w, fd, depth + 1);
    else if (S_ISREG(st.st_mode))
        take_file(w, fd, &st);
}

static void take_dir(struct walk *w, int dir, int depth)
{
    int copy = fcntl(dir, F_DUPFD_CLOEXEC, 3);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *e;
    size_t before = w->n;

    if (!d) {
        if (copy >= 0)
            close(copy);
        lose(w->h, w->path, "cannot be listed");
        return;
    }
    while ((e = dir_next(d))) {
        size_t n = strlen(e->d_name);

        if (bt_streq(e->d_name, ".") || bt_streq(e->d_name, ".."))
            continue;
        if (before + n + 2 > sizeof w->path) {
            lose(w->h, w->path, "has a path that is too long");
            continue;
        }
        w->n = before;
        if (before)
            w->path[w->n++] = '/';
        memcpy(w->path + w->n, e->d_name, n + 1);
        w->n += n;
        take_entry(w, dir, e->d_name, depth);
        w->n = before;
        w->path[before] = '\0';
    }
    closedir(d);
}

int harvest_take(const char *output, uid_t owner, const struct spec *spec, struct harvest *ret,
                 struct bt_err *err)
{
    struct harvest h = {0};
    struct walk w = {.h = &h, .spec = spec, .owner = owner};
    BT_FD_AUTO int dir = open(output, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (dir < 0 && errno != ENOENT)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open the output folder %s", output);
    if (dir >= 0)
        take_dir(&w, dir, 0);
    int rc = manifest_sort(&h.files, err);
    if (rc < 0) {
        harvest_done(&h);
        return rc;
    }
    *ret = h;
    return 0;
}

void harvest_done(struct harvest *h)
{
    manifest_done(&h->files);
    bt_buf_done(&h->skipped);
    *h = (struct harvest){0};
}

int harvest_open(const char *output, uid_t owner, const char *path, struct bt_err *err)
{
    BT_FD_AUTO int dir = open(output, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    int fd = dir < 0 ? -1 : open_below(dir, path, 0);

    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
        return bt_fail_errno(err, BT_ERR_BUSY, "cannot open the output file %s now", path);
    if (fd < 0)
        return bt_fail_errno(err, errno == ENOENT ? BT_ERR_NOT_FOUND : BT_ERR_FORBIDDEN,
                             "cannot open the output file %s", path);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == owner)
        return fd;
    close(fd);
    return bt_fail(err, BT_ERR_FORBIDDEN, "%s is not a regular file of the job's user", path);
}
