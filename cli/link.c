/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/link.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"
#include "lib/net/net.h"

enum { BLOB_DEADLINE_MS = 3600000 }; /* a checkpoint of many gigabytes */

/* lib/net takes the root as a file. */
static int temporary_file(const char *text, char path[64], struct bt_err *err)
{
    BT_FD_AUTO int fd = -1;

    bt_copy(path, 64, "/tmp/beamtime-ca.XXXXXX");
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return bt_fail_errno(err, BT_ERR_IO, "cannot make a file in %s", path);
    return bt_write_all(fd, text, strlen(text), err);
}

int link_enrol(struct app *app, const char *url, const char *ca_pem, const char *body,
               struct reply *ret, struct bt_err *err)
{
    struct net_client *client = NULL;
    struct net_reply reply = {0};
    char ca[64] = "";
    const struct net_settings settings = {.url = url, .ca_file = ca, .program = "beamtime"};
    int rc = temporary_file(ca_pem, ca, err);

    if (rc >= 0)
        rc = net_client_new(&settings, &client, err);
    if (rc >= 0) {
        rc = net_post(client, "/v1/enrol", body, &reply, err);
        rc = app_answer(app, rc, &reply, ret, err);
    }
    net_client_free(client);
    if (*ca)
        unlink(ca);
    return rc;
}

/* ---- the public listener ---- */

struct public
{
    struct net_client *client;
    const char *base; /* borrowed */
};

int public_open(const char *base, struct public **ret, struct bt_err *err)
{
    const struct net_settings settings = {.url = base, .program = "beamtime"};
    struct net_client *client;
    int rc = net_client_new(&settings, &client, err);

    if (rc < 0)
        return rc;
    *ret = bt_new(struct public);
    (*ret)->client = client;
    (*ret)->base = base;
    return 0;
}

void public_close(struct public *p)
{
    if (!p)
        return;
    net_client_free(p->client);
    bt_free(p);
}

struct sunk {
    struct bt_buf *to; /* NULL: hash only */
    size_t max;
    struct bt_sha256 hash;
    int64_t n;
};

static int sink(void *arg, const void *p, size_t n)
{
    struct sunk *s = arg;

    s->n += (int64_t)n;
    if (!s->to) {
        bt_sha256_add(&s->hash, p, n);
        return 0;
    }
    if ((size_t)s->n > s->max)
        return -BT_ERR_TOO_LARGE;
    bt_buf_add(s->to, p, n);
    return 0;
}

static int fetch(struct public *p, const char *path, struct sunk *s, struct bt_err *err)
{
    BT_AUTO char *full = bt_printf("/%s", path);
    const struct net_request request = {
        .path = full, .sink = sink, .sink_arg = s, .deadline_ms = BLOB_DEADLINE_MS, .follow = true};
    struct net_reply reply = {0};
    struct bt_err why = {0};
    int rc = net_call(p->client, &request, &reply, &why);

    net_reply_done(&reply);
    if (rc == -BT_ERR_NOT_FOUND)
        return bt_fail(err, BT_ERR_NOT_FOUND, "%s%s is not there", p->base, full);
    return rc < 0 ? bt_next(err, bt_fail(err, why.code, "%s%s: %s", p->base, full, why.text), "%s",
                            why.next)
                  : 0;
}

int public_get(struct public *p, const char *path, size_t max, struct bt_buf *to,
               struct bt_err *err)
{
    struct bt_buf body = {0};
    struct sunk s = {.to = &body, .max = max};
    int rc = fetch(p, path, &s, err);

    if (rc >= 0)
        bt_buf_add(to, bt_buf_text(&body), body.n);
    bt_buf_done(&body);
    return rc;
}

int public_hash(struct public *p, const char *path, uint8_t sha256[32], int64_t *ret_bytes,
                struct bt_err *err)
{
    struct sunk s = {0};
    int rc;

    bt_sha256_init(&s.hash);
    rc = fetch(p, path, &s, err);
    if (rc < 0)
        return rc;
    bt_sha256_end(&s.hash, sha256);
    *ret_bytes = s.n;
    return 0;
}
