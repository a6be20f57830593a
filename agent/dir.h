/* dir.h - the next entry of a folder that one thread reads.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_DIR_H
#define BT_AGENT_DIR_H

#include <dirent.h>

/* glibc's readdir is safe on streams that threads do not share; readdir_r is deprecated. */
static inline struct dirent *dir_next(DIR *dir)
{
    return readdir(dir); /* NOLINT(concurrency-mt-unsafe) */
}

#endif
