/* cmd_self.c - identities: enrol, renew, whoami, profiles; and what needs no facility at all.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "cli/help.h"
#include "cli/link.h"
#include "cli/out.h"
#include "cli/text.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/cert.h"

enum { TOKEN_MAX = 512, CA_MAX = 65536 };

/* ---- enrol ---- */

/* The token without its white space; wiped by the caller. */
static int read_token(const char *file, char token[TOKEN_MAX], struct bt_err *err)
{
    struct bt_buf text = {.max = TOKEN_MAX};
    size_t n;
    int rc = 0;

    if (file) {
        rc = bt_file_read(file, TOKEN_MAX - 1, &text, err);
    } else {
        char part[128];
        ssize_t got;

        while ((got = read(0, part, sizeof part)) > 0)
            bt_buf_add(&text, part, (size_t)got);
        if (text.over)
            rc = bt_fail(err, BT_ERR_TOO_LARGE, "a token has at most %d bytes", TOKEN_MAX);
        bt_wipe(part, sizeof part);
    }
    n = text.p ? text.n : 0;
    while (n && strchr(" \t\r\n", text.p[n - 1]))
        n--;
    if (rc >= 0 && (n == 0 || n >= TOKEN_MAX || memchr(text.p, '\0', n)))
        rc = bt_next(err, bt_fail(err, BT_ERR_TOKEN, "there is no token to read"),
                     "ask your nation: beamtime token new NATION/ID");
    if (rc >= 0 && text.p) {
        memcpy(token, text.p, n);
        token[n] = '\0';
    }
    if (text.p)
        bt_wipe(text.p, text.n);
    bt_buf_done(&text);
    return rc;
}

static char *public_url_of(const struct cli_args *a)
{
    const char *said = cli_value(a, "public-url"), *url = cli_value(a, "url");
    const char *host = strstr(url, "://");
    size_t n;

    if (said)
        return bt_strdup(said);
    host = host ? host + 3 : url;
    n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    return bt_printf("http://%.*s:8080", (int)n, host);
}

/* An identity that comes: its profile's name, where its files lie. */
struct newcomer {
    const char *name;
    char *dir;     /* of all profiles */
    char *new_key; /* the key before anybody has certified it */
    char *key;
};

static int save_identity(const struct cli_args *a, const struct newcomer *who,
                         const struct cert_key *key, const struct json *reply,
                         const struct bt_buf *ca, struct bt_err *err)
{
    BT_AUTO char *public_url = public_url_of(a);
    BT_AUTO char *name = bt_strdup(who->name);
    BT_AUTO char *url = bt_strdup(cli_value(a, "url"));
    BT_AUTO char *facility = bt_strdup(out_str(reply, "facility"));
    const struct net_profile p = {
        .name = name, .url = url, .public_url = public_url, .facility = facility};
    struct bt_buf pem = {0};
    int rc = cert_key_pem(key, &pem, err);

    if (cli_has(a, "replace"))
        unlink(who->key);
    if (rc >= 0)
        rc = net_profile_save(who->dir, &p, bt_buf_text(ca), out_str(reply, "certificate"),
                              bt_buf_text(&pem), err);
    if (pem.p)
        bt_wipe(pem.p, pem.n);
    bt_buf_done(&pem);
    if (rc >= 0)
        unlink(who->new_key);
    return rc;
}

/* What is asked of the facility: a request for a certificate, and a token unless one has one. */
static int csr_body(const struct cert_key *key, const char *name, const char *token,
                    struct bt_buf *body, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf csr = {0};
    struct json_writer w = {.to = body};
    int rc = cert_csr_make(key, name, &csr, err);

    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    if (token)
        jw_str(&w, "token", token);
    jw_str(&w, "csr", bt_buf_text(&csr));
    jw_end_object(&w);
    return 0;
}

static int enrol_into(struct app *app, const struct cli_args *a, const struct newcomer *who,
                      const struct bt_buf *ca, struct reply *reply, struct bt_err *err)
{
    BT_AUTO char *folder = bt_printf("%s/%s", who->dir, who->name);
    char token[TOKEN_MAX] = "";
    struct cert_key *key = NULL;
    struct bt_buf body = {0};
    int rc = read_token(cli_value(a, "token-file"), token, err);

    if (rc >= 0)
        rc = bt_mkdirs(folder, 0700, err);
    if (rc >= 0) /* one that an interrupted enrolment left gets the same answer */
        rc = cert_key_need(who->new_key, &key, err);
    if (rc >= 0)
        rc = csr_body(key, who->name, token, &body, err);
    if (rc >= 0)
        rc = link_enrol(app, cli_value(a, "url"), bt_buf_text(ca), bt_buf_text(&body), reply, err);
    if (rc >= 0)
        rc = save_identity(a, who, key, reply->json, ca, err);
    bt_wipe(token, sizeof token);
    if (body.p)
        bt_wipe(body.p, body.n);
    bt_buf_done(&body);
    cert_key_free(key);
    return rc;
}

/* The root that a person trusts: --ca, or the one of the profile that is replaced. */
static int read_ca(const struct cli_args *a, const struct newcomer *who, struct bt_buf *to,
                   struct bt_err *err)
{
    const char *file = cli_value(a, "ca");
    BT_AUTO char *old = bt_printf("%s/%s/ca.pem", who->dir, who->name);

    if (file)
        return bt_file_read(file, CA_MAX, to, err);
    if (access(old, R_OK) == 0)
        return bt_file_read(old, CA_MAX, to, err);
    return bt_fail(
        err, BT_ERR_USAGE,
        "enrol wants --ca FILE: the facility's root certificate, from somebody you trust");
}

static int may_enrol(const struct cli_args *a, const struct newcomer *who, struct bt_err *err)
{
    if (!cli_has(a, "url"))
        return bt_fail(err, BT_ERR_USAGE,
                       "enrol wants --url, such as https://beamtime.example:8443");
    if (!bt_is_name(who->name, 63) || bt_streq(who->name, "default"))
        return bt_fail(err, BT_ERR_USAGE,
                       "'%.60s' is no name of a profile: a-z, 0-9, '-', '_', '.', not 'default'",
                       who->name);
    if (access(who->key, F_OK) == 0 && !cli_has(a, "replace"))
        return bt_next(err,
                       bt_fail(err, BT_ERR_CONFLICT, "there is a profile '%s' already", who->name),
                       "choose another with --profile NAME, or add --replace");
    return 0;
}

int cmd_enrol(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    struct newcomer who = {.name = app->asked_profile ? app->asked_profile : "main"};
    BT_BUF_AUTO struct bt_buf ca = {0};
    REPLY_AUTO struct reply reply = {0};
    int rc = net_config_dir(&who.dir, err);

    if (rc < 0)
        return rc;
    who.key = bt_printf("%s/%s/key.pem", who.dir, who.name);
    who.new_key = bt_printf("%s/%s/key.new.pem", who.dir, who.name);
    rc = may_enrol(a, &who, err);
    if (rc >= 0)
        rc = read_ca(a, &who, &ca, err);
    if (rc >= 0)
        rc = enrol_into(app, a, &who, &ca, &reply, err);
    if (rc >= 0)
        app_note(app, "you are %s/%s at %s (profile %s)", out_str(reply.json, "nation"),
                 out_str(reply.json, "subject"), out_str(reply.json, "facility"), who.name);
    bt_free(who.dir);
    bt_free(who.key);
    bt_free(who.new_key);
    return rc;
}

/* ---- renew ---- */

/* The certificate of an answer, if it is for this key. */
static int take_certificate(const struct reply *reply, const struct cert_key *key, const char *file,
                            struct cert **ret, struct bt_err *err)
{
    const char *pem = out_str(reply->json, "certificate");
    int rc = cert_from_pem(pem, strlen(pem), ret, err);

    if (rc >= 0)
        rc = cert_matches_key(*ret, key, err);
    return rc < 0 ? rc : bt_file_write(file, 0644, pem, strlen(pem), err);
}

int cmd_renew(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    REPLY_AUTO struct reply reply = {0};
    struct cert_key *key = NULL;
    struct cert *cert = NULL;
    char until[TEXT_MAX];
    int rc = app_profile(app, err);

    (void)a;
    if (rc >= 0)
        rc = cert_key_load(app->profile.key_file, &key, err);
    if (rc >= 0)
        rc = csr_body(key, app->profile.name, NULL, &body, err);
    if (rc >= 0)
        rc = app_send(app, "POST", "/v1/renew", bt_buf_text(&body), &reply, err);
    if (rc >= 0)
        rc = take_certificate(&reply, key, app->profile.cert_file, &cert, err);
    if (rc >= 0)
        app_note(app, "your certificate lasts until %s (profile %s)",
                 text_time(cert_not_after_us(cert), bt_now_us(), until), app->profile.name);
    cert_free(cert);
    cert_key_free(key);
    return rc;
}

/* ---- whoami, profiles ---- */

int cmd_whoami(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"NATION", "nation", OUT_STR, 0},
                                          {"SUBJECT", "subject", OUT_STR, 0},
                                          {"KIND", "kind", OUT_STR, 0},
                                          {"ROLES", "roles", OUT_LIST, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "nation/subject", NULL};
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf text = {0};
    const struct json *list;
    char until[TEXT_MAX];
    int rc = app_get(app, "/v1/whoami", &reply, err);

    (void)a;
    if (rc < 0)
        return rc;
    if (app->format != OUT_TABLE && app->format != OUT_WIDE) {
        out_reply(app, &reply, &how);
        return 0;
    }
    text_clean(&text, out_str(reply.json, "name"));
    bt_buf_printf(&text, "%s%s/%s", text.n ? "  " : "", out_str(reply.json, "nation"),
                  out_str(reply.json, "subject"));
    bt_buf_printf(&text, " at %s\n  roles     ", out_str(reply.json, "facility"));
    list = json_get(reply.json, "roles");
    for (size_t i = 0; i < json_len(list); i++)
        bt_buf_printf(&text, "%s%s", i ? ", " : "", json_str(json_at(list, i), ""));
    bt_buf_printf(&text, "%s\n  cleared   tier %d", json_len(list) ? "" : "none",
                  (int)json_i64(json_get(reply.json, "tier"), 0));
    if (out_when(reply.json, "tier_until"))
        bt_buf_printf(&text, " until %s",
                      text_time(out_when(reply.json, "tier_until"), bt_now_us(), until));
    if (out_when(reply.json, "certificate_until"))
        bt_buf_printf(&text, "\n  certified until %s",
                      text_time(out_when(reply.json, "certificate_until"), bt_now_us(), until));
    list = json_get(reply.json, "projects");
    for (size_t i = 0; i < json_len(list); i++)
        bt_buf_printf(&text, "%s%s (%s)", i ? ", " : "\n  projects  ",
                      out_str(json_at(list, i), "name"), out_str(json_at(list, i), "role"));
    bt_buf_char(&text, '\n');
    out_text(&text);
    return 0;
}

static int list_profile(struct json_writer *w, const char *dir, const char *name,
                        const char *standard, struct bt_err *err)
{
    struct net_profile p;
    int rc = net_profile_load(dir, name, &p, err);

    if (rc < 0)
        return rc;
    jw_object(w, NULL);
    jw_str(w, "name", p.name);
    jw_str(w, "facility", p.facility);
    jw_str(w, "url", p.url);
    jw_str(w, "public_url", p.public_url);
    jw_bool(w, "default", bt_streq(standard, name));
    jw_end_object(w);
    net_profile_done(&p);
    return 0;
}

static int list_profiles(const char *dir, struct bt_buf *to, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/default", dir);
    BT_BUF_AUTO struct bt_buf standard = {0};
    BT_BUF_AUTO struct bt_buf names = {0};
    struct json_writer w = {.to = to};
    char *save = NULL;
    int rc = net_profile_list(dir, &names, err);

    if (rc < 0)
        return rc;
    if (bt_file_read(path, 256, &standard, NULL) >= 0 && standard.n)
        standard.p[strcspn(standard.p, "\n")] = '\0';
    jw_object(&w, NULL);
    jw_array(&w, "items");
    for (char *name = names.p ? strtok_r(names.p, "\n", &save) : NULL; name && rc >= 0;
         name = strtok_r(NULL, "\n", &save))
        rc = list_profile(&w, dir, name, bt_buf_text(&standard), err);
    jw_end_array(&w);
    jw_end_object(&w);
    return rc;
}

int cmd_profile_list(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {{"PROFILE", "name", OUT_STR, 0},
                                          {"FACILITY", "facility", OUT_STR, 0},
                                          {"URL", "url", OUT_STR, 0},
                                          {"PUBLIC", "public_url", OUT_STR, 1},
                                          {"DEFAULT", "default", OUT_STR, 0}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "name",
                                        "no profile; `beamtime enrol --help` says how to get one"};
    BT_AUTO char *dir = NULL;
    REPLY_AUTO struct reply reply = {0};
    int rc = net_config_dir(&dir, err);

    (void)a;
    if (rc >= 0)
        rc = list_profiles(dir, &reply.body, err);
    if (rc >= 0)
        rc = json_parse(bt_buf_text(&reply.body), reply.body.n, 1 << 20, &reply.json, err);
    if (rc >= 0)
        out_reply(app, &reply, &how);
    return rc;
}

int cmd_profile_use(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_AUTO char *dir = NULL;
    struct net_profile p;
    int rc = net_config_dir(&dir, err);

    if (rc >= 0)
        rc = net_profile_load(dir, a->pos[0], &p, err);
    if (rc < 0)
        return rc;
    net_profile_done(&p);
    rc = net_profile_set_default(dir, a->pos[0], err);
    if (rc >= 0)
        app_note(app, "'%s' is the default profile now", a->pos[0]);
    return rc;
}

/* ---- without a facility ---- */

int cmd_version(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    (void)a;
    (void)err;
    if (app->format == OUT_JSON)
        puts("{\"program\":\"beamtime\",\"version\":\"" BT_VERSION "\"}");
    else
        puts("beamtime " BT_VERSION);
    return 0;
}

int cmd_completion(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf text = {0};

    (void)app;
    if (bt_streq(a->pos[0], "bash"))
        complete_bash(cli_commands, &text);
    else if (bt_streq(a->pos[0], "zsh"))
        complete_zsh(cli_commands, &text);
    else if (bt_streq(a->pos[0], "man"))
        help_man(cli_commands, &text);
    else
        return bt_fail(err, BT_ERR_USAGE, "completion knows bash, zsh and man, not '%.20s'",
                       a->pos[0]);
    out_text(&text);
    return 0;
}
