/* A project's second fence: its account and QOS in a site's slurmdbd.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clusters/slurm_own.h"
#include "daemon/clusters/slurm_set.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum {
    FENCE_EVERY_US = 10000000,
    FENCE_SOONER_US = 1000000, /* when a job waits for an account that is not known to be there */
    PROJECTS_BYTES = 4 << 20,
    PASSWD_BYTES = 16384,
};

/* As whom jobs of people without a Unix account of their own run. */
static void default_user(const struct driver *d, char to[FENCE_USER])
{
    BT_AUTO char *room = bt_alloc(1, PASSWD_BYTES);
    struct passwd pw;
    struct passwd *found = NULL;

    bt_copy(to, FENCE_USER, d->use.user);
    if (!*to && getpwuid_r(geteuid(), &pw, room, PASSWD_BYTES, &found) == 0 && found)
        bt_copy(to, FENCE_USER, found->pw_name);
}

/* ---- what should be there ---- */

static void add_row(struct wire_request *r, size_t *cap, const char *account, const char *user,
                    size_t n_user, int64_t most)
{
    struct fence_row *to;

    if (n_user >= FENCE_USER || strlen(account) >= FENCE_NAME)
        return;
    for (size_t i = r->n_fence; n_user && i-- > 0 && bt_streq(r->fence[i].account, account);)
        if (strlen(r->fence[i].user) == n_user && !memcmp(r->fence[i].user, user, n_user))
            return; /* the site's account is somebody's own, too */
    BT_GROW(r->fence, r->n_fence, *cap);
    to = &r->fence[r->n_fence++];
    *to = (struct fence_row){.cap = most};
    bt_copy(to->account, sizeof to->account, account);
    memcpy(to->user, user, n_user);
}

static int read_projects(struct driver *d, struct wire_request *r, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {.max = PROJECTS_BYTES};
    JSON_AUTO struct json *list = NULL;
    char other[FENCE_USER];
    size_t cap = 0;
    int rc = d->all->set.projects(d->all->set.arg, d->name, &text, err);

    if (rc >= 0)
        rc = json_parse(bt_buf_text(&text), text.n, PROJECTS_BYTES, &list, err);
    default_user(d, other);
    for (size_t i = 0; rc >= 0 && i < json_len(list); i++) {
        const struct json *p = json_at(list, i);
        const char *account = json_str(json_get(p, "account"), "");
        const char *users = json_str(json_get(p, "users"), "");

        add_row(r, &cap, account, "", 0, json_i64(json_get(p, "cap"), 0));
        add_row(r, &cap, account, other, strlen(other), 0);
        for (size_t n; *users; users += n + (users[n] == ',')) {
            n = strcspn(users, ",");
            if (n)
                add_row(r, &cap, account, users, n, 0);
        }
    }
    return rc;
}

/* ---- what is there ---- */

static uint64_t pair_key(const char *account, const char *user)
{
    char key[FENCE_NAME + FENCE_USER + 1];
    int n = snprintf(key, sizeof key, "%s:%s", account, user);

    return bt_map_hash(key, (size_t)n);
}

/* Everything that was asked for is there, but for what still differs. */
static void know(struct driver *d, const struct wire_fenced *f)
{
    struct bt_map lacking = {0};

    bt_map_done(&d->fence.pairs);
    for (size_t i = 0; i < f->n; i++)
        if (f->items[i].act != FENCE_SET_CAP && f->items[i].act != FENCE_NOTHING)
            bt_map_put(&lacking, pair_key(f->items[i].account, f->items[i].user), 0);
    for (size_t i = 0; i < d->fence.n_asked; i++) {
        const struct fence_row *r = &d->fence.asked[i];
        uint32_t none;

        if (!bt_map_get(&lacking, pair_key(r->account, ""), &none) &&
            !bt_map_get(&lacking, pair_key(r->account, r->user), &none))
            bt_map_put(&d->fence.pairs, pair_key(r->account, r->user), 0);
    }
    bt_map_done(&lacking);
}

bool fence_knows(struct driver *d, const char *account, const char *user)
{
    char other[FENCE_USER];
    uint32_t none;
    int64_t now = bt_mono_us();

    default_user(d, other);
    if (!d->use.fence ||
        bt_map_get(&d->fence.pairs, pair_key(account, *user ? user : other), &none))
        return true;
    d->fence.due_us = BT_MIN(d->fence.due_us, BT_MAX(now, d->fence.asked_us + FENCE_SOONER_US));
    return false;
}

void fence_ask(struct driver *d)
{
    struct wire_request r = {.op = WIRE_FENCE, .apply = !d->use.observe};
    struct bt_err err = {0};
    int64_t now = bt_mono_us();
    int rc;

    if (!d->use.fence || now < d->fence.due_us || d->fence.under_way)
        return;
    d->fence.asked_us = now;
    d->fence.due_us = now + FENCE_EVERY_US;
    rc = read_projects(d, &r, &err);
    if (rc < 0)
        bt_log_err(BT_WARN, "projects-not-read", &err);
    else if (helper_ask(d, &r, (struct bt_uuid){{0}}, 0))
        d->fence.under_way = true;
    if (d->fence.under_way) {
        bt_free(d->fence.asked);
        d->fence.asked = r.fence;
        d->fence.n_asked = r.n_fence;
        r.fence = NULL;
    }
    wire_request_done(&r);
}

void fence_reply(struct driver *d, struct wire_reply *r)
{
    d->fence.under_way = false;
    pthread_mutex_lock(&d->lock);
    d->fence.seen = true;
    bt_copy(d->fence.text, sizeof d->fence.text, r->ok ? "" : r->text);
    bt_copy(d->fence.next, sizeof d->fence.next, r->ok ? "" : r->next);
    if (r->ok && r->fenced) {
        bt_free(d->fence.items);
        d->fence.items = r->fenced->items;
        d->fence.n_items = r->fenced->n;
        d->fence.enforced = r->fenced->enforced;
        r->fenced->items = NULL;
    }
    pthread_mutex_unlock(&d->lock);
    if (!r->ok || !r->fenced)
        return;
    r->fenced->items = d->fence.items; /* nobody else changes them */
    know(d, r->fenced);
    r->fenced->items = NULL;
    if (r->fenced->n_done)
        bt_log(BT_INFO, "accounts-made", "site", d->name, NULL);
}

void fence_cut(struct driver *d)
{
    d->fence.under_way = false;
    d->fence.due_us = 0;
}

void fence_done(struct driver *d)
{
    bt_free(d->fence.items);
    bt_free(d->fence.asked);
    bt_map_done(&d->fence.pairs);
}
