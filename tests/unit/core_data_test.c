/* Data sets of sites: declared, taken back, and the jobs that run only where theirs are.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "tests/unit/core_fixture.h"

#define NODE2 "g"

/* The site geneva with one node, g1, like n1 of the site here. */
static void add_geneva(struct fixture *f)
{
    struct event *ev = event_new(EV_ADMIN);

    ev->who.kind = WHO_INSIDE;
    ev->u.admin.op = ADMIN_SITE;
    ev->u.admin.id = fixture_id(f);
    ev->u.admin.tier = 1;
    ev->u.admin.until_us = INT64_MAX;
    bt_copy(ev->u.admin.site, sizeof ev->u.admin.site, "geneva");
    bt_copy(ev->u.admin.kind, sizeof ev->u.admin.kind, "slurm");
    ev->u.admin.conf = bt_strdup("{\"slurm_conf\":\"/c\"}");
    assert_int_equal(fixture_step(f, ev)->http, 200);
    ev = event_new(EV_SITE);
    ev->who.kind = WHO_INSIDE;
    bt_copy(ev->u.site.site, sizeof ev->u.site.site, "geneva");
    ev->u.site.reachable = true;
    ev->u.site.n_nodes = 1;
    ev->u.site.nodes = bt_new_n(struct site_node, 1);
    ev->u.site.nodes[0].n_acc = 4;
    bt_copy(ev->u.site.nodes[0].name, sizeof ev->u.site.nodes[0].name, "g1");
    bt_copy(ev->u.site.nodes[0].class, sizeof ev->u.site.nodes[0].class, "cpu");
    fixture_step(f, ev);
    fixture_enrol(f, "", "agent", "g1", NODE2);
    ev = fixture_event(EV_NODE_REPORT, NODE2);
    bt_copy(ev->u.node_report.node, sizeof ev->u.node_report.node, "g1");
    bt_copy(ev->u.node_report.class, sizeof ev->u.node_report.class, "cpu");
    ev->u.node_report.n_acc = 4;
    ev->u.node_report.registers = true;
    assert_int_equal(fixture_step(f, ev)->http, 200);
}

static int setup(void **state)
{
    int rc = core_setup(state);

    add_geneva(*state);
    return rc;
}

/* digest: of which 32 such bytes it consists; 0: none. */
static struct event *says(struct fixture *f, const char *site, const char *name, const char *path,
                          uint8_t digest)
{
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);
    struct ev_admin *e = &ev->u.admin;

    e->op = ADMIN_DATASET;
    e->id = fixture_id(f);
    bt_copy(e->site, sizeof e->site, site);
    bt_copy(e->name, sizeof e->name, name);
    if (path)
        e->path = bt_strdup(path);
    else
        bt_copy(e->state, sizeof e->state, "removed");
    memset(e->spki, digest, sizeof e->spki);
    return ev;
}

static void declare(struct fixture *f, const char *site, const char *name, uint8_t digest)
{
    BT_AUTO char *path = bt_printf("/%s/%s", site, name);
    const struct reply *r = fixture_step(f, says(f, site, name, path, digest));

    if (r->err.code)
        fail_msg("%s", r->err.text);
}

static void take_back(struct fixture *f, const char *site, const char *name)
{
    assert_int_equal(fixture_step(f, says(f, site, name, NULL, 0))->http, 200);
}

static const struct reply *asks(struct fixture *f, struct bt_uuid id, const char *names,
                                int32_t accelerators)
{
    struct event *ev = fixture_ask(id, accelerators, 600);

    bt_copy(ev->u.submit.spec.datasets, sizeof ev->u.submit.spec.datasets, names);
    return fixture_step(f, ev);
}

static void cancel_of(struct fixture *f, struct bt_uuid id)
{
    struct event *ev = fixture_event(EV_CANCEL, ALICE);

    ev->u.cancel.job = id;
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
}

static const char *state_now(struct fixture *f, struct bt_uuid id)
{
    return state_of(f, id)->state;
}

static const char *site_of_job(struct fixture *f, struct bt_uuid id)
{
    const struct job *j = job_find(f->core, id, NULL);

    return j->att ? f->core->sites[j->att->site - 1].row.name : "";
}

static void what_cannot_be_declared_is_refused_with_why(void **s)
{
    static const struct {
        const char *site, *name, *path;
        uint8_t digest;
        enum bt_errno code;
        const char *why;
    } rows[] = {
        {"paris", "c4", "/c4", 0, BT_ERR_NOT_FOUND, "there is no site 'paris'"},
        {"here", "C4", "/c4", 0, BT_ERR_INVALID, "'C4' cannot be the name of a data set"},
        {"here", "x", "c4", 0, BT_ERR_INVALID, "the path of a data set is absolute"},
        {"here", "x", "/c4/../..", 0, BT_ERR_INVALID, "the path of a data set is absolute"},
        {"here", "x", "/c4;reboot", 0, BT_ERR_INVALID, "the path of a data set is absolute"},
        {"here", "x", "/c4\nX=1", 0, BT_ERR_INVALID, "the path of a data set is absolute"},
        {"here", "web_2", "/w", 0, BT_ERR_CONFLICT,
         "site here has data set web-2, whose path jobs find in BEAM_DATASET_WEB_2 too"},
        {"geneva", "c4", "/c4", 8, BT_ERR_CONFLICT, "this would not be the same data"},
        {"here", "nosuch", NULL, 0, BT_ERR_NOT_FOUND, "site here declares no data set 'nosuch'"},
    };
    struct fixture *f = *s;
    struct event *ev;

    declare(f, "here", "c4", 7);
    declare(f, "here", "web-2", 0);
    for (size_t i = 0; i < BT_ARRAY_LEN(rows); i++) {
        const struct reply *r =
            fixture_step(f, says(f, rows[i].site, rows[i].name, rows[i].path, rows[i].digest));

        if ((enum bt_errno)r->err.code != rows[i].code || !strstr(r->err.text, rows[i].why))
            fail_msg("%s: %d, %s", rows[i].name, r->err.code, r->err.text);
    }
    ev = says(f, "here", "mine", "/mine", 0); /* only operators and the council may */
    memset(ev->who.spki, ALICE[0], sizeof ev->who.spki);
    assert_int_equal(fixture_step(f, ev)->err.code, BT_ERR_FORBIDDEN);
    declare(f, "geneva", "c4", 0); /* one has a digest, the other none */
    declare(f, "geneva", "web-2", 9);
    assert_int_equal(fixture_step(f, says(f, "here", "web-2", "/w", 8))->err.code, BT_ERR_CONFLICT);
    declare(f, "here", "web-2", 9);
    fixture_compare(f);
}

static void a_request_is_not_done_twice(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid id = fixture_id(f);
    int events;

    for (int again = 0; again < 2; again++) {
        struct event *ev = says(f, "here", "c4", "/data/c4", 0);
        const struct reply *r;

        ev->u.admin.id = id;
        r = fixture_step(f, ev);
        assert_int_equal(r->http, 200);
        assert_string_equal(r->body, "{\"changed\":true}");
        if (!again)
            take_back(f, "here", "c4");
    }
    assert_int_equal(data_stores(f->core, "c4"), PLAN_NO_STORE);
    events = f->db.list[ROW_KIND_event].n;
    declare(f, "here", "c4", 0);
    assert_int_equal(f->db.list[ROW_KIND_event].n, events + 1);
    declare(f, "here", "c4", 0); /* says nothing new */
    assert_int_equal(f->db.list[ROW_KIND_event].n, events + 1);
    fixture_compare(f);
}

static void places_of_what_was_taken_back_are_used_again(void **s)
{
    struct fixture *f = *s;
    char name[16];

    for (int i = 0; i < DATASETS_A_SITE; i++) {
        snprintf(name, sizeof name, "d%d", i);
        declare(f, "here", name, 0);
    }
    assert_int_equal(fixture_step(f, says(f, "here", "more", "/more", 0))->err.code,
                     BT_ERR_TOO_MANY);
    take_back(f, "here", "d7");
    declare(f, "here", "more", 3);
    assert_int_equal(f->core->n_datasets, DATASETS_A_SITE);
    assert_string_equal(f->core->datasets[7].row.name, "more");
    take_back(f, "here", "d9");
    fixture_compare(f);
    fixture_restart(f);
    declare(f, "here", "d7", 0);
    assert_string_equal(f->core->datasets[9].row.name, "d7");
    assert_int_equal(f->core->n_datasets, DATASETS_A_SITE);
    fixture_compare(f);
}

static void a_job_goes_where_all_its_data_is(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid here = fixture_id(f), there = fixture_id(f);
    struct bt_uuid first = fixture_id(f), second = fixture_id(f);
    const struct reply *r;

    declare(f, "here", "c4", 7);
    declare(f, "geneva", "c4", 0);
    declare(f, "geneva", "wiki", 0);
    declare(f, "here", "code", 0);
    r = asks(f, fixture_id(f), "c4 nosuch", 1);
    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_non_null(strstr(r->err.text, "data set nosuch: no site holds it"));
    assert_string_equal(r->err.next, "beamtime dataset list");
    r = asks(f, fixture_id(f), "code wiki", 1);
    assert_non_null(strstr(r->err.text, "data sets code, wiki: no site holds all of them"));
    r = asks(f, fixture_id(f), "wiki", 5); /* here and there have eight */
    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_non_null(strstr(r->err.text, "asks for 5 accelerators where its data sets are"));
    r = asks(f, fixture_id(f), "c4", 8); /* and no gang spans both */
    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_int_equal(asks(f, first, "c4", 4)->http, 201);
    assert_int_equal(asks(f, second, "c4", 4)->http, 201);
    assert_int_equal(asks(f, there, "c4 wiki", 4)->http, 201);
    assert_int_equal(asks(f, here, "c4 code", 4)->http, 201);
    fixture_compare(f);
    cancel_of(f, first);
    cancel_of(f, second);
    fixture_plan(f);
    assert_string_equal(site_of_job(f, there), "geneva");
    assert_string_equal(site_of_job(f, here), "here");
    fixture_compare(f);
    fixture_restart(f);
    assert_string_equal(job_find(f->core, there, NULL)->att->datasets,
                        "[{\"name\":\"c4\",\"path\":\"/geneva/c4\"},"
                        "{\"name\":\"wiki\",\"path\":\"/geneva/wiki\"}]");
}

/* What the plan in memory says of a job that waits. */
static char *why(struct fixture *f, struct bt_uuid id)
{
    const struct plan_slot *slot = plan_slot_of(f->core->plan, id);
    struct bt_buf text = {0};

    assert_non_null(slot);
    plan_reason(f->core->plan, slot, &text);
    return bt_buf_take(&text);
}

static void a_job_whose_data_was_taken_back_waits_until_some_site_has_it(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid first = fixture_id(f), second = fixture_id(f);

    declare(f, "here", "c4", 0);
    assert_int_equal(asks(f, first, "c4", 4)->http, 201);
    assert_int_equal(asks(f, second, "c4", 4)->http, 201);
    fixture_plan(f);
    assert_string_equal(state_now(f, first), "starting");
    take_back(f, "here", "c4");
    fixture_plan(f);
    assert_string_equal(state_now(f, first), "starting"); /* what was begun goes on */
    assert_string_equal(state_now(f, second), "queued");
    {
        BT_AUTO char *text = why(f, second);

        assert_string_equal(text, "waits for data set c4: no site holds it");
    }
    fixture_compare(f);
    fixture_restart(f);
    declare(f, "geneva", "c4", 0); /* g1 has not spoken since */
    fixture_plan(f);
    assert_string_equal(state_now(f, second), "queued");
    {
        struct event *ev = fixture_event(EV_NODE_REPORT, NODE2);

        bt_copy(ev->u.node_report.node, sizeof ev->u.node_report.node, "g1");
        assert_int_equal(fixture_step(f, ev)->http, 200);
    }
    fixture_plan(f);
    assert_string_equal(state_now(f, second), "starting");
    assert_string_equal(site_of_job(f, second), "geneva");
    fixture_compare(f);
}

/* The plan was made before the data went: the core looks again. */
static void no_job_starts_where_its_data_no_longer_is(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid id = fixture_id(f);
    struct plan *p;
    struct event *ev;

    declare(f, "here", "c4", 0);
    assert_int_equal(asks(f, id, "c4", 1)->http, 201);
    p = core_snapshot(f->core, 1);
    assert_int_equal(sched_plan(&p->in, &p->out, NULL), 0);
    plan_made(p);
    assert_true(p->out.slots[0].starts_now);
    take_back(f, "here", "c4");
    declare(f, "geneva", "c4", 0); /* takes the store that was here's */
    ev = event_new(EV_PLAN_READY);
    ev->u.plan_ready.plan = p;
    fixture_step(f, ev);
    assert_string_equal(state_now(f, id), "queued");
    fixture_plan(f);
    assert_string_equal(site_of_job(f, id), "geneva");
    fixture_compare(f);
}

static void data_of_a_site_that_was_removed_is_nowhere(void **s)
{
    struct fixture *f = *s;
    struct event *ev;

    declare(f, "geneva", "c4", 0);
    assert_int_equal(data_stores(f->core, "c4"), 1);
    for (int back = 0; back < 2; back++) {
        ev = event_new(EV_ADMIN);
        ev->who.kind = WHO_INSIDE;
        ev->u.admin.op = ADMIN_SITE;
        ev->u.admin.id = fixture_id(f);
        ev->u.admin.tier = -1;
        bt_copy(ev->u.admin.site, sizeof ev->u.admin.site, "geneva");
        bt_copy(ev->u.admin.state, sizeof ev->u.admin.state, back ? "up" : "removed");
        assert_int_equal(fixture_step(f, ev)->http, 200);
        assert_int_equal(data_stores(f->core, "c4"), back ? 1 : PLAN_NO_STORE);
        fixture_compare(f);
    }
}

static struct event *speaks(enum event_kind kind, struct bt_uuid id)
{
    struct event *ev = fixture_event(kind, NODE1);

    switch (kind) {
    case EV_CLAIM:
        ev->u.claim.job = id;
        ev->u.claim.attempt = 1;
        bt_copy(ev->u.claim.foreign_id, sizeof ev->u.claim.foreign_id, "local:1");
        break;
    case EV_STARTED:
        ev->u.started.job = id;
        ev->u.started.attempt = 1;
        bt_copy(ev->u.started.foreign_id, sizeof ev->u.started.foreign_id, "local:1");
        break;
    case EV_RANKS_ENDED:
        ev->u.ranks_ended.job = id;
        ev->u.ranks_ended.attempt = 1;
        break;
    default:
        ev->u.manifest.job = id;
        ev->u.manifest.attempt = 1;
    }
    return ev;
}

/* The last leaf of that kind in the database. */
static const char *leaf(struct fixture *f, const char *kind)
{
    const struct row_list *l = &f->db.list[ROW_KIND_ledger];

    for (int i = l->n; i > 0; i--)
        if (bt_streq(((const struct row_ledger *)l->v)[i - 1].kind, kind))
            return ((const struct row_ledger *)l->v)[i - 1].body;
    return "";
}

static void a_shepherd_hears_where_the_data_was_and_the_ledger_what_it_was(void **s)
{
    static const enum event_kind life[] = {EV_STARTED, EV_RANKS_ENDED, EV_MANIFEST};
    struct fixture *f = *s;
    struct bt_uuid id = fixture_id(f);
    uint8_t digest[32];
    char hex[65];

    memset(digest, 7, sizeof digest);
    bt_hex(digest, sizeof digest, hex);
    declare(f, "here", "c4", 7);
    declare(f, "here", "code", 0);
    assert_int_equal(asks(f, id, "c4 code", 1)->http, 201);
    fixture_plan(f);
    take_back(f, "here", "code");
    for (int again = 0; again < 2; again++) { /* the same shepherd hears the same */
        BT_AUTO char *want =
            bt_printf("{\"granted\":true,\"datasets\":[{\"name\":\"c4\",\"path\":\"/here/c4\","
                      "\"digest\":\"sha256:%s\"},{\"name\":\"code\",\"path\":\"/here/code\"}]}",
                      hex);

        assert_string_equal(fixture_step(f, speaks(EV_CLAIM, id))->body, want);
        declare(f, "here", "c4", 8); /* too late for this attempt */
        fixture_restart(f);
    }
    for (size_t i = 0; i < BT_ARRAY_LEN(life); i++)
        assert_int_equal(fixture_step(f, speaks(life[i], id))->err.code, 0);
    assert_string_equal(state_now(f, id), "completed");
    {
        BT_AUTO char *want = bt_printf(
            "\"datasets\":[{\"name\":\"c4\",\"sha256\":\"%s\"},{\"name\":\"code\"}]", hex);

        assert_non_null(strstr(leaf(f, "submit"), want));
        assert_non_null(strstr(leaf(f, "record"), want));
    }
    fixture_compare(f);
}

static void who_never_started_names_its_data_alone(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid id = fixture_id(f), plain = fixture_id(f);

    declare(f, "here", "c4", 7);
    assert_int_equal(asks(f, id, "c4", 1)->http, 201);
    assert_int_equal(asks(f, plain, "", 1)->http, 201);
    cancel_of(f, id);
    assert_non_null(strstr(leaf(f, "record"), "\"datasets\":[{\"name\":\"c4\"}]"));
    cancel_of(f, plain);
    assert_null(strstr(leaf(f, "record"), "datasets"));
    fixture_compare(f);
}

/* What a site's cluster says: nobody has an account there who is not mapped. */
static void knows_only_the_mapped(struct fixture *f, const char *site, bool maps)
{
    struct event *ev = event_new(EV_SITE);

    ev->who.kind = WHO_INSIDE;
    bt_copy(ev->u.site.site, sizeof ev->u.site.site, site);
    ev->u.site.reachable = true;
    ev->u.site.maps = maps;
    fixture_step(f, ev);
}

static void map_alice(struct fixture *f, const char *site)
{
    struct event *ev = fixture_event(EV_ADMIN, CHAIR);
    struct ev_admin *e = &ev->u.admin;

    e->op = ADMIN_UNIXMAP;
    e->id = fixture_id(f);
    bt_copy(e->nation, sizeof e->nation, "cz");
    bt_copy(e->person, sizeof e->person, "alice");
    bt_copy(e->site, sizeof e->site, site);
    bt_copy(e->text, sizeof e->text, "aprague");
    assert_int_equal(fixture_step(f, ev)->err.code, 0);
}

static void jobs_go_where_their_person_has_an_account(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid here = fixture_id(f), there = fixture_id(f);
    const struct reply *r;
    char *text;

    knows_only_the_mapped(f, "geneva", true);
    assert_int_equal(fixture_submit(f, here, 4, 600)->http, 201);
    fixture_plan(f);
    assert_string_equal(site_of_job(f, here), "here");
    assert_int_equal(fixture_submit(f, there, 4, 601)->http, 201);
    fixture_plan(f);
    assert_string_equal(state_now(f, there), "queued");
    text = why(f, there);
    assert_non_null(strstr(text, "waits for 1 node at a site where its person has an account"));
    bt_free(text);
    r = fixture_submit(f, fixture_id(f), 8, 602); /* both sites' nodes together */
    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_non_null(strstr(r->err.text, "asks for 8 accelerators where its person has an account"));
    fixture_compare(f);

    map_alice(f, "geneva");
    fixture_plan(f);
    assert_string_equal(site_of_job(f, there), "geneva");
    fixture_compare(f);
}

static void who_has_no_account_anywhere_is_told_what_mends_it(void **s)
{
    struct fixture *f = *s;
    struct bt_uuid id = fixture_id(f);
    const struct reply *r;
    char *text;

    assert_int_equal(fixture_submit(f, id, 4, 600)->http, 201);
    knows_only_the_mapped(f, "geneva", true);
    knows_only_the_mapped(f, "here", true);
    fixture_plan(f);
    assert_string_equal(state_now(f, id), "queued");
    text = why(f, id);
    assert_non_null(strstr(text, "waits for an account of its person at a site where it may run"));
    bt_free(text);
    r = fixture_submit(f, fixture_id(f), 1, 600);
    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_non_null(strstr(r->more, "no site has a Unix account for cz/alice"));
    assert_non_null(strstr(r->more, "beamtime person map cz/alice SITE ACCOUNT"));
    declare(f, "here", "c4", 0);
    map_alice(f, "geneva");
    r = asks(f, fixture_id(f), "c4", 1);
    assert_int_equal(r->err.code, BT_ERR_IMPOSSIBLE);
    assert_non_null(strstr(r->more, "no site that holds its data sets has a Unix account"));
    fixture_plan(f);
    assert_string_equal(site_of_job(f, id), "geneva");
    knows_only_the_mapped(f, "here", false);
    assert_int_equal(asks(f, fixture_id(f), "c4", 1)->http, 201);
    fixture_compare(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_go_where_their_person_has_an_account),
        TEST(who_has_no_account_anywhere_is_told_what_mends_it),
        TEST(what_cannot_be_declared_is_refused_with_why),
        TEST(a_request_is_not_done_twice),
        TEST(places_of_what_was_taken_back_are_used_again),
        TEST(a_job_goes_where_all_its_data_is),
        TEST(a_job_whose_data_was_taken_back_waits_until_some_site_has_it),
        TEST(no_job_starts_where_its_data_no_longer_is),
        TEST(data_of_a_site_that_was_removed_is_nowhere),
        TEST(a_shepherd_hears_where_the_data_was_and_the_ledger_what_it_was),
        TEST(who_never_started_names_its_data_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
