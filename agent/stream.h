/* stream.h - one stream of an attempt's log: a file that grows to a bound and then says so.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_STREAM_H
#define BT_AGENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct stream {
    const char *dir, *name; /* not owned; dir is NULL when it is closed */
    int fd;                 /* -1: there is no file yet */
    int64_t have;           /* bytes in the file */
    int64_t max;
    bool cut; /* the bound was met: the rest is dropped */
};

/* Opens <dir>/log.<name> behind what is there; the file is made with its first byte. Both names
 * must live as long as the stream. */
int stream_open(struct stream *s, const char *dir, const char *name, int64_t max,
                struct bt_err *err) BT_MUSTUSE;
/* Appends what fits. Past `max` a note of one line ends the file and the rest is dropped, so
 * that a job that floods its log neither fills the disk nor blocks. A full disk drops too. */
void stream_add(struct stream *s, const void *p, size_t n);
void stream_close(struct stream *s); /* durable */

#endif
