/* Trials before a gang starts, and between switches: who is named, spared, paid back.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/unit/core_fixture.h"

#define AGENT(i) (&"0123456789"[i]) /* the key of node m<i>'s agent */
enum { NODES = 8 };

static void name_of(char name[8], int i)
{
    (void)snprintf(name, 8, "m%d", i);
}

static const struct node *node_at(struct fixture *f, int i)
{
    char name[8];

    name_of(name, i);
    return node_find(f->core, name);
}

static void report(struct fixture *f, int i, bool registers)
{
    struct event *ev = fixture_event(EV_NODE_REPORT, AGENT(i));
    struct ev_node_report *e = &ev->u.node_report;

    name_of(e->node, i);
    bt_copy(e->class, sizeof e->class, "cpu");
    e->n_acc = 8;
    e->registers = registers;
    e->trials = true;
    e->pod = 1;
    e->leaf = 1 + i / 2;
    assert_int_equal(200, fixture_step(f, ev)->http);
}

/* Eight nodes on four leaf switches; the fixture's own node has too few accelerators. */
static void begin(struct fixture *f)
{
    for (int i = 0; i < NODES; i++) {
        char name[8];

        name_of(name, i);
        fixture_enrol(f, "", "agent", name, AGENT(i));
        report(f, i, true);
    }
}

/* What agents were last shown; the views of the last batch. */
static struct view_trial shown[NODES];

static void look(struct fixture *f)
{
    for (int k = 0; k < f->last->n_trials; k++) {
        const struct view_trial *v = &f->last->trials[k];

        if (v->node[0] == 'm')
            shown[v->node[1] - '0'] = *v;
    }
}

static void tick(struct fixture *f)
{
    f->now_us += BT_US_PER_S;
    for (int i = 0; i < NODES; i++)
        report(f, i, false);
    fixture_step(f, event_new(EV_TICK));
    look(f);
}

/* An event from the agent of the attempt's first node. */
static struct event *from_agent(struct fixture *f, enum event_kind kind, struct bt_uuid id)
{
    uint32_t slot;
    const struct job *j = job_find(f->core, id, &slot);

    assert_non_null(j);
    assert_non_null(j->att);
    return fixture_event(kind, AGENT(f->core->nodes[j->att->node - 1].row.name[1] - '0'));
}

static const struct reply *claim(struct fixture *f, struct bt_uuid id, int attempt)
{
    struct event *ev = from_agent(f, EV_CLAIM, id);
    const struct reply *r;

    ev->u.claim.job = id;
    ev->u.claim.attempt = attempt;
    bt_copy(ev->u.claim.foreign_id, sizeof ev->u.claim.foreign_id, "slurm:1");
    r = fixture_step(f, ev);
    look(f);
    return r;
}

static int rank_at(int rank)
{
    for (int i = 0; i < NODES; i++)
        if (shown[i].id && shown[i].rank == rank)
            return i;
    return -1;
}

static void open_trial(struct fixture *f)
{
    int first = rank_at(0);
    struct event *ev;

    assert_true(first >= 0);
    ev = fixture_event(EV_TRIAL_OPEN, AGENT(first));
    assert_string_equal("", shown[first].secret);
    name_of(ev->u.trial_open.node, first);
    ev->u.trial_open.id = shown[first].id;
    bt_copy(ev->u.trial_open.address, sizeof ev->u.trial_open.address, "10.0.0.1:7");
    bt_copy(ev->u.trial_open.secret, sizeof ev->u.trial_open.secret, "5ec7e7");
    assert_int_equal(200, fixture_step(f, ev)->http);
    look(f);
}

static const struct reply *ended(struct fixture *f, int node, enum trial_outcome outcome,
                                 const int64_t *mbs, int n)
{
    struct event *ev = fixture_event(EV_TRIAL_ENDED, AGENT(node));
    struct ev_trial_ended *e = &ev->u.trial_ended;
    const struct reply *r;

    name_of(e->node, node);
    e->id = shown[node].id;
    e->outcome = outcome;
    bt_copy(e->text, sizeof e->text, outcome == TRIAL_LOST ? "rank 0 lost a neighbour" : "");
    e->links = bt_new_n(struct trial_link, (size_t)n + 1);
    e->n_links = n;
    for (int i = 0; i < n; i++)
        e->links[i].mbs = mbs[i];
    r = fixture_step(f, ev);
    look(f);
    return r;
}

static const struct reply *submit(struct fixture *f, struct bt_uuid id)
{
    struct event *ev = fixture_ask(id, 24, 60);

    ev->u.submit.spec.per_node = 8;
    return fixture_step(f, ev);
}

/* A gang of three whole nodes, started and claimed once. */
static struct bt_uuid gang(struct fixture *f)
{
    struct bt_uuid id = fixture_id(f);

    f->core->set.preflight_nodes = 3;
    assert_int_equal(201, submit(f, id)->http);
    fixture_plan(f);
    assert_string_equal("starting", state_of(f, id)->state);
    assert_int_equal(BT_ERR_PREFLIGHT, claim(f, id, 1)->err.code);
    return id;
}

static void a_gang_starts_when_its_nodes_reach_each_other(void **state)
{
    struct fixture *f = *state;
    static const int64_t good[] = {1000, 990, 1010};
    struct bt_uuid id;

    begin(f);
    id = gang(f);
    assert_int_equal(BT_ERR_PREFLIGHT, claim(f, id, 1)->err.code); /* again: the same trial */
    open_trial(f);
    for (int r = 1; r < 3; r++) {
        assert_string_equal("10.0.0.1:7", shown[rank_at(r)].address);
        assert_int_equal(3, shown[rank_at(r)].world);
        ended(f, rank_at(r), TRIAL_OK, NULL, 0);
    }
    assert_int_equal(BT_ERR_PREFLIGHT, claim(f, id, 1)->err.code);
    assert_int_equal(BT_ERR_INVALID, ended(f, rank_at(0), TRIAL_OK, good, 2)->err.code);
    assert_int_equal(200, ended(f, rank_at(0), TRIAL_OK, good, 3)->http);
    assert_int_equal(-1, rank_at(0)); /* nobody is in a trial any more */
    assert_int_equal(200, claim(f, id, 1)->http);
    assert_int_equal(2, f->core->n_pairs); /* inside the first switch, and to the second */
    fixture_compare(f);
}

/* All three parts go well; the job then runs for so long and ends. */
static void try_and_run(struct fixture *f, struct bt_uuid id, int64_t seconds)
{
    static const int64_t good[] = {1000, 990, 1010};
    struct event *began, *over, *files;

    open_trial(f);
    for (int r = 1; r < 3; r++)
        ended(f, rank_at(r), TRIAL_OK, NULL, 0);
    assert_int_equal(200, ended(f, rank_at(0), TRIAL_OK, good, 3)->http);
    f->now_us += 2 * BT_US_PER_S; /* till the shepherd asks again */
    assert_int_equal(200, claim(f, id, 1)->http);
    began = from_agent(f, EV_STARTED, id);
    over = from_agent(f, EV_RANKS_ENDED, id);
    files = from_agent(f, EV_MANIFEST, id);
    began->u.started.job = over->u.ranks_ended.job = files->u.manifest.job = id;
    began->u.started.attempt = over->u.ranks_ended.attempt = files->u.manifest.attempt = 1;
    bt_copy(began->u.started.foreign_id, sizeof began->u.started.foreign_id, "slurm:1");
    over->u.ranks_ended.reason = END_EXITED;
    assert_int_equal(200, fixture_step(f, began)->http);
    f->now_us += seconds * BT_US_PER_S;
    assert_int_equal(200, fixture_step(f, over)->http);
    assert_int_equal(200, fixture_step(f, files)->http);
    assert_string_equal("completed", state_of(f, id)->state);
}

static void the_time_of_a_trial_is_not_charged(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id;

    begin(f);
    id = gang(f);
    f->now_us += 40 * BT_US_PER_S;
    try_and_run(f, id, 10);
    assert_int_equal(24 * 10 * 1000, state_of(f, id)->charged_mras);
    fixture_compare(f);
}

static void after_a_restart_a_trial_is_begun_again_and_still_not_charged(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id;
    int64_t first;
    int node;

    begin(f);
    id = gang(f);
    open_trial(f);
    node = rank_at(1);
    first = shown[node].id;
    f->now_us += 5 * BT_US_PER_S;
    fixture_restart(f);
    f->core->set.preflight_nodes = 3;
    memset(shown, 0, sizeof shown);
    assert_int_equal(BT_ERR_PREFLIGHT, claim(f, id, 1)->err.code);
    assert_int_equal(-1, rank_at(0)); /* its agents have not spoken */
    tick(f);
    assert_int_equal(BT_ERR_PREFLIGHT, claim(f, id, 1)->err.code);
    assert_true(rank_at(0) >= 0 && shown[rank_at(0)].id > first);
    shown[node].id = first; /* what is left of the first one is of nobody's interest */
    assert_int_equal(BT_ERR_NOT_FOUND, ended(f, node, TRIAL_LOST, NULL, 0)->err.code);
    f->now_us += 20 * BT_US_PER_S;
    try_and_run(f, id, 10);
    assert_int_equal(24 * 10 * 1000, state_of(f, id)->charged_mras);
    fixture_compare(f);
}

static void who_says_nothing_is_named_spared_and_the_gang_tried_again(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id;
    int64_t free;
    int silent;

    begin(f);
    id = gang(f);
    open_trial(f);
    silent = rank_at(2);
    free = f->core->accounts[0].free;
    ended(f, rank_at(1), TRIAL_LOST, NULL, 0);
    ended(f, rank_at(0), TRIAL_LOST, NULL, 0);
    for (int i = 0; i < 11; i++)
        tick(f);
    assert_string_equal("degraded", node_at(f, silent)->row.state);
    assert_string_equal("fabric: it did not answer in a trial", node_at(f, silent)->row.reason);
    for (int i = 0; i < NODES; i++)
        assert_string_equal(i == silent ? "degraded" : "up", node_at(f, i)->row.state);
    assert_string_equal("queued", state_of(f, id)->state);
    assert_int_equal(2, state_of(f, id)->attempt);
    assert_int_equal(0, state_of(f, id)->charged_mras);
    assert_int_equal(free, f->core->accounts[0].free); /* one hold given back, one taken */
    assert_int_equal(-1, rank_at(0));
    fixture_plan(f);
    assert_string_equal("starting", state_of(f, id)->state);
    fixture_compare(f);
}

static void a_trial_ends_with_its_attempt(void **state)
{
    struct fixture *f = *state;
    struct event *ev = fixture_event(EV_CANCEL, ALICE);

    begin(f);
    ev->u.cancel.job = gang(f);
    open_trial(f);
    fixture_step(f, ev);
    look(f);
    assert_int_equal(-1, rank_at(0));
    assert_int_equal(0, f->core->n_trials);
    fixture_compare(f);
}

/* Between each two switches, as often as the setting says. */
static void pairs_are_measured_by_idle_nodes_and_a_slow_one_is_known(void **state)
{
    struct fixture *f = *state;

    begin(f);
    f->core->set.pairs_every_us = 86400 * BT_US_PER_S;
    for (int round = 0; round < 40; round++) {
        tick(f);
        for (int i = 0; i < NODES; i++)
            if (shown[i].id && shown[i].rank == 0) {
                struct event *ev = fixture_event(EV_TRIAL_OPEN, AGENT(i));
                int other = -1;

                name_of(ev->u.trial_open.node, i);
                ev->u.trial_open.id = shown[i].id;
                bt_copy(ev->u.trial_open.address, sizeof ev->u.trial_open.address, "a:1");
                fixture_step(f, ev);
                look(f);
                for (int k = 0; k < NODES; k++)
                    if (k != i && shown[k].id == shown[i].id)
                        other = k;
                assert_true(other >= 0);
                /* the first switch and the last are joined badly */
                int64_t mbs = i / 2 == 0 && other / 2 == 3 ? 500 : 1000 + round;
                ended(f, other, TRIAL_OK, NULL, 0);
                assert_int_equal(200, ended(f, i, TRIAL_OK, &mbs, 1)->http);
            }
    }
    assert_int_equal(10, f->core->n_pairs); /* four inside, six between */
    for (int32_t i = 0; i < f->core->n_pairs; i++) {
        const struct row_switch_pair *p = &f->core->pairs[i].row;

        assert_string_equal(p->leaf_a == 1 && p->leaf_b == 4 ? "slow" : "good", p->state);
    }
    fixture_compare(f);
    for (int i = 0; i < 5; i++) /* a day has not passed */
        tick(f);
    assert_int_equal(-1, rank_at(0));
}

static void an_agent_of_an_older_release_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);

    begin(f);
    f->core->set.preflight_nodes = 3;
    for (int i = 0; i < NODES; i++)
        f->core->nodes[node_at(f, i)->row.id - 1].trials = false;
    assert_int_equal(201, submit(f, id)->http);
    fixture_plan(f);
    assert_int_equal(200, claim(f, id, 1)->http);
}

static int setup(void **state)
{
    memset(shown, 0, sizeof shown);
    return core_setup(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_gang_starts_when_its_nodes_reach_each_other),
        TEST(the_time_of_a_trial_is_not_charged),
        TEST(after_a_restart_a_trial_is_begun_again_and_still_not_charged),
        TEST(who_says_nothing_is_named_spared_and_the_gang_tried_again),
        TEST(a_trial_ends_with_its_attempt),
        TEST(pairs_are_measured_by_idle_nodes_and_a_slow_one_is_known),
        TEST(an_agent_of_an_older_release_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
