/* What a cluster says of itself: its nodes, whether it answers, attempts that it has lost.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "daemon/core/state.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/domain/clearance.h"

static uint64_t mask_of(int32_t n_acc)
{
    return n_acc >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n_acc) - 1;
}

/* A node that no agent has registered yet is known by its cluster's word. */
static struct node *node_found(struct core *c, const struct site *s, const struct site_node *at)
{
    struct node *n;

    BT_GROW(c->nodes, c->n_nodes, c->cap_nodes);
    n = &c->nodes[c->n_nodes++];
    *n = (struct node){.row = {.id = c->n_nodes,
                               .site = s->row.id,
                               .name = bt_strdup(at->name),
                               .class_name = bt_strdup(at->class),
                               .n_acc = at->n_acc,
                               .all_mask = (int64_t)mask_of(at->n_acc),
                               .tier = TIER_MAXIMUM,
                               .state = bt_strdup("down"),
                               .reason = bt_strdup("silent"),
                               .until_us = ROW_NULL64,
                               .busbw_mbs = ROW_NULL64,
                               .measured_us = ROW_NULL64,
                               .measure_us = ROW_NULL64,
                               .memory_gb = ROW_NULL32,
                               .inventory = bt_strdup("{}")},
                       .class_word = word_of(c, at->class)};
    name_put(c, NAME_NODE, 0, at->name, c->n_nodes - 1);
    row_copy(ROW_KIND_node, rows_put(&c->batch->rows, ROW_KIND_node, &n->row.id, 4), &n->row);
    return n;
}

/* An agent that came before its cluster was added stands at the facility's own site. */
static bool is_of(struct core *c, const struct site *s, struct node *n)
{
    if (n->row.site == s->row.id)
        return true;
    if (n->busy || !bt_streq(c->sites[n->row.site - 1].row.kind, "local"))
        return false;
    n->row.site = s->row.id;
    row_copy(ROW_KIND_node, rows_put(&c->batch->rows, ROW_KIND_node, &n->row.id, 4), &n->row);
    nodes_changed(c);
    return true;
}

static void note_number(struct core *c, int32_t number)
{
    c->last_switch = BT_MAX(c->last_switch, number);
}

void node_placed(struct core *c, const struct node *n)
{
    const struct row_node *r = &n->row;

    note_number(c, BT_MAX(BT_MAX(r->leaf, r->pod), BT_MAX(r->agent_leaf, r->agent_pod)));
    if (r->leaf_switch)
        name_put(c, NAME_SWITCH, r->site, r->leaf_switch, r->leaf);
    if (r->pod_switch)
        name_put(c, NAME_SWITCH, r->site, r->pod_switch, r->pod);
}

/* A switch keeps its number as long as a node of it is known. */
static int32_t switch_number(struct core *c, int32_t site, const char *name)
{
    uint32_t number;

    if (name_get(c, NAME_SWITCH, site, name, &number))
        return (int32_t)number;
    name_put(c, NAME_SWITCH, site, name, ++c->last_switch);
    return c->last_switch;
}

void node_place(struct core *c, struct node *n)
{
    struct row_node *r = &n->row;

    note_number(c, BT_MAX(r->agent_leaf, r->agent_pod));
    r->leaf = r->leaf_switch ? switch_number(c, r->site, r->leaf_switch) : r->agent_leaf;
    r->pod = r->pod_switch ? switch_number(c, r->site, r->pod_switch) : r->agent_pod;
}

static bool renamed(char **to, const char *name)
{
    if (bt_streq(*to ? *to : "", name))
        return false;
    bt_free(*to);
    *to = *name ? bt_strdup(name) : NULL;
    return true;
}

/* What the cluster says of its switches counts before what agents were told. */
static void take_switches(struct core *c, struct node *n, const struct site_node *at)
{
    bool leaf = renamed(&n->row.leaf_switch, at->leaf);
    bool pod = renamed(&n->row.pod_switch, at->pod);

    if (!leaf && !pod)
        return;
    node_place(c, n);
    row_copy(ROW_KIND_node, rows_put(&c->batch->rows, ROW_KIND_node, &n->row.id, 4), &n->row);
    nodes_changed(c);
}

/* Only what the cluster itself took down does it bring up again. */
static void judge_node(struct core *c, struct node *n, const char *trouble)
{
    bool ours = n->trouble && bt_streq(n->row.state, "down") && bt_streq(n->row.reason, n->trouble);

    if (!*trouble && ours)
        node_set_state(c, n, "up", "-");
    else if (*trouble && (ours ? !bt_streq(n->row.reason, trouble) : bt_streq(n->row.state, "up")))
        node_set_state(c, n, "down", trouble);
    bt_free(n->trouble);
    n->trouble = *trouble ? bt_strdup(trouble) : NULL;
}

void sites_cleared(struct core *c)
{
    for (int32_t i = 0; i < c->n_sites; i++) {
        struct site *s = &c->sites[i];
        int32_t tier = s->row.tier_until_us > c->now_us ? s->row.tier : TIER_OPEN;

        if (s->tier == tier)
            continue;
        s->tier = (uint8_t)tier;
        nodes_changed(c);
    }
}

void step_site(struct core *c, const struct event *ev)
{
    const struct ev_site *e = &ev->u.site;
    struct site *s = ev->who.kind == WHO_INSIDE ? site_find(c, e->site) : NULL;

    if (!s)
        return;
    if (s->unreachable == e->reachable) {
        s->unreachable = !e->reachable;
        emit_event(c, e->reachable ? "site-reached" : "site-unreachable", "facility/clusters",
                   s->row.name, NULL);
        c->plan_due = true;
    }
    if (e->reachable && s->maps != e->maps) {
        s->maps = e->maps;
        data_changed(c);
    }
    for (int32_t i = 0; i < e->n_nodes; i++) {
        struct node *n = node_find(c, e->nodes[i].name);

        if (!n)
            n = node_found(c, s, &e->nodes[i]);
        if (!is_of(c, s, n))
            continue;
        take_switches(c, n, &e->nodes[i]);
        judge_node(c, n, e->nodes[i].trouble);
    }
}

void step_unplaced(struct core *c, const struct event *ev)
{
    const struct ev_unplaced *e = &ev->u.unplaced;
    uint32_t slot;
    struct job *j = job_find(c, e->job, &slot);

    if (ev->who.kind != WHO_INSIDE || !j || j->attempt != e->attempt || !j->att ||
        j->att->state == ATTEMPT_ENDED || j->att->claimed_us)
        return;
    emit_job_event(c, "unplaced", "facility/clusters", j, NULL);
    facility_failed(c, slot, e->text[0] ? e->text : "its cluster lost it before it began");
}
