/* own.h - what the files of lib/conf share and nobody else sees.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CONF_OWN_H
#define BT_CONF_OWN_H

#include "lib/conf/conf.h"

/* The row of a name ('-' counts as '_'), or NULL. */
const struct conf_row *conf_find(const struct conf_table *t, const char *name);
int conf_unknown(const struct conf_table *t, const char *name, struct bt_err *err);
int conf_set_row(const struct conf_row *row, void *to, const char *value, struct bt_err *err);
/* *at = a copy of value. In a file of its own: gcc's analyzer takes a pointer that is stored at
 * an offset for lost. */
void conf_replace(char **at, const char *value);
/* "listen-agents" for listen_agents, into out[64]; returns out. */
char *conf_option_name(const char *name, char out[64]);
/* What a row takes, for people: "host:port", "whole number, 1 to 65536 requests". */
void conf_takes(const struct conf_row *row, struct bt_buf *to);

#endif
