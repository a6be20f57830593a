/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/site_conf.h"

#include <string.h>

#include "lib/base/str.h"

enum { CONF_MAX = 4096 };

#define TEXT(m, needed)                                                                          \
    {                                                                                            \
#m, JSON_F_TEXT, offsetof(struct site_conf, m), needed, sizeof((struct site_conf *)0)->m \
    }

static const struct json_field fields[] = {
    TEXT(slurm_conf, false),
    TEXT(partition, false),
    TEXT(account, false),
    TEXT(qos, false),
    TEXT(user, false),
    TEXT(agent, false),
    TEXT(agent_dir, false),
    TEXT(blobs, false),
    {"fence", JSON_F_BOOL, offsetof(struct site_conf, fence)},
    {"observe", JSON_F_BOOL, offsetof(struct site_conf, observe)},
    {"remote", JSON_F_BOOL, offsetof(struct site_conf, remote)}};

static int plain(const char *what, const char *s, bool path, struct bt_err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "./_-+@:%=";

    if (path && *s && *s != '/')
        return bt_fail(err, BT_ERR_INVALID, "%s '%s' is no absolute path", what, s);
    if (strspn(s, letters) != strlen(s))
        return bt_fail(err, BT_ERR_INVALID,
                       "%s '%s' has other characters than letters, digits and %s", what, s,
                       letters + 62);
    return 0;
}

/* Of a web server; kept without its last slash. */
static int address(const char *what, char *s, struct bt_err *err)
{
    size_t n = strlen(s);

    if (n && !bt_starts(s, "https://") && !bt_starts(s, "http://"))
        return bt_fail(err, BT_ERR_INVALID, "%s '%s' begins neither with https:// nor http://",
                       what, s);
    if (n && s[n - 1] == '/')
        s[n - 1] = '\0';
    return plain(what, s, false, err);
}

int site_conf_read(const struct json *object, struct site_conf *ret, struct bt_err *err)
{
    struct site_conf c = {.agent = "/usr/libexec/beamtime/beamtime-agent",
                          .agent_dir = "/var/lib/beamtime-agent"};
    int rc = json_read(object, fields, BT_ARRAY_LEN(fields), &c, err);

    if (rc == 0)
        rc = plain("slurm_conf", c.slurm_conf, true, err);
    if (rc == 0 && !*c.slurm_conf && !c.remote)
        rc = bt_fail(err, BT_ERR_INVALID, "slurm_conf is empty");
    if (rc == 0)
        rc = plain("partition", c.partition, false, err);
    if (rc == 0)
        rc = plain("account", c.account, false, err);
    if (rc == 0)
        rc = plain("qos", c.qos, false, err);
    if (rc == 0)
        rc = plain("user", c.user, false, err);
    if (rc == 0)
        rc = plain("agent", c.agent, true, err);
    if (rc == 0)
        rc = plain("agent_dir", c.agent_dir, true, err);
    if (rc == 0)
        rc = address("blobs", c.blobs, err);
    if (rc == 0)
        *ret = c;
    return rc;
}

int site_conf_parse(const char *text, struct site_conf *ret, struct bt_err *err)
{
    JSON_AUTO struct json *j = NULL;
    int rc = json_parse(text, strlen(text), CONF_MAX, &j, err);

    return rc < 0 ? rc : site_conf_read(j, ret, err);
}

void site_conf_write(const struct site_conf *c, struct json_writer *w)
{
    jw_object(w, NULL);
    for (size_t i = 0; i < BT_ARRAY_LEN(fields); i++) {
        const char *at = (const char *)c + fields[i].offset;

        if (fields[i].kind == JSON_F_BOOL)
            jw_bool(w, fields[i].name, *(const bool *)(const void *)at);
        else if (*at)
            jw_str(w, fields[i].name, at);
    }
    jw_end_object(w);
}
