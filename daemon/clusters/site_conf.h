/* site_conf.h - what a Slurm site is told to the daemon: the JSON of site.conf and of its API.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every text ends up in a job's description or in a shell line at the site, so only letters,
 * digits and ./_-+@:%= are let in. Pure. */
#ifndef BT_DAEMON_CLUSTERS_SITE_CONF_H
#define BT_DAEMON_CLUSTERS_SITE_CONF_H

#include "lib/base/err.h"
#include "lib/json/json.h"

struct site_conf {
    char slurm_conf[200]; /* absolute path of the cluster's slurm.conf; required unless remote */
    char partition[64];   /* "" the cluster's default, as for all below */
    char account[64];
    char qos[64];
    char user[33];       /* Unix account of people without a mapping */
    char agent[200];     /* beamtime-agent on the nodes */
    char agent_dir[200]; /* its state_dir there; %n is the node's name */
    char blobs[120];     /* "http…": gives out what its agents keep (agent/keep.h); "" nothing */
    bool remote;         /* its helper runs at the site and calls */
    bool fence;          /* slurmdbd shall know each project as an account (fence.h) */
    bool observe;        /* read only: nothing is ever submitted, cancelled or drained */
};

/* Members that are absent keep their defaults. BT_ERR_INVALID names what is wrong. */
int site_conf_read(const struct json *object, struct site_conf *ret, struct bt_err *err) BT_MUSTUSE;
int site_conf_parse(const char *text, struct site_conf *ret, struct bt_err *err) BT_MUSTUSE;
void site_conf_write(const struct site_conf *conf, struct json_writer *w); /* an object */

#endif
