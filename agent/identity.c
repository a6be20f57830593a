/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/identity.h"

#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

enum { PEM_MAX = 65536 };

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

int identity_key(const struct identity *id, struct cert_key **ret, struct bt_err *err)
{
    int rc = bt_mkdirs(id->dir, 0700, err);

    return rc < 0 ? rc : cert_key_need(id->key, ret, err);
}

int identity_request(const struct cert_key *key, const char *token, struct bt_buf *to,
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
    if (token)
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
int identity_keep(const struct identity *id, const char *answer, size_t n,
                  const struct cert_key *key, bool first, struct bt_err *err)
{
    JSON_AUTO struct json *j = NULL;
    struct cert *cert = NULL;
    BT_AUTO char *ca = bt_printf("%s/ca.pem", id->dir);
    int rc = json_parse(answer, n, PEM_MAX, &j, err);
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
    if (rc == 0 && first)
        rc = keep(ca, json_str(json_get(j, "ca"), ""), err);
    if (rc == 0 && first)
        rc = keep(id->node, node, err);
    return rc < 0 ? rc : keep(id->cert, pem, err);
}

int64_t identity_left_us(const struct identity *id, int64_t now_us)
{
    BT_BUF_AUTO struct bt_buf pem = {0};
    struct cert *cert = NULL;
    int64_t left = INT64_MAX;

    if (bt_file_read(id->cert, PEM_MAX, &pem, NULL) == 0 &&
        cert_from_pem(bt_buf_text(&pem), pem.n, &cert, NULL) == 0)
        left = cert_not_after_us(cert) - now_us;
    cert_free(cert);
    return left;
}
