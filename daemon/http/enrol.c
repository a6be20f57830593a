/* A signing request becomes a certificate: with a one-time token, or for the key that asks.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The core spends the token and enters the key, or moves its end; only after that is committed
 * does the authority sign. A repeated request gets a certificate again. */
#include <string.h>

#include "daemon/http/own.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"

struct enrolment {
    char *token;
    char *csr;
};

static void drop(void *data)
{
    struct enrolment *e = data;

    if (e->token)
        bt_wipe(e->token, strlen(e->token)); /* NULL: a renewal */
    bt_free(e->token);
    bt_free(e->csr);
    bt_free(e);
}

static void issue(struct call *c, const struct reply *r)
{
    const struct enrolment *e = c->data;
    struct pki *pki = c->h->set.pki;
    BT_BUF_AUTO struct bt_buf chain = {0};
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    struct bt_err err = {0};

    if (r->err.code) {
        http_answer(c, r);
        return;
    }
    if (pki_issue(pki, &(struct pki_whom){r->nation, r->kind, r->subject}, e->csr, strlen(e->csr),
                  bt_now_us(), &chain, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    jw_object(&w, NULL);
    jw_str(&w, "certificate", bt_buf_text(&chain));
    jw_str(&w, "ca", pki_root_pem(pki));
    jw_str(&w, "kind", r->kind);
    jw_str(&w, "nation", r->nation[0] ? r->nation : CERT_OPERATOR);
    jw_str(&w, "subject", r->subject);
    jw_str(&w, "facility", pki_facility(pki));
    jw_end_object(&w);
    serve_json(c->r, r->http, body.p, body.n);
}

/* Reads the body into c->data and the key of its request into spki; answers what is wrong. */
static int read_request(struct call *c, const struct json_field *fields, size_t n, uint8_t spki[32])
{
    struct enrolment *e = bt_new(struct enrolment);
    struct cert_pub *pub = NULL;
    struct bt_err err = {0};
    int rc;

    c->data = e;
    c->drop_data = drop;
    rc = json_read(c->body, fields, n, e, &err);
    if (rc == 0)
        rc = cert_csr_parse(e->csr, strlen(e->csr), &pub, &err);
    if (rc < 0) {
        http_fail(c, &err);
        return rc;
    }
    cert_pub_spki_sha256(pub, spki);
    cert_pub_free(pub);
    return 0;
}

static int64_t end_of_leaf_us(void)
{
    return bt_now_us() + INT64_C(86400) * CERT_LEAF_DAYS * BT_US_PER_S;
}

#define CSR                                                                               \
    {                                                                                     \
        "csr", JSON_F_STRING, offsetof(struct enrolment, csr), true, .size = CERT_DER_MAX \
    }

void enrol(struct call *c)
{
    static const struct json_field fields[] = {
        {"token", JSON_F_STRING, offsetof(struct enrolment, token), true, .size = 128}, CSR};
    const struct enrolment *e;
    uint8_t spki[32];
    struct event *ev;

    if (read_request(c, fields, BT_ARRAY_LEN(fields), spki) < 0)
        return;
    e = c->data;
    ev = event_new(EV_ENROL);
    bt_sha256(e->token, strlen(e->token), ev->u.enrol.token_sha256);
    memcpy(ev->u.enrol.spki, spki, sizeof spki);
    ev->u.enrol.not_after_us = end_of_leaf_us();
    http_post(c, ev, issue);
}

void renew(struct call *c)
{
    static const struct json_field fields[] = {CSR};
    uint8_t spki[32];
    struct event *ev;

    if (read_request(c, fields, BT_ARRAY_LEN(fields), spki) < 0)
        return;
    ev = http_event(c, EV_RENEW);
    memcpy(ev->u.renew.spki, spki, sizeof spki);
    ev->u.renew.not_after_us = end_of_leaf_us();
    http_post(c, ev, issue);
}
