/* maps.h - a list of Unix accounts as a file: lines PERSON,SITE,ACCOUNT.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Lines end with LF or CRLF; empty ones, those that begin with '#' and a first line
 * "person,site,account" are passed over; blanks around a word do not count. Nothing is quoted: none
 * of the words has a comma. Pure. */
#ifndef BT_CLI_MAPS_H
#define BT_CLI_MAPS_H

#include <stddef.h>

#include "lib/base/err.h"

enum { MAPS_MAX = 2000, MAPS_BYTES = 256 * 1024 };

struct map_line {
    int line; /* of the file, from 1 */
    char person[80];
    char site[32];
    char account[33];
};

/* Up to MAPS_MAX lines of text[n] into ret[MAPS_MAX]; how many. BT_ERR_INVALID names the line. */
int maps_parse(const char *text, size_t n, struct map_line *ret, struct bt_err *err) BT_MUSTUSE;

#endif
