/* The table of credentials that every request is checked against.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/http/own.h"
#include "lib/base/mem.h"

struct auth {
    pthread_rwlock_t lock;
    struct view_credential *v;
    uint32_t n, cap;
    struct bt_map index;
};

struct auth *auth_new(void)
{
    struct auth *a = bt_new(struct auth);

    pthread_rwlock_init(&a->lock, NULL);
    return a;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    bt_map_done(&a->index);
    bt_free(a->v);
    pthread_rwlock_destroy(&a->lock);
    bt_free(a);
}

static struct view_credential *place(struct auth *a, const uint8_t spki[32])
{
    uint64_t key = bt_map_hash(spki, 32);
    uint32_t at;

    if (bt_map_get(&a->index, key, &at))
        return memcmp(a->v[at].spki, spki, 32) ? NULL : &a->v[at];
    return NULL;
}

void auth_apply(struct auth *a, const struct view_credential *v, int n)
{
    if (n == 0)
        return;
    pthread_rwlock_wrlock(&a->lock);
    for (int i = 0; i < n; i++) {
        struct view_credential *at = place(a, v[i].spki);

        if (!at) {
            BT_GROW(a->v, a->n, a->cap);
            at = &a->v[a->n];
            bt_map_put(&a->index, bt_map_hash(v[i].spki, 32), a->n++);
        }
        *at = v[i];
    }
    pthread_rwlock_unlock(&a->lock);
}

bool auth_find(struct auth *a, const uint8_t spki[32], struct view_credential *ret)
{
    const struct view_credential *at;

    pthread_rwlock_rdlock(&a->lock);
    at = place(a, spki);
    if (at)
        *ret = *at;
    pthread_rwlock_unlock(&a->lock);
    return at != NULL;
}
