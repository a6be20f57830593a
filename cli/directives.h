/* directives.h - the #BEAM and #SBATCH lines of a script, and the options that they share with
 * flags. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A directive stands alone on a comment line: "#BEAM --time=12h -J lines" or "#SBATCH …". As
 * sbatch does, reading stops at the first line that is neither blank nor a comment, words may
 * be quoted with " or ', and " #" begins a remark. Pure. */
#ifndef BT_CLI_DIRECTIVES_H
#define BT_CLI_DIRECTIVES_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

enum directive_action {
    DIR_NAME,
    DIR_PROJECT,
    DIR_ACCELERATORS,
    DIR_NTASKS,
    DIR_NODES,
    DIR_PER_NODE,
    DIR_GPUS,
    DIR_GPUS_PER_NODE,
    DIR_GPUS_PER_TASK,
    DIR_GRES, /* the last of those that count */
    DIR_CLASS,
    DIR_MEMORY,
    DIR_BANDWIDTH,
    DIR_LEVEL,
    DIR_REQUIRE_LEVEL,
    DIR_SWITCHES,
    DIR_TIME,
    DIR_SIGNAL,
    DIR_GRACE,
    DIR_REQUEUE,
    DIR_NO_REQUEUE,
    DIR_MAX_ATTEMPTS,
    DIR_DEPENDENCY,
    DIR_ARRAY,
    DIR_RESERVATION,
    DIR_HOLD,
    DIR_EXPORT,
    DIR_INPUT,
    DIR_DATASET,
    DIR_OUTPUTS,
    DIR_PURPOSE,
    DIR_DOMAINS,
    DIR_DATA,
    DIR_FLOPS,
    DIR_PARAMS,
    DIR_LINEAGE,
    DIR_EMBARGO,
    DIR_WRAP,
    DIR_IGNORE,
    DIR_REFUSE
};

/* Where an option was written; a later one wins over all earlier ones. */
enum layer { LAYER_SBATCH, LAYER_BEAM, LAYER_FLAG };

struct directive_row {
    const char *name;
    char letter;
    char scope; /* 'A', 'B', 'S' */
    const char *value;
    enum directive_action action;
    const char *help;
    const char *words;
    const char *note;
};

extern const struct directive_row directive_rows[];
extern const size_t n_directive_rows;

/* The row of a long name (n bytes) or, when name is NULL, of a letter; NULL if there is none. */
const struct directive_row *directive_find(enum layer layer, const char *name, size_t n,
                                           char letter);

/* True if the option's value may be left out (it then follows only after '='). */
bool directive_optional(const struct directive_row *row);

/* Calls each(arg, row, value, line) for the options of the lines of `layer` (BEAM or SBATCH) in
 * text[n], in order; value is NULL for a flag and only valid in the call. Stops at its first
 * negative return. BT_ERR_USAGE begins with "line N: " and names the nearest option. */
typedef int directive_each(void *arg, const struct directive_row *row, const char *value, int line,
                           struct bt_err *err);
int directives_read(const char *text, size_t n, enum layer layer, directive_each *each, void *arg,
                    struct bt_err *err) BT_MUSTUSE;

#endif
