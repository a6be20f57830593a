/* spec.h - what a shepherd takes from the job document: code, environment, inputs, outputs.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_AGENT_SPEC_H
#define BT_AGENT_SPEC_H

#include <stddef.h>

#include "lib/base/err.h"
#include "lib/domain/job.h"
#include "lib/json/json.h"

enum {
    SPEC_ENV_MAX = 64,
    SPEC_ENV_BYTES = 4096,
    SPEC_WORDS_MAX = 1024,
    SPEC_INPUTS_MAX = 16,
    GRANT_MAX = 65536
};

/* Texts are borrowed from `root`. */
struct spec {
    struct json *root; /* owned */
    enum job_kind kind;
    const char *text; /* script or configuration; NULL for a command */
    const char *argv[SPEC_WORDS_MAX + 1];
    const char *env_name[SPEC_ENV_MAX];
    const char *env_value[SPEC_ENV_MAX];
    int n_env;
    const char *inputs[SPEC_INPUTS_MAX]; /* absolute paths */
    int n_inputs;
    const struct json *outputs;             /* patterns; NULL: everything */
    const char *dataset_name[JOB_DATASETS]; /* borrowed from `grant` */
    const char *dataset_path[JOB_DATASETS];
    int n_datasets;
    struct json *grant; /* owned; NULL: none was read */
    const char *array;  /* the array's id; NULL: it is no task of one */
    int64_t task;
};

/* Reads the job document; the daemon has checked it already, so this is the second pair of
 * eyes: BT_ERR_INVALID names the member. BT_ERR_UNSUPPORTED for inputs that are records.
 * On success *ret owns the document. */
int spec_parse(const char *text, size_t n, struct spec *ret, struct bt_err *err) BT_MUSTUSE;
void spec_done(struct spec *s);

/* Takes from the daemon's answer to the claim where the job's data sets are; "" says nothing of
 * them. BT_ERR_INVALID for a name or path that no site can have declared. */
int spec_granted(const char *text, size_t n, struct spec *s, struct bt_err *err) BT_MUSTUSE;

/* Whether a path relative to $BEAM_OUTPUT is wanted. Patterns as in the shell, with "**" for any
 * number of folders. */
bool spec_wants(const struct spec *s, const char *path);
bool spec_glob(const char *pattern, const char *path);

#endif
