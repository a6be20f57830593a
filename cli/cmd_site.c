/* Sites: the clusters behind the facility. SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "cli/app.h"
#include "cli/cmd.h"
#include "cli/maps.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

int cmd_site_list(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {
        {"SITE", "site", OUT_STR, 0},       {"KIND", "kind", OUT_STR, 0},
        {"TIER", "tier", OUT_NUM, 0},       {"STATE", "state", OUT_STATE, 0},
        {"NODES", "nodes", OUT_NUM, 0},     {"UP", "up", OUT_NUM, 0},
        {"ACC", "accelerators", OUT_NUM, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "site",
                                        "no site is cleared for that"};
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf url = {0};
    int64_t tier;
    int rc = 0;

    bt_buf_str(&url, "/v1/sites");
    if (cli_has(a, "tier"))
        rc = bt_parse_i64(cli_value(a, "tier"), "--tier", 0, 4, &tier, err);
    url_query(&url, "tier", cli_value(a, "tier"));
    if (rc >= 0)
        rc = app_get(app, bt_buf_text(&url), &reply, err);
    if (rc >= 0)
        out_reply(app, &reply, &how);
    return rc < 0 ? rc : 0;
}

static int post(struct app *app, struct bt_buf *body, struct bt_err *err)
{
    REPLY_AUTO struct reply reply = {0};
    int rc = app_send(app, "POST", "/v1/sites", bt_buf_text(body), &reply, err);

    if (rc >= 0 && app->format == OUT_JSON)
        out_json(&reply);
    return rc < 0 ? rc : 0;
}

/* Options of `site add` that are members of the site's conf. */
static const struct {
    const char *option;
    const char *member;
} conf_options[] = {
    {"slurm-conf", "slurm_conf"},
    {"partition", "partition"},
    {"account", "account"},
    {"qos", "qos"},
    {"user", "user"},
    {"agent", "agent"},
    {"agent-dir", "agent_dir"},
    {"blobs", "blobs"},
};

int cmd_site_add(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int64_t v;
    int rc = 0;

    if (!cli_has(a, "slurm-conf") && !cli_has(a, "remote"))
        return bt_next(err, bt_fail(err, BT_ERR_USAGE, "site add wants --slurm-conf or --remote"),
                       "beamtime site add %s --slurm-conf /etc/slurm/slurm.conf", a->pos[0]);
    jw_object(&w, NULL);
    jw_str(&w, "site", a->pos[0]);
    jw_str(&w, "kind", "slurm");
    jw_str(&w, "state", "up"); /* also one that was removed before */
    if (cli_has(a, "tier")) {
        rc = bt_parse_i64(cli_value(a, "tier"), "--tier", 0, 4, &v, err);
        jw_i64(&w, "tier", v);
    }
    if (rc == 0 && cli_has(a, "until")) {
        rc = when_arg(cli_value(a, "until"), "--until", &v, err);
        jw_time(&w, "until", v);
    }
    jw_object(&w, "conf");
    for (size_t i = 0; i < BT_ARRAY_LEN(conf_options); i++)
        if (cli_has(a, conf_options[i].option))
            jw_str(&w, conf_options[i].member, cli_value(a, conf_options[i].option));
    if (cli_has(a, "fence"))
        jw_bool(&w, "fence", true);
    if (cli_has(a, "observe"))
        jw_bool(&w, "observe", true);
    if (cli_has(a, "remote"))
        jw_bool(&w, "remote", true);
    jw_end_object(&w);
    jw_end_object(&w);
    if (rc == 0)
        rc = post(app, &body, err);
    if (rc == 0)
        app_note(app, "site %s is added; `beamtime site show %s` says whether its cluster answers",
                 a->pos[0], a->pos[0]);
    return rc;
}

static int set_state(struct app *app, const struct cli_args *a, const char *state,
                     struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int rc;

    jw_object(&w, NULL);
    jw_str(&w, "site", a->pos[0]);
    jw_str(&w, "state", state);
    jw_end_object(&w);
    rc = post(app, &body, err);
    if (rc == 0)
        app_note(app, "site %s is %s", a->pos[0], state);
    return rc;
}

int cmd_site_drain(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return set_state(app, a, cli_has(a, "resume") ? "up" : "draining", err);
}

int cmd_site_remove(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return set_state(app, a, "removed", err);
}

static int get_site(struct app *app, const struct cli_args *a, const char *below,
                    struct reply *reply, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf path = {0};

    bt_buf_str(&path, "/v1/sites/");
    net_escape(&path, a->pos[0]);
    bt_buf_str(&path, below);
    return app_get(app, bt_buf_text(&path), reply, err);
}

/* One that runs at the site: connected since when, and from where. */
static void say_helper(const struct json *h, struct bt_buf *to)
{
    if (!*out_str(h, "since"))
        bt_buf_str(to, "helper        at the site; it never called\n");
    else
        bt_buf_printf(to, "helper        at the site, %s%s from %s\n",
                      json_bool(json_get(h, "connected"), false) ? "connected since "
                                                                 : "gone; it called at ",
                      out_str(h, "since"), out_str(h, "from"));
}

static void say_cluster(const struct json *c, struct bt_buf *to)
{
    if (!c)
        return;
    if (*out_str(c, "name")) /* else it never answered */
        bt_buf_printf(to, "cluster       %s, Slurm %s\n", out_str(c, "name"),
                      out_str(c, "version"));
    if (json_bool(json_get(c, "reachable"), false))
        bt_buf_str(to, "reachable     yes");
    else
        bt_buf_printf(to, "unreachable   since %s", out_str(c, "since"));
    bt_buf_printf(to, "\njobs          %lld of the facility, %lld of others\n",
                  (long long)json_i64(json_get(c, "jobs"), 0),
                  (long long)json_i64(json_get(c, "others"), 0));
    if (json_get(c, "helper"))
        say_helper(json_get(c, "helper"), to);
    if (*out_str(c, "text"))
        bt_buf_printf(to, "trouble       %s\n", out_str(c, "text"));
    if (*out_str(c, "next"))
        bt_buf_printf(to, "next          %s\n", out_str(c, "next"));
}

/* How many pairs of switches were measured, and each that is slow. */
static void say_pairs(const struct json *pairs, struct bt_buf *to)
{
    size_t n = json_len(pairs), slow = 0;

    if (!n)
        return;
    for (size_t i = 0; i < n; i++)
        slow += bt_streq(out_str(json_at(pairs, i), "state"), "slow");
    bt_buf_printf(to, "switches      %zu pairs measured, %zu slow\n", n, slow);
    for (size_t i = 0; i < n; i++) {
        const struct json *p = json_at(pairs, i), *nodes = json_get(p, "nodes");

        if (!bt_streq(out_str(p, "state"), "slow"))
            continue;
        bt_buf_printf(to, "  slow        leaf %lld-%lld, %s: %.2f GB/s (%s, %s)\n",
                      (long long)json_i64(json_get(p, "leaf_a"), 0),
                      (long long)json_i64(json_get(p, "leaf_b"), 0), out_str(p, "class"),
                      (double)json_i64(json_get(p, "busbw_mb_per_s"), 0) * 1e-3,
                      json_str(json_at(nodes, 0), ""), json_str(json_at(nodes, 1), ""));
    }
}

static void say_datasets(const struct json *list, struct bt_buf *to)
{
    for (size_t i = 0; i < json_len(list); i++) {
        bt_buf_str(to, i ? "              " : "data          ");
        text_clean(to, out_str(json_at(list, i), "name"));
        bt_buf_str(to, "  ");
        text_clean(to, out_str(json_at(list, i), "path"));
        bt_buf_char(to, '\n');
    }
}

int cmd_site_show(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = get_site(app, a, "", &reply, err);

    if (rc < 0)
        return rc;
    if (app->format == OUT_JSON) {
        out_json(&reply);
        return 0;
    }
    const struct json *row = json_get(reply.json, "row");
    const struct json *conf = json_get(row, "conf");
    bt_buf_printf(&text, "site          %s (%s), %s\n", a->pos[0], out_str(row, "kind"),
                  out_str(row, "state"));
    bt_buf_printf(&text, "cleared       tier %lld%s%s\n",
                  (long long)json_i64(json_get(row, "tier"), 0),
                  *out_str(row, "until") ? " until " : "", out_str(row, "until"));
    bt_buf_printf(&text, "nodes         %zu\nrunning       %lld\n",
                  json_len(json_get(row, "nodes")),
                  (long long)json_i64(json_get(row, "running"), 0));
    if (*out_str(conf, "slurm_conf"))
        bt_buf_printf(&text, "slurm.conf    %s\n", out_str(conf, "slurm_conf"));
    if (json_bool(json_get(conf, "fence"), false))
        bt_buf_str(&text, "fence         each project is an account of its slurmdbd\n");
    if (json_bool(json_get(conf, "observe"), false))
        bt_buf_str(&text, "observed      only: nothing is ever started there\n");
    if (*out_str(conf, "blobs"))
        bt_buf_printf(&text, "blobs         kept there, at %s\n", out_str(conf, "blobs"));
    say_datasets(json_get(row, "datasets"), &text);
    say_pairs(json_get(row, "pairs"), &text);
    say_cluster(json_get(reply.json, "cluster"), &text);
    out_text(&text);
    return 0;
}

int cmd_site_diff(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"NODE", "node", OUT_STR, 0},
                                          {"WHAT", "what", OUT_STR, 0},
                                          {"EXPECTED", "expected", OUT_STR, 0},
                                          {"ACTUAL", "actual", OUT_STR, 0},
                                          {"FIX", "fix", OUT_STR, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "node", "no differences"};
    REPLY_AUTO struct reply reply = {0};
    int rc = get_site(app, a, "/diff", &reply, err);

    if (rc >= 0)
        out_reply(app, &reply, &how);
    return rc < 0 ? rc : 0;
}

int cmd_site_check(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"LEVEL", "level", OUT_STR, 0},
                                          {"WHAT", "what", OUT_STR, 0},
                                          {"FOUND", "text", OUT_STR, 0},
                                          {"FIX", "fix", OUT_STR, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "what", NULL};
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = get_site(app, a, "/check", &reply, err);
    const struct json *items = json_get(reply.json, "items");
    size_t n_wrong = 0;

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < json_len(items); i++) {
        const struct json *f = json_at(items, i);
        bool wrong = bt_streq(out_str(f, "level"), "wrong");

        n_wrong += wrong;
        bt_buf_printf(&text, "%s  ", wrong ? "wrong " : "advice");
        text_clean(&text, out_str(f, "text"));
        bt_buf_str(&text, "\n        ");
        text_clean(&text, out_str(f, "fix"));
        bt_buf_char(&text, '\n');
    }
    bt_buf_printf(&text, "%lld settings looked at: %zu wrong, %zu with advice\n",
                  (long long)json_i64(json_get(reply.json, "looked_at"), 0), n_wrong,
                  json_len(items) - n_wrong);
    if (app->format == OUT_TABLE)
        out_text(&text);
    else
        out_reply(app, &reply, &how);
    return n_wrong ? 1 : 0;
}

static void say_seconds(struct bt_buf *to, const char *what, const struct json *v)
{
    char out[TEXT_MAX];

    if (json_is(v) == JSON_IS_INT || json_is(v) == JSON_IS_REAL)
        bt_buf_printf(to, "%s %s", what, text_duration((int64_t)json_f64(v, 0), out));
    else
        bt_buf_printf(to, "%s not known", what);
}

int cmd_site_report(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"JOB", "job", OUT_NUM, 0},
                                          {"ACC", "accelerators", OUT_NUM, 0},
                                          {"SUBMITTED", "submitted_at", OUT_WHEN, 0},
                                          {"PLANNED", "planned_at", OUT_WHEN, 0},
                                          {"PROMISED BY", "promised_by", OUT_WHEN, 0},
                                          {"SLURM SAID", "slurm_estimate", OUT_WHEN, 0},
                                          {"STARTED", "started_at", OUT_WHEN, 0},
                                          {"STATE", "state", OUT_STR, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "job",
                                        "no job was seen waiting there yet"};
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc = get_site(app, a, "/report", &reply, err);
    long long compared = json_i64(json_get(reply.json, "compared"), 0);
    long long on_time = json_i64(json_get(reply.json, "on_time"), 0);

    if (rc < 0)
        return rc;
    out_reply(app, &reply, &how);
    if (app->format != OUT_TABLE)
        return 0;
    bt_buf_printf(&text,
                  "\n%lld jobs compared, %lld (%.1f %%) began not after the start that would "
                  "have been promised\n",
                  compared, on_time, compared ? 100.0 * (double)on_time / (double)compared : 0.0);
    say_seconds(&text, "median wait", json_get(reply.json, "wait_s"));
    say_seconds(&text, ", as planned here", json_get(reply.json, "planned_wait_s"));
    say_seconds(&text, "\nmedian error of the plan", json_get(reply.json, "plan_error_s"));
    say_seconds(&text, ", of Slurm's first estimate", json_get(reply.json, "slurm_error_s"));
    bt_buf_char(&text, '\n');
    out_text(&text);
    return 0;
}

/* The whole file in one request: the facility does all of it or nothing. */
static int map_file(struct app *app, const char *path, struct bt_err *err)
{
    BT_AUTO struct map_line *maps = bt_new_n(struct map_line, MAPS_MAX);
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int rc = bt_file_read(path, MAPS_BYTES, &text, err);
    int n = rc < 0 ? rc : maps_parse(text.p ? text.p : "", text.n, maps, err);

    jw_object(&w, NULL);
    jw_array(&w, "maps");
    for (int i = 0; i < n; i++) {
        char nation[16], person[64];
        struct bt_err e = {0};

        if (app_pair(app, maps[i].person, "person", nation, person, &e) < 0)
            return bt_fail(err, (enum bt_errno)e.code, "line %d: %.200s", maps[i].line, e.text);
        jw_object(&w, NULL);
        jw_i64(&w, "line", maps[i].line);
        jw_str(&w, "nation", nation);
        jw_str(&w, "person", person);
        jw_str(&w, "site", maps[i].site);
        jw_str(&w, "unixname", maps[i].account);
        jw_end_object(&w);
    }
    jw_end_array(&w);
    jw_end_object(&w);
    rc = n < 0 ? n : app_send(app, "POST", "/v1/unixmaps", bt_buf_text(&body), &reply, err);
    if (rc >= 0)
        app_note(app, "%d people are mapped", n);
    return rc < 0 ? rc : 0;
}

int cmd_person_map(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    char nation[16], person[64];
    int rc;

    if (cli_has(a, "csv") && a->n_pos == 0)
        return map_file(app, cli_value(a, "csv"), err);
    if (a->n_pos != 3 || cli_has(a, "csv"))
        return bt_next(err,
                       bt_fail(err, BT_ERR_USAGE, "person map wants PERSON SITE ACCOUNT, or --csv"),
                       "beamtime person map --help");
    rc = app_pair(app, a->pos[0], "person", nation, person, err);
    jw_object(&w, NULL);
    jw_str(&w, "nation", nation);
    jw_str(&w, "person", person);
    jw_str(&w, "site", a->pos[1]);
    jw_str(&w, "unixname", a->pos[2]);
    jw_end_object(&w);
    if (rc >= 0)
        rc = app_send(app, "POST", "/v1/unixmap", bt_buf_text(&body), &reply, err);
    return rc < 0 ? rc : 0;
}
