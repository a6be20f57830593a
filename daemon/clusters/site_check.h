/* site_check.h - judges a cluster's own settings: what keeps the facility's jobs from faring well.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Findings are WRONG (jobs are refused, never start, or what is shown is not true) or ADVICE (they
 * run, but worse than they could); each is one sentence with the line that mends it. The
 * recommended settings lie in deploy/slurm. Pure. */
#ifndef BT_DAEMON_CLUSTERS_SITE_CHECK_H
#define BT_DAEMON_CLUSTERS_SITE_CHECK_H

#include "daemon/clusters/site_conf.h"
#include "daemon/clusters/wire.h"

struct site_look {
    const struct site_conf *site;
    const struct wire_conf *conf;
    const char *name;    /* of the site */
    const char *version; /* of the cluster's Slurm */
    int64_t n_others;    /* jobs of others on the cluster */
    int n_differ;        /* nodes that `site diff` names */
};

/* Writes {"level":"wrong"|"advice","what","text","fix"} for each finding into the open array;
 * how many settings were looked at. */
int site_check(const struct site_look *look, struct json_writer *w);

#endif
