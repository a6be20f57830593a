/* People, projects, clearances, quotas, nodes, rates: what administrators change.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/doing.h"
#include "lib/base/enc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

/* A member without a cap of its own may use all of the project: an overdraft that no quota reaches.
 */
#define NO_CAP_MRAS INT64_C(4000000000000000000)

/* Administrators write their own subtree; council and operators as the table below says. */
static int allowed(struct doing *d)
{
    static const int32_t everywhere[ADMIN_OPS] = {
        [ADMIN_NATION] = ROLE_COUNCIL,
        [ADMIN_INSTITUTION] = ROLE_COUNCIL,
        [ADMIN_PROJECT] = ROLE_COUNCIL,
        [ADMIN_PERSON] = ROLE_COUNCIL,
        [ADMIN_CLEARANCE] = ROLE_COUNCIL,
        [ADMIN_MEMBER] = ROLE_COUNCIL,
        [ADMIN_QUOTA] = ROLE_COUNCIL,
        [ADMIN_TOKEN] = ROLE_COUNCIL | ROLE_OPERATOR,
        [ADMIN_REVOKE] = ROLE_COUNCIL,
        [ADMIN_NODE] = ROLE_OPERATOR | ROLE_COUNCIL,
        [ADMIN_MEASURE] = ROLE_OPERATOR | ROLE_COUNCIL,
        [ADMIN_RATE] = ROLE_COUNCIL,
        [ADMIN_SITE] = ROLE_OPERATOR | ROLE_COUNCIL,
        [ADMIN_UNIXMAP] = ROLE_OPERATOR | ROLE_COUNCIL,
        [ADMIN_UNIXMAPS] = ROLE_OPERATOR | ROLE_COUNCIL,
        [ADMIN_GUARANTEE] = ROLE_COUNCIL,
        [ADMIN_OUTAGE] = ROLE_OPERATOR | ROLE_COUNCIL,
        [ADMIN_DATASET] = ROLE_OPERATOR | ROLE_COUNCIL,
    };
    static const bool own_nation[ADMIN_OPS] = {
        [ADMIN_INSTITUTION] = true, [ADMIN_PROJECT] = true, [ADMIN_PERSON] = true,
        [ADMIN_CLEARANCE] = true,   [ADMIN_MEMBER] = true,  [ADMIN_QUOTA] = true,
        [ADMIN_TOKEN] = true,       [ADMIN_REVOKE] = true,
    };
    const struct ev_admin *e = d->e;
    bool home = d->nation && d->nation->row.id == d->actor.nation;

    if (has_role(d, everywhere[e->op]))
        return 0;
    if (own_nation[e->op] && home && has_role(d, ROLE_NATION_ADMIN)) {
        if (e->op == ADMIN_QUOTA && !e->project[0])
            return bt_fail(&d->err, BT_ERR_FORBIDDEN, "only the council sets a nation's quota");
        if (e->op == ADMIN_CLEARANCE && e->tier > TIER_SUPERVISED)
            return bt_fail(&d->err, BT_ERR_FORBIDDEN,
                           "only the council clears a person for tier %d", e->tier);
        if (e->op == ADMIN_TOKEN && !bt_streq(e->kind, "person"))
            return bt_fail(&d->err, BT_ERR_FORBIDDEN, "only operators enrol machines");
        return 0;
    }
    return bt_fail(&d->err, BT_ERR_FORBIDDEN, "%s may not do that%s%s", d->actor.text,
                   e->nation[0] ? " in nation " : "", e->nation);
}

/* Nobody grants a role that is not below one of its own. */
static int may_grant(struct doing *d, int32_t roles)
{
    int32_t mine = has_role(d, ROLE_COUNCIL)        ? ~0
                   : has_role(d, ROLE_NATION_ADMIN) ? ROLE_RESEARCHER | ROLE_LEAD | ROLE_REVIEWER
                                                    : 0;

    if (roles & ~mine)
        return bt_fail(&d->err, BT_ERR_FORBIDDEN, "%s may not grant such a role", d->actor.text);
    return 0;
}

static struct account *account_new(struct core *c, const char *level, int32_t nation,
                                   int32_t project, int32_t person)
{
    struct account *a;

    BT_GROW(c->accounts, c->n_accounts, c->cap_accounts);
    a = &c->accounts[c->n_accounts++];
    *a = (struct account){.row = {.id = c->n_accounts,
                                  .level = bt_strdup(level),
                                  .nation = nation,
                                  .project = project ? project : ROW_NULL32,
                                  .person = person ? person : ROW_NULL32,
                                  .from_us = 0,
                                  .until_us = INT64_MAX}};
    if (person)
        a->row.overdraft = NO_CAP_MRAS;
    emit_account(c, a);
    return a;
}

static int do_nation(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct nation *n = d->nation;

    if (!bt_is_name(e->nation, 15) || bt_streq(e->nation, "operator"))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%s' cannot be a nation's code", e->nation);
    if (!n) {
        BT_GROW(c->nations, c->n_nations, c->cap_nations);
        n = &c->nations[c->n_nations++];
        *n = (struct nation){.row = {.id = c->n_nations,
                                     .code = bt_strdup(e->nation),
                                     .name = bt_strdup(e->name[0] ? e->name : e->nation),
                                     .state = bt_strdup("active")}};
        name_put(c, NAME_NATION, 0, e->nation, c->n_nations - 1);
        n->account = account_new(c, "nation", n->row.id, 0, 0)->row.id;
        d->changed = true;
    }
    if (e->state[0] && !bt_streq(e->state, "active") && !bt_streq(e->state, "suspended"))
        return bt_fail(&d->err, BT_ERR_INVALID, "a nation is 'active' or 'suspended'");
    set_text(d, &n->row.name, e->name);
    set_text(d, &n->row.state, e->state);
    if (memcmp(n->row.ca_spki.b, e->spki, 32) && memcmp(e->spki, (uint8_t[32]){0}, 32)) {
        memcpy(n->row.ca_spki.b, e->spki, 32);
        d->changed = true;
    }
    if (!d->changed)
        return 0;
    EMIT(c, nation, n);
    for (int32_t i = 0; i < c->n_credentials; i++)
        if (c->credentials[i].row.nation == n->row.id)
            emit_credential_view(c, &c->credentials[i]);
    return 0;
}

/* What of a clearance is not said stays as it is; 0 and 0 before there is one. No tier is given
 * without an end. */
static int tier_may(struct doing *d, int32_t tier, int64_t until_us)
{
    const struct ev_admin *e = d->e;

    tier = e->tier >= 0 ? e->tier : tier;
    if (tier > TIER_OPEN && !e->until_us && !until_us)
        return bt_next(
            &d->err,
            bt_fail(&d->err, BT_ERR_INVALID, "a clearance for tier %d must say until when", tier),
            "add --until 365d");
    return 0;
}

static void set_tier(struct doing *d, int32_t *tier, int64_t *until_us)
{
    if (d->e->tier >= 0)
        set_i32(d, tier, d->e->tier);
    if (d->e->until_us)
        set_i64(d, until_us, d->e->until_us);
}

static int do_institution(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct institution *i = institution_find(c, d->nation->row.id, e->institution);
    int rc = tier_may(d, i ? i->row.tier : 0, i ? i->row.tier_until_us : 0);

    if (rc < 0)
        return rc;
    if (!bt_is_name(e->institution, 63))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%s' cannot be an institution's name",
                       e->institution);
    if (!i) {
        BT_GROW(c->institutions, c->n_institutions, c->cap_institutions);
        i = &c->institutions[c->n_institutions++];
        *i = (struct institution){.row = {.id = c->n_institutions,
                                          .nation = d->nation->row.id,
                                          .name = bt_strdup(e->institution)}};
        name_put(c, NAME_INSTITUTION, i->row.nation, i->row.name, c->n_institutions - 1);
        d->changed = true;
    }
    set_tier(d, &i->row.tier, &i->row.tier_until_us);
    if (d->changed)
        EMIT(c, institution, i);
    return 0;
}

static int do_project(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct project *p = project_find(c, d->nation->row.id, e->project);
    int rc = tier_may(d, p ? p->row.tier : 0, p ? p->row.tier_until_us : 0);

    if (rc < 0)
        return rc;
    if (!bt_is_name(e->project, JOB_PROJECT_MAX - 1))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%s' cannot be a project's name", e->project);
    if (p && e->tier < 0 && e->until_us && p->row.tier > TIER_SUPERVISED &&
        !has_role(d, ROLE_COUNCIL))
        return bt_fail(&d->err, BT_ERR_FORBIDDEN, "only the council prolongs a protocol of tier %d",
                       p->row.tier);
    if (e->tier > TIER_SUPERVISED && !has_role(d, ROLE_COUNCIL))
        return bt_fail(&d->err, BT_ERR_FORBIDDEN, "only the council approves a protocol of tier %d",
                       e->tier);
    if (!p) {
        BT_GROW(c->projects, c->n_projects, c->cap_projects);
        p = &c->projects[c->n_projects++];
        *p = (struct project){.row = {.id = c->n_projects,
                                      .nation = d->nation->row.id,
                                      .name = bt_strdup(e->project),
                                      .title = bt_strdup(e->name[0] ? e->name : e->project),
                                      .state = bt_strdup("active")}};
        name_put(c, NAME_PROJECT, p->row.nation, p->row.name, c->n_projects - 1);
        p->account = account_new(c, "project", p->row.nation, p->row.id, 0)->row.id;
        d->changed = true;
    }
    set_text(d, &p->row.title, e->name);
    set_text(d, &p->row.state, e->state);
    set_tier(d, &p->row.tier, &p->row.tier_until_us);
    if (d->changed)
        EMIT(c, project, p);
    return 0;
}

static int do_person(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct person *p = person_find(c, d->nation->row.id, e->person);
    struct institution *i = NULL;
    int rc = may_grant(d, e->roles & ~(p ? p->row.roles : 0));

    if (rc < 0)
        return rc;
    if (!bt_is_name(e->person, 63))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%s' cannot be a person's name here", e->person);
    if (e->institution[0] && !(i = institution_find(c, d->nation->row.id, e->institution)))
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_NOT_FOUND, "nation %s has no institution '%s'",
                               e->nation, e->institution),
                       "beamtime institution add");
    if (!p) {
        BT_GROW(c->persons, c->n_persons, c->cap_persons);
        p = &c->persons[c->n_persons++];
        *p = (struct person){.row = {.id = c->n_persons,
                                     .nation = d->nation->row.id,
                                     .institution = ROW_NULL32,
                                     .login = bt_strdup(e->person),
                                     .name = bt_strdup(e->name[0] ? e->name : e->person),
                                     .roles = ROLE_RESEARCHER,
                                     .state = bt_strdup("active")}};
        name_put(c, NAME_PERSON, p->row.nation, p->row.login, c->n_persons - 1);
        person_added(c);
        d->changed = true;
    }
    set_text(d, &p->row.name, e->name);
    set_text(d, &p->row.state, e->state);
    if (e->roles)
        set_i32(d, &p->row.roles, e->roles);
    if (i)
        set_i32(d, &p->row.institution, i->row.id);
    if (!d->changed)
        return 0;
    EMIT(c, person, p);
    for (int32_t k = 0; k < c->n_credentials; k++)
        if (c->credentials[k].row.person == p->row.id)
            emit_credential_view(c, &c->credentials[k]);
    return 0;
}

static struct person *need_person(struct core *c, struct doing *d, int32_t nation)
{
    struct person *p = person_find(c, nation, d->e->person);

    if (!p)
        bt_next(&d->err,
                bt_fail(&d->err, BT_ERR_NOT_FOUND, "nation %s has no person '%s'",
                        nation_code(c, nation), d->e->person),
                "beamtime person list");
    return p;
}

static int do_clearance(struct core *c, struct doing *d)
{
    struct person *p = need_person(c, d, d->nation->row.id);

    if (!p)
        return -d->err.code;
    if (d->actor.person == p && !has_role(d, ROLE_COUNCIL))
        return bt_fail(&d->err, BT_ERR_FORBIDDEN, "nobody clears himself");
    set_i32(d, &p->row.tier, d->e->tier);
    set_i64(d, &p->row.tier_until_us, d->e->until_us);
    if (d->changed)
        EMIT(c, person, p);
    return 0;
}

static struct project *need_project(struct core *c, struct doing *d)
{
    struct project *p = project_find(c, d->nation->row.id, d->e->project);

    if (!p)
        bt_next(&d->err,
                bt_fail(&d->err, BT_ERR_NOT_FOUND, "nation %s has no project '%s'", d->e->nation,
                        d->e->project),
                "beamtime project list");
    return p;
}

static int do_member(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct project *p = need_project(c, d);
    struct nation *home = e->person_nation[0] ? nation_find(c, e->person_nation) : d->nation;
    struct person *who = p && home ? need_person(c, d, home->row.id) : NULL;
    const char *role = e->text[0] ? e->text : MEMBER_GONE;
    struct member *m;

    if (!bt_streq(role, "lead") && !bt_streq(role, "member") && !bt_streq(role, MEMBER_GONE))
        return bt_fail(&d->err, BT_ERR_INVALID, "a member's role is lead, member or none");
    if (!who)
        return d->err.code ? -d->err.code
                           : bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no nation '%s'",
                                     e->person_nation);
    m = member_find(c, p->row.id, who->row.id);
    if (!m) {
        BT_GROW(c->members, c->n_members, c->cap_members);
        m = &c->members[c->n_members++];
        *m = (struct member){.row = {p->row.id, who->row.id, bt_strdup(MEMBER_GONE)}};
        bt_map_put(&c->by_member, (uint64_t)p->row.id << 32 | (uint32_t)who->row.id,
                   (uint32_t)c->n_members - 1);
        m->account = account_new(c, "person", p->row.nation, p->row.id, who->row.id)->row.id;
    }
    if (!bt_streq(m->row.role, role)) {
        bt_free(m->row.role);
        m->row.role = bt_strdup(role);
        d->changed = true;
        row_copy(ROW_KIND_member,
                 rows_put(&c->batch->rows, ROW_KIND_member, &m->row.project, 2 * sizeof(int32_t)),
                 &m->row);
    }
    return 0;
}

/* ---- quota ---- */

static struct account *quota_account(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct project *p;
    struct person *who;
    struct member *m;
    struct nation *home;

    if (!e->project[0])
        return &c->accounts[d->nation->account - 1];
    p = need_project(c, d);
    if (!p || !e->person[0])
        return p ? &c->accounts[p->account - 1] : NULL;
    home = e->person_nation[0] ? nation_find(c, e->person_nation) : d->nation;
    who = home ? need_person(c, d, home->row.id) : NULL;
    m = who ? member_find(c, p->row.id, who->row.id) : NULL;
    if (!m && d->err.code == 0)
        bt_fail(&d->err, BT_ERR_NOT_FOUND, "%s is not a member of %s", e->person, e->project);
    return m ? &c->accounts[m->account - 1] : NULL;
}

static void write_account(struct json_writer *w, const char *key, const struct account *a)
{
    jw_object(w, key);
    jw_decimal(w, "granted_mras", a->granted);
    jw_decimal(w, "free_mras", a->free);
    jw_decimal(w, "held_mras", a->held);
    jw_decimal(w, "spent_mras", a->spent);
    jw_end_object(w);
}

/* What the projects of a nation have been granted in all. */
static int64_t assigned(const struct core *c, int32_t nation)
{
    int64_t sum = 0;

    for (int32_t i = 0; i < c->n_projects; i++)
        if (c->projects[i].row.nation == nation)
            sum += c->accounts[c->projects[i].account - 1].granted;
    return sum;
}

static int quota_fits(struct core *c, struct doing *d, const struct account *a, int64_t delta)
{
    const struct account *n = &c->accounts[d->nation->account - 1];
    int64_t given = assigned(c, d->nation->row.id);

    if (d->e->amount_mras < a->held + a->spent)
        return bt_fail(&d->err, BT_ERR_CONFLICT,
                       "%.2f accelerator-hours are held or spent already; the quota cannot be less",
                       (double)(a->held + a->spent) / 3.6e6);
    if (!d->e->project[0] && d->e->amount_mras < given)
        return bt_fail(&d->err, BT_ERR_CONFLICT,
                       "%.2f accelerator-hours are granted to projects already",
                       (double)given / 3.6e6);
    if (d->e->project[0] && !d->e->person[0] && given + delta > n->granted)
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_QUOTA_EXCEEDED,
                               "nation %s has %.2f accelerator-hours unassigned", d->e->nation,
                               (double)(n->granted - given) / 3.6e6),
                       "beamtime quota show --nation %s", d->e->nation);
    return 0;
}

static int do_quota(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct account *a = quota_account(c, d);
    struct json_writer w = {.to = &d->body};
    struct account before;
    int64_t delta;
    int rc;

    if (!a)
        return -d->err.code;
    before = *a;
    delta = e->amount_mras - a->granted;
    rc = quota_fits(c, d, a, delta);
    if (rc < 0)
        return rc;
    d->changed = delta != 0 || a->row.overdraft != 0 ||
                 (e->from_us && a->row.from_us != e->from_us) ||
                 (e->until_us && a->row.until_us != e->until_us);
    if (d->changed && !e->dry_run) {
        struct move m = {.op = e->id, .kind = "grant", .d_free = delta};

        a->row.overdraft = 0;
        a->row.from_us = e->from_us ? e->from_us : a->row.from_us;
        a->row.until_us = e->until_us ? e->until_us : a->row.until_us;
        m.nation = e->project[0] ? 0 : a->row.id;
        m.project = e->project[0] && !e->person[0] ? a->row.id : 0;
        m.person = e->person[0] ? a->row.id : 0;
        if (delta)
            emit_entry(c, &m);
        emit_account(c, a);
        c->plan_due = true;
    }
    jw_object(&w, NULL);
    jw_bool(&w, "changed", d->changed);
    jw_bool(&w, "dry_run", e->dry_run);
    write_account(&w, "before", &before);
    before.granted += d->changed ? delta : 0;
    before.free += d->changed ? delta : 0;
    write_account(&w, "after", &before);
    jw_decimal(&w, "unassigned_mras",
               c->accounts[d->nation->account - 1].granted - assigned(c, d->nation->row.id) -
                   (e->dry_run && e->project[0] && !e->person[0] ? delta : 0));
    jw_end_object(&w);
    return 0;
}

/* ---- machines ---- */

/* Up, as far as its cluster lets it: what that holds against it stays until it says otherwise. */
static int resume_node(struct core *c, struct doing *d, struct node *n)
{
    const char *site = n->row.site > 0 ? c->sites[n->row.site - 1].row.name : "SITE";

    if (!n->trouble) {
        set_text(d, &n->row.state, "up");
        set_text(d, &n->row.reason, d->e->reason[0] ? d->e->reason : "-");
        return 0;
    }
    if (bt_streq(n->row.state, "down") && bt_streq(n->row.reason, n->trouble))
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_CONFLICT, "the cluster of %s gives it no work: %s",
                               n->row.name, n->trouble),
                       "beamtime site diff %s", site);
    set_text(d, &n->row.state, "down");
    set_text(d, &n->row.reason, n->trouble);
    return 0;
}

static void write_node(struct doing *d, const struct node *n)
{
    struct json_writer w = {.to = &d->body};

    jw_object(&w, NULL);
    jw_bool(&w, "changed", d->changed);
    jw_str(&w, "state", n->row.state);
    jw_str(&w, "reason", n->row.reason);
    jw_end_object(&w);
}

static int do_node(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct node *n = node_find(c, e->node);
    static const char *const states[] = {"up", "draining", "drained", "down"};
    bool known = false;

    for (size_t i = 0; i < BT_ARRAY_LEN(states); i++)
        known |= bt_streq(states[i], e->state);
    known |= !e->state[0] && e->tier >= 0;
    if (!n)
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no node '%s'", e->node),
                       "beamtime node list");
    if (!known)
        return bt_fail(&d->err, BT_ERR_INVALID, "a node's state is up, draining, drained or down");
    if (bt_streq(e->state, "up")) {
        int rc = resume_node(c, d, n);

        if (rc < 0)
            return rc;
    } else if (e->state[0]) {
        set_text(d, &n->row.state, e->state);
        set_text(d, &n->row.reason, e->reason[0] ? e->reason : "-");
    }
    if (e->state[0])
        set_i64(d, &n->row.until_us, e->until_us ? e->until_us : ROW_NULL64);
    if (e->tier >= 0)
        set_i32(d, &n->row.tier, e->tier);
    if (d->changed) {
        EMIT(c, node, n);
        nodes_changed(c);
    }
    write_node(d, n);
    return 0;
}

static int do_rate(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    int64_t from = BT_MAX(e->from_us, c->now_us);
    struct rate *r;

    if (!bt_is_name(e->class, JOB_CLASS_MAX - 1))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%s' cannot be a class of accelerators", e->class);
    if (rate_of(c, e->class, from) == e->rate_milli &&
        peak_gflops_of(c, e->class, from) == e->peak_gflops)
        return 0;
    BT_GROW(c->rates, c->n_rates, c->cap_rates);
    r = &c->rates[c->n_rates++];
    *r = (struct rate){{bt_strdup(e->class), from, e->rate_milli, e->peak_gflops}};
    row_copy(ROW_KIND_rate, rows_add(&c->batch->rows, ROW_KIND_rate), &r->row);
    d->changed = true;
    return 0;
}

/* Whether the site may become what is asked; s is NULL when it is new. */
static int site_may(struct core *c, struct doing *d, const struct site *s)
{
    const struct ev_admin *e = d->e;
    int32_t n = 0;
    int rc = tier_may(d, s ? s->row.tier : 0, s ? s->row.tier_until_us : 0);

    if (rc < 0)
        return rc;
    if (!bt_is_name(e->site, 31))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%s' cannot be a site's name", e->site);
    if (e->state[0] && !bt_streq(e->state, "up") && !bt_streq(e->state, "draining") &&
        !bt_streq(e->state, "removed"))
        return bt_fail(&d->err, BT_ERR_INVALID, "a site's state is up, draining or removed");
    if (s && e->kind[0] && !bt_streq(e->kind, s->row.kind))
        return bt_fail(&d->err, BT_ERR_CONFLICT, "site %s is of kind %s and stays so", e->site,
                       s->row.kind);
    if (!s && bt_streq(e->kind, "slurm") && !e->conf)
        return bt_next(&d->err, bt_fail(&d->err, BT_ERR_INVALID, "a Slurm site needs a slurm.conf"),
                       "beamtime site add %s --slurm-conf PATH", e->site);
    for (uint32_t i = 0; s && i < c->n_live; i++) {
        const struct job *j = job_at(c, c->live[i]);

        n += j->att && j->att->state != ATTEMPT_ENDED && j->att->site == s->row.id;
    }
    if (n && bt_streq(e->state, "removed"))
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_CONFLICT, "%d jobs run at site %s", n, e->site),
                       "beamtime site drain %s, and wait for them", e->site);
    return 0;
}

static int do_site(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct site *s = site_find(c, e->site);
    int rc = site_may(c, d, s);

    if (rc < 0)
        return rc;
    if (!s) {
        BT_GROW(c->sites, c->n_sites, c->cap_sites);
        s = &c->sites[c->n_sites++];
        *s = (struct site){.row = {.id = c->n_sites,
                                   .name = bt_strdup(e->site),
                                   .kind = bt_strdup(e->kind[0] ? e->kind : "local"),
                                   .state = bt_strdup("up")}};
        name_put(c, NAME_SITE, 0, e->site, c->n_sites - 1);
        d->changed = true;
    }
    set_text(d, &s->row.state, e->state);
    if (e->conf)
        set_text(d, &s->row.conf, e->conf);
    set_tier(d, &s->row.tier, &s->row.tier_until_us);
    if (d->changed) {
        EMIT(c, site, s);
        emit_site_view(c, s);
        sites_cleared(c);
        data_changed(c);
    }
    return 0;
}

/* ---- dispatch ---- */

static int (*const doers[ADMIN_OPS])(struct core *, struct doing *) = {
    [ADMIN_NATION] = do_nation,       [ADMIN_INSTITUTION] = do_institution,
    [ADMIN_PROJECT] = do_project,     [ADMIN_PERSON] = do_person,
    [ADMIN_CLEARANCE] = do_clearance, [ADMIN_MEMBER] = do_member,
    [ADMIN_QUOTA] = do_quota,         [ADMIN_TOKEN] = do_token,
    [ADMIN_REVOKE] = do_revoke,       [ADMIN_NODE] = do_node,
    [ADMIN_RATE] = do_rate,           [ADMIN_SITE] = do_site,
    [ADMIN_UNIXMAP] = do_unixmap,     [ADMIN_GUARANTEE] = do_guarantee,
    [ADMIN_OUTAGE] = do_outage,       [ADMIN_MEASURE] = do_measure,
    [ADMIN_UNIXMAPS] = do_unixmaps,   [ADMIN_DATASET] = do_dataset,
};

static bool needs_nation(enum admin_op op)
{
    return op == ADMIN_INSTITUTION || op == ADMIN_PROJECT || op == ADMIN_PERSON ||
           op == ADMIN_CLEARANCE || op == ADMIN_MEMBER || op == ADMIN_QUOTA ||
           op == ADMIN_UNIXMAP || op == ADMIN_GUARANTEE;
}

void step_admin(struct core *c, const struct event *ev)
{
    struct doing d = {.e = &ev->u.admin};
    bool counts = ev->who.kind != WHO_INSIDE && !ev->u.admin.dry_run;
    const char *before = NULL;
    int rc = 0;

    if (ev->who.kind == WHO_INSIDE) {
        d.actor = (struct actor){.roles = ROLE_COUNCIL | ROLE_OPERATOR};
        bt_copy(d.actor.text, sizeof d.actor.text, "facility/start");
    } else {
        rc = actor_of(c, &ev->who, &d.actor, &d.err);
    }
    d.nation = d.e->nation[0] ? nation_find(c, d.e->nation) : NULL;
    if (rc == 0 && needs_nation(d.e->op) && !d.nation)
        rc = bt_next(&d.err,
                     bt_fail(&d.err, BT_ERR_NOT_FOUND, "there is no nation '%s'", d.e->nation),
                     "beamtime nation list");
    if (rc == 0)
        rc = allowed(&d);
    if (rc == 0 && counts)
        rc = request_known(c, d.e->id, d.e->body_sha256, &before, &d.err);
    if (before) {
        answer(c, 200, bt_strdup(before));
        return;
    }
    if (rc == 0)
        rc = doers[d.e->op](c, &d);
    if (rc < 0) {
        refuse(c, &d.err, d.missing.n ? bt_buf_take(&d.missing) : NULL);
        bt_buf_done(&d.body);
        return;
    }
    if (d.changed && !d.e->dry_run)
        audit(c, &d);
    if (!d.body.n)
        bt_buf_printf(&d.body, "{\"changed\":%s}", d.changed ? "true" : "false");
    if (counts)
        request_done(c, d.e->id, d.e->body_sha256, bt_buf_text(&d.body));
    answer(c, 200, bt_buf_take(&d.body));
}
