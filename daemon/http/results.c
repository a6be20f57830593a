/* What researchers say came out of their jobs. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/http/own.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"
#include "lib/record/result.h"
#include "lib/record/sign.h"

struct envelope {
    const struct json *body;
    uint8_t key[SIGN_PUBLIC_SIZE];
    char sig[96];
};

static int read_sig(const char *text, uint8_t ret[SIGN_SIZE], struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf sig = {0};

    if (bt_unbase64(&sig, text, strlen(text)) < 0 || sig.n != SIGN_SIZE)
        return bt_fail(err, BT_ERR_INVALID, "member 'sig' is the base64 of %d bytes", SIGN_SIZE);
    memcpy(ret, sig.p, SIGN_SIZE);
    return 0;
}

/* The body in its one spelling, signed by the key; about this job of this facility. */
static int read_result(struct call *c, struct ev_result *e, struct bt_err *err)
{
    static const struct json_field fields[] = {
        {"body", JSON_F_VALUE, offsetof(struct envelope, body), true},
        {"key", JSON_F_HEX32, offsetof(struct envelope, key), true},
        {"sig", JSON_F_TEXT, offsetof(struct envelope, sig), true, .size = 96},
    };
    struct envelope said = {.sig = ""};
    struct bt_buf canonical = {0};
    struct result_head head;
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &said, err);

    if (rc == 0)
        rc = read_sig(said.sig, e->sig, err);
    if (rc == 0)
        rc = result_read(said.body, &head, &canonical, err);
    if (rc == 0 && !bt_uuid_eq(head.job, e->job))
        rc = bt_fail(err, BT_ERR_INVALID, "member 'job' is another than the one in the path");
    if (rc == 0 && !bt_streq(head.facility, pki_facility(c->h->set.pki)))
        rc = bt_fail(err, BT_ERR_INVALID, "member 'facility' is not %s",
                     pki_facility(c->h->set.pki));
    if (rc == 0)
        rc = record_verify(said.key, bt_buf_text(&canonical), canonical.n, e->sig, err);
    if (rc == 0) {
        e->record = head.record;
        bt_copy(e->person, sizeof e->person, head.person);
        memcpy(e->key, said.key, sizeof e->key);
        e->body = bt_buf_take(&canonical);
    }
    bt_buf_done(&canonical);
    return rc;
}

static void post(struct call *c)
{
    struct event *ev = http_event(c, EV_RESULT);
    struct ev_result *e = &ev->u.result;
    struct bt_err err = {0};
    size_t n;
    const char *body = serve_body(c->r, &n);
    int rc = read_job_id(c->h, c->match.param[0], &e->job, &err);

    if (rc == 0)
        rc = http_request_id(c, &e->id, &err);
    if (rc == 0)
        rc = read_result(c, e, &err);
    if (rc < 0) {
        event_free(ev);
        http_fail(c, &err);
        return;
    }
    bt_sha256(body ? body : "", n, e->body_sha256);
    http_post(c, ev, NULL);
}

void job_result(struct call *c)
{
    tasks_add(c, post);
}
