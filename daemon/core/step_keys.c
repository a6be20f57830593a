/* Tokens, keys and their certificates: who comes in, how long, until when.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/core/doing.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static void emit_credential(struct core *c, const struct credential *cr)
{
    row_copy(ROW_KIND_credential,
             rows_put(&c->batch->rows, ROW_KIND_credential, cr->row.spki.b, 32), &cr->row);
    emit_credential_view(c, cr);
}

int do_token(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct token *t = token_find(c, e->secret_sha256);
    int32_t person = ROW_NULL32;

    if (t)
        return 0;
    if (bt_streq(e->kind, "person")) {
        struct person *p = d->nation ? person_find(c, d->nation->row.id, e->subject) : NULL;

        if (!p)
            return bt_next(&d->err,
                           bt_fail(&d->err, BT_ERR_NOT_FOUND, "nation '%s' has no person '%s'",
                                   e->nation, e->subject),
                           "beamtime person add");
        person = p->row.id;
    }
    BT_GROW(c->tokens, c->n_tokens, c->cap_tokens);
    t = &c->tokens[c->n_tokens++];
    *t = (struct token){.row = {.kind = bt_strdup(e->kind),
                                .nation = person == ROW_NULL32 ? ROW_NULL32 : d->nation->row.id,
                                .subject = bt_strdup(e->subject),
                                .person = person,
                                .expires_us = e->until_us,
                                .used_us = ROW_NULL64}};
    memcpy(t->row.sha256.b, e->secret_sha256, 32);
    row_copy(ROW_KIND_token, rows_put(&c->batch->rows, ROW_KIND_token, t->row.sha256.b, 32),
             &t->row);
    d->changed = true;
    return 0;
}

static void revoke(struct core *c, struct credential *cr)
{
    cr->row.revoked_us = c->now_us;
    emit_credential(c, cr);
}

int do_revoke(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct person *p =
        e->person[0] && d->nation ? person_find(c, d->nation->row.id, e->person) : NULL;
    bool found = false;

    for (int32_t i = 0; i < c->n_credentials; i++) {
        struct credential *cr = &c->credentials[i];
        bool meant = p ? cr->row.person == p->row.id : !memcmp(cr->row.spki.b, e->spki, 32);

        if (!meant)
            continue;
        if (!p && cr->row.nation != d->actor.nation && !has_role(d, ROLE_COUNCIL | ROLE_OPERATOR))
            return bt_fail(&d->err, BT_ERR_FORBIDDEN, "this credential is of another nation");
        found = true;
        if (cr->row.revoked_us != ROW_NULL64)
            continue;
        revoke(c, cr);
        d->about = cr->row.subject;
        d->changed = true;
    }
    for (int32_t i = 0; p && i < c->n_tokens; i++) { /* nor comes in again with an older token */
        struct token *t = &c->tokens[i];

        if (t->row.person != p->row.id || t->row.used_us != ROW_NULL64 ||
            t->row.expires_us <= c->now_us)
            continue;
        t->row.expires_us = c->now_us;
        row_copy(ROW_KIND_token, rows_put(&c->batch->rows, ROW_KIND_token, t->row.sha256.b, 32),
                 &t->row);
        found = true;
        d->changed = true;
    }
    if (!found)
        return bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no such credential");
    return 0;
}

/* Whom the certificate is to name. */
static void answer_identity(struct core *c, const struct credential *cr, int http)
{
    struct reply *r = batch_reply(c->batch, c->ev->reply_to);

    r->http = http;
    bt_copy(r->kind, sizeof r->kind, cr->row.kind);
    bt_copy(r->nation, sizeof r->nation, nation_code(c, cr->row.nation));
    bt_copy(r->subject, sizeof r->subject, cr->row.subject);
}

void step_enrol(struct core *c, const struct event *ev)
{
    const struct ev_enrol *e = &ev->u.enrol;
    struct token *t = token_find(c, e->token_sha256);
    struct credential *cr = credential_find(c, e->spki);
    struct bt_err err;

    if (!t || t->row.expires_us <= c->now_us ||
        (t->row.used_us != ROW_NULL64 && !(cr && bt_streq(cr->row.subject, t->row.subject)))) {
        bt_next(&err,
                bt_fail(&err, BT_ERR_TOKEN, "the enrolment token is unknown, used or expired"),
                "ask your nation's administrator: beamtime token new");
        refuse(c, &err, NULL);
        return;
    }
    if (!cr) {
        BT_GROW(c->credentials, c->n_credentials, c->cap_credentials);
        cr = &c->credentials[c->n_credentials++];
        *cr = (struct credential){.row = {.kind = bt_strdup(t->row.kind),
                                          .nation = t->row.nation,
                                          .subject = bt_strdup(t->row.subject),
                                          .person = t->row.person,
                                          .not_after_us = e->not_after_us,
                                          .revoked_us = ROW_NULL64}};
        memcpy(cr->row.spki.b, e->spki, 32);
        bt_map_put(&c->by_key, bt_map_hash(e->spki, 32), (uint32_t)c->n_credentials - 1);
        t->row.used_us = c->now_us;
        row_copy(ROW_KIND_token, rows_put(&c->batch->rows, ROW_KIND_token, t->row.sha256.b, 32),
                 &t->row);
        emit_credential(c, cr);
        emit_event(c, "enrol", "token", cr->row.subject, NULL);
    }
    if (ev->reply_to)
        answer_identity(c, cr, 201);
}

#define RENEW_STEP_US INT64_C(3600000000) /* asked again sooner, nothing is written */

/* The key stays: one row still ends all certificates that it ever had. Asked again, when the answer
 * was lost, it gets the certificate again. */
void step_renew(struct core *c, const struct event *ev)
{
    const struct ev_renew *e = &ev->u.renew;
    struct actor who;
    struct credential *cr;
    struct bt_err err;
    int rc = actor_of(c, &ev->who, &who, &err);

    if (rc == 0 && memcmp(e->spki, who.credential->row.spki.b, 32) != 0)
        rc = bt_next(&err,
                     bt_fail(&err, BT_ERR_FORBIDDEN, "a certificate is renewed for its own key"),
                     "a new key wants a new token: beamtime token new");
    if (rc < 0) {
        refuse(c, &err, NULL);
        return;
    }
    cr = credential_find(c, e->spki);
    if (e->not_after_us - RENEW_STEP_US > cr->row.not_after_us) {
        cr->row.not_after_us = e->not_after_us;
        emit_credential(c, cr);
        emit_event(c, "renew", who.text, cr->row.subject, NULL);
    }
    if (ev->reply_to)
        answer_identity(c, cr, 200);
}
