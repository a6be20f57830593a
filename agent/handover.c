/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/handover.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* An access list as the kernel stores it (linux/posix_acl_xattr.h). */
struct acl_entry {
    uint16_t tag;
    uint16_t perm;
    uint32_t id;
};
enum {
    ACL_VERSION = 2,
    ACL_OWNER = 0x01,
    ACL_USER = 0x02,
    ACL_GROUP = 0x04,
    ACL_MASK = 0x10,
    ACL_OTHER = 0x20,
    ALL = 7,
};
#define NO_ID UINT32_MAX

static int let_in(const char *dir, uid_t uid, struct bt_err *err)
{
    struct {
        uint32_t version;
        struct acl_entry e[5];
    } acl = {htole32(ACL_VERSION),
             {{htole16(ACL_OWNER), htole16(ALL), NO_ID},
              {htole16(ACL_USER), htole16(ALL), htole32(uid)},
              {htole16(ACL_GROUP), 0, NO_ID},
              {htole16(ACL_MASK), htole16(ALL), NO_ID},
              {htole16(ACL_OTHER), 0, NO_ID}}};

    if (chmod(dir, 01700) < 0 || setxattr(dir, "system.posix_acl_access", &acl, sizeof acl, 0) < 0)
        return bt_next(err, bt_fail_errno(err, BT_ERR_IO, "cannot let uid %u into %s", uid, dir),
                       "put state_dir on a file system with access lists (ext4, xfs, tmpfs)");
    return 0;
}

static int readable(const char *dir, const char *file, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/%s", dir, file);

    return chmod(path, 0644) < 0 ? bt_fail_errno(err, BT_ERR_IO, "cannot open %s to its user", path)
                                 : 0;
}

/* The agent looks at the lock too: it must not be the one who makes it. */
static int make_lock(const char *dir, const struct account *a, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/lock", dir);
    BT_FD_AUTO int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 || fchown(fd, a->uid, a->gid) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make %s", path);
    return 0;
}

int handover_spool(const char *dir, const struct account *a, struct bt_err *err)
{
    int rc;

    if (a->uid == geteuid())
        return 0;
    rc = make_lock(dir, a, err);
    if (rc == 0)
        rc = readable(dir, "order.json", err);
    if (rc == 0)
        rc = readable(dir, "spec.json", err);
    return rc < 0 ? rc : let_in(dir, a->uid, err);
}

static int make_dir(const char *path, const struct account *a, bool may_be_there,
                    struct bt_err *err)
{
    if (mkdir(path, 0700) < 0 && !(may_be_there && errno == EEXIST))
        return bt_fail_errno(err, BT_ERR_IO, "cannot make the folder %s", path);
    if (geteuid() == 0 && lchown(path, a->uid, a->gid) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot give %s to %s", path, a->name);
    return 0;
}

int handover_home(const struct order *o, const struct account *a, struct bt_err *err)
{
    struct places p = {0};
    struct stat st;
    int rc;

    places_of(o, &p);
    if (lstat(p.home, &st) == 0) /* this attempt was prepared before, and never began */
        return 0;
    if (lstat(p.checkpoint, &st) == 0 && (!S_ISDIR(st.st_mode) || st.st_uid != a->uid))
        return bt_next(err,
                       bt_fail(err, BT_ERR_FORBIDDEN, "%s belongs to uid %u, not to %s",
                               p.checkpoint, st.st_uid, a->name),
                       "a job's attempts must run as the same account: see the person's mapping");
    rc = make_dir(p.checkpoint, a, true, err);
    return rc < 0 ? rc : make_dir(p.home, a, false, err);
}

int handover_open(const char *attempts, struct bt_err *err)
{
    BT_AUTO char *turn = bt_printf("%s/" HANDOVER_TURN, attempts);
    BT_FD_AUTO int fd = open(turn, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0 || fchmod(fd, 0644) < 0 || chmod(attempts, 0711) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s to shepherds", attempts);
    return 0;
}

void handover_turn(const char *attempts)
{
    BT_AUTO char *turn = bt_printf("%s/" HANDOVER_TURN, attempts);
    BT_FD_AUTO int fd = open(turn, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd >= 0 && pwrite(fd, ".", 1, 0) < 0) /* whoever waits looks again after a while */
        return;
}
