/* config.h - the settings of a training run, read by the table config.def.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Later wins: defaults, the preset, the file, --set. A file has lines
 * `key = value`; # begins a comment; text may stand in double quotes. */
#ifndef BT_TRAIN_CONFIG_H
#define BT_TRAIN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/train/model.h"
#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { CONFIG_TEXT = 256, CONFIG_FILE_MAX = 65536 };

struct config {
#define INT(name, ...) int64_t name;
#define REAL(name, ...) double name;
#define FLAG(name, ...) bool name;
#define TEXT(name, ...) char name[CONFIG_TEXT];
#define CHOICE(name, ...) char name[16];
#include "agent/train/config.def"
};

/* What was asked for, in order, before the preset is known. */
struct config_asked {
    struct config_pair {
        char key[32], value[CONFIG_TEXT];
        char where[96]; /* "line 3 of FILE", "--set" */
    } * pairs;
    int n, cap;
};

/* Adds the lines of a file. BT_ERR_INVALID names the line. */
int config_file(struct config_asked *a, const char *path, struct bt_err *err) BT_MUSTUSE;
/* The same from text of at most CONFIG_FILE_MAX bytes, which is cut up; name stands in errors. */
int config_text(struct config_asked *a, char *text, const char *name,
                struct bt_err *err) BT_MUSTUSE;
/* Adds one "key=value". */
int config_set(struct config_asked *a, const char *pair, const char *where,
               struct bt_err *err) BT_MUSTUSE;
/* Resolves: every key known, every value in its range, the shape possible. */
int config_resolve(struct config *ret, const struct config_asked *a, struct bt_err *err) BT_MUSTUSE;
void config_asked_done(struct config_asked *a);

struct model_shape config_shape(const struct config *c);

/* A file that gives exactly this configuration. */
void config_print(const struct config *c, struct bt_buf *to);
/* The table as text: name, default, range, unit, sentence. */
void config_help(struct bt_buf *to);

#endif
