/* cases.h - a rule book's own test cases: read them, run them, say what they leave uncovered.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The form is described in policy/tests/rules.cases. A proposal for new rules
 * brings its cases, and the council's daemon runs them as the tests do. Pure. */
#ifndef BT_POLICY_CASES_H
#define BT_POLICY_CASES_H

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "policy/tree.h"

enum { POLICY_CASE_HITS = 24, POLICY_CASES_MAX = 1000 };

struct policy_case {
    char name[64];
    struct policy_facts facts;
    enum policy_outcome outcome;
    int tier;
    int approvals; /* -1: any number */
    int n_hits;
    char hits[POLICY_CASE_HITS][POLICY_ID_MAX + 1]; /* in any order */
};

struct policy_cases {
    size_t n;
    size_t cap;
    struct policy_case *v; /* owned; policy_cases_done */
};

/* Reads all lines of `text`. BT_ERR_INVALID names the line; *ret is then untouched. */
int policy_cases_parse(const char *text, struct policy_cases *ret, struct bt_err *err) BT_MUSTUSE;
void policy_cases_done(struct policy_cases *cases);

/* Runs every case; appends a line for each that decides otherwise. Returns their number. */
int policy_cases_run(const struct policy *p, const struct policy_cases *cases, struct bt_buf *why);

/* Appends a line for each comparison that no case sees true, or none sees
 * false, while its rule is in force. Returns their number. */
int policy_cases_uncovered(const struct policy *p, const struct policy_cases *cases,
                           struct bt_buf *which);

#endif
