/* Profiles on disk. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/net/profile.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/conf/conf.h"

struct facility_conf {
    char *url, *agents_url, *public_url, *facility;
};

static const struct conf_row rows[] = {
    {"url", CONF_TEXT, offsetof(struct facility_conf, url), NULL, 0, 0, "", "where people connect"},
    {"agents_url", CONF_TEXT, offsetof(struct facility_conf, agents_url), NULL, 0, 0, "",
     "where agents connect"},
    {"public_url", CONF_TEXT, offsetof(struct facility_conf, public_url), NULL, 0, 0, "",
     "where the ledger is shown"},
    {"facility", CONF_TEXT, offsetof(struct facility_conf, facility), NULL, 0, 0, "",
     "name of the facility"},
};
static const struct conf_table table = {
    .program = "beamtime", .summary = "a profile", .rows = rows, .n = BT_ARRAY_LEN(rows)};

int net_config_dir(char **ret, struct bt_err *err)
{
    const char *own = getenv("BEAMTIME_CONFIG_DIR");
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");

    if (own && *own)
        *ret = bt_strdup(own);
    else if (xdg && *xdg == '/')
        *ret = bt_printf("%s/beamtime", xdg);
    else if (home && *home == '/')
        *ret = bt_printf("%s/.config/beamtime", home);
    else
        return bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no home directory"),
                       "export BEAMTIME_CONFIG_DIR=/some/folder");
    return 0;
}

/* ---- names ---- */

enum { PROFILE_NAME = 65 }; /* with its NUL */

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

int net_profile_list(const char *dir, struct bt_buf *to, struct bt_err *err)
{
    char(*names)[PROFILE_NAME] = NULL;
    int n = 0, cap = 0;
    DIR *d = opendir(dir);

    if (!d)
        return errno == ENOENT ? 0 : bt_fail_errno(err, BT_ERR_IO, "cannot read %s", dir);
    for (struct dirent *e; (e = readdir(d));) {
        BT_AUTO char *path = bt_printf("%s/%s/facility.conf", dir, e->d_name);

        if (!bt_is_name(e->d_name, PROFILE_NAME - 1) || access(path, F_OK) != 0)
            continue;
        BT_GROW(names, n, cap);
        bt_copy(names[n++], PROFILE_NAME, e->d_name);
    }
    closedir(d);
    if (n)
        qsort(names, (size_t)n, sizeof *names, by_name);
    for (int i = 0; i < n; i++)
        bt_buf_printf(to, "%s\n", names[i]);
    bt_free(names);
    return 0;
}

static char *first_line(struct bt_buf *text)
{
    size_t n = strcspn(bt_buf_text(text), "\n");

    return n ? bt_strndup(text->p, n) : NULL;
}

static int choose(const char *dir, const char *name, char **ret, struct bt_err *err)
{
    const char *env = getenv("BEAMTIME_PROFILE");
    BT_AUTO char *path = bt_printf("%s/default", dir);
    BT_BUF_AUTO struct bt_buf text = {0};
    int rc;

    *ret = NULL;
    if (name || (env && *env)) {
        *ret = bt_strdup(name ? name : env);
    } else if (bt_file_read(path, 256, &text, NULL) == 0) {
        *ret = first_line(&text);
    } else {
        rc = net_profile_list(dir, &text, err);
        if (rc < 0)
            return rc;
        *ret = first_line(&text);
        if (*ret && text.n > strlen(*ret) + 1) {
            bt_free(BT_TAKE(*ret));
            return bt_next(err, bt_fail(err, BT_ERR_USAGE, "there are several profiles in %s", dir),
                           "beamtime --profile NAME …");
        }
    }
    if (!*ret)
        return bt_next(err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no profile in %s", dir),
                       "beamtime enrol --url https://… --ca ca.pem --token …");
    if (bt_is_name(*ret, 64))
        return 0;
    rc = bt_fail(err, BT_ERR_INVALID, "'%.60s' is no profile's name", *ret);
    bt_free(BT_TAKE(*ret));
    return rc;
}

int net_profile_load(const char *dir, const char *name, struct net_profile *ret, struct bt_err *err)
{
    BT_AUTO char *chosen = NULL;
    BT_AUTO char *path = NULL;
    struct facility_conf f;
    int rc = choose(dir, name, &chosen, err);

    if (rc < 0)
        return rc;
    path = bt_printf("%s/%s/facility.conf", dir, chosen);
    if (access(path, R_OK) != 0)
        return bt_next(
            err, bt_fail(err, BT_ERR_NOT_FOUND, "there is no profile '%s' in %s", chosen, dir),
            "beamtime enrol --profile %s …", chosen);
    conf_init(&table, &f);
    rc = conf_file(&table, &f, path, err);
    if (rc == 0 && !f.url)
        rc = bt_fail(err, BT_ERR_INVALID, "%s does not say its url", path);
    if (rc < 0) {
        conf_done(&table, &f);
        return rc;
    }
    *ret = (struct net_profile){
        .name = bt_strdup(chosen),
        .ca_file = bt_printf("%s/%s/ca.pem", dir, chosen),
        .cert_file = bt_printf("%s/%s/cert.pem", dir, chosen),
        .key_file = bt_printf("%s/%s/key.pem", dir, chosen),
    };
    ret->url = bt_strdup(f.url);
    ret->agents_url = bt_strdup(f.agents_url ? f.agents_url : "");
    ret->public_url = bt_strdup(f.public_url ? f.public_url : "");
    ret->facility = bt_strdup(f.facility ? f.facility : "");
    conf_done(&table, &f);
    return 0;
}

/* ---- writing ---- */

static int put(const char *dir, const char *name, const char *file, mode_t mode, const char *text,
               struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/%s/%s", dir, name, file);

    return bt_file_write(path, mode, text, strlen(text), err);
}

int net_profile_set_default(const char *dir, const char *name, struct bt_err *err)
{
    BT_AUTO char *path = bt_printf("%s/default", dir);
    BT_AUTO char *line = bt_printf("%s\n", name);

    return bt_file_write(path, 0644, line, strlen(line), err);
}

int net_profile_save(const char *dir, const struct net_profile *p, const char *ca_pem,
                     const char *chain_pem, const char *key_pem, struct bt_err *err)
{
    BT_AUTO char *folder = bt_printf("%s/%s", dir, p->name);
    BT_AUTO char *key = bt_printf("%s/key.pem", folder);
    BT_AUTO char *def = bt_printf("%s/default", dir);
    BT_AUTO char *conf =
        bt_printf("url = \"%s\"\nagents_url = \"%s\"\npublic_url = \"%s\"\n"
                  "facility = \"%s\"\n",
                  p->url, p->agents_url ? p->agents_url : "", p->public_url ? p->public_url : "",
                  p->facility ? p->facility : "");
    int rc;

    if (!bt_is_name(p->name, 64))
        return bt_fail(err, BT_ERR_INVALID, "'%.60s' is no profile's name", p->name);
    if (access(key, F_OK) == 0)
        return bt_next(err, bt_fail(err, BT_ERR_CONFLICT, "profile %s has a key already", p->name),
                       "beamtime enrol --profile ANOTHER …");
    rc = bt_mkdirs(folder, 0700, err);
    rc = rc < 0 ? rc : put(dir, p->name, "ca.pem", 0644, ca_pem, err);
    rc = rc < 0 ? rc : put(dir, p->name, "cert.pem", 0644, chain_pem, err);
    rc = rc < 0 ? rc : put(dir, p->name, "facility.conf", 0644, conf, err);
    rc = rc < 0 ? rc : put(dir, p->name, "key.pem", 0600, key_pem, err);
    if (rc == 0 && access(def, F_OK) != 0)
        rc = net_profile_set_default(dir, p->name, err);
    return rc;
}

int net_profile_client(const struct net_profile *p, const char *program, struct net_client **ret,
                       struct bt_err *err)
{
    struct net_settings s = {.url = p->url,
                             .ca_file = p->ca_file,
                             .cert_file = p->cert_file,
                             .key_file = p->key_file,
                             .program = program};

    return net_client_new(&s, ret, err);
}

void net_profile_done(struct net_profile *p)
{
    bt_free(p->name);
    bt_free(p->url);
    bt_free(p->agents_url);
    bt_free(p->public_url);
    bt_free(p->facility);
    bt_free(p->ca_file);
    bt_free(p->cert_file);
    bt_free(p->key_file);
    *p = (struct net_profile){0};
}
