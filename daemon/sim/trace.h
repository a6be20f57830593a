/* trace.h - reads histories of jobs: our CSV, the Standard Workload Format, and sacct -P exports.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_SIM_TRACE_H
#define BT_SIM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { TRACE_MAX_JOBS = 10 * 1000 * 1000, TRACE_MAX_NAMES = 1 << 20 };

struct trace_job {
    int64_t submit_s;     /* rising over the trace, from 0 */
    int64_t duration_s;   /* >= 1 */
    int64_t walltime_s;   /* asked for; = duration where the source has none */
    uint32_t acc;         /* >= 1 */
    uint32_t user, group; /* into names; UINT32_MAX = none */
    uint32_t seq;         /* order in the source */
};

struct trace {
    struct trace_job *jobs;
    char **names;
    uint32_t n_jobs, n_names;
    uint32_t n_skipped; /* lines without a usable job (never ran, no size, a part of a device) */
    bool has_walltimes; /* at least one job came with a requested time */
};

/* Reads path, gzipped or not. The format shows in the first line: a header of our CSV
 * ("submit_s,…"), a header of sacct -P ("…|…"), else SWF. BT_ERR_CORRUPT names the line. */
int trace_read(const char *path, struct trace *ret, struct bt_err *err) BT_MUSTUSE;

/* The same from memory; text[n] is a NUL and is changed. */
int trace_parse(char *text, size_t n, struct trace *ret, struct bt_err *err) BT_MUSTUSE;
void trace_done(struct trace *t);

#endif
