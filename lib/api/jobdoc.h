/* jobdoc.h - the job document: its JSON read into structs with every bound checked, and written
 * back. SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Used by the daemon (the spec), the agent (what to run) and the command line (writing it). The
 * document's members are described in schemas.def, "JobDocument". */
#ifndef BT_API_JOBDOC_H
#define BT_API_JOBDOC_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/domain/job.h"

struct json;
struct json_writer;

struct job_var {
    char *name;
    char *value;
};

struct job_input {
    char *path;     /* absolute; NULL when it is a record */
    int64_t record; /* index in the ledger; -1 when it is a path */
};

/* What a job runs and with what: the part of the document that only the agent and its author need.
 * All texts are owned by the struct; job_code_done releases them. Exactly one of script, argv and
 * config is set, the one that fits the kind. */
struct job_code {
    char *script; /* begins with "#!" */
    char **argv;
    int n_argv;
    char *config; /* of a train or coll job: lines "name = value" */
    struct job_var *env;
    int n_env;
    struct job_input *inputs;
    int n_inputs;
    char **outputs; /* patterns below $BEAM_OUTPUT; none: everything */
    int n_outputs;
};

void job_code_done(struct job_code *code);

/* A spec with every default of the document: kind script, 0 accelerators, signal 15, grace 30 s,
 * requeue on-facility, 3 attempts, any level, no parents. */
void job_spec_init(struct job_spec *spec);

/* Reads a parsed document. `code` may be NULL; its rules are checked all the same. On failure *spec
 * is undefined and *code unchanged. BT_ERR_INVALID or BT_ERR_TOO_LARGE with one sentence that
 * names the member. Neither the age of the id nor the existence of anything is checked. */
int jobdoc_read(const struct json *doc, struct job_spec *spec, struct job_code *code,
                struct bt_err *err) BT_MUSTUSE;

/* json_parse with the API's limits, then jobdoc_read. */
int jobdoc_parse(const char *text, size_t n, struct job_spec *spec, struct job_code *code,
                 struct bt_err *err) BT_MUSTUSE;

/* Appends the document as compact JSON; what jobdoc_parse reads from it equals *spec and *code.
 * Members that have their default are left out. */
void jobdoc_write(struct bt_buf *to, const struct job_spec *spec, const struct job_code *code);

/* The member "datasets" of an object that is open, from a list as dataset_next reads it; "" adds
 * nothing. */
void jobdoc_write_datasets(struct json_writer *w, const char *list);

#endif
