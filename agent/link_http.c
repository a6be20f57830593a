/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/link_http.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/net/net.h"

/* A handshake costs agent and daemon some 3 ms of a core each, and an attempt says five things in
 * its life: so connections belong to the agent, and each call borrows one. */
enum {
    IDLE_MAX = 4,
    IDLE_US = 50000000,      /* the daemon closes after 60 s */
    BUSY_MAX = IDLE_MAX - 1, /* the long poll has one of them all the time */
    /* Attempts that end together speak together: a call waits so long for a connection before it
     * makes one more than BUSY_MAX. Long ones (uploads) must not hold up a claim for longer. (The
     * daemon's libmicrohttpd 0.9.75 looks at a connection without a pause while its handshake is
     * under way: of each new one it has the client's milliseconds too.) */
    PATIENCE_MS = 250,
};

struct link_http {
    char *url;
    char *relay; /* NULL: none */
    struct identity id;
    pthread_mutex_t lock; /* over what follows */
    struct net_client *idle[IDLE_MAX];
    int64_t idle_us[IDLE_MAX]; /* since when */
    int n_idle;
    int n_busy;
    pthread_cond_t given_back;
};

struct http {
    struct link link; /* first: a link is one of these */
    struct link_http *of;
};

/* The lock is held. */
static void await_one(struct link_http *of)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PATIENCE_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    while (!of->n_idle && of->n_busy >= BUSY_MAX)
        if (pthread_cond_timedwait(&of->given_back, &of->lock, &until) != 0)
            return;
}

/* The one that was used last: the others may go when the daemon closes them. NULL: make one. */
static struct net_client *take_idle(struct link_http *of)
{
    struct net_client *net = NULL;
    bool fresh = false;

    pthread_mutex_lock(&of->lock);
    await_one(of);
    if (of->n_idle) {
        net = of->idle[--of->n_idle];
        fresh = bt_mono_us() - of->idle_us[of->n_idle] < IDLE_US;
    }
    of->n_busy++;
    pthread_mutex_unlock(&of->lock);
    if (fresh)
        return net;
    net_client_free(net);
    return NULL;
}

/* net may be NULL: there is no connection to use again. */
static void give_back(struct link_http *of, struct net_client *net)
{
    pthread_mutex_lock(&of->lock);
    of->n_busy--;
    if (net && of->n_idle < IDLE_MAX) {
        of->idle_us[of->n_idle] = bt_mono_us();
        of->idle[of->n_idle++] = BT_TAKE(net);
    }
    pthread_cond_signal(&of->given_back);
    pthread_mutex_unlock(&of->lock);
    net_client_free(net);
}

static int borrow(struct link_http *of, struct net_client **ret, struct bt_err *err)
{
    struct net_settings set = {.url = of->url,
                               .ca_file = of->id.ca,
                               .cert_file = of->id.cert,
                               .key_file = of->id.key,
                               .relay = of->relay,
                               .program = "beamtime-agent"};

    int rc = 0;

    *ret = take_idle(of);
    if (!*ret)
        rc = net_client_new(&set, ret, err);
    if (rc < 0)
        give_back(of, NULL);
    return rc;
}

/* The couriers and the loop repeat in their own time: lib/net tries once. */
static int call(struct link *link, const struct link_request *r, struct link_answer *ret,
                struct bt_err *err)
{
    struct http *h = (struct http *)link;
    struct net_request request = {.method = r->method,
                                  .path = r->path,
                                  .type = r->type,
                                  .body = r->body,
                                  .n = r->n,
                                  .deadline_ms = r->timeout_s * 1000,
                                  .once = true};
    struct net_reply reply = {0};
    struct net_client *net;
    int rc = borrow(h->of, &net, err);

    if (rc < 0)
        return rc;
    rc = net_call(net, &request, &reply, err);
    if (reply.status) {
        give_back(h->of, net);
        ret->status = reply.status;
        ret->have = reply.have;
        if (reply.n)
            bt_buf_add(&ret->body, reply.body, reply.n);
        rc = 0;
    } else {
        net_client_free(net);
        give_back(h->of, NULL);
    }
    net_reply_done(&reply);
    return rc;
}

static void hang_up(struct link *link)
{
    bt_free(link);
}

static int open_link(void *arg, struct link **ret, struct bt_err *err)
{
    struct http *h = bt_new(struct http);

    (void)err;
    *h = (struct http){.link = {.call = call, .close = hang_up}, .of = arg};
    *ret = (struct link *)h;
    return 0;
}

static int read_name(const struct settings *set, const struct identity *id, char *node, size_t size,
                     struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc;

    if (access(id->cert, F_OK) < 0)
        return bt_next(err,
                       bt_fail(err, BT_ERR_NOT_FOUND, "this node is not enrolled: no %s", id->cert),
                       "beamtime-agent --token-file FILE enrol");
    if (set->node && *set->node) {
        bt_copy(node, size, set->node);
    } else {
        rc = bt_file_line(id->node, 256, &text, err);
        if (rc < 0)
            return rc;
        bt_copy(node, size, bt_buf_text(&text));
    }
    return bt_is_name(node, size - 1)
               ? 0
               : bt_fail(err, BT_ERR_INVALID, "\"%s\" is not a node's name", node);
}

int link_http_new(const struct settings *set, char *node, size_t size, struct link_http **ret,
                  struct link_maker *maker, struct bt_err *err)
{
    struct link_http *h = bt_new(struct link_http);
    pthread_condattr_t attr;
    int rc;

    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&h->given_back, &attr);
    pthread_condattr_destroy(&attr);
    identity_of(set, &h->id);
    h->url = bt_strdup(set->url);
    if (set->relay && *set->relay)
        h->relay = bt_strdup(set->relay);
    rc = read_name(set, &h->id, node, size, err);
    if (rc < 0) {
        link_http_free(h);
        return rc;
    }
    *maker = (struct link_maker){.open = open_link, .arg = h};
    *ret = h;
    return 0;
}

void link_http_free(struct link_http *h)
{
    if (!h)
        return;
    for (int i = 0; i < h->n_idle; i++)
        net_client_free(h->idle[i]);
    pthread_cond_destroy(&h->given_back);
    pthread_mutex_destroy(&h->lock);
    identity_done(&h->id);
    bt_free(h->url);
    bt_free(h->relay);
    bt_free(h);
}
