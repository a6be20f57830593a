/* phrase.h - texts that many jobs have in common, each kept once while a job uses it.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A day's 100,000 jobs ended in a few dozen ways ("cancelled by cz/alice"): a copy for each would
 * be a tenth of what the core holds. Unlike words (state.h), which stay, these come and go. */
#ifndef BT_DAEMON_CORE_PHRASE_H
#define BT_DAEMON_CORE_PHRASE_H

#include <stdint.h>

#include "lib/base/map.h"

struct phrase;

struct phrases {
    struct phrase *v; /* owned; id - 1 is the index */
    uint32_t n, cap;
    uint32_t unused;     /* id of the first that nobody uses, 0: none */
    struct bt_map index; /* hash → index; of two texts with one hash the first */
};

void phrases_done(struct phrases *p);
/* One more use of a text, which is copied; its id > 0. */
uint32_t phrase_use(struct phrases *p, const char *text);
/* One use less; 0 is nothing. */
void phrase_leave(struct phrases *p, uint32_t id);
/* Borrowed until its last use has gone; NULL for 0. */
const char *phrase_text(const struct phrases *p, uint32_t id);

#endif
