/* A one-time token and a signing request become a certificate.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The core spends the token and enters the key; only after that is committed does the authority
 * sign. A repeated request with the same token and key gets a certificate again. */
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
        bt_wipe(e->token, strlen(e->token));
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
    serve_json(c->r, 201, body.p, body.n);
}

void enrol(struct call *c)
{
    static const struct json_field fields[] = {
        {"token", JSON_F_STRING, offsetof(struct enrolment, token), true, .size = 128},
        {"csr", JSON_F_STRING, offsetof(struct enrolment, csr), true, .size = CERT_DER_MAX},
    };
    struct enrolment *e = bt_new(struct enrolment);
    struct event *ev = event_new(EV_ENROL);
    struct cert_pub *pub = NULL;
    struct bt_err err = {0};
    int rc;

    c->data = e;
    c->drop_data = drop;
    rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), e, &err);
    if (rc == 0)
        rc = cert_csr_parse(e->csr, strlen(e->csr), &pub, &err);
    if (rc < 0) {
        event_free(ev);
        http_fail(c, &err);
        return;
    }
    bt_sha256(e->token, strlen(e->token), ev->u.enrol.token_sha256);
    cert_pub_spki_sha256(pub, ev->u.enrol.spki);
    cert_pub_free(pub);
    ev->u.enrol.not_after_us = bt_now_us() + INT64_C(86400) * CERT_LEAF_DAYS * BT_US_PER_S;
    http_post(c, ev, issue);
}
