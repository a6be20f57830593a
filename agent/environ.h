/* environ.h - the clean environment of a rank (no I/O).
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_ENVIRON_H
#define BT_AGENT_ENVIRON_H

#include "agent/account.h"
#include "agent/spec.h"
#include "agent/spool.h"

enum { ENVIRON_MAX = SPEC_ENV_MAX + 160 };

/* Folders of one attempt, below order.work. */
struct places {
    char home[SPOOL_PATH_MAX];       /* the ranks' working directory */
    char output[SPOOL_PATH_MAX];     /* published */
    char scratch[SPOOL_PATH_MAX];    /* dropped */
    char metrics[SPOOL_PATH_MAX];    /* a file */
    char code[SPOOL_PATH_MAX];       /* the script or configuration */
    char checkpoint[SPOOL_PATH_MAX]; /* of the job: survives attempts */
};

void places_of(const struct order *o, struct places *ret);

struct rank {
    int index;
    int world;
    int threads; /* cores a rank may use */
};

struct environ {
    char *v[ENVIRON_MAX + 1]; /* "NAME=value", owned, NULL-terminated */
    int n;
};

/* The job's own variables first, then ours: PATH HOME USER LOGNAME SHELL LANG TZ TMPDIR
 * BEAM_* OMP_NUM_THREADS OPENBLAS_NUM_THREADS CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES. The job
 * may replace PATH, LANG, TZ, HOME and the thread counts; nothing can replace BEAM_*, TMPDIR,
 * the account's or the devices' variables. Nothing of the agent's environment is handed on. */
void environ_build(const struct order *o, const struct spec *s, const struct account *a,
                   const struct places *p, const struct rank *rank, struct environ *ret);
void environ_done(struct environ *e);
const char *environ_get(const struct environ *e, const char *name); /* NULL if absent */

#endif
