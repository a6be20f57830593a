/* slurm.h - the Slurm clusters under the facility: a driver thread and a helper process for each.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A driver keeps its helper (daemon/clusters/helper) alive, or waits for the one at its site, hands
 * it the wants of its site as jobs whose script is the shepherd, looks at the cluster's jobs each
 * second and its nodes every five, and tells the core what it saw: EV_SITE (reachable, nodes),
 * EV_UNPLACED (an attempt that the cluster refused or lost). It decides nothing else; slots.h
 * reconciles.
 *
 * Thread safe. */
#ifndef BT_DAEMON_CLUSTERS_SLURM_H
#define BT_DAEMON_CLUSTERS_SLURM_H

#include "daemon/core/batch.h"
#include "daemon/core/event.h"
#include "lib/base/err.h"
#include "lib/json/json.h"

struct clusters;

struct clusters_settings {
    const char *facility; /* its name marks our jobs among a cluster's; borrowed, as all here */
    const char *helper;   /* beamtime-slurm */
    const char *dir;      /* the daemon's state directory */
    int (*post)(void *arg, struct event *ev, struct bt_err *err); /* takes ev over on success */
    void (*wake)(void *arg, const char *site); /* clusters_get has something new; never blocks */
    /* For a site with a fence: JSON [{"account","cap","users":"ana,ivo"}], one a project that has a
     * grant. May block; called by drivers. */
    int (*projects)(void *arg, const char *site, struct bt_buf *json, struct bt_err *err);
    void *arg;
};

struct clusters *clusters_new(const struct clusters_settings *settings);
/* The sites and wants of a committed batch. Never blocks; may be called before clusters_start. */
void clusters_committed(struct clusters *c, const struct batch *b);
/* From now on drivers run and events are posted. */
void clusters_start(struct clusters *c);
void clusters_stop(struct clusters *c); /* ends helpers and threads; the engine still runs */
void clusters_free(struct clusters *c);

/* A helper at its site calls: a session, which ends the one before; then bytes from it and for it
 * (none: wait until `wake`). BT_ERR_NOT_FOUND when the site has no helper of its own, BT_ERR_FENCED
 * when the session is over, BT_ERR_TOO_MANY when the driver does not keep up. */
int clusters_attach(struct clusters *c, const char *site, const char *from,
                    struct bt_uuid *ret_session, struct bt_err *err) BT_MUSTUSE;
int clusters_put(struct clusters *c, const char *site, struct bt_uuid session, const void *p,
                 size_t n, struct bt_err *err) BT_MUSTUSE;
int clusters_get(struct clusters *c, const char *site, struct bt_uuid session, struct bt_buf *to,
                 struct bt_err *err) BT_MUSTUSE;
/* Whether clusters_get would give bytes or refuse any session. */
bool clusters_have(struct clusters *c, const char *site);

/* Member "cluster" of a site, or nothing when it has no Slurm: {"name","version","reachable",
 * "since","text","next","jobs","others","nodes"}, and of a helper at the site "helper":
 * {"connected","from","since"}. */
void clusters_show(struct clusters *c, const char *site, struct json_writer *w);
/* Items {"node","what","expected","actual","fix"}; `row` has the facility's "nodes" and "conf". */
int clusters_diff(struct clusters *c, const char *site, const struct json *row,
                  struct json_writer *w, struct bt_err *err) BT_MUSTUSE;
/* Items of what is wrong with the cluster's own settings (site_check.h); how many were looked at.
 */
int clusters_check(struct clusters *c, const char *site, const struct json *row,
                   struct json_writer *w, struct bt_err *err) BT_MUSTUSE;
/* Members of what was observed (observe.h). */
int clusters_report(struct clusters *c, const char *site, struct json_writer *w,
                    struct bt_err *err) BT_MUSTUSE;

#endif
