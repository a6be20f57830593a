/* enrol.h - turns a one-time token into this node's certificate.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_ENROL_H
#define BT_AGENT_ENROL_H

#include "agent/settings.h"

/* Makes a P-256 key in <state_dir>/identity (an earlier try's key is used again), sends the token
 * of set->token_file with a certificate request to the facility whose root is set->ca_file, and
 * keeps what comes back. BT_ERR_CONFLICT when the node has a certificate already;
 * BT_ERR_TOKEN when the token is not valid (any more). */
int enrol_run(const struct settings *set, struct bt_err *err) BT_MUSTUSE;

#endif
