/* memory_log.h - the files of a log in memory, as source and sink, for unit tests.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_TESTS_UNIT_MEMORY_LOG_H
#define BT_TESTS_UNIT_MEMORY_LOG_H

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/ledger/log.h"

struct memory_file {
    char *path;
    struct bt_buf b;
};

struct memory_log {
    struct memory_file *files;
    size_t n, cap;
    size_t writes;  /* since it was made */
    size_t fail_at; /* this write fails; 0: none */
};

static inline struct memory_file *memory_find(struct memory_log *m, const char *path)
{
    for (size_t i = 0; i < m->n; i++)
        if (bt_streq(m->files[i].path, path))
            return &m->files[i];
    return NULL;
}

static inline void memory_drop(struct memory_log *m, struct memory_file *f)
{
    bt_free(f->path);
    bt_buf_done(&f->b);
    *f = m->files[--m->n];
}

static inline int memory_write(void *arg, const char *path, const void *p, size_t n,
                               struct bt_err *err)
{
    struct memory_log *m = arg;
    struct memory_file *f = memory_find(m, path);

    if (++m->writes == m->fail_at)
        return bt_fail(err, BT_ERR_DISK_FULL, "no room for %s", path);
    if (!f) {
        BT_GROW(m->files, m->n, m->cap);
        f = &m->files[m->n++];
        *f = (struct memory_file){.path = bt_strdup(path)};
    }
    bt_buf_clear(&f->b);
    bt_buf_add(&f->b, p, n);
    return 0;
}

/* All files below a folder. */
static inline int memory_remove(void *arg, const char *path, struct bt_err *err)
{
    struct memory_log *m = arg;

    (void)err;
    for (size_t i = 0; i < m->n;)
        if (bt_starts(m->files[i].path, path) && m->files[i].path[strlen(path)] == '/')
            memory_drop(m, &m->files[i]);
        else
            i++;
    return 0;
}

static inline int memory_read(void *arg, const char *path, size_t max, struct bt_buf *to,
                              struct bt_err *err)
{
    struct memory_file *f = memory_find(arg, path);

    if (!f)
        return bt_fail(err, BT_ERR_NOT_FOUND, "no %s", path);
    if (f->b.n > max)
        return bt_fail(err, BT_ERR_TOO_LARGE, "%s is too large", path);
    bt_buf_add(to, f->b.p, f->b.n);
    return 0;
}

static inline struct log_sink memory_sink(struct memory_log *m)
{
    return (struct log_sink){.write = memory_write, .remove = memory_remove, .arg = m};
}

static inline struct log_source memory_source(struct memory_log *m)
{
    return (struct log_source){.read = memory_read, .arg = m};
}

static inline void memory_done(struct memory_log *m)
{
    while (m->n)
        memory_drop(m, &m->files[0]);
    bt_free(m->files);
}

#endif
