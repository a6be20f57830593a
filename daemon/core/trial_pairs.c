/* Pairs of switches: what trials say of them, and which are due.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/doing.h"
#include "daemon/core/trial.h"
#include "lib/base/time.h"

enum {
    PAIRS_AT_ONCE = 4,   /* trials of switches that run together */
    PAIRS_A_TICK = 2000, /* looked at, whether they are due */
    PAIR_AGAIN_S = 600,  /* after a trial that failed or was disturbed, and for a bad node */
};

/* ---- the rows ---- */

struct pair_key {
    int32_t site;
    uint32_t class_word;
    int32_t leaf_a, leaf_b;
};

static uint64_t hash_of(const struct pair_key *k)
{
    return bt_map_hash(k, sizeof *k);
}

static struct switch_pair *pair_find(const struct core *c, const struct pair_key *k)
{
    uint32_t at;

    return bt_map_get(&c->by_pair, hash_of(k), &at) ? &c->pairs[at] : NULL;
}

static enum ladder_kind kind_of(const struct row_switch_pair *r)
{
    return r->leaf_a == r->leaf_b ? LADDER_WITHIN : LADDER_BETWEEN;
}

static void pair_index(struct core *c, int32_t i)
{
    const struct switch_pair *p = &c->pairs[i];
    struct pair_key k = {p->row.site, p->class_word, p->row.leaf_a, p->row.leaf_b};

    bt_map_put(&c->by_pair, hash_of(&k), (uint32_t)i);
}

void pairs_loaded(struct core *c)
{
    for (int32_t i = 0; i < c->n_pairs; i++) {
        struct switch_pair *p = &c->pairs[i];

        pair_index(c, i);
        ladder_add(ladder_of(c, p->class_word, kind_of(&p->row)), p->row.busbw_mbs, p->row.id);
    }
}

static struct switch_pair *pair_add(struct core *c, const struct pair_key *k)
{
    struct switch_pair *p;

    BT_GROW(c->pairs, c->n_pairs, c->cap_pairs);
    p = &c->pairs[c->n_pairs++];
    *p = (struct switch_pair){.row = {.id = c->n_pairs,
                                      .site = k->site,
                                      .class_name = bt_strdup(word_text(c, k->class_word)),
                                      .leaf_a = k->leaf_a,
                                      .leaf_b = k->leaf_b},
                              .class_word = k->class_word};
    pair_index(c, c->n_pairs - 1);
    return p;
}

/* Into the row; true if it was or is to be written. */
static void pair_judge(struct core *c, struct switch_pair *p, int64_t median, bool write)
{
    bool slow = is_slow(p->row.busbw_mbs, median);
    const char *state = slow ? "slow" : "good";

    if (!p->row.state || !bt_streq(p->row.state, state)) {
        if (slow || p->row.state) {
            BT_AUTO char *name =
                bt_printf("%s leaf %d-%d", p->row.class_name, p->row.leaf_a, p->row.leaf_b);

            emit_event(c, slow ? "pair-slow" : "pair-good", "facility/clock", name, NULL);
        }
        bt_free(p->row.state);
        p->row.state = bt_strdup(state);
        write = true;
    }
    if (write)
        EMIT(c, switch_pair, p);
}

static void pair_measured(struct core *c, const struct pair_key *k, int64_t mbs,
                          const struct node *a, const struct node *b)
{
    struct switch_pair *p = pair_find(c, k);
    bool fresh = !p;

    if (!p)
        p = pair_add(c, k);
    struct ladder *l = ladder_of(c, k->class_word, kind_of(&p->row));
    int64_t before = ladder_median(l, CLASS_MIN), after;
    if (!fresh)
        ladder_drop(l, p->row.busbw_mbs, p->row.id);
    ladder_put(l, mbs, p->row.id);
    p->row.busbw_mbs = mbs;
    p->row.measured_us = c->now_us;
    bt_free(p->row.node_a);
    bt_free(p->row.node_b);
    p->row.node_a = bt_strdup(a->row.name);
    p->row.node_b = bt_strdup(b->row.name);
    after = ladder_median(l, CLASS_MIN);
    pair_judge(c, p, after, true);
    uint32_t low = ladder_slow(l, BT_MIN(before, after)),
             high = ladder_slow(l, BT_MAX(before, after));
    for (uint32_t i = low; i < high; i++)
        pair_judge(c, &c->pairs[l->v[i].id - 1], after, false);
}

/* ---- the links of a trial ---- */

struct link {
    struct pair_key key;
    int64_t mbs, wrong;
    int32_t i; /* which one */
};

static int by_pair(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    int d = memcmp(&x->key, &y->key, sizeof x->key);

    return d ? d : (x->mbs > y->mbs) - (x->mbs < y->mbs);
}

static struct pair_key key_of(const struct node *a, const struct node *b)
{
    return (struct pair_key){a->row.site, a->class_word, BT_MIN(a->row.leaf, b->row.leaf),
                             BT_MAX(a->row.leaf, b->row.leaf)};
}

/* What a link is judged by: the class's median, or before there is one the trial's own. */
static int64_t reference(struct core *c, const struct link *all, int32_t n, const struct link *l)
{
    bool within = l->key.leaf_a == l->key.leaf_b;
    int64_t m = ladder_median(
        ladder_of(c, l->key.class_word, within ? LADDER_WITHIN : LADDER_BETWEEN), CLASS_MIN);
    struct ladder own = {0};

    if (m)
        return m;
    for (int32_t i = 0; i < n; i++)
        if ((all[i].key.leaf_a == all[i].key.leaf_b) == within)
            ladder_add(&own, all[i].mbs, i);
    ladder_sort(&own);
    m = ladder_median(&own, CLASS_MIN);
    ladder_done(&own);
    return m;
}

static void describe(struct core *c, const struct trial *t, const struct link *l, int64_t median,
                     char why[160])
{
    const char *a = c->nodes[link_end(t, l->i, 0)->node].row.name;
    const char *b = c->nodes[link_end(t, l->i, 1)->node].row.name;

    if (l->wrong)
        (void)snprintf(why, 160, "%lld values between %.40s and %.40s were wrong",
                       (long long)l->wrong, a, b);
    else
        (void)snprintf(why, 160, "%.2f GB/s between %.40s and %.40s, below 0.8 of the median %.2f",
                       (double)l->mbs * 1e-3, a, b, (double)median * 1e-3);
}

/* A node all of whose links are bad is at fault; a bad link between two others blames both. */
static void blame_ends(struct trial *t, const bool *bad, int32_t i, const char *why)
{
    bool whole[2];

    for (int end = 0; end < 2; end++) {
        int32_t rank = (i + end) % t->n;

        whole[end] = t->n_links == 1 || (bad[rank] && bad[(rank + t->n - 1) % t->n]);
    }
    for (int end = 0; end < 2; end++) {
        struct trial_part *p = &t->parts[(i + end) % t->n];

        if (p->faulty || (!whole[end] && whole[!end]))
            continue;
        p->faulty = true;
        bt_copy(p->why, sizeof p->why, why);
    }
}

bool pairs_take(struct core *c, struct trial *t)
{
    int32_t n = t->n_links, n_bad = 0;
    BT_AUTO struct link *all = bt_new_n(struct link, (size_t)n);
    BT_AUTO bool *bad = bt_new_n(bool, (size_t)t->n);
    BT_AUTO int64_t *median = bt_new_n(int64_t, (size_t)n);
    char why[160];

    for (int32_t i = 0; i < n; i++) {
        const struct node *a = &c->nodes[link_end(t, i, 0)->node];
        const struct node *b = &c->nodes[link_end(t, i, 1)->node];

        all[i] = (struct link){key_of(a, b), t->links[i].mbs, t->links[i].wrong, i};
    }
    for (int32_t i = 0; i < n; i++) {
        median[i] = i && all[i].key.leaf_a == all[i - 1].key.leaf_a &&
                            all[i].key.leaf_b == all[i - 1].key.leaf_b
                        ? median[i - 1]
                        : reference(c, all, n, &all[i]);
        bad[i] = all[i].wrong > 0 || is_slow(all[i].mbs, median[i]);
        n_bad += bad[i];
    }
    for (int32_t i = 0; i < n; i++)
        if (bad[i]) {
            describe(c, t, &all[i], median[i], why);
            blame_ends(t, bad, i, why);
        }
    qsort(all, (size_t)n, sizeof *all, by_pair);
    for (int32_t i = 0; i < n;) {
        int32_t end = i;

        while (end < n && !memcmp(&all[end].key, &all[i].key, sizeof all->key))
            end++;
        const struct link *mid = &all[i + (end - i - 1) / 2];
        pair_measured(c, &mid->key, mid->mbs, &c->nodes[link_end(t, mid->i, 0)->node],
                      &c->nodes[link_end(t, mid->i, 1)->node]);
        i = end;
    }
    return n_bad == 0;
}

/* ---- which are due ---- */

static int by_leaf(const void *a, const void *b, void *nodes)
{
    const struct node *x = (const struct node *)nodes + *(const int32_t *)a;
    const struct node *y = (const struct node *)nodes + *(const int32_t *)b;

    if (x->row.site != y->row.site)
        return x->row.site < y->row.site ? -1 : 1;
    if (x->class_word != y->class_word)
        return x->class_word < y->class_word ? -1 : 1;
    if (x->row.leaf != y->row.leaf)
        return x->row.leaf < y->row.leaf ? -1 : 1;
    return (x > y) - (x < y);
}

static void find_leaves(struct core *c)
{
    struct leaf_switch *l = NULL;

    bt_free(c->leaves);
    bt_free(c->leaf_nodes);
    c->leaf_nodes = bt_new_n(int32_t, (size_t)c->n_nodes + 1);
    c->leaves = bt_new_n(struct leaf_switch, (size_t)c->n_nodes + 1);
    c->n_leaves = 0;
    for (int32_t i = 0; i < c->n_nodes; i++)
        c->leaf_nodes[i] = i;
    if (c->n_nodes)
        qsort_r(c->leaf_nodes, (size_t)c->n_nodes, sizeof(int32_t), by_leaf, c->nodes);
    for (int32_t i = 0; i < c->n_nodes; i++) {
        const struct node *n = &c->nodes[c->leaf_nodes[i]];

        if (!l || l->site != n->row.site || l->class_word != n->class_word ||
            l->number != n->row.leaf) {
            l = &c->leaves[c->n_leaves++];
            *l = (struct leaf_switch){.site = n->row.site,
                                      .number = n->row.leaf,
                                      .class_word = n->class_word,
                                      .first = i};
        }
        l->n++;
    }
    c->pair_at[0] = c->pair_at[1] = 0;
    c->leaves_stale = false;
}

static void look_at_nodes(struct core *c)
{
    for (int32_t i = 0; i < c->n_leaves; i++) {
        struct leaf_switch *l = &c->leaves[i];

        l->asked_us = 0;
        l->bad = false;
        for (int32_t k = l->first; k < l->first + l->n; k++) {
            const struct node *n = &c->nodes[c->leaf_nodes[k]];

            l->asked_us = BT_MAX(l->asked_us, n->pairs_asked_us);
            l->bad |= c->now_us >= n->bad_us + PAIR_AGAIN_S * BT_US_PER_S && node_is_fabric_bad(n);
        }
    }
}

/* An idle node that can take part, one that a trial degraded first; -1: none. */
static int32_t idle_node(const struct core *c, const struct leaf_switch *l, int32_t but)
{
    int32_t found = -1;

    for (int32_t k = l->first; k < l->first + l->n; k++) {
        const struct node *n = &c->nodes[c->leaf_nodes[k]];
        bool bad = node_is_fabric_bad(n);

        if (c->leaf_nodes[k] == but || n->busy || n->trial || !n->trials || !n->reported ||
            !(bad || bt_streq(n->row.state, "up")))
            continue;
        if (bad)
            return c->leaf_nodes[k];
        if (found < 0)
            found = c->leaf_nodes[k];
    }
    return found;
}

static bool is_due(const struct core *c, const struct leaf_switch *a, const struct leaf_switch *b,
                   const struct pair_key *k)
{
    const struct switch_pair *p = pair_find(c, k);
    int64_t last = p ? p->row.measured_us : 0, asked = BT_MAX(a->asked_us, b->asked_us);
    uint32_t tried;

    if (bt_map_get(&c->pairs_tried, hash_of(k), &tried) &&
        c->now_us < c->epoch_start_us + (tried + (int64_t)PAIR_AGAIN_S) * BT_US_PER_S &&
        asked < c->epoch_start_us + (int64_t)tried * BT_US_PER_S)
        return false;
    if (last < asked || a->bad || b->bad)
        return true;
    /* where no switch was told there is nothing to keep an eye on */
    return c->set.pairs_every_us && (a->number || b->number) &&
           c->now_us - last >= c->set.pairs_every_us;
}

static bool try_pair(struct core *c, const struct leaf_switch *a, const struct leaf_switch *b)
{
    struct pair_key k = {a->site, a->class_word, BT_MIN(a->number, b->number),
                         BT_MAX(a->number, b->number)};
    int32_t nodes[2];

    if (!is_due(c, a, b, &k))
        return false;
    nodes[0] = idle_node(c, a, -1);
    nodes[1] = nodes[0] < 0 ? -1 : idle_node(c, b, nodes[0]);
    if (nodes[1] < 0)
        return false;
    bt_map_put(&c->pairs_tried, hash_of(&k),
               (uint32_t)((c->now_us - c->epoch_start_us) / BT_US_PER_S));
    (void)trial_begin(c, nodes, 2, NULL);
    return true;
}

void pairs_tick(struct core *c)
{
    int running = 0;

    for (uint32_t i = 0; i < c->n_trials; i++)
        running += !c->trials[i]->preflight;
    if (c->leaves_stale || !c->leaves)
        find_leaves(c);
    look_at_nodes(c);
    for (int looked = 0; looked < PAIRS_A_TICK && running < PAIRS_AT_ONCE; looked++) {
        int32_t *at = c->pair_at;

        if (at[0] >= c->n_leaves) { /* all were looked at: from the beginning, next time */
            at[0] = at[1] = 0;
            return;
        }
        const struct leaf_switch *a = &c->leaves[at[0]], *b = &c->leaves[at[1]];
        running += try_pair(c, a, b);
        if (++at[1] >= c->n_leaves || c->leaves[at[1]].site != a->site ||
            c->leaves[at[1]].class_word != a->class_word)
            at[1] = ++at[0];
    }
}
