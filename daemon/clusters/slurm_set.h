/* slurm_set.h - the set of all drivers; private to slurm*.c.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_CLUSTERS_SLURM_SET_H
#define BT_DAEMON_CLUSTERS_SLURM_SET_H

#include "daemon/clusters/slurm_own.h"

struct clusters {
    struct clusters_settings set;
    pthread_mutex_t lock; /* over what follows */
    struct driver **drivers;
    size_t n, cap;
    bool started;
};

void *driver_run(void *arg);
struct driver *clusters_driver(struct clusters *c, const char *site); /* NULL: there is none */
void clusters_wake(struct driver *d);

#endif
