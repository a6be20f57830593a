/* out.h - rows of JSON as a table, CSV or names; the same columns serve all.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLI_OUT_H
#define BT_CLI_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "cli/app.h"

enum out_kind {
    OUT_STR,
    OUT_NUM,
    OUT_HOURS, /* decimal _mras as accelerator-hours */
    OUT_ACC_S, /* accelerator-seconds as accelerator-hours */
    OUT_LEFT,  /* the same of an account, "no cap" where its member capped is false */
    OUT_WHEN,  /* RFC 3339 as local time */
    OUT_START, /* the same, and where the member started_at is one, that */
    OUT_SPAN,  /* seconds */
    OUT_BYTES, /* "7.9 MB" */
    OUT_STATE, /* a word in a colour */
    OUT_LIST,  /* array of strings, joined by commas */
    OUT_DETAIL /* an object as "member=value", cut where a table would grow too wide */
};

struct out_col {
    const char *title;
    const char *key; /* member, "a.b" for a nested one, "a/b" for both joined */
    enum out_kind kind;
    bool wide; /* only with -o wide and csv */
};

struct out_list {
    const struct out_col *cols;
    size_t n;
    const char *name;  /* what -o name prints: a key */
    const char *empty; /* sentence on stderr when there is no row; may be NULL */
};

/* Writes the items of a list's reply (or a single object's) in the asked format: JSON is the
 * reply's own text; CSV (RFC 4180) has raw values; tables are for people. */
void out_reply(const struct app *app, const struct reply *reply, const struct out_list *list);
void out_items(const struct app *app, const struct json *items, const struct out_list *list,
               int64_t now_us, struct bt_buf *to);

/* The reply's JSON as it came, with a newline. */
void out_json(const struct reply *reply);
void out_text(const struct bt_buf *text); /* to stdout */

/* A member as text, "" if absent; an amount of _mras; a time in µs, 0 if absent. */
const char *out_str(const struct json *o, const char *key);
int64_t out_mras(const struct json *o, const char *key);
int64_t out_when(const struct json *o, const char *key);

/* Escape sequences around a state's word; "" without colour. */
const char *out_color(bool color, const char *state);
const char *out_plain(bool color);

#endif
