/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy/cases.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum { LINE_MAX_BYTES = 1000 };

static char *trim(char *s)
{
    char *end = s + strlen(s);

    while (*s == ' ')
        s++;
    while (end > s && end[-1] == ' ')
        *--end = '\0';
    return s;
}

/* Cuts the next word, parted by spaces, off *s; NULL at the end. */
static char *next_word(char **s)
{
    char *word = *s + strspn(*s, " ");

    if (!*word)
        return NULL;
    *s = word + strcspn(word, " ");
    if (**s)
        *(*s)++ = '\0';
    return word;
}

static int parse_fact(struct policy_case *c, char *word, struct bt_err *err)
{
    char *value = strchr(word, '=');
    int64_t n;
    int rc;

    if (!value)
        return bt_fail(err, BT_ERR_INVALID, "'%.40s' is not attribute=value", word);
    *value++ = '\0';
    if (strcmp(word, "at") == 0)
        return bt_time_parse(value, "at", &c->facts.at_us, err);
    if (strcmp(word, "nations") != 0)
        return policy_fact_parse(&c->facts, word, value, err);
    if ((rc = bt_parse_i64(value, "nations", 0, 1000, &n, err)) == 0)
        c->facts.n_nations = (int)n;
    return rc;
}

static int parse_outcome(struct policy_case *c, const char *word, struct bt_err *err)
{
    for (int o = POLICY_ALLOW; o <= POLICY_DENY; o++)
        if (strcmp(word, policy_outcome_name((enum policy_outcome)o)) == 0) {
            c->outcome = (enum policy_outcome)o;
            return 0;
        }
    return bt_fail(err, BT_ERR_INVALID, "'%.40s' is not allow, hold or deny", word);
}

static int parse_expected(struct policy_case *c, char *text, struct bt_err *err)
{
    char *word = next_word(&text);
    int64_t n;
    int rc;

    if (!word)
        return bt_fail(err, BT_ERR_INVALID, "no outcome");
    if ((rc = parse_outcome(c, word, err)) < 0)
        return rc;
    word = next_word(&text);
    if (!word)
        return bt_fail(err, BT_ERR_INVALID, "no tier");
    if ((rc = bt_parse_i64(word, "tier", 0, TIERS - 1, &n, err)) < 0)
        return rc;
    c->tier = (int)n;
    while ((word = next_word(&text))) {
        if (bt_starts(word, "approvals=")) {
            if ((rc = bt_parse_i64(strchr(word, '=') + 1, "approvals", 0, 1000, &n, err)) < 0)
                return rc;
            c->approvals = (int)n;
            continue;
        }
        if (c->n_hits == POLICY_CASE_HITS || !bt_copy(c->hits[c->n_hits], sizeof c->hits[0], word))
            return bt_fail(err, BT_ERR_INVALID, "'%.40s' is too long or one rule too many", word);
        c->n_hits++;
    }
    return 0;
}

/* Reads one line, which it cuts into pieces. */
static int parse_line(char *line, struct policy_case *ret, struct bt_err *err)
{
    char *facts = strchr(line, '|');
    char *expected = facts ? strchr(facts + 1, '|') : NULL;
    char *word;
    int rc;

    if (!expected)
        return bt_fail(err, BT_ERR_INVALID, "expected NAME | facts | expected");
    *facts++ = '\0';
    *expected++ = '\0';
    if (!bt_copy(ret->name, sizeof ret->name, trim(line)) || !ret->name[0])
        return bt_fail(err, BT_ERR_INVALID, "a name has 1 to %zu bytes", sizeof ret->name - 1);
    ret->n_hits = 0;
    ret->approvals = -1;
    while ((word = next_word(&facts)))
        if ((rc = parse_fact(ret, word, err)) < 0)
            return rc;
    return strcmp(ret->name, "default") == 0 ? 0 : parse_expected(ret, expected, err);
}

static int parse_lines(const char *text, struct policy_cases *to, struct bt_err *err)
{
    struct policy_case start = {0};
    int number = 1;

    for (const char *s = text; *s; number++) {
        size_t n = strcspn(s, "\n");
        char line[LINE_MAX_BYTES];
        struct policy_case c = start;
        struct bt_err why = {0};

        if (n >= sizeof line || to->n == POLICY_CASES_MAX)
            return bt_fail(err, BT_ERR_TOO_LARGE, "line %d: longer than %zu bytes or too many",
                           number, sizeof line - 1);
        memcpy(line, s, n);
        line[n] = '\0';
        s += n + (s[n] == '\n');
        if (!line[0] || line[0] == '#')
            continue;
        if (parse_line(line, &c, &why) < 0)
            return bt_fail(err, BT_ERR_INVALID, "line %d: %s", number, why.text);
        if (strcmp(c.name, "default") == 0) {
            start = c;
            continue;
        }
        BT_GROW(to->v, to->n, to->cap);
        to->v[to->n++] = c;
    }
    return 0;
}

int policy_cases_parse(const char *text, struct policy_cases *ret, struct bt_err *err)
{
    struct policy_cases cases = {0};
    int rc = parse_lines(text, &cases, err);

    if (rc < 0)
        policy_cases_done(&cases);
    else
        *ret = cases;
    return rc;
}

void policy_cases_done(struct policy_cases *cases)
{
    bt_free(cases->v);
    *cases = (struct policy_cases){0};
}

static bool hits_as_expected(const struct policy *p, const struct policy_case *c,
                             const struct policy_decision *d)
{
    if (d->n_hits != c->n_hits)
        return false;
    for (int i = 0; i < d->n_hits; i++) {
        bool found = false;

        for (int k = 0; k < c->n_hits && !found; k++)
            found = strcmp(policy_hit_id(p, &d->hits[i]), c->hits[k]) == 0;
        if (!found)
            return false;
    }
    return true;
}

int policy_cases_run(const struct policy *p, const struct policy_cases *cases, struct bt_buf *why)
{
    int n_bad = 0;

    for (size_t i = 0; i < cases->n; i++) {
        const struct policy_case *c = &cases->v[i];
        struct policy_decision d;

        policy_decide(p, &c->facts, &d);
        if (d.outcome == c->outcome && d.tier == c->tier &&
            (c->approvals < 0 || d.approvals == c->approvals) && hits_as_expected(p, c, &d))
            continue;
        n_bad++;
        bt_buf_printf(why, "%s: %s %d approvals=%d", c->name, policy_outcome_name(d.outcome),
                      d.tier, d.approvals);
        for (int k = 0; k < d.n_hits; k++)
            bt_buf_printf(why, " %s", policy_hit_id(p, &d.hits[k]));
        bt_buf_char(why, '\n');
    }
    return n_bad;
}

/* Whether some case sees the comparison `node` of rule r come out as `want`. */
static bool seen(const struct policy *p, const struct policy_rule *r, size_t node,
                 enum policy_truth want, const struct policy_cases *cases)
{
    for (size_t i = 0; i < cases->n; i++)
        if (policy_in_force(r, cases->v[i].facts.at_us) &&
            policy_eval(p, node, &cases->v[i].facts) == want)
            return true;
    return false;
}

int policy_cases_uncovered(const struct policy *p, const struct policy_cases *cases,
                           struct bt_buf *which)
{
    int n_bad = 0;

    for (size_t i = 0; i < p->n_rules; i++) {
        const struct policy_rule *r = &p->rules[i];

        for (size_t k = r->root; k < p->nodes[r->root].next; k++) {
            const struct policy_node *n = &p->nodes[k];
            bool is_true, is_false;

            if (n->op >= POLICY_ANY)
                continue;
            is_true = seen(p, r, k, POLICY_TRUE, cases);
            is_false = seen(p, r, k, POLICY_FALSE, cases);
            if (is_true && is_false)
                continue;
            n_bad++;
            bt_buf_printf(which, "%s: comparison %zu with %s is never %s\n", r->id, k - r->root + 1,
                          policy_attr_info((enum policy_attr)n->attr)->name,
                          is_true ? "false" : "true");
        }
    }
    return n_bad;
}
