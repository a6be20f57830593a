/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/site_topo.h"

#include <assert.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* A switch and the number that most of its nodes' agents say. */
struct group {
    const char *name;
    int32_t number; /* 0: none does */
    int32_t votes;
};

struct look {
    const char *what; /* "leaf" or "pod", also the setting of an agent */
    struct group *groups;
    uint32_t *of; /* group of each node; n: none */
    uint32_t n;
    struct json_writer *w;
    int found;
};

static void item(struct look *l, const char *node, const char *expected, const char *actual,
                 const char *fix)
{
    jw_object(l->w, NULL);
    jw_str(l->w, "node", node);
    jw_str(l->w, "what", l->what);
    jw_str(l->w, "expected", expected);
    jw_str(l->w, "actual", actual);
    jw_str(l->w, "fix", fix);
    jw_end_object(l->w);
    l->found++;
}

static const char *name_of(const struct look *l, const struct topo_node *t)
{
    return *l->what == 'l' ? t->leaf : t->pod;
}

static int32_t number_of(const struct look *l, const struct topo_node *t)
{
    return *l->what == 'l' ? t->agent_leaf : t->agent_pod;
}

/* The number of more than half of a switch's agents is found by votes that cancel out (Boyer and
 * Moore 1981); without such a majority it is one of those that were said. */
static void group(struct look *l, const struct topo_node *v, size_t n)
{
    struct bt_map by_name = {0};

    assert(l->groups && l->of);
    for (size_t i = 0; i < n; i++) {
        const char *name = name_of(l, &v[i]);
        int32_t number = number_of(l, &v[i]);
        struct group *g;

        l->of[i] = (uint32_t)n;
        if (!*name)
            continue;
        if (!bt_map_get(&by_name, bt_map_hash(name, strlen(name)), &l->of[i])) {
            l->of[i] = l->n++;
            l->groups[l->of[i]] = (struct group){.name = name};
            bt_map_put(&by_name, bt_map_hash(name, strlen(name)), l->of[i]);
        }
        g = &l->groups[l->of[i]];
        if (number && !g->votes)
            g->number = number;
        if (number)
            g->votes += number == g->number ? 1 : -1;
    }
    bt_map_done(&by_name);
}

static void differing_nodes(struct look *l, const struct topo_node *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t number = number_of(l, &v[i]);
        const struct group *g = l->of[i] < n ? &l->groups[l->of[i]] : NULL;

        if (!g || !number || number == g->number)
            continue;
        BT_AUTO char *expected = bt_printf("%d, as other nodes of switch %s", g->number, g->name);
        BT_AUTO char *actual = bt_printf("its agent says %d", number);
        BT_AUTO char *fix =
            bt_printf("%s = %d in the agent's configuration on %s, or leave it out: "
                      "what Slurm says counts",
                      l->what, g->number, v[i].node);
        item(l, v[i].node, expected, actual, fix);
    }
}

static void equal_switches(struct look *l)
{
    struct bt_map by_number = {0};

    for (uint32_t i = 0; i < l->n; i++) {
        const struct group *g = &l->groups[i];
        uint32_t first;

        if (!g->number)
            continue;
        if (!bt_map_get(&by_number, (uint64_t)g->number, &first)) {
            bt_map_put(&by_number, (uint64_t)g->number, i);
            continue;
        }
        BT_AUTO char *expected =
            bt_printf("switch %s has another number than %s", g->name, l->groups[first].name);
        BT_AUTO char *actual = bt_printf("agents below both say %d", g->number);
        BT_AUTO char *fix = bt_printf("leave %s out of the agents' configuration: what Slurm says "
                                      "counts",
                                      l->what);
        item(l, "-", expected, actual, fix);
    }
    bt_map_done(&by_number);
}

/* Where there are switches, Slurm starts nothing over several nodes on one that has none. */
static void lonely_nodes(struct look *l, const struct topo_node *v, size_t n)
{
    for (size_t i = 0; l->n && i < n; i++) {
        if (l->of[i] < n)
            continue;
        BT_AUTO char *fix = bt_printf("add %s to a SwitchName line of topology.conf, then scontrol "
                                      "reconfigure",
                                      v[i].node);
        item(l, v[i].node, "on a switch", "topology.conf leaves it out", fix);
    }
}

int topo_diff(const struct topo_node *v, size_t n, struct json_writer *w)
{
    static const char *const levels[] = {"leaf", "pod"};
    BT_AUTO struct group *groups = bt_new_n(struct group, n + 1);
    BT_AUTO uint32_t *of = bt_new_n(uint32_t, n + 1);
    int found = 0;

    for (size_t k = 0; k < BT_ARRAY_LEN(levels); k++) {
        struct look l = {.what = levels[k], .groups = groups, .of = of, .w = w};

        group(&l, v, n);
        differing_nodes(&l, v, n);
        equal_switches(&l);
        if (k == 0)
            lonely_nodes(&l, v, n);
        found += l.found;
    }
    return found;
}
