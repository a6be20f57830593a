/* jobreq.h - a submission as flags and directives describe it, written out as a job document.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pure. What counts accelerators (-n, -N,
 * --gpus …) is one group: the layer that says any of it replaces what lower layers said. */
#ifndef BT_CLI_JOBREQ_H
#define BT_CLI_JOBREQ_H

#include "cli/directives.h"
#include "lib/base/buf.h"
#include "lib/base/uuid.h"
#include "lib/domain/job.h"

enum { JOBREQ_LIST = 64 };

struct jobreq_list {
    char *v[JOBREQ_LIST]; /* owned */
    int n;
};

struct jobreq_count {
    enum layer layer;
    bool said;
    int64_t accelerators, ntasks, nodes, per_node, gpus, gpus_per_node, gpus_per_task; /* 0: not */
    int64_t least, least_nodes; /* of accelerators or nodes, which are then the most; 0: not */
};

struct jobreq {
    int kind;    /* enum job_kind */
    char *code;  /* script or configuration */
    char **argv; /* command: borrowed, argc words */
    int argc;
    char *name, *project, *class;
    struct jobreq_count count;
    int64_t memory_gb, bandwidth_gb; /* 0: not said */
    int level;                       /* enum topo_level, -1: not said */
    bool level_required;
    int64_t walltime_s, grace_s; /* -1: not said */
    int signal;                  /* 0: not said */
    int requeue;                 /* enum requeue_policy, -1: not said */
    int64_t max_attempts;        /* 0: not said */
    char *after;                 /* number or id of the other job, as written */
    bool after_ok, singleton;
    char *reservation;
    char *array; /* list of tasks, as written */
    bool hold;
    struct jobreq_list env; /* NAME=VALUE */
    struct jobreq_list inputs, outputs, domains, data;
    char datasets[JOB_DATASETS_TEXT]; /* dataset_add */
    char *purpose;
    double flops;   /* 0: not said */
    int64_t params; /* 0: not said */
    int64_t lineage[JOB_PARENTS];
    int n_lineage;
    int64_t embargo_days; /* -1: not said */
    char *wrap;
    struct bt_buf notes; /* lines about options that change nothing here */
    char **environ_of; /* "NAME=VALUE"…, NULL at the end: where --export NAME looks; may be NULL */
};

enum { JOBREQ_WALLTIME_S = 3600 }; /* when nobody says: enough to try, little to hold */

void jobreq_init(struct jobreq *r);
void jobreq_done(struct jobreq *r);

/* Applies one option; `where` is "line 3" or "" for a flag. BT_ERR_USAGE or BT_ERR_INVALID. */
int jobreq_set(struct jobreq *r, enum layer layer, const struct directive_row *row,
               const char *value, const char *where, struct bt_err *err) BT_MUSTUSE;

/* Applies the #SBATCH lines, then the #BEAM lines of r->code. */
int jobreq_directives(struct jobreq *r, struct bt_err *err) BT_MUSTUSE;

/* What the counting options mean together. */
struct jobreq_size {
    int64_t count, least, per_node; /* least 0: count alone; per_node 0: any */
};
int jobreq_accelerators(const struct jobreq *r, struct jobreq_size *ret,
                        struct bt_err *err) BT_MUSTUSE;

/* Appends the document. `after` is the other job's id (zero: none). */
int jobreq_write(const struct jobreq *r, struct bt_uuid id, struct bt_uuid after, struct bt_buf *to,
                 struct bt_err *err) BT_MUSTUSE;

/* *at = a copy of value; a copy of value[n] behind the list's last. In jobreq_write.c: gcc's
 * analyzer takes what is stored at an offset for lost when it sees both. */
void jobreq_replace(char **at, const char *value);
void jobreq_keep(struct jobreq_list *l, const char *value, size_t n);

/* "USR1", "SIGUSR1" or "10" -> 10; -1 if unknown. */
int jobreq_signal(const char *name);

#endif
