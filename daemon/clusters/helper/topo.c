/* The switches of a cluster's nodes. SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "daemon/clusters/helper/cluster_own.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

static uint64_t key_of(const char *name)
{
    return bt_map_hash(name, strlen(name));
}

/* Calls fn for each name of "n[1-4],m7". */
static void each(const char *list, void (*fn)(void *arg, const char *name), void *arg)
{
    compat_hosts hosts = list && *list ? slurm_hostlist_create(list) : NULL;
    char *name;

    while (hosts && (name = slurm_hostlist_shift(hosts))) {
        fn(arg, name);
        free(name); /* NOLINT: the library's, from malloc(3) */
    }
    if (hosts)
        slurm_hostlist_destroy(hosts);
}

/* It is shown and written to the daemon's database. */
static bool is_plain(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "._-+@:/";
    size_t n = name ? strlen(name) : 0;

    return n && n < sizeof((struct wire_node *)0)->leaf && strspn(name, letters) == n;
}

struct topology {
    uint64_t sum;  /* of all that was read */
    size_t n, cap; /* leaves */
    struct leaf {
        char name[64], pod[64];
    } * leaves;
    struct bt_map by_name; /* of a leaf, of a node → leaf */
    struct bt_map by_node;
    uint32_t at;     /* the leaf whose nodes are being read */
    const char *pod; /* the switch whose switches are being read */
};

static void node_on_leaf(void *arg, const char *name)
{
    struct topology *t = arg;

    bt_map_put(&t->by_node, key_of(name), t->at);
}

static void leaf_below_pod(void *arg, const char *name)
{
    struct topology *t = arg;
    uint32_t at;

    if (bt_map_get(&t->by_name, key_of(name), &at) && bt_streq(t->leaves[at].name, name))
        bt_copy(t->leaves[at].pod, sizeof t->leaves[at].pod, t->pod);
}

static void add_sum(uint64_t *sum, const char *text)
{
    *sum = *sum * UINT64_C(0x100000001b3) + (text ? key_of(text) : 1);
}

#ifdef COMPAT_HAS_TOPOLOGY
static void read_switches(const topo_info_response_msg_t *m, struct topology *t)
{
    for (uint32_t i = 0; i < m->record_count; i++) {
        const topo_info_t *s = &m->topo_array[i];

        add_sum(&t->sum, s->name);
        add_sum(&t->sum, s->nodes);
        add_sum(&t->sum, s->switches);
        if (s->level || !is_plain(s->name))
            continue;
        BT_GROW(t->leaves, t->n, t->cap);
        t->at = (uint32_t)t->n++;
        t->leaves[t->at] = (struct leaf){.pod = ""};
        bt_copy(t->leaves[t->at].name, sizeof t->leaves->name, s->name);
        bt_copy(t->leaves[t->at].pod, sizeof t->leaves->pod, s->name);
        bt_map_put(&t->by_name, key_of(s->name), t->at);
        each(s->nodes, node_on_leaf, t);
    }
    for (uint32_t i = 0; i < m->record_count; i++) {
        const topo_info_t *s = &m->topo_array[i];

        t->pod = s->name;
        if (s->level && is_plain(s->name))
            each(s->switches, leaf_below_pod, t);
    }
}

static int load(struct topology *t, struct bt_err *err)
{
    topo_info_response_msg_t *m = NULL;

    errno = 0;
    if (slurm_load_topo(&m) != 0)
        return cluster_failed("list its switches", err);
    read_switches(m, t);
    slurm_free_topo_info_msg(m);
    return 0;
}
#else
static int load(struct topology *t, struct bt_err *err)
{
    (void)t;
    (void)err;
    return 0;
}
#endif

int cluster_topology(struct topology **ret, struct bt_err *err)
{
    struct topology *t = bt_new(struct topology);
    int rc = load(t, err);

    if (rc < 0) {
        cluster_topology_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

uint64_t cluster_topology_sum(const struct topology *t)
{
    return t->sum;
}

void cluster_place(const struct topology *t, struct wire_node *n)
{
    uint32_t at;

    if (!bt_map_get(&t->by_node, key_of(n->name), &at))
        return;
    bt_copy(n->leaf, sizeof n->leaf, t->leaves[at].name);
    bt_copy(n->pod, sizeof n->pod, t->leaves[at].pod);
}

void cluster_topology_free(struct topology *t)
{
    if (!t)
        return;
    bt_map_done(&t->by_name);
    bt_map_done(&t->by_node);
    bt_free(t->leaves);
    bt_free(t);
}
