/* own.h - what the files of daemon/http share. Private.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DAEMON_HTTP_OWN_H
#define BT_DAEMON_HTTP_OWN_H

#include <pthread.h>

#include "daemon/http/http.h"
#include "lib/api/limits.h"
#include "lib/api/route.h"
#include "lib/base/map.h"
#include "lib/json/json.h"
#include "lib/serve/serve.h"

struct auth;
struct hub;
struct tasks;

enum listener { LISTEN_PEOPLE, LISTEN_AGENTS, LISTEN_PUBLIC, LISTENERS };

/* A request's own data from its head to its end. */
struct call {
    struct http *h;
    struct serve_request *r;
    enum listener on;
    struct route_match match;
    struct view_credential who; /* zeroed when the route needs no certificate */
    struct principal principal;
    struct json *body; /* parsed when the route takes JSON; owned */
    bool counted;      /* in its person's requests in flight */
    /* of whoever waits for something: see tasks and hub */
    struct call *next;
    void (*then)(struct call *c);
    uint64_t hub_key;
    enum { HUB_OUT, HUB_AWAKE, HUB_WOKEN, HUB_ASLEEP } hub_state;
    bool at_once; /* `then` never blocks: whoever wakes the call runs it, and no other thread */
    struct board_ask ask; /* agents' wants */
    int64_t after;        /* logs: offset */
    char etag[72];        /* If-None-Match of a GET, "" if absent */
    char text[64];        /* watch: the state that is known */
    void *data;           /* the handler's, released with drop_data */
    void (*drop_data)(void *data);
};

/* Counts of what never changes again, so that no request counts what an earlier one has counted:
 * up to which entry of the ledger, and what came out as JSON. */
struct tally {
    pthread_mutex_t lock;
    int64_t upto;
    char *counts; /* NULL: nothing yet */
};

struct http {
    struct http_settings set;
    struct server *server[LISTENERS];
    struct serve_handler handler[LISTENERS];
    struct listen_arg {
        struct http *h;
        enum listener on;
    } arg[LISTENERS];
    struct auth *auth;
    struct hub *hub;
    struct tasks *tasks;
    struct tally ended;   /* jobs by state */
    struct tally entries; /* by kind */
    char *vkey;           /* the log's verifier key line */

    pthread_mutex_t lock; /* over what follows */
    struct waiting {
        struct call *call;
        void (*done)(struct call *c, const struct reply *r); /* NULL: http_answer */
    } * waiting;
    uint32_t n_waiting, cap_waiting;
    uint32_t *unused; /* free places of `waiting` */
    uint32_t n_unused, cap_unused;
    struct bt_map by_reply;  /* reply number → place */
    struct bt_map in_flight; /* person → requests */
    uint64_t last_reply;
    struct newcomer { /* a queued job's slot until a plan has it; oldest first */
        struct bt_uuid job;
        int64_t start_us, at_us;
    } * newcomers;
    uint32_t n_newcomers, cap_newcomers, old_newcomers; /* old: no longer asked for */
    int64_t started_us;
};

/* ---- http.c ---- */

/* Posts the event for this call, whose answer comes with the commit. `done` (NULL: http_answer) is
 * called by the thread that gives the answers out. Takes the event over in every case. */
void http_post(struct call *c, struct event *ev,
               void (*done)(struct call *c, const struct reply *r));
/* The same from `ready` of the agents' or the people's listener, whose thread itself steps few
 * events and puts them on their way; before it those of `before` (a list; NULL: none), which nobody
 * waits for. */
void http_post_turn(struct call *c, struct event *before, struct event *ev,
                    void (*done)(struct call *c, const struct reply *r));
void http_answer(struct call *c, const struct reply *r);
void http_fail(struct call *c, const struct bt_err *err); /* a problem document */
/* 200 with the JSON and an ETag of its bytes, or 304 when the client has these already. */
void http_json(struct call *c, struct bt_buf *json);
struct event *http_event(const struct call *c, enum event_kind kind);
/* The Idempotency-Key header, or a fresh id when there is none. */
int http_request_id(struct call *c, struct bt_uuid *ret, struct bt_err *err);

/* When a queued job that no plan has yet starts; 0 = it is not one. */
int64_t http_newcomer(struct http *h, struct bt_uuid job);
#define NEWCOMER_WAITS "the next plan, which is at most seconds away"

/* ---- auth.c: key digest → credential, as committed ---- */
struct auth *auth_new(void);
void auth_free(struct auth *a);
void auth_apply(struct auth *a, const struct view_credential *v, int n);
bool auth_find(struct auth *a, const uint8_t spki[32], struct view_credential *ret);

/* ---- tasks.c: what may block runs in a few threads of its own ---- */
struct tasks *tasks_start(struct http *h, struct bt_err *err);
void tasks_stop(struct tasks *t);
void tasks_add(struct call *c, void (*run)(struct call *c));

/* Calls that wait for something to change: register, look whether it has changed already, then
 * sleep or leave. Until hub_sleep has returned true the call is the caller's; afterwards `then`
 * runs as a task when the key is woken or after ms, and the caller must not touch it again.
 * hub_sleep returns false, and the call stays the caller's, when it was woken since it registered.
 */
struct hub *hub_new(void);
void hub_free(struct hub *hub);
uint64_t hub_key(char kind, const void *p, size_t n);
void hub_register(struct call *c, uint64_t key);
void hub_leave(struct call *c);
bool hub_sleep(struct call *c, int ms, void (*then)(struct call *c));
void hub_wake(struct http *h, uint64_t key);

/* ---- reads.c: one named query → JSON ---- */
enum { READ_PARAMS = 8 };
struct read {
    const char *name;
    const char *param[READ_PARAMS]; /* text, NULL is SQL's NULL; borrowed until the read is done */
    int n;
    bool public; /* by the role that sees the ledger alone */
};
/* Runs in a task: appends the JSON; BT_ERR_NOT_FOUND when the query gave no row or NULL. */
int read_json(struct http *h, const struct read *q, struct bt_buf *to, struct bt_err *err);
/* A query of two parameters, a tally, whose first line is the new one; appends the lines behind. */
int read_counted(struct http *h, struct tally *t, struct read q, struct bt_buf *to,
                 struct bt_err *err);
/* The job's id from its id or number; runs in a task. */
int read_job_id(struct http *h, const char *id_or_number, struct bt_uuid *ret, struct bt_err *err);

/* ---- handlers: called when the body is complete, owe one reply ---- */
typedef void handler_fn(struct call *c);
extern handler_fn *const handlers[N_ROUTES];

void reads_thread_done(void);                               /* at the end of a task thread */
void send_explain(struct call *c);                          /* in a task */
void dry_run_answer(struct call *c, const struct reply *r); /* with what the plan says of it */
void send_jobs(struct call *c);
/* Fills the nulls that only the plan in memory knows, in the text of one job or of a list. */
void merge_plans(struct call *c, struct bt_buf *json);
/* Posts the administrator's event with the digest of what was asked for, or answers `rc`'s error.
 */
void admin_post(struct call *c, struct event *ev, enum admin_op op, int rc, struct bt_err *err);

handler_fn job_submit, job_cancel, job_hold, job_release, job_result, job_watch, job_log,
    job_explain, job_list, job_get;
handler_fn admin_nation, admin_institution, admin_project, admin_member, admin_person,
    admin_clearance, admin_token, admin_revoke, admin_node, admin_measure, admin_rate,
    admin_guarantee, admin_outage, admin_dataset, admin_site, admin_unixmap, admin_unixmaps,
    admin_quota;
handler_fn read_whoami, read_quota, read_nations, read_institutions, read_projects, read_people,
    read_nodes, read_rates, read_guarantees, read_outages, read_datasets, read_reservations,
    read_fairness, read_promises, read_ledger, read_ledger_one, read_events, read_policy,
    read_status;
handler_fn agent_register, agent_measured, agent_trial, agent_trial_ended, agent_heartbeat,
    agent_wants, agent_spec, agent_claim, agent_started, agent_ended, agent_manifest;
handler_fn read_sites, site_show, site_diff, site_check_show, site_report;
handler_fn helper_attach, helper_put, helper_get;
handler_fn enrol, renew;
handler_fn show_openapi, show_metrics;
/* uploads.c: in head, before the body; then when it is complete */
void upload_blob_head(struct call *c);
void upload_log_head(struct call *c);
handler_fn upload_blob, upload_blob_have, upload_log;
handler_fn keeps_note;
/* True if the blob is not here, but at a site that said so; then keeps_send, in a task, sends the
 * reader there. */
bool keeps_has(const struct http *h, const char *hex);
void keeps_send(struct call *c);
handler_fn public_machine, public_machine_map, public_report;
handler_fn public_front, public_record, public_file, public_checkpoint, public_tile, public_blob,
    public_vkey, public_style;

#endif
