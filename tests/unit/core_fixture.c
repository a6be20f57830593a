/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/check.h"

#include "tests/unit/core_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"
#include "lib/crypto/hash.h"
#include "policy/load.h"

static const int key_columns[ROW_KINDS] = {
    [ROW_KIND_nation] = 1,     [ROW_KIND_institution] = 1, [ROW_KIND_person] = 1,
    [ROW_KIND_project] = 1,    [ROW_KIND_member] = 2,      [ROW_KIND_account] = 1,
    [ROW_KIND_credential] = 1, [ROW_KIND_token] = 1,       [ROW_KIND_site] = 1,
    [ROW_KIND_node] = 1,       [ROW_KIND_unixmap] = 2,     [ROW_KIND_policy] = 1,
    [ROW_KIND_job] = 1,        [ROW_KIND_attempt] = 2,     [ROW_KIND_alloc] = 2,
    [ROW_KIND_job_state] = 1,  [ROW_KIND_balance] = 1,     [ROW_KIND_rate] = 0,
    [ROW_KIND_guarantee] = 2,  [ROW_KIND_outage] = 1,      [ROW_KIND_request] = 1,
    [ROW_KIND_dataset] = 1,
};

/* Column by column: what lies between them is not theirs. */
static bool same_key(enum row_kind kind, int n, const char *a, const char *b)
{
    static const size_t size[] = {[ROW_i32] = sizeof(int32_t),
                                  [ROW_i64] = sizeof(int64_t),
                                  [ROW_bits] = sizeof(int64_t),
                                  [ROW_uuid] = sizeof(struct bt_uuid),
                                  [ROW_b32] = sizeof(struct row_b32)};

    for (int i = 0; i < n; i++) {
        const struct row_column *c = &row_shapes[kind].columns[i];

        assert_true(c->type != ROW_text); /* no key is one */
        if (memcmp(a + c->offset, b + c->offset, size[c->type]) != 0)
            return false;
    }
    return true;
}

static void *db_find(struct fixture *f, enum row_kind kind, const void *row, int n_key)
{
    struct row_list *l = &f->db.list[kind];

    for (int i = 0; n_key && i < l->n; i++) {
        void *at = (char *)l->v + (size_t)i * row_shapes[kind].size;

        if (same_key(kind, n_key, at, row))
            return at;
    }
    return NULL;
}

static void db_put(struct fixture *f, enum row_kind kind, const void *row)
{
    void *at = db_find(f, kind, row, key_columns[kind]);

    if (at)
        row_free_texts(kind, at);
    else
        at = rows_add(&f->db, kind);
    row_copy(kind, at, row);
}

static void db_unalloc(struct fixture *f, const struct row_alloc_del *d)
{
    struct row_list *l = &f->db.list[ROW_KIND_alloc];
    struct row_alloc *v = l->v;

    for (int i = 0; i < l->n; i++)
        if (bt_uuid_eq(v[i].job, d->job) && v[i].node == d->node) {
            v[i] = v[--l->n];
            return;
        }
    fail_msg("an allocation was deleted that is not there");
}

static void balance_add(struct fixture *f, int32_t account, const struct row_entry *e)
{
    struct row_balance zero = {.id = account};
    struct row_balance *b;

    if (account == ROW_NULL32)
        return;
    b = db_find(f, ROW_KIND_balance, &zero, 1);
    assert_non_null(b);
    b->free += e->d_free;
    b->held += e->d_held;
    b->spent += e->d_spent;
    b->granted += e->d_free + e->d_held + e->d_spent;
    assert_true(b->held >= 0 && b->spent >= 0);
}

static void commit_kind(struct fixture *f, enum row_kind kind, const void *row)
{
    const struct row_entry *e = row;

    switch (kind) {
    case ROW_KIND_account_set: {
        const struct row_account_set *s = row;
        struct row_account *a = db_find(f, ROW_KIND_account, row, 1);

        a->overdraft = s->overdraft;
        a->from_us = s->from_us;
        a->until_us = s->until_us;
        break;
    }
    case ROW_KIND_entry:
        balance_add(f, e->nation, e);
        balance_add(f, e->project, e);
        balance_add(f, e->person, e);
        db_put(f, kind, row);
        break;
    case ROW_KIND_alloc_del:
        db_unalloc(f, row);
        break;
    case ROW_KIND_account:
        db_put(f, kind, row);
        if (!db_find(f, ROW_KIND_balance, row, 1)) {
            struct row_balance *b = rows_add(&f->db, ROW_KIND_balance);

            b->id = ((const struct row_account *)row)->id;
        }
        break;
    default:
        db_put(f, kind, row);
    }
}

static void commit(struct fixture *f, const struct batch *b)
{
    for (int k = 0; k < ROW_KINDS; k++)
        for (int i = 0; i < b->rows.list[k].n; i++)
            commit_kind(f, (enum row_kind)k,
                        (const char *)b->rows.list[k].v + (size_t)i * row_shapes[k].size);
}

struct event *fixture_event(enum event_kind kind, const char *spki)
{
    struct event *ev = event_new(kind);

    ev->who.kind = WHO_PERSON;
    memset(ev->who.spki, spki[0], sizeof ev->who.spki);
    if (kind == EV_ADMIN)
        ev->u.admin.body_sha256[0] = 1; /* all zeroes are NULL in the database */
    return ev;
}

const struct reply *fixture_step(struct fixture *f, struct event *ev)
{
    const struct reply *r = NULL;

    batch_free(f->last);
    f->last = batch_new();
    ev->at_us = f->now_us;
    ev->reply_to = ++f->next_reply;
    core_step(f->core, ev, f->last);
    commit(f, f->last);
    if (f->also)
        f->also(f, f->last);
    for (int i = 0; i < f->last->n_replies; i++)
        if (f->last->replies[i].to == ev->reply_to)
            r = &f->last->replies[i];
    event_free(ev);
    return r;
}

static struct event *admin(enum admin_op op, const char *nation)
{
    struct event *ev = event_new(EV_ADMIN);

    ev->who.kind = WHO_INSIDE;
    ev->u.admin.op = op;
    ev->u.admin.id = bt_uuid_new(bt_now_us());
    bt_copy(ev->u.admin.nation, sizeof ev->u.admin.nation, nation);
    return ev;
}

static void must(struct fixture *f, struct event *ev)
{
    const struct reply *r = fixture_step(f, ev);

    if (r->err.code)
        fail_msg("%s", r->err.text);
}

void fixture_enrol(struct fixture *f, const char *nation, const char *kind, const char *subject,
                   const char *key)
{
    struct event *ev = admin(ADMIN_TOKEN, nation);

    bt_copy(ev->u.admin.kind, sizeof ev->u.admin.kind, kind);
    bt_copy(ev->u.admin.subject, sizeof ev->u.admin.subject, subject);
    memset(ev->u.admin.secret_sha256, key[0] ^ 0x80, 32);
    ev->u.admin.until_us = INT64_MAX;
    must(f, ev);
    ev = event_new(EV_ENROL);
    memset(ev->u.enrol.token_sha256, key[0] ^ 0x80, 32);
    memset(ev->u.enrol.spki, key[0], 32);
    ev->u.enrol.not_after_us = INT64_MAX;
    must(f, ev);
}

static void person(struct fixture *f, const char *nation, const char *name, int32_t roles,
                   const char *key)
{
    struct event *ev = admin(ADMIN_PERSON, nation);

    bt_copy(ev->u.admin.person, sizeof ev->u.admin.person, name);
    ev->u.admin.roles = roles;
    must(f, ev);
    fixture_enrol(f, nation, "person", name, key);
}

static void quota(struct fixture *f, const char *project, int64_t mras)
{
    struct event *ev = admin(ADMIN_QUOTA, "cz");

    bt_copy(ev->u.admin.project, sizeof ev->u.admin.project, project);
    ev->u.admin.amount_mras = mras;
    must(f, ev);
}

static void node(struct fixture *f)
{
    struct event *ev = admin(ADMIN_SITE, "");

    bt_copy(ev->u.admin.site, sizeof ev->u.admin.site, "here");
    ev->u.admin.tier = 1;
    ev->u.admin.until_us = INT64_MAX;
    must(f, ev);
    fixture_enrol(f, "", "agent", "n1", NODE1);
    ev = fixture_event(EV_NODE_REPORT, NODE1);
    bt_copy(ev->u.node_report.node, sizeof ev->u.node_report.node, "n1");
    bt_copy(ev->u.node_report.class, sizeof ev->u.node_report.class, "cpu");
    ev->u.node_report.n_acc = 4;
    ev->u.node_report.registers = true;
    must(f, ev);
}

static void policy(struct fixture *f)
{
    BT_AUTO char *dir = bt_printf("%s/policy", getenv("BT_SOURCE_ROOT"));
    struct event *ev = event_new(EV_POLICY);
    struct bt_err err;

    if (policy_load(dir, bt_sha256, &f->policy, &err) < 0)
        fail_msg("%s", err.text);
    ev->u.policy.policy = f->policy;
    fixture_step(f, ev);
}

void fixture_start(struct fixture *f)
{
    struct core_settings set = core_defaults("beamtime.example");
    struct event *ev;

    *f = (struct fixture){.now_us = bt_now_us()};
    if (fixture_backend)
        fixture_backend(f);
    f->core = core_new(&set);
    assert_int_equal(core_loaded(f->core, f->now_us, 0, 0, NULL), 0);
    policy(f);
    must(f, admin(ADMIN_NATION, "council"));
    must(f, admin(ADMIN_NATION, "cz"));
    person(f, "council", "chair", ROLE_COUNCIL, CHAIR);
    person(f, "cz", "zdenka", ROLE_NATION_ADMIN, ADMIN);
    person(f, "cz", "alice", ROLE_RESEARCHER, ALICE);
    quota(f, "", 1000 * INT64_C(3600000));
    ev = admin(ADMIN_PROJECT, "cz");
    bt_copy(ev->u.admin.project, sizeof ev->u.admin.project, "multilingual");
    must(f, ev);
    quota(f, "multilingual", 40 * INT64_C(3600000));
    ev = admin(ADMIN_MEMBER, "cz");
    bt_copy(ev->u.admin.project, sizeof ev->u.admin.project, "multilingual");
    bt_copy(ev->u.admin.person, sizeof ev->u.admin.person, "alice");
    bt_copy(ev->u.admin.text, sizeof ev->u.admin.text, "member");
    must(f, ev);
    node(f);
}

void fixture_stop(struct fixture *f)
{
    batch_free(f->last);
    core_free(f->core);
    rows_done(&f->db);
    policy_free(f->policy);
}

struct bt_uuid fixture_id(struct fixture *f)
{
    return bt_uuid_new(f->now_us);
}

struct event *fixture_ask(struct bt_uuid id, int32_t accelerators, int32_t walltime_s)
{
    struct event *ev = fixture_event(EV_SUBMIT, ALICE);
    struct job_spec *s = &ev->u.submit.spec;

    s->id = id;
    bt_copy(s->name, sizeof s->name, "tiny");
    bt_copy(s->project, sizeof s->project, "cz/multilingual");
    bt_copy(s->class, sizeof s->class, "cpu");
    bt_copy(s->purpose, sizeof s->purpose, "train");
    bt_copy(s->domains[0], JOB_WORD_MAX, "general");
    bt_copy(s->data[0], JOB_WORD_MAX, "public");
    s->kind = JOB_COMMAND;
    s->accelerators = accelerators;
    s->walltime_s = walltime_s;
    s->max_attempts = 3;
    s->requeue = REQUEUE_ON_FACILITY;
    s->flops = 1e15;
    s->params = 1000;
    s->parents[0] = -1;
    s->level = TOPO_ANY;
    ev->u.submit.body_sha256[0] = (uint8_t)accelerators;
    ev->u.submit.body_sha256[1] = (uint8_t)walltime_s;
    ev->u.submit.text = bt_strdup("{}");
    return ev;
}

const struct reply *fixture_submit(struct fixture *f, struct bt_uuid id, int32_t accelerators,
                                   int32_t walltime_s)
{
    return fixture_step(f, fixture_ask(id, accelerators, walltime_s));
}

struct event *fixture_planned(struct fixture *f)
{
    struct plan *p = core_snapshot(f->core, 1);
    struct event *ev = event_new(EV_PLAN_READY);
    struct bt_err err;

    if (sched_plan(&p->in, &p->out, &err) < 0)
        fail_msg("%s", err.text);
    plan_made(p);
    if (f->carries_on)
        plan_carry_on(p);
    ev->u.plan_ready.plan = p;
    return ev;
}

void fixture_plan(struct fixture *f)
{
    fixture_step(f, fixture_planned(f));
}

void fixture_advance(struct fixture *f, int64_t seconds)
{
    for (int64_t i = 0; i < seconds; i++) {
        f->now_us += BT_US_PER_S;
        fixture_step(f, event_new(EV_TICK));
    }
}

static struct core *load_again(struct fixture *f)
{
    struct core_settings set = core_defaults("beamtime.example");
    struct core *again = core_new(&set);
    struct bt_err err = {0};

    for (int k = 0; k < ROW_KINDS; k++)
        for (int i = 0; i < f->db.list[k].n; i++) {
            const void *row = (const char *)f->db.list[k].v + (size_t)i * row_shapes[k].size;

            /* balances come last in rows.def; job rows before their states */
            if (core_load(again, (enum row_kind)k, row, &err) < 0)
                fail_msg("%s: %s", row_shapes[k].name, err.text);
        }
    if (core_loaded(again, f->now_us, f->db.list[ROW_KIND_ledger].n, 0, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(core_digest(again), core_digest(f->core));
    return again;
}

void fixture_compare(struct fixture *f)
{
    struct core *again = load_again(f);

    core_free(again);
    if (!f->reload)
        return;
    again = f->reload(f);
    assert_int_equal(core_digest(again), core_digest(f->core));
    core_free(again);
}

void fixture_restart(struct fixture *f)
{
    struct core *again = load_again(f);

    core_free(f->core);
    f->core = again;
    core_policy(f->core, f->policy); /* as the daemon does */
}

int core_setup(void **state)
{
    static struct fixture f;

    fixture_start(&f);
    *state = &f;
    return 0;
}

int core_teardown(void **state)
{
    fixture_stop(*state);
    return 0;
}

const struct row_job_state *state_of(struct fixture *f, struct bt_uuid id)
{
    const struct row_list *l = &f->db.list[ROW_KIND_job_state];

    for (int i = 0; i < l->n; i++)
        if (bt_uuid_eq(((struct row_job_state *)l->v)[i].id, id))
            return &((struct row_job_state *)l->v)[i];
    fail_msg("no such job in the database");
    return NULL;
}

int64_t promised_of(struct fixture *f, struct bt_uuid id)
{
    const struct row_list *l = &f->db.list[ROW_KIND_promise];
    int64_t last = 0;

    for (int i = 0; i < l->n; i++) {
        const struct row_promise *p = &((const struct row_promise *)l->v)[i];

        if (bt_uuid_eq(p->job, id) && p->attempt == state_of(f, id)->attempt)
            last = p->start_by_us;
    }
    return last;
}
