/* layout.h - makes an attempt's working folders and hands them to the job's user.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_LAYOUT_H
#define BT_AGENT_LAYOUT_H

#include "agent/account.h"
#include "agent/environ.h"
#include "agent/spec.h"

/* Makes p->home with output, scratch, the code and the metrics file, and p->checkpoint if it is
 * not there from an earlier attempt; everything mode 0700 (files 0600, a script 0700), owned by
 * the account. The home is handed over last, so that while root works in it nobody else can.
 * What a killed shepherd left half made is removed first. ret_metrics is an open descriptor of
 * the metrics file: the job may put something else in its place, we keep reading the file. */
int layout_make(const struct places *p, const struct spec *s, const struct account *a,
                int *ret_metrics, struct bt_err *err) BT_MUSTUSE;

/* Removes a home: everything in it as its user, so that links which the user plants meanwhile lead
 * nobody else astray, then the folder itself. One that is not there is fine. One thread: forks. */
int layout_remove(const char *home, const struct account *a, struct bt_err *err) BT_MUSTUSE;

/* Removes a home that the job left as layout_make made it; false: it holds more, or cannot be
 * removed from here, and layout_remove shall look. Follows nothing, as each name lies in the home
 * itself, which lies in a folder that is not the user's. */
bool layout_remove_bare(const struct places *p);

#endif
