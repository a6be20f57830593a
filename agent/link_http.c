/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/link_http.h"

#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/net/net.h"

struct link_http {
    char *url;
    struct identity id;
};

struct http {
    struct link link; /* first: a link is one of these */
    struct net_client *net;
};

void identity_of(const struct settings *set, struct identity *ret)
{
    char *dir = bt_printf("%s/identity", set->state_dir);

    *ret = (struct identity){.dir = dir,
                             .key = bt_printf("%s/key.pem", dir),
                             .cert = bt_printf("%s/cert.pem", dir),
                             .ca = set->ca_file && *set->ca_file ? bt_strdup(set->ca_file)
                                                                 : bt_printf("%s/ca.pem", dir),
                             .node = bt_printf("%s/node", dir)};
}

void identity_done(struct identity *id)
{
    bt_free(id->dir);
    bt_free(id->key);
    bt_free(id->cert);
    bt_free(id->ca);
    bt_free(id->node);
    *id = (struct identity){0};
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
    int rc = net_call(h->net, &request, &reply, err);

    if (reply.status) {
        ret->status = reply.status;
        ret->have = reply.have;
        if (reply.n)
            bt_buf_add(&ret->body, reply.body, reply.n);
        rc = 0;
    }
    net_reply_done(&reply);
    return rc;
}

static void hang_up(struct link *link)
{
    struct http *h = (struct http *)link;

    net_client_free(h->net);
    bt_free(h);
}

static int open_link(void *arg, struct link **ret, struct bt_err *err)
{
    const struct link_http *http = arg;
    struct net_settings set = {.url = http->url,
                               .ca_file = http->id.ca,
                               .cert_file = http->id.cert,
                               .key_file = http->id.key,
                               .program = "beamtime-agent"};
    struct http *h = bt_new(struct http);
    int rc = net_client_new(&set, &h->net, err);

    if (rc < 0) {
        bt_free(h);
        return rc;
    }
    h->link = (struct link){.call = call, .close = hang_up};
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
        rc = bt_file_read(id->node, 256, &text, err);
        if (rc < 0)
            return rc;
        bt_buf_char(&text, '\0');
        text.p[strcspn(text.p, "\n")] = '\0';
        bt_copy(node, size, text.p);
    }
    return bt_is_name(node, size - 1)
               ? 0
               : bt_fail(err, BT_ERR_INVALID, "\"%s\" is not a node's name", node);
}

int link_http_new(const struct settings *set, char *node, size_t size, struct link_http **ret,
                  struct link_maker *maker, struct bt_err *err)
{
    struct link_http *h = bt_new(struct link_http);
    int rc;

    identity_of(set, &h->id);
    h->url = bt_strdup(set->url);
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
    identity_done(&h->id);
    bt_free(h->url);
    bt_free(h);
}
