/* links.c - each pair of neighbours on the ring of ranks measured for itself.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Link i joins rank i and the next one. A rank has two, and swaps data with one neighbour at a
 * time: first along the links of even number, then along the odd ones, and with an odd number of
 * ranks the last link has a turn of its own. So a slow link slows no other that is timed. */
#include <math.h>

#include "agent/coll/sweep_own.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

/* What a rank saw of its link to the next rank and of that to the one before. */
struct ends {
    double us[2];
    int64_t wrong[2];
};

static int turn_of(int link, int world)
{
    return world % 2 && link == world - 1 ? 2 : link % 2;
}

static int swap(const struct work *w, int peer, struct bt_err *err)
{
    return w->c->ops->sendrecv(w->c, w->send, w->recv, w->count, w->o->type,
                               (struct coll_pair){.to = peer, .from = peer}, err);
}

static int check(const struct work *w, int peer, int64_t *ret, struct bt_err *err)
{
    size_t size = coll_type_size(w->o->type), bytes = w->count * size;
    BT_AUTO char *mirror = bt_alloc(bytes + 1, 1);
    int rc;

    for (size_t i = 0; i < w->count; i++)
        sweep_put(mirror, w->o->type, i, sweep_value(w->c->rank, i));
    sweep_put_all(w, w->send, mirror, bytes);
    rc = swap(w, peer, err);
    if (rc == 0)
        rc = sweep_get_all(w, mirror, w->recv, bytes, err);
    for (size_t i = 0; rc == 0 && i < w->count; i++)
        *ret += !(sweep_at(mirror, w->o->type, i) == sweep_value(peer, i));
    return rc;
}

static int one_link(const struct work *w, int peer, int end, struct ends *to, struct bt_err *err)
{
    int64_t start = 0;
    int rc = 0;

    for (int64_t i = -w->o->warmups; rc == 0 && i < w->o->iterations; i++) {
        if (i <= 0)
            start = bt_mono_us();
        rc = swap(w, peer, err);
    }
    to->us[end] = (double)(bt_mono_us() - start) / (double)w->o->iterations;
    return rc == 0 && w->o->check ? check(w, peer, &to->wrong[end], err) : rc;
}

int links_run(const struct work *w, struct sweep_link *ret, struct bt_err *err)
{
    int world = w->c->world, rank = w->c->rank, rc = 0;
    BT_AUTO struct ends *all = bt_new_n(struct ends, world);
    struct ends *mine = &all[rank];
    double bytes = (double)(w->count * coll_type_size(w->o->type));

    for (int turn = 0; rc == 0 && turn < (world == 2 ? 1 : 2 + world % 2); turn++) {
        int before = (rank + world - 1) % world;

        rc = w->c->ops->barrier(w->c, err);
        if (rc == 0 && turn_of(rank, world) == turn && (world > 2 || rank == 0))
            rc = one_link(w, (rank + 1) % world, 0, mine, err);
        else if (rc == 0 && turn_of(before, world) == turn)
            rc = one_link(w, before, 1, mine, err);
    }
    if (rc == 0)
        rc = sweep_host(w)->ops->all_gather(sweep_host(w), mine, all, sizeof *mine, COLL_U8, err);
    for (int i = 0; rc == 0 && i < world; i++) {
        const struct ends *a = &all[i], *b = &all[(i + 1) % world];

        ret[i] = (struct sweep_link){.bus_gb = bytes / fmax(fmax(a->us[0], b->us[1]), 1e-3) * 1e-3,
                                     .wrong = w->o->check ? a->wrong[0] + b->wrong[1] : -1};
    }
    return rc;
}
