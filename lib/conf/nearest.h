/* nearest.h - the known name that a person probably meant.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BT_CONF_NEAREST_H
#define BT_CONF_NEAREST_H

#include <stddef.h>

/* Collects the best of several candidates: start zeroed, offer each, read `best` (NULL: none is
 * near enough). Names are borrowed. */
struct conf_nearest {
    const char *best;
    unsigned cost;
};

/* Edits (insert, delete, replace, swap of neighbours) between two names, '-' counting as '_';
 * names beyond 63 characters are cut. Source: Damerau 1964, optimal string alignment. */
unsigned conf_distance(const char *a, const char *b);

void conf_nearest_offer(struct conf_nearest *n, const char *asked, const char *candidate);

#endif
