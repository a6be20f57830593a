/* app.h - what every command has at hand: the terminal, the profile, the way to the facility.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLI_APP_H
#define BT_CLI_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/args.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/uuid.h"
#include "lib/json/json.h"
#include "lib/net/net.h"
#include "lib/net/profile.h"

enum out_format { OUT_TABLE, OUT_WIDE, OUT_JSON, OUT_CSV, OUT_NAME };

struct app {
    enum out_format format;
    bool tty_out, tty_err;
    bool color; /* of stdout */
    bool quiet;
    bool limited; /* --limit: a person who asked for so many rows knows that there are more */
    const char *asked_profile; /* --profile or BEAMTIME_PROFILE; NULL: the default one */
    const char *project;       /* BEAMTIME_PROJECT or NULL */
    bool has_profile;
    char *config_dir; /* of all profiles */
    struct net_profile profile;
    struct net_client *client; /* to the facility, made on demand */
    /* The problem document of the last refusal, for the error's print; NULL if there is none. */
    struct json *problem;
    char request_id[BT_UUID_TEXT];
    char nation[16]; /* one's own, once it is known */
};

/* ---- requests, one at a time ---- */

struct reply {
    int status;
    struct bt_buf body;
    struct json *json; /* NULL when the body is none */
    int64_t offset;    /* Beamtime-Offset, -1 */
    bool eof;          /* Beamtime-Eof */
};
void reply_done(struct reply *r);
#define REPLY_AUTO BT_CLEANUP(reply_done)

/* A GET of a path with its query; a body that is not JSON leaves ret->json NULL. */
int app_get(struct app *app, const char *path, struct reply *ret, struct bt_err *err) BT_MUSTUSE;
/* POST or PUT of a JSON body with a fresh idempotency key, repeated by itself while the outcome is
 * unknown. Refusals keep their problem document in app->problem. */
int app_send(struct app *app, const char *method, const char *path, const char *body,
             struct reply *ret, struct bt_err *err) BT_MUSTUSE;
/* A second connection for another thread, with the same profile; app_done ends it. */
int app_twin(struct app *app, struct app *ret, struct bt_err *err) BT_MUSTUSE;
void app_done(struct app *app);

/* Loads the profile once: BT_ERR_UNAUTHENTICATED with the next step when there is none. */
int app_profile(struct app *app, struct bt_err *err) BT_MUSTUSE;
/* A file of the loaded profile's folder; owned by the caller. */
char *app_profile_path(const struct app *app, const char *file);
/* Gives a call's answer to a command, or keeps its problem document in app->problem. */
int app_answer(struct app *app, int rc, struct net_reply *from, struct reply *ret,
               struct bt_err *err) BT_MUSTUSE;

/* ---- small helpers of commands ---- */

/* Appends "?key=value" or "&key=value"; nothing when value is NULL. */
void url_query(struct bt_buf *to, const char *key, const char *value);

/* "cz/ana" -> nation and name; "ana" takes one's own nation (asked once). Upper case of a nation's
 * code is lowered. BT_ERR_USAGE. */
int app_pair(struct app *app, const char *text, const char *what, char nation[16], char name[64],
             struct bt_err *err) BT_MUSTUSE;

/* A line on stderr about what happened, unless --quiet. */
void app_note(const struct app *app, const char *fmt, ...) BT_PRINTF(2, 3);

#endif
