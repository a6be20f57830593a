/* dataset.h - data sets that sites declare and jobs ask for: their names, paths and lists. No I/O.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_DOMAIN_DATASET_H
#define BT_DOMAIN_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum {
    DATASET_NAME_MAX = 64,  /* with its NUL: it becomes part of a variable's name */
    DATASET_PATH_MAX = 256, /* with its NUL */
    DATASETS_A_SITE = 256,
    JOB_DATASETS = 8,                                    /* that one job asks for */
    JOB_DATASETS_TEXT = JOB_DATASETS * DATASET_NAME_MAX, /* their list, see dataset_add */
    DATASET_DIGEST_TEXT = sizeof "sha256:" + 64,         /* with its NUL */
    DATASET_VARIABLE_MAX = sizeof "BEAM_DATASET_" + DATASET_NAME_MAX,
};

/* A letter or digit, then those and '.', '_', '-'; all of it lower case. */
bool dataset_is_name(const char *s);

/* Absolute, of letters, digits and "/._-+=@," only, without "..": nothing that means anything to a
 * shell, a list of paths or a terminal. */
bool dataset_is_path(const char *s);

/* "fineweb-2" -> "BEAM_DATASET_FINEWEB_2": the variable in which a job finds its path. Different
 * names may give the same. */
char *dataset_variable(const char *name, char out[DATASET_VARIABLE_MAX]);

/* "sha256:" and 64 hex digits, not all of them 0. BT_ERR_INVALID. */
int dataset_digest_parse(const char *text, uint8_t ret[32], struct bt_err *err) BT_MUSTUSE;
char *dataset_digest_format(const uint8_t digest[32], char out[DATASET_DIGEST_TEXT]);

/* Puts a name into a list: sorted, each once, a space between, "" when there is none; so equal
 * lists are equal texts. BT_ERR_INVALID if it is no name, BT_ERR_TOO_LARGE beyond JOB_DATASETS. */
int dataset_add(char list[JOB_DATASETS_TEXT], const char *name, struct bt_err *err) BT_MUSTUSE;

/* The next name of a list; *at begins as the list and ends as NULL. False: there was none. */
bool dataset_next(const char **at, char ret[DATASET_NAME_MAX]);

#endif
