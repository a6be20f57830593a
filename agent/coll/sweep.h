/* sweep.h - one collective over a range of sizes: timed, checked, printed as nccl-tests does.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Options, columns and bandwidth factors follow NVIDIA's nccl-tests (2.19,
 * doc/PERFORMANCE.md): algbw = size / time; busbw = algbw times 2(n-1)/n for all_reduce, (n-1)/n
 * for all_gather, reduce_scatter and alltoall (size: all ranks' together), 1 for
 * broadcast, reduce and sendrecv. `links` is ours: each pair of neighbours on the ring of ranks
 * swaps size bytes for itself, several pairs at a time, so that a slow one is known. A rank checks
 * every result; the environment is never printed. */
#ifndef BT_COLL_SWEEP_H
#define BT_COLL_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/collective.h"
#include "kernels/cuda/cuda.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { SWEEP_ROWS_MAX = 64, SWEEP_BYTES_MAX = 1 << 30 };

/* Where buffers lie when not in plain memory. host carries what ranks tell each other. */
struct sweep_place {
    const struct cuda_ops *ops;
    struct cuda *dev;
    struct coll *host;
    char name[64]; /* of the device */
};

struct sweep_options {
    char operation[16]; /* all_reduce all_gather reduce_scatter broadcast reduce alltoall sendrecv
                         * links */
    int64_t min_bytes, max_bytes;    /* -b -e */
    int64_t step_bytes;              /* -i; 0: multiply */
    double factor;                   /* -f */
    int64_t iterations, warmups;     /* -n -w */
    bool check;                      /* -c */
    double min_bus_gb;               /* $NCCL_TESTS_MIN_BW: an average below 0.9 of it fails */
    enum coll_op op;                 /* -o sum min max */
    enum coll_type type;             /* -d uint8 int32 int64 float double */
    int root;                        /* -r */
    char json[256];                  /* -J FILE; "" none */
    int64_t timeout_s;               /* -T; of a call */
    char device[8];                  /* --device auto cpu cuda */
    const struct sweep_place *place; /* NULL: plain memory. Borrowed */
};

struct sweep_row {
    int64_t size, count;
    double time_us[2], alg_gb[2], bus_gb[2]; /* out of place, in place */
    int64_t wrong[2];                        /* -1: not checked */
};

/* Who took part; the same on every rank. */
struct sweep_rank {
    char host[64], device[64];
};

/* Of `links`, at the largest size: rank i and the next one. */
struct sweep_link {
    double bus_gb; /* each way, of the slower end */
    int64_t wrong; /* values, at both ends; -1: not checked */
};

struct sweep {
    int64_t start_us, end_us; /* since 1970 */
    struct sweep_rank *ranks; /* [world], owned: sweep_done */
    struct sweep_link *links; /* [world], the same; NULL but of `links` */
    int n_links;              /* two ranks have one */
    struct sweep_row rows[SWEEP_ROWS_MAX];
    int n;
    double average_bus_gb;
    int64_t wrong;
};

void sweep_defaults(struct sweep_options *o);
void sweep_done(struct sweep *s);
/* Reads words as a command line: the operation, then options, short or long. What needs another
 * program (several devices or threads a rank, graphs) is refused. BT_ERR_USAGE, BT_ERR_INVALID. */
int sweep_parse(struct sweep_options *ret, int n, char **words, struct bt_err *err) BT_MUSTUSE;

/* Runs all sizes on every rank; rank 0 calls row(arg, ...) as each is done. */
int sweep_run(const struct sweep_options *o, struct coll *c, struct sweep *ret,
              void (*row)(void *arg, const struct sweep_row *), void *arg,
              struct bt_err *err) BT_MUSTUSE;

/* BT_ERR_CORRUPT when values were wrong, BT_ERR_INVALID below the least bandwidth. */
int sweep_verdict(const struct sweep_options *o, const struct sweep *s,
                  struct bt_err *err) BT_MUSTUSE;

double sweep_bus_factor(const char *operation, int world);
void sweep_head(const struct sweep_options *o, const struct coll *c, struct bt_buf *to);
void sweep_line(const struct sweep_options *o, const struct sweep_row *r, struct bt_buf *to);
void sweep_foot(const struct sweep *s, struct bt_buf *to);
void sweep_json(const struct sweep_options *o, const struct coll *c, const struct sweep *s,
                struct bt_buf *to);

#endif
