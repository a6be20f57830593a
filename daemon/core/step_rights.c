/* Guarantees of nations, and nodes out of use for a time.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "daemon/core/doing.h"
#include "lib/base/hostlist.h"
#include "lib/base/time.h"
#include "lib/json/json.h"

/* ---- guarantees ---- */

/* Of several that are in force the latest counts. */
static const struct row_guarantee *guarantee_at(const struct core *c, int32_t nation, int64_t at_us)
{
    const struct row_guarantee *best = NULL;

    for (int32_t i = 0; i < c->n_guarantees; i++) {
        const struct row_guarantee *g = &c->guarantees[i].row;

        if (g->nation == nation && g->from_us <= at_us && at_us < g->until_us &&
            (!best || g->from_us > best->from_us))
            best = g;
    }
    return best;
}

int64_t guaranteed_of(const struct core *c, int32_t nation, int64_t at_us)
{
    const struct row_guarantee *g = guarantee_at(c, nation, at_us);

    return g ? g->accelerators : 0;
}

/* What all nations together are guaranteed at a moment. */
static int64_t promised_at(const struct core *c, int64_t at_us)
{
    int64_t sum = 0;

    for (int32_t i = 0; i < c->n_nations; i++)
        sum += guaranteed_of(c, c->nations[i].row.id, at_us);
    return sum;
}

/* The most that all together are guaranteed at any moment of [from, until). */
static int64_t most_promised(const struct core *c, int64_t from_us, int64_t until_us)
{
    int64_t most = promised_at(c, from_us);

    for (int32_t i = 0; i < c->n_guarantees; i++) {
        const int64_t edges[] = {c->guarantees[i].row.from_us, c->guarantees[i].row.until_us};

        for (size_t k = 0; k < BT_ARRAY_LEN(edges); k++)
            if (edges[k] > from_us && edges[k] < until_us)
                most = BT_MAX(most, promised_at(c, edges[k]));
    }
    return most;
}

static int64_t accelerators_in_all(const struct core *c)
{
    int64_t n = 0;

    for (int32_t i = 0; i < c->n_nodes; i++)
        n += __builtin_popcountll((uint64_t)c->nodes[i].row.all_mask);
    return n;
}

static struct guarantee *guarantee_from(struct core *c, int32_t nation, int64_t from_us)
{
    struct guarantee *g;

    for (int32_t i = 0; i < c->n_guarantees; i++)
        if (c->guarantees[i].row.nation == nation && c->guarantees[i].row.from_us == from_us)
            return &c->guarantees[i];
    BT_GROW(c->guarantees, c->n_guarantees, c->cap_guarantees);
    g = &c->guarantees[c->n_guarantees++];
    *g = (struct guarantee){.row = {.nation = nation, .from_us = from_us}};
    return g;
}

int do_guarantee(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    int32_t nation = d->nation->row.id;
    int64_t from = e->from_us ? e->from_us : c->now_us;
    int64_t until = e->until_us ? e->until_us : INT64_MAX, all = accelerators_in_all(c), most;
    struct row_guarantee was = {0};
    struct guarantee *g;

    if (e->amount_mras < 0 || e->amount_mras > INT32_MAX || from >= until)
        return bt_fail(&d->err, BT_ERR_INVALID,
                       "a guarantee is a number of accelerators, for a "
                       "time that begins before it ends");
    g = guarantee_from(c, nation, from);
    was = g->row;
    g->row.until_us = until;
    g->row.accelerators = (int32_t)e->amount_mras;
    most = most_promised(c, from, until);
    if (most > all) {
        g->row = was;
        if (!was.until_us)
            c->n_guarantees--;
        return bt_fail(&d->err, BT_ERR_CONFLICT,
                       "%" PRId64 " accelerators would be guaranteed at once, the facility has "
                       "%" PRId64,
                       most, all);
    }
    d->changed = was.until_us != until || was.accelerators != g->row.accelerators;
    row_copy(ROW_KIND_guarantee,
             rows_put(&c->batch->rows, ROW_KIND_guarantee, &(int64_t[2]){nation, from},
                      2 * sizeof(int64_t)),
             &g->row);
    c->plan_due = true;
    return 0;
}

/* ---- maintenance and reservations ---- */

static int name_is_node(void *arg, const char *name)
{
    struct {
        const struct core *c;
        struct bt_err *err;
    } *a = arg;

    return node_find(a->c, name)
               ? 0
               : bt_next(a->err, bt_fail(a->err, BT_ERR_NOT_FOUND, "there is no node '%s'", name),
                         "beamtime node list");
}

static int call_off(struct core *c, struct doing *d)
{
    const struct ev_admin *e = d->e;
    struct outage *named = e->name[0] ? reservation_find(c, e->name) : NULL;
    struct row_outage *r;

    if (e->name[0] && (!named || named->row.until_us <= c->now_us))
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no reservation '%s'", e->name),
                       "beamtime reservation list");
    if (named) {
        d->about = named->row.name;
        d->id = named->row.id;
        named->row.until_us = BT_MAX(named->row.from_us, c->now_us);
        d->changed = true;
        EMIT(c, outage, named);
        c->plan_due = true;
        return 0;
    }
    if (e->amount_mras < 1 || e->amount_mras > c->n_outages)
        return bt_next(
            &d->err,
            bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no outage %" PRId64, e->amount_mras),
            "beamtime outage list");
    r = &c->outages[e->amount_mras - 1].row;
    if (r->until_us <= c->now_us)
        return 0;
    r->until_us = BT_MAX(r->from_us, c->now_us);
    d->changed = true;
    d->about = r->nodes;
    d->id = r->id;
    EMIT(c, outage, &c->outages[e->amount_mras - 1]);
    c->plan_due = true;
    return 0;
}

struct marking {
    const struct core *c;
    uint8_t *at; /* [node] */
    int32_t both;
};

static int mark_node(void *arg, const char *name)
{
    struct marking *m = arg;
    const struct node *n = node_find(m->c, name);

    if (n && m->at[n - m->c->nodes]++)
        m->both = n->row.id;
    return 0;
}

/* A node belongs to one reservation at a time. */
static int reserved_twice(const struct core *c, struct doing *d, int64_t from)
{
    BT_AUTO uint8_t *at = bt_new_n(uint8_t, (size_t)c->n_nodes + 1);
    struct marking m = {c, at, 0};
    int rc = 0;

    for (int32_t i = 0; i < c->n_outages && rc >= 0; i++) {
        const struct row_outage *r = &c->outages[i].row;

        if (!r->name || r->until_us <= from || r->from_us >= d->e->until_us)
            continue;
        memset(at, 0, (size_t)c->n_nodes);
        rc = bt_hostlist_each(r->nodes, PLAN_MAX_NODES, mark_node, &m, NULL);
        m.both = 0;
        if (rc >= 0)
            rc = bt_hostlist_each(d->e->text, PLAN_MAX_NODES, mark_node, &m, &d->err);
        if (rc >= 0 && m.both)
            rc = bt_next(&d->err,
                         bt_fail(&d->err, BT_ERR_CONFLICT, "node %s is kept by reservation %s then",
                                 c->nodes[m.both - 1].row.name, r->name),
                         "beamtime reservation list");
    }
    return rc < 0 ? rc : 0;
}

/* A reservation whose jobs name it: whose they are, and that nothing stands against it. */
static int may_reserve(const struct core *c, struct doing *d, int64_t from,
                       const struct project **ret)
{
    const struct ev_admin *e = d->e;
    const struct outage *same = reservation_find(c, e->name);

    if (!bt_streq(e->kind, "reservation"))
        return bt_fail(&d->err, BT_ERR_INVALID, "only a reservation has a name");
    if (!bt_is_name(e->name, sizeof((struct job_spec *)0)->reservation - 1))
        return bt_fail(&d->err, BT_ERR_INVALID, "'%.80s' is not the name of a reservation",
                       e->name);
    if (!d->nation)
        return bt_next(&d->err,
                       bt_fail(&d->err, e->nation[0] ? BT_ERR_NOT_FOUND : BT_ERR_INVALID,
                               "a reservation is for a nation or a project; there is no nation "
                               "'%s'",
                               e->nation),
                       "beamtime nation list");
    *ret = e->project[0] ? project_find(c, d->nation->row.id, e->project) : NULL;
    if (e->project[0] && !*ret)
        return bt_next(&d->err,
                       bt_fail(&d->err, BT_ERR_NOT_FOUND, "there is no project '%s/%s'", e->nation,
                               e->project),
                       "beamtime project list");
    if (same && same->row.until_us > c->now_us)
        return bt_fail(&d->err, BT_ERR_CONFLICT, "there is a reservation %s already", e->name);
    return reserved_twice(c, d, from);
}

int do_outage(struct core *c, struct doing *d)
{
    const struct project *project = NULL;
    const struct ev_admin *e = d->e;
    int64_t from = BT_MAX(e->from_us, c->now_us);
    struct {
        const struct core *c;
        struct bt_err *err;
    } look = {c, &d->err};
    struct json_writer w = {.to = &d->body};
    struct outage *o;
    int n;

    if (bt_streq(e->state, "over"))
        return call_off(c, d);
    if (!bt_streq(e->kind, "maintenance") && !bt_streq(e->kind, "reservation"))
        return bt_fail(&d->err, BT_ERR_INVALID, "an outage is a maintenance or a reservation");
    if (e->until_us <= from)
        return bt_fail(&d->err, BT_ERR_INVALID, "the outage would end before it begins");
    n = bt_hostlist_each(e->text, PLAN_MAX_NODES, name_is_node, &look, &d->err);
    if (n <= 0)
        return n < 0 ? n : bt_fail(&d->err, BT_ERR_INVALID, "the outage names no node");
    if (e->name[0] && may_reserve(c, d, from, &project) < 0)
        return -(int)d->err.code;
    BT_GROW(c->outages, c->n_outages, c->cap_outages);
    o = &c->outages[c->n_outages++];
    *o = (struct outage){.row = {.id = c->n_outages,
                                 .from_us = from,
                                 .until_us = e->until_us,
                                 .kind = bt_strdup(e->kind),
                                 .nodes = bt_strdup(e->text),
                                 .reason = bt_strdup(e->reason[0] ? e->reason : "-"),
                                 .name = e->name[0] ? bt_strdup(e->name) : NULL,
                                 .nation = e->name[0] ? d->nation->row.id : ROW_NULL32,
                                 .project = project ? project->row.id : ROW_NULL32}};
    EMIT(c, outage, o);
    d->changed = true;
    d->about = o->row.name ? o->row.name : o->row.nodes;
    d->id = o->row.id;
    c->plan_due = true;
    jw_object(&w, NULL);
    jw_i64(&w, "id", o->row.id);
    jw_i64(&w, "nodes", n);
    jw_end_object(&w);
    return 0;
}
