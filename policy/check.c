/* Static checks: what makes a tree a policy.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "lib/base/str.h"
#include "policy/tree.h"

static const char *const op_names[POLICY_OPS] = {
    [POLICY_GE] = "ge",   [POLICY_GT] = "gt",   [POLICY_LT] = "lt",
    [POLICY_EQ] = "eq",   [POLICY_HAS] = "has", [POLICY_ANY] = "any",
    [POLICY_ALL] = "all", [POLICY_NO] = "no",   [POLICY_ALWAYS] = "always",
};

static const enum policy_type type_of_op[POLICY_ANY] = {
    [POLICY_GE] = POLICY_NUM,  [POLICY_GT] = POLICY_NUM,  [POLICY_LT] = POLICY_NUM,
    [POLICY_EQ] = POLICY_ENUM, [POLICY_HAS] = POLICY_SET,
};

static const char *const type_names[] = {"a number", "a set", "one of several values"};

/* A walk through one rule's nodes. */
struct walk {
    const struct policy *p;
    const struct policy_rule *rule;
    size_t end; /* where the rule's nodes must end */
    struct bt_err *err;
};

static int check_leaf(const struct walk *w, const struct policy_node *n, bool negated)
{
    const struct policy_attr_info *a;
    bool milder = negated != (n->op == POLICY_LT);
    const char *id = w->rule->id;

    if (n->attr >= POLICY_ATTRS)
        return bt_fail(w->err, BT_ERR_INVALID, "%s: unknown attribute %d", id, n->attr);
    a = policy_attr_info((enum policy_attr)n->attr);
    if (type_of_op[n->op] != a->type)
        return bt_fail(w->err, BT_ERR_INVALID, "%s: %s does not fit %s, which is %s", id,
                       op_names[n->op], a->name, type_names[a->type]);
    if (a->type == POLICY_NUM && !isfinite(n->num))
        return bt_fail(w->err, BT_ERR_INVALID, "%s: the threshold of %s is not a finite number", id,
                       a->name);
    if (a->type != POLICY_NUM && (n->value >= POLICY_VALUES ||
                                  !(policy_attr_values((enum policy_attr)n->attr) >> n->value & 1)))
        return bt_fail(w->err, BT_ERR_INVALID, "%s: value %d is not one of %s", id, n->value,
                       a->name);
    if (milder && a->direction == POLICY_UP)
        return bt_fail(w->err, BT_ERR_INVALID, "%s would become milder as %s grows", id, a->name);
    if (milder && a->provenance == POLICY_DECLARED)
        return bt_next(w->err,
                       bt_fail(w->err, BT_ERR_INVALID,
                               "%s could be escaped by declaring another %s", id, a->name),
                       "let only derived, metered or attested attributes make a rule milder");
    return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): stops at POLICY_DEPTH_MAX */
static int check_node(const struct walk *w, size_t i, int depth, bool negated)
{
    const struct policy_node *n = &w->p->nodes[i];
    const char *id = w->rule->id;
    int n_children = 0;

    if (depth > POLICY_DEPTH_MAX)
        return bt_fail(w->err, BT_ERR_INVALID, "%s: nested deeper than %d", id, POLICY_DEPTH_MAX);
    if (n->op >= POLICY_OPS || n->next <= i || n->next > w->end)
        return bt_fail(w->err, BT_ERR_INVALID, "%s: node %zu is damaged", id, i);
    if (n->op < POLICY_ANY || n->op == POLICY_ALWAYS) {
        if (n->next != i + 1)
            return bt_fail(w->err, BT_ERR_INVALID, "%s: node %zu is damaged", id, i);
        return n->op == POLICY_ALWAYS ? 0 : check_leaf(w, n, negated);
    }
    for (size_t c = i + 1; c < n->next; c = w->p->nodes[c].next, n_children++) {
        int rc = check_node(w, c, depth + 1, negated != (n->op == POLICY_NO));

        if (rc < 0)
            return rc;
        if (w->p->nodes[c].next > n->next)
            return bt_fail(w->err, BT_ERR_INVALID, "%s: node %zu is damaged", id, c);
    }
    if (n_children == 0)
        return bt_fail(w->err, BT_ERR_INVALID, "%s: empty %s", id, op_names[n->op]);
    if (n->op == POLICY_NO && n_children != 1)
        return bt_fail(w->err, BT_ERR_INVALID, "%s: no takes one condition", id);
    return 0;
}

static bool is_id(const char *s)
{
    size_t n = strlen(s);

    if (n == 0 || n > POLICY_ID_MAX || !isupper((unsigned char)s[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isupper((unsigned char)s[i]) && !isdigit((unsigned char)s[i]) && s[i] != '-')
            return false;
    return !bt_starts(s, "TIER-");
}

/* Each {name} of a reason is an attribute. */
static int check_reason(const struct policy_rule *r, struct bt_err *err)
{
    for (const char *s = strchr(r->reason, '{'); s; s = strchr(s, '{')) {
        const char *end = strchr(++s, '}');
        char name[32];

        if (!end || (size_t)(end - s) >= sizeof name)
            return bt_fail(err, BT_ERR_INVALID, "%s: a { of the reason is not closed", r->id);
        memcpy(name, s, (size_t)(end - s));
        name[end - s] = '\0';
        if (policy_attr_by_name(name) < 0)
            return bt_fail(err, BT_ERR_INVALID, "%s: the reason names {%s}, which is no attribute",
                           r->id, name);
    }
    return 0;
}

static int check_text(const char *id, const char *what, const char *text, struct bt_err *err)
{
    size_t n = text ? strlen(text) : 0;

    if (n == 0)
        return bt_fail(err, BT_ERR_INVALID, "%s has no %s", id, what);
    if (n > POLICY_TEXT_MAX)
        return bt_fail(err, BT_ERR_INVALID, "%s: the %s is longer than %d bytes", id, what,
                       POLICY_TEXT_MAX);
    if (!bt_is_utf8(text, n))
        return bt_fail(err, BT_ERR_INVALID, "%s: the %s is not UTF-8", id, what);
    for (size_t i = 0; i < n; i++)
        if (iscntrl((unsigned char)text[i]))
            return bt_fail(err, BT_ERR_INVALID, "%s: the %s holds a control character", id, what);
    return 0;
}

static int check_rule(const struct policy *p, size_t i, struct bt_err *err)
{
    const struct policy_rule *r = &p->rules[i];
    size_t end = i + 1 < p->n_rules ? p->rules[i + 1].root : p->n_nodes;
    const struct walk w = {.p = p, .rule = r, .end = end, .err = err};
    int rc;

    if (!is_id(r->id))
        return bt_fail(err, BT_ERR_INVALID,
                       "rule %zu: '%s' is no id: capitals, digits and -, at most %d, not TIER-",
                       i + 1, r->id, POLICY_ID_MAX);
    for (size_t k = 0; k < i; k++)
        if (strcmp(p->rules[k].id, r->id) == 0)
            return bt_fail(err, BT_ERR_INVALID, "%s is the id of two rules", r->id);
    if (r->tier != POLICY_FORBID && (r->tier <= TIER_OPEN || r->tier >= TIERS))
        return bt_fail(err, BT_ERR_INVALID, "%s: tier %d is not 1 to %d", r->id, r->tier,
                       TIERS - 1);
    if (r->since_us >= r->until_us)
        return bt_fail(err, BT_ERR_INVALID, "%s: before is not after since", r->id);
    if ((rc = check_text(r->id, "reason", r->reason, err)) < 0 ||
        (rc = check_text(r->id, "cite", r->cite, err)) < 0 || (rc = check_reason(r, err)) < 0)
        return rc;
    if (end > p->n_nodes || r->root >= end || p->nodes[r->root].next != end)
        return bt_fail(err, BT_ERR_INVALID, "%s: its condition is damaged", r->id);
    return check_node(&w, r->root, 1, false);
}

/* Longest lives shrink as tiers rise; 0 means that nothing is asked for. */
static bool looser(int below, int above)
{
    return below != 0 && (above == 0 || above > below);
}

static int check_tier(const struct policy *p, int i, struct bt_err *err)
{
    const struct policy_tier *t = &p->tiers[i];
    const struct policy_tier *low = i > 0 ? &p->tiers[i - 1] : NULL;
    const int numbers[] = {t->approvals,      t->approvals_num,  t->reviewers,    t->approval_days,
                           t->clearance_days, t->protocol_days,  t->embargo_days, t->result_days,
                           t->review_days,    t->preflight_nodes};

    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++)
        if (numbers[k] < 0 || numbers[k] > 36500)
            return bt_fail(err, BT_ERR_INVALID, "tier %d: %d is not 0 to 36500", i, numbers[k]);
    if (t->approvals_den < 1 || t->approvals_den > 36500 || t->approvals_num > t->approvals_den)
        return bt_fail(err, BT_ERR_INVALID, "tier %d: %d/%d of the nations is no fraction", i,
                       t->approvals_num, t->approvals_den);
    if ((unsigned)t->egress > POLICY_EGRESS_FREE || (unsigned)t->assurance > POLICY_HIGH)
        return bt_fail(err, BT_ERR_INVALID, "tier %d: egress or assurance is damaged", i);
    if (!low)
        return 0;
    if (t->approvals < low->approvals || t->reviewers < low->reviewers ||
        t->approvals_num * low->approvals_den < low->approvals_num * t->approvals_den ||
        t->assurance < low->assurance || t->mfa < low->mfa || t->two_person < low->two_person ||
        t->egress > low->egress || looser(low->clearance_days, t->clearance_days) ||
        looser(low->protocol_days, t->protocol_days) ||
        looser(low->approval_days, t->approval_days) || looser(low->review_days, t->review_days))
        return bt_fail(err, BT_ERR_INVALID, "tier %d asks for less than tier %d", i, i - 1);
    return 0;
}

int policy_check(const struct policy *p, struct bt_err *err)
{
    int rc;

    for (int i = 0; i < TIERS; i++)
        if ((rc = check_tier(p, i, err)) < 0)
            return rc;
    if (p->n_rules == 0 || p->n_rules > POLICY_RULES_MAX || p->n_nodes > POLICY_NODES_MAX)
        return bt_fail(err, BT_ERR_INVALID, "%zu rules with %zu nodes; at most %d with %d",
                       p->n_rules, p->n_nodes, POLICY_RULES_MAX, POLICY_NODES_MAX);
    for (size_t i = 0; i < p->n_rules; i++)
        if ((rc = check_rule(p, i, err)) < 0)
            return rc;
    return 0;
}
