/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/enrol.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/net/net.h"

enum { TOKEN_MAX = 512 };

static int read_token(const struct settings *set, struct bt_buf *to, struct bt_err *err)
{
    struct stat st;

    if (!set->token_file || !*set->token_file)
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "enrol needs the file of a one-time token"),
                       "beamtime-agent --token-file FILE enrol");
    if (stat(set->token_file, &st) == 0 && (st.st_mode & 077))
        return bt_next(err, bt_fail(err, BT_ERR_FORBIDDEN, "others may read %s", set->token_file),
                       "chmod 600 %s", set->token_file);
    int rc = bt_file_read(set->token_file, TOKEN_MAX, to, err);
    if (rc < 0)
        return rc;
    while (to->n && strchr(" \t\r\n", to->p[to->n - 1]))
        to->p[--to->n] = '\0';
    return to->n ? 0 : bt_fail(err, BT_ERR_INVALID, "%s is empty", set->token_file);
}

static int ask(const struct settings *set, const struct identity *id, const struct bt_buf *body,
               struct net_reply *reply, struct bt_err *err)
{
    struct net_settings ns = {
        .url = set->enrol_url, .ca_file = id->ca, .program = "beamtime-agent"};
    struct net_client *net = NULL;
    int rc;

    if (access(id->ca, R_OK) < 0)
        return bt_next(err,
                       bt_fail(err, BT_ERR_NOT_FOUND,
                               "without the facility's root certificate (%s) any server could "
                               "take the token",
                               id->ca),
                       "get it from the operator and name it with --ca-file");
    if (set->relay && *set->relay)
        ns.relay = set->relay;
    rc = net_client_new(&ns, &net, err);
    if (rc == 0)
        rc = net_post(net, "/v1/enrol", body->p, reply, err);
    net_client_free(net);
    return rc;
}

static int enrol(const struct settings *set, const struct identity *id, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf token = {0};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct net_reply reply = {0};
    struct cert_key *key = NULL;
    int rc = read_token(set, &token, err);

    if (rc == 0)
        rc = identity_key(id, &key, err);
    if (rc == 0)
        rc = identity_request(key, token.p, &body, err);
    if (rc == 0)
        rc = ask(set, id, &body, &reply, err);
    if (rc == 0)
        rc = identity_keep(id, reply.body ? reply.body : "", reply.n, key, true, err);
    if (token.p)
        bt_wipe(token.p, token.n);
    if (body.p)
        bt_wipe(body.p, body.n);
    net_reply_done(&reply);
    cert_key_free(key);
    return rc;
}

int enrol_run(const struct settings *set, struct bt_err *err)
{
    struct identity id;
    int rc = bt_mkdirs(set->state_dir, 0711, err);

    if (rc < 0)
        return rc;
    identity_of(set, &id);
    if (access(id.cert, F_OK) == 0)
        rc = bt_next(err,
                     bt_fail(err, BT_ERR_CONFLICT, "this node is enrolled already: %s", id.cert),
                     "remove %s to enrol it anew", id.dir);
    else
        rc = enrol(set, &id, err);
    identity_done(&id);
    return rc;
}
