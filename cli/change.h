/* change.h - options of a command as members of a request, a table row each.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLI_CHANGE_H
#define BT_CLI_CHANGE_H

#include <stddef.h>

#include "cli/app.h"

enum field_kind { FIELD_TEXT, FIELD_INT, FIELD_TIME, FIELD_WORDS };

struct field {
    const char *option;
    const char *member;
    enum field_kind kind;
};

/* Writes the members of the options that were given. */
int write_fields(struct json_writer *w, const struct cli_args *a, const struct field *fields,
                 size_t n, struct bt_err *err) BT_MUSTUSE;

/* Sends a body; with -o json the answer goes to stdout. */
int send_body(struct app *app, const char *method, const char *path, const struct bt_buf *body,
              struct bt_err *err) BT_MUSTUSE;

/* Objects below a nation: {"nation":…, member:…, fields…}. */
struct below {
    const char *path;
    const char *member;
    const struct field *fields;
    size_t n;
};

int set_below(struct app *app, const struct cli_args *a, const struct below *how,
              struct bt_err *err) BT_MUSTUSE;

#endif
