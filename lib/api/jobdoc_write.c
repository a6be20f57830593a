/* The job document, written. SPDX-License-Identifier: GPL-3.0-or-later */
#include "lib/api/jobdoc.h"

#include "lib/json/json.h"

static void write_code(struct json_writer *w, const struct job_code *c)
{
    jw_object(w, "code");
    if (c->script)
        jw_str(w, "script", c->script);
    if (c->config)
        jw_str(w, "config", c->config);
    if (c->n_argv) {
        jw_array(w, "argv");
        for (int i = 0; i < c->n_argv; i++)
            jw_str(w, NULL, c->argv[i]);
        jw_end_array(w);
    }
    jw_end_object(w);
}

static void write_files(struct json_writer *w, const struct job_code *c)
{
    if (c->n_env) {
        jw_object(w, "environment");
        for (int i = 0; i < c->n_env; i++)
            jw_str(w, c->env[i].name, c->env[i].value);
        jw_end_object(w);
    }
    if (c->n_inputs) {
        jw_array(w, "inputs");
        for (int i = 0; i < c->n_inputs; i++) {
            jw_object(w, NULL);
            if (c->inputs[i].path)
                jw_str(w, "path", c->inputs[i].path);
            else
                jw_i64(w, "record", c->inputs[i].record);
            jw_end_object(w);
        }
        jw_end_array(w);
    }
    if (c->n_outputs) {
        jw_array(w, "outputs");
        for (int i = 0; i < c->n_outputs; i++)
            jw_str(w, NULL, c->outputs[i]);
        jw_end_array(w);
    }
}

static void write_accelerators(struct json_writer *w, const struct job_spec *s)
{
    jw_object(w, "accelerators");
    jw_i64(w, "count", s->accelerators);
    if (s->min_accelerators)
        jw_i64(w, "min", s->min_accelerators);
    if (s->class[0])
        jw_str(w, "class", s->class);
    if (s->memory_gb)
        jw_i64(w, "memory_gb", s->memory_gb);
    if (s->bandwidth_gb)
        jw_i64(w, "bandwidth_gb_per_s", s->bandwidth_gb);
    if (s->per_node)
        jw_i64(w, "per_node", s->per_node);
    if (s->level != TOPO_ANY)
        jw_str(w, "level", topo_level_names[s->level]);
    if (s->level_required)
        jw_bool(w, "level_required", true);
    jw_end_object(w);
}

static void write_words(struct json_writer *w, const char *key, const char words[][JOB_WORD_MAX])
{
    if (!words[0][0])
        return;
    jw_array(w, key);
    for (int i = 0; i < JOB_WORDS && words[i][0]; i++)
        jw_str(w, NULL, words[i]);
    jw_end_array(w);
}

static void write_science(struct json_writer *w, const struct job_spec *s)
{
    if (s->purpose[0])
        jw_str(w, "purpose", s->purpose);
    write_words(w, "domains", s->domains);
    write_words(w, "data", s->data);
    if (s->flops > 0)
        jw_f64(w, "flops", s->flops);
    if (s->params)
        jw_i64(w, "params", s->params);
    if (s->parents[0] >= 0) {
        jw_array(w, "lineage");
        for (int i = 0; i < JOB_PARENTS && s->parents[i] >= 0; i++)
            jw_i64(w, NULL, s->parents[i]);
        jw_end_array(w);
    }
    if (s->embargo_days)
        jw_i64(w, "embargo_days", s->embargo_days);
}

void jobdoc_write_datasets(struct json_writer *w, const char *list)
{
    char name[DATASET_NAME_MAX];

    if (!*list)
        return;
    jw_array(w, "datasets");
    while (dataset_next(&list, name))
        jw_str(w, NULL, name);
    jw_end_array(w);
}

void jobdoc_write(struct bt_buf *to, const struct job_spec *s, const struct job_code *c)
{
    struct json_writer w = {.to = to};
    struct job_spec def;

    job_spec_init(&def);
    jw_object(&w, NULL);
    jw_uuid(&w, "id", &s->id);
    jw_str(&w, "name", s->name);
    jw_str(&w, "project", s->project);
    jw_str(&w, "kind", job_kind_names[s->kind]);
    write_code(&w, c);
    write_files(&w, c);
    write_accelerators(&w, s);
    jw_i64(&w, "walltime_s", s->walltime_s);
    if (s->signal != def.signal && s->signal)
        jw_i64(&w, "signal", s->signal);
    if (s->grace_s != def.grace_s)
        jw_i64(&w, "grace_s", s->grace_s);
    if (s->requeue != def.requeue)
        jw_str(&w, "requeue", requeue_policy_names[s->requeue]);
    if (s->max_attempts != def.max_attempts)
        jw_i64(&w, "max_attempts", s->max_attempts);
    write_science(&w, s);
    if (!bt_uuid_zero(s->after)) {
        jw_object(&w, "after");
        jw_uuid(&w, "job", &s->after);
        jw_bool(&w, "ok", s->after_ok);
        jw_end_object(&w);
    }
    if (s->singleton)
        jw_bool(&w, "singleton", true);
    jobdoc_write_datasets(&w, s->datasets);
    if (s->reservation[0])
        jw_str(&w, "reservation", s->reservation);
    if (s->tasks[0] || !bt_uuid_zero(s->array_of)) {
        jw_object(&w, "array");
        if (s->tasks[0]) {
            jw_str(&w, "tasks", s->tasks);
        } else {
            jw_uuid(&w, "of", &s->array_of);
            jw_i64(&w, "task", s->array_task);
        }
        jw_end_object(&w);
    }
    if (s->hold)
        jw_bool(&w, "hold", true);
    jw_end_object(&w);
}
