/* str.h - strict reading of numbers, sizes and durations; small string helpers.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_BASE_STR_H
#define BT_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

bool bt_streq(const char *a, const char *b); /* NULL equals only NULL */
bool bt_starts(const char *s, const char *prefix);
bool bt_ends(const char *s, const char *suffix);
/* Whether the first n bytes of `word` are one of the words of "a,b,c"; neither NULL nor "" has any,
 * and no bytes are no word. */
bool bt_list_has(const char *list, const char *word, size_t n);

/* Copies s into to[size], cut at the end if it must be; returns false if cut. */
bool bt_copy(char *to, size_t size, const char *s);

/* A name of people, projects, nodes, sites: [a-z0-9] then [a-z0-9._-], 1..max characters. */
bool bt_is_name(const char *s, size_t max);
bool bt_is_utf8(const char *s, size_t n);

/* Whole-string readers. BT_ERR_INVALID names `what` and the range. */
int bt_parse_i64(const char *s, const char *what, int64_t min, int64_t max, int64_t *ret,
                 struct bt_err *err) BT_MUSTUSE;
int bt_parse_f64(const char *s, const char *what, double *ret, struct bt_err *err) BT_MUSTUSE;

/* "4096", "16KiB", "1.5GiB", "2MB" (decimal) -> bytes. */
int bt_parse_bytes(const char *s, const char *what, int64_t *ret, struct bt_err *err) BT_MUSTUSE;

/* Seconds from "90s", "15m", "12h", "2d", "1h30m", or Slurm's forms
 * "minutes", "MM:SS", "HH:MM:SS", "D-HH", "D-HH:MM", "D-HH:MM:SS" (sbatch(1), --time). */
int bt_parse_duration_s(const char *s, const char *what, int64_t *ret,
                        struct bt_err *err) BT_MUSTUSE;

/* "1,234,567" into out (at least 32 bytes); returns out. */
char *bt_format_thousands(int64_t v, char *out);

#endif
