/* wire.h - the form in which the Lua child hands a policy to the daemon, and its decoder.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One process writes it and its parent reads it, so numbers are in host order;
 * but the child ran foreign text, so the reader trusts nothing: every count is
 * bounded, every name is looked up, and policy_check has the last word.
 *
 *   "BTP1"
 *   TIERS times   name, POLICY_TIER_NUMBERS as f64, assurance, egress, mfa u8, two_person u8
 *   rules u16, each: id, tier f64 (NaN: none), forbid u8, since, before, reason, cite, node
 *   node          op u8, then for ge gt lt: attribute, f64; eq has: attribute, value;
 *                 any all no: u8 nodes, the nodes; always: nothing
 * A text is u16 and that many bytes, without NUL. */
#ifndef BT_POLICY_WIRE_H
#define BT_POLICY_WIRE_H

#include <stddef.h>

#include "lib/base/err.h"
#include "policy/tree.h"

enum { POLICY_WIRE_MAX = 512 * 1024 };
#define POLICY_WIRE_MAGIC "BTP1"

/* The numbers of struct policy_tier in the order of the wire, by the names of tiers.lua. */
#define POLICY_TIER_NUMBERS(X) \
    X(approvals)               \
    X(approvals_num)           \
    X(approvals_den)           \
    X(reviewers)               \
    X(approval_days)           \
    X(clearance_days)          \
    X(protocol_days)           \
    X(embargo_days)            \
    X(result_days)             \
    X(review_days)             \
    X(preflight_nodes)

/* Decodes and checks. On success *ret is the caller's (policy_free), its digest
 * still zero. BT_ERR_INVALID names the rule or the tier. */
int policy_decode(const void *p, size_t n, struct policy **ret, struct bt_err *err) BT_MUSTUSE;

#endif
