/* profile.h - who one is at which facility: the folders below ~/.config/beamtime.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 *   <dir>/<profile>/facility.conf   url, agents_url, public_url, facility
 *   <dir>/<profile>/ca.pem cert.pem key.pem (0600)
 *   <dir>/default                   a line with the default profile's name
 *
 * <dir> is $BEAMTIME_CONFIG_DIR, or beamtime below $XDG_CONFIG_HOME or ~/.config. */
#ifndef BT_NET_PROFILE_H
#define BT_NET_PROFILE_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/net/net.h"

struct net_profile {
    char *name;
    char *url; /* owned texts; "" where a file says nothing */
    char *agents_url;
    char *public_url;
    char *facility;
    char *ca_file;
    char *cert_file;
    char *key_file;
};

/* The folder of all profiles, owned. BT_ERR_NOT_FOUND when there is neither variable nor home. */
int net_config_dir(char **ret, struct bt_err *err) BT_MUSTUSE;

/* `name` NULL: $BEAMTIME_PROFILE, else the default, else the only one there is. BT_ERR_NOT_FOUND
 * with `beamtime enrol` as the next step. */
int net_profile_load(const char *dir, const char *name, struct net_profile *ret,
                     struct bt_err *err) BT_MUSTUSE;

/* Writes the folder and its files (key 0600); the first profile becomes the default. The file
 * names in *p are not read. BT_ERR_CONFLICT if the profile has a key already. */
int net_profile_save(const char *dir, const struct net_profile *p, const char *ca_pem,
                     const char *chain_pem, const char *key_pem, struct bt_err *err) BT_MUSTUSE;
int net_profile_set_default(const char *dir, const char *name, struct bt_err *err) BT_MUSTUSE;

/* The names, one a line, sorted, appended. No folder, no names. */
int net_profile_list(const char *dir, struct bt_buf *to, struct bt_err *err) BT_MUSTUSE;

/* A client for the profile's url. */
int net_profile_client(const struct net_profile *p, const char *program, struct net_client **ret,
                       struct bt_err *err) BT_MUSTUSE;

void net_profile_done(struct net_profile *p);

#endif
