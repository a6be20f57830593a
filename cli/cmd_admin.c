/* cmd_admin.c - lists of what there is; changes of sites, rates, guarantees, outages, nodes.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/change.h"
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/api/limits.h"
#include "lib/base/hostlist.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

/* ---- lists ---- */

static int list(struct app *app, const struct cli_args *a, const char *path,
                const struct out_list *how, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf url = {0};
    REPLY_AUTO struct reply reply = {0};
    int rc;

    bt_buf_str(&url, path);
    url_query(&url, "nation", cli_value(a, "nation"));
    url_query(&url, "state", cli_value(a, "state"));
    url_query(&url, "limit", cli_value(a, "limit"));
    url_query(&url, "cursor", cli_value(a, "cursor"));
    rc = app_get(app, bt_buf_text(&url), &reply, err);
    if (rc < 0)
        return rc;
    out_reply(app, &reply, how);
    return 0;
}

#define LIST(NAME, PATH, KEY, EMPTY, ...)                                          \
    int NAME(struct app *app, const struct cli_args *a, struct bt_err *err)        \
    {                                                                              \
        static const struct out_col cols[] = {__VA_ARGS__};                        \
        static const struct out_list how = {cols, BT_ARRAY_LEN(cols), KEY, EMPTY}; \
                                                                                   \
        return list(app, a, PATH, &how, err);                                      \
    }

LIST(cmd_nation_list, "/v1/nations", "nation", NULL, {"NATION", "nation", OUT_STR, 0},
     {"NAME", "name", OUT_STR, 0}, {"STATE", "state", OUT_STATE, 0})
LIST(cmd_institution_list, "/v1/institutions", "nation/institution",
     "no institution; `beamtime institution add NATION/NAME` makes one",
     {"INSTITUTION", "nation/institution", OUT_STR, 0}, {"TIER", "tier", OUT_NUM, 0},
     {"UNTIL", "until", OUT_WHEN, 0})
LIST(cmd_project_list, "/v1/projects", "nation/project",
     "no project; `beamtime project add NATION/NAME` makes one",
     {"PROJECT", "nation/project", OUT_STR, 0}, {"TITLE", "title", OUT_STR, 0},
     {"TIER", "tier", OUT_NUM, 0}, {"UNTIL", "until", OUT_WHEN, 0},
     {"STATE", "state", OUT_STATE, 0})
LIST(cmd_person_list, "/v1/people", "nation/person", NULL, {"PERSON", "nation/person", OUT_STR, 0},
     {"NAME", "name", OUT_STR, 0}, {"INSTITUTION", "institution", OUT_STR, 0},
     {"ROLES", "roles", OUT_LIST, 0}, {"TIER", "tier", OUT_NUM, 0},
     {"UNTIL", "tier_until", OUT_WHEN, 1}, {"STATE", "state", OUT_STATE, 0})
LIST(cmd_rate_list, "/v1/rates", "class", NULL, {"CLASS", "class", OUT_STR, 0},
     {"RATE/1000", "rate_milli", OUT_NUM, 0}, {"PEAK GFLOP/S", "peak_gflops", OUT_NUM, 0},
     {"FROM", "from", OUT_WHEN, 0})
LIST(cmd_node_list, "/v1/nodes", "node", "no node has registered yet", {"NODE", "node", OUT_STR, 0},
     {"SITE", "site", OUT_STR, 0}, {"CLASS", "class", OUT_STR, 0},
     {"ACC", "accelerators", OUT_NUM, 0}, {"BUSY", "busy", OUT_NUM, 0},
     {"STATE", "state", OUT_STATE, 0}, {"REASON", "reason", OUT_STR, 0},
     {"UNTIL", "until", OUT_WHEN, 1}, {"TIER", "tier", OUT_NUM, 1})

LIST(cmd_guarantee_list, "/v1/guarantees", "nation", "nothing is guaranteed to anybody",
     {"NATION", "nation", OUT_STR, 0}, {"ACC", "accelerators", OUT_NUM, 0},
     {"FROM", "from", OUT_WHEN, 0}, {"UNTIL", "until", OUT_WHEN, 0})
LIST(cmd_outage_list, "/v1/outages", "id", "no outage is planned", {"ID", "id", OUT_NUM, 0},
     {"KIND", "kind", OUT_STR, 0}, {"NODES", "nodes", OUT_STR, 0}, {"FROM", "from", OUT_WHEN, 0},
     {"UNTIL", "until", OUT_WHEN, 0}, {"REASON", "reason", OUT_STR, 0})

int cmd_audit(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {
        {"SEQ", "seq", OUT_NUM, 0},         {"AT", "at", OUT_WHEN, 0},
        {"KIND", "kind", OUT_STR, 0},       {"ACTOR", "actor", OUT_STR, 0},
        {"SUBJECT", "subject", OUT_STR, 0}, {"DETAIL", "body", OUT_DETAIL, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "seq", NULL};
    BT_BUF_AUTO struct bt_buf url = {0};

    bt_buf_str(&url, "/v1/events");
    url_query(&url, "subject", cli_value(a, "subject"));
    /* A cursor of the audit is the event after which it goes on. */
    url_query(&url, "since", cli_value(a, cli_has(a, "since") ? "since" : "cursor"));
    return list(app, a, bt_buf_text(&url), &how, err);
}

/* One group of nodes, its names folded into ranges. */
static void write_group(struct json_writer *w, const struct json *g)
{
    const struct json *names = json_get(g, "names");
    size_t n = json_len(names);
    BT_AUTO const char **v = bt_new_n(const char *, n + 1);
    BT_BUF_AUTO struct bt_buf folded = {0};

    for (size_t i = 0; i < n; i++)
        v[i] = json_str(json_at(names, i), "");
    bt_hostlist_format(v, n, &folded);
    jw_object(w, NULL);
    jw_str(w, "site", json_str(json_get(g, "site"), NULL));
    jw_str(w, "class", out_str(g, "class"));
    jw_str(w, "state", out_str(g, "state"));
    jw_i64(w, "nodes", json_i64(json_get(g, "nodes"), 0));
    jw_i64(w, "accelerators", json_i64(json_get(g, "accelerators"), 0));
    jw_i64(w, "busy", json_i64(json_get(g, "busy"), 0));
    jw_str(w, "reason", json_str(json_get(g, "reason"), NULL));
    jw_str(w, "list", bt_buf_text(&folded));
    jw_end_object(w);
}

int cmd_node_summary(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {
        {"SITE", "site", OUT_STR, 0},        {"CLASS", "class", OUT_STR, 0},
        {"STATE", "state", OUT_STATE, 0},    {"NODES", "nodes", OUT_NUM, 0},
        {"ACC", "accelerators", OUT_NUM, 0}, {"BUSY", "busy", OUT_NUM, 0},
        {"LIST", "list", OUT_STR, 0},        {"REASON", "reason", OUT_STR, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "list",
                                        "no node has registered yet"};
    REPLY_AUTO struct reply groups = {0};
    REPLY_AUTO struct reply folded = {0};
    struct json_writer w = {.to = &folded.body};
    int rc = app_get(app, "/v1/nodes?by=state", &groups, err);

    (void)a;
    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    jw_array(&w, "items");
    for (size_t i = 0; i < json_len(json_get(groups.json, "items")); i++)
        write_group(&w, json_at(json_get(groups.json, "items"), i));
    jw_end_array(&w);
    jw_end_object(&w);
    rc = json_parse(bt_buf_text(&folded.body), folded.body.n, LIMIT_REPLY_BYTES, &folded.json, err);
    if (rc >= 0)
        out_reply(app, &folded, &how);
    return rc;
}

/* What was measured from the node's leaf switch to others and inside it. */
static void say_pairs(const struct json *node, struct bt_buf *to)
{
    const struct json *pairs = json_get(node, "pairs");

    for (size_t i = 0; i < json_len(pairs); i++) {
        const struct json *p = json_at(pairs, i), *nodes = json_get(p, "nodes");

        bt_buf_printf(to, "leaf %lld-%lld  %.2f GB/s between %s and %s, %s\n",
                      (long long)json_i64(json_get(node, "leaf"), 0),
                      (long long)json_i64(json_get(p, "leaf"), 0),
                      (double)json_i64(json_get(p, "busbw_mb_per_s"), 0) * 1e-3,
                      json_str(json_at(nodes, 0), ""), json_str(json_at(nodes, 1), ""),
                      out_str(p, "state"));
    }
}

int cmd_node_show(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"NODE", "node", OUT_STR, 0},
                                          {"SITE", "site", OUT_STR, 0},
                                          {"CLASS", "class", OUT_STR, 0},
                                          {"ACC", "accelerators", OUT_NUM, 0},
                                          {"GB", "memory_gb", OUT_NUM, 0},
                                          {"BUSY", "busy", OUT_NUM, 0},
                                          {"STATE", "state", OUT_STATE, 0},
                                          {"REASON", "reason", OUT_STR, 0},
                                          {"UNTIL", "until", OUT_WHEN, 0},
                                          {"SEEN", "last_seen_at", OUT_WHEN, 0},
                                          {"BUSBW-MB/S", "busbw_mb_per_s", OUT_NUM, 0},
                                          {"MEASURED", "measured_at", OUT_WHEN, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "node", NULL};
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    BT_BUF_AUTO struct bt_buf url = {0};
    int rc;

    bt_buf_str(&url, "/v1/nodes");
    url_query(&url, "node", a->pos[0]);
    rc = app_get(app, bt_buf_text(&url), &reply, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < json_len(json_get(reply.json, "items")); i++) {
        const struct json *node = json_at(json_get(reply.json, "items"), i);

        if (!bt_streq(out_str(node, "node"), a->pos[0]))
            continue;
        if (app->format == OUT_JSON)
            out_json(&reply);
        else
            out_items(app, node, &how, bt_now_us(), &text);
        if (app->format != OUT_JSON && *out_str(node, "leaf_switch"))
            bt_buf_printf(&text, "switch %s below %s (leaf %lld, pod %lld)\n",
                          out_str(node, "leaf_switch"), out_str(node, "pod_switch"),
                          (long long)json_i64(json_get(node, "leaf"), 0),
                          (long long)json_i64(json_get(node, "pod"), 0));
        if (app->format != OUT_JSON)
            say_pairs(node, &text);
        out_text(&text);
        return 0;
    }
    return bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no node '%.60s'", a->pos[0]),
                   "beamtime node list");
}

enum { NODES_MAX = 16384 }; /* of one command */

/* ---- changes ---- */

int cmd_site_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"kind", "kind", FIELD_TEXT},
                                          {"tier", "tier", FIELD_INT},
                                          {"until", "until", FIELD_TIME},
                                          {"state", "state", FIELD_TEXT}};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int rc;

    jw_object(&w, NULL);
    jw_str(&w, "site", a->pos[0]);
    rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(app, "POST", "/v1/sites", &body, err);
    if (rc >= 0)
        app_note(app, "site %s is set", a->pos[0]);
    return rc;
}

/* "2.5" -> 2500 thousandths, exactly. */
static int milli(const char *text, int64_t *ret, struct bt_err *err)
{
    BT_AUTO char *as_seconds = bt_printf("%ss", text);

    if (text_amount(as_seconds, "--rate", ret, NULL) < 0)
        return bt_fail(err, BT_ERR_INVALID, "--rate is '%.40s', not a number such as 2.5", text);
    return 0;
}

int cmd_rate_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"peak-gflops", "peak_gflops", FIELD_INT},
                                          {"from", "from", FIELD_TIME}};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int64_t rate;
    int rc;

    if (!cli_has(a, "rate") || !cli_has(a, "peak-gflops"))
        return bt_fail(err, BT_ERR_USAGE, "rate set wants --rate and --peak-gflops");
    rc = milli(cli_value(a, "rate"), &rate, err);
    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    jw_str(&w, "class", a->pos[0]);
    jw_i64(&w, "rate_milli", rate);
    rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(app, "POST", "/v1/rates", &body, err);
    if (rc >= 0)
        app_note(app, "an accelerator of class %s counts %s", a->pos[0], cli_value(a, "rate"));
    return rc;
}

int cmd_unixmap_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"site", "site", FIELD_TEXT},
                                          {"user", "unixname", FIELD_TEXT}};
    static const struct below how = {"/v1/unixmap", "person", fields, BT_ARRAY_LEN(fields)};

    if (!cli_has(a, "site") || !cli_has(a, "user"))
        return bt_fail(err, BT_ERR_USAGE, "unixmap set wants --site and --user");
    return set_below(app, a, &how, err);
}

int cmd_guarantee_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"accelerators", "accelerators", FIELD_INT},
                                          {"from", "from", FIELD_TIME},
                                          {"until", "until", FIELD_TIME}};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int rc;

    if (!cli_has(a, "accelerators"))
        return bt_fail(err, BT_ERR_USAGE, "guarantee set wants --accelerators");
    jw_object(&w, NULL);
    jw_str(&w, "nation", a->pos[0]);
    rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(app, "POST", "/v1/guarantees", &body, err);
    if (rc >= 0)
        app_note(app, "nation %s is guaranteed %s accelerators", a->pos[0],
                 cli_value(a, "accelerators"));
    return rc;
}

int cmd_outage_add(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"kind", "kind", FIELD_TEXT},
                                          {"reason", "reason", FIELD_TEXT},
                                          {"from", "from", FIELD_TIME},
                                          {"until", "until", FIELD_TIME}};
    BT_BUF_AUTO struct bt_buf body = {0};
    REPLY_AUTO struct reply reply = {0};
    struct json_writer w = {.to = &body};
    long long id;
    int rc;

    if (!cli_has(a, "until") || !cli_has(a, "reason"))
        return bt_fail(err, BT_ERR_USAGE, "outage add wants --until and --reason");
    jw_object(&w, NULL);
    jw_str(&w, "nodes", a->pos[0]);
    if (!cli_has(a, "kind"))
        jw_str(&w, "kind", "maintenance");
    rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = app_send(app, "POST", "/v1/outages", bt_buf_text(&body), &reply, err);
    if (rc < 0)
        return rc;
    if (app->format == OUT_JSON)
        out_json(&reply);
    id = (long long)json_i64(json_get(reply.json, "id"), 0);
    app_note(app, "outage %lld of nodes %s is planned; `beamtime outage end %lld` calls it off", id,
             a->pos[0], id);
    return 0;
}

int cmd_outage_end(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int64_t id;
    int rc = bt_parse_i64(a->pos[0], "the outage", 1, INT32_MAX, &id, err);

    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    jw_i64(&w, "id", id);
    jw_str(&w, "state", "over");
    jw_end_object(&w);
    rc = send_body(app, "POST", "/v1/outages", &body, err);
    if (rc >= 0)
        app_note(app, "outage %lld is over", (long long)id);
    return rc;
}

/* What is asked of each node of a list. */
struct node_change {
    struct app *app;
    const struct cli_args *a;
    const char *state; /* NULL: as it is */
    struct bt_err *err;
};

static int measure_node(void *arg, const char *name)
{
    const struct node_change *ch = arg;
    BT_BUF_AUTO struct bt_buf body = {0};
    BT_BUF_AUTO struct bt_buf path = {0};
    bool pairs = cli_has(ch->a, "pairs");
    int rc;

    bt_buf_str(&body, pairs ? "{\"kind\":\"pairs\"}" : "{}");
    bt_buf_str(&path, "/v1/nodes/");
    net_escape(&path, name);
    bt_buf_str(&path, "/measure");
    rc = send_body(ch->app, "POST", bt_buf_text(&path), &body, ch->err);
    if (rc >= 0)
        app_note(ch->app,
                 pairs ? "the switch of node %s will be measured with the others by idle nodes"
                       : "node %s will measure itself when it is idle",
                 name);
    return rc;
}

int cmd_node_measure(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    struct node_change ch = {app, a, NULL, err};
    int rc = bt_hostlist_each(a->pos[0], NODES_MAX, measure_node, &ch, err);

    return BT_MIN(rc, 0);
}

/* What it is now: up may also mean down still, for a reason of its cluster's. */
static void note_node(const struct app *app, const char *name, const struct reply *reply)
{
    const char *reason = json_str(json_get(reply->json, "reason"), "-");

    app_note(app, "node %s is %s%s%s", name, json_str(json_get(reply->json, "state"), "set"),
             bt_streq(reason, "-") ? "" : ": ", bt_streq(reason, "-") ? "" : reason);
}

static int change_node(void *arg, const char *name)
{
    REPLY_AUTO struct reply reply = {0};
    static const struct field fields[] = {{"reason", "reason", FIELD_TEXT},
                                          {"until", "until", FIELD_TIME},
                                          {"tier", "tier", FIELD_INT}};
    const struct node_change *ch = arg;
    BT_BUF_AUTO struct bt_buf body = {0};
    BT_BUF_AUTO struct bt_buf path = {0};
    struct json_writer w = {.to = &body};
    int rc;

    bt_buf_str(&path, "/v1/nodes/");
    net_escape(&path, name);
    bt_buf_str(&path, "/state");
    jw_object(&w, NULL);
    if (ch->state)
        jw_str(&w, "state", ch->state);
    rc = write_fields(&w, ch->a, fields, BT_ARRAY_LEN(fields), ch->err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = app_send(ch->app, "POST", bt_buf_text(&path), bt_buf_text(&body), &reply, ch->err);
    if (rc < 0)
        return rc;
    if (ch->app->format == OUT_JSON)
        out_json(&reply);
    if (ch->state)
        note_node(ch->app, name, &reply);
    else
        app_note(ch->app, "node %s is set", name);
    return 0;
}

static int node_state(struct app *app, const struct cli_args *a, const char *state,
                      struct bt_err *err)
{
    struct node_change ch = {app, a, state, err};
    int rc = bt_hostlist_each(a->pos[0], NODES_MAX, change_node, &ch, err);

    return BT_MIN(rc, 0);
}

int cmd_node_drain(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    if (!cli_has(a, "reason"))
        return bt_fail(err, BT_ERR_USAGE, "node drain wants --reason: whoever waits will read it");
    return node_state(app, a, cli_has(a, "down") ? "down" : "draining", err);
}

int cmd_node_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    if (!cli_has(a, "tier"))
        return bt_fail(err, BT_ERR_USAGE, "node set wants --tier");
    return node_state(app, a, NULL, err);
}

int cmd_node_resume(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return node_state(app, a, "up", err);
}
