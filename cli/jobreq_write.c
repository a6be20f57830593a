/* jobreq_write.c - a request as a job document.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <string.h>

#include "cli/jobreq.h"
#include "lib/api/jobdoc.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/json/json.h"

void jobreq_replace(char **at, const char *value)
{
    char *copy = bt_strdup(value);

    bt_free(*at);
    *at = copy;
}

void jobreq_keep(struct jobreq_list *l, const char *value, size_t n)
{
    l->v[l->n++] = bt_strndup(value, n);
}

/* Of the options that say how many in all, the first that was given; 0: none was. */
static int64_t count_said(const struct jobreq_count *c, int64_t per_node)
{
    if (c->accelerators)
        return c->accelerators;
    if (c->gpus)
        return c->gpus;
    if (c->gpus_per_task && c->ntasks)
        return c->gpus_per_task * c->ntasks;
    if (per_node)
        return per_node * BT_MAX(c->nodes, 1);
    return c->ntasks;
}

int jobreq_accelerators(const struct jobreq *r, struct jobreq_size *ret, struct bt_err *err)
{
    const struct jobreq_count *c = &r->count;
    struct jobreq_size s = {.least = c->least,
                            .per_node = c->gpus_per_node ? c->gpus_per_node : c->per_node};

    s.count = count_said(c, s.per_node);
    if (!s.count && c->nodes)
        return bt_fail(err, BT_ERR_USAGE,
                       "--nodes alone does not say how many accelerators; add --per-node");
    s.count = BT_MAX(s.count, 1);
    if (!s.per_node && c->nodes && s.count % c->nodes == 0)
        s.per_node = s.count / c->nodes;
    if (c->nodes && s.per_node && s.per_node * c->nodes != s.count)
        return bt_fail(err, BT_ERR_USAGE,
                       "%" PRId64 " nodes with %" PRId64 " accelerators each are not %" PRId64
                       " accelerators",
                       c->nodes, s.per_node, s.count);
    if (s.count > JOB_MAX_ACCELERATORS)
        return bt_fail(err, BT_ERR_INVALID, "%" PRId64 " accelerators are more than %d", s.count,
                       JOB_MAX_ACCELERATORS);
    if (c->least_nodes && !s.per_node)
        return bt_fail(err, BT_ERR_USAGE, "a range of --nodes wants --per-node");
    if (c->least_nodes)
        s.least = c->least_nodes * s.per_node;
    *ret = s;
    return 0;
}

static void write_list(struct json_writer *w, const char *key, const struct jobreq_list *l)
{
    if (!l->n)
        return;
    jw_array(w, key);
    for (int i = 0; i < l->n; i++)
        jw_str(w, NULL, l->v[i]);
    jw_end_array(w);
}

static void write_code(struct json_writer *w, const struct jobreq *r)
{
    jw_object(w, "code");
    if (r->kind == JOB_COMMAND) {
        jw_array(w, "argv");
        for (int i = 0; i < r->argc; i++)
            jw_str(w, NULL, r->argv[i]);
        jw_end_array(w);
    } else {
        jw_str(w, r->kind == JOB_SCRIPT ? "script" : "config", r->code);
    }
    jw_end_object(w);
}

/* Later settings of a variable win, and a member stands only once. */
static void write_environment(struct json_writer *w, const struct jobreq_list *env)
{
    if (!env->n)
        return;
    jw_object(w, "environment");
    for (int i = 0; i < env->n; i++) {
        size_t n = strcspn(env->v[i], "=");
        BT_AUTO char *name = bt_strndup(env->v[i], n);
        bool again = false;

        for (int j = i + 1; j < env->n && !again; j++)
            again = !strncmp(env->v[i], env->v[j], n + 1);
        if (!again)
            jw_str(w, name, env->v[i] + n + 1);
    }
    jw_end_object(w);
}

static void write_inputs(struct json_writer *w, const struct jobreq_list *inputs)
{
    if (!inputs->n)
        return;
    jw_array(w, "inputs");
    for (int i = 0; i < inputs->n; i++) {
        int64_t record;

        jw_object(w, NULL);
        if (bt_starts(inputs->v[i], "record:") &&
            bt_parse_i64(inputs->v[i] + 7, "record", 0, INT64_MAX, &record, NULL) == 0)
            jw_i64(w, "record", record);
        else
            jw_str(w, "path", inputs->v[i]);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void write_accelerators(struct json_writer *w, const struct jobreq *r,
                               const struct jobreq_size *size)
{
    jw_object(w, "accelerators");
    jw_i64(w, "count", size->count);
    if (size->least && size->least < size->count)
        jw_i64(w, "min", size->least);
    if (r->class)
        jw_str(w, "class", r->class);
    if (r->memory_gb)
        jw_i64(w, "memory_gb", r->memory_gb);
    if (r->bandwidth_gb)
        jw_i64(w, "bandwidth_gb_per_s", r->bandwidth_gb);
    if (size->per_node)
        jw_i64(w, "per_node", size->per_node);
    if (r->level >= 0) {
        jw_str(w, "level", topo_level_names[r->level]);
        if (r->level_required)
            jw_bool(w, "level_required", true);
    }
    jw_end_object(w);
}

static void write_life(struct json_writer *w, const struct jobreq *r)
{
    jw_i64(w, "walltime_s", r->walltime_s > 0 ? r->walltime_s : JOBREQ_WALLTIME_S);
    if (r->signal)
        jw_i64(w, "signal", r->signal);
    if (r->grace_s >= 0)
        jw_i64(w, "grace_s", r->grace_s);
    if (r->requeue >= 0)
        jw_str(w, "requeue", requeue_policy_names[r->requeue]);
    if (r->max_attempts)
        jw_i64(w, "max_attempts", r->max_attempts);
}

static void write_policy(struct json_writer *w, const struct jobreq *r)
{
    if (r->purpose)
        jw_str(w, "purpose", r->purpose);
    write_list(w, "domains", &r->domains);
    write_list(w, "data", &r->data);
    if (r->flops > 0)
        jw_f64(w, "flops", r->flops);
    if (r->params)
        jw_i64(w, "params", r->params);
    if (r->n_lineage) {
        jw_array(w, "lineage");
        for (int i = 0; i < r->n_lineage; i++)
            jw_i64(w, NULL, r->lineage[i]);
        jw_end_array(w);
    }
    if (r->embargo_days >= 0)
        jw_i64(w, "embargo_days", r->embargo_days);
}

/* Texts go into JSON, which is UTF-8. */
static int check_texts(const struct jobreq *r, struct bt_err *err)
{
    if (r->code && !bt_is_utf8(r->code, strlen(r->code)))
        return bt_fail(err, BT_ERR_INVALID, "the script or configuration is not UTF-8");
    for (int i = 0; i < r->argc; i++)
        if (!bt_is_utf8(r->argv[i], strlen(r->argv[i])))
            return bt_fail(err, BT_ERR_INVALID, "word %d of the command is not UTF-8", i + 1);
    for (int i = 0; i < r->env.n; i++)
        if (!bt_is_utf8(r->env.v[i], strlen(r->env.v[i])))
            return bt_fail(err, BT_ERR_INVALID, "the value of %.*s is not UTF-8",
                           (int)BT_MIN(strcspn(r->env.v[i], "="), 60), r->env.v[i]);
    return 0;
}

int jobreq_write(const struct jobreq *r, struct bt_uuid id, struct bt_uuid after, struct bt_buf *to,
                 struct bt_err *err)
{
    struct json_writer w = {.to = to};
    struct jobreq_size size = {0};
    int rc = jobreq_accelerators(r, &size, err);

    if (rc >= 0)
        rc = check_texts(r, err);
    if (rc < 0)
        return rc;
    jw_object(&w, NULL);
    jw_uuid(&w, "id", &id);
    jw_str(&w, "name", r->name ? r->name : "job");
    jw_str(&w, "project", r->project ? r->project : "");
    jw_str(&w, "kind", job_kind_names[r->kind]);
    write_code(&w, r);
    write_environment(&w, &r->env);
    write_inputs(&w, &r->inputs);
    write_list(&w, "outputs", &r->outputs);
    write_accelerators(&w, r, &size);
    write_life(&w, r);
    write_policy(&w, r);
    if (!bt_uuid_zero(after)) {
        jw_object(&w, "after");
        jw_uuid(&w, "job", &after);
        jw_bool(&w, "ok", r->after_ok);
        jw_end_object(&w);
    }
    if (r->singleton)
        jw_bool(&w, "singleton", true);
    jobdoc_write_datasets(&w, r->datasets);
    if (r->reservation)
        jw_str(&w, "reservation", r->reservation);
    if (r->array) {
        jw_object(&w, "array");
        jw_str(&w, "tasks", r->array);
        jw_end_object(&w);
    }
    if (r->hold)
        jw_bool(&w, "hold", true);
    jw_end_object(&w);
    return 0;
}
