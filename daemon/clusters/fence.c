/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/fence.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

/* Accounts first: users need theirs. */
static int order(const void *x, const void *y)
{
    const struct fence_row *a = x, *b = y;
    int d = (*a->user != '\0') - (*b->user != '\0');

    d = d ? d : strcmp(a->account, b->account);
    return d ? d : strcmp(a->user, b->user);
}

struct list {
    struct fence_item *v;
    size_t n, cap;
};

static void cap_text(int64_t cap, char *to, size_t size)
{
    if (cap == FENCE_NO_QOS)
        bt_copy(to, size, "no QOS");
    else if (cap == FENCE_NO_CAP)
        bt_copy(to, size, "no limit");
    else
        (void)snprintf(to, size, "gres/gpu=%" PRId64, cap);
}

static struct fence_item *add(struct list *l, enum fence_act act, const struct fence_row *of,
                              const char *what)
{
    struct fence_item *i;

    BT_GROW(l->v, l->n, l->cap);
    i = &l->v[l->n++];
    *i = (struct fence_item){.act = act, .cap = of->cap};
    bt_copy(i->account, sizeof i->account, of->account);
    bt_copy(i->user, sizeof i->user, of->user);
    bt_copy(i->what, sizeof i->what, what);
    return i;
}

static void differ(struct list *l, enum fence_act act, const struct fence_row *of, const char *what,
                   const char *expected, const char *actual)
{
    struct fence_item *i = add(l, act, of, what);

    bt_copy(i->expected, sizeof i->expected, expected);
    bt_copy(i->actual, sizeof i->actual, actual);
}

static void compare_account(struct list *l, const struct fence_row *w, const struct fence_row *h)
{
    char expected[FENCE_NAME];
    char actual[FENCE_NAME];

    cap_text(w->cap, expected, sizeof expected);
    cap_text(h->cap, actual, sizeof actual);
    if (h->cap == FENCE_NO_QOS)
        differ(l, FENCE_ADD_QOS, w, "QOS", expected, actual);
    else if (h->cap != w->cap)
        differ(l, FENCE_SET_CAP, w, "GrpTRES", expected, actual);
    if (!h->there)
        differ(l, FENCE_ADD_ACCOUNT, w, "account", w->account, "none");
    else if (!h->own_qos)
        differ(l, FENCE_SET_QOS, w, "default QOS", w->account, "another");
}

static void missing(struct list *l, const struct fence_row *w)
{
    static const struct fence_row nothing = {.cap = FENCE_NO_QOS};

    if (*w->user)
        differ(l, FENCE_ADD_USER, w, "user", w->user, "none");
    else
        compare_account(l, w, &nothing);
}

static void surplus(struct list *l, const struct fence_row *h)
{
    struct fence_row closed = *h;
    char actual[FENCE_NAME];

    if (*h->user) {
        differ(l, FENCE_NOTHING, h, "user", "no member of the project", h->user);
    } else if (h->cap > 0 || h->cap == FENCE_NO_CAP) {
        closed.cap = 0;
        cap_text(h->cap, actual, sizeof actual);
        differ(l, FENCE_SET_CAP, &closed, "GrpTRES", "gres/gpu=0", actual);
    }
}

struct fence_item *fence_compare(struct fence_row *want, size_t n_want, struct fence_row *has,
                                 size_t n_has, size_t *ret_n)
{
    struct list l = {0};
    size_t w = 0, h = 0;

    if (n_want > 1)
        qsort(want, n_want, sizeof *want, order);
    if (n_has > 1)
        qsort(has, n_has, sizeof *has, order);
    while (w < n_want || h < n_has) {
        int d = w == n_want ? 1 : h == n_has ? -1 : order(&want[w], &has[h]);

        if (d < 0)
            missing(&l, &want[w++]);
        else if (d > 0)
            surplus(&l, &has[h++]);
        else if (*want[w].user)
            w++, h++;
        else
            compare_account(&l, &want[w++], &has[h++]);
    }
    *ret_n = l.n;
    return l.v;
}

void fence_fix(const struct fence_item *i, char *to, size_t size)
{
    switch (i->act) {
    case FENCE_ADD_ACCOUNT:
        (void)snprintf(to, size, "sacctmgr add account %s defaultqos=%s qos=%s", i->account,
                       i->account, i->account);
        break;
    case FENCE_ADD_QOS:
        (void)snprintf(to, size, "sacctmgr add qos %s grptres=gres/gpu=%" PRId64, i->account,
                       i->cap);
        break;
    case FENCE_SET_CAP:
        (void)snprintf(to, size, "sacctmgr modify qos %s set grptres=gres/gpu=%" PRId64, i->account,
                       i->cap);
        break;
    case FENCE_SET_QOS:
        (void)snprintf(to, size, "sacctmgr modify account %s set defaultqos=%s qos=%s", i->account,
                       i->account, i->account);
        break;
    case FENCE_ADD_USER:
        (void)snprintf(to, size, "sacctmgr add user %s account=%s", i->user, i->account);
        break;
    case FENCE_NOTHING:
        (void)snprintf(to, size, "sacctmgr remove user %s account=%s", i->user, i->account);
        break;
    }
}
