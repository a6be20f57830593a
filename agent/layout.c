/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static int opened; /* folders that open_up changed: nftw takes no argument of ours */

static int own(const char *path, const struct account *a, struct bt_err *err)
{
    if (geteuid() == 0 && lchown(path, a->uid, a->gid) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot give %s to %s", path, a->name);
    return 0;
}

static int make_owned(const char *path, const struct account *a, struct bt_err *err)
{
    if (mkdir(path, 0700) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make the folder %s", path);
    return own(path, a, err);
}

/* Not for longer than this node runs: there is no fsync. */
static int make_file(const char *path, mode_t mode, const char *text, const struct account *a,
                     struct bt_err *err)
{
    int rc = bt_file_make(path, mode, text, strlen(text), false, err);

    return rc < 0 ? rc : own(path, a, err);
}

/* The folder above belongs to root (or the agent), so nobody can change what was looked at. */
static int make_checkpoint(const char *path, const struct account *a, struct bt_err *err)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return make_owned(path, a, err);
    if (S_ISDIR(st.st_mode) && st.st_uid == a->uid)
        return 0;
    return bt_next(
        err,
        bt_fail(err, BT_ERR_FORBIDDEN, "%s belongs to uid %u, not to %s", path, st.st_uid, a->name),
        "a job's attempts must run as the same account: see the person's mapping");
}

static int make_code(const struct places *p, const struct spec *s, const struct account *a,
                     struct bt_err *err)
{
    if (!s->text)
        return 0;
    return make_file(p->code, s->kind == JOB_SCRIPT ? 0700 : 0600, s->text, a, err);
}

/* Folders that their owner closed to itself are opened again. */
static int open_up(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if ((type == FTW_D || type == FTW_DNR) && (st->st_mode & 0700) != 0700 &&
        chmod(path, 0700) == 0)
        opened++;
    return 0;
}

static void BT_NORETURN remove_inside(const char *home, const struct account *a)
{
    if (account_become(a) < 0)
        _exit(1);
    do { /* a closed folder hides those below it until it was opened: one level a pass */
        opened = 0;
        (void)nftw(home, open_up, 32, FTW_PHYS | FTW_MOUNT); /* NOLINT: this child has one thread */
    } while (opened);
    /* It ends with an error: the folder itself lies in one that is not the user's. */
    _exit(bt_remove_tree(home, NULL) < 0);
}

int layout_remove(const char *home, const struct account *a, struct bt_err *err)
{
    struct stat st;
    int status;
    pid_t pid;

    if (lstat(home, &st) < 0)
        return errno == ENOENT ? 0 : bt_fail_errno(err, BT_ERR_IO, "cannot look at %s", home);
    if (geteuid() == 0 && st.st_uid == 0) /* not handed over yet: nobody else gets in */
        return bt_remove_tree(home, err);
    pid = fork();
    if (pid < 0)
        return bt_fail_errno(err, BT_ERR_BUSY, "cannot fork");
    if (pid == 0)
        remove_inside(home, a);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (rmdir(home) < 0 && errno != ENOENT)
        return bt_fail_errno(err, BT_ERR_IO, "cannot remove the folder %s", home);
    return 0;
}

static bool rid_of(int rc)
{
    return rc == 0 || errno == ENOENT;
}

bool layout_remove_bare(const struct places *p)
{
    return rid_of(rmdir(p->output)) && rid_of(rmdir(p->scratch)) && rid_of(unlink(p->metrics)) &&
           rid_of(unlink(p->code)) && rid_of(rmdir(p->home));
}

/* A home that the agent has made for a shepherd that may not make one. */
static bool is_given(const struct places *p, const struct account *a)
{
    BT_AUTO char *above = bt_strdup(p->home);
    struct stat st;

    *strrchr(above, '/') = '\0';
    return geteuid() == a->uid && access(above, W_OK) < 0 && lstat(p->home, &st) == 0 &&
           S_ISDIR(st.st_mode) && st.st_uid == a->uid;
}

int layout_make(const struct places *p, const struct spec *s, const struct account *a,
                int *ret_metrics, struct bt_err *err)
{
    int rc = 0;

    if (!is_given(p, a)) {
        rc = layout_remove(p->home, a, err); /* what a killed shepherd left */
        if (rc == 0 && mkdir(p->home, 0700) < 0)
            rc = bt_fail_errno(err, BT_ERR_IO, "cannot make the folder %s", p->home);
    }
    if (rc == 0)
        rc = make_owned(p->output, a, err);
    if (rc == 0)
        rc = make_owned(p->scratch, a, err);
    if (rc == 0)
        rc = make_checkpoint(p->checkpoint, a, err);
    if (rc == 0)
        rc = make_code(p, s, a, err);
    if (rc == 0)
        rc = make_file(p->metrics, 0600, "", a, err);
    if (rc < 0)
        return rc;
    int fd = open(p->metrics, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s", p->metrics);
    rc = own(p->home, a, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    *ret_metrics = fd;
    return 0;
}
