/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy/wire.h"

#include <math.h>
#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

/* What is still to be read, and the policy that grows out of it. */
struct reader {
    const uint8_t *p;
    size_t n;
    struct policy *policy;
    size_t cap_nodes;
    const char *where; /* rule or tier, for messages */
    struct bt_err *err;
};

enum { TEXT_MAX = 1024 };

static int short_input(const struct reader *r)
{
    return bt_fail(r->err, BT_ERR_INVALID, "the policy ends in the middle of %s", r->where);
}

static int take(struct reader *r, void *to, size_t n)
{
    if (n > r->n)
        return short_input(r);
    memcpy(to, r->p, n);
    r->p += n;
    r->n -= n;
    return 0;
}

/* Reads a text into to[TEXT_MAX]. */
static int take_text(struct reader *r, char *to)
{
    uint16_t n = 0;
    int rc = take(r, &n, sizeof n);

    if (rc < 0)
        return rc;
    if (n >= TEXT_MAX)
        return bt_fail(r->err, BT_ERR_INVALID, "%s holds a text of %d bytes", r->where, n);
    if ((rc = take(r, to, n)) < 0)
        return rc;
    to[n] = '\0';
    if (strlen(to) != n)
        return bt_fail(r->err, BT_ERR_INVALID, "%s holds a text with a NUL", r->where);
    return 0;
}

static int take_flag(struct reader *r, bool *ret)
{
    uint8_t v = 0;
    int rc = take(r, &v, sizeof v);

    if (rc == 0)
        *ret = v != 0;
    return rc;
}

/* A whole number of a tier; what it may be is for policy_check. */
static int take_int(struct reader *r, const char *what, int *ret)
{
    double v = 0;
    int rc = take(r, &v, sizeof v);

    if (rc < 0)
        return rc;
    if (!(v >= 0 && v <= 1e6) || v != floor(v))
        return bt_fail(r->err, BT_ERR_INVALID, "%s: %s is not a whole number from 0 to 1000000",
                       r->where, what);
    *ret = (int)v;
    return 0;
}

static int take_tier_words(struct reader *r, struct policy_tier *t)
{
    char text[TEXT_MAX];
    int rc = take_text(r, text);

    if (rc < 0)
        return rc;
    for (t->assurance = POLICY_LOW; t->assurance <= POLICY_HIGH; t->assurance++)
        if (strcmp(text, policy_assurance_name(t->assurance)) == 0)
            break;
    if ((rc = take_text(r, text)) < 0)
        return rc;
    for (t->egress = POLICY_NO_EGRESS; t->egress <= POLICY_EGRESS_FREE; t->egress++)
        if (strcmp(text, policy_egress_name(t->egress)) == 0)
            break;
    if ((unsigned)t->assurance > POLICY_HIGH || (unsigned)t->egress > POLICY_EGRESS_FREE)
        return bt_fail(r->err, BT_ERR_INVALID,
                       "%s: assurance is low, medium or high; egress none, allowlist or open",
                       r->where);
    return 0;
}

static int take_tier(struct reader *r, int i)
{
    static const char *const where[TIERS] = {"tier 0", "tier 1", "tier 2", "tier 3", "tier 4"};
    struct policy_tier *t = &r->policy->tiers[i];
    char text[TEXT_MAX];
    int rc;

    r->where = where[i];
    if ((rc = take_text(r, text)) < 0)
        return rc;
    if (strcmp(text, tier_name(i)) != 0)
        return bt_fail(r->err, BT_ERR_INVALID, "%s is called '%.40s', not '%s'", r->where, text,
                       tier_name(i));
#define X(field)                                   \
    if ((rc = take_int(r, #field, &t->field)) < 0) \
        return rc;
    POLICY_TIER_NUMBERS(X)
#undef X
    if ((rc = take_tier_words(r, t)) < 0 || (rc = take_flag(r, &t->mfa)) < 0)
        return rc;
    return take_flag(r, &t->two_person);
}

static int take_leaf(struct reader *r, struct policy_node *n)
{
    char text[TEXT_MAX];
    int found;
    int rc = take_text(r, text);

    if (rc < 0)
        return rc;
    found = policy_attr_by_name(text);
    if (found < 0)
        return bt_next(
            r->err,
            bt_fail(r->err, BT_ERR_INVALID, "%s: unknown attribute '%.40s'", r->where, text),
            "policy/attributes.def lists them");
    n->attr = (uint8_t)found;
    if (n->op < POLICY_EQ)
        return take(r, &n->num, sizeof n->num);
    if ((rc = take_text(r, text)) < 0)
        return rc;
    found = policy_value_by_name((enum policy_attr)n->attr, text);
    if (found < 0)
        return bt_fail(r->err, BT_ERR_INVALID, "%s: '%.40s' is not a value of %s", r->where, text,
                       policy_attr_info((enum policy_attr)n->attr)->name);
    n->value = (uint8_t)found;
    return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): stops at POLICY_DEPTH_MAX */
static int take_node(struct reader *r, int depth)
{
    struct policy *p = r->policy;
    struct policy_node n = {0};
    uint8_t children = 0;
    size_t at = p->n_nodes;
    int rc = take(r, &n.op, sizeof n.op);

    if (rc < 0)
        return rc;
    if (depth > POLICY_DEPTH_MAX)
        return bt_fail(r->err, BT_ERR_INVALID, "%s: nested deeper than %d", r->where,
                       POLICY_DEPTH_MAX);
    if (n.op >= POLICY_OPS)
        return bt_fail(r->err, BT_ERR_INVALID, "%s: unknown operator %d", r->where, n.op);
    if (at >= POLICY_NODES_MAX)
        return bt_fail(r->err, BT_ERR_INVALID, "%s: more than %d conditions in all", r->where,
                       POLICY_NODES_MAX);
    if (n.op < POLICY_ANY)
        rc = take_leaf(r, &n);
    else if (n.op != POLICY_ALWAYS)
        rc = take(r, &children, sizeof children);
    if (rc < 0)
        return rc;
    BT_GROW(p->nodes, p->n_nodes, r->cap_nodes);
    p->nodes[p->n_nodes++] = n;
    for (; children > 0; children--)
        if ((rc = take_node(r, depth + 1)) < 0)
            return rc;
    p->nodes[at].next = (uint16_t)p->n_nodes;
    return 0;
}

static int take_tier_or_forbid(struct reader *r, struct policy_rule *rule)
{
    double tier = 0;
    bool forbid = false;
    int rc = take(r, &tier, sizeof tier);

    if (rc < 0 || (rc = take_flag(r, &forbid)) < 0)
        return rc;
    if (isnan(tier) != forbid)
        return bt_fail(r->err, BT_ERR_INVALID, "%s: exactly one of tier and forbid", r->where);
    if (!forbid && (!(tier >= 0 && tier < TIERS) || tier != floor(tier)))
        return bt_fail(r->err, BT_ERR_INVALID, "%s: there is no tier %g", r->where, tier);
    rule->tier = forbid ? POLICY_FORBID : (int)tier;
    return 0;
}

static int take_date(struct reader *r, const char *what, const char *text, int64_t *ret)
{
    char name[48];

    snprintf(name, sizeof name, "%s: %s", r->where, what);
    return bt_time_parse(text, name, ret, r->err);
}

static int take_dates(struct reader *r, struct policy_rule *rule)
{
    char text[TEXT_MAX];
    int rc;

    text[0] = '\0';
    rule->until_us = INT64_MAX;
    if ((rc = take_text(r, text)) < 0 || (rc = take_date(r, "since", text, &rule->since_us)) < 0)
        return rc;
    if ((rc = take_text(r, text)) < 0 || !*text)
        return rc;
    return take_date(r, "before", text, &rule->until_us);
}

static int take_owned(struct reader *r, char **ret)
{
    char text[TEXT_MAX];
    int rc = take_text(r, text);

    if (rc == 0)
        *ret = bt_strdup(text);
    return rc;
}

static int take_rule(struct reader *r)
{
    struct policy_rule *rule = &r->policy->rules[r->policy->n_rules++];
    char id[TEXT_MAX];
    int rc;

    r->where = "a rule";
    if ((rc = take_text(r, id)) < 0)
        return rc;
    if (!bt_copy(rule->id, sizeof rule->id, id))
        return bt_fail(r->err, BT_ERR_INVALID, "the id '%.40s' is longer than %d", id,
                       POLICY_ID_MAX);
    r->where = rule->id;
    rule->root = (uint16_t)r->policy->n_nodes;
    if ((rc = take_tier_or_forbid(r, rule)) < 0 || (rc = take_dates(r, rule)) < 0 ||
        (rc = take_owned(r, &rule->reason)) < 0 || (rc = take_owned(r, &rule->cite)) < 0)
        return rc;
    return take_node(r, 1);
}

static int take_policy(struct reader *r)
{
    char magic[sizeof POLICY_WIRE_MAGIC - 1];
    uint16_t n_rules = 0;
    int rc = take(r, magic, sizeof magic);

    if (rc < 0)
        return rc;
    if (memcmp(magic, POLICY_WIRE_MAGIC, sizeof magic) != 0)
        return bt_fail(r->err, BT_ERR_INVALID, "not a policy");
    for (int i = 0; i < TIERS; i++)
        if ((rc = take_tier(r, i)) < 0)
            return rc;
    r->where = "the rules";
    if ((rc = take(r, &n_rules, sizeof n_rules)) < 0)
        return rc;
    if (n_rules > POLICY_RULES_MAX)
        return bt_fail(r->err, BT_ERR_INVALID, "%d rules; at most %d", n_rules, POLICY_RULES_MAX);
    r->policy->rules = bt_new_n(struct policy_rule, BT_MAX(n_rules, 1));
    while (r->policy->n_rules < n_rules)
        if ((rc = take_rule(r)) < 0)
            return rc;
    if (r->n > 0)
        return bt_fail(r->err, BT_ERR_INVALID, "%zu bytes behind the policy", r->n);
    return policy_check(r->policy, r->err);
}

int policy_decode(const void *p, size_t n, struct policy **ret, struct bt_err *err)
{
    struct reader r = {.p = p, .n = n, .where = "its head", .err = err};
    int rc;

    r.policy = bt_new(struct policy);
    rc = take_policy(&r);
    if (rc < 0) {
        policy_free(r.policy);
        return rc;
    }
    *ret = r.policy;
    return 0;
}
