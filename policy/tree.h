/* tree.h - the council's rules as a checked tree, and what they decide about one job.
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Pure: no Lua, no I/O, no clock; a decision allocates nothing. A policy never
 * changes after it was loaded, so any number of threads may read it at once.
 *
 * The semantics: every rule that is in force at facts.at_us and matches
 * raises the tier to its own or forbids; the highest tier counts, a forbid
 * overrides all, nothing lowers. Logic has three values (Kleene 1938): an
 * attribute without a value is unknown, and a rule that comes out unknown
 * counts as matching, so a missing fact can only make a decision stricter. */
#ifndef BT_POLICY_TREE_H
#define BT_POLICY_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/domain/clearance.h"

/* Limits of one policy: generous for a council's rule book, small enough that
 * the worst one still decides in microseconds. */
enum {
    POLICY_RULES_MAX = 256,
    POLICY_NODES_MAX = 4096, /* of all rules together */
    POLICY_DEPTH_MAX = 16,
    POLICY_ID_MAX = 15, /* characters */
    POLICY_TEXT_MAX = 400,
    POLICY_DIGEST = 32, /* bytes of a SHA-256 */
};

enum policy_attr {
#define A(id, name, type, direction, provenance, doc) POLICY_##id,
#include "policy/attributes.def"
    POLICY_ATTRS
};

/* Values of all sets and enums share one numbering, a bit each in facts.values; those of
 * one attribute are consecutive, from POLICY_FIRST_x (the markers take no number). */
enum policy_value {
#define A(id, name, type, direction, provenance, doc) \
    POLICY_FIRST_##id, POLICY_BEFORE_##id = POLICY_FIRST_##id - 1,
#define V(attr, id, name) POLICY_##attr##_##id,
#include "policy/attributes.def"
    POLICY_VALUES
};

_Static_assert(POLICY_ATTRS <= 32 && POLICY_VALUES <= 64, "facts hold a bit for each");

enum policy_type { POLICY_NUM, POLICY_SET, POLICY_ENUM };
enum policy_direction { POLICY_UP, POLICY_FLAT };
enum policy_provenance { POLICY_DECLARED, POLICY_DERIVED, POLICY_METERED, POLICY_ATTESTED };

/* A row of attributes.def; static. */
struct policy_attr_info {
    const char *name;
    const char *doc;
    enum policy_type type;
    enum policy_direction direction;
    enum policy_provenance provenance;
};

const struct policy_attr_info *policy_attr_info(enum policy_attr a);
uint64_t policy_attr_values(enum policy_attr a); /* bits of its values; 0 for a number */
const char *policy_value_name(enum policy_value v);
int policy_attr_by_name(const char *name); /* -1 if there is none */
int policy_value_by_name(enum policy_attr a, const char *name);

/* What is known about one job. A zeroed struct knows nothing. */
struct policy_facts {
    uint32_t known;           /* bit a: attribute a has a value */
    uint64_t values;          /* bit v: the set holds v, or the enum is v */
    double num[POLICY_ATTRS]; /* of the numbers that are known */
    int64_t at_us;            /* the core's time: which rules are in force */
    int n_nations;            /* that participate now: approvals of a fraction of them */
};

void policy_fact_num(struct policy_facts *f, enum policy_attr a, double v); /* NaN: unknown */
/* `bits` are of the attribute's values; an empty set is a known value, an empty
 * enum is not. Bits of other attributes are a bug of the caller. */
void policy_fact_bits(struct policy_facts *f, enum policy_attr a, uint64_t bits);
void policy_fact_forget(struct policy_facts *f, enum policy_attr a);

#define POLICY_BIT(v) (UINT64_C(1) << (v))

/* Sets one fact from text: a number, a value, values with commas, "" for the
 * empty set, "?" for unknown. BT_ERR_INVALID names the attribute or the value. */
int policy_fact_parse(struct policy_facts *f, const char *name, const char *value,
                      struct bt_err *err) BT_MUSTUSE;

/* "2.1e22", "{bio-sequence, public}", "train", "unknown". */
void policy_fact_show(const struct policy_facts *f, enum policy_attr a, struct bt_buf *to);

enum policy_op {
    POLICY_GE,
    POLICY_GT,
    POLICY_LT,
    POLICY_EQ,  /* enum is the value */
    POLICY_HAS, /* set holds the value */
    POLICY_ANY,
    POLICY_ALL,
    POLICY_NO,
    POLICY_ALWAYS,
    POLICY_OPS
};

/* Nodes lie in preorder: the first child of node i is i + 1, what follows its
 * whole subtree is `next`. */
struct policy_node {
    uint8_t op;    /* enum policy_op */
    uint8_t attr;  /* leaves */
    uint8_t value; /* POLICY_EQ, POLICY_HAS */
    uint16_t next;
    double num; /* POLICY_GE, POLICY_GT, POLICY_LT */
};

enum { POLICY_FORBID = -1 };

struct policy_rule {
    char id[POLICY_ID_MAX + 1];
    int tier;         /* or POLICY_FORBID */
    int64_t since_us; /* in force while since <= at < until */
    int64_t until_us; /* INT64_MAX: no end */
    uint16_t root;
    char *reason; /* owned; "{attr}" stands for the attribute's value */
    char *cite;   /* owned; the law or decision that the rule carries out */
};

enum policy_egress { POLICY_NO_EGRESS, POLICY_EGRESS_LISTED, POLICY_EGRESS_FREE };
enum policy_assurance { POLICY_LOW, POLICY_MEDIUM, POLICY_HIGH };

/* What a tier asks for: a row of tiers.lua. */
struct policy_tier {
    int approvals;       /* distinct nations that must agree */
    int approvals_num;   /* or this fraction of the nations, */
    int approvals_den;   /* rounded up, if that is more; 0/1: none */
    int reviewers;       /* safety reviewers besides */
    int approval_days;   /* an approval lapses after */
    int clearance_days;  /* longest life of a person's clearance; 0: none needed */
    int protocol_days;   /* and of a project's protocol */
    int embargo_days;    /* longest embargo */
    int result_days;     /* the result is due after the job's end */
    int review_days;     /* a running programme is reviewed every; 0: never */
    int preflight_nodes; /* gangs of so many nodes are tried before they start; 0: none */
    enum policy_assurance assurance; /* of the person's identity */
    bool mfa;
    bool two_person; /* release of outputs */
    enum policy_egress egress;
};

struct policy {
    uint8_t digest[POLICY_DIGEST]; /* SHA-256 of tiers.lua followed by rules.lua */
    struct policy_tier tiers[TIERS];
    size_t n_rules;
    struct policy_rule *rules; /* owned */
    size_t n_nodes;
    struct policy_node *nodes; /* owned */
};

void policy_free(struct policy *p);

/* Everything that makes a tree a policy, in one place: tiers that never ask
 * for less than the tier below; ids, dates and texts; operators that fit their
 * attributes; no empty any or all; no rule that becomes milder as an UP
 * attribute grows or because of a DECLARED one. BT_ERR_INVALID names the rule. */
int policy_check(const struct policy *p, struct bt_err *err) BT_MUSTUSE;

/* Three-valued truth, ordered so that all is the minimum and any the maximum. */
enum policy_truth { POLICY_FALSE, POLICY_UNKNOWN, POLICY_TRUE };

enum policy_truth policy_eval(const struct policy *p, size_t node, const struct policy_facts *f);
bool policy_in_force(const struct policy_rule *r, int64_t at_us);

/* A reason for the decision: a rule, or one of the two terms of the tier
 * itself that a job can break. */
enum { POLICY_HIT_EMBARGO = POLICY_RULES_MAX, POLICY_HIT_EGRESS };

struct policy_hit {
    uint16_t rule; /* index in p->rules, or POLICY_HIT_x */
    bool forbid;
    bool unknown; /* matched only because a value is missing */
};

enum policy_outcome {
    POLICY_ALLOW, /* nothing more is needed than clearance and quota */
    POLICY_HOLD,  /* allowed once approvals and reviewers are there */
    POLICY_DENY,
};

struct policy_decision {
    enum policy_outcome outcome;
    int tier;
    int approvals;            /* distinct nations, the fraction worked out */
    struct policy_tier terms; /* of the tier */
    uint32_t unknown;         /* bit a: attribute a was missing where it mattered */
    int n_hits;               /* in the order of the rules */
    struct policy_hit hits[POLICY_RULES_MAX + 2];
    uint8_t digest[POLICY_DIGEST];
};

/* Decides. Always succeeds; about 25 ns a rule (tests/bench/bench_policy). */
void policy_decide(const struct policy *p, const struct policy_facts *f,
                   struct policy_decision *ret);

const char *policy_outcome_name(enum policy_outcome o);     /* "allow", "hold", "deny" */
const char *policy_egress_name(enum policy_egress e);       /* "none", "allowlist", "open" */
const char *policy_assurance_name(enum policy_assurance a); /* "low", "medium", "high" */

/* The name of what was hit: a rule's id, "TIER-EMBARGO", "TIER-EGRESS"; borrowed. */
const char *policy_hit_id(const struct policy *p, const struct policy_hit *h);
/* Its source; "" for the terms of a tier; borrowed. */
const char *policy_hit_cite(const struct policy *p, const struct policy_hit *h);
/* Its reason with the job's values filled in. */
void policy_hit_reason(const struct policy *p, const struct policy_decision *d,
                       const struct policy_hit *h, const struct policy_facts *f, struct bt_buf *to);

/* Appends the decision for a person: its terms, each hit with its reason, and
 * under each rule every leaf with the value that the job has; with `all` also
 * the rules that did not match. */
void policy_explain(const struct policy *p, const struct policy_facts *f, bool all,
                    struct bt_buf *to);

#endif
