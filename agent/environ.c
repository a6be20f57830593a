/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "agent/environ.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

void places_of(const struct order *o, struct places *ret)
{
    char name[SPOOL_NAME_MAX], id[BT_UUID_TEXT];
    const char *base = spool_name(o->job, o->attempt, name);

    /* order.work is bounded by the agent (see node.c), so nothing is cut here */
    (void)snprintf(ret->home, SPOOL_PATH_MAX, "%.900s/%s", o->work, base);
    (void)snprintf(ret->output, SPOOL_PATH_MAX, "%.900s/%s/output", o->work, base);
    (void)snprintf(ret->scratch, SPOOL_PATH_MAX, "%.900s/%s/scratch", o->work, base);
    (void)snprintf(ret->metrics, SPOOL_PATH_MAX, "%.900s/%s/metrics.jsonl", o->work, base);
    (void)snprintf(ret->code, SPOOL_PATH_MAX, "%.900s/%s/code", o->work, base);
    (void)snprintf(ret->checkpoint, SPOOL_PATH_MAX, "%.900s/%s.checkpoint", o->work,
                   bt_uuid_format(o->job, id));
}

static int index_of(const struct environ *e, const char *name)
{
    size_t n = strlen(name);

    for (int i = 0; i < e->n; i++)
        if (!strncmp(e->v[i], name, n) && e->v[i][n] == '=')
            return i;
    return -1;
}

const char *environ_get(const struct environ *e, const char *name)
{
    int i = index_of(e, name);

    return i < 0 ? NULL : e->v[i] + strlen(name) + 1;
}

static void put(struct environ *e, const char *name, const char *value)
{
    int i = index_of(e, name);

    if (i < 0 && e->n == ENVIRON_MAX)
        return;
    if (i < 0)
        i = e->n++;
    bt_free(e->v[i]);
    e->v[i] = bt_printf("%s=%s", name, value);
}

static void put_number(struct environ *e, const char *name, int64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    put(e, name, text);
}

static void put_job(struct environ *e, const struct order *o, const struct spec *s)
{
    BT_BUF_AUTO struct bt_buf inputs = {0};
    char id[BT_UUID_TEXT], variable[DATASET_VARIABLE_MAX];

    put(e, "BEAM_JOB", bt_uuid_format(o->job, id));
    put_number(e, "BEAM_NUMBER", o->number);
    put_number(e, "BEAM_ATTEMPT", o->attempt);
    put_number(e, "BEAM_TIER", o->tier);
    if (s->array) {
        put(e, "BEAM_ARRAY", s->array);
        put_number(e, "BEAM_ARRAY_TASK", s->task);
    }
    for (int i = 0; i < s->n_inputs; i++)
        bt_buf_printf(&inputs, "%s%s", i ? ":" : "", s->inputs[i]);
    put(e, "BEAM_INPUT", s->n_inputs ? s->inputs[0] : "");
    put(e, "BEAM_INPUTS", bt_buf_text(&inputs));
    for (int i = 0; i < s->n_datasets; i++)
        put(e, dataset_variable(s->dataset_name[i], variable), s->dataset_path[i]);
}

void environ_build(const struct order *o, const struct spec *s, const struct account *a,
                   const struct places *p, const struct rank *rank, struct environ *ret)
{
    struct environ *e = ret;

    *e = (struct environ){0};
    put(e, "PATH", "/usr/local/bin:/usr/bin:/bin");
    put(e, "HOME", *a->home ? a->home : p->home);
    put(e, "SHELL", "/bin/sh");
    put(e, "LANG", "C.UTF-8");
    put(e, "TZ", "UTC");
    put_number(e, "OMP_NUM_THREADS", rank->threads);
    put_number(e, "OPENBLAS_NUM_THREADS", rank->threads);
    for (int i = 0; i < s->n_env; i++)
        put(e, s->env_name[i], s->env_value[i]);
    put(e, "USER", a->name);
    put(e, "LOGNAME", a->name);
    put(e, "TMPDIR", p->scratch);
    put_job(e, o, s);
    put(e, "BEAM_OUTPUT", p->output);
    put(e, "BEAM_CHECKPOINT", p->checkpoint);
    put(e, "BEAM_SCRATCH", p->scratch);
    put(e, "BEAM_METRICS", p->metrics);
    put_number(e, "BEAM_RANK", rank->index);
    put_number(e, "BEAM_LOCAL_RANK", rank->index);
    put_number(e, "BEAM_WORLD_SIZE", rank->world);
    put(e, "CUDA_VISIBLE_DEVICES", o->devices);
    put(e, "HIP_VISIBLE_DEVICES", o->devices);
}

void environ_done(struct environ *e)
{
    for (int i = 0; i < e->n; i++)
        bt_free(e->v[i]);
    *e = (struct environ){0};
}
