/* Lists and single objects, straight from the database. SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/core.h"
#include "daemon/http/own.h"
#include "daemon/store/reader.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

/* One reader a task thread and role, made when it is first needed. */
static _Thread_local struct {
    struct store_reader *people, *open;
} mine;

void reads_thread_done(void)
{
    reader_free(mine.people);
    reader_free(mine.open);
    mine.people = mine.open = NULL;
}

int read_json(struct http *h, const struct read *q, struct bt_buf *to, struct bt_err *err)
{
    struct store_reader **r = q->public ? &mine.open : &mine.people;

    if (!*r)
        *r = reader_new(q->public ? h->set.public_conninfo : h->set.read_conninfo);
    return reader_query(*r, q->name, q->param, q->n, to, err);
}

int read_counted(struct http *h, struct tally *t, struct read q, struct bt_buf *to,
                 struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};
    BT_AUTO char *counts = NULL;
    char upto[24], *rest = NULL, *line;
    int rc;

    pthread_mutex_lock(&t->lock);
    snprintf(upto, sizeof upto, "%" PRId64, t->upto);
    counts = bt_strdup(t->counts ? t->counts : "{}");
    pthread_mutex_unlock(&t->lock);
    q.param[0] = upto;
    q.param[1] = counts;
    q.n = 2;
    rc = read_json(h, &q, &text, err);
    if (rc < 0)
        return rc;
    line = strtok_r(text.p, "\n", &rest);
    if (!line || !rest)
        return bt_fail(err, BT_ERR_INTERNAL, "the query %s has no first line", q.name);
    bt_buf_str(to, rest);
    pthread_mutex_lock(&t->lock);
    if (strtoll(line, &line, 10) > t->upto) {
        t->upto = strtoll(text.p, NULL, 10);
        bt_free(t->counts);
        t->counts = bt_strdup(line);
    }
    pthread_mutex_unlock(&t->lock);
    return 0;
}

int read_job_id(struct http *h, const char *id_or_number, struct bt_uuid *ret, struct bt_err *err)
{
    struct read q = {.name = "job_id", .param = {id_or_number}, .n = 1};
    BT_BUF_AUTO struct bt_buf id = {0};
    int64_t number;
    int rc;

    if (bt_uuid_parse(id_or_number, ret) == 0)
        return 0;
    rc = bt_parse_i64(id_or_number, "the job", 1, INT64_C(100000000000000000), &number, err);
    if (rc == 0)
        rc = read_json(h, &q, &id, err);
    if (rc == -BT_ERR_NOT_FOUND)
        bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no job %s", id_or_number),
                "beamtime queue");
    return rc < 0 ? rc : bt_uuid_parse(bt_buf_text(&id), ret);
}

/* ---- lists: the query's parameters are the URL's ---- */

struct asked {
    struct read q;
    char text[READ_PARAMS][128];
};

static void send_asked(struct call *c)
{
    const struct asked *a = c->data;
    struct bt_buf json = {0};
    struct bt_err err = {0};

    if (read_json(c->h, &a->q, &json, &err) < 0) {
        bt_buf_done(&json);
        http_fail(c, &err);
        return;
    }
    http_json(c, &json);
}

static struct asked *ask(struct call *c, const char *name)
{
    struct asked *a = bt_new(struct asked);

    a->q.name = name;
    c->data = a;
    c->drop_data = bt_free;
    return a;
}

static void param(struct asked *a, const char *value)
{
    int at = a->q.n++;

    if (value && *value && bt_copy(a->text[at], sizeof a->text[at], value))
        a->q.param[at] = a->text[at];
}

/* A whole number of the query string, or `otherwise`; -1 after the call was answered. */
static int number(struct call *c, const char *name, int64_t max, int64_t otherwise, int64_t *ret)
{
    const char *s = serve_query(c->r, name);
    struct bt_err err;

    *ret = otherwise;
    if (s && bt_parse_i64(s, name, 0, max, ret, &err) < 0) {
        http_fail(c, &err);
        return -1;
    }
    return 0;
}

static void number_param(struct asked *a, int64_t v)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRId64, v);
    param(a, text);
}

static void by_nation(struct call *c, const char *name)
{
    struct asked *a = ask(c, name);

    param(a, serve_query(c->r, "nation"));
    tasks_add(c, send_asked);
}

void read_institutions(struct call *c)
{
    by_nation(c, "institutions");
}

void read_projects(struct call *c)
{
    by_nation(c, "projects");
}

void read_people(struct call *c)
{
    by_nation(c, "people");
}

static void plain(struct call *c, const char *name)
{
    ask(c, name);
    tasks_add(c, send_asked);
}

void read_nations(struct call *c)
{
    plain(c, "nations");
}

void read_nodes(struct call *c)
{
    const char *by = serve_query(c->r, "by");
    struct asked *a;
    int64_t limit;

    if (by && bt_streq(by, "state")) {
        plain(c, "nodes_by_state");
        return;
    }
    if (number(c, "limit", LIMIT_LIST_MAX, LIMIT_LIST_DEFAULT, &limit) < 0)
        return;
    a = ask(c, "nodes");
    param(a, serve_query(c->r, "node"));
    param(a, serve_query(c->r, "state"));
    param(a, serve_query(c->r, "cursor"));
    number_param(a, limit);
    tasks_add(c, send_asked);
}

void read_sites(struct call *c)
{
    struct asked *a;
    int64_t tier;

    if (number(c, "tier", 4, 0, &tier) < 0)
        return;
    a = ask(c, "sites");
    number_param(a, tier);
    tasks_add(c, send_asked);
}

void read_rates(struct call *c)
{
    plain(c, "rates");
}

void read_guarantees(struct call *c)
{
    plain(c, "guarantees");
}

void read_outages(struct call *c)
{
    plain(c, "outages");
}

void read_datasets(struct call *c)
{
    struct asked *a = ask(c, "datasets");

    param(a, serve_query(c->r, "site"));
    tasks_add(c, send_asked);
}

void read_reservations(struct call *c)
{
    plain(c, "reservations");
}

/* A period: the last 30 days if nothing else is said. */
static void of_period(struct call *c, const char *name)
{
    static const char *const ends[] = {"since", "until"};
    int64_t at[] = {bt_now_us() - 30 * 86400 * BT_US_PER_S, bt_now_us()};
    struct asked *a = ask(c, name);
    struct bt_err err;

    for (size_t i = 0; i < BT_ARRAY_LEN(ends); i++) {
        const char *text = serve_query(c->r, ends[i]);

        if (text && bt_time_parse(text, ends[i], &at[i], &err) < 0) {
            http_fail(c, &err);
            return;
        }
    }
    number_param(a, at[0]);
    number_param(a, BT_MIN(at[1], bt_now_us()));
    tasks_add(c, send_asked);
}

void read_fairness(struct call *c)
{
    of_period(c, "report_fairness");
}

void read_promises(struct call *c)
{
    of_period(c, "report_promises");
}

void read_policy(struct call *c)
{
    plain(c, "policy_text");
}

void read_quota(struct call *c)
{
    struct asked *a = ask(c, "quota");

    param(a, serve_query(c->r, "nation"));
    param(a, serve_query(c->r, "project"));
    tasks_add(c, send_asked);
}

void job_list(struct call *c)
{
    struct asked *a = ask(c, "jobs");
    const char *mine_only = serve_query(c->r, "mine");
    int64_t limit;
    int64_t cursor;

    if (number(c, "limit", LIMIT_LIST_MAX, LIMIT_LIST_DEFAULT, &limit) < 0 ||
        number(c, "cursor", INT64_MAX, 0, &cursor) < 0)
        return;
    param(a, serve_query(c->r, "state"));
    param(a, serve_query(c->r, "nation"));
    param(a, serve_query(c->r, "project"));
    if (mine_only && bt_streq(mine_only, "1"))
        number_param(a, c->who.person);
    else
        param(a, NULL);
    if (cursor > 0)
        number_param(a, cursor);
    else
        param(a, NULL);
    number_param(a, limit);
    tasks_add(c, send_jobs);
}

void read_ledger(struct call *c)
{
    struct asked *a = ask(c, "ledger");
    int64_t from;
    int64_t limit;

    if (number(c, "from", INT64_MAX, 0, &from) < 0 ||
        number(c, "limit", LIMIT_LIST_MAX, LIMIT_LIST_DEFAULT, &limit) < 0)
        return;
    number_param(a, from);
    number_param(a, limit);
    param(a, serve_query(c->r, "kind"));
    param(a, serve_query(c->r, "job"));
    param(a, serve_query(c->r, "nation"));
    tasks_add(c, send_asked);
}

void read_ledger_one(struct call *c)
{
    struct asked *a = ask(c, "ledger_one");
    struct bt_err err;
    int64_t index;

    if (bt_parse_i64(c->match.param[0], "the index", 0, INT64_MAX, &index, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    param(a, c->match.param[0]);
    tasks_add(c, send_asked);
}

/* Where an audit goes on: SEQ (after the whole batch) or SEQ.ORD, as "next" gives it; absent: from
 * its beginning. */
static int after_event(const char *s, int64_t *ret_seq, int64_t *ret_ord, struct bt_err *err)
{
    const char *dot = s ? strchr(s, '.') : NULL;
    char seq[24];

    *ret_seq = 0;
    *ret_ord = INT32_MAX;
    if (!s)
        return 0;
    snprintf(seq, sizeof seq, "%.*s", (int)(dot ? dot - s : (ptrdiff_t)strlen(s)), s);
    if (dot && bt_parse_i64(dot + 1, "since", 0, INT32_MAX, ret_ord, err) < 0)
        return -BT_ERR_INVALID;
    return bt_parse_i64(seq, "since", 0, INT64_MAX, ret_seq, err);
}

void read_events(struct call *c)
{
    struct asked *a = ask(c, "events");
    struct bt_err err;
    int64_t seq;
    int64_t ord;
    int64_t limit;

    if (!(c->who.roles & (ROLE_OPERATOR | ROLE_COUNCIL | ROLE_NATION_ADMIN))) {
        bt_fail(&err, BT_ERR_FORBIDDEN,
                "the audit trail is for operators, council and administrators");
        http_fail(c, &err);
        return;
    }
    if (after_event(serve_query(c->r, "since"), &seq, &ord, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    if (number(c, "limit", LIMIT_LIST_MAX, LIMIT_LIST_DEFAULT, &limit) < 0)
        return;
    param(a, serve_query(c->r, "subject"));
    number_param(a, seq);
    number_param(a, ord);
    number_param(a, limit);
    tasks_add(c, send_asked);
}

/* ---- lists that need more than the row ---- */

void send_jobs(struct call *c)
{
    const struct asked *a = c->data;
    struct bt_buf json = {0};
    struct bt_err err = {0};

    if (read_json(c->h, &a->q, &json, &err) < 0) {
        bt_buf_done(&json);
        http_fail(c, &err);
        return;
    }
    merge_plans(c, &json);
    http_json(c, &json);
}

static void send_whoami(struct call *c)
{
    char id[16], name[16];
    struct read q = {.name = "whoami", .param = {id}, .n = 1};
    BT_BUF_AUTO struct bt_buf more = {0};
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};

    snprintf(id, sizeof id, "%d", c->who.person);
    jw_object(&w, NULL);
    jw_str(&w, "kind", c->who.kind);
    jw_str(&w, "nation", c->who.nation[0] ? c->who.nation : CERT_OPERATOR);
    jw_str(&w, "subject", c->who.subject);
    roles_write(&w, c->who.roles);
    jw_str(&w, "facility", pki_facility(c->h->set.pki));
    jw_time(&w, "certificate_until", c->who.not_after_us);
    if (c->who.person > 0) {
        person_leaf_name(c->who.person, name);
        jw_str(&w, "ledger_name", name);
    }
    if (c->who.person > 0 && read_json(c->h, &q, &more, NULL) == 0 && more.n > 2) {
        bt_buf_char(&body, ',');
        bt_buf_add(&body, more.p + 1, more.n - 2); /* the members of {…} */
    }
    jw_end_object(&w);
    http_json(c, &body);
}

void read_whoami(struct call *c)
{
    tasks_add(c, send_whoami);
}

static void send_status(struct call *c)
{
    struct read q = {.name = "status"};
    char size[24];
    const struct read wrong = {.name = "problems", .param = {size}, .n = 1};
    BT_BUF_AUTO struct bt_buf more = {0}, problems = {0};
    struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    struct bt_err err = {0};

    snprintf(size, sizeof size, "%" PRId64, c->h->set.ledger_signed(c->h->set.arg));
    if (read_counted(c->h, &c->h->ended, q, &more, &err) < 0 ||
        read_json(c->h, &wrong, &problems, &err) < 0) {
        http_fail(c, &err);
        return;
    }
    jw_object(&w, NULL);
    jw_str(&w, "facility", pki_facility(c->h->set.pki));
    jw_str(&w, "version", BT_VERSION);
    jw_time(&w, "up_since", c->h->started_us);
    c->h->set.status(c->h->set.arg, &w);
    bt_buf_char(&body, ',');
    bt_buf_add(&body, more.p + 1, more.n - 2);
    bt_buf_str(&body, ",\"problems\":");
    bt_buf_add(&body, problems.p, problems.n);
    jw_end_object(&w);
    http_json(c, &body);
}

void read_status(struct call *c)
{
    tasks_add(c, send_status);
}
