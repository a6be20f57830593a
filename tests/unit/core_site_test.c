/* A cluster's word about its nodes and about attempts that it has lost.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/unit/core_fixture.h"

static struct event *ask(const char *site, const char *state, const char *conf)
{
    struct event *ev = event_new(EV_ADMIN);
    struct ev_admin *a = &ev->u.admin;

    ev->who.kind = WHO_INSIDE;
    a->op = ADMIN_SITE;
    a->id = bt_uuid_new(bt_now_us());
    bt_copy(a->site, sizeof a->site, site);
    bt_copy(a->kind, sizeof a->kind, conf ? "slurm" : "");
    bt_copy(a->state, sizeof a->state, state);
    a->conf = conf ? bt_strdup(conf) : NULL;
    return ev;
}

static void report(struct fixture *f, const char *node, const char *trouble, bool reachable)
{
    struct event *ev = event_new(EV_SITE);
    struct ev_site *e = &ev->u.site;

    ev->who.kind = WHO_INSIDE;
    bt_copy(e->site, sizeof e->site, "geneva");
    e->reachable = reachable;
    e->n_nodes = node != NULL;
    e->nodes = bt_new_n(struct site_node, 1);
    if (node) {
        e->nodes[0].n_acc = 8;
        bt_copy(e->nodes[0].name, sizeof e->nodes[0].name, node);
        bt_copy(e->nodes[0].class, sizeof e->nodes[0].class, "h200");
        bt_copy(e->nodes[0].trouble, sizeof e->nodes[0].trouble, trouble);
    }
    fixture_step(f, ev);
}

static void add(struct fixture *f)
{
    assert_int_equal(200, fixture_step(f, ask("geneva", "", "{\"slurm_conf\":\"/c\"}"))->http);
    assert_int_equal(1, f->last->n_sites);
    assert_string_equal("geneva", f->last->sites[0].name);
    assert_string_equal("slurm", f->last->sites[0].kind);
}

static void a_slurm_site_needs_its_configuration(void **state)
{
    struct fixture *f = *state;
    struct event *ev = ask("geneva", "", NULL);

    bt_copy(ev->u.admin.kind, sizeof ev->u.admin.kind, "slurm");
    assert_int_equal(BT_ERR_INVALID, fixture_step(f, ev)->err.code);
    add(f);
    assert_int_equal(BT_ERR_INVALID, fixture_step(f, ask("geneva", "closed", NULL))->err.code);
    fixture_compare(f);
}

static void a_cluster_brings_nodes_that_work_once_their_agents_speak(void **state)
{
    struct fixture *f = *state;
    const struct node *n;

    add(f);
    report(f, "g1", "", true);
    n = node_find(f->core, "g1");
    assert_non_null(n);
    assert_int_equal(site_find(f->core, "geneva")->row.id, n->row.site);
    assert_int_equal(255, n->row.all_mask);
    assert_string_equal("down", n->row.state);
    fixture_compare(f);
}

/* What an operator says of n1. */
static const struct reply *say(struct fixture *f, const char *what, const char *reason)
{
    struct event *ev = event_new(EV_ADMIN);

    ev->who.kind = WHO_INSIDE;
    ev->u.admin.op = ADMIN_NODE;
    ev->u.admin.id = bt_uuid_new(bt_now_us());
    ev->u.admin.tier = -1;
    bt_copy(ev->u.admin.node, sizeof ev->u.admin.node, "n1");
    bt_copy(ev->u.admin.state, sizeof ev->u.admin.state, what);
    bt_copy(ev->u.admin.reason, sizeof ev->u.admin.reason, reason);
    return fixture_step(f, ev);
}

static void only_what_the_cluster_took_down_does_it_bring_up(void **state)
{
    struct fixture *f = *state;
    const struct node *n;

    add(f);
    report(f, "n1", "", true); /* an agent's node at a local site moves to its cluster */
    n = node_find(f->core, "n1");
    assert_int_equal(site_find(f->core, "geneva")->row.id, n->row.site);
    assert_string_equal("up", n->row.state);
    report(f, "n1", "slurm: drained", true);
    assert_string_equal("down", n->row.state);
    assert_string_equal("slurm: drained", n->row.reason);
    report(f, "n1", "slurm: used by others", true);
    assert_string_equal("slurm: used by others", n->row.reason);
    report(f, "n1", "", true);
    assert_string_equal("up", n->row.state);
    assert_int_equal(200, say(f, "down", "a broken fan")->http);
    report(f, "n1", "slurm: drained", true);
    report(f, "n1", "", true);
    assert_string_equal("a broken fan", n->row.reason);
}

static void an_operator_does_not_overrule_the_cluster(void **state)
{
    struct fixture *f = *state;
    const struct reply *a;
    const struct node *n;

    add(f);
    report(f, "n1", "slurm: drained", true);
    n = node_find(f->core, "n1");
    a = say(f, "up", "");
    assert_int_equal(BT_ERR_CONFLICT, a->err.code);
    assert_string_equal("the cluster of n1 gives it no work: slurm: drained", a->err.text);
    assert_string_equal("beamtime site diff geneva", a->err.next);
    assert_int_equal(200, say(f, "draining", "a broken fan")->http);
    a = say(f, "up", ""); /* the operator's own word is taken back */
    assert_int_equal(200, a->http);
    assert_string_equal("{\"changed\":true,\"state\":\"down\",\"reason\":\"slurm: drained\"}",
                        a->body);
    report(f, "n1", "", true);
    assert_string_equal("up", n->row.state);
    fixture_compare(f);
}

/* Whatever the cluster says first to the daemon that was started again. */
static void what_the_cluster_took_down_comes_up_after_a_restart(void **state)
{
    static const char *const first[] = {"", "slurm: drained", "slurm: down"};
    struct fixture *f = *state;

    add(f);
    report(f, "n1", "", true);
    for (size_t i = 0; i < BT_ARRAY_LEN(first); i++) {
        report(f, "n1", "slurm: drained", true);
        fixture_restart(f);
        report(f, "n1", first[i], true);
        if (*first[i])
            assert_string_equal(first[i], node_find(f->core, "n1")->row.reason);
        report(f, "n1", "", true);
        assert_string_equal("up", node_find(f->core, "n1")->row.state);
    }
    fixture_compare(f);
}

static void nothing_starts_where_the_cluster_does_not_answer(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    const struct job *j;

    add(f);
    report(f, "n1", "", true);
    report(f, NULL, "", false);
    assert_int_equal(201, fixture_submit(f, id, 1, 60)->http);
    j = job_find(f->core, id, NULL);
    fixture_plan(f);
    assert_int_equal(JOB_QUEUED, j->state);
    report(f, NULL, "", true);
    fixture_plan(f);
    assert_int_equal(JOB_STARTING, j->state);
    fixture_compare(f);
}

/* One node as its cluster places it. */
static const struct row_node *stands(struct fixture *f, const char *node, const char *leaf,
                                     const char *pod)
{
    struct event *ev = event_new(EV_SITE);
    struct ev_site *e = &ev->u.site;

    ev->who.kind = WHO_INSIDE;
    bt_copy(e->site, sizeof e->site, "geneva");
    e->reachable = true;
    e->n_nodes = 1;
    e->nodes = bt_new(struct site_node);
    e->nodes[0].n_acc = 8;
    bt_copy(e->nodes[0].name, sizeof e->nodes[0].name, node);
    bt_copy(e->nodes[0].class, sizeof e->nodes[0].class, "h200");
    bt_copy(e->nodes[0].leaf, sizeof e->nodes[0].leaf, leaf);
    bt_copy(e->nodes[0].pod, sizeof e->nodes[0].pod, pod);
    fixture_step(f, ev);
    fixture_compare(f);
    return &node_find(f->core, node)->row;
}

static void the_cluster_says_which_switch_a_node_is_on(void **state)
{
    struct fixture *f = *state;
    const struct row_node *n;
    int32_t left, right, top;

    add(f);
    left = stands(f, "g1", "left", "top")->leaf;
    top = node_find(f->core, "g1")->row.pod;
    n = stands(f, "g2", "right", "top");
    right = n->leaf;
    assert_true(left && right && top);
    assert_true(left != right && left != top && right != top);
    assert_int_equal(top, n->pod);
    assert_int_equal(left, stands(f, "g3", "left", "top")->leaf);
    /* it moves, and a switch without another above is its own pod */
    assert_int_equal(right, stands(f, "g3", "right", "top")->leaf);
    n = stands(f, "g3", "alone", "alone");
    assert_true(n->leaf > top);
    assert_int_equal(n->leaf, n->pod);
}

static void told_by_its_agent(struct fixture *f, const char *node, int32_t leaf)
{
    struct event *ev = fixture_event(EV_NODE_REPORT, node);
    struct ev_node_report *e = &ev->u.node_report;

    bt_copy(e->node, sizeof e->node, node);
    bt_copy(e->class, sizeof e->class, "h200");
    e->n_acc = 8;
    e->registers = true;
    e->leaf = leaf;
    e->pod = 1;
    assert_int_equal(200, fixture_step(f, ev)->http);
}

static void an_agents_switch_counts_only_where_the_cluster_names_none(void **state)
{
    struct fixture *f = *state;
    const struct row_node *n;

    add(f);
    assert_int_equal(0, stands(f, "g1", "", "")->leaf);
    fixture_enrol(f, "", "agent", "g1", "g");
    told_by_its_agent(f, "g1", 30);
    n = stands(f, "g1", "", "");
    assert_int_equal(30, n->leaf);
    n = stands(f, "g1", "left", "top");
    assert_true(n->leaf > 30); /* no number that an agent uses */
    told_by_its_agent(f, "g1", 40);
    n = stands(f, "g1", "left", "top");
    assert_true(n->leaf != 40);
    assert_int_equal(40, n->agent_leaf);
    n = stands(f, "g1", "", "");
    assert_int_equal(40, n->leaf);
    assert_int_equal(1, n->pod);
    assert_null(n->leaf_switch);
    told_by_its_agent(f, "g1", 0);
    assert_int_equal(0, node_find(f->core, "g1")->row.leaf);
}

static void unplace(struct fixture *f, struct bt_uuid id, int32_t attempt)
{
    struct event *ev = event_new(EV_UNPLACED);

    ev->who.kind = WHO_INSIDE;
    ev->u.unplaced.job = id;
    ev->u.unplaced.attempt = attempt;
    bt_copy(ev->u.unplaced.text, sizeof ev->u.unplaced.text, "Slurm does not know it any more");
    fixture_step(f, ev);
}

static void an_attempt_that_its_cluster_lost_is_tried_again_unless_it_was_claimed(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    const struct job *j;
    struct event *ev;

    add(f);
    report(f, "n1", "", true);
    fixture_submit(f, id, 1, 60);
    j = job_find(f->core, id, NULL);
    fixture_plan(f);
    assert_int_equal(JOB_STARTING, j->state);
    assert_string_equal("n1", f->last->wants[0].hosts);
    assert_int_equal(1, f->last->wants[0].per_host);
    unplace(f, id, 2); /* another attempt: nothing to do with it */
    assert_int_equal(JOB_STARTING, j->state);
    unplace(f, id, 1);
    assert_int_equal(JOB_QUEUED, j->state);
    assert_int_equal(2, j->attempt);
    assert_int_equal(0, j->charged_mras);
    fixture_plan(f);
    ev = fixture_event(EV_CLAIM, NODE1);
    ev->u.claim.job = id;
    ev->u.claim.attempt = 2;
    bt_copy(ev->u.claim.foreign_id, sizeof ev->u.claim.foreign_id, "slurm:7");
    assert_int_equal(200, fixture_step(f, ev)->http);
    unplace(f, id, 2);
    assert_int_equal(JOB_STARTING, j->state);
    assert_int_equal(BT_ERR_CONFLICT, fixture_step(f, ask("geneva", "removed", NULL))->err.code);
    fixture_compare(f);
}

static void a_draining_site_starts_nothing_and_keeps_its_clearance(void **state)
{
    struct fixture *f = *state;
    struct bt_uuid id = fixture_id(f);
    struct event *ev;

    add(f);
    ev = ask("geneva", "draining", NULL);
    report(f, "n1", "", true);
    fixture_step(f, ev);
    fixture_submit(f, id, 1, 60);
    fixture_plan(f);
    assert_int_equal(JOB_QUEUED, job_find(f->core, id, NULL)->state);
    assert_int_equal(200, fixture_step(f, ask("here", "up", NULL))->http);
    assert_int_equal(1, site_find(f->core, "here")->row.tier);
}

static struct event *map(const char *person_1, const char *person_2, const char *account)
{
    struct event *ev = event_new(EV_ADMIN);
    struct ev_admin *a = &ev->u.admin;

    ev->who.kind = WHO_INSIDE;
    a->op = ADMIN_UNIXMAPS;
    a->id = bt_uuid_new(bt_now_us());
    a->maps = bt_new_n(struct unixmap_line, 2);
    a->n_maps = 2;
    for (int i = 0; i < 2; i++) {
        a->maps[i].line = 4 + i;
        bt_copy(a->maps[i].nation, sizeof a->maps[i].nation, "cz");
        bt_copy(a->maps[i].person, sizeof a->maps[i].person, i ? person_2 : person_1);
        bt_copy(a->maps[i].site, sizeof a->maps[i].site, "geneva");
        bt_copy(a->maps[i].unixname, sizeof a->maps[i].unixname, account);
    }
    return ev;
}

static void a_list_of_accounts_is_done_whole_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    const struct person *alice = person_find(f->core, nation_find(f->core, "cz")->row.id, "alice");
    int32_t site;
    const struct reply *r;

    add(f);
    site = site_find(f->core, "geneva")->row.id;
    assert_non_null(alice);
    r = fixture_step(f, map("alice", "nobody", "adoe"));
    assert_int_equal(BT_ERR_NOT_FOUND, r->err.code);
    assert_string_equal("1 of 2 lines cannot be done, so none was", r->err.text);
    assert_string_equal("\"missing\":[{\"lock\":\"line 5\",\"text\":\"nation cz has no person "
                        "'nobody'\",\"next\":\"beamtime person list\"}]",
                        r->more);
    assert_string_equal("", unixname_of(f->core, alice->row.id, site));
    r = fixture_step(f, map("alice", "alice", "adoe"));
    assert_int_equal(BT_ERR_INVALID, r->err.code);
    assert_non_null(strstr(r->more, "is in line 4 already"));
    assert_int_equal(BT_ERR_INVALID, fixture_step(f, map("alice", "zdenka", "root"))->err.code);
    r = fixture_step(f, map("alice", "zdenka", "adoe"));
    assert_int_equal(200, r->http);
    assert_string_equal("{\"changed\":true,\"lines\":2}", r->body);
    assert_string_equal("adoe", unixname_of(f->core, alice->row.id, site));
    r = fixture_step(f, map("alice", "zdenka", "adoe"));
    assert_string_equal("{\"changed\":false,\"lines\":2}", r->body);
    fixture_compare(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_cluster_says_which_switch_a_node_is_on, core_setup,
                                        core_teardown),
        cmocka_unit_test_setup_teardown(an_agents_switch_counts_only_where_the_cluster_names_none,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(a_slurm_site_needs_its_configuration, core_setup,
                                        core_teardown),
        cmocka_unit_test_setup_teardown(a_cluster_brings_nodes_that_work_once_their_agents_speak,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(an_operator_does_not_overrule_the_cluster, core_setup,
                                        core_teardown),
        cmocka_unit_test_setup_teardown(only_what_the_cluster_took_down_does_it_bring_up,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(what_the_cluster_took_down_comes_up_after_a_restart,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(nothing_starts_where_the_cluster_does_not_answer,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(
            an_attempt_that_its_cluster_lost_is_tried_again_unless_it_was_claimed, core_setup,
            core_teardown),
        cmocka_unit_test_setup_teardown(a_draining_site_starts_nothing_and_keeps_its_clearance,
                                        core_setup, core_teardown),
        cmocka_unit_test_setup_teardown(a_list_of_accounts_is_done_whole_or_not_at_all, core_setup,
                                        core_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
