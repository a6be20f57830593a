/* account.h - the ordinary Unix user that an attempt runs as.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_ACCOUNT_H
#define BT_AGENT_ACCOUNT_H

#include <limits.h>
#include <sys/types.h>

#include "lib/base/err.h"

enum { ACCOUNT_UID_MIN = 1000, ACCOUNT_GROUPS = 64 };

struct account {
    uid_t uid;
    gid_t gid;
    char name[33];
    char home[PATH_MAX]; /* "" if it has none that exists */
    gid_t groups[ACCOUNT_GROUPS];
    int n_groups;
};

/* `user` is a name or a number; "" means the calling process's own user. BT_ERR_FORBIDDEN for a
 * user below ACCOUNT_UID_MIN, and for another user than one's own when not root;
 * BT_ERR_NOT_FOUND for an unknown name. Supplementary groups are those from 1000 on, and `video`
 * and `render`, which own accelerators' device files: system groups such as docker or disk
 * would be a way to root. Only root looks them up: who runs as the user already keeps those that
 * the resource manager gave. */
int account_find(const char *user, struct account *ret, struct bt_err *err) BT_MUSTUSE;

/* Becomes the account for good: groups, group, user, each checked afterwards. For the child
 * between fork and exec. 0, or -1 with errno. */
int account_become(const struct account *a);

#endif
