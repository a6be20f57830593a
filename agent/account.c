/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { USERS_GID = 100 }; /* Debian's static group "users" */

static bool is_group(gid_t gid, const char *name)
{
    enum { ROOM = 65536 };
    BT_AUTO char *room = bt_alloc(1, ROOM);
    struct group g, *found = NULL;

    return getgrnam_r(name, &g, room, ROOM, &found) == 0 && found && g.gr_gid == gid;
}

static bool is_allowed_group(gid_t gid)
{
    return gid >= ACCOUNT_UID_MIN || is_group(gid, "video") || is_group(gid, "render");
}

static void take_groups(struct account *a)
{
    gid_t all[ACCOUNT_GROUPS];
    int n = ACCOUNT_GROUPS;

    if (getgrouplist(a->name, a->gid, all, &n) < 0)
        n = 0; /* in more groups than we carry: none but its own */
    for (int i = 0; i < n; i++)
        if (is_allowed_group(all[i]) && all[i] != a->gid)
            a->groups[a->n_groups++] = all[i];
    a->groups[a->n_groups < ACCOUNT_GROUPS ? a->n_groups++ : 0] = a->gid;
}

static void from_passwd(struct account *a, const struct passwd *pw)
{
    struct stat st;

    a->uid = pw->pw_uid;
    a->gid = pw->pw_gid;
    bt_copy(a->name, sizeof a->name, pw->pw_name);
    if (stat(pw->pw_dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == pw->pw_uid)
        bt_copy(a->home, sizeof a->home, pw->pw_dir);
    if (geteuid() == 0) /* else they stay as they are: spare a directory service the question */
        take_groups(a);
}

/* Fills *a from the user database, or from a bare number; false if there is no such user. */
static bool look_up(const char *user, struct account *a)
{
    enum { ROOM = 65536 };
    BT_AUTO char *room = bt_alloc(1, ROOM);
    struct passwd pw, *found = NULL;
    int64_t uid = *user ? -1 : (int64_t)geteuid();

    if (uid >= 0 || bt_parse_i64(user, "user", 0, INT32_MAX, &uid, NULL) == 0) {
        if (getpwuid_r((uid_t)uid, &pw, room, ROOM, &found) != 0 || !found) {
            a->uid = (uid_t)uid;
            a->gid = *user ? (gid_t)uid : getegid();
            a->groups[a->n_groups++] = a->gid;
            (void)snprintf(a->name, sizeof a->name, "%lld", (long long)uid);
            return true;
        }
    } else if (getpwnam_r(user, &pw, room, ROOM, &found) != 0 || !found) {
        return false;
    }
    from_passwd(a, &pw);
    return true;
}

int account_find(const char *user, struct account *ret, struct bt_err *err)
{
    struct account a = {0};

    if (!look_up(user, &a))
        return bt_next(err,
                       bt_fail(err, BT_ERR_NOT_FOUND, "this node has no Unix account \"%s\"", user),
                       "make it (adduser), or map the person to another account");
    if (geteuid() != 0)
        a.gid = getegid();
    if (a.uid < ACCOUNT_UID_MIN || (a.gid < ACCOUNT_UID_MIN && a.gid != USERS_GID))
        return bt_next(err,
                       bt_fail(err, BT_ERR_FORBIDDEN,
                               "jobs never run as \"%s\" (uid %u, gid %u): both must be %d or more",
                               a.name, a.uid, a.gid, (int)ACCOUNT_UID_MIN),
                       "set job_user in the agent's settings to an ordinary account");
    if (geteuid() != 0 && a.uid != geteuid())
        return bt_next(err,
                       bt_fail(err, BT_ERR_FORBIDDEN,
                               "the agent runs as uid %u and cannot become \"%s\"", geteuid(),
                               a.name),
                       "start the agent as root, or map no accounts at this site");
    *ret = a;
    return 0;
}

int account_become(const struct account *a)
{
    uid_t r, e, s;
    gid_t rg, eg, sg;

    if (geteuid() == 0 &&
        (setgroups((size_t)a->n_groups, a->groups) < 0 || setresgid(a->gid, a->gid, a->gid) < 0 ||
         setresuid(a->uid, a->uid, a->uid) < 0))
        return -1;
    if (getresuid(&r, &e, &s) < 0 || getresgid(&rg, &eg, &sg) < 0)
        return -1;
    if (r != a->uid || e != a->uid || s != a->uid || rg != a->gid || eg != a->gid || sg != a->gid ||
        a->uid < ACCOUNT_UID_MIN || setuid(0) == 0) {
        errno = EPERM;
        return -1;
    }
    return 0;
}
