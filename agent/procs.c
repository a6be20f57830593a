/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/procs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/dir.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct proc {
    pid_t pid;
    pid_t parent;
    char state;
};

struct table {
    struct proc *v;
    size_t n, cap;
};

void pids_done(struct pids *p)
{
    bt_free(p->v);
    *p = (struct pids){0};
}

bool pids_have(const struct pids *p, pid_t pid)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i] == pid)
            return true;
    return false;
}

void pids_add(struct pids *p, pid_t pid)
{
    if (pids_have(p, pid))
        return;
    BT_GROW(p->v, p->n, p->cap);
    p->v[p->n++] = pid;
}

/* Small files of /proc; the text ends with a NUL. Returns its length, -1 when it is gone. */
static ssize_t slurp(pid_t pid, const char *name, char *out, size_t size)
{
    char path[64];
    size_t n = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    BT_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    while (n < size - 1) {
        ssize_t r = read(fd, out + n, size - 1 - n);

        if (r < 0)
            return -1;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    out[n] = '\0';
    return (ssize_t)n;
}

/* proc(5): "pid (comm) S ppid …"; comm may hold spaces and parentheses. */
static bool read_proc(pid_t pid, struct proc *ret)
{
    char text[512];
    long parent;
    char *end;

    if (slurp(pid, "stat", text, sizeof text) < 0)
        return false;
    end = strrchr(text, ')');
    if (!end || strlen(end) < 5)
        return false;
    parent = strtol(end + 4, NULL, 10);
    *ret = (struct proc){.pid = pid, .parent = (pid_t)parent, .state = end[2]};
    return true;
}

static void read_table(struct table *t)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;

    if (!dir)
        return;
    while ((e = dir_next(dir))) {
        struct proc p;
        int64_t pid;

        if (bt_parse_i64(e->d_name, "pid", 1, INT_MAX, &pid, NULL) < 0 ||
            !read_proc((pid_t)pid, &p))
            continue;
        BT_GROW(t->v, t->n, t->cap);
        t->v[t->n++] = p;
    }
    closedir(dir);
}

static bool is_alive(const struct proc *p)
{
    return p->state != 'Z' && p->state != 'X';
}

/* Passes over the table until nothing is added: children may stand before their parents. A
 * zombie's children count too (their parent is it until it is reaped). */
static void grow(const struct table *t, struct pids *tree)
{
    size_t before;

    do {
        before = tree->n;
        for (size_t i = 0; i < t->n; i++)
            if (pids_have(tree, t->v[i].parent))
                pids_add(tree, t->v[i].pid);
    } while (tree->n != before);
}

static void add_living(const struct table *t, const struct pids *tree, struct pids *to)
{
    for (size_t i = 0; i < t->n; i++)
        if (is_alive(&t->v[i]) && pids_have(tree, t->v[i].pid))
            pids_add(to, t->v[i].pid);
}

static void collect(const struct table *t, struct pids *roots, pid_t without, struct pids *to)
{
    struct pids tree = {0};

    for (size_t i = 0; i < roots->n; i++)
        pids_add(&tree, roots->v[i]);
    grow(t, &tree);
    for (size_t i = 0; i < tree.n; i++)
        if (tree.v[i] == without)
            tree.v[i] = 0;
    add_living(t, &tree, to);
    pids_done(&tree);
}

void procs_below(pid_t root, struct pids *to)
{
    struct table t = {0};
    struct pids roots = {0};

    read_table(&t);
    pids_add(&roots, root);
    collect(&t, &roots, root, to);
    pids_done(&roots);
    bt_free(t.v);
}

bool procs_runs_us(pid_t pid)
{
    char path[64];
    struct stat theirs, ours;

    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return stat(path, &theirs) == 0 && stat("/proc/self/exe", &ours) == 0 &&
           theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

void procs_orphans_of(pid_t root, struct pids *to)
{
    struct table t = {0};
    struct pids roots = {0};

    read_table(&t);
    for (size_t i = 0; i < t.n; i++)
        if (t.v[i].parent == root && is_alive(&t.v[i]) && !procs_runs_us(t.v[i].pid))
            pids_add(&roots, t.v[i].pid);
    collect(&t, &roots, 0, to);
    pids_done(&roots);
    bt_free(t.v);
}

static bool has_line(const char *text, size_t n, const char *line)
{
    for (const char *p = text; p < text + n; p += strlen(p) + 1)
        if (bt_streq(p, line))
            return true;
    return false;
}

void procs_marked(const char *a, const char *b, struct pids *to)
{
    enum { ENVIRON_MAX = 512 * 1024 };
    BT_AUTO char *text = bt_alloc(1, ENVIRON_MAX);
    struct table t = {0};

    read_table(&t);
    for (size_t i = 0; i < t.n; i++) {
        if (!is_alive(&t.v[i]))
            continue;
        ssize_t n = slurp(t.v[i].pid, "environ", text, ENVIRON_MAX);
        if (n > 0 && has_line(text, (size_t)n, a) && has_line(text, (size_t)n, b))
            pids_add(to, t.v[i].pid);
    }
    bt_free(t.v);
}
