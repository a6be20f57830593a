/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy/tree.h"

#include <math.h>
#include <string.h>

#include "lib/base/attr.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static const struct policy_attr_info attrs[POLICY_ATTRS] = {
#define A(id, name, type, direction, provenance, doc) \
    [POLICY_##id] = {(name), (doc), POLICY_##type, POLICY_##direction, POLICY_##provenance},
#include "policy/attributes.def"
};

static const char *const value_names[POLICY_VALUES] = {
#define V(attr, id, name) [POLICY_##attr##_##id] = (name),
#include "policy/attributes.def"
};

static const uint8_t first_value[POLICY_ATTRS + 1] = {
#define A(id, name, type, direction, provenance, doc) [POLICY_##id] = POLICY_FIRST_##id,
#include "policy/attributes.def"
    [POLICY_ATTRS] = POLICY_VALUES,
};

const struct policy_attr_info *policy_attr_info(enum policy_attr a)
{
    return &attrs[a];
}

uint64_t policy_attr_values(enum policy_attr a)
{
    return (POLICY_BIT(first_value[a + 1]) - 1) & ~(POLICY_BIT(first_value[a]) - 1);
}

const char *policy_value_name(enum policy_value v)
{
    return value_names[v];
}

int policy_attr_by_name(const char *name)
{
    for (int a = 0; a < POLICY_ATTRS; a++)
        if (bt_streq(attrs[a].name, name))
            return a;
    return -1;
}

int policy_value_by_name(enum policy_attr a, const char *name)
{
    for (int v = first_value[a]; v < first_value[a + 1]; v++)
        if (bt_streq(value_names[v], name))
            return v;
    return -1;
}

void policy_fact_forget(struct policy_facts *f, enum policy_attr a)
{
    f->known &= ~(UINT32_C(1) << a);
    f->values &= ~policy_attr_values(a);
    f->num[a] = 0;
}

void policy_fact_num(struct policy_facts *f, enum policy_attr a, double v)
{
    policy_fact_forget(f, a);
    if (isnan(v))
        return;
    f->num[a] = v;
    f->known |= UINT32_C(1) << a;
}

void policy_fact_bits(struct policy_facts *f, enum policy_attr a, uint64_t bits)
{
    policy_fact_forget(f, a);
    if (!bits && attrs[a].type == POLICY_ENUM)
        return;
    f->values |= bits;
    f->known |= UINT32_C(1) << a;
}

void policy_free(struct policy *p)
{
    if (!p)
        return;
    for (size_t i = 0; p->rules && i < p->n_rules; i++) {
        bt_free(p->rules[i].reason);
        bt_free(p->rules[i].cite);
    }
    bt_free(p->rules);
    bt_free(p->nodes);
    bt_free(p);
}

static enum policy_truth eval_leaf(const struct policy_node *n, const struct policy_facts *f)
{
    bool is;

    if (!(f->known >> n->attr & 1))
        return POLICY_UNKNOWN;
    switch ((enum policy_op)n->op) {
    case POLICY_GE:
        is = f->num[n->attr] >= n->num;
        break;
    case POLICY_GT:
        is = f->num[n->attr] > n->num;
        break;
    case POLICY_LT:
        is = f->num[n->attr] < n->num;
        break;
    default: /* POLICY_EQ, POLICY_HAS */
        is = f->values >> n->value & 1;
        break;
    }
    return is ? POLICY_TRUE : POLICY_FALSE;
}

/* NOLINTNEXTLINE(misc-no-recursion): policy_check bounds the depth */
enum policy_truth policy_eval(const struct policy *p, size_t node, const struct policy_facts *f)
{
    const struct policy_node *n = &p->nodes[node];
    bool any = n->op == POLICY_ANY;
    enum policy_truth all = any ? POLICY_FALSE : POLICY_TRUE;

    switch ((enum policy_op)n->op) {
    case POLICY_ALWAYS:
        return POLICY_TRUE;
    case POLICY_NO:
        return POLICY_TRUE - policy_eval(p, node + 1, f);
    case POLICY_ANY:
    case POLICY_ALL:
        break;
    default:
        return eval_leaf(n, f);
    }
    for (size_t c = node + 1; c < n->next; c = p->nodes[c].next) {
        enum policy_truth t = policy_eval(p, c, f);

        if (any ? t > all : t < all)
            all = t;
        if (all == (any ? POLICY_TRUE : POLICY_FALSE))
            break;
    }
    return all;
}

bool policy_in_force(const struct policy_rule *r, int64_t at_us)
{
    return r->since_us <= at_us && at_us < r->until_us;
}

static void add_hit(struct policy_decision *d, int rule, bool forbid, bool unknown)
{
    d->hits[d->n_hits++] =
        (struct policy_hit){.rule = (uint16_t)rule, .forbid = forbid, .unknown = unknown};
    if (forbid)
        d->outcome = POLICY_DENY;
}

/* Notes the attributes of a rule that have no value. */
static void note_unknown(const struct policy *p, const struct policy_rule *r,
                         const struct policy_facts *f, struct policy_decision *d)
{
    for (size_t i = r->root; i < p->nodes[r->root].next; i++)
        if (p->nodes[i].op < POLICY_ANY)
            d->unknown |= (UINT32_C(1) << p->nodes[i].attr) & ~f->known;
}

_Static_assert((int)POLICY_EGRESS_NONE - POLICY_FIRST_EGRESS == POLICY_NO_EGRESS &&
                   (int)POLICY_EGRESS_ALLOWLIST - POLICY_FIRST_EGRESS == POLICY_EGRESS_LISTED &&
                   (int)POLICY_EGRESS_OPEN - POLICY_FIRST_EGRESS == POLICY_EGRESS_FREE,
               "the attribute and the terms count networks alike");

/* What the tier itself asks of the job. */
static void hold_to_terms(const struct policy_facts *f, struct policy_decision *d)
{
    bool embargo = f->known >> POLICY_EMBARGO_DAYS & 1;
    bool egress = f->known >> POLICY_EGRESS & 1;
    uint64_t wider;

    if (!embargo || f->num[POLICY_EMBARGO_DAYS] > d->terms.embargo_days)
        add_hit(d, POLICY_HIT_EMBARGO, true, !embargo);
    /* the bits of wider networks than the tier's lie above its own */
    wider = (f->values & policy_attr_values(POLICY_EGRESS)) >>
            (POLICY_FIRST_EGRESS + (int)d->terms.egress + 1);
    if (!egress || wider)
        add_hit(d, POLICY_HIT_EGRESS, true, !egress);
    if (!embargo)
        d->unknown |= UINT32_C(1) << POLICY_EMBARGO_DAYS;
    if (!egress)
        d->unknown |= UINT32_C(1) << POLICY_EGRESS;
}

static int approvals_of(const struct policy_tier *t, int n_nations)
{
    int share = (n_nations * t->approvals_num + t->approvals_den - 1) / t->approvals_den;

    return BT_MAX(t->approvals, share);
}

void policy_decide(const struct policy *p, const struct policy_facts *f,
                   struct policy_decision *ret)
{
    ret->outcome = POLICY_ALLOW;
    ret->tier = TIER_OPEN;
    ret->unknown = 0;
    ret->n_hits = 0;
    memcpy(ret->digest, p->digest, sizeof ret->digest);
    for (size_t i = 0; i < p->n_rules; i++) {
        const struct policy_rule *r = &p->rules[i];
        enum policy_truth t;

        if (!policy_in_force(r, f->at_us))
            continue;
        t = policy_eval(p, r->root, f);
        if (t == POLICY_FALSE)
            continue;
        if (t == POLICY_UNKNOWN)
            note_unknown(p, r, f, ret);
        add_hit(ret, (int)i, r->tier == POLICY_FORBID, t == POLICY_UNKNOWN);
        ret->tier = BT_MAX(ret->tier, r->tier);
    }
    ret->terms = p->tiers[ret->tier];
    ret->approvals = approvals_of(&ret->terms, f->n_nations);
    hold_to_terms(f, ret);
    if (ret->outcome == POLICY_ALLOW && ret->approvals + ret->terms.reviewers > 0)
        ret->outcome = POLICY_HOLD;
}
