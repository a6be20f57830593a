/* conf.h - settings said once, in a table: read from files and options, documented by themselves.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A program writes a .def file, a row a setting:
 *
 *   // daemon/conf.def - S(name, type, default, min, max, unit, sentence)
 *   S(listen, ADDRESS, "127.0.0.1:8443", 0, 0, "", "where people's programs connect")
 *   S(queue, INT, "4096", 1, 65536, "requests", "how many requests may wait for an answer")
 *   S(log_level, ENUM, "info", 0, 0, "debug|info|warn|error", "the least level that is logged")
 *
 * and makes the struct and the table from it:
 *
 *   struct settings {
 *   #define S CONF_MEMBER
 *   #include "daemon/conf.def"
 *   #undef S
 *   };
 *   static const struct conf_row rows[] = {
 *   #define S(...) CONF_ROW(struct settings, __VA_ARGS__)
 *   #include "daemon/conf.def"
 *   #undef S
 *   };
 *   const struct conf_table table = {.program = "beamtimed", .summary = "the broker",
 *                                    .rows = rows, .n = BT_ARRAY_LEN(rows)};
 *
 *   struct settings set;
 *   struct conf_args args;
 *   conf_init(&table, &set);
 *   conf_args(&table, &set, argc, argv, &args, &err);
 *
 * A type and its member: TEXT PATH ADDRESS are char * (owned, NULL when there is no default);
 * INT is int64_t; BYTES is int64_t bytes ("16MiB"); DURATION is int64_t seconds ("90s", "12h",
 * always with a unit); REAL is double; BOOL is bool ("yes", "no"); ENUM is int, the index of
 * the word in `unit` ("a|b|c"). min and max bound numbers (max = min = 0: not bounded below
 * zero either) and, for text, max bounds its length (0: CONF_TEXT_MAX). */
#ifndef BT_CONF_CONF_H
#define BT_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

enum conf_type {
    CONF_TEXT,
    CONF_PATH,
    CONF_ADDRESS, /* host:port, [::1]:port; port 0 means any */
    CONF_INT,
    CONF_BYTES,
    CONF_DURATION,
    CONF_REAL,
    CONF_BOOL,
    CONF_ENUM
};

#define CONF_C_TEXT char *
#define CONF_C_PATH char *
#define CONF_C_ADDRESS char *
#define CONF_C_INT int64_t
#define CONF_C_BYTES int64_t
#define CONF_C_DURATION int64_t
#define CONF_C_REAL double
#define CONF_C_BOOL bool
#define CONF_C_ENUM int

struct conf_row {
    const char *name; /* lower case with '_'; options write '-' or '_' */
    enum conf_type type;
    size_t offset;
    const char *value; /* the default as text; NULL: none (text only) */
    int64_t min, max;
    const char *unit;     /* for people; the words of an ENUM */
    const char *sentence; /* lower case start, no full stop */
};

#define CONF_MEMBER(name, type, ...) CONF_C_##type name;
#define CONF_ROW(struct_type, name, type, value, min, max, unit, sentence) \
    {#name, CONF_##type, offsetof(struct_type, name), (value), (min), (max), (unit), (sentence)},

struct conf_table {
    const char *program;  /* "beamtimed" */
    const char *usage;    /* what follows the options, such as "[backup|check]"; may be NULL */
    const char *summary;  /* one line */
    const char *file;     /* read when --config is absent, if it exists; may be NULL */
    const char *epilogue; /* printed behind --help; may be NULL */
    const struct conf_row *rows;
    size_t n;
};

enum {
    CONF_FILE_MAX = 256 * 1024, /* a settings file: thousands of lines, far from a mistake's GiB */
    CONF_TEXT_MAX = 4096,       /* a value: PATH_MAX */
};

/* Zeroes the struct and sets each default. A default that does not parse is our bug: assert. */
void conf_init(const struct conf_table *t, void *to);
void conf_done(const struct conf_table *t, void *to); /* frees the texts */

/* Sets one value from text. BT_ERR_NOT_FOUND names the nearest known name; BT_ERR_INVALID the
 * setting and what it takes. */
int conf_set(const struct conf_table *t, void *to, const char *name, const char *value,
             struct bt_err *err) BT_MUSTUSE;

/* Reads `name = value` lines: blank lines and `#` comments are skipped, a value may stand in
 * double quotes (\" and \\ inside), a name may appear once. Errors begin with "where:line: ".
 * A failed read may have set what stood above the error. */
int conf_text(const struct conf_table *t, void *to, const char *where, const char *text, size_t n,
              struct bt_err *err) BT_MUSTUSE;
int conf_file(const struct conf_table *t, void *to, const char *path,
              struct bt_err *err) BT_MUSTUSE;

struct conf_args {
    struct bt_buf print; /* not empty: write it to stdout and exit 0 */
    char **rest;         /* what is not an option; the strings are argv's, the array ours */
    int n_rest;
    char *file; /* the settings file that was read, or NULL */
};

/* Defaults < file < options. Options: --config FILE, --set name=value, --name value,
 * --name=value, --flag and --no-flag for BOOL; --help, --version, --print-config, --reference
 * (markdown) and --man (troff) fill `print`. "--" ends the options. BT_ERR_USAGE. */
int conf_args(const struct conf_table *t, void *to, int argc, char **argv, struct conf_args *ret,
              struct bt_err *err) BT_MUSTUSE;
void conf_args_done(struct conf_args *args);

/* The documents of a table, appended. The example file has each setting with its sentence,
 * commented out where `now` (may be NULL) has the default. */
void conf_help(const struct conf_table *t, struct bt_buf *to);
void conf_example(const struct conf_table *t, const void *now, struct bt_buf *to);
void conf_markdown(const struct conf_table *t, struct bt_buf *to);
void conf_man(const struct conf_table *t, struct bt_buf *to);
/* The present value as a file would write it, appended. */
void conf_value(const struct conf_row *row, const void *now, struct bt_buf *to);

/* Splits "host:port"; host[size] loses the brackets of an IPv6 address. BT_ERR_INVALID. */
int conf_address(const char *s, char *host, size_t size, uint16_t *port,
                 struct bt_err *err) BT_MUSTUSE;

#endif
