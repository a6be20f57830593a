/* http.h - the daemon's HTTP: requests become events, committed replies become answers.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two listeners with mutual TLS (people, agents) and a plain one for the public. A handler parses,
 * makes an event and lets the request wait; the engine's store thread calls http_committed after
 * each commit and the answers go out. Reads go to the database (reader threads), never to the core.
 *
 *   http.c      listeners, dispatch, who asks, in-flight caps, waiting requests, replies
 *   auth.c      the table of credentials that follows the commits
 *   jobs.c      submit, cancel, hold, watch          admin.c   people, quotas, nodes, rates
 *   agents.c    the agents' verbs and their wants    reads.c   lists and single objects
 *   enrol.c     token + request → certificate        uploads.c blobs and logs, parts, resumption
 *   public.c, pages/  what anybody may read */
#ifndef BT_DAEMON_HTTP_HTTP_H
#define BT_DAEMON_HTTP_HTTP_H

#include <stdint.h>

#include "daemon/clusters/local.h"
#include "daemon/core/batch.h"
#include "daemon/core/event.h"
#include "daemon/core/plan_view.h"
#include "daemon/pki/pki.h"
#include "lib/api/mark.h"
#include "lib/base/err.h"
#include "lib/json/json.h"

struct http;

struct http_address {
    char host[64]; /* an IP address */
    int port;      /* 0: any free one */
};

struct http_settings {
    struct http_address listen_people, listen_agents, listen_public;
    struct pki *pki; /* borrowed, as all below */
    struct wants_board *board;
    const char *blobs_dir, *logs_dir, *ledger_dir;
    const char *vkey;            /* the ledger's verifier key line; NULL: nothing is signed */
    const char *read_conninfo;   /* of the read-only role */
    const char *public_conninfo; /* of the role that sees the ledger alone */
    /* Takes the event over on success; fails BUSY, or with the store's 503/507. */
    int (*post)(void *arg, struct event *ev, struct bt_err *err);
    /* The same by a thread that calls `turn` before it waits for anything, and again as that says:
     * engine_turn (engine.h). */
    int (*post_soon)(void *arg, struct event *ev, struct bt_err *err);
    int (*turn)(void *arg, const void *self);
    /* 0 while agents may be told what to do, else why not. */
    int (*commands)(void *arg, struct bt_err *err);
    /* What agents shall remember of the database's state (MARK_TEXT bytes), and what one of them
     * says that it was told: BT_ERR_BEHIND when the database has less. Both or none. */
    void (*mark)(void *arg, char *ret);
    int (*told)(void *arg, const char *mark, struct bt_err *err);
    /* The last plan with a reference (plan_unref), or NULL. */
    struct plan *(*plan)(void *arg);
    /* Adds members about engine and store to the status document. */
    void (*status)(void *arg, struct json_writer *w);
    /* How many entries of the ledger a signed checkpoint covers; INT64_MAX: not known yet. */
    int64_t (*ledger_signed)(void *arg);
    /* Members about a site's cluster; nothing for one that has none. */
    void (*site)(void *arg, const char *site, struct json_writer *w);
    /* Items of its differences; `row` is what the database says of it (read.sql, site). */
    int (*site_diff)(void *arg, const char *site, const struct json *row, struct json_writer *w,
                     struct bt_err *err);
    /* Items of what its own settings should be; how many were looked at. */
    int (*site_check)(void *arg, const char *site, const struct json *row, struct json_writer *w,
                      struct bt_err *err);
    /* Members of what was observed there: promised starts beside actual ones. */
    int (*site_report)(void *arg, const char *site, struct json_writer *w, struct bt_err *err);
    /* The helper of a site calls (clusters_attach, clusters_put, clusters_get); whether there is
     * something for it, or it must hear that its session is over. */
    int (*helper_attach)(void *arg, const char *site, const char *from, struct bt_uuid *ret_session,
                         struct bt_err *err);
    int (*helper_put)(void *arg, const char *site, struct bt_uuid session, const void *p, size_t n,
                      struct bt_err *err);
    int (*helper_get)(void *arg, const char *site, struct bt_uuid session, struct bt_buf *to,
                      struct bt_err *err);
    bool (*helper_has)(void *arg, const char *site);
    void *arg;
};

/* Makes tables and threads; http_committed may be called from now on. Then http_listen opens the
 * doors, once the engine takes events. */
int http_new(const struct http_settings *settings, struct http **ret,
             struct bt_err *err) BT_MUSTUSE;
int http_listen(struct http *h, struct bt_err *err) BT_MUSTUSE;
void http_ports(const struct http *h, int *people, int *agents, int *open);

/* After each commit, by the engine's store thread: answers, wakes watchers, follows credentials. */
void http_committed(struct http *h, const struct batch *batch);

/* helper_has may have changed. Any thread. */
void http_helper_wake(struct http *h, const char *site);

/* Takes no more requests and lets what waits be answered for up to drain_ms: the engine must still
 * run. Then, when it has stopped, http_free. Both accept what was never started. */
void http_quiet(struct http *h, int drain_ms);
void http_free(struct http *h);

#endif
