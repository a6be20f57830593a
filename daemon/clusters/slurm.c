/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/clusters/slurm.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/clusters/slurm_own.h"
#include "daemon/clusters/slurm_set.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/base/time.h"

enum {
    LOOK_US = SLOT_LIST_S * 1000000, /* at least so often the thread looks at what is due */
    NODES_EVERY_US = 5000000,
    CONF_EVERY_US = 5000000,
    SILENT_US = 3000000, /* a call that takes so long: the cluster is not reachable */
    HUNG_US = 90000000,  /* so long: the helper is started anew */
    RETRY_US = 1000000,  /* a helper that ended is started anew after 1 s, 2 s … */
    RETRY_MAX_US = 30000000,
    SPARE_MINUTES = 2, /* Slurm's limit stands behind the shepherd's own */
};

/* ---- what the core is told ---- */

static void post(struct driver *d, struct event *ev)
{
    struct bt_err err = {0};

    ev->who.kind = WHO_INSIDE;
    if (d->all->set.post(d->all->set.arg, ev, &err) < 0) {
        event_free(ev);
        d->tell_all = true; /* whatever it was: the next list says it again */
        bt_log_err(BT_WARN, "site-event-not-taken", &err);
    }
}

bool driver_partition_shut(const struct driver *d)
{
    return d->has_settings && *d->settings.partition && !d->settings.partition_up;
}

static void trouble_of(const struct driver *d, const struct known_node *n, char *to, size_t size)
{
    if (d->use.observe)
        bt_copy(to, size, SITE_TROUBLE "this site is only observed");
    else if (*n->node.trouble)
        (void)snprintf(to, size, SITE_TROUBLE "%s", n->node.trouble);
    else if (driver_partition_shut(d))
        (void)snprintf(to, size, SITE_TROUBLE "partition %.32s is not up", d->settings.partition);
    else if (n->others)
        bt_copy(to, size, SITE_TROUBLE "used by jobs that are not the facility's");
    else
        *to = '\0';
}

/* Every node, or those whose state changed. */
static void tell_nodes(struct driver *d)
{
    struct event *ev = event_new(EV_SITE);
    struct ev_site *e = &ev->u.site;
    bool all = d->tell_all;

    d->tell_all = false;
    bt_copy(e->site, sizeof e->site, d->name);
    e->reachable = true;
    e->maps = d->maps && !d->use.user[0] && !d->use.observe;
    e->nodes = bt_new_n(struct site_node, d->n_nodes + 1);
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_nodes; i++) {
        struct known_node *n = &d->nodes[i];
        struct site_node *to = &e->nodes[e->n_nodes];

        trouble_of(d, n, to->trouble, sizeof to->trouble);
        if (!all && bt_streq(to->trouble, n->told))
            continue;
        bt_copy(n->told, sizeof n->told, to->trouble);
        bt_copy(to->name, sizeof to->name, n->node.name);
        bt_copy(to->class, sizeof to->class, n->node.class);
        bt_copy(to->leaf, sizeof to->leaf, n->node.leaf);
        bt_copy(to->pod, sizeof to->pod, n->node.pod);
        to->n_acc = n->node.n_acc ? n->node.n_acc : BT_MIN(n->node.cpus, 64);
        e->n_nodes++;
    }
    pthread_mutex_unlock(&d->lock);
    if (e->n_nodes || all)
        post(d, ev);
    else
        event_free(ev);
}

static void unreachable(struct driver *d, const char *text, const char *next)
{
    struct event *ev;
    bool was;

    pthread_mutex_lock(&d->lock);
    was = d->reachable || !d->since_us;
    d->reachable = false;
    if (was)
        d->since_us = bt_now_us();
    bt_copy(d->text, sizeof d->text, text);
    bt_copy(d->next, sizeof d->next, next);
    pthread_mutex_unlock(&d->lock);
    if (!was)
        return;
    bt_log(BT_WARN, "site-unreachable", "site", d->name, "text", text, NULL);
    ev = event_new(EV_SITE);
    bt_copy(ev->u.site.site, sizeof ev->u.site.site, d->name);
    post(d, ev);
}

static void reached(struct driver *d)
{
    bool was;

    pthread_mutex_lock(&d->lock);
    was = d->reachable;
    d->reachable = true;
    d->since_us = 0;
    if (!was)
        d->text[0] = d->next[0] = '\0';
    pthread_mutex_unlock(&d->lock);
    if (was)
        return;
    bt_log(BT_INFO, "site-reached", "site", d->name, NULL);
    d->tell_all = true;
    d->jobs_due_us = d->nodes_due_us = d->conf_due_us = 0;
}

static void note(struct driver *d, const char *text, const char *next)
{
    pthread_mutex_lock(&d->lock);
    bt_copy(d->text, sizeof d->text, text);
    bt_copy(d->next, sizeof d->next, next);
    pthread_mutex_unlock(&d->lock);
}

/* ---- replies ---- */

void driver_hello(struct driver *d, const struct wire_reply *r)
{
    if (!r->ok) {
        unreachable(d, r->text, r->next);
        return;
    }
    d->helper.ready = true;
    d->helper.failures = 0;
    pthread_mutex_lock(&d->lock);
    bt_copy(d->cluster, sizeof d->cluster, r->cluster);
    bt_copy(d->version, sizeof d->version, r->version);
    pthread_mutex_unlock(&d->lock);
    d->tell_all = true;
    d->maps = r->maps;
    d->jobs_due_us = d->nodes_due_us = d->conf_due_us = 0;
    reached(d);
}

/* A controller that lost its memory gave a number away that a job of ours still had. Where both
 * were ours and the earlier one is over, nothing is left there that somebody must look at. */
static void resume_duplicates(struct driver *d)
{
    for (size_t i = 0; i < d->n_nodes && !d->use.observe; i++) {
        const struct known_node *n = &d->nodes[i];
        struct wire_request r = {.op = WIRE_RESUME};

        if (!n->node.duplicate || n->others || !slots_doubled(&d->slots, n->node.name))
            continue;
        bt_copy(r.node, sizeof r.node, n->node.name);
        if (helper_ask(d, &r, (struct bt_uuid){{0}}, 0))
            bt_log(BT_INFO, "node-resumed", "site", d->name, "node", r.node, "reason",
                   "a number was given to two jobs of the facility; the earlier one is over", NULL);
    }
}

static void take_nodes(struct driver *d, const struct wire_reply *r)
{
    struct known_node *nodes = bt_new_n(struct known_node, r->n + 1);
    struct known_node *old = d->nodes;

    for (size_t i = 0; i < r->n; i++) {
        nodes[i].node = r->nodes[i];
        if (i < d->n_nodes && bt_streq(old[i].node.name, r->nodes[i].name)) {
            nodes[i].others = old[i].others;
            bt_copy(nodes[i].told, sizeof nodes[i].told, old[i].told);
            d->tell_all |= !bt_streq(old[i].node.leaf, r->nodes[i].leaf) ||
                           !bt_streq(old[i].node.pod, r->nodes[i].pod);
        } else {
            d->tell_all = true;
        }
    }
    pthread_mutex_lock(&d->lock);
    d->nodes = nodes;
    d->n_nodes = r->n;
    pthread_mutex_unlock(&d->lock);
    bt_free(old);
    tell_nodes(d);
}

static void unplaced(struct driver *d, struct bt_uuid job, int32_t attempt, const char *text)
{
    struct event *ev = event_new(EV_UNPLACED);

    ev->u.unplaced.job = job;
    ev->u.unplaced.attempt = attempt;
    bt_copy(ev->u.unplaced.text, sizeof ev->u.unplaced.text, text);
    post(d, ev);
}

static void do_acts(struct driver *d)
{
    for (size_t i = 0; i < d->slots.n_acts; i++) {
        const struct slot_act *a = &d->slots.acts[i];
        struct wire_request r = {.op = WIRE_CANCEL, .id = (uint32_t)a->id};

        if (a->kind == SLOT_UNPLACED) {
            unplaced(d, a->job, a->attempt, a->text);
        } else if (!d->use.observe) {
            bt_copy(r.comment, sizeof r.comment, a->comment);
            (void)helper_ask(d, &r, (struct bt_uuid){{0}}, 0); /* too many: with the next list */
        }
    }
}

static void take_jobs(struct driver *d, const struct wire_reply *r)
{
    bool differs = false;

    d->jobs_every_us = slots_list_every_us(r->cost_us);
    slots_list(&d->slots, r->jobs, r->n, d->all->set.facility, bt_mono_us());
    slots_blocked(&d->slots, r->others);
    do_acts(d);
    pthread_mutex_lock(&d->lock);
    d->n_jobs = 0;
    d->n_suspended = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->jobs[i].over || !bt_streq(r->jobs[i].name, d->all->set.facility))
            continue;
        d->n_jobs++;
        if (r->jobs[i].suspended) {
            BT_GROW(d->suspended, d->n_suspended, d->cap_suspended);
            d->suspended[d->n_suspended++] = r->jobs[i].id;
        }
    }
    d->n_others = r->n_others;
    for (size_t i = 0; i < d->n_nodes; i++) {
        const char *name = d->nodes[i].node.name;
        bool others = bt_list_has(r->others, name, strlen(name));

        differs |= others != d->nodes[i].others;
        d->nodes[i].others = others;
    }
    pthread_mutex_unlock(&d->lock);
    if (differs)
        tell_nodes(d);
}

static void take_conf(struct driver *d, const struct wire_conf *conf)
{
    bool was, is;

    pthread_mutex_lock(&d->lock);
    was = driver_partition_shut(d);
    d->settings = *conf;
    d->has_settings = true;
    is = driver_partition_shut(d);
    pthread_mutex_unlock(&d->lock);
    if (was != is)
        tell_nodes(d);
}

static void submit_failed(struct driver *d, const struct asked *a, const struct wire_reply *r)
{
    char text[400];

    if (r->code == BT_ERR_UNREACHABLE) {
        slots_doubt(&d->slots, a->job, a->attempt);
        d->jobs_due_us = 0;
        return;
    }
    slots_refused(&d->slots, a->job, a->attempt);
    (void)snprintf(text, sizeof text, "%.150s%s%.45s", r->text, *r->next ? "; " : "", r->next);
    unplaced(d, a->job, a->attempt, text);
    note(d, r->text, r->next);
}

void driver_reply(struct driver *d, const struct asked *a, struct wire_reply *r)
{
    if (a->op == WIRE_FENCE) { /* slurmdbd's silence is not the controller's */
        fence_reply(d, r);
        return;
    }
    if (!r->ok && r->code == BT_ERR_UNREACHABLE)
        unreachable(d, r->text, r->next);
    else
        reached(d);
    if (a->op == WIRE_SUBMIT && !r->ok)
        submit_failed(d, a, r);
    else if (a->op == WIRE_SUBMIT)
        slots_placed(&d->slots, a->job, a->attempt, r->id, bt_mono_us());
    else if (!r->ok && a->op != WIRE_CANCEL && r->code != BT_ERR_UNREACHABLE)
        note(d, r->text, r->next);
    else if (a->op == WIRE_NODES && r->ok && !r->unchanged)
        take_nodes(d, r);
    else if (a->op == WIRE_RESUME && r->ok)
        d->nodes_due_us = 0;
    else if (a->op == WIRE_JOBS && r->ok && !r->unchanged)
        take_jobs(d, r);
    else if (a->op == WIRE_CONF && r->ok && r->conf)
        take_conf(d, r->conf);
    else if (a->op == WIRE_QUEUE && r->ok && !r->unchanged)
        watch_queue(d, r);
    if (a->op == WIRE_NODES && r->ok)
        resume_duplicates(d);
    if (d->tell_all && r->ok && d->n_nodes)
        tell_nodes(d);
}

/* ---- requests ---- */

/* Its nodes share CPUs as they share accelerators. */
static void size_of(const struct driver *d, const struct slot *slot, struct wire_submit *s)
{
    size_t n = strcspn(slot->hosts, ",");
    const struct wire_node *node = NULL;

    for (size_t i = 0; i < d->n_nodes; i++)
        if (strlen(d->nodes[i].node.name) == n && !memcmp(d->nodes[i].node.name, slot->hosts, n))
            node = &d->nodes[i].node;
    s->cpus = slot->per_host;
    if (!node)
        return;
    if (node->n_acc) {
        s->per_host = slot->per_host;
        s->cpus = BT_MAX(1, node->cpus * slot->per_host / node->n_acc);
        s->exclusive = slot->per_host >= node->n_acc;
    }
    s->cpus = BT_MAX(1, BT_MIN(s->cpus, node->cpus));
}

/* The batch script is the shepherd, in the spool folder that the node's agent has made for it;
 * beamtime-shepherd beside the agent where it is installed, for it starts sooner. */
static char *script_of(const struct driver *d, const struct slot *slot)
{
    char id[BT_UUID_TEXT];
    const char *at = strstr(d->use.agent_dir, "%n");
    int before = at ? (int)(at - d->use.agent_dir) : (int)strlen(d->use.agent_dir);

    return bt_printf("#!/bin/sh\np='%s'\ns=${p%%/*}/beamtime-shepherd\n[ -x \"$s\" ] || s=$p\n"
                     "exec \"$s\" shepherd \"%.*s%s%s/attempts/%s.%d\"\n",
                     d->use.agent, before, d->use.agent_dir, at ? "$SLURMD_NODENAME" : "",
                     at ? at + 2 : "", bt_uuid_format(slot->job, id), slot->attempt);
}

static bool submit(struct driver *d, struct slot *slot)
{
    struct wire_request r = {.op = WIRE_SUBMIT};
    struct wire_submit *s = &r.submit;
    BT_AUTO char *script = script_of(d, slot);
    bool asked;

    wire_comment(slot->job, slot->attempt, s->comment);
    bt_copy(s->name, sizeof s->name, d->all->set.facility);
    bt_copy(s->user, sizeof s->user, *slot->user ? slot->user : d->use.user);
    bt_copy(s->partition, sizeof s->partition, d->use.partition);
    bt_copy(s->account, sizeof s->account, d->use.fence ? slot->account : d->use.account);
    bt_copy(s->qos, sizeof s->qos, d->use.fence ? slot->account : d->use.qos);
    s->hosts = slot->hosts;
    s->n_hosts = slot->n_hosts;
    s->minutes = (slot->walltime_s + slot->grace_s + 59) / 60 + SPARE_MINUTES;
    s->script = script;
    size_of(d, slot, s);
    asked = helper_ask(d, &r, slot->job, slot->attempt);
    if (asked)
        slot->state = SLOT_ASKED;
    return asked;
}

static void submit_wanted(struct driver *d)
{
    if (!d->slots.listed || d->use.observe || !d->n_nodes)
        return;
    for (size_t i = 0; i < d->slots.n && d->helper.n_asked < SUBMIT_ROOM; i++)
        if (d->slots.v[i].state == SLOT_WANTED &&
            fence_knows(d, d->slots.v[i].account, d->slots.v[i].user) && !submit(d, &d->slots.v[i]))
            return;
}

static bool is_asked(const struct helper *h, enum wire_op op)
{
    for (int i = 0; i < h->n_asked; i++)
        if (h->asked[(h->first + i) % ASKED_MAX].op == op)
            return true;
    return false;
}

/* One of a kind at a time; when it was asked, the next is due then. Whether it was asked. */
static bool ask_due(struct driver *d, enum wire_op op, bool fresh, int64_t *due_us,
                    int64_t every_us)
{
    struct wire_request r = {.op = op, .fresh = fresh};
    int64_t now = bt_mono_us();

    if (now < *due_us || is_asked(&d->helper, op))
        return false;
    bt_copy(r.partition, sizeof r.partition, d->use.partition);
    bt_copy(r.user, sizeof r.user, d->use.user);
    if (!helper_ask(d, &r, (struct bt_uuid){{0}}, 0))
        return false;
    *due_us = now + every_us;
    return true;
}

/* Claims and ends come from the agents: the list is for what goes wrong. */
static void ask_jobs(struct driver *d)
{
    /* What waits for a list, or for time to pass, must not hear "unchanged". */
    bool fresh = d->jobs_due_us == 0 || !d->slots.listed || d->slots.n_strays ||
                 slots_count(&d->slots, SLOT_DOUBT) || slots_count(&d->slots, SLOT_LEAVING) ||
                 slots_frozen(&d->slots);
    int64_t now = bt_mono_us();

    if (!d->slots.listed || slots_wait(&d->slots, now))
        d->jobs_due_us = BT_MIN(d->jobs_due_us, d->jobs_asked_us + LOOK_US);
    if (ask_due(d, WIRE_JOBS, fresh, &d->jobs_due_us, BT_MAX(d->jobs_every_us, LOOK_US)))
        d->jobs_asked_us = now;
}

static void ask_lists(struct driver *d)
{
    (void)ask_due(d, WIRE_NODES, d->nodes_due_us == 0, &d->nodes_due_us, NODES_EVERY_US);
    ask_jobs(d);
    (void)ask_due(d, WIRE_CONF, true, &d->conf_due_us, CONF_EVERY_US);
    fence_ask(d);
    if (d->use.observe && d->n_nodes)
        (void)ask_due(d, WIRE_QUEUE, true, &d->queue_due_us, NODES_EVERY_US);
}

/* ---- the thread ---- */

static void take_wants(struct driver *d)
{
    struct want *wants;
    size_t n;
    bool changed;

    pthread_mutex_lock(&d->lock);
    wants = d->wants;
    n = d->n_wants;
    changed = d->changed;
    d->wants = NULL;
    d->n_wants = d->cap_wants = 0;
    d->changed = false;
    if (changed) {
        d->tell_all = true;
        d->conf_due_us = d->nodes_due_us = d->fence.due_us = 0;
        d->removed = bt_streq(d->state, "removed");
        if (!bt_streq(d->use.slurm_conf, d->conf.slurm_conf) || d->use.remote != d->conf.remote ||
            d->removed)
            d->helper.retry_us = 0;
        else
            changed = false;
        d->use = d->conf;
    }
    pthread_mutex_unlock(&d->lock);
    if (changed)
        helper_end(d);
    for (size_t i = 0; i < n; i++) {
        slots_want(&d->slots, &wants[i], bt_mono_us());
        bt_free(wants[i].hosts);
    }
    bt_free(wants);
}

static void lose_helper(struct driver *d, const struct bt_err *why)
{
    struct helper *h = &d->helper;
    const char *text = why->text;

    helper_end(d);
    h->retry_us =
        bt_mono_us() + BT_MIN((int64_t)RETRY_US << BT_MIN(h->failures, 5), (int64_t)RETRY_MAX_US);
    h->failures++;
    if (*h->words)
        text = h->words;
    if (d->since_us && !d->reachable) /* what was said at hello tells more */
        text = *d->text ? d->text : text;
    BT_AUTO char *copy = bt_strdup(text);
    BT_AUTO char *next = bt_strdup(*d->next ? d->next : "check slurm.conf on the daemon's machine");
    unreachable(d, copy, next);
}

static void keep_helper(struct driver *d)
{
    struct helper *h = &d->helper;
    struct bt_err err = {0};
    int64_t now = bt_mono_us();

    if (!h->pid && (now >= h->retry_us || remote_waits(d)) && helper_start(d, &err) < 0) {
        h->retry_us = now + RETRY_MAX_US;
        unreachable(d, err.text, err.next);
    }
    if (!h->pid || !h->n_asked)
        return;
    if (now - h->asked[h->first].sent_us > HUNG_US) {
        bt_fail(&err, BT_ERR_TIMEOUT, "the helper did not answer for %d s", HUNG_US / 1000000);
        lose_helper(d, &err);
    } else if (now - h->asked[h->first].sent_us > SILENT_US &&
               h->asked[h->first].op != WIRE_FENCE) { /* slurmdbd's silence is another's */
        if (h->pid == REMOTE)
            unreachable(d, "neither the helper at the site nor its slurmctld answers",
                        "at the site: journalctl -u beamtime-helper; scontrol ping");
        else
            unreachable(d, "slurmctld does not answer", "scontrol ping");
    }
}

static int wait_ms(const struct driver *d)
{
    int64_t now = bt_mono_us();
    int64_t due = now + LOOK_US;

    if (d->helper.ready && !is_asked(&d->helper, WIRE_JOBS))
        due = BT_MIN(due, d->jobs_due_us);
    if (d->helper.ready && d->use.fence && !d->fence.under_way)
        due = BT_MIN(due, d->fence.due_us);
    return (int)(BT_MAX(0, due - now) / 1000 + 1);
}

static void await(struct driver *d)
{
    struct helper *h = &d->helper;
    struct pollfd p[3] = {{.fd = d->wake, .events = POLLIN},
                          {.fd = h->pid ? h->fd : -1, .events = POLLIN},
                          {.fd = h->pid ? h->err : -1, .events = POLLIN}};
    struct bt_err err = {0};
    eventfd_t n;

    if (h->out.n)
        p[1].events |= POLLOUT;
    if (poll(p, 3, wait_ms(d)) <= 0 && h->pid != REMOTE)
        return;
    if (h->pid == REMOTE) /* it has no descriptor: whoever brings bytes wakes us */
        p[1].revents = POLLIN;
    if (p[0].revents)
        (void)eventfd_read(d->wake, &n);
    if (p[2].revents)
        helper_words(d);
    if (h->pid && p[1].revents && helper_pump(d, p[1].revents, &err) < 0)
        lose_helper(d, &err);
}

void *driver_run(void *arg)
{
    struct driver *d = arg;
    struct bt_err err = {0};

    while (!atomic_load(&d->stopping)) {
        take_wants(d);
        if (!d->removed)
            keep_helper(d);
        if (d->helper.ready) {
            ask_lists(d);
            submit_wanted(d);
            if (helper_pump(d, 0, &err) < 0)
                lose_helper(d, &err);
        }
        await(d);
    }
    helper_end(d);
    return NULL;
}
