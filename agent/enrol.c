/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/enrol.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/link_http.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/cert.h"
#include "lib/json/json.h"
#include "lib/net/net.h"

enum { TOKEN_MAX = 512, PEM_MAX = 65536 };

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

static int take_key(const struct identity *id, struct cert_key **ret, struct bt_err *err)
{
    int rc = bt_mkdirs(id->dir, 0700, err);

    if (rc < 0)
        return rc;
    if (access(id->key, F_OK) == 0)
        return cert_key_load(id->key, ret, err);
    rc = cert_key_new(ret, err);
    return rc < 0 ? rc : cert_key_save(*ret, id->key, err);
}

static int write_request(const struct cert_key *key, const char *token, struct bt_buf *to,
                         struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf csr = {0};
    struct json_writer w = {.to = to};
    char host[256] = "node";
    int rc;

    (void)gethostname(host, sizeof host - 1);
    rc = cert_csr_make(key, host, &csr, err);
    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    jw_str(&w, "token", token);
    jw_str(&w, "csr", csr.p);
    jw_end_object(&w);
    return 0;
}

static int keep(const char *path, const char *text, struct bt_err *err)
{
    return bt_file_write(path, 0600, text, strlen(text), err);
}

/* The certificate last: with it the node is enrolled. */
static int keep_answer(const struct identity *id, const char *text, size_t n,
                       const struct cert_key *key, struct bt_err *err)
{
    JSON_AUTO struct json *j = NULL;
    struct cert *cert = NULL;
    BT_AUTO char *ca = bt_printf("%s/ca.pem", id->dir);
    int rc = json_parse(text, n, PEM_MAX, &j, err);
    const char *pem = json_str(json_get(j, "certificate"), "");
    const char *node = json_str(json_get(j, "subject"), "");

    if (rc == 0)
        rc = cert_from_pem(pem, strlen(pem), &cert, err);
    if (rc == 0)
        rc = cert_matches_key(cert, key, err);
    cert_free(cert);
    const char *kind = json_str(json_get(j, "kind"), "?");
    if (rc == 0 && !bt_streq(kind, "agent") && !bt_streq(kind, "helper"))
        rc = bt_fail(err, BT_ERR_TOKEN, "the token was not for an agent but for a %s", kind);
    if (rc == 0 && !bt_is_name(node, CERT_NAME_MAX - 1))
        rc = bt_fail(err, BT_ERR_INVALID, "the facility calls this node \"%.64s\"", node);
    if (rc == 0)
        rc = keep(ca, json_str(json_get(j, "ca"), ""), err);
    if (rc == 0)
        rc = keep(id->node, node, err);
    return rc < 0 ? rc : keep(id->cert, pem, err);
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
        rc = take_key(id, &key, err);
    if (rc == 0)
        rc = write_request(key, token.p, &body, err);
    if (rc == 0)
        rc = ask(set, id, &body, &reply, err);
    if (rc == 0)
        rc = keep_answer(id, reply.body ? reply.body : "", reply.n, key, err);
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
