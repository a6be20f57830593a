/* collective_nccl.c - collective.h over NCCL, between memory of devices.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The ranks have met already (over the ring, which proved that they belong
 * together); that communicator carries NCCL's id. NCCL's own is non-blocking:
 * a call is queued on the device's stream and then watched, the queue and
 * ncclCommGetAsyncError in turn, until it is done, a peer is lost or the deadline
 * has come. Then the communicator is aborted and stays broken. Closing aborts
 * too: that waits for nobody.
 * Sources: NVIDIA's "NCCL User Guide" 2.28, "Fault Tolerance" and the API. */
#include <cuda_runtime_api.h>
#include <nccl.h>
#include <time.h>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/library.h"
#include "lib/base/time.h"

enum { SPIN_US = 2000, NAP_NS = 50000 };

/* X(field, function) */
#define NCCL_FUNCTIONS(X)                \
    X(version, ncclGetVersion)           \
    X(make_id, ncclGetUniqueId)          \
    X(init, ncclCommInitRankConfig)      \
    X(abort, ncclCommAbort)              \
    X(async, ncclCommGetAsyncError)      \
    X(error, ncclGetErrorString)         \
    X(all_reduce, ncclAllReduce)         \
    X(reduce_scatter, ncclReduceScatter) \
    X(all_gather, ncclAllGather)         \
    X(broadcast, ncclBroadcast)          \
    X(reduce, ncclReduce)                \
    X(send, ncclSend)                    \
    X(recv, ncclRecv)                    \
    X(group_start, ncclGroupStart)       \
    X(group_end, ncclGroupEnd)

struct nccl {
    void *library;
    int code; /* of the release: 22809 */
#define X(field, function) __typeof__(&(function)) field;
    NCCL_FUNCTIONS(X)
#undef X
};

struct nccl_coll {
    struct coll coll; /* first: a struct coll points here */
    struct nccl nccl;
    struct cuda *device;
    ncclComm_t comm;
    void *flag; /* 8 bytes of device memory for barriers */
    int64_t timeout_us;
    int broken; /* the error that every later call returns */
};

static const struct coll_ops nccl_ops;

static struct nccl_coll *of(struct coll *c)
{
    return (struct nccl_coll *)c;
}

static bool load(struct nccl *n)
{
    bool all = true;

    n->library = library_open("libnccl.so.2");
    if (!n->library)
        return false;
#define X(field, function) \
    all = library_bind(n->library, #function, &n->field, sizeof n->field) && all;
    NCCL_FUNCTIONS(X)
#undef X
    /* non-blocking communicators came with 2.14; the layout of ncclConfig_t says its own size */
    return all && n->version(&n->code) == ncclSuccess && n->code >= 21400;
}

/* ---- waiting, with a deadline ---- */

/* Nothing else may be in NCCL while it aborts: one thread uses a communicator. */
static int give_up(struct nccl_coll *n, enum bt_errno code, const char *why, struct bt_err *err)
{
    if (n->comm)
        (void)n->nccl.abort(n->comm);
    n->comm = NULL;
    n->broken = (int)code;
    return bt_fail(err, code, "NCCL: rank %d of %d: %s", n->coll.rank, n->coll.world, why);
}

static void nap(int64_t since_us)
{
    const struct timespec t = {.tv_nsec = NAP_NS};

    if (bt_mono_us() - since_us > SPIN_US)
        (void)nanosleep(&t, NULL); /* neither NCCL nor a stream can be waited for with a deadline */
}

/* Watches the communicator until nothing is in progress, and the stream as well if `stream`. */
static int watch(struct nccl_coll *n, bool stream, struct bt_err *err)
{
    int64_t start = bt_mono_us();

    for (;;) {
        ncclResult_t state = ncclSuccess, asked = n->nccl.async(n->comm, &state);
        cudaError_t queue = stream ? cudaStreamQuery(n->device->stream) : cudaSuccess;

        if (asked != ncclSuccess)
            return give_up(n, BT_ERR_RANK_LOST, n->nccl.error(asked), err);
        if (state != ncclSuccess && state != ncclInProgress)
            return give_up(n, BT_ERR_RANK_LOST, n->nccl.error(state), err);
        (void)cudaGetLastError(); /* "not ready" would stay behind as an error */
        if (queue != cudaSuccess && queue != cudaErrorNotReady)
            return give_up(n, BT_ERR_IO, cudaGetErrorString(queue), err);
        if (state == ncclSuccess && queue == cudaSuccess)
            return 0;
        if (bt_mono_us() - start > n->timeout_us)
            return give_up(n, BT_ERR_TIMEOUT, "a call did not end in time; a rank may be lost",
                           err);
        nap(start);
    }
}

/* A call was queued with this outcome: until its data is there. */
static int finish(struct nccl_coll *n, ncclResult_t queued, struct bt_err *err)
{
    int rc;

    if (queued != ncclSuccess && queued != ncclInProgress)
        return give_up(n, BT_ERR_RANK_LOST, n->nccl.error(queued), err);
    rc = watch(n, false, err); /* only then is all of it on the stream */
    return rc < 0 ? rc : watch(n, true, err);
}

static int check(const struct nccl_coll *n, int root, struct bt_err *err)
{
    if (n->broken)
        return bt_fail(err, (enum bt_errno)n->broken, "NCCL: the communicator is broken");
    if (root < 0 || root >= n->coll.world)
        return bt_fail(err, BT_ERR_INVALID, "there is no rank %d of %d", root, n->coll.world);
    return 0;
}

static ncclDataType_t type_of(enum coll_type type)
{
    static const ncclDataType_t types[] = {[COLL_U8] = ncclUint8,
                                           [COLL_I32] = ncclInt32,
                                           [COLL_I64] = ncclInt64,
                                           [COLL_F32] = ncclFloat32,
                                           [COLL_F64] = ncclFloat64};

    return types[type];
}

static ncclRedOp_t op_of(enum coll_op op)
{
    return op == COLL_SUM ? ncclSum : op == COLL_MIN ? ncclMin : ncclMax;
}

/* ---- the calls ---- */

static int nccl_all_reduce(struct coll *c, const void *send, void *recv, size_t count,
                           enum coll_type type, enum coll_op op, struct bt_err *err)
{
    struct nccl_coll *n = of(c);
    int rc = check(n, 0, err);

    return rc < 0 ? rc
                  : finish(n,
                           n->nccl.all_reduce(send, recv, count, type_of(type), op_of(op), n->comm,
                                              n->device->stream),
                           err);
}

static int nccl_reduce_scatter(struct coll *c, const void *send, void *recv, size_t count,
                               enum coll_type type, enum coll_op op, struct bt_err *err)
{
    struct nccl_coll *n = of(c);
    int rc = check(n, 0, err);

    return rc < 0 ? rc
                  : finish(n,
                           n->nccl.reduce_scatter(send, recv, count, type_of(type), op_of(op),
                                                  n->comm, n->device->stream),
                           err);
}

static int nccl_all_gather(struct coll *c, const void *send, void *recv, size_t count,
                           enum coll_type type, struct bt_err *err)
{
    struct nccl_coll *n = of(c);
    int rc = check(n, 0, err);

    return rc < 0 ? rc
                  : finish(n,
                           n->nccl.all_gather(send, recv, count, type_of(type), n->comm,
                                              n->device->stream),
                           err);
}

static int nccl_broadcast(struct coll *c, void *buffer, size_t count, enum coll_type type, int root,
                          struct bt_err *err)
{
    struct nccl_coll *n = of(c);
    int rc = check(n, root, err);

    return rc < 0 ? rc
                  : finish(n,
                           n->nccl.broadcast(buffer, buffer, count, type_of(type), root, n->comm,
                                             n->device->stream),
                           err);
}

static int nccl_reduce(struct coll *c, const void *send, void *recv, size_t count,
                       enum coll_type type, struct coll_fold fold, struct bt_err *err)
{
    struct nccl_coll *n = of(c);
    int rc = check(n, fold.root, err);

    return rc < 0 ? rc
                  : finish(n,
                           n->nccl.reduce(send, recv, count, type_of(type), op_of(fold.op),
                                          fold.root, n->comm, n->device->stream),
                           err);
}

/* The first failure of a group's calls, else what its end says. */
static ncclResult_t end_group(const struct nccl_coll *n, ncclResult_t first)
{
    ncclResult_t end = n->nccl.group_end();

    return first != ncclSuccess && first != ncclInProgress ? first : end;
}

static int exchange(struct nccl_coll *n, ncclResult_t r, struct bt_err *err)
{
    return finish(n, end_group(n, r), err);
}

static int nccl_alltoall(struct coll *c, const void *send, void *recv, size_t count,
                         enum coll_type type, struct bt_err *err)
{
    struct nccl_coll *n = of(c);
    size_t bytes = count * coll_type_size(type);
    ncclResult_t r = ncclSuccess;
    int rc = check(n, 0, err);

    if (rc < 0)
        return rc;
    if (send == recv)
        return bt_fail(err, BT_ERR_INVALID, "NCCL has no alltoall in place");
    r = n->nccl.group_start();
    for (int p = 0; r == ncclSuccess && p < c->world; p++) {
        r = n->nccl.send((const char *)send + (size_t)p * bytes, count, type_of(type), p, n->comm,
                         n->device->stream);
        if (r == ncclSuccess || r == ncclInProgress)
            r = n->nccl.recv((char *)recv + (size_t)p * bytes, count, type_of(type), p, n->comm,
                             n->device->stream);
        if (r == ncclInProgress)
            r = ncclSuccess;
    }
    return exchange(n, r, err);
}

static int nccl_sendrecv(struct coll *c, const void *send, void *recv, size_t count,
                         enum coll_type type, struct coll_pair pair, struct bt_err *err)
{
    struct nccl_coll *n = of(c);
    ncclResult_t r;
    int rc = check(n, pair.to, err);

    if (rc == 0)
        rc = check(n, pair.from, err);
    if (rc < 0)
        return rc;
    r = n->nccl.group_start();
    if (r == ncclSuccess)
        r = n->nccl.send(send, count, type_of(type), pair.to, n->comm, n->device->stream);
    if (r == ncclSuccess || r == ncclInProgress)
        r = n->nccl.recv(recv, count, type_of(type), pair.from, n->comm, n->device->stream);
    return exchange(n, r, err);
}

static int nccl_barrier(struct coll *c, struct bt_err *err)
{
    struct nccl_coll *n = of(c);

    return nccl_all_reduce(c, n->flag, n->flag, 1, COLL_I32, COLL_SUM, err);
}

static void nccl_close(struct coll *c)
{
    struct nccl_coll *n = of(c);

    if (!c)
        return;
    if (n->comm)
        (void)n->nccl.abort(n->comm);
    if (n->flag)
        back_release(n->device, n->flag);
    if (n->nccl.library)
        dlclose(n->nccl.library);
    bt_free(n);
}

static int nccl_open_alone(const struct coll_config *config, struct coll **ret, struct bt_err *err)
{
    (void)config;
    (void)ret;
    return bt_fail(err, BT_ERR_UNSUPPORTED, "NCCL needs a device: use cuda_ops.coll_open");
}

static const struct coll_ops nccl_ops = {
    .name = "nccl",
    .open = nccl_open_alone,
    .close = nccl_close,
    .all_reduce = nccl_all_reduce,
    .reduce_scatter = nccl_reduce_scatter,
    .all_gather = nccl_all_gather,
    .broadcast = nccl_broadcast,
    .reduce = nccl_reduce,
    .alltoall = nccl_alltoall,
    .sendrecv = nccl_sendrecv,
    .barrier = nccl_barrier,
};

/* ---- meeting ---- */

/* Whether every rank loaded the same release; said to all before anybody waits in NCCL. */
static int agree(struct coll *meet, const struct nccl *n, bool have, struct bt_err *err)
{
    int64_t low = have ? n->code : 0, high = low;
    int rc = meet->ops->all_reduce(meet, &low, &low, 1, COLL_I64, COLL_MIN, err);

    if (rc == 0)
        rc = meet->ops->all_reduce(meet, &high, &high, 1, COLL_I64, COLL_MAX, err);
    if (rc < 0)
        return rc;
    if (!low)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "a rank has no NCCL (libnccl.so.2, 2.14 or newer)");
    if (low != high)
        return bt_fail(err, BT_ERR_CONFLICT, "ranks have NCCL %lld and %lld", (long long)low,
                       (long long)high);
    return 0;
}

static int join(struct nccl_coll *n, struct coll *meet, struct bt_err *err)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id = {0};
    ncclResult_t r = meet->rank ? ncclSuccess : n->nccl.make_id(&id);
    int rc = meet->ops->broadcast(meet, &id, sizeof id, COLL_U8, 0, err);

    if (rc < 0)
        return rc;
    if (r != ncclSuccess)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "NCCL: %s", n->nccl.error(r));
    config.blocking = 0;
    r = n->nccl.init(&n->comm, meet->world, id, meet->rank, &config);
    if (r != ncclSuccess && r != ncclInProgress) {
        n->comm = NULL;
        return bt_fail(err, BT_ERR_UNSUPPORTED, "NCCL: %s", n->nccl.error(r));
    }
    return watch(n, false, err);
}

int back_coll_open(struct cuda *c, struct coll *meet, int64_t timeout_us, struct coll **ret,
                   struct bt_err *err)
{
    struct nccl_coll *n = bt_new(struct nccl_coll);
    bool have;
    int rc;

    n->coll = (struct coll){.ops = &nccl_ops, .rank = meet->rank, .world = meet->world};
    n->device = c;
    n->timeout_us = timeout_us;
    setenv("NCCL_RAS_ENABLE", "0", 0); /* its fixed port would clash between jobs of a node */
    have = load(&n->nccl) && back_alloc(c, sizeof(int64_t), &n->flag) == 0 &&
           back_zero(c, n->flag, sizeof(int64_t)) == 0;
    rc = agree(meet, &n->nccl, have, err);
    if (rc == 0)
        rc = join(n, meet, err);
    if (rc < 0)
        nccl_close(&n->coll);
    else
        *ret = &n->coll;
    return rc;
}
