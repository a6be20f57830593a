/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/train/ranks.h"

#include <sys/stat.h>

#include "lib/base/enc.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

/* A rank may wait for another's checkpoint or evaluation, not for ever. */
/* A device loads 16 bytes of a part at once. */
enum { SHARD_STEP = 8 };

#define CALL_TIMEOUT_US (600 * BT_US_PER_S)

static int from_environment(const char *name, int64_t otherwise, int64_t max, int64_t *ret,
                            struct bt_err *err)
{
    const char *text = getenv(name);

    *ret = otherwise;
    return text && *text ? bt_parse_i64(text, name, 0, max, ret, err) : 0;
}

/* 64 hex digits in a file that only its owner reads. */
static int read_secret(uint8_t secret[COLL_SECRET_BYTES], struct bt_err *err)
{
    const char *path = getenv("BEAM_SECRET_FILE");
    char hex[2 * COLL_SECRET_BYTES + 1];
    struct bt_buf text = {0};
    struct stat st;
    int rc;

    if (!path || !*path)
        return bt_fail(err, BT_ERR_INVALID, "more than one rank need $BEAM_SECRET_FILE");
    if (stat(path, &st) < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot read %s (BEAM_SECRET_FILE)", path);
    if (st.st_mode & 077)
        return bt_next(
            err, bt_fail(err, BT_ERR_FORBIDDEN, "%s (BEAM_SECRET_FILE) is open to others", path),
            "chmod 600 %s", path);
    rc = bt_file_read(path, 2 * COLL_SECRET_BYTES + 2, &text, err);
    bt_copy(hex, sizeof hex, bt_buf_text(&text));
    if (rc == 0 && bt_unhex(hex, secret, COLL_SECRET_BYTES) < 0)
        rc = bt_fail(err, BT_ERR_INVALID, "%s (BEAM_SECRET_FILE) does not hold %d hex digits", path,
                     2 * COLL_SECRET_BYTES);
    bt_wipe(hex, sizeof hex);
    if (text.p)
        bt_wipe(text.p, text.n);
    bt_buf_done(&text);
    return rc;
}

/* "host:port", "[::1]:port" */
static int read_rendezvous(char host[256], uint16_t *ret_port, struct bt_err *err)
{
    const char *text = getenv("BEAM_RENDEZVOUS");
    const char *colon = text ? strrchr(text, ':') : NULL;
    size_t n = colon ? (size_t)(colon - text) : 0;
    int64_t port;

    if (!colon || !n || n > 255 ||
        bt_parse_i64(colon + 1, "BEAM_RENDEZVOUS' port", 1, 65535, &port, err) < 0)
        return bt_fail(err, BT_ERR_INVALID, "more than one rank need $BEAM_RENDEZVOUS = host:port");
    if (text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    memcpy(host, text, n);
    host[n] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}

static int meet(struct ranks *r, struct bt_err *err)
{
    struct coll_config config = {
        .rank = r->rank, .world = r->world, .timeout_us = CALL_TIMEOUT_US, .mac = bt_hmac_sha256};
    char host[256];
    int rc = read_rendezvous(host, &config.port, err);

    if (rc == 0)
        rc = read_secret(config.secret, err);
    config.host = host;
    if (rc == 0)
        rc = coll_ring.open(&config, &r->coll, err);
    bt_wipe(config.secret, sizeof config.secret);
    return rc;
}

int ranks_open(struct ranks *ret, struct bt_err *err)
{
    int64_t rank = 0, world = 1;
    struct ranks r = {0};
    int rc = from_environment("BEAM_WORLD_SIZE", 1, COLL_WORLD_MAX, &world, err);

    if (rc == 0)
        rc = from_environment("BEAM_RANK", 0, COLL_WORLD_MAX - 1, &rank, err);
    if (rc < 0)
        return rc;
    if (rank >= world)
        return bt_fail(err, BT_ERR_INVALID, "BEAM_RANK is %d of BEAM_WORLD_SIZE %d", (int)rank,
                       (int)world);
    r.rank = (int)rank;
    r.world = (int)world;
    if (world > 1)
        rc = meet(&r, err);
    if (rc == 0)
        *ret = r;
    return rc;
}

void ranks_close(struct ranks *r)
{
    if (r->fabric)
        r->fabric->ops->close(r->fabric);
    if (r->coll)
        r->coll->ops->close(r->coll);
    *r = (struct ranks){0};
}

void ranks_divide(struct ranks *r, size_t n_params)
{
    r->shard = (n_params + (size_t)r->world - 1) / (size_t)r->world;
    r->shard = (r->shard + SHARD_STEP - 1) / SHARD_STEP * SHARD_STEP;
    r->lo = BT_MIN(n_params, r->shard * (size_t)r->rank);
    r->hi = BT_MIN(n_params, r->lo + r->shard);
}

/* What carries the memory that weights and gradients lie in. */
static struct coll *carrier(const struct ranks *r)
{
    return r->fabric ? r->fabric : r->coll;
}

int ranks_sum_gradient(struct ranks *r, float *grad, struct bt_err *err)
{
    if (r->world == 1)
        return 0;
    return carrier(r)->ops->reduce_scatter(carrier(r), grad, grad + r->shard * (size_t)r->rank,
                                           r->shard, COLL_F32, COLL_SUM, err);
}

int ranks_gather(struct ranks *r, float *w, struct bt_err *err)
{
    if (r->world == 1)
        return 0;
    return r->coll->ops->all_gather(r->coll, w + r->shard * (size_t)r->rank, w, r->shard, COLL_F32,
                                    err);
}

int ranks_gather_bytes(struct ranks *r, void *p, size_t size, struct bt_err *err)
{
    size_t part = r->shard * size;

    if (r->world == 1)
        return 0;
    return carrier(r)->ops->all_gather(carrier(r), (char *)p + part * (size_t)r->rank, p, part,
                                       COLL_U8, err);
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
