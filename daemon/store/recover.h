/* recover.h - brings a database that was restored up to what is known outside of it.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One transaction: the entries of the ledger that were published and are missing, with what
 * they say of jobs that the database still knows; then the head is moved above every batch that
 * anybody may have seen. Source: CORE contract, section 10. */
#ifndef BT_DAEMON_STORE_RECOVER_H
#define BT_DAEMON_STORE_RECOVER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct recovery;

struct recovery_head {
    uint64_t epoch, seq;  /* of core_head */
    uint64_t ledger_size; /* the index of the next leaf */
};

/* Begins; a leader that still writes is waited for and then fenced by the commit. The schema must
 * be this release's. */
int recovery_begin(const char *conninfo, struct recovery **ret, struct recovery_head *head,
                   struct bt_err *err) BT_MUSTUSE;

/* The leaf `idx`, which must follow the last one; text[n] is valid. A job that it ends and that is
 * there gives back what it holds, pays what the record charged, and is ended. */
int recovery_leaf(struct recovery *r, uint64_t idx, const void *text, size_t n,
                  struct bt_err *err) BT_MUSTUSE;

/* core_head goes to epoch and seq; `body` (JSON) is the event that says so. */
int recovery_commit(struct recovery *r, uint64_t epoch, uint64_t seq, const char *body,
                    struct bt_err *err) BT_MUSTUSE;
void recovery_free(struct recovery *r); /* what was not committed is undone; NULL is fine */

#endif
