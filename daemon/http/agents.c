/* The agents' verbs. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/http/own.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum {
    LIVE_MAX = 1024,
    INVENTORY_MAX = 65536,
    METRICS_MAX = 512,
    LINKS_MAX = 4096,
    STARTS_MAX = 64,
    AGO_MAX_MS = 3600000,
};

/* Posts what was read, or answers what is wrong with it. */
static void post_or_fail(struct call *c, int rc, struct event *ev, const struct bt_err *err)
{
    if (rc < 0) {
        event_free(ev);
        http_fail(c, err);
        return;
    }
    http_post_turn(c, NULL, ev, NULL);
}

/* What the agent says that it was told before. */
static int hear(struct call *c, const char *known, struct bt_err *err)
{
    const struct http_settings *s = &c->h->set;

    return s->told && known && *known ? s->told(s->arg, known, err) : 0;
}

/* The text of a value inside the body, as it came: inventories are kept, not understood. */
static char *value_text(const struct call *c, const char *member)
{
    size_t n;
    const char *body = serve_body(c->r, &n);
    BT_AUTO char *key = bt_printf("\"%s\":", member);
    const char *at = body ? memmem(body, n, key, strlen(key)) : NULL;
    const char *end;
    int depth = 0;
    bool in_string = false;

    if (!at)
        return bt_strdup("{}");
    at += strlen(key);
    for (end = at; end < body + n; end++) {
        if (in_string) {
            if (*end == '\\')
                end++;
            else if (*end == '"')
                in_string = false;
        } else if (*end == '"') {
            in_string = true;
        } else if (*end == '{' || *end == '[') {
            depth++;
        } else if ((*end == '}' || *end == ']') && --depth == 0) {
            break;
        }
    }
    return end < body + n ? bt_strndup(at, (size_t)(end + 1 - at)) : bt_strdup("{}");
}

/* The least of its accelerators' memories, to the nearest 10^9 bytes: what drivers keep for
 * themselves differs by less. 0: not all of them tell. */
static int32_t memory_of(const struct json *inventory)
{
    const struct json *list = json_get(inventory, "accelerators");
    int64_t least = json_len(list) ? INT64_MAX : 0;

    for (size_t i = 0; i < json_len(list); i++)
        least = BT_MIN(least, json_i64(json_get(json_at(list, i), "memory_bytes"), 0));
    least = BT_MAX(least, 0);
    return (int32_t)BT_MIN(least / 1000000000 + (least % 1000000000 >= 500000000), JOB_MAX_GB);
}

void agent_register(struct call *c)
{
    struct event *ev = http_event(c, EV_NODE_REPORT);
    struct ev_node_report *e = &ev->u.node_report;
    struct bt_err err = {0};
    struct reg {
        char node[64];
        char class[JOB_CLASS_MAX];
        int32_t n_acc;
        char boot[64];
        char version[32];
        char known[MARK_TEXT];
        const struct json *inventory;
        int32_t pod, leaf;
    } in = {.node = ""};
    static const struct json_field fields[] = {
        {"node", JSON_F_NAME, offsetof(struct reg, node), true, .size = 64},
        {"class", JSON_F_NAME, offsetof(struct reg, class), true, .size = JOB_CLASS_MAX},
        {"accelerators", JSON_F_I32, offsetof(struct reg, n_acc), true, .min = 0, .max = 64},
        {"boot_id", JSON_F_TEXT, offsetof(struct reg, boot), .size = 64},
        {"version", JSON_F_TEXT, offsetof(struct reg, version), .size = 32},
        {"inventory", JSON_F_VALUE, offsetof(struct reg, inventory)},
        {"known", JSON_F_TEXT, offsetof(struct reg, known), .size = MARK_TEXT},
        {"pod", JSON_F_I32, offsetof(struct reg, pod), .min = 0, .max = 1000000},
        {"leaf", JSON_F_I32, offsetof(struct reg, leaf), .min = 0, .max = 1000000},
    };
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &in, &err);

    if (rc == 0)
        rc = hear(c, in.known, &err);
    if (rc == 0) {
        bt_copy(e->node, sizeof e->node, in.node);
        bt_copy(e->class, sizeof e->class, in.class);
        e->n_acc = in.n_acc;
        e->registers = true;
        e->pod = in.pod;
        e->leaf = in.leaf;
        e->memory_gb = memory_of(in.inventory);
        e->inventory = value_text(c, "inventory");
        if (strlen(e->inventory) > INVENTORY_MAX)
            rc = bt_fail(&err, BT_ERR_TOO_LARGE, "the inventory has more than %d bytes",
                         INVENTORY_MAX);
    }
    post_or_fail(c, rc, ev, &err);
}

static int read_live(const struct json *list, struct ev_node_report *e, struct bt_err *err)
{
    static const struct json_field fields[] = {
        {"job", JSON_F_UUID, offsetof(struct live_attempt, job), true},
        {"attempt", JSON_F_I32, offsetof(struct live_attempt, attempt), true, .min = 1,
         .max = JOB_MAX_ATTEMPTS},
        {"checkpoint_at", JSON_F_TIME, offsetof(struct live_attempt, ckpt_us)},
    };
    size_t n = json_len(list);

    if (n > LIVE_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a node runs at most %d attempts", LIVE_MAX);
    e->live = bt_new_n(struct live_attempt, n);
    return json_read_rows(list, fields, BT_ARRAY_LEN(fields), e->live, sizeof *e->live, &e->n_live,
                          err);
}

void agent_heartbeat(struct call *c)
{
    struct event *ev = http_event(c, EV_NODE_REPORT);
    struct beat {
        char node[64];
        const struct json *live;
        const struct json *load;
        bool trials;
    } in = {.node = ""};
    static const struct json_field fields[] = {
        {"node", JSON_F_NAME, offsetof(struct beat, node), true, .size = 64},
        {"live", JSON_F_VALUE, offsetof(struct beat, live)},
        {"load", JSON_F_VALUE, offsetof(struct beat, load)},
        {"trials", JSON_F_BOOL, offsetof(struct beat, trials)},
    };
    struct bt_err err = {0};
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &in, &err);

    bt_copy(ev->u.node_report.node, sizeof ev->u.node_report.node, in.node);
    ev->u.node_report.trials = in.trials;
    if (rc == 0)
        rc = read_live(in.live, &ev->u.node_report, &err);
    post_or_fail(c, rc, ev, &err);
}

void agent_measured(struct call *c)
{
    static const struct json_field fields[] = {
        {"node", JSON_F_NAME, offsetof(struct ev_measured, node), true, .size = 64},
        {"busbw_mb_per_s", JSON_F_I64, offsetof(struct ev_measured, busbw_mbs), true, .min = 0,
         .max = INT64_C(1000000000)},
    };
    struct event *ev = http_event(c, EV_MEASURED);
    struct bt_err err = {0};

    post_or_fail(c, json_read(c->body, fields, BT_ARRAY_LEN(fields), &ev->u.measured, &err), ev,
                 &err);
}

/* ---- trials ---- */

void agent_trial(struct call *c)
{
    struct opened {
        char node[64];
        int64_t id;
        char address[160];
        uint8_t secret[32];
    } in = {.node = ""};
    static const struct json_field fields[] = {
        {"node", JSON_F_NAME, offsetof(struct opened, node), true, .size = 64},
        {"id", JSON_F_I64, offsetof(struct opened, id), true, .min = 1, .max = INT64_MAX},
        {"address", JSON_F_TEXT, offsetof(struct opened, address), true, .size = 160},
        {"secret", JSON_F_HEX32, offsetof(struct opened, secret), true},
    };
    struct event *ev = http_event(c, EV_TRIAL_OPEN);
    struct ev_trial_open *e = &ev->u.trial_open;
    struct bt_err err = {0};
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &in, &err);

    bt_copy(e->node, sizeof e->node, in.node);
    e->id = in.id;
    bt_copy(e->address, sizeof e->address, in.address);
    bt_hex(in.secret, sizeof in.secret, e->secret);
    bt_wipe(in.secret, sizeof in.secret);
    post_or_fail(c, rc, ev, &err);
}

static int read_links(const struct json *list, struct ev_trial_ended *e, struct bt_err *err)
{
    static const struct json_field fields[] = {
        {"busbw_mb_per_s", JSON_F_I64, offsetof(struct trial_link, mbs), true, .min = 0,
         .max = INT64_C(1000000000)},
        {"wrong", JSON_F_I64, offsetof(struct trial_link, wrong), .min = 0, .max = INT64_MAX},
    };
    size_t n = json_len(list);

    if (n > LINKS_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "a trial has at most %d links", LINKS_MAX);
    e->links = bt_new_n(struct trial_link, n);
    return json_read_rows(list, fields, BT_ARRAY_LEN(fields), e->links, sizeof *e->links,
                          &e->n_links, err);
}

void agent_trial_ended(struct call *c)
{
    static const char *const outcomes[] = {"ok", "failed", "lost", "disturbed", NULL};
    struct ended {
        char node[64];
        int64_t id;
        int outcome;
        char text[200];
        const struct json *links;
    } in = {.node = ""};
    static const struct json_field fields[] = {
        {"node", JSON_F_NAME, offsetof(struct ended, node), true, .size = 64},
        {"id", JSON_F_I64, offsetof(struct ended, id), true, .min = 1, .max = INT64_MAX},
        {"outcome", JSON_F_ENUM, offsetof(struct ended, outcome), true, .values = outcomes},
        {"text", JSON_F_TEXT, offsetof(struct ended, text), .size = 200},
        {"links", JSON_F_VALUE, offsetof(struct ended, links)},
    };
    struct event *ev = http_event(c, EV_TRIAL_ENDED);
    struct ev_trial_ended *e = &ev->u.trial_ended;
    struct bt_err err = {0};
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &in, &err);

    bt_copy(e->node, sizeof e->node, in.node);
    e->id = in.id;
    e->outcome = (enum trial_outcome)in.outcome;
    bt_copy(e->text, sizeof e->text, in.text);
    if (rc == 0 && in.links)
        rc = read_links(in.links, e, &err);
    post_or_fail(c, rc, ev, &err);
}

/* ---- wants ---- */

static void send_wants(struct call *c)
{
    const struct http_settings *s = &c->h->set;
    struct bt_buf json = {0};
    char mark[MARK_TEXT];

    if (!board_get(s->board, c->principal.subject, &c->ask, &json, NULL)) {
        c->ask.after = -1;
        c->ask.documents = false; /* nothing is new */
        board_get(s->board, c->principal.subject, &c->ask, &json, NULL);
    }
    if (s->mark) {
        s->mark(s->arg, mark); /* after the board: never below what the wants rest on */
        json.n--;
        bt_buf_printf(&json, ",\"known\":\"%s\",\"takes_started\":true}", mark);
    }
    serve_json(c->r, 200, json.p, json.n);
}

static bool wants_differ(struct call *c)
{
    return board_get(c->h->set.board, c->principal.subject, &c->ask, NULL, NULL);
}

void agent_wants(struct call *c)
{
    const char *after = serve_query(c->r, "after");
    const char *wait = serve_query(c->r, "wait");
    struct bt_err err = {0};
    int64_t wait_s = 0;
    int rc = 0;

    c->ask = (struct board_ask){.after = -1, .documents = serve_query(c->r, "documents") != NULL};
    if (after)
        rc = bt_parse_i64(after, "after", -1, INT64_MAX, &c->ask.after, &err);
    if (rc == 0 && wait)
        rc = bt_parse_i64(wait, "wait", 0, LIMIT_LONG_POLL_S, &wait_s, &err);
    if (rc == 0)
        rc = hear(c, serve_query(c->r, "known"), &err);
    if (rc == 0 && c->h->set.commands)
        rc = c->h->set.commands(c->h->set.arg, &err);
    if (rc < 0) {
        http_fail(c, &err);
        return;
    }
    c->at_once = true; /* the board lies in memory */
    hub_register(c, hub_key('n', c->principal.subject, strlen(c->principal.subject)));
    if (wait_s > 0 && !wants_differ(c) && hub_sleep(c, (int)wait_s * 1000, send_wants))
        return;
    hub_leave(c);
    send_wants(c);
}

static void spec(struct call *c)
{
    struct read q = {.name = "job_spec", .param = {c->match.param[0]}, .n = 1};
    struct bt_buf json = {0};
    struct bt_err err = {0};

    if (read_json(c->h, &q, &json, &err) < 0) {
        bt_buf_done(&json);
        http_fail(c, &err);
        return;
    }
    serve_json(c->r, 200, json.p, json.n);
}

void agent_spec(struct call *c)
{
    tasks_add(c, spec);
}

/* ---- an attempt's life ---- */

#define ATTEMPT_FIELDS(T)                                                                    \
    {                                                                                        \
        "job", JSON_F_UUID, offsetof(T, job), true                                           \
    }                                                                                        \
    ,                                                                                        \
    {                                                                                        \
        "attempt", JSON_F_I32, offsetof(T, attempt), true, .min = 1, .max = JOB_MAX_ATTEMPTS \
    }

#define CLAIM_FIELDS(T)                                                      \
    ATTEMPT_FIELDS(T),                                                       \
    {                                                                        \
        "foreign_id", JSON_F_TEXT, offsetof(T, foreign_id), true, .size = 64 \
    }
#define STARTED_FIELDS                                                                         \
    CLAIM_FIELDS(struct ev_started),                                                           \
    {                                                                                          \
        "ago_ms", JSON_F_I64, offsetof(struct ev_started, ago_ms), .min = 0, .max = AGO_MAX_MS \
    }

/* "started": other attempts of the node whose ranks run by now, told on this occasion. A list of
 * events; what the core has against one of them is that attempt's alone. */
static int read_started(struct call *c, const struct json *list, struct event **ret,
                        struct bt_err *err)
{
    static const struct json_field fields[] = {STARTED_FIELDS};
    struct ev_started rows[STARTS_MAX] = {0};
    int32_t n = 0;
    int rc = 0;

    if (json_len(list) > STARTS_MAX)
        return bt_fail(err, BT_ERR_TOO_LARGE, "at most %d starts are told at a time", STARTS_MAX);
    if (list)
        rc = json_read_rows(list, fields, BT_ARRAY_LEN(fields), rows, sizeof *rows, &n, err);
    while (rc == 0 && n > 0) {
        struct event *ev = http_event(c, EV_STARTED);

        ev->u.started = rows[--n];
        ev->next = *ret;
        *ret = ev;
    }
    return rc;
}

/* post_or_fail with the starts that came along. */
static void post_with_started(struct call *c, int rc, const struct json *started, struct event *ev,
                              struct bt_err *err)
{
    struct event *before = NULL;

    if (rc == 0)
        rc = read_started(c, started, &before, err);
    if (rc < 0)
        post_or_fail(c, rc, ev, err);
    else
        http_post_turn(c, before, ev, NULL);
}

void agent_claim(struct call *c)
{
    struct told {
        struct ev_claim claim; /* first: its fields are read as if it were alone */
        const struct json *started;
    } in = {.started = NULL};
    static const struct json_field fields[] = {
        CLAIM_FIELDS(struct ev_claim),
        {"started", JSON_F_VALUE, offsetof(struct told, started)},
    };
    struct event *ev = http_event(c, EV_CLAIM);
    struct bt_err err = {0};
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &in, &err);

    ev->u.claim = in.claim;
    post_with_started(c, rc, in.started, ev, &err);
}

void agent_started(struct call *c)
{
    struct told {
        struct ev_started start; /* first: as above */
        const struct json *started;
    } in = {.started = NULL};
    static const struct json_field fields[] = {
        STARTED_FIELDS,
        {"started", JSON_F_VALUE, offsetof(struct told, started)},
    };
    struct event *ev = http_event(c, EV_STARTED);
    struct bt_err err = {0};
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &in, &err);

    ev->u.started = in.start;
    post_with_started(c, rc, in.started, ev, &err);
}

static int write_metric(void *arg, const char *key, const struct json *v)
{
    const char *s = json_str(v, NULL);

    if (s && strlen(key) < 64 && strlen(s) < 64)
        jw_str(arg, key, s);
    return 0;
}

/* What a manifest says, beside whose it is. */
struct made {
    uint8_t root[32];
    uint8_t sha256[32];
    int64_t files;
    int64_t bytes;
    bool incomplete;
    const struct json *metrics;
};
#define MADE_FIELDS(T, m)                                                           \
    {                                                                               \
        "root", JSON_F_HEX32, offsetof(T, m.root), true                             \
    }                                                                               \
    ,                                                                               \
    {                                                                               \
        "sha256", JSON_F_HEX32, offsetof(T, m.sha256), true                         \
    }                                                                               \
    ,                                                                               \
    {                                                                               \
        "files", JSON_F_I64, offsetof(T, m.files), true, .min = 0, .max = 100000000 \
    }                                                                               \
    ,                                                                               \
    {                                                                               \
        "bytes", JSON_F_I64, offsetof(T, m.bytes), true, .min = 0, .max = INT64_MAX \
    }                                                                               \
    ,                                                                               \
    {                                                                               \
        "incomplete", JSON_F_BOOL, offsetof(T, m.incomplete)                        \
    }                                                                               \
    ,                                                                               \
    {                                                                               \
        "metrics", JSON_F_VALUE, offsetof(T, m.metrics)                             \
    }

static int take_made(const struct made *in, struct ev_manifest *e, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf metrics = {.max = METRICS_MAX - 1};
    struct json_writer w = {.to = &metrics};

    e->files = in->files;
    e->bytes = in->bytes;
    e->incomplete = in->incomplete;
    memcpy(e->root, in->root, 32);
    memcpy(e->sha256, in->sha256, 32);
    jw_object(&w, NULL);
    if (in->metrics)
        (void)json_each(in->metrics, write_metric, &w);
    jw_end_object(&w);
    if (metrics.over)
        return bt_fail(err, BT_ERR_TOO_LARGE, "the metrics have more than %d bytes", METRICS_MAX);
    bt_copy(e->metrics, sizeof e->metrics, bt_buf_text(&metrics));
    return 0;
}

/* "manifest" of an end: nothing is left to be uploaded. */
static int read_made(const struct json *doc, struct ev_ranks_ended *e, struct bt_err *err)
{
    struct wrap {
        struct made made;
    } in = {0};
    static const struct json_field fields[] = {MADE_FIELDS(struct wrap, made)};
    int rc = doc ? json_read(doc, fields, BT_ARRAY_LEN(fields), &in, err) : 0;

    if (!doc || rc < 0)
        return rc;
    e->has_manifest = true;
    e->manifest.job = e->job;
    e->manifest.attempt = e->attempt;
    return take_made(&in.made, &e->manifest, err);
}

void agent_ended(struct call *c)
{
    static const char *const reasons[] = {"exited",       "walltime", "stopped",
                                          "start-failed", "lost",     NULL};
    struct ended {
        struct bt_uuid job;
        int32_t attempt;
        int reason;
        int32_t exit_code;
        int32_t signal;
        bool checkpointed;
        int64_t ckpt_us;
        char text[200];
        const struct json *manifest;
        const struct json *started;
    } in = {.attempt = 0};
    static const struct json_field fields[] = {
        ATTEMPT_FIELDS(struct ended),
        {"reason", JSON_F_ENUM, offsetof(struct ended, reason), true, .values = reasons},
        {"exit_code", JSON_F_I32, offsetof(struct ended, exit_code), .min = -1, .max = 255},
        {"signal", JSON_F_I32, offsetof(struct ended, signal), .min = 0, .max = 64},
        {"checkpointed", JSON_F_BOOL, offsetof(struct ended, checkpointed)},
        {"checkpoint_at", JSON_F_TIME, offsetof(struct ended, ckpt_us)},
        {"text", JSON_F_TEXT, offsetof(struct ended, text), .size = 200},
        {"manifest", JSON_F_VALUE, offsetof(struct ended, manifest)},
        {"started", JSON_F_VALUE, offsetof(struct ended, started)},
    };
    struct event *ev = http_event(c, EV_RANKS_ENDED);
    struct ev_ranks_ended *e = &ev->u.ranks_ended;
    struct bt_err err = {0};
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &in, &err);

    *e = (struct ev_ranks_ended){.job = in.job,
                                 .attempt = in.attempt,
                                 .reason = (enum end_reason)in.reason,
                                 .exit_code = in.exit_code,
                                 .signal = in.signal,
                                 .checkpointed = in.checkpointed,
                                 .ckpt_us = in.ckpt_us};
    bt_copy(e->text, sizeof e->text, in.text);
    if (rc == 0)
        rc = read_made(in.manifest, e, &err);
    post_with_started(c, rc, in.started, ev, &err);
}

void agent_manifest(struct call *c)
{
    struct told {
        struct bt_uuid job;
        int32_t attempt;
        struct made made;
    } in = {.attempt = 0};
    static const struct json_field fields[] = {ATTEMPT_FIELDS(struct told),
                                               MADE_FIELDS(struct told, made)};
    struct event *ev = http_event(c, EV_MANIFEST);
    struct bt_err err = {0};
    int rc = json_read(c->body, fields, BT_ARRAY_LEN(fields), &in, &err);

    ev->u.manifest = (struct ev_manifest){.job = in.job, .attempt = in.attempt};
    if (rc == 0)
        rc = take_made(&in.made, &ev->u.manifest, &err);
    post_or_fail(c, rc, ev, &err);
}
