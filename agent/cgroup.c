/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_OURS "beamtime"

const char *cage_kind_name(enum cage_kind kind)
{
    static const char *const names[] = {"none", "cgroup1", "cgroup2"};

    return names[kind];
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int put(const char *dir, const char *file, const char *text)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
        return -1;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    int saved = errno;
    close(fd);
    errno = saved;
    return n < 0 ? -1 : 0;
}

void cage_find(struct cage *c, const char *name)
{
    static const char *const v1[CAGE_DIRS] = {CGROUP_ROOT "/pids", CGROUP_ROOT "/memory"};
    int n = 0;

    *c = (struct cage){0};
    if (access(CGROUP_ROOT "/cgroup.controllers", F_OK) == 0) {
        c->kind = CAGE_V2;
        (void)snprintf(c->dir[0], CAGE_PATH_MAX, CGROUP_ROOT "/" CGROUP_OURS "/%s", name);
        return;
    }
    if (!is_dir(v1[0])) /* without pids nothing lists the processes */
        return;
    for (int i = 0; i < CAGE_DIRS; i++)
        if (is_dir(v1[i]))
            (void)snprintf(c->dir[n++], CAGE_PATH_MAX, "%s/" CGROUP_OURS "/%s", v1[i], name);
    c->kind = CAGE_V1;
}

static int make_dir(const char *path)
{
    BT_AUTO char *parent = bt_strdup(path);

    *strrchr(parent, '/') = '\0';
    if (mkdir(parent, 0755) < 0 && errno != EEXIST)
        return -1;
    return mkdir(path, 0755) < 0 && errno != EEXIST ? -1 : 0;
}

static void limit(const struct cage *c, const char *file, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    for (int i = 0; value && i < CAGE_DIRS && *c->dir[i]; i++)
        (void)put(c->dir[i], file, text); /* the controller may live in the other folder */
}

void cage_make(struct cage *c, const char *name, const struct cage_limits *limits)
{
    cage_find(c, name);
    if (c->kind == CAGE_V2) {
        /* Controllers are passed down where nobody else owns them; killing needs none. */
        if (make_dir(c->dir[0]) < 0) {
            *c = (struct cage){0};
            return;
        }
        (void)put(CGROUP_ROOT, "cgroup.subtree_control", "+pids +memory");
        (void)put(CGROUP_ROOT "/" CGROUP_OURS, "cgroup.subtree_control", "+pids +memory");
    }
    for (int i = 0; c->kind == CAGE_V1 && i < CAGE_DIRS && *c->dir[i]; i++) {
        if (make_dir(c->dir[i]) == 0)
            continue;
        if (i == 0)
            *c = (struct cage){0};
        else
            c->dir[i][0] = '\0';
    }
    limit(c, "pids.max", limits->pids);
    limit(c, c->kind == CAGE_V2 ? "memory.max" : "memory.limit_in_bytes", limits->memory_bytes);
}

int cage_enter(const struct cage *c)
{
    for (int i = 0; i < CAGE_DIRS && *c->dir[i]; i++)
        if (put(c->dir[i], "cgroup.procs", "0") < 0)
            return -1;
    return 0;
}

void cage_pids(const struct cage *c, struct pids *to)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    char path[PATH_MAX];

    if (c->kind == CAGE_NONE)
        return;
    (void)snprintf(path, sizeof path, "%s/cgroup.procs", c->dir[0]);
    if (bt_file_read(path, 16 << 20, &text, NULL) < 0)
        return;
    for (char *p = text.p; p && *p;) {
        char *end;
        long pid = strtol(p, &end, 10);

        if (end == p)
            break;
        if (pid > 0)
            pids_add(to, (pid_t)pid);
        p = *end ? end + 1 : end;
    }
}

void cage_kill(const struct cage *c)
{
    if (c->kind == CAGE_V2)
        (void)put(c->dir[0], "cgroup.kill", "1");
}

int cage_remove(struct cage *c, struct bt_err *err)
{
    for (int i = 0; i < CAGE_DIRS && *c->dir[i]; i++)
        if (rmdir(c->dir[i]) < 0 && errno != ENOENT)
            return bt_fail_errno(err, BT_ERR_IO, "cannot remove the control group %s", c->dir[i]);
    return 0;
}
