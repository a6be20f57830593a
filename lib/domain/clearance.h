/* clearance.h - the four locks that must all open before a job may run at its tier.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * As in a biosafety laboratory the person, the institution, the project's
 * protocol and the place are cleared separately, each up to a tier and each
 * until a date. A lock opens for a job of tier t at time T when its tier is
 * at least t and T < expires_us. Pure: no clock, no allocation. */
#ifndef BT_DOMAIN_CLEARANCE_H
#define BT_DOMAIN_CLEARANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"

enum tier {
#define T(name, number, text) TIER_##name = (number),
#include "lib/domain/tiers.def"
#undef T
    TIERS
};

const char *tier_name(int tier);    /* "contained"; "unknown" if there is no such tier; static */
int tier_by_name(const char *name); /* -1 if there is no such name */

enum clearance_lock { LOCK_PERSON, LOCK_INSTITUTION, LOCK_PROTOCOL, LOCK_SITE, LOCKS };

const char *clearance_lock_name(
    enum clearance_lock lock); /* "person", "project protocol"; static */

#define CLEARANCE_FOREVER INT64_MAX

/* One lock as it is stored. */
struct clearance {
    bool given;         /* false: nobody ever cleared it, the rest means nothing */
    int tier;           /* the highest tier it opens for */
    int64_t expires_us; /* first instant at which it opens no longer; CLEARANCE_FOREVER: never */
};

struct clearance_locks {
    struct clearance lock[LOCKS];
};

/* Which locks fail, and how. */
enum clearance_fault {
    CLEARANCE_FINE,
    CLEARANCE_MISSING, /* never given */
    CLEARANCE_LOW,     /* in force, but for a lower tier */
    CLEARANCE_EXPIRED, /* high enough, but no longer in force */
};

struct clearance_report {
    int need;  /* the job's tier */
    int n_bad; /* locks that are not CLEARANCE_FINE */
    enum clearance_fault fault[LOCKS];
    struct clearance_locks locks; /* as they were checked */
};

/* Checks all four locks for a job of tier `need` at `at_us` and reports every
 * one that fails; returns their number, 0 when all open. A lock that is both
 * too low and out of date counts as CLEARANCE_LOW: renewing it would not help.
 * Called at submission, at start and at the claim with the core's time, so a
 * clearance that is revoked or runs out while the job waits is found. */
int clearance_check(const struct clearance_locks *locks, int need, int64_t at_us,
                    struct clearance_report *ret);

/* The names that the sentences use; NULL leaves a name out. */
struct clearance_names {
    const char *institution; /* "fr-cnrs" */
    const char *project;     /* "CZ/multilingual" */
    const char *site;        /* "se-1" */
};

/* "your clearance is tier 2 until 2027-03-01": what is wrong with `lock`, or
 * how far it reaches when it is fine. */
void clearance_sentence(const struct clearance_report *r, enum clearance_lock lock,
                        const struct clearance_names *names, struct bt_buf *to);

/* Who can mend the lock, "ask your nation", and the command for it,
 * "beamtime clearance request --tier 3". Nothing is appended for a fine lock. */
void clearance_mend(const struct clearance_report *r, enum clearance_lock lock,
                    const struct clearance_names *names, struct bt_buf *who,
                    struct bt_buf *command);

/* All failing locks, a line each, in the shape of
 *     person       your clearance is tier 2 until 2027-03-01   ask your nation:  beamtime …
 * and one line `fine: institution (tier 3), …` for the others, if any. */
void clearance_print(const struct clearance_report *r, const struct clearance_names *names,
                     struct bt_buf *to);

#endif
