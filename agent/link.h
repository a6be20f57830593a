/* link.h - one request to the facility at a time: what the agent needs of HTTP, and no more.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The agent speaks through this, so that tests can stand in for the daemon without a network.
 * A link is used by one thread at a time; each thread opens its own. */
#ifndef BT_AGENT_LINK_H
#define BT_AGENT_LINK_H

#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

struct link_request {
    const char *method; /* GET POST PUT HEAD */
    const char *path;   /* with its query */
    const char *type;   /* of the body; NULL: none */
    const void *body;
    size_t n;
    int timeout_s;
};

struct link_answer {
    int status;   /* HTTP's */
    int64_t have; /* header Beamtime-Have; -1 if absent */
    struct bt_buf body;
};

struct link {
    /* 0 when the daemon answered, with whatever status; BT_ERR_UNREACHABLE or BT_ERR_TIMEOUT. */
    int (*call)(struct link *link, const struct link_request *request, struct link_answer *ret,
                struct bt_err *err);
    void (*close)(struct link *link);
};

/* Opens a link each time it is called; thread safe. */
struct link_maker {
    int (*open)(void *arg, struct link **ret, struct bt_err *err);
    void *arg;
};

#endif
