/* checker.h - the facility's invariants, seen from outside: recomputed from the tables without
 * trusting a constraint, a trigger or the daemon.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * I1 an acknowledged request is there, with the body that was acknowledged
 * I2 no accelerator is in two jobs; a job that starts or runs holds exactly what it asked for
 * I3 accounts are the sum of their entries, balance and hold what their jobs hold
 * I4 a job has ended if and only if it has exactly one machine record
 * I5 the ledger is whole, and every checkpoint of it, stored or signed, is of this ledger
 * I6 nothing is started above the clearance of its person, institution, project, site or node
 * I7 attempts fit their jobs: what runs has been claimed, what has ended holds nothing */
#ifndef BT_TESTS_CHECKER_CHECKER_H
#define BT_TESTS_CHECKER_CHECKER_H

#include "lib/base/err.h"

struct checker_settings {
    const char *conninfo;
    const char *ledger; /* folder with checkpoint, tile/… (NULL: not looked at) */
    const char *vkey;   /* file with the log's verifier key (NULL: the signature is not checked) */
    const char *acks; /* file: a line "UUID" or "UUID SHA256HEX" each acknowledged job (or NULL) */
};

struct checker_totals {
    long jobs, entries, leaves, allocations, checkpoints, acks;
};

/* Calls tell() for every violation; returns how many, or negative when it could not look. */
int checker_run(const struct checker_settings *s,
                void (*tell)(void *arg, const char *invariant, const char *what), void *arg,
                struct checker_totals *ret, struct bt_err *err);

#endif
