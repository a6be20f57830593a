/* Listeners, dispatch, who asks, and the answers that come with the commits.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/http/http.h"

#include <stdio.h>
#include <string.h>

#include "daemon/http/own.h"
#include "daemon/http/uploads.h"
#include "lib/base/enc.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/crypto/hash.h"

handler_fn *const handlers[N_ROUTES] = {
    [ROUTE_JOB_SUBMIT] = job_submit,
    [ROUTE_AGENT_HEARTBEAT] = agent_heartbeat,
    [ROUTE_AGENT_WANTS] = agent_wants,
    [ROUTE_AGENT_CLAIM] = agent_claim,
    [ROUTE_AGENT_STARTED] = agent_started,
    [ROUTE_AGENT_ENDED] = agent_ended,
    [ROUTE_AGENT_MANIFEST] = agent_manifest,
    [ROUTE_AGENT_REGISTER] = agent_register,
    [ROUTE_AGENT_MEASURED] = agent_measured,
    [ROUTE_AGENT_TRIAL] = agent_trial,
    [ROUTE_AGENT_TRIAL_ENDED] = agent_trial_ended,
    [ROUTE_AGENT_SPEC] = agent_spec,
    [ROUTE_HELPER_ATTACH] = helper_attach,
    [ROUTE_HELPER_PUT] = helper_put,
    [ROUTE_HELPER_GET] = helper_get,
    [ROUTE_AGENT_LOG] = upload_log,
    [ROUTE_AGENT_BLOB_HAVE] = upload_blob_have,
    [ROUTE_AGENT_BLOB_PUT] = upload_blob,
    [ROUTE_AGENT_BLOB_KEPT] = keeps_note,
    [ROUTE_JOB_LIST] = job_list,
    [ROUTE_JOB_GET] = job_get,
    [ROUTE_JOB_CANCEL] = job_cancel,
    [ROUTE_JOB_HOLD] = job_hold,
    [ROUTE_JOB_RESULT] = job_result,
    [ROUTE_JOB_RELEASE] = job_release,
    [ROUTE_JOB_WATCH] = job_watch,
    [ROUTE_JOB_LOG] = job_log,
    [ROUTE_JOB_EXPLAIN] = job_explain,
    [ROUTE_WHOAMI] = read_whoami,
    [ROUTE_ENROL] = enrol,
    [ROUTE_RENEW] = renew,
    [ROUTE_AGENT_RENEW] = renew,
    [ROUTE_HELPER_RENEW] = renew,
    [ROUTE_QUOTA_LIST] = read_quota,
    [ROUTE_QUOTA_PUT] = admin_quota,
    [ROUTE_NATION_LIST] = read_nations,
    [ROUTE_NATION_POST] = admin_nation,
    [ROUTE_INSTITUTION_LIST] = read_institutions,
    [ROUTE_INSTITUTION_POST] = admin_institution,
    [ROUTE_PROJECT_LIST] = read_projects,
    [ROUTE_PROJECT_POST] = admin_project,
    [ROUTE_MEMBER_POST] = admin_member,
    [ROUTE_PERSON_LIST] = read_people,
    [ROUTE_PERSON_POST] = admin_person,
    [ROUTE_CLEARANCE_PUT] = admin_clearance,
    [ROUTE_TOKEN_POST] = admin_token,
    [ROUTE_REVOKE_POST] = admin_revoke,
    [ROUTE_NODE_LIST] = read_nodes,
    [ROUTE_NODE_STATE] = admin_node,
    [ROUTE_NODE_MEASURE] = admin_measure,
    [ROUTE_RATE_LIST] = read_rates,
    [ROUTE_RATE_POST] = admin_rate,
    [ROUTE_SITE_LIST] = read_sites,
    [ROUTE_SITE_GET] = site_show,
    [ROUTE_SITE_DIFF] = site_diff,
    [ROUTE_SITE_CHECK] = site_check_show,
    [ROUTE_SITE_REPORT] = site_report,
    [ROUTE_GUARANTEE_LIST] = read_guarantees,
    [ROUTE_GUARANTEE_POST] = admin_guarantee,
    [ROUTE_OUTAGE_LIST] = read_outages,
    [ROUTE_RESERVATION_LIST] = read_reservations,
    [ROUTE_DATASET_LIST] = read_datasets,
    [ROUTE_DATASET_POST] = admin_dataset,
    [ROUTE_REPORT_FAIRNESS] = read_fairness,
    [ROUTE_REPORT_PROMISES] = read_promises,
    [ROUTE_OUTAGE_POST] = admin_outage,
    [ROUTE_SITE_POST] = admin_site,
    [ROUTE_UNIXMAP_POST] = admin_unixmap,
    [ROUTE_UNIXMAPS_POST] = admin_unixmaps,
    [ROUTE_LEDGER_LIST] = read_ledger,
    [ROUTE_LEDGER_GET] = read_ledger_one,
    [ROUTE_EVENT_LIST] = read_events,
    [ROUTE_POLICY_GET] = read_policy,
    [ROUTE_STATUS] = read_status,
    [ROUTE_OPENAPI] = show_openapi,
    [ROUTE_METRICS] = show_metrics,
    [ROUTE_PUB_FRONT] = public_front,
    [ROUTE_PUB_MACHINE] = public_machine,
    [ROUTE_PUB_MACHINE_MAP] = public_machine_map,
    [ROUTE_PUB_REPORT] = public_report,
    [ROUTE_PUB_RECORD] = public_record,
    [ROUTE_PUB_FILE] = public_file,
    [ROUTE_PUB_CHECKPOINT] = public_checkpoint,
    [ROUTE_PUB_TILE] = public_tile,
    [ROUTE_PUB_BLOB] = public_blob,
    [ROUTE_PUB_VKEY] = public_vkey,
    [ROUTE_PUB_STYLE] = public_style,
};

/* ---- calls ---- */

static void call_free(void *user)
{
    struct call *c = user;

    json_free(c->body);
    route_match_done(&c->match);
    if (c->drop_data)
        c->drop_data(c->data);
    bt_free(c);
}

void http_fail(struct call *c, const struct bt_err *err)
{
    serve_problem(c->r, err, 0, NULL);
}

void http_json(struct call *c, struct bt_buf *json)
{
    struct serve_reply reply = {.status = 200, .type = "application/json"};
    uint8_t hash[BT_SHA256_SIZE];
    char etag[40] = "\"";

    bt_sha256(bt_buf_text(json), json->n, hash);
    bt_hex(hash, 16, etag + 1);
    etag[33] = '"';
    etag[34] = '\0';
    serve_reply_header(&reply, "ETag", etag);
    if (bt_streq(etag, c->etag)) {
        reply.status = 304;
        reply.type = NULL;
        bt_buf_done(json);
    } else {
        reply.n = json->n;
        reply.body = bt_buf_take(json);
    }
    serve_reply(c->r, &reply);
}

struct event *http_event(const struct call *c, enum event_kind kind)
{
    struct event *ev = event_new(kind);

    ev->who = c->principal;
    return ev;
}

int http_request_id(struct call *c, struct bt_uuid *ret, struct bt_err *err)
{
    const char *key = serve_header(c->r, "Idempotency-Key");

    if (!key)
        *ret = bt_uuid_new(bt_now_us());
    else if (bt_uuid_parse(key, ret) < 0 || !bt_uuid_is_v7(*ret))
        return bt_fail(err, BT_ERR_INVALID,
                       "Idempotency-Key is not a UUID of version 7 in lower case");
    return 0;
}

/* ---- who asks ---- */

static int access_of(const struct call *c, struct bt_err *err)
{
    const struct view_credential *w = &c->who;
    bool person = bt_streq(w->kind, "person") || bt_streq(w->kind, "operator");

    switch (c->match.route->access) {
    case ACCESS_PUBLIC:
    case ACCESS_ENROL:
        return 0;
    case ACCESS_OPERATOR:
        if (person && (w->roles & (ROLE_OPERATOR | ROLE_COUNCIL)))
            return 0;
        break;
    case ACCESS_PERSON:
        if (person)
            return 0;
        break;
    case ACCESS_AGENT:
        if (bt_streq(w->kind, "agent"))
            return 0;
        break;
    case ACCESS_HELPER:
        if (bt_streq(w->kind, "helper"))
            return 0;
        break;
    }
    return bt_fail(err, BT_ERR_FORBIDDEN, "a certificate of kind '%s' may not %s %s", w->kind,
                   c->match.route->method, c->match.route->pattern);
}

/* The verified certificate's key must be a live credential: revocation is one row. */
static int authenticate(struct call *c, struct bt_err *err)
{
    const struct cert_identity *id = serve_identity(c->r);

    if (c->match.route->access == ACCESS_PUBLIC || c->match.route->access == ACCESS_ENROL)
        return 0;
    if (!id)
        return bt_next(err, bt_fail(err, BT_ERR_UNAUTHENTICATED, "a client certificate is needed"),
                       "beamtime enrol --url URL --token-file FILE");
    if (!auth_find(c->h->auth, id->spki_sha256, &c->who))
        return bt_next(
            err,
            bt_fail(err, BT_ERR_UNAUTHENTICATED, "the key of '%s' is not enrolled here", id->id),
            "beamtime enrol --url URL --token-file FILE");
    if (!c->who.active && !c->who.revoked)
        return bt_fail(err, BT_ERR_FORBIDDEN, "'%s', or the nation, is suspended", id->id);
    if (!c->who.active)
        return bt_fail(err, BT_ERR_REVOKED, "the credential of '%s' is not valid any more", id->id);
    memcpy(c->principal.spki, id->spki_sha256, 32);
    bt_copy(c->principal.issuer, sizeof c->principal.issuer, id->issuer);
    bt_copy(c->principal.subject, sizeof c->principal.subject, id->id);
    c->principal.kind = bt_streq(c->who.kind, "agent")    ? WHO_AGENT
                        : bt_streq(c->who.kind, "helper") ? WHO_HELPER
                                                          : WHO_PERSON;
    return access_of(c, err);
}

/* One person must not fill the queue: counts the requests that wait for a commit. */
static int count_in(struct call *c, struct bt_err *err)
{
    uint32_t n = 0;

    if (c->who.person <= 0)
        return 0;
    pthread_mutex_lock(&c->h->lock);
    bt_map_get(&c->h->in_flight, (uint64_t)c->who.person, &n);
    if (n < LIMIT_PER_PERSON) {
        bt_map_put(&c->h->in_flight, (uint64_t)c->who.person, n + 1);
        c->counted = true;
    }
    pthread_mutex_unlock(&c->h->lock);
    if (!c->counted)
        return bt_fail(err, BT_ERR_TOO_MANY, "%u requests of yours are not answered yet", n);
    return 0;
}

static void count_out(struct call *c)
{
    uint32_t n = 0;

    if (!c->counted)
        return;
    c->counted = false;
    bt_map_get(&c->h->in_flight, (uint64_t)c->who.person, &n);
    if (n > 1)
        bt_map_put(&c->h->in_flight, (uint64_t)c->who.person, n - 1);
    else
        bt_map_del(&c->h->in_flight, (uint64_t)c->who.person);
}

/* ---- a request's way ---- */

static void log_refusal(const struct call *c, const struct bt_err *err)
{
    bt_log(BT_WARN, "refused", "peer", serve_peer(c->r), "method", serve_method(c->r), "path",
           serve_path(c->r), "code", bt_err_name(err->code), "text", err->text, "request",
           serve_id(c->r), NULL);
}

static void head(void *arg, struct serve_request *r)
{
    struct listen_arg *a = arg;
    struct call *c = bt_new(struct call);
    struct bt_err err = {0};
    int rc;

    c->h = a->h;
    c->on = a->on;
    c->r = r;
    serve_set_user(r, c, call_free);
    rc = route_find(serve_method(r), serve_path(r), a->on == LISTEN_PUBLIC, &c->match, &err);
    if (rc == 0)
        rc = authenticate(c, &err);
    if (rc < 0) {
        if (a->on != LISTEN_PUBLIC)
            log_refusal(c, &err);
        http_fail(c, &err);
        return;
    }
    if (c->match.route->id == ROUTE_AGENT_BLOB_PUT)
        upload_blob_head(c);
    else if (c->match.route->id == ROUTE_AGENT_LOG)
        upload_log_head(c);
    else if (c->match.route->request[0])
        serve_want_body(r, LIMIT_BODY_BYTES);
}

/* JSON of the routes that take it; an absent body is an empty object. */
static int parse_body(struct call *c, struct bt_err *err)
{
    const char *kind = c->match.route->request;
    size_t n;
    const char *text = serve_body(c->r, &n);

    if (!kind[0] || !strcmp(kind, "octets") || c->match.route->id == ROUTE_JOB_SUBMIT)
        return 0;
    return json_parse(n ? text : "{}", n ? n : 2, LIMIT_BODY_BYTES, &c->body, err);
}

static void ready(void *arg, struct serve_request *r)
{
    struct call *c = serve_user(r);
    const char *etag = serve_header(r, "If-None-Match");
    struct bt_err err = {0};
    int rc = parse_body(c, &err);

    if (etag)
        bt_copy(c->etag, sizeof c->etag, etag);

    (void)arg;
    if (rc < 0)
        http_fail(c, &err);
    else
        handlers[c->match.route->id](c);
}

static int turned(void *arg)
{
    const struct listen_arg *a = arg;

    return a->h->set.turn(a->h->set.arg, a);
}

/* ---- waiting for the commit ---- */

static uint64_t wait_for_reply(struct call *c, void (*done)(struct call *, const struct reply *))
{
    struct http *h = c->h;
    uint32_t place;
    uint64_t to;

    pthread_mutex_lock(&h->lock);
    if (h->n_unused) {
        place = h->unused[--h->n_unused];
    } else {
        BT_GROW(h->waiting, h->n_waiting, h->cap_waiting);
        place = h->n_waiting++;
    }
    h->waiting[place] = (struct waiting){c, done};
    to = ++h->last_reply;
    bt_map_put(&h->by_reply, to, place);
    pthread_mutex_unlock(&h->lock);
    return to;
}

/* The call that waits for `to`, off the list; NULL if there is none. */
static struct call *stop_waiting(struct http *h, uint64_t to,
                                 void (**done)(struct call *, const struct reply *))
{
    struct call *c = NULL;
    uint32_t place;

    pthread_mutex_lock(&h->lock);
    if (bt_map_get(&h->by_reply, to, &place)) {
        c = h->waiting[place].call;
        *done = h->waiting[place].done;
        bt_map_del(&h->by_reply, to);
        BT_GROW(h->unused, h->n_unused, h->cap_unused);
        h->unused[h->n_unused++] = place;
        count_out(c);
    }
    pthread_mutex_unlock(&h->lock);
    return c;
}

void http_answer(struct call *c, const struct reply *r)
{
    if (r->err.code)
        serve_problem(c->r, &r->err, r->http, r->more);
    else
        serve_json(c->r, r->http, bt_strdup(r->body ? r->body : "{}"),
                   r->body ? strlen(r->body) : 2);
}

static void post_list(struct call *c, struct event *before, struct event *ev,
                      void (*done)(struct call *c, const struct reply *r),
                      int (*post)(void *arg, struct event *ev, struct bt_err *err))
{
    struct http *h = c->h;
    struct event *first = before ? before : ev;
    struct bt_err err = {0};

    while (before && before->next)
        before = before->next;
    if (before)
        before->next = ev;
    if (count_in(c, &err) < 0) {
        event_free_list(first);
        http_fail(c, &err);
        return;
    }
    ev->reply_to = wait_for_reply(c, done);
    if (post(h->set.arg, first, &err) < 0) {
        (void)stop_waiting(h, ev->reply_to, &done);
        event_free_list(first);
        http_fail(c, &err);
    }
}

void http_post_turn(struct call *c, struct event *before, struct event *ev,
                    void (*done)(struct call *c, const struct reply *r))
{
    post_list(c, before, ev, done, c->h->set.post_soon);
}

void http_post(struct call *c, struct event *ev,
               void (*done)(struct call *c, const struct reply *r))
{
    post_list(c, NULL, ev, done, c->h->set.post);
}

/* A plan has every job after seconds; what is older is forgotten. */
enum { NEWCOMER_US = 30000000 };

static void note_newcomers(struct http *h, const struct batch *b)
{
    int64_t now = bt_mono_us();

    pthread_mutex_lock(&h->lock);
    while (h->old_newcomers < h->n_newcomers &&
           h->newcomers[h->old_newcomers].at_us < now - NEWCOMER_US)
        h->old_newcomers++;
    if (h->old_newcomers > h->n_newcomers / 2) {
        h->n_newcomers -= h->old_newcomers;
        memmove(h->newcomers, h->newcomers + h->old_newcomers,
                h->n_newcomers * sizeof *h->newcomers);
        h->old_newcomers = 0;
    }
    for (int i = 0; i < b->n_jobs; i++) {
        if (!b->jobs[i].start_us)
            continue;
        BT_GROW(h->newcomers, h->n_newcomers, h->cap_newcomers);
        h->newcomers[h->n_newcomers++] =
            (struct newcomer){b->jobs[i].job, b->jobs[i].start_us, now};
    }
    pthread_mutex_unlock(&h->lock);
}

int64_t http_newcomer(struct http *h, struct bt_uuid job)
{
    int64_t start = 0;

    pthread_mutex_lock(&h->lock);
    for (uint32_t i = h->n_newcomers; i-- > h->old_newcomers && !start;)
        if (bt_uuid_eq(h->newcomers[i].job, job))
            start = h->newcomers[i].start_us;
    pthread_mutex_unlock(&h->lock);
    return start;
}

void http_committed(struct http *h, const struct batch *b)
{
    auth_apply(h->auth, b->credentials, b->n_credentials);
    note_newcomers(h, b);
    for (int i = 0; i < b->n_replies; i++) {
        void (*done)(struct call *, const struct reply *) = NULL;
        struct call *c = stop_waiting(h, b->replies[i].to, &done);

        if (c && done)
            done(c, &b->replies[i]);
        else if (c)
            http_answer(c, &b->replies[i]);
    }
    for (int i = 0; i < b->n_jobs; i++) {
        hub_wake(h, hub_key('j', b->jobs[i].job.b, sizeof b->jobs[i].job.b));
        if (job_state_terminal(b->jobs[i].state))
            uploads_ended(h, b->jobs[i].job);
    }
    for (int i = 0; i < b->n_trials; i++)
        hub_wake(h, hub_key('n', b->trials[i].node, strlen(b->trials[i].node)));
    for (int i = 0; i < b->n_wants; i++)
        hub_wake(h, hub_key('n', b->wants[i].node, strlen(b->wants[i].node)));
}

/* ---- life ---- */

static int listen_on(struct http *h, enum listener on, const struct http_address *address,
                     struct bt_err *err)
{
    struct serve_settings s = {.address = address->host, .port = address->port};

    s.head_bytes = on == LISTEN_AGENTS ? LIMIT_HEAD_AGENT_BYTES : LIMIT_HEAD_PEOPLE_BYTES;
    if (on != LISTEN_PUBLIC) {
        s.cert_pem = pki_server_chain(h->set.pki);
        s.key_pem = pki_server_key(h->set.pki);
        s.ca_pem = pki_root_pem(h->set.pki);
        s.store = pki_store(h->set.pki);
    }
    h->arg[on] = (struct listen_arg){h, on};
    h->handler[on] =
        (struct serve_handler){&h->arg[on], head, ready, on == LISTEN_PUBLIC ? NULL : turned};
    return server_start(&s, &h->handler[on], &h->server[on], err);
}

int http_new(const struct http_settings *settings, struct http **ret, struct bt_err *err)
{
    struct http *h = bt_new(struct http);

    h->set = *settings;
    h->vkey = settings->vkey ? bt_strdup(settings->vkey) : NULL;
    h->started_us = bt_now_us();
    h->last_reply = UINT64_C(1) << 32; /* below are the daemon's own */
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->ended.lock, NULL);
    pthread_mutex_init(&h->entries.lock, NULL);
    h->auth = auth_new();
    h->hub = hub_new();
    h->tasks = tasks_start(h, err);
    if (!h->tasks) {
        http_free(h);
        return -BT_ERR_INTERNAL;
    }
    *ret = h;
    return 0;
}

int http_listen(struct http *h, struct bt_err *err)
{
    int rc = listen_on(h, LISTEN_PEOPLE, &h->set.listen_people, err);

    if (rc == 0)
        rc = listen_on(h, LISTEN_AGENTS, &h->set.listen_agents, err);
    if (rc == 0)
        rc = listen_on(h, LISTEN_PUBLIC, &h->set.listen_public, err);
    return rc;
}

void http_ports(const struct http *h, int *people, int *agents, int *open)
{
    *people = server_port(h->server[LISTEN_PEOPLE]);
    *agents = server_port(h->server[LISTEN_AGENTS]);
    *open = server_port(h->server[LISTEN_PUBLIC]);
}

void http_quiet(struct http *h, int drain_ms)
{
    for (int i = 0; h && i < LISTENERS; i++)
        if (h->server[i]) {
            server_stop(h->server[i], drain_ms);
            h->server[i] = NULL;
        }
}

void http_free(struct http *h)
{
    if (!h)
        return;
    http_quiet(h, 0);
    tasks_stop(h->tasks);
    hub_free(h->hub);
    auth_free(h->auth);
    bt_free(h->waiting);
    bt_free(h->newcomers);
    bt_free(h->unused);
    bt_map_done(&h->by_reply);
    bt_map_done(&h->in_flight);
    bt_free(h->vkey);
    bt_free(h->ended.counts);
    bt_free(h->entries.counts);
    pthread_mutex_destroy(&h->ended.lock);
    pthread_mutex_destroy(&h->entries.lock);
    pthread_mutex_destroy(&h->lock);
    bt_free(h);
}
