/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/statedir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* The lock is the kernel's: it goes with the process, however that ends. */
static int take_lock(struct statedir *d, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/daemon.pid", d->run);
    char pid[32];
    int n;

    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (d->lock_fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot open %s", path);
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t got = read(d->lock_fd, pid, sizeof pid - 1);

        pid[got > 0 ? got : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        return bt_next(err,
                       bt_fail(err, BT_ERR_LOCKED,
                               "%s belongs to the running beamtimed with process id %s", d->path,
                               pid[0] ? pid : "?"),
                       "stop it first, or choose another --state-dir");
    }
    n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(d->lock_fd, 0) < 0 || pwrite(d->lock_fd, pid, (size_t)n, 0) != n)
        return bt_fail_errno(err, BT_ERR_IO, "cannot write %s", path);
    return 0;
}

static char *below(const struct statedir *d, const char *name, mode_t mode, int *rc,
                   struct bt_err *err)
{
    char *path = bt_printf("%s/%s", d->path, name);

    if (*rc == 0)
        *rc = bt_mkdirs(path, mode, err);
    return path;
}

static int open_known(struct statedir *d, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/known", d->path);

    d->known_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return d->known_fd < 0 ? bt_fail_errno(err, BT_ERR_IO, "cannot open %s", path) : 0;
}

int statedir_open(const char *path, struct statedir *ret, struct bt_err *err)
{
    struct statedir d = {.lock_fd = -1, .known_fd = -1};
    BT_AUTO char *ready = NULL;
    int rc = bt_mkdirs(path, 0711, err);

    if (rc < 0)
        return rc;
    /* 0711: PostgreSQL's own user must be able to reach its folder below. */
    if (chmod(path, 0711) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "%s is not ours to use", path);
    d.path = realpath(path, NULL);
    if (!d.path)
        return bt_fail_errno(err, BT_ERR_IO, "cannot resolve %s", path);
    d.run = below(&d, "run", 0711, &rc, err);
    d.pki = below(&d, "pki", 0700, &rc, err);
    d.blobs = below(&d, "blobs", 0700, &rc, err);
    d.logs = below(&d, "logs", 0700, &rc, err);
    d.ledger = below(&d, "ledger", 0755, &rc, err);
    if (rc == 0)
        rc = take_lock(&d, err);
    if (rc == 0)
        rc = open_known(&d, err);
    if (rc < 0) {
        if (d.lock_fd >= 0)
            close(d.lock_fd);
        d.lock_fd = -1;
        statedir_close(&d);
        return rc;
    }
    ready = bt_printf("%s/ready", d.run);
    unlink(ready);
    *ret = d;
    return 0;
}

void statedir_close(struct statedir *d)
{
    if (d->lock_fd >= 0) {
        BT_AUTO char *ready = bt_printf("%s/ready", d->run);

        unlink(ready);
        close(d->lock_fd);
    }
    if (d->known_fd >= 0)
        close(d->known_fd);
    free(d->path);
    bt_free(d->run);
    bt_free(d->pki);
    bt_free(d->blobs);
    bt_free(d->logs);
    bt_free(d->ledger);
    *d = (struct statedir){.lock_fd = -1, .known_fd = -1};
}

int statedir_ports(const struct statedir *d, int people, int agents, int open, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/ports", d->run);
    BT_BUF_AUTO struct bt_buf b = {0};

    bt_buf_printf(&b, "people %d\nagents %d\npublic %d\n", people, agents, open);
    return bt_file_write(path, 0644, b.p, b.n, err);
}

int statedir_ready(const struct statedir *d, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/ready", d->run);

    return bt_file_write(path, 0644, "", 0, err);
}

enum { KNOWN_LEN = 42 }; /* two numbers of 20 digits, a space, a newline: one write */

int statedir_known(const struct statedir *d, uint64_t *ret_epoch, uint64_t *ret_seq,
                   struct bt_err *err)
{
    char text[KNOWN_LEN + 1];
    ssize_t n = pread(d->known_fd, text, KNOWN_LEN, 0);
    int64_t epoch, seq;

    *ret_epoch = *ret_seq = 0;
    if (n == 0)
        return 0;
    if (n < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read %s/known", d->path);
    text[n] = '\0';
    if (n != KNOWN_LEN || text[20] != ' ' || text[41] != '\n')
        return bt_fail(err, BT_ERR_CORRUPT, "%s/known is damaged", d->path);
    text[20] = text[41] = '\0';
    if (bt_parse_i64(text, "epoch", 0, INT64_MAX, &epoch, NULL) < 0 ||
        bt_parse_i64(text + 21, "batch", 0, INT64_MAX, &seq, NULL) < 0)
        return bt_fail(err, BT_ERR_CORRUPT, "%s/known is damaged", d->path);
    *ret_epoch = (uint64_t)epoch;
    *ret_seq = (uint64_t)seq;
    return 0;
}

int statedir_know(const struct statedir *d, uint64_t epoch, uint64_t seq, struct bt_err *err)
{
    char text[KNOWN_LEN + 1];

    snprintf(text, sizeof text, "%020" PRIu64 " %020" PRIu64 "\n", epoch, seq);
    if (pwrite(d->known_fd, text, KNOWN_LEN, 0) != KNOWN_LEN)
        return bt_fail_errno(err, BT_ERR_IO, "cannot write %s/known", d->path);
    return 0;
}
