/* cmd_admin.c - people, projects, quotas, nodes: lists and changes, a table of members each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/api/limits.h"
#include "lib/base/file.h"
#include "lib/base/hostlist.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

int when_arg(const char *text, const char *what, int64_t *ret_us, struct bt_err *err)
{
    int64_t seconds;

    if (bt_time_parse(text, what, ret_us, NULL) == 0)
        return 0;
    if (bt_parse_duration_s(text, what, &seconds, NULL) == 0 && seconds <= INT64_C(3650) * 86400) {
        *ret_us = bt_now_us() + seconds * BT_US_PER_S;
        return 0;
    }
    return bt_fail(err, BT_ERR_INVALID,
                   "%s is '%.40s', not a date (2027-01-01), a time in RFC 3339 or 365d from now",
                   what, text);
}

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
    static const struct out_col cols[] = {{"SEQ", "seq", OUT_NUM, 0},
                                          {"AT", "at", OUT_WHEN, 0},
                                          {"KIND", "kind", OUT_STR, 0},
                                          {"ACTOR", "actor", OUT_STR, 0},
                                          {"SUBJECT", "subject", OUT_STR, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "seq", NULL};
    BT_BUF_AUTO struct bt_buf url = {0};

    bt_buf_str(&url, "/v1/events");
    url_query(&url, "subject", cli_value(a, "subject"));
    /* A cursor of the audit is the number after which it goes on. */
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

int cmd_node_show(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"NODE", "node", OUT_STR, 0},
                                          {"SITE", "site", OUT_STR, 0},
                                          {"CLASS", "class", OUT_STR, 0},
                                          {"ACC", "accelerators", OUT_NUM, 0},
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
        out_text(&text);
        return 0;
    }
    return bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no node '%.60s'", a->pos[0]),
                   "beamtime node list");
}

enum { NODES_MAX = 16384 }; /* of one command */

/* ---- changes ---- */

enum field_kind { FIELD_TEXT, FIELD_INT, FIELD_TIME, FIELD_WORDS };

struct field {
    const char *option;
    const char *member;
    enum field_kind kind;
};

static int write_field(struct json_writer *w, const struct field *f, const char *value,
                       struct bt_err *err)
{
    BT_AUTO char *what = bt_printf("--%s", f->option);
    int64_t v = 0;
    int rc = 0;

    if (f->kind == FIELD_TEXT) {
        if (!bt_is_utf8(value, strlen(value)))
            return bt_fail(err, BT_ERR_INVALID, "%s is not UTF-8", what);
        jw_str(w, f->member, value);
    } else if (f->kind == FIELD_INT) {
        rc = bt_parse_i64(value, what, 0, INT64_MAX, &v, err);
        jw_i64(w, f->member, v);
    } else if (f->kind == FIELD_TIME) {
        rc = when_arg(value, what, &v, err);
        jw_time(w, f->member, v);
    } else {
        jw_array(w, f->member);
        for (const char *p = value;; p++) {
            size_t n = strcspn(p, ",");

            jw_strn(w, NULL, p, n);
            p += n;
            if (!*p)
                break;
        }
        jw_end_array(w);
    }
    return rc;
}

static int write_fields(struct json_writer *w, const struct cli_args *a, const struct field *fields,
                        size_t n, struct bt_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const char *value = cli_value(a, fields[i].option);
        int rc = value ? write_field(w, &fields[i], value, err) : 0;

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int send_body(struct app *app, const char *method, const char *path,
                     const struct bt_buf *body, struct bt_err *err)
{
    REPLY_AUTO struct reply reply = {0};
    int rc = app_send(app, method, path, bt_buf_text(body), &reply, err);

    if (rc >= 0 && app->format == OUT_JSON)
        out_json(&reply);
    return rc < 0 ? rc : 0;
}

static char lowered(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

int cmd_nation_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"name", "name", FIELD_TEXT},
                                          {"state", "state", FIELD_TEXT}};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    BT_AUTO char *code = bt_strdup(a->pos[0]);
    int rc;

    for (char *p = code; *p; p++)
        *p = lowered(*p);
    jw_object(&w, NULL);
    jw_str(&w, "nation", code);
    rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(app, "POST", "/v1/nations", &body, err);
    if (rc >= 0)
        app_note(app, "nation %s is set", code);
    return rc;
}

/* Objects below a nation: {"nation":…, member:…, fields…}. */
struct below {
    const char *path;
    const char *member;
    const struct field *fields;
    size_t n;
};

static int set_below(struct app *app, const struct cli_args *a, const struct below *how,
                     struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    char nation[16], name[64];
    int rc = app_pair(app, a->pos[0], how->member, nation, name, err);

    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    jw_str(&w, "nation", nation);
    jw_str(&w, how->member, name);
    rc = write_fields(&w, a, how->fields, how->n, err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(app, "POST", how->path, &body, err);
    if (rc >= 0)
        app_note(app, "%s %s/%s is set", how->member, nation, name);
    return rc;
}

int cmd_institution_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"tier", "tier", FIELD_INT},
                                          {"until", "until", FIELD_TIME}};
    static const struct below how = {"/v1/institutions", "institution", fields,
                                     BT_ARRAY_LEN(fields)};

    return set_below(app, a, &how, err);
}

int cmd_project_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"title", "title", FIELD_TEXT},
                                          {"tier", "tier", FIELD_INT},
                                          {"until", "until", FIELD_TIME},
                                          {"state", "state", FIELD_TEXT}};
    static const struct below how = {"/v1/projects", "project", fields, BT_ARRAY_LEN(fields)};

    return set_below(app, a, &how, err);
}

int cmd_person_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"name", "name", FIELD_TEXT},
                                          {"institution", "institution", FIELD_TEXT},
                                          {"roles", "roles", FIELD_WORDS},
                                          {"state", "state", FIELD_TEXT}};
    static const struct below how = {"/v1/people", "person", fields, BT_ARRAY_LEN(fields)};

    return set_below(app, a, &how, err);
}

static int set_member(struct app *app, const struct cli_args *a, const char *role,
                      struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    BT_BUF_AUTO struct bt_buf path = {0};
    struct json_writer w = {.to = &body};
    char nation[16], project[64], home[16], person[64];
    int rc = app_pair(app, a->pos[0], "project", nation, project, err);

    if (rc >= 0)
        rc = app_pair(app, a->pos[1], "person", home, person, err);
    if (rc < 0)
        return rc;
    bt_buf_printf(&path, "/v1/projects/%s/%s/members", nation, project);
    jw_object(&w, NULL);
    jw_str(&w, "nation", home);
    jw_str(&w, "person", person);
    jw_str(&w, "role", role);
    jw_end_object(&w);
    rc = send_body(app, "POST", bt_buf_text(&path), &body, err);
    if (rc >= 0)
        app_note(app, "%s/%s is %s in %s/%s", home, person, *role ? role : "no longer", nation,
                 project);
    return rc;
}

int cmd_member_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    const char *role = cli_value(a, "role");

    return set_member(app, a, role ? role : "member", err);
}

int cmd_member_remove(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return set_member(app, a, "", err);
}

int cmd_clearance_set(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"tier", "tier", FIELD_INT},
                                          {"until", "until", FIELD_TIME}};
    BT_BUF_AUTO struct bt_buf body = {0};
    BT_BUF_AUTO struct bt_buf path = {0};
    struct json_writer w = {.to = &body};
    char nation[16], person[64];
    int rc;

    if (!cli_has(a, "tier") || !cli_has(a, "until"))
        return bt_fail(err, BT_ERR_USAGE, "clearance set wants --tier and --until");
    rc = app_pair(app, a->pos[0], "person", nation, person, err);
    if (rc < 0)
        return rc;
    bt_buf_printf(&path, "/v1/people/%s/%s/clearance", nation, person);
    jw_object(&w, NULL);
    rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(app, "PUT", bt_buf_text(&path), &body, err);
    if (rc >= 0)
        app_note(app, "%s/%s is cleared for tier %s", nation, person, cli_value(a, "tier"));
    return rc;
}

static bool has_role(const struct json *person, const char *role)
{
    const struct json *roles = json_get(person, "roles");

    for (size_t i = 0; i < json_len(roles); i++)
        if (bt_streq(json_str(json_at(roles, i), ""), role))
            return true;
    return false;
}

/* The command that gives what is asked for, and whose administrators may run it (ret_nation). */
static int request_command(struct app *app, const struct cli_args *a, char ret_nation[16],
                           struct bt_buf *to, struct bt_err *err)
{
    const char *institution = cli_value(a, "institution"), *project = cli_value(a, "project");
    const char *tier = cli_has(a, "tier") ? cli_value(a, "tier") : "N";
    REPLY_AUTO struct reply who = {0};
    char name[64];
    int rc = 0;

    if (institution && project)
        return bt_fail(err, BT_ERR_USAGE, "either --institution or --project");
    if (institution || project) {
        rc = app_pair(app, institution ? institution : project, "name", ret_nation, name, err);
        bt_buf_printf(to, "beamtime %s set", institution ? "institution" : "project");
    } else {
        rc = app_get(app, "/v1/whoami", &who, err);
        bt_copy(ret_nation, 16, out_str(who.json, "nation"));
        bt_copy(name, sizeof name, out_str(who.json, "subject"));
        bt_buf_str(to, "beamtime clearance set");
    }
    if (rc >= 0)
        bt_buf_printf(to, " %s/%s --tier %s --until 365d", ret_nation, name, tier);
    return rc;
}

/* Clearances are given by people, not by programs: this names the people and their command. */
int cmd_clearance_request(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf command = {0};
    BT_BUF_AUTO struct bt_buf url = {0};
    REPLY_AUTO struct reply people = {0};
    const struct json *items;
    char nation[16] = "";
    int rc = request_command(app, a, nation, &command, err);

    if (rc < 0)
        return rc;
    bt_buf_str(&url, "/v1/people");
    url_query(&url, "nation", nation);
    rc = app_get(app, bt_buf_text(&url), &people, err);
    if (rc < 0)
        return rc;
    if (app->format == OUT_JSON) {
        out_json(&people);
        return 0;
    }
    printf("ask an administrator of %s to run\n  %s\n", nation, bt_buf_text(&command));
    items = json_get(people.json, "items");
    for (size_t i = 0; i < json_len(items); i++) {
        BT_BUF_AUTO struct bt_buf name = {0};

        if (!has_role(json_at(items, i), "nation_admin"))
            continue;
        text_clean(&name, out_str(json_at(items, i), "name"));
        printf("  %s/%-16s %s\n", out_str(json_at(items, i), "nation"),
               out_str(json_at(items, i), "person"), bt_buf_text(&name));
    }
    return 0;
}

/* The token goes to stdout, or into a file that others cannot read. */
static int give_token(struct app *app, const char *file, const struct reply *reply,
                      struct bt_err *err)
{
    BT_AUTO char *line = bt_printf("%s\n", out_str(reply->json, "token"));
    char out[TEXT_MAX];

    if (!file && app->format == OUT_JSON) {
        out_json(reply);
        return 0;
    }
    if (!file) {
        fputs(line, stdout);
    } else {
        int rc = access(file, F_OK) == 0 ? bt_fail(err, BT_ERR_CONFLICT, "%s exists already", file)
                                         : bt_file_write(file, 0600, line, strlen(line), err);

        if (rc < 0)
            return rc;
    }
    app_note(app, "valid once, until %s",
             text_time(out_when(reply->json, "expires_at"), bt_now_us(), out));
    return 0;
}

int cmd_token_new(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"until", "until", FIELD_TIME}};
    const char *kind = cli_has(a, "kind") ? cli_value(a, "kind") : "person";
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    char nation[16] = "operator", subject[64];
    int rc = 0;

    if (bt_streq(kind, "person"))
        rc = app_pair(app, a->pos[0], "person", nation, subject, err);
    else if (!bt_copy(subject, sizeof subject, a->pos[0]))
        rc = bt_fail(err, BT_ERR_USAGE, "the subject is too long");
    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    jw_str(&w, "kind", kind);
    jw_str(&w, "nation", nation);
    jw_str(&w, "subject", subject);
    rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = app_send(app, "POST", "/v1/tokens", bt_buf_text(&body), &reply, err);
    return rc < 0 ? rc : give_token(app, cli_value(a, "file"), &reply, err);
}

int cmd_credential_revoke(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    const char *spki = cli_value(a, "spki");
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    char nation[16], person[64];
    int rc = 0;

    if (!spki == !a->n_pos)
        return bt_fail(err, BT_ERR_USAGE, "credential revoke wants a person or --spki, not both");
    jw_object(&w, NULL);
    if (spki) {
        jw_str(&w, "spki", spki);
    } else {
        rc = app_pair(app, a->pos[0], "person", nation, person, err);
        if (rc < 0)
            return rc;
        jw_str(&w, "nation", nation);
        jw_str(&w, "person", person);
    }
    jw_end_object(&w);
    return send_body(app, "POST", "/v1/credentials/revoke", &body, err);
}

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
    return rc < 0 ? rc : send_body(app, "POST", "/v1/sites", &body, err);
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
    return rc < 0 ? rc : send_body(app, "POST", "/v1/rates", &body, err);
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
    return rc < 0 ? rc : send_body(app, "POST", "/v1/guarantees", &body, err);
}

int cmd_outage_add(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct field fields[] = {{"kind", "kind", FIELD_TEXT},
                                          {"reason", "reason", FIELD_TEXT},
                                          {"from", "from", FIELD_TIME},
                                          {"until", "until", FIELD_TIME}};
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int rc;

    if (!cli_has(a, "until") || !cli_has(a, "reason"))
        return bt_fail(err, BT_ERR_USAGE, "outage add wants --until and --reason");
    jw_object(&w, NULL);
    jw_str(&w, "nodes", a->pos[0]);
    if (!cli_has(a, "kind"))
        jw_str(&w, "kind", "maintenance");
    rc = write_fields(&w, a, fields, BT_ARRAY_LEN(fields), err);
    jw_end_object(&w);
    return rc < 0 ? rc : send_body(app, "POST", "/v1/outages", &body, err);
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
    return send_body(app, "POST", "/v1/outages", &body, err);
}

/* What is asked of each node of a list. */
struct node_change {
    struct app *app;
    const struct cli_args *a;
    const char *state;
    struct bt_err *err;
};

static int measure_node(void *arg, const char *name)
{
    const struct node_change *ch = arg;
    BT_BUF_AUTO struct bt_buf body = {0};
    BT_BUF_AUTO struct bt_buf path = {0};
    int rc;

    bt_buf_str(&body, "{}");
    bt_buf_str(&path, "/v1/nodes/");
    net_escape(&path, name);
    bt_buf_str(&path, "/measure");
    rc = send_body(ch->app, "POST", bt_buf_text(&path), &body, ch->err);
    if (rc >= 0)
        app_note(ch->app, "node %s will measure itself when it is idle", name);
    return rc;
}

int cmd_node_measure(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    struct node_change ch = {app, a, NULL, err};
    int rc = bt_hostlist_each(a->pos[0], NODES_MAX, measure_node, &ch, err);

    return BT_MIN(rc, 0);
}

static int change_node(void *arg, const char *name)
{
    static const struct field fields[] = {{"reason", "reason", FIELD_TEXT},
                                          {"until", "until", FIELD_TIME}};
    const struct node_change *ch = arg;
    BT_BUF_AUTO struct bt_buf body = {0};
    BT_BUF_AUTO struct bt_buf path = {0};
    struct json_writer w = {.to = &body};
    int rc;

    bt_buf_str(&path, "/v1/nodes/");
    net_escape(&path, name);
    bt_buf_str(&path, "/state");
    jw_object(&w, NULL);
    jw_str(&w, "state", ch->state);
    rc = write_fields(&w, ch->a, fields, BT_ARRAY_LEN(fields), ch->err);
    jw_end_object(&w);
    if (rc >= 0)
        rc = send_body(ch->app, "POST", bt_buf_text(&path), &body, ch->err);
    if (rc >= 0)
        app_note(ch->app, "node %s is %s", name, ch->state);
    return rc;
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

int cmd_node_resume(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    return node_state(app, a, "up", err);
}
