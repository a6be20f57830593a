/* renew.h - the certificate lasts as long as the node does.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Every hour the certificate's end is looked at; with less than `renew_before` to go the facility
 * is asked for another one for the same key. A failure is logged and tried again an hour later:
 * nothing else waits for it. */
#ifndef BT_AGENT_RENEW_H
#define BT_AGENT_RENEW_H

#include "agent/settings.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

/* Zeroed: it looks at once. */
struct renewal {
    int64_t look_us; /* bt_mono_us of the next look */
};

/* Sends `request` to where this kind of certificate is renewed; appends the answer. */
typedef int renew_ask(void *arg, const struct bt_buf *request, struct bt_buf *ret,
                      struct bt_err *err);

void renew_look(struct renewal *r, const struct settings *set, renew_ask *ask, void *arg);

#endif
