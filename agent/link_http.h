/* link_http.h - links to the daemon over lib/net: mutual TLS with this node's certificate.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_LINK_HTTP_H
#define BT_AGENT_LINK_HTTP_H

#include "agent/identity.h"
#include "agent/link.h"

struct link_http;

/* Reads the node's name (unless the settings have one) into node[size] and makes *maker open
 * links as it. BT_ERR_NOT_FOUND with the enrolment as the next step. *ret lives as long as its
 * links. */
int link_http_new(const struct settings *set, char *node, size_t size, struct link_http **ret,
                  struct link_maker *maker, struct bt_err *err) BT_MUSTUSE;
void link_http_free(struct link_http *h);

#endif
