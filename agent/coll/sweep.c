/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/coll/sweep.h"

#include <inttypes.h>
#include <math.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

static const char *const type_names[] = {"uint8", "int32", "int64", "float", "double"};
static const char *const op_names[] = {"sum", "min", "max"};
static const char *const operations[] = {"all_reduce", "all_gather", "reduce_scatter", "broadcast",
                                         "reduce",     "alltoall",   "sendrecv"};
enum operation { ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, BROADCAST, REDUCE, ALLTOALL, SENDRECV };

static int index_of(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (bt_streq(names[i], name))
            return (int)i;
    }
    return -1;
}

static enum operation operation_of(const struct sweep_options *o)
{
    return (enum operation)index_of(operations, BT_ARRAY_LEN(operations), o->operation);
}

/* ---- options ---- */

void sweep_defaults(struct sweep_options *o)
{
    *o = (struct sweep_options){.min_bytes = 32 << 20,
                                .max_bytes = 32 << 20,
                                .factor = 2,
                                .iterations = 20,
                                .warmups = 1,
                                .check = true,
                                .type = COLL_F32};
    bt_copy(o->operation, sizeof o->operation, operations[ALL_REDUCE]);
}

/* "64M" counts binary, as there. */
static int parse_size(const char *text, const char *what, int64_t *ret, struct bt_err *err)
{
    BT_AUTO char *copy = bt_strdup(text);
    size_t n = strlen(copy);
    int64_t unit = 1, v;
    int rc;

    if (n && strchr("kKmMgG", copy[n - 1])) {
        unit = strchr("kK", copy[n - 1]) ? 1024 : strchr("mM", copy[n - 1]) ? 1 << 20 : 1 << 30;
        copy[n - 1] = '\0';
    }
    rc = bt_parse_i64(copy, what, 0, SWEEP_BYTES_MAX / unit, &v, err);
    if (rc == 0)
        *ret = v * unit;
    return rc;
}

static int parse_name(const char *text, const char *what, const char *const *names, size_t n,
                      int *ret, struct bt_err *err)
{
    int i = index_of(names, n, text);

    if (i < 0)
        return bt_fail(err, BT_ERR_INVALID, "%s '%.40s' is not known here", what, text);
    *ret = i;
    return 0;
}

static int parse_option(struct sweep_options *o, char letter, const char *text, struct bt_err *err)
{
    int64_t v = 0;
    int i = 0, rc;

    switch (letter) {
    case 'b':
        return parse_size(text, "-b", &o->min_bytes, err);
    case 'e':
        return parse_size(text, "-e", &o->max_bytes, err);
    case 'i':
        return parse_size(text, "-i", &o->step_bytes, err);
    case 'f':
        rc = bt_parse_f64(text, "-f", &o->factor, err);
        return rc < 0 || o->factor >= 1.1
                   ? rc
                   : bt_fail(err, BT_ERR_INVALID, "-f is %s, below 1.1", text);
    case 'n':
        return bt_parse_i64(text, "-n", 1, 1000000, &o->iterations, err);
    case 'w':
        return bt_parse_i64(text, "-w", 0, 1000000, &o->warmups, err);
    case 'c':
        rc = bt_parse_i64(text, "-c", 0, 1, &v, err);
        o->check = v != 0;
        return rc;
    case 'o':
        rc = parse_name(text, "-o", op_names, BT_ARRAY_LEN(op_names), &i, err);
        o->op = (enum coll_op)i;
        return rc;
    case 'd':
        rc = parse_name(text, "-d", type_names, BT_ARRAY_LEN(type_names), &i, err);
        o->type = (enum coll_type)i;
        return rc;
    case 'r':
        rc = bt_parse_i64(text, "-r", 0, COLL_WORLD_MAX - 1, &v, err);
        o->root = (int)v;
        return rc;
    case 'J':
        return bt_copy(o->json, sizeof o->json, text)
                   ? 0
                   : bt_fail(err, BT_ERR_TOO_LARGE, "-J names too long a path");
    default:
        return bt_fail(err, BT_ERR_USAGE, "no option -%c", letter);
    }
}

int sweep_parse(struct sweep_options *ret, int n, char **words, struct bt_err *err)
{
    struct sweep_options o = *ret;
    int rc = 0, i = 0, which;

    if (n && words[0][0] != '-') {
        rc = parse_name(words[i++], "the collective", operations, BT_ARRAY_LEN(operations), &which,
                        err);
        bt_copy(o.operation, sizeof o.operation, words[0]);
    }
    for (; rc == 0 && i < n; i += 2) {
        if (words[i][0] != '-' || strlen(words[i]) != 2 || i + 1 == n)
            rc = bt_fail(err, BT_ERR_USAGE, "'%.40s' is not an option with a value", words[i]);
        else
            rc = parse_option(&o, words[i][1], words[i + 1], err);
    }
    if (rc == 0 && o.max_bytes < o.min_bytes)
        rc = bt_fail(err, BT_ERR_INVALID, "-e is below -b");
    if (rc == 0)
        *ret = o;
    return rc;
}

double sweep_bus_factor(const char *operation, int world)
{
    double n = world;

    switch (index_of(operations, BT_ARRAY_LEN(operations), operation)) {
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

static double value(int rank, size_t i)
{
    return (double)((i * 7 + (size_t)rank * 3) % 5);
}

static void put(void *p, enum coll_type type, size_t i, double v)
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

static double at(const void *p, enum coll_type type, size_t i)
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
    double v = value(0, i);

    for (int r = 1; r < world; r++) {
        double x = value(r, i);

        v = op == COLL_SUM ? v + x : op == COLL_MIN ? fmin(v, x) : fmax(v, x);
    }
    return type == COLL_U8 ? (double)(uint8_t)(int)v : v;
}

/* ---- one call ---- */

struct work {
    const struct sweep_options *o;
    struct coll *c;
    size_t count; /* of the call */
    size_t n_send, n_recv;
    char *send, *recv; /* two buffers of the larger size */
};

/* Elements per rank or in all from the size of a row, which counts all ranks' together where
 * nccl-tests does. */
static void plan(struct work *w, size_t elements)
{
    size_t world = (size_t)w->c->world;

    w->count = w->n_send = w->n_recv = elements;
    switch (operation_of(w->o)) {
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

static int call(const struct work *w, const void *send, void *recv, struct bt_err *err)
{
    const struct coll_ops *ops = w->c->ops;
    enum coll_type type = w->o->type;
    int world = w->c->world, rank = w->c->rank;

    switch (operation_of(w->o)) {
    case ALL_REDUCE:
        return ops->all_reduce(w->c, send, recv, w->count, type, w->o->op, err);
    case ALL_GATHER:
        return ops->all_gather(w->c, send, recv, w->count, type, err);
    case REDUCE_SCATTER:
        return ops->reduce_scatter(w->c, send, recv, w->count, type, w->o->op, err);
    case BROADCAST:
        if (send != recv && rank == w->o->root)
            memcpy(recv, send, w->count * coll_type_size(type));
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
    }
    return bt_fail(err, BT_ERR_INTERNAL, "no such collective");
}

/* Where send begins when a call works in place. */
static char *in_place(const struct work *w, char *buffer)
{
    size_t own = w->count * coll_type_size(w->o->type) * (size_t)w->c->rank;

    return operation_of(w->o) == ALL_GATHER ? buffer + own : buffer;
}

static char *in_place_result(const struct work *w, char *buffer)
{
    size_t own = w->count * coll_type_size(w->o->type) * (size_t)w->c->rank;

    return operation_of(w->o) == REDUCE_SCATTER ? buffer + own : buffer;
}

static double expected(const struct work *w, size_t i)
{
    int world = w->c->world, rank = w->c->rank;
    size_t n = w->count ? w->count : 1;

    switch (operation_of(w->o)) {
    case ALL_REDUCE:
    case REDUCE:
        return reduced(w->o->op, w->o->type, world, i);
    case ALL_GATHER:
        return value((int)(i / n), i % n);
    case REDUCE_SCATTER:
        return reduced(w->o->op, w->o->type, world, n * (size_t)rank + i);
    case BROADCAST:
        return value(w->o->root, i);
    case ALLTOALL:
        return value((int)(i / n), n * (size_t)rank + i % n);
    case SENDRECV:
        return value((rank + world - 1) % world, i);
    }
    return NAN;
}

/* One call on fresh data, compared element by element; wrong ones of all ranks are summed. */
static int check(const struct work *w, const char *send, char *recv, int64_t *ret_wrong,
                 struct bt_err *err)
{
    int64_t wrong = 0;
    int rc;

    for (size_t i = 0; i < w->n_send; i++)
        put((void *)(uintptr_t)send, w->o->type, i, value(w->c->rank, i));
    rc = call(w, send, recv, err);
    if (rc < 0)
        return rc;
    if (operation_of(w->o) != REDUCE || w->c->rank == w->o->root) {
        for (size_t i = 0; i < w->n_recv; i++)
            wrong += !(at(recv, w->o->type, i) == expected(w, i));
    }
    rc = w->c->ops->all_reduce(w->c, &wrong, &wrong, 1, COLL_I64, COLL_SUM, err);
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
        rc = w->c->ops->all_reduce(w->c, &took, &took, 1, COLL_F64, COLL_MAX, err);
    *ret_us = fmax(took, 1e-3);
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
        rc = measure(w, send, recv, &row->time_us[place], err);
        if (rc == 0 && w->o->check)
            rc = check(w, send, recv, &row->wrong[place], err);
        row->alg_gb[place] = (double)row->size / row->time_us[place] * 1e-3;
        row->bus_gb[place] = row->alg_gb[place] * sweep_bus_factor(w->o->operation, w->c->world);
    }
    return rc;
}

int sweep_run(const struct sweep_options *o, struct coll *c, struct sweep *ret,
              void (*row)(void *arg, const struct sweep_row *), void *arg, struct bt_err *err)
{
    size_t size = coll_type_size(o->type);
    size_t bytes = (size_t)o->max_bytes + size;
    BT_AUTO char *send = bt_alloc(bytes, 1), *recv = bt_alloc(bytes, 1);
    struct work w = {.o = o, .c = c, .send = send, .recv = recv};
    double sum = 0;
    int rc = o->root < c->world
                 ? 0
                 : bt_fail(err, BT_ERR_INVALID, "-r %d: there is no such rank", o->root);

    ret->n = 0;
    ret->wrong = 0;
    for (int64_t at_bytes = o->min_bytes; rc == 0 && at_bytes <= o->max_bytes;) {
        struct sweep_row *to = &ret->rows[ret->n];

        if (ret->n == SWEEP_ROWS_MAX)
            return bt_fail(err, BT_ERR_TOO_LARGE, "more than %d sizes", SWEEP_ROWS_MAX);
        plan(&w, (size_t)at_bytes / size);
        rc = run_row(&w, to, err);
        if (rc < 0)
            return rc;
        ret->n++;
        ret->wrong += BT_MAX(to->wrong[0], 0) + BT_MAX(to->wrong[1], 0);
        sum += (to->bus_gb[0] + to->bus_gb[1]) / 2;
        if (row && c->rank == 0)
            row(arg, to);
        at_bytes = o->step_bytes ? at_bytes + o->step_bytes
                                 : BT_MAX((int64_t)((double)at_bytes * o->factor), at_bytes + 1);
    }
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
    enum operation k = operation_of(o);

    return k == ALL_REDUCE || k == REDUCE_SCATTER || k == REDUCE;
}

static bool has_root(const struct sweep_options *o)
{
    return operation_of(o) == BROADCAST || operation_of(o) == REDUCE;
}

void sweep_line(const struct sweep_options *o, const struct sweep_row *r, struct bt_buf *to)
{
    bt_buf_printf(to, "%12" PRId64 "  %12" PRId64 "  %8s  %6s  %6d", r->size, r->count,
                  type_names[o->type], reduces(o) ? op_names[o->op] : "none",
                  has_root(o) ? o->root : -1);
    for (int i = 0; i < 2; i++) {
        bt_buf_printf(to, "  %7.1f  %6.2f  %6.2f", r->time_us[i], r->alg_gb[i], r->bus_gb[i]);
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

static void json_place(struct json_writer *w, const char *key, const struct sweep_row *r, int i)
{
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
    jw_str(&w, "program", "beamtime-coll " BT_VERSION);
    jw_object(&w, "config");
    jw_str(&w, "operation", o->operation);
    jw_str(&w, "backend", c->ops->name);
    jw_i64(&w, "ranks", c->world);
    jw_i64(&w, "iterations", o->iterations);
    jw_i64(&w, "warmups", o->warmups);
    jw_end_object(&w);
    jw_array(&w, "results");
    for (int i = 0; i < s->n; i++) {
        const struct sweep_row *r = &s->rows[i];

        jw_object(&w, NULL);
        jw_i64(&w, "size", r->size);
        jw_i64(&w, "count", r->count);
        jw_str(&w, "type", type_names[o->type]);
        jw_str(&w, "redop", reduces(o) ? op_names[o->op] : "none");
        jw_i64(&w, "root", has_root(o) ? o->root : -1);
        json_place(&w, "out_of_place", r, 0);
        json_place(&w, "in_place", r, 1);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    jw_i64(&w, "out_of_bounds", s->wrong);
    jw_f64(&w, "average_bus_bandwidth", s->average_bus_gb);
    jw_end_object(&w);
    bt_buf_char(to, '\n');
}
