/* Decisions in words: facts, reasons, and why a rule matched.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <math.h>
#include <string.h>

#include "lib/base/str.h"
#include "policy/tree.h"

static const char *const outcome_names[] = {"allow", "hold", "deny"};
static const char *const egress_names[] = {"none", "allowlist", "open"};
static const char *const assurance_names[] = {"low", "medium", "high"};
static const char *const truth_names[] = {"no ", "?  ", "yes"};

const char *policy_outcome_name(enum policy_outcome o)
{
    return outcome_names[o];
}

const char *policy_egress_name(enum policy_egress e)
{
    return egress_names[e];
}

const char *policy_assurance_name(enum policy_assurance a)
{
    return assurance_names[a];
}

/* 64, 999999, 2.1e22: no plus sign and no zeros in the exponent. */
static void show_number(double v, struct bt_buf *to)
{
    char text[40];
    char *e;

    if (fabs(v) < 1e6) {
        bt_buf_printf(to, "%.6g", v);
        return;
    }
    snprintf(text, sizeof text, "%.4g", v);
    if (!strchr(text, 'e')) /* "1.235e+06" has one, "inf" has none */
        snprintf(text, sizeof text, "%.3e", v);
    e = strchr(text, 'e');
    if (!e) {
        bt_buf_str(to, text);
        return;
    }
    bt_buf_add(to, text, (size_t)(e + 1 - text));
    bt_buf_str(to, e + 1 + strspn(e + 1, "+0"));
}

void policy_fact_show(const struct policy_facts *f, enum policy_attr a, struct bt_buf *to)
{
    const struct policy_attr_info *info = policy_attr_info(a);
    uint64_t bits = f->values & policy_attr_values(a);
    const char *between = "";

    if (!(f->known >> a & 1)) {
        bt_buf_str(to, "unknown");
        return;
    }
    if (info->type == POLICY_NUM) {
        show_number(f->num[a], to);
        return;
    }
    if (info->type == POLICY_SET)
        bt_buf_char(to, '{');
    for (int v = 0; v < POLICY_VALUES; v++) {
        if (!(bits >> v & 1))
            continue;
        bt_buf_printf(to, "%s%s", between, policy_value_name((enum policy_value)v));
        between = ", ";
    }
    if (info->type == POLICY_SET)
        bt_buf_char(to, '}');
}

static int parse_values(enum policy_attr a, const char *value, uint64_t *ret, struct bt_err *err)
{
    const struct policy_attr_info *info = policy_attr_info(a);
    uint64_t bits = 0;

    for (const char *s = value; *s;) {
        size_t n = strcspn(s, ",");
        char name[32] = "";
        int v = -1;

        if (n < sizeof name) {
            memcpy(name, s, n);
            v = policy_value_by_name(a, name);
        }
        if (v < 0)
            return bt_fail(err, BT_ERR_INVALID, "'%.*s' is not a value of %s", (int)BT_MIN(n, 40),
                           s, info->name);
        bits |= POLICY_BIT(v);
        s += n;
        if (*s == ',' && *++s == '\0')
            return bt_fail(err, BT_ERR_INVALID, "a value of %s is missing behind the last comma",
                           info->name);
    }
    if (info->type == POLICY_ENUM && (bits == 0 || (bits & (bits - 1))))
        return bt_fail(err, BT_ERR_INVALID, "%s takes exactly one value, not '%.40s'", info->name,
                       value);
    *ret = bits;
    return 0;
}

int policy_fact_parse(struct policy_facts *f, const char *name, const char *value,
                      struct bt_err *err)
{
    int found = policy_attr_by_name(name);
    enum policy_attr a = (enum policy_attr)found;
    uint64_t bits = 0;
    double v;
    int rc;

    if (found < 0)
        return bt_fail(err, BT_ERR_INVALID, "'%.40s' is no attribute of a job", name);
    if (strcmp(value, "?") == 0) {
        policy_fact_forget(f, a);
        return 0;
    }
    if (policy_attr_info(a)->type == POLICY_NUM) {
        if ((rc = bt_parse_f64(value, name, &v, err)) < 0)
            return rc;
        policy_fact_num(f, a, v);
        return 0;
    }
    if ((rc = parse_values(a, value, &bits, err)) < 0)
        return rc;
    policy_fact_bits(f, a, bits);
    return 0;
}

const char *policy_hit_id(const struct policy *p, const struct policy_hit *h)
{
    if (h->rule == POLICY_HIT_EMBARGO)
        return "TIER-EMBARGO";
    return h->rule == POLICY_HIT_EGRESS ? "TIER-EGRESS" : p->rules[h->rule].id;
}

const char *policy_hit_cite(const struct policy *p, const struct policy_hit *h)
{
    return h->rule >= POLICY_RULES_MAX ? "" : p->rules[h->rule].cite;
}

void policy_hit_reason(const struct policy *p, const struct policy_decision *d,
                       const struct policy_hit *h, const struct policy_facts *f, struct bt_buf *to)
{
    if (h->rule == POLICY_HIT_EMBARGO) {
        bt_buf_str(to, "an embargo of ");
        policy_fact_show(f, POLICY_EMBARGO_DAYS, to);
        bt_buf_printf(to, " days is longer than the %d of tier %d (%s)", d->terms.embargo_days,
                      d->tier, tier_name(d->tier));
        return;
    }
    if (h->rule == POLICY_HIT_EGRESS) {
        bt_buf_str(to, "the job's network would be ");
        policy_fact_show(f, POLICY_EGRESS, to);
        bt_buf_printf(to, "; tier %d (%s) allows %s", d->tier, tier_name(d->tier),
                      egress_names[d->terms.egress]);
        return;
    }
    for (const char *s = p->rules[h->rule].reason; *s;) {
        size_t plain = strcspn(s, "{");
        size_t n;
        char name[32];

        bt_buf_add(to, s, plain);
        s += plain;
        if (!*s)
            break;
        n = strcspn(++s, "}"); /* policy_check saw that it closes and names an attribute */
        bt_copy(name, BT_MIN(n + 1, sizeof name), s);
        policy_fact_show(f, (enum policy_attr)policy_attr_by_name(name), to);
        s += n + 1;
    }
}

static void explain_leaf(const struct policy_node *n, const struct policy_facts *f,
                         struct bt_buf *to)
{
    static const char *const signs[] = {">=", ">", "<", "is", "has"};
    const char *name = policy_attr_info((enum policy_attr)n->attr)->name;
    size_t start = to->n;

    bt_buf_printf(to, "%s %s ", name, signs[n->op]);
    if (n->op < POLICY_EQ)
        show_number(n->num, to);
    else
        bt_buf_str(to, policy_value_name((enum policy_value)n->value));
    while (!to->over && to->n - start < 32)
        bt_buf_char(to, ' ');
    bt_buf_str(to, "  it is ");
    policy_fact_show(f, (enum policy_attr)n->attr, to);
}

/* NOLINTNEXTLINE(misc-no-recursion): policy_check bounds the depth */
static void explain_node(const struct policy *p, size_t i, const struct policy_facts *f, int depth,
                         struct bt_buf *to)
{
    static const char *const words[] = {"any of", "all of", "not", "always"};
    const struct policy_node *n = &p->nodes[i];

    bt_buf_printf(to, "    %s  %*s", truth_names[policy_eval(p, i, f)], 2 * depth, "");
    if (n->op < POLICY_ANY)
        explain_leaf(n, f, to);
    else
        bt_buf_str(to, words[n->op - POLICY_ANY]);
    bt_buf_char(to, '\n');
    for (size_t c = i + 1; c < n->next; c = p->nodes[c].next)
        explain_node(p, c, f, depth + 1, to);
}

static void explain_head(const struct policy_decision *d, const struct policy_facts *f,
                         struct bt_buf *to)
{
    bt_buf_printf(to, "%s  tier %d (%s)\n", outcome_names[d->outcome], d->tier, tier_name(d->tier));
    bt_buf_printf(to, "  asks for  %d of %d nations, %d safety reviewers", d->approvals,
                  f->n_nations, d->terms.reviewers);
    bt_buf_printf(to, "; identity %s%s\n", assurance_names[d->terms.assurance],
                  d->terms.mfa ? " with a second factor" : "");
    bt_buf_printf(to, "  allows    network %s, embargo of %d days; the result is due after %d\n",
                  egress_names[d->terms.egress], d->terms.embargo_days, d->terms.result_days);
}

static const struct policy_hit *hit_of(const struct policy_decision *d, size_t rule)
{
    for (int i = 0; i < d->n_hits; i++)
        if (d->hits[i].rule == rule)
            return &d->hits[i];
    return NULL;
}

static void explain_hit(const struct policy *p, const struct policy_decision *d,
                        const struct policy_hit *h, const struct policy_facts *f, struct bt_buf *to)
{
    const char *cite = policy_hit_cite(p, h);

    bt_buf_printf(to, "%-12s  ", policy_hit_id(p, h));
    if (h->forbid)
        bt_buf_str(to, "forbids  ");
    else
        bt_buf_printf(to, "tier %d   ", p->rules[h->rule].tier);
    policy_hit_reason(p, d, h, f, to);
    if (*cite)
        bt_buf_printf(to, "  [%s]", cite);
    if (h->unknown)
        bt_buf_str(to, "  (a value is missing, which counts as a match)");
    bt_buf_char(to, '\n');
}

void policy_explain(const struct policy *p, const struct policy_facts *f, bool all,
                    struct bt_buf *to)
{
    struct policy_decision d;

    policy_decide(p, f, &d);
    explain_head(&d, f, to);
    for (size_t i = 0; i < p->n_rules; i++) {
        const struct policy_hit *h = hit_of(&d, i);

        if (h)
            explain_hit(p, &d, h, f, to);
        else if (all && policy_in_force(&p->rules[i], f->at_us))
            bt_buf_printf(to, "%-12s  does not match\n", p->rules[i].id);
        else if (all)
            bt_buf_printf(to, "%-12s  is not in force\n", p->rules[i].id);
        if (h || all)
            explain_node(p, p->rules[i].root, f, 0, to);
    }
    for (int i = 0; i < d.n_hits; i++)
        if (d.hits[i].rule >= POLICY_RULES_MAX)
            explain_hit(p, &d, &d.hits[i], f, to);
}
