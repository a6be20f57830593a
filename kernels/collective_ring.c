/* collective_ring.c - collectives over TCP, each rank talking to its neighbours in a ring.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Reductions go once around the ring (Patarasu and Yuan 2009): the part that rank s ends up with
 * starts at rank s + 1 and every rank adds its own to what comes in, so the order of a sum depends
 * on the ranks alone. Large calls go in pieces whose parts fit SEGMENT bytes: scratch stays small
 * and data is added while it is in the cache. Each call begins with a ticket (which call, type,
 * count) that neighbours compare. */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernels/ring.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

enum { SEGMENT = 1 << 19, CHUNK = 1 << 17 };

/* ---- adding ---- */

#define COMBINER(name, T, expression)                                         \
    static void name(void *to, const void *in, const void *own, size_t n)     \
    {                                                                         \
        T                                                                     \
        *const t = to;                                                        \
        const T                                                               \
        *const a = in, *const b = own;                                        \
                                                                              \
        _Pragma("omp simd") for (size_t i = 0; i < n; i++) t[i] = expression; \
    }

/* Of type T; sums are taken in S, where whole numbers wrap. */
#define COMBINERS(kind, T, S)                            \
    COMBINER(add_##kind, T, (T)((S)a[i] + (S)b[i]))      \
    COMBINER(min_##kind, T, (a[i] < b[i] ? a[i] : b[i])) \
    COMBINER(max_##kind, T, (a[i] > b[i] ? a[i] : b[i]))

COMBINERS(u8, uint8_t, uint8_t)
COMBINERS(i32, int32_t, uint32_t)
COMBINERS(i64, int64_t, uint64_t)
COMBINERS(f32, float, float)
COMBINERS(f64, double, double)

/* to = in op own; to may be own. */
#define OF(kind)                                                                  \
    {                                                                             \
        [COLL_SUM] = add_##kind, [COLL_MIN] = min_##kind, [COLL_MAX] = max_##kind \
    }
static void (*const combine[][3])(void *to, const void *in, const void *own, size_t n) = {
    [COLL_U8] = OF(u8),   [COLL_I32] = OF(i32), [COLL_I64] = OF(i64),
    [COLL_F32] = OF(f32), [COLL_F64] = OF(f64),
};

/* ---- one exchange: out to one link while in comes from another ---- */

struct exchange {
    int to, from; /* descriptors */
    const char *out;
    size_t n_out;
    char *in;        /* where it ends up */
    size_t n_in;     /* bytes */
    const char *own; /* not NULL: in = incoming op own */
    enum coll_type type;
    enum coll_op op;
};

static int push(struct ring *r, const struct exchange *x, size_t *sent, struct bt_err *err)
{
    ssize_t w = send(x->to, x->out + *sent, BT_MIN(x->n_out - *sent, (size_t)CHUNK * 4),
                     MSG_NOSIGNAL | MSG_DONTWAIT);

    if (w < 0)
        return ring_later() ? 0 : ring_lost(r, err);
    *sent += (size_t)w;
    return 0;
}

/* Received bytes go straight to their place, or through a chunk of scratch to be combined. */
static int pull(struct ring *r, const struct exchange *x, size_t *got, size_t *combined,
                struct bt_err *err)
{
    size_t size = coll_type_size(x->type), end = BT_MIN(x->n_in, *combined + CHUNK);
    char *at = x->own ? r->scratch + (*got - *combined) : x->in + *got;
    ssize_t n = recv(x->from, at, x->own ? end - *got : x->n_in - *got, MSG_DONTWAIT);

    if (n == 0)
        return ring_lost(r, err);
    if (n < 0)
        return ring_later() ? 0 : ring_lost(r, err);
    *got += (size_t)n;
    if (x->own && *got == end) {
        combine[x->type][x->op](x->in + *combined, r->scratch, x->own + *combined,
                                (end - *combined) / size);
        *combined = end;
    }
    return 0;
}

static int run_exchange(struct ring *r, const struct exchange *x, struct bt_err *err)
{
    size_t sent = 0, got = 0, combined = 0;

    while (sent < x->n_out || got < x->n_in) {
        struct pollfd fds[2];
        int n = 0, rc = 0;

        if (sent < x->n_out)
            fds[n++] = (struct pollfd){.fd = x->to, .events = POLLOUT};
        if (got < x->n_in)
            fds[n++] = (struct pollfd){.fd = x->from, .events = POLLIN};
        rc = ring_poll(r, fds, n, err);
        if (rc == 0 && sent < x->n_out && fds[0].revents)
            rc = push(r, x, &sent, err);
        if (rc == 0 && got < x->n_in && fds[n - 1].revents)
            rc = pull(r, x, &got, &combined, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- a call's frame ---- */

enum call {
    CALL_ALL_REDUCE = 1,
    CALL_REDUCE_SCATTER,
    CALL_ALL_GATHER,
    CALL_BROADCAST,
    CALL_REDUCE,
    CALL_ALLTOALL,
    CALL_SENDRECV,
    CALL_BARRIER
};

struct ticket {
    uint32_t call, type, op, root;
    uint64_t count;
};

static int next_of(const struct ring *r)
{
    return (r->coll.rank + 1) % r->coll.world;
}

static int previous_of(const struct ring *r)
{
    return (r->coll.rank + r->coll.world - 1) % r->coll.world;
}

/* Links to `to` and from `from`, tickets compared. */
static int open_exchange(struct ring *r, int to, int from, const struct ticket *t,
                         struct exchange *x, struct bt_err *err)
{
    struct ticket theirs;
    int rc;

    *x = (struct exchange){.to = ring_link_to(r, to, err), .type = COLL_U8};
    if (x->to < 0)
        return x->to;
    x->from = ring_link_from(r, from, err);
    if (x->from < 0)
        return x->from;
    x->out = (const char *)t;
    /* taken back below, before theirs ends */
    /* cppcheck-suppress autoVariables */
    x->in = (char *)&theirs;
    x->n_out = x->n_in = sizeof *t;
    rc = run_exchange(r, x, err);
    x->in = NULL; /* theirs ends with this function */
    x->out = NULL;
    if (rc == 0 && memcmp(&theirs, t, sizeof theirs) != 0)
        rc = bt_fail(err, BT_ERR_CONFLICT, "ranks %d and %d make different calls", r->coll.rank,
                     from);
    x->type = (enum coll_type)t->type;
    x->op = (enum coll_op)t->op;
    return rc;
}

/* After the first error nobody may wait for this rank: all links close. */
static int finish(struct ring *r, int rc)
{
    if (rc >= 0)
        return 0;
    r->broken = -rc;
    for (int i = 0; i < r->coll.world; i++) {
        if (r->to[i] >= 0)
            close(r->to[i]);
        if (r->from[i] >= 0)
            close(r->from[i]);
        r->to[i] = r->from[i] = -1;
    }
    if (r->listener >= 0)
        close(r->listener);
    r->listener = -1;
    return rc;
}

static int start(struct ring *r, int root, struct bt_err *err)
{
    if (r->broken)
        return bt_fail(err, (enum bt_errno)r->broken, "the ring broke in an earlier call");
    if (root < 0 || root >= r->coll.world)
        return bt_fail(err, BT_ERR_INVALID, "there is no rank %d", root);
    r->deadline_us = bt_mono_us() + r->config.timeout_us;
    return 0;
}

/* ---- around the ring ---- */

/* A piece of a call in parts, one a rank: bytes [at(s), at(s) + size(s)) of the buffers. */
struct piece {
    size_t base, stride, size; /* strided: part s at base + s * stride, `size` long */
    size_t whole, unit; /* not strided (stride 0): `whole` bytes from base, cut into world parts */
};

static size_t part_at(const struct ring *r, const struct piece *p, int s)
{
    size_t units;

    if (p->stride)
        return p->base + (size_t)s * p->stride;
    units = p->whole / p->unit;
    return p->base + units * (size_t)s / (size_t)r->coll.world * p->unit;
}

static size_t part_size(const struct ring *r, const struct piece *p, int s)
{
    return p->stride ? p->size : part_at(r, p, s + 1) - part_at(r, p, s);
}

static int turn(const struct ring *r, int back)
{
    return (r->coll.rank + 2 * r->coll.world - back) % r->coll.world;
}

/* Part `rank` of the sum into `to`. Partial sums travel through two halves of scratch. */
static int scatter_piece(struct ring *r, struct exchange *x, const struct piece *p,
                         const char *send, char *to, struct bt_err *err)
{
    char *half[2] = {r->scratch + CHUNK, r->scratch + CHUNK + SEGMENT};
    int rc = 0;

    for (int k = 0; rc == 0 && k < r->coll.world - 1; k++) {
        int out = turn(r, 1 + k), in = turn(r, 2 + k);

        x->out = k == 0 ? send + part_at(r, p, out) : half[(k - 1) & 1];
        x->n_out = part_size(r, p, out);
        x->own = send + part_at(r, p, in);
        x->in = k == r->coll.world - 2 ? to : half[k & 1];
        x->n_in = part_size(r, p, in);
        rc = run_exchange(r, x, err);
    }
    return rc;
}

static int gather_piece(struct ring *r, struct exchange *x, const struct piece *p, char *buffer,
                        struct bt_err *err)
{
    int rc = 0;

    x->own = NULL;
    for (int k = 0; rc == 0 && k < r->coll.world - 1; k++) {
        int out = turn(r, k), in = turn(r, 1 + k);

        x->out = buffer + part_at(r, p, out);
        x->n_out = part_size(r, p, out);
        x->in = buffer + part_at(r, p, in);
        x->n_in = part_size(r, p, in);
        rc = run_exchange(r, x, err);
    }
    return rc;
}

static int ring_all_reduce(struct coll *c, const void *send, void *recv, size_t count,
                           enum coll_type type, enum coll_op op, struct bt_err *err)
{
    struct ring *r = (struct ring *)c;
    const struct ticket t = {CALL_ALL_REDUCE, type, op, 0, count};
    size_t size = coll_type_size(type), bytes = count * size;
    size_t step = (size_t)SEGMENT / 16 * 16 * (size_t)c->world;
    struct exchange x;
    int rc = start(r, 0, err);

    if (rc < 0)
        return rc;
    if (c->world == 1) {
        memmove(recv, send, bytes);
        return 0;
    }
    rc = open_exchange(r, next_of(r), previous_of(r), &t, &x, err);
    for (size_t at = 0; rc == 0 && at < bytes; at += step) {
        const struct piece p = {.base = at, .whole = BT_MIN(step, bytes - at), .unit = size};

        rc = scatter_piece(r, &x, &p, send, (char *)recv + part_at(r, &p, c->rank), err);
        if (rc == 0)
            rc = gather_piece(r, &x, &p, recv, err);
    }
    return finish(r, rc);
}

static int ring_reduce_scatter(struct coll *c, const void *send, void *recv, size_t count,
                               enum coll_type type, enum coll_op op, struct bt_err *err)
{
    struct ring *r = (struct ring *)c;
    const struct ticket t = {CALL_REDUCE_SCATTER, type, op, 0, count};
    size_t bytes = count * coll_type_size(type);
    struct exchange x;
    int rc = start(r, 0, err);

    if (rc < 0)
        return rc;
    if (c->world == 1) {
        memmove(recv, send, bytes);
        return 0;
    }
    rc = open_exchange(r, next_of(r), previous_of(r), &t, &x, err);
    for (size_t at = 0; rc == 0 && at < bytes; at += SEGMENT) {
        const struct piece p = {
            .base = at, .stride = bytes, .size = BT_MIN((size_t)SEGMENT, bytes - at)};

        rc = scatter_piece(r, &x, &p, send, (char *)recv + at, err);
    }
    return finish(r, rc);
}

static int ring_all_gather(struct coll *c, const void *send, void *recv, size_t count,
                           enum coll_type type, struct bt_err *err)
{
    struct ring *r = (struct ring *)c;
    const struct ticket t = {CALL_ALL_GATHER, type, 0, 0, count};
    size_t bytes = count * coll_type_size(type);
    const struct piece p = {.stride = bytes, .size = bytes};
    struct exchange x;
    int rc = start(r, 0, err);

    if (rc < 0)
        return rc;
    memmove((char *)recv + bytes * (size_t)c->rank, send, bytes);
    if (c->world == 1 || !bytes)
        return 0;
    rc = open_exchange(r, next_of(r), previous_of(r), &t, &x, err);
    if (rc == 0)
        rc = gather_piece(r, &x, &p, recv, err);
    return finish(r, rc);
}

/* ---- along a chain that ends or begins at root ---- */

static int ring_broadcast(struct coll *c, void *buffer, size_t count, enum coll_type type, int root,
                          struct bt_err *err)
{
    struct ring *r = (struct ring *)c;
    const struct ticket t = {CALL_BROADCAST, type, 0, (uint32_t)root, count};
    size_t bytes = count * coll_type_size(type);
    struct exchange x;
    int rc = start(r, root, err);
    bool first = c->rank == root, last = next_of(r) == root;

    if (rc < 0 || c->world == 1)
        return rc;
    rc = open_exchange(r, next_of(r), previous_of(r), &t, &x, err);
    /* one chunk comes in while the one before goes on */
    for (size_t at = 0; rc == 0 && at < bytes + CHUNK; at += CHUNK) {
        x.in = (char *)buffer + at;
        x.n_in = first || at >= bytes ? 0 : BT_MIN((size_t)CHUNK, bytes - at);
        x.out = (char *)buffer + at - CHUNK;
        x.n_out = last || at == 0 ? 0 : BT_MIN((size_t)CHUNK, bytes - (at - CHUNK));
        rc = run_exchange(r, &x, err);
    }
    return finish(r, rc);
}

static int ring_reduce(struct coll *c, const void *send, void *recv, size_t count,
                       enum coll_type type, struct coll_fold fold, struct bt_err *err)
{
    struct ring *r = (struct ring *)c;
    const struct ticket t = {CALL_REDUCE, type, fold.op, (uint32_t)fold.root, count};
    size_t bytes = count * coll_type_size(type);
    struct exchange x;
    int rc = start(r, fold.root, err);
    bool last = c->rank == fold.root, first = previous_of(r) == fold.root;

    if (rc < 0)
        return rc;
    if (c->world == 1) {
        memmove(recv, send, bytes);
        return 0;
    }
    rc = open_exchange(r, next_of(r), previous_of(r), &t, &x, err);
    for (size_t at = 0; rc == 0 && at < bytes + CHUNK; at += CHUNK) {
        char *half[2] = {r->scratch + CHUNK, r->scratch + 2 * CHUNK};
        int odd = at / CHUNK & 1;

        x.n_in = first || at >= bytes ? 0 : BT_MIN((size_t)CHUNK, bytes - at);
        x.own = (const char *)send + at;
        x.in = last ? (char *)recv + at : half[odd];
        x.n_out = last || at == 0 ? 0 : BT_MIN((size_t)CHUNK, bytes - (at - CHUNK));
        x.out = first ? (const char *)send + at - CHUNK : half[!odd];
        rc = run_exchange(r, &x, err);
    }
    return finish(r, rc);
}

/* ---- between two ---- */

static int swap(struct ring *r, const char *send, char *recv, struct coll_pair pair,
                const struct ticket *t, struct bt_err *err)
{
    size_t bytes = t->count * coll_type_size((enum coll_type)t->type);
    struct exchange x;
    int rc;

    if (pair.to == r->coll.rank && pair.from == r->coll.rank) {
        memmove(recv, send, bytes);
        return 0;
    }
    rc = open_exchange(r, pair.to, pair.from, t, &x, err);
    x.out = send;
    x.in = recv;
    x.n_out = x.n_in = bytes;
    return rc < 0 ? rc : run_exchange(r, &x, err);
}

static int ring_sendrecv(struct coll *c, const void *send, void *recv, size_t count,
                         enum coll_type type, struct coll_pair pair, struct bt_err *err)
{
    struct ring *r = (struct ring *)c;
    const struct ticket t = {CALL_SENDRECV, type, 0, 0, count};
    BT_AUTO char *copy = NULL;
    int rc = start(r, pair.to, err);

    if (rc == 0)
        rc = start(r, pair.from, err);
    if (rc < 0)
        return rc;
    if (send == recv) { /* what comes in must not overtake what goes out */
        copy = bt_memdup(send, count * coll_type_size(type));
        send = copy;
    }
    return finish(r, swap(r, send, recv, pair, &t, err));
}

/* In place, a rank's part of send would be overwritten before it went out: a copy goes first. */
static int ring_alltoall(struct coll *c, const void *send, void *recv, size_t count,
                         enum coll_type type, struct bt_err *err)
{
    struct ring *r = (struct ring *)c;
    const struct ticket t = {CALL_ALLTOALL, type, 0, 0, count};
    size_t bytes = count * coll_type_size(type);
    BT_AUTO char *copy = NULL;
    int rc = start(r, 0, err);

    if (send == recv && rc == 0) {
        copy = bt_memdup(send, bytes * (size_t)c->world);
        send = copy;
    }
    for (int k = 0; rc == 0 && k < c->world; k++) {
        struct coll_pair pair = {.to = (c->rank + k) % c->world, .from = turn(r, k)};

        rc = swap(r, (const char *)send + bytes * (size_t)pair.to,
                  (char *)recv + bytes * (size_t)pair.from, pair, &t, err);
    }
    return rc < 0 && rc != -BT_ERR_INVALID ? finish(r, rc) : rc;
}

/* A token around the ring twice: when the second comes, everybody has come. */
static int ring_barrier(struct coll *c, struct bt_err *err)
{
    int32_t one = 1;

    return ring_all_reduce(c, &one, &one, 1, COLL_I32, COLL_SUM, err);
}

/* ---- opening and closing ---- */

static void ring_close(struct coll *c)
{
    struct ring *r = (struct ring *)c;

    if (!r)
        return;
    (void)finish(r, -BT_ERR_RANK_LOST); /* closes whatever is open */
    bt_wipe(r->config.secret, sizeof r->config.secret);
    bt_free(r->table);
    bt_free(r->to);
    bt_free(r->from);
    bt_free(r->scratch);
    bt_free(r);
}

static int ring_open(const struct coll_config *config, struct coll **ret, struct bt_err *err)
{
    struct ring *r;
    int rc = 0;

    if (config->world < 1 || config->world > COLL_WORLD_MAX || config->rank < 0 ||
        config->rank >= config->world || config->timeout_us <= 0)
        return bt_fail(err, BT_ERR_INVALID, "rank %d of %d cannot be", config->rank, config->world);
    if (config->world > 1 && (!config->host || !config->port || !config->mac))
        return bt_fail(err, BT_ERR_INVALID, "more than one rank need a host, a port and a mac");
    r = bt_new(struct ring);
    r->coll = (struct coll){.ops = &coll_ring, .rank = config->rank, .world = config->world};
    r->config = *config;
    r->listener = -1;
    r->table = bt_new_n(struct ring_address, config->world);
    r->to = bt_new_n(int, config->world);
    r->from = bt_new_n(int, config->world);
    r->scratch = bt_alloc(CHUNK + 2 * (size_t)SEGMENT, 1);
    for (int i = 0; i < config->world; i++)
        r->to[i] = r->from[i] = -1;
    r->deadline_us = bt_mono_us() + config->timeout_us;
    if (config->world > 1)
        rc = ring_meet(r, err);
    r->config.host = NULL; /* borrowed for this call only */
    if (rc < 0) {
        ring_close(&r->coll);
        return rc;
    }
    *ret = &r->coll;
    return 0;
}

const struct coll_ops coll_ring = {
    .name = "ring",
    .open = ring_open,
    .close = ring_close,
    .all_reduce = ring_all_reduce,
    .reduce_scatter = ring_reduce_scatter,
    .all_gather = ring_all_gather,
    .broadcast = ring_broadcast,
    .reduce = ring_reduce,
    .alltoall = ring_alltoall,
    .sendrecv = ring_sendrecv,
    .barrier = ring_barrier,
};
