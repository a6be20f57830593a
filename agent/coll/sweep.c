/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/coll/sweep_own.h"

#include <inttypes.h>
#include <math.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

double sweep_bus_factor(const char *operation, int world)
{
    double n = world;

    switch (sweep_index(sweep_operations, OPERATIONS, operation)) {
    case ALL_REDUCE:
        return 2 * (n - 1) / n;
    case ALL_GATHER:
    case REDUCE_SCATTER:
    case ALLTOALL:
        return (n - 1) / n;
    default:
        return 1;
    }
}

/* ---- data: small whole numbers, exact in every type ---- */

double sweep_value(int rank, size_t i)
{
    return (double)((i * 7 + (size_t)rank * 3) % 5);
}

void sweep_put(void *p, enum coll_type type, size_t i, double v)
{
    switch (type) {
    case COLL_U8:
        ((uint8_t *)p)[i] = (uint8_t)v;
        return;
    case COLL_I32:
        ((int32_t *)p)[i] = (int32_t)v;
        return;
    case COLL_I64:
        ((int64_t *)p)[i] = (int64_t)v;
        return;
    case COLL_F32:
        ((float *)p)[i] = (float)v;
        return;
    case COLL_F64:
        ((double *)p)[i] = v;
        return;
    }
}

double sweep_at(const void *p, enum coll_type type, size_t i)
{
    switch (type) {
    case COLL_U8:
        return ((const uint8_t *)p)[i];
    case COLL_I32:
        return ((const int32_t *)p)[i];
    case COLL_I64:
        return (double)((const int64_t *)p)[i];
    case COLL_F32:
        return (double)((const float *)p)[i];
    case COLL_F64:
        return ((const double *)p)[i];
    }
    return NAN;
}

static double reduced(enum coll_op op, enum coll_type type, int world, size_t i)
{
    double v = sweep_value(0, i);

    for (int r = 1; r < world; r++) {
        double x = sweep_value(r, i);

        v = op == COLL_SUM ? v + x : op == COLL_MIN ? fmin(v, x) : fmax(v, x);
    }
    return type == COLL_U8 ? (double)(uint8_t)(int)v : v;
}

/* ---- one call ---- */

/* Elements per rank or in all from the size of a row, which counts all ranks' together where
 * nccl-tests does. */
static void plan(struct work *w, size_t elements)
{
    size_t world = (size_t)w->c->world;

    w->count = w->n_send = w->n_recv = elements;
    switch (sweep_operation(w->o)) {
    case ALL_GATHER:
        w->count = w->n_send = elements / world;
        w->n_recv = w->count * world;
        return;
    case REDUCE_SCATTER:
        w->count = w->n_recv = elements / world;
        w->n_send = w->count * world;
        return;
    case ALLTOALL:
        w->count = elements / world;
        w->n_send = w->n_recv = w->count * world;
        return;
    default:
        return;
    }
}

/* ---- memory: plain, or a device's ---- */

struct coll *sweep_host(const struct work *w)
{
    return w->o->place ? w->o->place->host : w->c;
}

static void copy(const struct work *w, void *to, const void *from, size_t bytes)
{
    if (w->o->place)
        w->o->place->ops->copy(w->o->place->dev, to, from, bytes);
    else
        memcpy(to, from, bytes);
}

void sweep_put_all(const struct work *w, void *to, const void *from, size_t bytes)
{
    if (w->o->place)
        w->o->place->ops->put(w->o->place->dev, to, from, bytes);
    else
        memcpy(to, from, bytes);
}

int sweep_get_all(const struct work *w, void *to, const void *from, size_t bytes,
                  struct bt_err *err)
{
    if (w->o->place)
        return w->o->place->ops->get(w->o->place->dev, to, from, bytes, err);
    memcpy(to, from, bytes);
    return 0;
}

/* NCCL would read and write one buffer at once. */
static bool has_in_place(const struct work *w)
{
    enum operation k = sweep_operation(w->o);

    return !w->o->place || w->c == w->o->place->host || (k != ALLTOALL && k != SENDRECV);
}

static int call(const struct work *w, const void *send, void *recv, struct bt_err *err)
{
    const struct coll_ops *ops = w->c->ops;
    enum coll_type type = w->o->type;
    int world = w->c->world, rank = w->c->rank;

    switch (sweep_operation(w->o)) {
    case ALL_REDUCE:
        return ops->all_reduce(w->c, send, recv, w->count, type, w->o->op, err);
    case ALL_GATHER:
        return ops->all_gather(w->c, send, recv, w->count, type, err);
    case REDUCE_SCATTER:
        return ops->reduce_scatter(w->c, send, recv, w->count, type, w->o->op, err);
    case BROADCAST:
        if (send != recv && rank == w->o->root)
            copy(w, recv, send, w->count * coll_type_size(type));
        return ops->broadcast(w->c, recv, w->count, type, w->o->root, err);
    case REDUCE:
        return ops->reduce(w->c, send, recv, w->count, type,
                           (struct coll_fold){w->o->op, w->o->root}, err);
    case ALLTOALL:
        return ops->alltoall(w->c, send, recv, w->count, type, err);
    case SENDRECV:
        return ops->sendrecv(
            w->c, send, recv, w->count, type,
            (struct coll_pair){.to = (rank + 1) % world, .from = (rank + world - 1) % world}, err);
    case LINKS:
    case OPERATIONS:
        break;
    }
    return bt_fail(err, BT_ERR_INTERNAL, "no such collective");
}

/* Where send begins when a call works in place. */
static char *in_place(const struct work *w, char *buffer)
{
    size_t own = w->count * coll_type_size(w->o->type) * (size_t)w->c->rank;

    return sweep_operation(w->o) == ALL_GATHER ? buffer + own : buffer;
}

static char *in_place_result(const struct work *w, char *buffer)
{
    size_t own = w->count * coll_type_size(w->o->type) * (size_t)w->c->rank;

    return sweep_operation(w->o) == REDUCE_SCATTER ? buffer + own : buffer;
}

static double expected(const struct work *w, size_t i)
{
    int world = w->c->world, rank = w->c->rank;
    size_t n = w->count ? w->count : 1;

    switch (sweep_operation(w->o)) {
    case ALL_REDUCE:
    case REDUCE:
        return reduced(w->o->op, w->o->type, world, i);
    case ALL_GATHER:
        return sweep_value((int)(i / n), i % n);
    case REDUCE_SCATTER:
        return reduced(w->o->op, w->o->type, world, n * (size_t)rank + i);
    case BROADCAST:
        return sweep_value(w->o->root, i);
    case ALLTOALL:
        return sweep_value((int)(i / n), n * (size_t)rank + i % n);
    case SENDRECV:
        return sweep_value((rank + world - 1) % world, i);
    case LINKS:
    case OPERATIONS:
        break;
    }
    return NAN;
}

/* One call on fresh data, compared element by element; wrong ones of all ranks are summed. */
static int check(const struct work *w, char *send, char *recv, int64_t *ret_wrong,
                 struct bt_err *err)
{
    size_t size = coll_type_size(w->o->type);
    BT_AUTO char *mirror = bt_alloc(BT_MAX(w->n_send, w->n_recv) + 1, size);
    struct coll *host = sweep_host(w);
    int64_t wrong = 0;
    int rc;

    for (size_t i = 0; i < w->n_send; i++)
        sweep_put(mirror, w->o->type, i, sweep_value(w->c->rank, i));
    sweep_put_all(w, send, mirror, w->n_send * size);
    rc = call(w, send, recv, err);
    if (rc == 0)
        rc = sweep_get_all(w, mirror, recv, w->n_recv * size, err);
    if (rc < 0)
        return rc;
    if (sweep_operation(w->o) != REDUCE || w->c->rank == w->o->root) {
        for (size_t i = 0; i < w->n_recv; i++)
            wrong += !(sweep_at(mirror, w->o->type, i) == expected(w, i));
    }
    rc = host->ops->all_reduce(host, &wrong, &wrong, 1, COLL_I64, COLL_SUM, err);
    *ret_wrong = wrong;
    return rc;
}

/* Microseconds of a call: the mean over iterations of the slowest rank. */
static int measure(const struct work *w, const char *send, char *recv, double *ret_us,
                   struct bt_err *err)
{
    double took;
    int64_t start = 0;
    int rc = 0;

    for (int64_t i = -w->o->warmups; rc == 0 && i < w->o->iterations; i++) {
        if (i <= 0) {
            rc = w->c->ops->barrier(w->c, err);
            start = bt_mono_us();
        }
        if (rc == 0)
            rc = call(w, send, recv, err);
    }
    took = (double)(bt_mono_us() - start) / (double)w->o->iterations;
    if (rc == 0)
        rc =
            sweep_host(w)->ops->all_reduce(sweep_host(w), &took, &took, 1, COLL_F64, COLL_MAX, err);
    *ret_us = fmax(took, 1e-3);
    return rc;
}

/* A row of `links`: its time is the slowest link's. */
static int run_links(const struct work *w, struct sweep *s, struct sweep_row *row,
                     struct bt_err *err)
{
    int rc = links_run(w, s->links, err);

    row->size = (int64_t)(w->n_send * coll_type_size(w->o->type));
    row->count = (int64_t)w->count;
    row->wrong[0] = w->o->check ? 0 : -1;
    row->wrong[1] = -1;
    row->bus_gb[0] = INFINITY;
    for (int i = 0; rc == 0 && i < s->n_links; i++) {
        row->bus_gb[0] = fmin(row->bus_gb[0], s->links[i].bus_gb);
        row->wrong[0] += w->o->check ? s->links[i].wrong : 0;
    }
    row->alg_gb[0] = row->bus_gb[0];
    row->time_us[0] = (double)row->size / fmax(row->bus_gb[0], 1e-9) * 1e-3;
    return rc;
}

static int run_row(const struct work *w, struct sweep_row *row, struct bt_err *err)
{
    size_t size = coll_type_size(w->o->type);
    int rc = 0;

    row->size = (int64_t)(BT_MAX(w->n_send, w->n_recv) * size);
    row->count = (int64_t)w->count;
    for (int place = 0; rc == 0 && place < 2; place++) {
        char *send = place ? in_place(w, w->recv) : w->send;
        char *recv = place ? in_place_result(w, w->recv) : w->recv;

        row->wrong[place] = -1;
        if (place && !has_in_place(w))
            continue;
        rc = measure(w, send, recv, &row->time_us[place], err);
        if (rc == 0 && w->o->check)
            rc = check(w, send, recv, &row->wrong[place], err);
        row->alg_gb[place] = (double)row->size / row->time_us[place] * 1e-3;
        row->bus_gb[place] = row->alg_gb[place] * sweep_bus_factor(w->o->operation, w->c->world);
    }
    return rc;
}

static int buffers(struct work *w, size_t bytes, struct bt_err *err)
{
    const struct sweep_place *p = w->o->place;
    void *send = NULL, *recv = NULL;
    int rc = 0;

    if (p) {
        rc = p->ops->alloc(p->dev, bytes, &send, err);
        if (rc == 0)
            rc = p->ops->alloc(p->dev, bytes, &recv, err);
    } else {
        send = bt_alloc(bytes, 1);
        recv = bt_alloc(bytes, 1);
    }
    w->send = send;
    w->recv = recv;
    return rc;
}

static void free_buffers(const struct work *w)
{
    const struct sweep_place *p = w->o->place;

    if (p) {
        p->ops->release(p->dev, w->send);
        p->ops->release(p->dev, w->recv);
        return;
    }
    bt_free(w->send);
    bt_free(w->recv);
}

/* Every rank says where it runs: results belong to nodes. */
static int gather_ranks(const struct sweep_options *o, struct coll *c, struct sweep *s,
                        struct bt_err *err)
{
    struct coll *host = o->place ? o->place->host : c;
    struct sweep_rank *me;

    sweep_done(s);
    s->ranks = bt_new_n(struct sweep_rank, c->world);
    me = &s->ranks[c->rank];
    if (gethostname(me->host, sizeof me->host - 1) < 0)
        bt_copy(me->host, sizeof me->host, "unknown");
    bt_copy(me->device, sizeof me->device, o->place ? o->place->name : "cpu");
    return host->ops->all_gather(host, me, s->ranks, sizeof *me, COLL_U8, err);
}

void sweep_done(struct sweep *s)
{
    bt_free(s->ranks);
    bt_free(s->links);
    s->ranks = NULL;
    s->links = NULL;
    s->n_links = 0;
}

int sweep_run(const struct sweep_options *o, struct coll *c, struct sweep *ret,
              void (*row)(void *arg, const struct sweep_row *), void *arg, struct bt_err *err)
{
    size_t size = coll_type_size(o->type);
    size_t bytes = (size_t)o->max_bytes + size;
    struct work w = {.o = o, .c = c};
    double sum = 0;
    int rc = o->root < c->world
                 ? 0
                 : bt_fail(err, BT_ERR_INVALID, "-r %d: there is no such rank", o->root);

    ret->n = 0;
    ret->wrong = 0;
    ret->start_us = bt_now_us();
    if (rc == 0)
        rc = gather_ranks(o, c, ret, err);
    if (rc == 0 && sweep_operation(o) == LINKS && c->world < 2)
        rc = bt_fail(err, BT_ERR_INVALID, "links are between two ranks at least");
    if (rc == 0)
        rc = buffers(&w, bytes, err);
    if (rc == 0 && sweep_operation(o) == LINKS) {
        ret->links = bt_new_n(struct sweep_link, c->world);
        ret->n_links = c->world == 2 ? 1 : c->world;
    }
    for (int64_t at_bytes = o->min_bytes; rc == 0 && at_bytes <= o->max_bytes;) {
        struct sweep_row *to = &ret->rows[ret->n];

        if (ret->n == SWEEP_ROWS_MAX) {
            rc = bt_fail(err, BT_ERR_TOO_LARGE, "more than %d sizes", SWEEP_ROWS_MAX);
            break;
        }
        plan(&w, (size_t)at_bytes / size);
        rc = ret->links ? run_links(&w, ret, to, err) : run_row(&w, to, err);
        if (rc < 0)
            break;
        ret->n++;
        ret->wrong += BT_MAX(to->wrong[0], 0) + BT_MAX(to->wrong[1], 0);
        sum += to->time_us[1] > 0 ? (to->bus_gb[0] + to->bus_gb[1]) / 2 : to->bus_gb[0];
        if (row && c->rank == 0)
            row(arg, to);
        at_bytes = o->step_bytes ? at_bytes + o->step_bytes
                                 : BT_MAX((int64_t)((double)at_bytes * o->factor), at_bytes + 1);
    }
    free_buffers(&w);
    ret->end_us = bt_now_us();
    ret->average_bus_gb = ret->n ? sum / ret->n : 0;
    return rc;
}

/* ---- text ---- */

void sweep_head(const struct sweep_options *o, const struct coll *c, struct bt_buf *to)
{
    bt_buf_printf(to,
                  "# %s over %s, %d ranks, minBytes %" PRId64 " maxBytes %" PRId64
                  " warmup %" PRId64 " iters %" PRId64 " validation %d\n#\n",
                  o->operation, c->ops->name, c->world, o->min_bytes, o->max_bytes, o->warmups,
                  o->iterations, o->check);
    bt_buf_str(to,
               "#                                                              out-of-place     "
               "                  in-place\n"
               "#       size         count      type   redop    root     time   algbw   busbw "
               "#wrong     time   algbw   busbw #wrong\n"
               "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)  "
               "           (us)  (GB/s)  (GB/s)\n");
}

static bool reduces(const struct sweep_options *o)
{
    enum operation k = sweep_operation(o);

    return k == ALL_REDUCE || k == REDUCE_SCATTER || k == REDUCE;
}

static bool has_root(const struct sweep_options *o)
{
    return sweep_operation(o) == BROADCAST || sweep_operation(o) == REDUCE;
}

void sweep_line(const struct sweep_options *o, const struct sweep_row *r, struct bt_buf *to)
{
    bt_buf_printf(to, "%12" PRId64 "  %12" PRId64 "  %8s  %6s  %6d", r->size, r->count,
                  sweep_types[o->type], reduces(o) ? sweep_ops[o->op] : "none",
                  has_root(o) ? o->root : -1);
    for (int i = 0; i < 2; i++) {
        if (r->time_us[i] > 0)
            bt_buf_printf(to, "  %7.1f  %6.2f  %6.2f", r->time_us[i], r->alg_gb[i], r->bus_gb[i]);
        else
            bt_buf_str(to, "      N/A     N/A     N/A");
        if (r->wrong[i] < 0)
            bt_buf_str(to, "    N/A");
        else
            bt_buf_printf(to, "  %5" PRId64, r->wrong[i]);
    }
    bt_buf_char(to, '\n');
}

void sweep_foot(const struct sweep *s, struct bt_buf *to)
{
    bt_buf_printf(to, "# Out of bounds values : %" PRId64 " %s\n# Avg bus bandwidth    : %g\n",
                  s->wrong, s->wrong ? "FAILED" : "OK", s->average_bus_gb);
}

int sweep_verdict(const struct sweep_options *o, const struct sweep *s, struct bt_err *err)
{
    if (s->wrong)
        return bt_fail(err, BT_ERR_CORRUPT, "%lld values are wrong", (long long)s->wrong);
    if (s->average_bus_gb < 0.9 * o->min_bus_gb)
        return bt_fail(
            err, BT_ERR_INVALID,
            "the average bus bandwidth, %.3g GB/s, is below 0.9 x %.3g (NCCL_TESTS_MIN_BW)",
            s->average_bus_gb, o->min_bus_gb);
    return 0;
}

static void json_place(struct json_writer *w, const char *key, const struct sweep_row *r, int i)
{
    if (!(r->time_us[i] > 0)) {
        jw_null(w, key);
        return;
    }
    jw_object(w, key);
    jw_f64(w, "time", r->time_us[i]);
    jw_f64(w, "alg_bw", r->alg_gb[i]);
    jw_f64(w, "bus_bw", r->bus_gb[i]);
    if (r->wrong[i] < 0)
        jw_null(w, "nwrong");
    else
        jw_i64(w, "nwrong", r->wrong[i]);
    jw_end_object(w);
}

void sweep_json(const struct sweep_options *o, const struct coll *c, const struct sweep *s,
                struct bt_buf *to)
{
    struct json_writer w = {.to = to};

    jw_object(&w, NULL);
    jw_i64(&w, "version", 3);
    jw_i64(&w, "start_time", s->start_us / BT_US_PER_S);
    jw_i64(&w, "end_time", s->end_us / BT_US_PER_S);
    jw_str(&w, "program", "beamtime-coll " BT_VERSION);
    jw_object(&w, "config");
    jw_str(&w, "operation", o->operation);
    jw_str(&w, "backend", c->ops->name);
    jw_i64(&w, "ranks", c->world);
    jw_i64(&w, "iterations", o->iterations);
    jw_i64(&w, "warmups", o->warmups);
    jw_array(&w, "devices");
    for (int i = 0; s->ranks && i < c->world; i++) {
        jw_object(&w, NULL);
        jw_i64(&w, "rank", i);
        jw_str(&w, "host", s->ranks[i].host);
        jw_str(&w, "device", s->ranks[i].device);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    jw_end_object(&w);
    jw_array(&w, "results");
    for (int i = 0; i < s->n; i++) {
        const struct sweep_row *r = &s->rows[i];

        jw_object(&w, NULL);
        jw_i64(&w, "size", r->size);
        jw_i64(&w, "count", r->count);
        jw_str(&w, "type", sweep_types[o->type]);
        jw_str(&w, "redop", reduces(o) ? sweep_ops[o->op] : "none");
        jw_i64(&w, "root", has_root(o) ? o->root : -1);
        json_place(&w, "out_of_place", r, 0);
        json_place(&w, "in_place", r, 1);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    if (s->links) {
        jw_array(&w, "links");
        for (int i = 0; i < s->n_links; i++) {
            jw_object(&w, NULL);
            jw_i64(&w, "from", i);
            jw_i64(&w, "to", (i + 1) % c->world);
            jw_f64(&w, "bus_bw", s->links[i].bus_gb);
            jw_i64(&w, "nwrong", s->links[i].wrong);
            jw_end_object(&w);
        }
        jw_end_array(&w);
    }
    jw_i64(&w, "out_of_bounds", s->wrong);
    jw_f64(&w, "average_bus_bandwidth", s->average_bus_gb);
    jw_i64(&w, "errors", s->wrong || s->average_bus_gb < 0.9 * o->min_bus_gb);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}
