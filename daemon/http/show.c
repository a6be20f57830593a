/* What describes the daemon: its interface for machines, its counters for Prometheus.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/http/own.h"
#include "lib/api/openapi.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"

void show_openapi(struct call *c)
{
    struct bt_buf text = {0};

    openapi_write(&text, pki_facility(c->h->set.pki), BT_VERSION);
    serve_json(c->r, 200, text.p, text.n);
}

/* ---- metrics ---- */

static void metric(struct bt_buf *to, const char *name, const char *type, const char *help)
{
    bt_buf_printf(to, "# HELP beamtime_%s %s\n# TYPE beamtime_%s %s\n", name, help, name, type);
}

static void listeners(struct bt_buf *to, const struct http *h)
{
    static const char *const names[LISTENERS] = {"people", "agents", "public"};
    static const struct {
        const char *name, *type, *help;
        size_t at;
    } rows[] = {
        {"http_requests_total", "counter", "requests begun",
         offsetof(struct serve_counts, requests)},
        {"http_refused_heads_total", "counter", "requests with ambiguous framing",
         offsetof(struct serve_counts, refused_heads)},
        {"http_handshakes_cut_total", "counter", "connections cut before their first request",
         offsetof(struct serve_counts, handshakes_cut)},
        {"http_bodies_cut_total", "counter", "connections cut in a slow body",
         offsetof(struct serve_counts, bodies_cut)},
        {"http_deadlines_total", "counter", "requests answered 503, outcome unknown",
         offsetof(struct serve_counts, deadlines)},
        {"http_connections", "gauge", "open connections",
         offsetof(struct serve_counts, connections)},
        {"http_requests", "gauge", "requests begun and not finished",
         offsetof(struct serve_counts, active)},
    };
    struct serve_counts counts[LISTENERS];

    for (int i = 0; i < LISTENERS; i++)
        counts[i] = server_counts(h->server[i]);
    for (size_t k = 0; k < BT_ARRAY_LEN(rows); k++) {
        metric(to, rows[k].name, rows[k].type, rows[k].help);
        for (int i = 0; i < LISTENERS; i++)
            bt_buf_printf(to, "beamtime_%s{listener=\"%s\"} %" PRIu64 "\n", rows[k].name, names[i],
                          *(const uint64_t *)(const void *)((const char *)&counts[i] + rows[k].at));
    }
}

/* Numbers and truths of the status object become gauges. */
static int gauge(void *arg, const char *key, const struct json *v)
{
    struct bt_buf *to = arg;

    for (const char *k = key; *k; k++)
        if (!isalnum((unsigned char)*k) && *k != '_')
            return 0;
    if (json_is(v) == JSON_IS_INT || json_is(v) == JSON_IS_BOOL) {
        metric(to, key, "gauge", "as in the status");
        bt_buf_printf(to, "beamtime_%s %" PRId64 "\n", key,
                      json_is(v) == JSON_IS_BOOL ? json_bool(v, false) : json_i64(v, 0));
    }
    return 0;
}

static void engine(struct bt_buf *to, struct http *h)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *status = NULL;
    struct json_writer w = {.to = &text};

    jw_object(&w, NULL);
    h->set.status(h->set.arg, &w);
    jw_end_object(&w);
    if (json_parse(bt_buf_text(&text), text.n, JSON_MAX_BYTES, &status, NULL) == 0)
        (void)json_each(status, gauge, to);
}

/* What the latest plan was made of, and what it found. */
static void planner(struct bt_buf *to, struct http *h)
{
    static const char *const states[] = {"up", "degraded", "draining", "drained", "down"};
    struct plan *p = h->set.plan(h->set.arg);
    uint64_t nodes[BT_ARRAY_LEN(states)] = {0}, acc = 0, free = 0;

    if (!p)
        return;
    for (uint32_t i = 0; i < p->in.n_nodes; i++) {
        nodes[p->nodes[i].state]++;
        acc += (uint64_t)__builtin_popcountll(p->nodes[i].usable_mask);
        free += (uint64_t)__builtin_popcountll(p->nodes[i].free_mask);
    }
    metric(to, "nodes", "gauge", "nodes by state");
    for (size_t i = 0; i < BT_ARRAY_LEN(states); i++)
        bt_buf_printf(to, "beamtime_nodes{state=\"%s\"} %" PRIu64 "\n", states[i], nodes[i]);
    const struct {
        const char *name, *help;
        uint64_t v;
    } rows[] = {{"accelerators", "usable accelerators", acc},
                {"accelerators_free", "of them held by nobody", free},
                {"jobs_waiting", "jobs that the latest plan was made for", p->in.n_pending},
                {"jobs_holding", "jobs that held accelerators then", p->in.n_running},
                {"promises_moved", "promises that the latest plan moved", p->out.n_moved},
                {"jobs_reclaimed", "jobs that the latest plan stops for owners", p->out.n_victims}};

    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        metric(to, rows[i].name, "gauge", rows[i].help);
        bt_buf_printf(to, "beamtime_%s %" PRIu64 "\n", rows[i].name, rows[i].v);
    }
    plan_unref(p);
}

/* What was promised for the starts of the last day. */
static void calibration(struct bt_buf *to, struct http *h)
{
    static const char *const hows[] = {"kept", "moved", "broken", "at_once"};
    char since[24], until[24];
    const struct read q = {.name = "report_promises", .param = {since, until}, .n = 2};
    BT_BUF_AUTO struct bt_buf text = {0};
    JSON_AUTO struct json *r = NULL;

    snprintf(until, sizeof until, "%" PRId64, bt_now_us());
    snprintf(since, sizeof since, "%" PRId64, bt_now_us() - 86400 * BT_US_PER_S);
    if (read_json(h, &q, &text, NULL) < 0 ||
        json_parse(bt_buf_text(&text), text.n, JSON_MAX_BYTES, &r, NULL) < 0)
        return; /* the rest is worth having without the database */
    metric(to, "starts_day", "gauge", "starts of the last 24 hours beside what was promised");
    for (size_t i = 0; i < BT_ARRAY_LEN(hows); i++)
        bt_buf_printf(to, "beamtime_starts_day{promise=\"%s\"} %" PRId64 "\n", hows[i],
                      json_i64(json_get(r, hows[i]), 0));
    metric(to, "plan_error_seconds_day", "gauge", "their mean distance from the first plan");
    bt_buf_printf(to, "beamtime_plan_error_seconds_day %" PRId64 "\n",
                  json_i64(json_get(r, "plan_error_s"), 0));
}

static void send_metrics(struct call *c)
{
    struct http *h = c->h;
    struct bt_buf text = {0};
    struct serve_reply reply = {.status = 200, .type = "text/plain; version=0.0.4"};

    listeners(&text, h);
    pthread_mutex_lock(&h->lock);
    metric(&text, "waiting_for_commit", "gauge", "requests whose answer comes with a commit");
    bt_buf_printf(&text, "beamtime_waiting_for_commit %u\n", h->n_waiting - h->n_unused);
    pthread_mutex_unlock(&h->lock);
    metric(&text, "up_seconds", "gauge", "since the daemon started");
    bt_buf_printf(&text, "beamtime_up_seconds %" PRId64 "\n",
                  (bt_now_us() - h->started_us) / BT_US_PER_S);
    metric(&text, "server_certificate_seconds", "gauge",
           "until the listeners' certificate ends; in its last 180 days a start makes a new one");
    bt_buf_printf(&text, "beamtime_server_certificate_seconds %" PRId64 "\n",
                  (pki_server_until_us(h->set.pki) - bt_now_us()) / BT_US_PER_S);
    engine(&text, h);
    planner(&text, h);
    calibration(&text, h);
    reply.n = text.n;
    reply.body = bt_buf_take(&text);
    serve_reply(c->r, &reply);
}

void show_metrics(struct call *c)
{
    tasks_add(c, send_metrics);
}
