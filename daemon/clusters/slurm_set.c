/* All Slurm sites: who gets which want, and what people see of them.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/slurm_set.h"
#include "daemon/clusters/site_check.h"
#include "daemon/clusters/site_topo.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

struct clusters *clusters_new(const struct clusters_settings *settings)
{
    struct clusters *c = bt_new(struct clusters);

    c->set = *settings;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void driver_free(struct driver *d)
{
    for (size_t i = 0; i < d->n_wants; i++)
        bt_free(d->wants[i].hosts);
    bt_free(d->wants);
    bt_free(d->nodes);
    bt_free(d->suspended);
    slots_done(&d->slots);
    observe_done(&d->observer);
    fence_done(d);
    bt_buf_done(&d->helper.in);
    bt_buf_done(&d->helper.out);
    bt_buf_done(&d->remote.in);
    bt_buf_done(&d->remote.out);
    if (d->wake >= 0)
        close(d->wake);
    pthread_mutex_destroy(&d->lock);
    bt_free(d);
}

void clusters_free(struct clusters *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        driver_free(c->drivers[i]);
    bt_free(c->drivers);
    pthread_mutex_destroy(&c->lock);
    bt_free(c);
}

void clusters_wake(struct driver *d)
{
    if (eventfd_write(d->wake, 1) < 0)
        bt_log(BT_ERROR, "cannot-wake-a-driver", "site", d->name, NULL);
}

static void start(struct driver *d)
{
    if (!d->runs && pthread_create(&d->thread, NULL, driver_run, d) == 0)
        d->runs = true;
    if (!d->runs)
        bt_log(BT_ERROR, "driver-not-started", "site", d->name, NULL);
}

static struct driver *driver_of(struct clusters *c, int32_t id)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->drivers[i]->id == id)
            return c->drivers[i];
    return NULL;
}

static struct driver *driver_named(struct clusters *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (bt_streq(c->drivers[i]->name, name))
            return c->drivers[i];
    return NULL;
}

struct driver *clusters_driver(struct clusters *c, const char *site)
{
    struct driver *d;

    pthread_mutex_lock(&c->lock);
    d = driver_named(c, site);
    pthread_mutex_unlock(&c->lock); /* drivers stay until clusters_free */
    return d;
}

static void take_site(struct clusters *c, const struct view_site *v)
{
    struct driver *d = driver_of(c, v->id);
    struct site_conf conf;
    struct bt_err err = {0};

    if (!bt_streq(v->kind, "slurm"))
        return;
    if (site_conf_parse(v->conf ? v->conf : "{}", &conf, &err) < 0) {
        bt_log_err(BT_ERROR, "site-without-conf", &err);
        return;
    }
    if (!d) {
        d = bt_new(struct driver);
        d->all = c;
        d->id = v->id;
        bt_copy(d->name, sizeof d->name, v->name);
        d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        atomic_init(&d->stopping, false);
        pthread_mutex_init(&d->lock, NULL);
        d->use = conf;
        BT_GROW(c->drivers, c->n, c->cap);
        c->drivers[c->n++] = d;
        if (c->started)
            start(d);
    }
    pthread_mutex_lock(&d->lock);
    d->conf = conf;
    bt_copy(d->state, sizeof d->state, v->state);
    d->changed = true;
    pthread_mutex_unlock(&d->lock);
    clusters_wake(d);
}

static void take_want(struct driver *d, const struct want *w)
{
    struct want copy = *w;

    copy.places = NULL;
    copy.hosts = w->hosts ? bt_strdup(w->hosts) : NULL;
    pthread_mutex_lock(&d->lock);
    BT_GROW(d->wants, d->n_wants, d->cap_wants);
    d->wants[d->n_wants++] = copy;
    d->hurries |= !w->told;
    pthread_mutex_unlock(&d->lock);
}

/* Once a batch, not once a want; and not at all for attempts that are over: what is to be done
 * about them has time until the driver next looks. */
static void wake_for_wants(struct driver *d)
{
    bool hurries;

    pthread_mutex_lock(&d->lock);
    hurries = d->hurries;
    d->hurries = false;
    pthread_mutex_unlock(&d->lock);
    if (hurries)
        clusters_wake(d);
}

void clusters_committed(struct clusters *c, const struct batch *b)
{
    if (!b->n_sites && !c->n)
        return;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < b->n_sites; i++)
        take_site(c, &b->sites[i]);
    for (int i = 0; i < b->n_wants; i++) {
        struct driver *d = driver_of(c, b->wants[i].site);

        if (d)
            take_want(d, &b->wants[i]);
    }
    for (size_t i = 0; i < c->n; i++)
        wake_for_wants(c->drivers[i]);
    pthread_mutex_unlock(&c->lock);
}

void clusters_start(struct clusters *c)
{
    pthread_mutex_lock(&c->lock);
    c->started = true;
    for (size_t i = 0; i < c->n; i++)
        start(c->drivers[i]);
    pthread_mutex_unlock(&c->lock);
}

void clusters_stop(struct clusters *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->started = false;
    for (size_t i = 0; i < c->n; i++) {
        atomic_store(&c->drivers[i]->stopping, true);
        clusters_wake(c->drivers[i]);
    }
    for (size_t i = 0; i < c->n; i++) {
        if (c->drivers[i]->runs)
            pthread_join(c->drivers[i]->thread, NULL);
        c->drivers[i]->runs = false;
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- what people see ---- */

void clusters_show(struct clusters *c, const char *site, struct json_writer *w)
{
    struct driver *d;

    d = clusters_driver(c, site);
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    jw_object(w, "cluster");
    jw_str(w, "name", d->cluster);
    jw_str(w, "version", d->version);
    jw_bool(w, "reachable", d->reachable);
    if (d->since_us)
        jw_time(w, "since", d->since_us);
    jw_str(w, "text", d->text);
    jw_str(w, "next", d->next);
    jw_i64(w, "jobs", d->n_jobs);
    jw_i64(w, "others", d->n_others);
    jw_i64(w, "nodes", (int64_t)d->n_nodes);
    if (d->conf.remote) {
        jw_object(w, "helper");
        jw_bool(w, "connected", d->remote.open);
        jw_str(w, "from", d->remote.from);
        if (d->remote.since_us)
            jw_time(w, "since", d->remote.since_us);
        jw_end_object(w);
    }
    jw_end_object(w);
    pthread_mutex_unlock(&d->lock);
}

static void item(struct json_writer *w, const char *node, const char *what, const char *expected,
                 const char *actual, const char *fix)
{
    jw_object(w, NULL);
    jw_str(w, "node", node);
    jw_str(w, "what", what);
    jw_str(w, "expected", expected);
    jw_str(w, "actual", actual);
    jw_str(w, "fix", fix);
    jw_end_object(w);
}

/* The facility's rows of a site's nodes, by name. */
struct rows_by_name {
    const struct json *nodes;
    struct bt_map at;
};

static struct rows_by_name rows_by_name(const struct json *nodes)
{
    struct rows_by_name r = {.nodes = nodes};

    for (size_t i = 0; i < json_len(nodes); i++) {
        const char *name = json_str(json_get(json_at(nodes, i), "node"), "");

        bt_map_put(&r.at, bt_map_hash(name, strlen(name)), (uint32_t)i);
    }
    return r;
}

static const struct json *row_of(const struct rows_by_name *r, const char *name)
{
    uint32_t i;

    return bt_map_get(&r->at, bt_map_hash(name, strlen(name)), &i) ? json_at(r->nodes, i) : NULL;
}

static void diff_node(const struct wire_node *n, const struct json *row, struct json_writer *w)
{
    char there[48];
    char here[48];
    BT_AUTO char *enrol = bt_printf("beamtime token new %s --kind agent, then beamtime-agent enrol "
                                    "on it",
                                    n->name);
    BT_AUTO char *agent = bt_printf("set class and accelerators of the agent on %s", n->name);
    BT_AUTO char *resume = bt_printf(
        "%s%s%sscontrol update nodename=%s state=resume",
        n->duplicate ? "its jobs' number was given away: when `ps` on " : "",
        n->duplicate ? n->name : "", n->duplicate ? " shows none of them, " : "", n->name);

    if (!row) {
        item(w, n->name, "node", "at this site", "at another site, under the same name",
             "rename it in slurm.conf: names are unique in a facility");
        return;
    }
    (void)snprintf(there, sizeof there, "%s:%d", n->class, n->n_acc);
    (void)snprintf(here, sizeof here, "%s:%lld", json_str(json_get(row, "class"), ""),
                   (long long)json_i64(json_get(row, "accelerators"), 0));
    if (!json_bool(json_get(row, "registered"), false))
        item(w, n->name, "agent", "registered", "never heard of", enrol);
    else if (bt_streq(json_str(json_get(row, "reason"), ""), "silent"))
        item(w, n->name, "agent", "heartbeats", "silent", "systemctl status beamtime-agent");
    else if (n->n_acc && !bt_streq(there, here))
        item(w, n->name, "accelerators", there, here, agent);
    if (*n->trouble)
        item(w, n->name, "slurm", "idle", n->trouble, resume);
}

/* What the facility has and the cluster has not. */
static void diff_missing(const struct driver *d, const struct json *rows, struct json_writer *w)
{
    struct bt_map there = {0};

    for (size_t i = 0; i < d->n_nodes; i++) {
        const char *name = d->nodes[i].node.name;

        bt_map_put(&there, bt_map_hash(name, strlen(name)), (uint32_t)i);
    }
    for (size_t i = 0; d->n_nodes && i < json_len(rows); i++) {
        const char *name = json_str(json_get(json_at(rows, i), "node"), "");

        if (!bt_map_get(&there, bt_map_hash(name, strlen(name)), &(uint32_t){0}))
            item(w, name, "node", "in Slurm", "only here", "add it to slurm.conf, or drain it");
    }
    bt_map_done(&there);
}

static void diff_switches(const struct driver *d, const struct rows_by_name *rows,
                          struct json_writer *w)
{
    BT_AUTO struct topo_node *v = bt_new_n(struct topo_node, d->n_nodes + 1);

    for (size_t i = 0; i < d->n_nodes; i++) {
        const struct wire_node *n = &d->nodes[i].node;
        const struct json *row = row_of(rows, n->name);

        v[i] = (struct topo_node){.node = n->name,
                                  .leaf = n->leaf,
                                  .pod = n->pod,
                                  .agent_leaf = (int32_t)json_i64(json_get(row, "agent_leaf"), 0),
                                  .agent_pod = (int32_t)json_i64(json_get(row, "agent_pod"), 0)};
    }
    (void)topo_diff(v, d->n_nodes, w);
}

static void diff_fence(const struct driver *d, struct json_writer *w)
{
    const struct site_fence *f = &d->fence;
    char fix[200];

    if (!d->conf.fence)
        return;
    if (!f->seen)
        item(w, "-", "slurmdbd", "projects are accounts there", "not compared yet",
             "ask again in ten seconds");
    else if (*f->text)
        item(w, "-", "slurmdbd", "projects are accounts there", f->text, f->next);
    else if (!f->enforced)
        item(w, "-", "slurm.conf", "AccountingStorageEnforce=associations,limits,qos",
             "accounts and limits are not looked at",
             "set it in slurm.conf, then restart slurmctld");
    for (size_t i = 0; i < f->n_items; i++) {
        const struct fence_item *x = &f->items[i];

        fence_fix(x, fix, sizeof fix);
        item(w, x->account, x->what, x->expected, x->actual, fix);
    }
}

/* Those of its nodes that take no work from here; on a site that is only observed, from anybody. */
static int n_differ(const struct driver *d, const struct json *nodes)
{
    struct rows_by_name rows = rows_by_name(nodes);
    int n = 0;

    for (size_t i = 0; i < d->n_nodes; i++) {
        const struct wire_node *node = &d->nodes[i].node;
        const struct json *row = row_of(&rows, node->name);

        n += *node->trouble ||
             (!d->conf.observe && (!json_bool(json_get(row, "registered"), false) ||
                                   bt_streq(json_str(json_get(row, "reason"), ""), "silent")));
    }
    bt_map_done(&rows.at);
    return n;
}

static int finding(const struct driver *d, struct json_writer *w)
{
    jw_object(w, NULL);
    jw_str(w, "level", "wrong");
    jw_str(w, "what", "cluster");
    jw_str(w, "text", *d->text ? d->text : "its controller has not answered yet");
    jw_str(w, "fix", *d->next ? d->next : "scontrol ping");
    jw_end_object(w);
    return 1;
}

int clusters_check(struct clusters *c, const char *site, const struct json *row,
                   struct json_writer *w, struct bt_err *err)
{
    struct driver *d;
    int n;

    d = clusters_driver(c, site);
    if (!d)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "site %s has no Slurm to look at", site);
    pthread_mutex_lock(&d->lock);
    if (!d->reachable || !d->has_settings) {
        n = finding(d, w);
    } else {
        struct site_look look = {&d->conf,   &d->settings, d->name,
                                 d->version, d->n_others,  n_differ(d, json_get(row, "nodes"))};

        n = site_check(&look, w);
    }
    pthread_mutex_unlock(&d->lock);
    return n;
}

static void diff_partition(const struct driver *d, struct json_writer *w)
{
    char what[80], fix[120];

    if (!driver_partition_shut(d))
        return;
    (void)snprintf(what, sizeof what, "partition %s", d->settings.partition);
    (void)snprintf(fix, sizeof fix, "scontrol update partitionname=%s state=up",
                   d->settings.partition);
    item(w, "-", what, "up", "starts nothing", fix);
}

static void diff_suspended(const struct driver *d, struct json_writer *w)
{
    for (size_t i = 0; i < d->n_suspended; i++) {
        char what[40], fix[64];

        (void)snprintf(what, sizeof what, "Slurm's job %" PRId64, d->suspended[i]);
        (void)snprintf(fix, sizeof fix, "scontrol resume %" PRId64, d->suspended[i]);
        item(w, "-", what, "running", "suspended by an administrator", fix);
    }
}

int clusters_diff(struct clusters *c, const char *site, const struct json *row,
                  struct json_writer *w, struct bt_err *err)
{
    struct rows_by_name rows;
    struct driver *d;

    d = clusters_driver(c, site);
    if (!d)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "site %s has no Slurm to compare with", site);
    rows = rows_by_name(json_get(row, "nodes"));
    pthread_mutex_lock(&d->lock);
    if (!d->reachable)
        item(w, "-", "cluster", "reachable", d->text, d->next);
    for (size_t i = 0; i < d->n_nodes; i++)
        diff_node(&d->nodes[i].node, row_of(&rows, d->nodes[i].node.name), w);
    diff_switches(d, &rows, w);
    diff_fence(d, w);
    diff_partition(d, w);
    diff_suspended(d, w);
    diff_missing(d, rows.nodes, w);
    pthread_mutex_unlock(&d->lock);
    bt_map_done(&rows.at);
    return 0;
}

int clusters_report(struct clusters *c, const char *site, struct json_writer *w, struct bt_err *err)
{
    struct driver *d;
    int rc = 0;

    d = clusters_driver(c, site);
    if (!d)
        return bt_fail(err, BT_ERR_UNSUPPORTED, "site %s has no Slurm to observe", site);
    pthread_mutex_lock(&d->lock);
    if (d->conf.observe)
        observe_report(&d->observer, w);
    else
        rc = bt_next(err, bt_fail(err, BT_ERR_UNSUPPORTED, "site %s is not only observed", site),
                     "beamtime site add NAME --slurm-conf PATH --observe");
    pthread_mutex_unlock(&d->lock);
    return rc;
}
