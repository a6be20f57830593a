/* The rules as shipped, and the logic under them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "policy/cases.h"
#include "policy/load.h"

static struct policy *shipped;

static int load_shipped(void **state)
{
    BT_AUTO char *dir = bt_printf("%s/policy", getenv("BT_SOURCE_ROOT"));
    struct bt_err err = {0};

    (void)state;
    if (policy_load(dir, bt_sha256, &shipped, &err) < 0)
        fail_msg("%s", err.text);
    return 0;
}

static int free_shipped(void **state)
{
    (void)state;
    policy_free(shipped);
    return 0;
}

static void read_cases(struct policy_cases *ret)
{
    BT_AUTO char *path = bt_printf("%s/policy/tests/rules.cases", getenv("BT_SOURCE_ROOT"));
    BT_BUF_AUTO struct bt_buf text = {0};
    struct bt_err err = {0};

    assert_int_equal(bt_file_read(path, 1 << 20, &text, &err), 0);
    if (policy_cases_parse(bt_buf_text(&text), ret, &err) < 0)
        fail_msg("%s", err.text);
}

static void every_case_decides_as_written(void **state)
{
    BT_BUF_AUTO struct bt_buf why = {0};
    struct policy_cases cases = {0};

    (void)state;
    read_cases(&cases);
    assert_true(cases.n >= 40);
    if (policy_cases_run(shipped, &cases, &why) > 0)
        fail_msg("decided otherwise:\n%s", bt_buf_text(&why));
    policy_cases_done(&cases);
}

static void the_cases_cover_every_comparison(void **state)
{
    BT_BUF_AUTO struct bt_buf which = {0};
    struct policy_cases cases = {0};

    (void)state;
    read_cases(&cases);
    if (policy_cases_uncovered(shipped, &cases, &which) > 0)
        fail_msg("%s", bt_buf_text(&which));
    cases.n = 5; /* so few cannot cover all: the check can fail */
    assert_true(policy_cases_uncovered(shipped, &cases, &which) > 10);
    policy_cases_done(&cases);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed += 0x9e3779b97f4a7c15; /* splitmix64, Steele et al. 2014 */
    uint64_t z = *seed;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static double random_number(uint64_t *seed)
{
    return pow(10.0, (double)(next_random(seed) % 270) / 10.0);
}

static void random_facts(uint64_t *seed, struct policy_facts *f)
{
    *f = (struct policy_facts){.at_us = INT64_C(1795000000000000), .n_nations = 23};
    for (int a = 0; a < POLICY_ATTRS; a++) {
        enum policy_attr attr = (enum policy_attr)a;
        uint64_t all = policy_attr_values(attr);

        if (next_random(seed) % 10 == 0)
            continue;
        switch (policy_attr_info(attr)->type) {
        case POLICY_NUM:
            policy_fact_num(f, attr, next_random(seed) % 4 ? random_number(seed) : 0);
            break;
        case POLICY_SET:
            policy_fact_bits(f, attr, next_random(seed) & next_random(seed) & all);
            break;
        case POLICY_ENUM:
            while (!(f->values & all))
                policy_fact_bits(f, attr, POLICY_BIT(next_random(seed) % POLICY_VALUES) & all);
            break;
        }
    }
}

/* Makes one UP attribute worse; 1 if it did. */
static int worsen(uint64_t *seed, struct policy_facts *f)
{
    enum policy_attr a = (enum policy_attr)(next_random(seed) % POLICY_ATTRS);
    const struct policy_attr_info *info = policy_attr_info(a);

    if (info->direction != POLICY_UP)
        return 0;
    if (next_random(seed) % 8 == 0)
        policy_fact_forget(f, a);
    else if (!(f->known >> a & 1))
        return 0;
    else if (info->type == POLICY_NUM)
        f->num[a] += random_number(seed);
    else
        f->values |= POLICY_BIT(next_random(seed) % POLICY_VALUES) & policy_attr_values(a);
    return 1;
}

static bool forbids(const struct policy_decision *d, int rule)
{
    for (int i = 0; i < d->n_hits; i++)
        if (d->hits[i].rule == rule)
            return d->hits[i].forbid;
    return false;
}

static void more_hazard_never_decides_milder(void **state)
{
    uint64_t seed = 7;
    int n = 0;

    (void)state;
    while (n < 50000) {
        struct policy_facts f, worse;
        struct policy_decision a, b;

        random_facts(&seed, &f);
        worse = f;
        if (!worsen(&seed, &worse))
            continue;
        n++;
        policy_decide(shipped, &f, &a);
        policy_decide(shipped, &worse, &b);
        assert_true(b.tier >= a.tier);
        for (int r = 0; r < (int)shipped->n_rules; r++)
            assert_true(!forbids(&a, r) || forbids(&b, r));
    }
}

static void knowing_nothing_is_the_worst(void **state)
{
    const struct policy_facts nothing = {.at_us = INT64_C(1795000000000000), .n_nations = 3};
    struct policy_decision d;

    (void)state;
    policy_decide(shipped, &nothing, &d);
    assert_int_equal(d.outcome, POLICY_DENY);
    assert_int_equal(d.tier, TIER_MAXIMUM);
    assert_int_equal(d.n_hits, shipped->n_rules + 2);
    for (int i = 0; i < d.n_hits; i++)
        assert_true(d.hits[i].unknown);
    assert_int_equal(d.unknown >> POLICY_FLOP_LINEAGE & 1, 1);
    assert_memory_equal(d.digest, shipped->digest, sizeof d.digest);
}

/* any(n1, all(n2, no(n3))) over three attributes, and its Kleene table. */
static void unknown_spreads_as_kleene_says(void **state)
{
    struct policy_node nodes[] = {
        {.op = POLICY_ANY, .next = 6},
        {.op = POLICY_GE, .attr = POLICY_ACCELS, .num = 1, .next = 2},
        {.op = POLICY_ALL, .next = 6},
        {.op = POLICY_GE, .attr = POLICY_PARAMS, .num = 1, .next = 4},
        {.op = POLICY_NO, .next = 6},
        {.op = POLICY_GE, .attr = POLICY_FLOP_JOB, .num = 1, .next = 6},
    };
    const struct policy p = {.nodes = nodes, .n_nodes = BT_ARRAY_LEN(nodes)};

    (void)state;
    for (int i = 0; i < 27; i++) {
        const enum policy_truth x[3] = {i % 3, i / 3 % 3, i / 9};
        const enum policy_attr attr[3] = {POLICY_ACCELS, POLICY_PARAMS, POLICY_FLOP_JOB};
        enum policy_truth both = BT_MIN(x[1], POLICY_TRUE - x[2]);
        struct policy_facts f = {0};

        for (int k = 0; k < 3; k++)
            if (x[k] != POLICY_UNKNOWN)
                policy_fact_num(&f, attr[k], x[k] == POLICY_TRUE ? 1 : 0);
        assert_int_equal(policy_eval(&p, 0, &f), BT_MAX(x[0], both));
    }
}

static void facts_are_read_from_text_and_shown(void **state)
{
    static const struct {
        const char *name, *value, *shown; /* shown NULL: refused */
    } cases[] = {
        {"flop.lineage", "2.1e22", "2.1e22"},
        {"accels", "64", "64"},
        {"accels", "999999", "999999"},
        {"accels", "1000000", "1e6"},
        {"flop.job", "1234567", "1.235e6"},
        {"accels", "?", "unknown"},
        {"accels", "many", NULL},
        {"data", "public,bio-sequence", "{public, bio-sequence}"},
        {"data", "", "{}"},
        {"data", "public,", NULL},
        {"data", "biosequence", NULL},
        {"data", "general", NULL}, /* a value, but of another attribute */
        {"purpose", "train", "train"},
        {"purpose", "train,eval", NULL},
        {"purpose", "", NULL},
        {"flops", "1", NULL},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        BT_BUF_AUTO struct bt_buf shown = {0};
        struct policy_facts f = {0};
        int rc = policy_fact_parse(&f, cases[i].name, cases[i].value, NULL);

        assert_int_equal(rc, cases[i].shown ? 0 : -BT_ERR_INVALID);
        if (!cases[i].shown)
            continue;
        policy_fact_show(&f, (enum policy_attr)policy_attr_by_name(cases[i].name), &shown);
        assert_string_equal(bt_buf_text(&shown), cases[i].shown);
    }
}

static void each_attribute_owns_its_values(void **state)
{
    static const uint8_t owner[POLICY_VALUES] = {
#define V(attr, id, name) [POLICY_##attr##_##id] = POLICY_##attr,
#include "policy/attributes.def"
    };

    (void)state;
    for (int v = 0; v < POLICY_VALUES; v++)
        for (int a = 0; a < POLICY_ATTRS; a++)
            assert_int_equal(policy_attr_values((enum policy_attr)a) >> v & 1, owner[v] == a);
}

static void an_explanation_shows_each_leaf_with_its_value(void **state)
{
    static const char *const facts[][2] = {
        {"flop.job", "4e21"},     {"flop.lineage", "4.1e22"}, {"accels", "1024"},
        {"data", "bio-sequence"}, {"domain", "bio"},          {"purpose", "finetune"},
        {"embargo.days", "400"},  {"user.publish_due", "0"},  {"egress", "none"},
        {"kind", "train"},
    };
    static const char *const wanted[] = {
        "hold  tier 3 (contained)\n",
        "3 of 23 nations, 1 safety reviewers",
        "BIO-3         tier 3   biological sequence data at 4.1e22 FLOP (threshold 1e22)",
        "    yes    data has bio-sequence             it is {bio-sequence}\n",
        "    no     flop.lineage >= 1e24              it is 4.1e22\n",
        "BIO-4         does not match\n",
        "    no       purpose is train",
    };
    BT_BUF_AUTO struct bt_buf text = {0};
    struct policy_facts f = {.at_us = INT64_C(1795000000000000), .n_nations = 23};

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(facts); i++)
        assert_int_equal(policy_fact_parse(&f, facts[i][0], facts[i][1], NULL), 0);
    policy_explain(shipped, &f, true, &text);
    for (size_t i = 0; i < BT_ARRAY_LEN(wanted); i++)
        if (!strstr(bt_buf_text(&text), wanted[i]))
            fail_msg("no '%s' in\n%s", wanted[i], bt_buf_text(&text));
    bt_buf_clear(&text);
    policy_explain(shipped, &f, false, &text);
    assert_null(strstr(bt_buf_text(&text), "BIO-4"));
}

static void broken_case_files_name_their_line(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"x | | allow", "line 1: no tier"},
        {"\n# c\nx | accels=8", "line 3: expected NAME | facts | expected"},
        {"x | acels=8 | allow 0", "line 1: 'acels' is no attribute of a job"},
        {"x | accels | allow 0", "line 1: 'accels' is not attribute=value"},
        {"x | | perhaps 0", "line 1: 'perhaps' is not allow, hold or deny"},
        {"x | | allow 5", "line 1: tier is '5', not a whole number from 0 to 4"},
        {" | | allow 0", "line 1: a name has 1 to 63 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(cases); i++) {
        struct policy_cases read = {0};
        struct bt_err err = {0};

        assert_int_equal(policy_cases_parse(cases[i].text, &read, &err), -BT_ERR_INVALID);
        assert_string_equal(err.text, cases[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_decides_as_written),
        cmocka_unit_test(the_cases_cover_every_comparison),
        cmocka_unit_test(more_hazard_never_decides_milder),
        cmocka_unit_test(knowing_nothing_is_the_worst),
        cmocka_unit_test(unknown_spreads_as_kleene_says),
        cmocka_unit_test(facts_are_read_from_text_and_shown),
        cmocka_unit_test(each_attribute_owns_its_values),
        cmocka_unit_test(an_explanation_shows_each_leaf_with_its_value),
        cmocka_unit_test(broken_case_files_name_their_line),
    };

    return cmocka_run_group_tests_name("policy_tree", tests, load_shipped, free_shipped);
}
