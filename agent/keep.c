/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

enum { PART = 1024 * 1024 };

bool keep_wants(const struct keep *k, int64_t bytes)
{
    return k->dir && *k->dir && bytes >= k->from;
}

static bool is_there(const char *path, int64_t total)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == total;
}

/* Up to total bytes and no more: a file that grows meanwhile is another one. */
static int copy(int from, int to, int64_t total, uint8_t sha256[32], struct bt_err *err)
{
    BT_AUTO char *part = bt_alloc(1, PART);
    struct bt_sha256 hash;
    int64_t at = 0;

    bt_sha256_init(&hash);
    while (at < total) {
        ssize_t n = pread(from, part, (size_t)BT_MIN(total - at, PART), at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return bt_fail_errno(err, BT_ERR_IO, "an output file cannot be read");
        if (n == 0)
            return bt_fail(err, BT_ERR_CONFLICT, "the file changed after it was hashed");
        int rc = bt_write_all(to, part, (size_t)n, err);
        if (rc < 0)
            return rc;
        bt_sha256_add(&hash, part, (size_t)n);
        at += n;
    }
    bt_sha256_end(&hash, sha256);
    return 0;
}

static int copy_as(const char *temp, const uint8_t want[32], int fd, int64_t total,
                   struct bt_err *err)
{
    BT_FD_AUTO int to = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    uint8_t got[32];

    if (to < 0 || fchmod(to, 0644) < 0) /* the web server is somebody else */
        return bt_fail_errno(err, BT_ERR_IO, "cannot make %s", temp);
    int rc = copy(fd, to, total, got, err);
    if (rc < 0)
        return rc;
    if (memcmp(got, want, sizeof got) != 0)
        return bt_fail(err, BT_ERR_CONFLICT, "the file changed after it was hashed");
    return fsync(to) < 0 ? bt_fail_errno(err, BT_ERR_IO, "cannot keep %s", temp) : 0;
}

static int put_there(const char *temp, const char *dir, const char *path, struct bt_err *err)
{
    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make the folder %s", dir);
    if (rename(temp, path) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make %s", path);
    return bt_fsync_dir(dir, err);
}

int keep_file(const struct keep *k, const char *attempt, const uint8_t sha256[32], int fd,
              int64_t total, struct bt_err *err)
{
    char hex[65];
    BT_AUTO char *root = bt_printf("%s/sha256", k->dir);
    BT_AUTO char *temp = bt_printf("%s/.%s", root, attempt);
    BT_AUTO char *dir = bt_printf("%s/%.2s", root, bt_hex(sha256, 32, hex));
    BT_AUTO char *path = bt_printf("%s/%s", dir, hex);
    struct stat st;
    int rc;

    if (stat(root, &st) < 0 || !S_ISDIR(st.st_mode))
        return bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no folder %s", root),
                       "mkdir %s, once, where blob_dir is to lie; is its file system mounted?",
                       root);
    if (is_there(path, total)) /* whoever renamed it may have been killed before it was durable */
        return bt_fsync_dir(dir, err);
    rc = copy_as(temp, sha256, fd, total, err);
    if (rc == 0)
        rc = put_there(temp, dir, path, err);
    if (rc == 0)
        return bt_fsync_dir(root, err);
    (void)unlink(temp);
    return rc;
}
