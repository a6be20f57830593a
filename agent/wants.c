/* What the daemon wants of this node, read and turned into orders.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "agent/node.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/domain/job.h"
#include "lib/json/json.h"

static int read_mask(const char *hex, uint64_t *ret)
{
    char *end;

    if (!*hex || strlen(hex) > 16 || strspn(hex, "0123456789abcdef") != strlen(hex))
        return -1;
    *ret = strtoull(hex, &end, 16);
    return 0;
}

static int32_t bounded(const struct json *w, const char *key, int64_t max)
{
    int64_t v = json_i64(json_get(w, key), 0);

    return v < 0 || v > max ? -1 : (int32_t)v;
}

static int read_item(const struct json *w, struct want_item *ret)
{
    static const char *const actions[] = {"run", "stop", "gone"};
    struct want_item item = {0};
    const char *action = json_str(json_get(w, "action"), "");
    const char *document;
    int a = 0;

    while (a < 3 && !bt_streq(actions[a], action))
        a++;
    item.action = (typeof(item.action))a;
    item.number = json_i64(json_get(w, "number"), 0);
    item.id.attempt = bounded(w, "attempt", INT32_MAX);
    item.walltime_s = bounded(w, "walltime_s", JOB_MAX_WALLTIME_S);
    item.grace_s = bounded(w, "grace_s", 86400);
    item.signal = bounded(w, "signal", 64);
    item.tier = bounded(w, "tier", 9);
    item.accelerators = bounded(w, "accelerators", JOB_MAX_ACCELERATORS);
    item.nodes = bounded(w, "nodes", 65536);
    if (a == 3 || item.id.attempt < 1 || item.walltime_s < 0 || item.grace_s < 0 ||
        item.signal < 0 || item.tier < 0 || item.accelerators < 0 || item.nodes < 0 ||
        item.number < 0 || bt_uuid_parse(json_str(json_get(w, "job"), ""), &item.id.job) < 0 ||
        read_mask(json_str(json_get(w, "mask"), "0"), &item.mask) < 0 ||
        !bt_copy(item.kind, sizeof item.kind, json_str(json_get(w, "kind"), "")) ||
        !bt_copy(item.unixname, sizeof item.unixname, json_str(json_get(w, "unixname"), "")))
        return -1;
    document = json_str(json_get(w, "document"), NULL);
    if (document && strlen(document) <= SPEC_MAX)
        item.document = bt_strdup(document);
    *ret = item;
    return 0;
}

static int read_trial(const struct json *j, struct trial_part *ret)
{
    struct trial_part p = {.id = json_i64(json_get(j, "id"), 0)};

    *ret = (struct trial_part){0};
    if (!j)
        return 0;
    p.rank = bounded(j, "rank", TRIAL_WORLD_MAX - 1);
    p.world = bounded(j, "world", TRIAL_WORLD_MAX);
    p.deadline_s = bounded(j, "deadline_s", 3600);
    if (p.id < 1 || p.world < 2 || p.rank < 0 || p.rank >= p.world || p.deadline_s < 1 ||
        !bt_copy(p.address, sizeof p.address, json_str(json_get(j, "address"), "")) ||
        !bt_copy(p.secret, sizeof p.secret, json_str(json_get(j, "secret"), "")) ||
        (*p.address && strspn(p.secret, "0123456789abcdef") != 64))
        return -1;
    *ret = p;
    return 0;
}

static int read_list(const struct json *list, struct wants *w, struct bt_err *err)
{
    size_t n = json_len(list);

    if (json_is(list) != JSON_IS_ARRAY || n > WANTS_MAX)
        return bt_fail(err, BT_ERR_INVALID, "the daemon's list of wants has not the agreed form");
    w->items = bt_new_n(struct want_item, n + 1);
    for (; w->n < n; w->n++)
        if (read_item(json_at(list, w->n), &w->items[w->n]) < 0)
            return bt_fail(err, BT_ERR_INVALID, "want %zu of the daemon has not the agreed form",
                           w->n);
    return 0;
}

int wants_parse(const char *text, size_t n, struct wants *ret, struct bt_err *err)
{
    JSON_AUTO struct json *j = NULL;
    struct wants w = {0};
    int rc = json_parse(text, n, WANTS_BYTES, &j, err);

    if (rc < 0)
        return rc;
    w.seq = json_i64(json_get(j, "seq"), -1);
    if (w.seq < 0 || !bt_copy(w.known, sizeof w.known, json_str(json_get(j, "known"), "")))
        return bt_fail(err, BT_ERR_INVALID, "the daemon's list of wants has not the agreed form");
    w.takes_started = json_bool(json_get(j, "takes_started"), false);
    rc = read_list(json_get(j, "wants"), &w, err);
    if (rc == 0 && read_trial(json_get(j, "trial"), &w.trial) < 0)
        rc = bt_fail(err, BT_ERR_INVALID, "the daemon's trial has not the agreed form");
    if (rc < 0)
        wants_done(&w);
    else
        *ret = w;
    return rc;
}

void wants_done(struct wants *w)
{
    for (size_t i = 0; i < w->n; i++)
        bt_free(w->items[i].document);
    bt_free(w->items);
    bt_wipe(&w->trial, sizeof w->trial);
    *w = (struct wants){0};
}

/* Appends ",x" to a list in out; false if it does not fit. */
static bool list_add(char *out, size_t size, const char *x)
{
    size_t n = strlen(out);

    if (!*x)
        return true;
    return snprintf(out + n, size - n, "%s%s", n ? "," : "", x) < (int)(size - n);
}

static int take_mask(const struct want_item *w, const struct node_plan *plan, struct order *o,
                     struct bt_err *err)
{
    char index[12];

    if (w->mask == 0 || (plan->accelerators < 64 && w->mask >> plan->accelerators))
        return bt_fail(err, BT_ERR_INVALID,
                       "mask %llx names accelerators that this node has not (it has %d)",
                       (unsigned long long)w->mask, plan->accelerators);
    for (int i = 0; i < plan->accelerators; i++) {
        if (!(w->mask >> i & 1))
            continue;
        (void)snprintf(index, sizeof index, "%d", i);
        if (!list_add(o->cpus, sizeof o->cpus, plan->cpus[i]) ||
            (plan->gpus && !list_add(o->devices, sizeof o->devices, index)))
            return bt_fail(err, BT_ERR_TOO_LARGE, "the list of cores or devices is too long");
    }
    return 0;
}

int order_make(const struct want_item *w, const struct node_plan *plan, const struct settings *set,
               struct order *ret, struct bt_err *err)
{
    static const char *const mpi[] = {"none", "pmi2", "pmix"}; /* the words of the setting */
    struct order o = {
        .job = w->id.job,
        .number = w->number,
        .attempt = w->id.attempt,
        .walltime_s = w->walltime_s,
        .grace_s = w->grace_s,
        .signal = w->signal,
        .tier = w->tier,
        .accelerators = __builtin_popcountll(w->mask),
        .pids_max = (int32_t)set->pids_max,
        .log_max_bytes = set->log_max,
        .lease_s = set->lease,
        .nodes = BT_MAX(1, w->nodes),
        .world = w->accelerators,
        .slurm = set->shepherds != 0,
    };
    int rc = take_mask(w, plan, &o, err);

    if (rc < 0)
        return rc;
    o.memory_max_bytes = set->memory_per_accelerator * o.accelerators;
    (void)snprintf(o.mask, sizeof o.mask, "%llx", (unsigned long long)w->mask);
    if (o.slurm) /* Slurm chooses cores and devices itself */
        o.cpus[0] = o.devices[0] = '\0';
    bt_copy(o.kind, sizeof o.kind, w->kind);
    bt_copy(o.mpi, sizeof o.mpi, mpi[set->mpi]);
    bt_copy(o.class, sizeof o.class, plan->class);
    bt_copy(o.node, sizeof o.node, plan->node);
    bt_copy(o.user, sizeof o.user, *w->unixname ? w->unixname : set->job_user ? set->job_user : "");
    if (snprintf(o.work, sizeof o.work, "%s/work", set->state_dir) > 900 ||
        !bt_copy(o.libexec, sizeof o.libexec, set->libexec_dir ? set->libexec_dir : ""))
        return bt_fail(err, BT_ERR_INVALID, "state_dir or libexec_dir is too long a path");
    *ret = o;
    return 0;
}
