/* file.h - bounded reading and atomic, durable writing of files; every descriptor is O_CLOEXEC.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_BASE_FILE_H
#define BT_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

/* Appends the whole file to `to`; BT_ERR_TOO_LARGE above max bytes, BT_ERR_NOT_FOUND, BT_ERR_IO. */
int bt_file_read(const char *path, size_t max, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;
/* The same of the first line, without its end; nothing is added by a file without one. */
int bt_file_line(const char *path, size_t max, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;

/* Makes the file or empties it, and writes it; `keep`: its text outlives a loss of power, its name
 * when the folder is fsynced. On failure a part may be there. */
int bt_file_make(const char *path, mode_t mode, const void *p, size_t n, bool keep,
                 struct bt_err *err) BT_MUSTUSE;

/* Writes a temporary file beside path, fsyncs it, renames it over path and fsyncs the folder.
 * On failure path is untouched and the temporary file is gone. */
int bt_file_write(const char *path, mode_t mode, const void *p, size_t n,
                  struct bt_err *err) BT_MUSTUSE;

/* write(2) until all n bytes are out. */
int bt_write_all(int fd, const void *p, size_t n, struct bt_err *err) BT_MUSTUSE;

int bt_fsync_dir(const char *dir, struct bt_err *err) BT_MUSTUSE;

/* mkdir -p with `mode` for what is made; an existing folder is fine. */
int bt_mkdirs(const char *path, mode_t mode, struct bt_err *err) BT_MUSTUSE;

/* rm -r, following no symlink; a path that is not there is fine. */
int bt_remove_tree(const char *path, struct bt_err *err) BT_MUSTUSE;

static inline void bt_closep(int *fd);
#define BT_FD_AUTO BT_CLEANUP(bt_closep)

#include <unistd.h>
static inline void bt_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#endif
