/* What the loader refuses, and that it cannot be hurt.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "policy/load.h"
#include "policy/wire.h"

static struct bt_buf tiers;

static int read_tiers(void **state)
{
    BT_AUTO char *path = bt_printf("%s/policy/tiers.lua", getenv("BT_SOURCE_ROOT"));

    (void)state;
    return bt_file_read(path, POLICY_SOURCE_MAX, &tiers, NULL);
}

static int drop_tiers(void **state)
{
    (void)state;
    bt_buf_done(&tiers);
    return 0;
}

/* As shipped, but with time for a slow machine or valgrind. */
static const struct policy_limits patient = {.cpu_s = 120,
                                             .deadline_ms = 120000,
                                             .memory_bytes = (size_t)8 << 20,
                                             .steps = 10 * 1000 * 1000};

static int load(const char *rules, struct policy **ret, struct bt_err *err)
{
    return policy_load_text(bt_buf_text(&tiers), rules, bt_sha256, &patient, ret, err);
}

/* One rule around a condition. */
#define RULE(rest) "return {{id='R-1', since='2026-01-01', reason='r', cite='c', " rest "}}"
#define WHEN(condition) RULE("tier=1, when=" condition)

static const struct {
    const char *rules;
    const char *why;
} refused[] = {
    /* names and values */
    {WHEN("ge('flop.linage', 1)"), "R-1: unknown attribute 'flop.linage'"},
    {WHEN("has('domain', 'bioo')"), "R-1: 'bioo' is not a value of domain"},
    {WHEN("has('domain', 'public')"), "R-1: 'public' is not a value of domain"},
    {WHEN("ge('data', 1)"), "R-1: ge does not fit data, which is a set"},
    {WHEN("eq('data', 'public')"), "R-1: eq does not fit data, which is a set"},
    {WHEN("has('purpose', 'eval')"),
     "R-1: has does not fit purpose, which is one of several values"},
    {WHEN("ge('accels', 'many')"), "R-1: the threshold of a comparison is no number"},
    {WHEN("ge('accels', 0/0)"), "R-1: the threshold of accels is not a finite number"},
    {WHEN("ge('accels', 1e400)"), "R-1: the threshold of accels is not a finite number"},
    {WHEN("ge('accels')"), "R-1: a comparison takes an attribute and a value"},
    /* shape */
    {WHEN("any()"), "R-1: empty any"},
    {WHEN("all()"), "R-1: empty all"},
    {WHEN("no(eq('kind','coll'), eq('kind','train'))"), "R-1: no takes one condition"},
    {RULE("tier=1"), "R-1: a condition is missing, or not made by ge, gt, lt, eq, has, any, all, "
                     "no or always"},
    {WHEN("true"), "R-1: a condition is missing, or not made by ge, gt, lt, eq, has, any, all, no "
                   "or always"},
    {WHEN("{op=77}"), "R-1: unknown operator 77"},
    {RULE("tier=1, forbid=true, when=always"), "R-1: exactly one of tier and forbid"},
    {RULE("when=always"), "R-1: exactly one of tier and forbid"},
    {RULE("tier=5, when=always"), "R-1: there is no tier 5"},
    {RULE("tier=0, when=always"), "R-1: tier 0 is not 1 to 4"},
    {RULE("tier=1.5, when=always"), "R-1: there is no tier 1.5"},
    {RULE("tier=1, when=always, befor='2027-01-01'"), "rule 1: unknown field 'befor'"},
    {RULE("tier=1, when=always, before='2026-01-01'"), "R-1: before is not after since"},
    {"return {{id='R-1', tier=1, since='soon', when=always, reason='r', cite='c'}}",
     "R-1: since is 'soon', not a time"},
    {"return {{id='R-1', tier=1, since='2026-01-01', when=always, cite='c'}}",
     "R-1: reason is missing or no text"},
    {"return {{id='R-1', tier=1, since='2026-01-01', when=always, reason='r', cite=''}}",
     "R-1 has no cite"},
    {"return {{id='r1', tier=1, since='2026-01-01', when=always, reason='r', cite='c'}}",
     "rule 1: 'r1' is no id: capitals, digits and -, at most 15, not TIER-"},
    {"return {{id='R-1', tier=1, since='2026-01-01', when=always, reason='{flops}', cite='c'}}",
     "R-1: the reason names {flops}, which is no attribute"},
    {"return {{id='R-1', tier=1, since='2026-01-01', when=always, reason='{accels', cite='c'}}",
     "R-1: a { of the reason is not closed"},
    {"local r = {id='R-1', tier=1, since='2026-01-01', when=always, reason='r', cite='c'}\n"
     "return {r, r}",
     "R-1 is the id of two rules"},
    {"return {}", "0 rules with 0 nodes; at most 256 with 4096"},
    {"return {nil, {}}", "rules.lua: expected entries 1, 2, … without gaps"},
    {"return 7", "rules.lua does not return a table"},
    /* rules that would make a decision milder */
    {WHEN("lt('flop.lineage', 1e20)"), "R-1 would become milder as flop.lineage grows"},
    {WHEN("no(has('data', 'public'))"), "R-1 would become milder as data grows"},
    {WHEN("all(ge('accels', 2), no(eq('purpose', 'benchmark')))"),
     "R-1 could be escaped by declaring another purpose"},
    /* Lua that is no data */
    {"return {", "rules.lua:1: unexpected symbol near <eof>"},
    {"os.exit(1)", "rules.lua:1: attempt to index a nil value (global 'os')"},
    {"return require('x')", "rules.lua:1: attempt to call a nil value (global 'require')"},
    {"return ('x'):rep(9)", "rules.lua:1: attempt to index a string value"},
    {"\x1bLua", "attempt to load a binary chunk (mode is 't')"},
    {"while true do end", "rules.lua:1: over 10000000 steps"},
    {"local t = {} for i = 1, 1e7 do t[i] = {} end return t", "not enough memory"},
    {"local s = 'x' while true do s = s .. s end", "not enough memory"},
    {"local function f() return f() + 1 end return f()", NULL}, /* stack overflow, long text */
    {"local x = always for i = 1, 20 do x = all(x) end return {{id='R-1', tier=1, "
     "since='2026-01-01', when=x, reason='r', cite='c'}}",
     "R-1: nested deeper than 16"},
    {"local x = {op=6} x[1] = x return {{id='R-1', tier=1, since='2026-01-01', when=x, "
     "reason='r', cite='c'}}",
     "R-1: nested deeper than 16"},
};

static void each_mistake_is_refused_by_its_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(refused); i++) {
        struct policy *p = NULL;
        struct bt_err err = {0};

        if (load(refused[i].rules, &p, &err) >= 0)
            fail_msg("accepted: %s", refused[i].rules);
        assert_null(p);
        if (refused[i].why && !strstr(err.text, refused[i].why))
            fail_msg("'%s' instead of '%s' for %s", err.text, refused[i].why, refused[i].rules);
    }
}

static void a_rule_may_rest_on_what_the_facility_knows(void **state)
{
    struct policy *p = NULL;
    struct bt_err err = {0};

    (void)state;
    if (load(WHEN("all(ge('accels', 2), no(eq('kind', 'coll')), no(no(has('data','secret'))))"), &p,
             &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(p->n_rules, 1);
    assert_int_equal(p->n_nodes, 7);
    policy_free(p);
}

static void tiers_only_become_stricter(void **state)
{
    static const struct {
        const char *from, *to, *why;
    } edits[] = {
        {"reviewers = 1,", "reviewers = 3,", "tier 4 asks for less than tier 3"},
        {"egress = \"none\"", "egress = \"some\"", "tier 3: assurance is low, medium or high"},
        {"clearance_days = 180", "clearance_days = 0", "tier 4 asks for less than tier 3"},
        {"name = \"maximum\"", "name = \"extreme\"", "tier 4 is called 'extreme', not 'maximum'"},
        {"embargo_days = 30,", "", "tier 0: embargo_days is missing or no number"},
        {"embargo_days = 30,", "embargo_days = -1,", "tier 0: embargo_days is not a whole number"},
        {"approvals_den = 3", "approvals_den = 0", "tier 4: 2/0 of the nations is no fraction"},
        {"mfa = false", "mfa = 1", "tier 0: mfa is missing or neither true nor false"},
        {"[0] =", "[7] =", "tiers.lua: expected entries 0, 1, … without gaps"},
    };

    (void)state;
    for (size_t i = 0; i < BT_ARRAY_LEN(edits); i++) {
        const char *at = strstr(bt_buf_text(&tiers), edits[i].from);
        BT_BUF_AUTO struct bt_buf text = {0};
        struct policy *p = NULL;
        struct bt_err err = {0};

        assert_non_null(at);
        bt_buf_add(&text, tiers.p, (size_t)(at - tiers.p));
        bt_buf_str(&text, edits[i].to);
        bt_buf_str(&text, at + strlen(edits[i].from));
        assert_int_equal(
            policy_load_text(bt_buf_text(&text), WHEN("always"), bt_sha256, &patient, &p, &err),
            -BT_ERR_INVALID);
        if (!strstr(err.text, edits[i].why))
            fail_msg("'%s' instead of '%s'", err.text, edits[i].why);
    }
}

static int count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Rules that never end, stopped by a limit, which is said. */
static void assert_stopped(int cpu_s, int deadline_ms, const char *why)
{
    const struct policy_limits limits = {.cpu_s = cpu_s,
                                         .deadline_ms = deadline_ms,
                                         .memory_bytes = 1 << 20,
                                         .steps = INT64_MAX / 2};
    struct policy *p = NULL;
    struct bt_err err = {0};

    assert_int_equal(
        policy_load_text(bt_buf_text(&tiers), "while true do end", bt_sha256, &limits, &p, &err),
        -BT_ERR_TIMEOUT);
    assert_string_equal(err.text, why);
    assert_null(p);
}

static void a_child_that_hangs_is_killed_at_its_deadline(void **state)
{
    int before = count_descriptors();
    int64_t start_us = bt_mono_us();

    (void)state;
    assert_stopped(120, 100, "policy_timeout: the rules were not read within 100 ms");
    assert_true(bt_mono_us() - start_us >= 100 * 1000);
    assert_int_equal(count_descriptors(), before);
}

/* However slow the machine is: what counts is the child's own time. */
static void a_child_that_takes_too_much_processor_time_is_killed(void **state)
{
    (void)state;
    assert_stopped(1, 120000,
                   "policy_timeout: the rules take more than 1 s of processor time to read");
}

static void the_digest_is_that_of_both_files(void **state)
{
    BT_BUF_AUTO struct bt_buf both = {0};
    uint8_t want[POLICY_DIGEST];
    struct policy *p = NULL;

    (void)state;
    assert_int_equal(load(WHEN("always"), &p, NULL), 0);
    bt_buf_add(&both, tiers.p, tiers.n);
    bt_buf_str(&both, WHEN("always"));
    bt_sha256(both.p, both.n, want);
    assert_memory_equal(p->digest, want, sizeof want);
    policy_free(p);
}

static void a_failed_load_leaves_the_old_policy_alone(void **state)
{
    struct policy *p = NULL;
    const struct policy *old;

    (void)state;
    assert_int_equal(load(WHEN("always"), &p, NULL), 0);
    old = p;
    assert_int_equal(load("return {", &p, NULL), -BT_ERR_INVALID);
    assert_ptr_equal(p, old);
    assert_int_equal(policy_load("/nonexistent", bt_sha256, &p, NULL), -BT_ERR_NOT_FOUND);
    assert_ptr_equal(p, old);
    policy_free(p);
}

static void damaged_trees_are_never_accepted_as_they_are(void **state)
{
    static const char head[] = "BTP1\4\0open";
    struct bt_err err = {0};
    struct policy *p = NULL;

    (void)state;
    assert_int_equal(policy_decode("", 0, &p, &err), -BT_ERR_INVALID);
    assert_int_equal(policy_decode("BTP2", 4, &p, &err), -BT_ERR_INVALID);
    for (size_t n = 0; n < sizeof head; n++)
        assert_int_equal(policy_decode(head, n, &p, &err), -BT_ERR_INVALID);
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_refused_by_its_name),
        cmocka_unit_test(a_rule_may_rest_on_what_the_facility_knows),
        cmocka_unit_test(tiers_only_become_stricter),
        cmocka_unit_test(a_child_that_hangs_is_killed_at_its_deadline),
        cmocka_unit_test(a_child_that_takes_too_much_processor_time_is_killed),
        cmocka_unit_test(the_digest_is_that_of_both_files),
        cmocka_unit_test(a_failed_load_leaves_the_old_policy_alone),
        cmocka_unit_test(damaged_trees_are_never_accepted_as_they_are),
    };

    return cmocka_run_group_tests_name("policy_load", tests, read_tiers, drop_tiers);
}
