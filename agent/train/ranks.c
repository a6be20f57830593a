/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/ranks.h"

#include "lib/base/str.h"

static int from_environment(const char *name, int64_t otherwise, int64_t max, int64_t *ret,
                            struct bt_err *err)
{
    const char *text = getenv(name);

    *ret = otherwise;
    return text && *text ? bt_parse_i64(text, name, 0, max, ret, err) : 0;
}

int ranks_open(struct ranks *r, struct bt_err *err)
{
    int64_t rank, world;
    int rc = from_environment("BEAM_WORLD_SIZE", 1, COLL_WORLD_MAX, &world, err);

    if (rc == 0)
        rc = from_environment("BEAM_RANK", 0, COLL_WORLD_MAX - 1, &rank, err);
    if (rc < 0)
        return rc;
    if (rank >= world)
        return bt_fail(err, BT_ERR_INVALID, "BEAM_RANK is %d of BEAM_WORLD_SIZE %d", (int)rank,
                       (int)world);
    if (world > 1)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "this build trains with one rank only");
    *r = (struct ranks){.rank = (int)rank, .world = (int)world};
    return 0;
}

void ranks_close(struct ranks *r)
{
    if (r->coll)
        r->coll->ops->close(r->coll);
    *r = (struct ranks){0};
}

void ranks_divide(struct ranks *r, size_t n_params)
{
    r->shard = (n_params + (size_t)r->world - 1) / (size_t)r->world;
    r->lo = BT_MIN(n_params, r->shard * (size_t)r->rank);
    r->hi = BT_MIN(n_params, r->lo + r->shard);
}

int ranks_sum_gradient(struct ranks *r, float *grad, struct bt_err *err)
{
    if (r->world == 1)
        return 0;
    return r->coll->ops->reduce_scatter(r->coll, grad, grad + r->shard * (size_t)r->rank, r->shard,
                                        COLL_F32, COLL_SUM, err);
}

int ranks_gather(struct ranks *r, float *w, struct bt_err *err)
{
    if (r->world == 1)
        return 0;
    return r->coll->ops->all_gather(r->coll, w + r->shard * (size_t)r->rank, w, r->shard, COLL_F32,
                                    err);
}

int ranks_sum(struct ranks *r, double *values, size_t n, struct bt_err *err)
{
    if (r->world == 1)
        return 0;
    return r->coll->ops->all_reduce(r->coll, values, values, n, COLL_F64, COLL_SUM, err);
}

int ranks_piece(struct ranks *r, const float *part, size_t at, float *buffer, size_t n,
                struct bt_err *err)
{
    for (int owner = 0; owner < r->world; owner++) {
        size_t lo = BT_MAX(at, r->shard * (size_t)owner);
        size_t hi = BT_MIN(at + n, r->shard * ((size_t)owner + 1));
        int rc = 0;

        if (lo >= hi)
            continue;
        if (owner == r->rank)
            memcpy(buffer + (lo - at), part + (lo - r->lo), (hi - lo) * sizeof(float));
        if (r->world > 1)
            rc =
                r->coll->ops->broadcast(r->coll, buffer + (lo - at), hi - lo, COLL_F32, owner, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}
