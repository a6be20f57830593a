/* The state machine's front door: stamps, dispatch, who acts, answers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/plan_view.h"
#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct event *event_new(enum event_kind kind)
{
    struct event *ev = bt_new(struct event);

    ev->kind = kind;
    if (kind == EV_ADMIN)
        ev->u.admin.tier = -1;
    return ev;
}

void event_free_list(struct event *ev)
{
    while (ev) {
        struct event *next = ev->next;

        event_free(ev);
        ev = next;
    }
}

void event_free(struct event *ev)
{
    if (!ev)
        return;
    switch (ev->kind) {
    case EV_SUBMIT:
        bt_free(ev->u.submit.text);
        for (int32_t i = 0; i < ev->u.submit.n_tasks; i++)
            bt_free(ev->u.submit.tasks[i].text);
        bt_free(ev->u.submit.tasks);
        break;
    case EV_CANCEL:
        bt_free(ev->u.cancel.reason);
        break;
    case EV_RESULT:
        bt_free(ev->u.result.body);
        break;
    case EV_TRIAL_OPEN:
        bt_wipe(ev->u.trial_open.secret, sizeof ev->u.trial_open.secret);
        break;
    case EV_TRIAL_ENDED:
        bt_free(ev->u.trial_ended.links);
        break;
    case EV_NODE_REPORT:
        bt_free(ev->u.node_report.inventory);
        bt_free(ev->u.node_report.live);
        break;
    case EV_ADMIN:
        bt_free(ev->u.admin.conf);
        bt_free(ev->u.admin.path);
        bt_free(ev->u.admin.maps);
        break;
    case EV_SITE:
        bt_free(ev->u.site.nodes);
        break;
    case EV_PLAN_READY:
        plan_unref(ev->u.plan_ready.plan);
        break;
    case EV_POLICY:
        bt_free(ev->u.policy.text);
        break;
    default:
        break;
    }
    bt_free(ev);
}

void answer(struct core *c, int http, char *body)
{
    struct reply *r;

    if (!c->ev->reply_to) {
        bt_free(body);
        return;
    }
    r = batch_reply(c->batch, c->ev->reply_to);
    r->http = http;
    r->body = body;
}

void refuse(struct core *c, const struct bt_err *err, char *more)
{
    struct reply *r;

    if (!c->ev->reply_to) {
        bt_free(more);
        return;
    }
    r = batch_reply(c->batch, c->ev->reply_to);
    r->http = bt_err_http(err->code);
    r->err = *err;
    r->more = more;
}

int actor_of(struct core *c, const struct principal *who, struct actor *ret, struct bt_err *err)
{
    struct credential *cr = credential_find(c, who->spki);
    const struct row_credential *r = cr ? &cr->row : NULL;
    struct person *p = NULL;

    if (!r)
        return bt_next(
            err, bt_fail(err, BT_ERR_UNAUTHENTICATED, "this certificate's key is not enrolled"),
            "beamtime enrol --url URL --token-file FILE");
    if (r->revoked_us != ROW_NULL64)
        return bt_fail(err, BT_ERR_REVOKED, "the credential of %s is revoked", r->subject);
    if (r->not_after_us <= c->now_us)
        return bt_next(err, bt_fail(err, BT_ERR_UNAUTHENTICATED, "the certificate has expired"),
                       "beamtime enrol with a new token");
    if (r->nation > 0 && !bt_streq(c->nations[r->nation - 1].row.state, "active"))
        return bt_fail(err, BT_ERR_FORBIDDEN, "nation %s is suspended", nation_code(c, r->nation));
    if (r->person > 0) {
        p = &c->persons[r->person - 1];
        if (!bt_streq(p->row.state, "active"))
            return bt_fail(err, BT_ERR_FORBIDDEN, "%s is not active here", p->row.login);
    }
    *ret = (struct actor){.credential = cr, .person = p, .nation = r->nation};
    ret->roles = p ? p->row.roles : bt_streq(r->kind, "operator") ? ROLE_OPERATOR : 0;
    snprintf(ret->text, sizeof ret->text, "%s/%s",
             r->nation > 0 ? nation_code(c, r->nation) : "operator", r->subject);
    return 0;
}

void core_step(struct core *c, const struct event *ev, struct batch *batch)
{
    c->ev = ev;
    c->batch = batch;
    if (ev->at_us > c->now_us)
        c->now_us = ev->at_us;
    switch (ev->kind) {
    case EV_SUBMIT:
        step_submit(c, ev);
        break;
    case EV_CANCEL:
        step_cancel(c, ev);
        break;
    case EV_HOLD:
        step_hold(c, ev);
        break;
    case EV_RESULT:
        step_result(c, ev);
        break;
    case EV_ADMIN:
        step_admin(c, ev);
        break;
    case EV_ENROL:
        step_enrol(c, ev);
        break;
    case EV_RENEW:
        step_renew(c, ev);
        break;
    case EV_CLAIM:
        step_claim(c, ev);
        break;
    case EV_STARTED:
        step_started(c, ev);
        break;
    case EV_RANKS_ENDED:
        step_ranks_ended(c, ev);
        break;
    case EV_MANIFEST:
        step_manifest(c, ev);
        break;
    case EV_NODE_REPORT:
        step_node_report(c, ev);
        break;
    case EV_MEASURED:
        step_measured(c, ev);
        break;
    case EV_TRIAL_OPEN:
        step_trial_open(c, ev);
        break;
    case EV_TRIAL_ENDED:
        step_trial_ended(c, ev);
        break;
    case EV_TICK:
        step_tick(c);
        break;
    case EV_PLAN_READY:
        step_plan_ready(c, ev);
        break;
    case EV_POLICY:
        step_policy(c, ev);
        break;
    case EV_SITE:
        step_site(c, ev);
        break;
    case EV_UNPLACED:
        step_unplaced(c, ev);
        break;
    }
    c->ev = NULL;
    c->batch = NULL;
}

bool core_plan_is_due(const struct core *core)
{
    return core->plan_due;
}
