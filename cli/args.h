/* args.h - the command line by table: commands, their options, what a person wrote.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CLI_ARGS_H
#define BT_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

struct app;
struct cli_args;

struct cli_opt {
    const char *name;  /* "accelerators" */
    char letter;       /* 'n'; 0: none */
    const char *value; /* "N"; NULL: a flag; "[POLICY]": may follow after '=' */
    const char *help;  /* NULL: taken, but not listed in help and completion */
    const char *words; /* for completion: "a|b|c", "@file", "@dir", "@profile"; NULL: nothing */
};

/* A row of the command table; ends of option lists have name NULL. */
struct cli_cmd {
    const char *noun;
    const char *verb; /* NULL when the noun stands alone */
    const char *args; /* "JOB", "[SCRIPT]"; "" none */
    const char *summary;
    int (*run)(struct app *app, const struct cli_args *args, struct bt_err *err);
    const struct cli_opt *opts; /* NULL: none but the common ones */
    const char *more;           /* further help, lines; may be NULL */
    int min, max;               /* how many positional arguments */
    bool dashes;                /* takes `-- COMMAND` */
};

enum { CLI_POS = 8, CLI_GOT = 128 };

struct cli_got {
    const struct cli_opt *opt;
    const char *value; /* NULL for a flag */
};

struct cli_args {
    const struct cli_cmd *cmd; /* NULL: none was named; then only help is possible */
    const char *noun;          /* the first word, once it is known to be one */
    const char *pos[CLI_POS];
    int n_pos;
    struct cli_got got[CLI_GOT];
    int n_got;
    char **rest; /* behind "--"; NULL when there was none */
    int n_rest;
};

extern const struct cli_cmd cli_commands[]; /* ends with noun NULL */
extern const struct cli_opt cli_common[];   /* options of every command */

/* Finds the command of argv[1…] and reads the rest against its table. BT_ERR_USAGE names what is
 * wrong, with the nearest known word. With --help it succeeds as soon as it knows what help is
 * about. Strings are argv's. */
int cli_parse(const struct cli_cmd *commands, int argc, char **argv, struct cli_args *ret,
              struct bt_err *err) BT_MUSTUSE;

const char *cli_value(const struct cli_args *a, const char *name); /* the last; NULL if absent */
bool cli_has(const struct cli_args *a, const char *name);

#endif
