/* cmd_dataset.c - data sets that sites hold, for jobs that run only where theirs are.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/change.h"
#include "cli/cmd.h"
#include "cli/out.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/domain/dataset.h"

int cmd_dataset_list(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    static const struct out_col cols[] = {
        {"NAME", "name", OUT_STR, 0},        {"SITE", "site", OUT_STR, 0},
        {"PATH", "path", OUT_STR, 0},        {"SIZE", "bytes", OUT_BYTES, 0},
        {"SINCE", "since", OUT_WHEN, 1},     {"DIGEST", "digest", OUT_STR, 1},
        {"VARIABLE", "variable", OUT_STR, 1}};
    static const struct out_list how = {cols, BT_ARRAY_LEN(cols), "name",
                                        "no site has declared a data set"};
    REPLY_AUTO struct reply reply = {0};
    BT_BUF_AUTO struct bt_buf url = {0};
    int rc;

    bt_buf_str(&url, "/v1/datasets");
    url_query(&url, "site", cli_value(a, "site"));
    rc = app_get(app, bt_buf_text(&url), &reply, err);
    if (rc >= 0)
        out_reply(app, &reply, &how);
    return rc;
}

/* The members that name one, in an object that stays open. */
static int begin(const struct cli_args *a, const char *verb, struct json_writer *w,
                 struct bt_err *err)
{
    const char *site = cli_value(a, "site");

    if (!site)
        return bt_fail(err, BT_ERR_USAGE, "dataset %s wants --site", verb);
    if (!dataset_is_name(a->pos[0]))
        return bt_fail(err, BT_ERR_INVALID,
                       "'%.80s' cannot be the name of a data set: a letter or digit, then those "
                       "and '.', '_', '-', all of it lower case",
                       a->pos[0]);
    if (!bt_is_name(site, 31))
        return bt_fail(err, BT_ERR_INVALID, "'%.60s' cannot be a site's name", site);
    jw_object(w, NULL);
    jw_str(w, "site", site);
    jw_str(w, "name", a->pos[0]);
    return 0;
}

int cmd_dataset_add(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    const char *path = cli_value(a, "path"), *digest = cli_value(a, "digest"),
               *size = cli_value(a, "bytes");
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    char variable[DATASET_VARIABLE_MAX];
    uint8_t sha256[32];
    int64_t bytes = 0;
    int rc = begin(a, "add", &w, err);

    if (rc >= 0 && !path)
        rc = bt_fail(err, BT_ERR_USAGE, "dataset add wants --path");
    if (rc >= 0 && !dataset_is_path(path))
        rc = bt_fail(err, BT_ERR_INVALID,
                     "--path must be absolute, without '..', of letters, digits and /._-+=@,");
    if (rc >= 0 && digest)
        rc = dataset_digest_parse(digest, sha256, err);
    if (rc >= 0 && size)
        rc = bt_parse_bytes(size, "--bytes", &bytes, err);
    if (rc < 0)
        return rc;
    jw_str(&w, "path", path);
    if (digest)
        jw_str(&w, "digest", digest);
    if (bytes)
        jw_i64(&w, "bytes", bytes);
    jw_end_object(&w);
    rc = send_body(app, "POST", "/v1/datasets", &body, err);
    if (rc >= 0)
        app_note(app, "site %s holds %s; jobs that ask for it find its path in %s",
                 cli_value(a, "site"), a->pos[0], dataset_variable(a->pos[0], variable));
    return rc;
}

int cmd_dataset_remove(struct app *app, const struct cli_args *a, struct bt_err *err)
{
    BT_BUF_AUTO struct bt_buf body = {0};
    struct json_writer w = {.to = &body};
    int rc = begin(a, "remove", &w, err);

    if (rc < 0)
        return rc;
    jw_str(&w, "state", "removed");
    jw_end_object(&w);
    rc = send_body(app, "POST", "/v1/datasets", &body, err);
    if (rc >= 0)
        app_note(app, "site %s no longer holds %s", cli_value(a, "site"), a->pos[0]);
    return rc;
}
