/* cmd_people.c - nations, institutions, projects, people, clearances, tokens.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/change.h"
#include "cli/cmd.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

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
    rc = send_body(app, "POST", "/v1/credentials/revoke", &body, err);
    if (rc >= 0)
        app_note(app, "%s: no credential is valid any more", spki ? spki : a->pos[0]);
    return rc;
}
